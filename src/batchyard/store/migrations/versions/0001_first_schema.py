"""The first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "credentials",
        sa.Column("access_key_id", sa.Text(), nullable=False),
        sa.Column("secret_access_key", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("access_key_id", name=op.f("pk_credentials")),
    )
    op.create_table(
        "job_definitions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("active", sa.SmallInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", "revision", name=op.f("pk_job_definitions")),
    )
    op.create_table(
        "jobs",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=True),
        sa.Column("parent_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("child_index", sa.Integer(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=True),
        sa.Column("milli_vcpus", sa.Integer(), nullable=True),
        sa.Column("memory", sa.Integer(), nullable=True),
        sa.Column("gpus", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=True),
        sa.Column("retry", sa.LargeBinary(), nullable=True),
        sa.Column("timeout", sa.Integer(), nullable=True),
        sa.Column("share", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("log_prefix", sa.Text(), nullable=True),
        sa.Column("depends_on", sa.LargeBinary(), nullable=True),
        sa.Column("array_size", sa.Integer(), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.LargeBinary(), nullable=True),
        sa.Column("task", sa.LargeBinary(), nullable=True),
        sa.Column("ended_by", sa.SmallInteger(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=True),
        sa.Column("summary_at", sa.BigInteger(), nullable=True),
        sa.Column("closed", sa.SmallInteger(), nullable=True),
        sa.Column("untouched_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id"),
    )
    op.create_index(
        "ix_jobs_parent_seq_child_index",
        "jobs",
        ["parent_seq", "child_index"],
        unique=True,
        sqlite_where=sa.text("parent_seq IS NOT NULL"),
        postgresql_where=sa.text("parent_seq IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_queue_seq",
        "jobs",
        ["queue", "seq"],
        unique=False,
        sqlite_where=sa.text("parent_seq IS NULL"),
        postgresql_where=sa.text("parent_seq IS NULL"),
    )
    op.create_index(
        "ix_jobs_queue_status_seq",
        "jobs",
        ["queue", "status", "seq"],
        unique=False,
        sqlite_where=sa.text("parent_seq IS NULL"),
        postgresql_where=sa.text("parent_seq IS NULL"),
    )
    op.create_index(
        "ix_jobs_stopped_at",
        "jobs",
        ["stopped_at"],
        unique=False,
        sqlite_where=sa.text("parent_seq IS NULL"),
        postgresql_where=sa.text("parent_seq IS NULL"),
    )
    op.create_table(
        "resources",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_resources")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index(op.f("ix_transitions_job_seq"), "transitions", ["job_seq"], unique=False)
    op.create_table(
        "waits",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_waits")),
    )
    op.create_index("ix_waits_queue_at", "waits", ["queue", "at"], unique=False)
    op.create_table(
        "job_details",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("tags", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["seq"], ["jobs.seq"], name=op.f("fk_job_details_seq")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_job_details")),
    )
