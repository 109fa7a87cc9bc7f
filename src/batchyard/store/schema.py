"""The tables. SQLite and PostgreSQL share them; `migrations/` holds how they came to be.

A job's row changes with its state and stays small; what the job was asked to run stands in `job_details`, written once.
Children of arrays have a row only when they have started or differ from their siblings; it lacks what they inherit.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

KEY = BigInteger().with_variant(Integer, "sqlite")
"""SQLite's rowid must be declared INTEGER."""

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""What the first start drew: account id, region, keys that sign tokens."""

credentials = Table(
    "credentials",
    metadata,
    Column("access_key_id", Text, primary_key=True),
    Column("secret_access_key", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

job_definitions = Table(
    "job_definitions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("active", SmallInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
"""`document`: the `JobDefinition` as JSON."""

resources = Table(
    "resources",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)
"""Compute environments, job queues and whatever else AWS Batch has besides jobs and their definitions. `kind` is what
stands in the ARN (`job-queue`), `document` the resource's detail as JSON."""

jobs = Table(
    "jobs",
    metadata,
    Column("seq", KEY, primary_key=True, autoincrement=False),
    Column("id", Text, unique=True),
    Column("parent_seq", KEY),
    Column("child_index", Integer),
    Column("name", Text),
    Column("queue", Text),
    Column("definition", Text),
    Column("milli_vcpus", Integer),
    Column("memory", Integer),
    Column("gpus", Integer),
    Column("created_at", BigInteger),
    Column("retry", LargeBinary),
    Column("timeout", Integer),
    Column("share", Text),
    Column("priority", Integer),
    Column("log_prefix", Text),
    Column("depends_on", LargeBinary),
    Column("array_size", Integer),
    Column("kind", SmallInteger),
    Column("status", SmallInteger, nullable=False),
    Column("status_reason", Text),
    Column("started_at", BigInteger),
    Column("stopped_at", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("attempts", LargeBinary),
    Column("task", LargeBinary),
    Column("ended_by", SmallInteger, nullable=False),
    Column("summary", LargeBinary),
    Column("summary_at", BigInteger),
    Column("closed", SmallInteger),
    Column("untouched_reason", Text),
    Column("service", LargeBinary),
    Column("blocked", LargeBinary),
    Column("preemptions", LargeBinary),
    Column("terms", LargeBinary),
    Column("amendments", LargeBinary),
)
"""`id` is null for array children (they are `<parent's id>:<child_index>`), as is all that they inherit. `ended_by`: 1
cancelled, 2 terminated, 3 both. `service`: what only a service job has. `blocked`: while a job blocks its queue, why and
since when. `preemptions`: of any other job that was preempted. `terms`: what its tags ask for beyond AWS. `amendments`: what has
changed of it since it was submitted. The columns up to `kind` never change."""

top_level = jobs.c.parent_seq.is_(None)
Index(
    "ix_jobs_queue_status_seq",
    jobs.c.queue,
    jobs.c.status,
    jobs.c.seq,
    sqlite_where=top_level,
    postgresql_where=top_level,
)
Index("ix_jobs_queue_seq", jobs.c.queue, jobs.c.seq, sqlite_where=top_level, postgresql_where=top_level)
Index(
    "ix_jobs_parent_seq_child_index",
    jobs.c.parent_seq,
    jobs.c.child_index,
    unique=True,
    sqlite_where=text("parent_seq IS NOT NULL"),
    postgresql_where=text("parent_seq IS NOT NULL"),
)
Index("ix_jobs_stopped_at", jobs.c.stopped_at, sqlite_where=top_level, postgresql_where=top_level)

job_details = Table(
    "job_details",
    metadata,
    Column("seq", KEY, ForeignKey("jobs.seq"), primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("tags", LargeBinary),
)
"""`document`: the static part of the `JobDetail`, or of a service job's description, as JSON; `tags` replaces its tags
once they were changed."""

job_consumable_resources = Table(
    "job_consumable_resources",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("job_seq", KEY, primary_key=True, autoincrement=False, index=True),
    Column("quantity", BigInteger, nullable=False),
)
"""What jobs need of consumable resources, by the resource's name: a row for each single job and array parent."""

transitions = Table(
    "transitions",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("job_seq", KEY, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("reason", Text),
)
"""Every change of a job's state, in the order of commit: its history, and the source of its events."""

waits = Table(
    "waits",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("queue", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_waits_queue_at", "queue", "at"),
)
"""Why the head of a queue has been waiting since `at`."""
