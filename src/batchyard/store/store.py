"""The store: one transaction for everything that the kernel decided in one round, and consistent reads.

Writing is for one caller at a time (the control loop). Rows are bound on the caller's thread and the commit, which waits
for the disk, runs in a thread of its own, so that the event loop never waits for the disk. Reads run in threads, each
on its own connection, and see all that was committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Engine, Insert, Update, bindparam, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from batchyard.kernel.dependencies import JobFact
from batchyard.kernel.effects import Effects
from batchyard.kernel.instances import ENDED_KIND
from batchyard.kernel.records import InstanceDetail, Status
from batchyard.kernel.stored import Snapshot
from batchyard.store import loading, schema
from batchyard.store.database import migrate, open_engine
from batchyard.store.rows import changed_row, encode, ended_name, new_row

T = TypeVar("T")


class Store:
    """See the module's text. `open` it before use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine: Engine | None = None
        self._writer: Connection | None = None
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="read")

    def open(self) -> None:
        """Opens the database, bringing its schema up to date. Raises `SchemaError`."""
        self._engine = open_engine(self._path)
        migrate(self._engine)
        self._writer = self._engine.connect()
        self._statements = _Statements(self._engine)

    def close(self) -> None:
        self._committer.shutdown()
        self._readers.shutdown()
        if self._writer is not None:
            self._writer.close()
        if self._engine is not None:
            self._engine.dispose()

    async def save(self, effects: Effects) -> None:
        """Commits the durable part of the effects, all or nothing. Raises what the database raises."""
        writer = self._writer
        assert writer is not None
        try:
            _write(writer, self._statements, effects)
            await asyncio.get_running_loop().run_in_executor(self._committer, writer.commit)
        except BaseException:
            writer.rollback()
            raise

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Runs a query in a thread, on a connection of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, query)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """Runs a query on the caller's thread."""
        assert self._engine is not None
        with self._engine.connect() as connection:
            return query(connection)

    @contextmanager
    def load(self) -> Iterator[Snapshot]:
        """All that the kernel needs to go on."""
        assert self._engine is not None
        with self._engine.connect() as connection, loading.snapshot(connection) as snapshot:
            yield snapshot

    async def facts(self, job_ids: Iterable[str]) -> dict[str, JobFact]:
        """What is known of finished jobs, by id; unknown ids are left out."""
        ids = list(job_ids)
        return await self.read(lambda connection: loading.facts(connection, ids))

    def settings(self) -> dict[str, str]:
        """What the first start drew."""
        table = schema.settings
        return self.read_now(
            lambda connection: {row.name: row.value for row in connection.execute(select(table.c.name, table.c.value))}
        )

    def credentials(self) -> list[dict[str, Any]]:
        """The access keys."""
        return self.read_now(
            lambda connection: [dict(row) for row in connection.execute(select(schema.credentials)).mappings()]
        )

    def forget_finished(self, before: int, at_most: int) -> int:
        """Removes some jobs that ended before this time (milliseconds), children and all. Returns how many there were."""
        with self._transaction() as writer:
            return _forget_finished(writer, before, at_most)

    def forget_instances(self, before: int, at_most: int) -> int:
        """Removes some instances that were terminated before this time (milliseconds), the oldest first. Returns how many."""
        table = schema.resources
        gone = [table.c.kind == ENDED_KIND, table.c.name < ended_name(before)]
        with self._transaction() as writer:
            oldest = select(table.c.name).where(*gone).order_by(table.c.name).limit(at_most)
            names = [name for (name,) in writer.execute(oldest)]
            writer.execute(delete(table).where(table.c.kind == ENDED_KIND, table.c.name.in_(names)))
        return len(names)

    def write_first_start(self, settings: dict[str, str], credential: dict[str, Any]) -> None:
        """Keeps what the first start drew, in one commit."""
        with self._transaction() as writer:
            writer.execute(
                insert(schema.settings), [{"name": name, "value": value} for name, value in settings.items()]
            )
            writer.execute(insert(schema.credentials), credential)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """The writer, whose work is committed at the end, or taken back when something is raised."""
        writer = self._writer
        assert writer is not None
        try:
            yield writer
            writer.commit()
        except BaseException:
            writer.rollback()
            raise


def _forget_finished(writer: Connection, before: int, at_most: int) -> int:
    jobs = schema.jobs
    ended = jobs.c.status.in_([int(status) for status in Status if status.terminal])
    query = select(jobs.c.seq).where(jobs.c.parent_seq.is_(None), ended, jobs.c.stopped_at < before)
    seqs = [row.seq for row in writer.execute(query.order_by(jobs.c.stopped_at).limit(at_most))]
    for seq in seqs:
        family = select(jobs.c.seq).where((jobs.c.seq == seq) | (jobs.c.parent_seq == seq))
        writer.execute(delete(schema.transitions).where(schema.transitions.c.job_seq.in_(family)))
        needs = schema.job_consumable_resources
        writer.execute(delete(needs).where(needs.c.job_seq == seq))
        writer.execute(delete(schema.job_details).where(schema.job_details.c.seq == seq))
        writer.execute(delete(jobs).where((jobs.c.seq == seq) | (jobs.c.parent_seq == seq)))
    _forget_waits(writer)
    return len(seqs)


def _forget_waits(writer: Connection) -> None:
    """Removes what held up queues before the oldest job that is left was submitted: nobody's history needs it."""
    jobs, waits = schema.jobs, schema.waits
    oldest = writer.execute(select(jobs.c.created_at).where(jobs.c.parent_seq.is_(None)).order_by(jobs.c.seq).limit(1))
    created_at = oldest.scalar()
    if created_at is not None:
        writer.execute(delete(waits).where(waits.c.at < created_at))


class _Statements:
    """The statements that run for every job, compiled once: SQLAlchemy's work on each row would cost more than the row."""

    def __init__(self, engine: Engine) -> None:
        jobs, details, transitions = schema.jobs, schema.job_details, schema.transitions
        changes = _binds(*list(jobs.columns)[jobs.columns.keys().index("status") :])
        self.insert_jobs = self._compiled(engine, insert(jobs))
        self.update_jobs = self._compiled(engine, update(jobs).values(changes).where(jobs.c.seq == bindparam("key")))
        self.insert_details = self._compiled(engine, insert(details).values(_binds(details.c.seq, details.c.document)))
        self.insert_transitions = self._compiled(
            engine,
            insert(transitions).values(
                _binds(transitions.c.job_seq, transitions.c.at, transitions.c.status, transitions.c.reason)
            ),
        )

    @staticmethod
    def _compiled(engine: Engine, statement: Insert | Update) -> str:
        return str(statement.compile(dialect=engine.dialect))


def _binds(*columns: Column[Any]) -> dict[str, Any]:
    return {column.name: bindparam(column.name) for column in columns}


def _write(writer: Connection, statements: _Statements, effects: Effects) -> None:
    new = [new_row(job) for seq, job in effects.jobs.items() if seq in effects.created]
    changed = [changed_row(job) for seq, job in effects.jobs.items() if seq not in effects.created]
    details = [(seq, encode(detail)) for seq, detail in effects.details]
    transitions = [(change.job_seq, change.at, int(change.status), change.reason) for change in effects.transitions]
    for statement, rows in (
        (statements.insert_jobs, new),
        (statements.update_jobs, changed),
        (statements.insert_details, details),
        (statements.insert_transitions, transitions),
    ):
        if rows:
            writer.exec_driver_sql(statement, rows)
    needs = [
        {"resource": name, "job_seq": seq, "quantity": quantity}
        for seq, job in effects.jobs.items()
        if job.consumables is not None and seq in effects.created and job.parent is None
        for name, quantity in job.consumables
    ]
    if needs:
        writer.execute(insert(schema.job_consumable_resources), needs)
    if effects.waits:
        writer.execute(
            insert(schema.waits),
            [{"queue": wait.queue, "at": wait.at, "reason": wait.reason} for wait in effects.waits],
        )
    if effects.job_tags:
        writer.execute(_UPDATE_TAGS, [{"key": seq, "tags": encode(tags)} for seq, tags in effects.job_tags.items()])
    _write_resources(writer, effects)


def _write_resources(writer: Connection, effects: Effects) -> None:
    for (name, revision), definition in effects.definitions.items():
        row = {"active": definition.status == "ACTIVE", "document": encode(definition)}
        statement = upsert(schema.job_definitions).values(name=name, revision=revision, **row)
        writer.execute(statement.on_conflict_do_update(index_elements=["name", "revision"], set_=row))
    table = schema.resources
    for (kind, name), detail in effects.resources.items():
        if detail is None:
            writer.execute(delete(table).where(table.c.kind == kind, table.c.name == name))
            continue
        if isinstance(detail, InstanceDetail) and kind == ENDED_KIND:
            name = ended_name(detail.terminated_at or 0, detail.id)
        document = encode(detail)
        statement = upsert(table).values(kind=kind, name=name, document=document)
        writer.execute(statement.on_conflict_do_update(index_elements=["kind", "name"], set_={"document": document}))


_UPDATE_TAGS = (
    update(schema.job_details).where(schema.job_details.c.seq == bindparam("key")).values(tags=bindparam("tags"))
)
