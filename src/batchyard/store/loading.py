"""What the kernel reads back: everything unfinished after a restart, and facts about finished jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, func, select

from batchyard.kernel import submission_tokens
from batchyard.kernel.dependencies import JobFact
from batchyard.kernel.identifiers import split_child
from batchyard.kernel.records import AppliedUpdate, ConsumableResourceDetail, InstanceDetail, Kind, Requirement, Status
from batchyard.kernel.state import DefinitionFamily
from batchyard.kernel.stored import Snapshot, StoredJob
from batchyard.shapes import batch as shapes
from batchyard.store.fair_share_history import ended_runs
from batchyard.store.rows import stored_job
from batchyard.store.schema import job_consumable_resources, job_definitions, jobs, resources

Detail = TypeVar("Detail", bound=msgspec.Struct)
Item = TypeVar("Item")

_UNFINISHED = [int(status) for status in Status if not status.terminal]
_CHUNK = 500
"""Parameters in one IN list."""


@contextmanager
def snapshot(connection: Connection) -> Iterator[Snapshot]:
    """Everything unfinished. The jobs are read while they are iterated over: a million of them are never held twice."""
    unfinished = select(jobs).where(jobs.c.parent_seq.is_(None), jobs.c.status.in_(_UNFINISHED)).order_by(jobs.c.seq)
    arrays = select(jobs.c.seq).where(
        jobs.c.parent_seq.is_(None), jobs.c.status.in_(_UNFINISHED), jobs.c.array_size.is_not(None)
    )
    yield Snapshot(
        next_seq=(connection.execute(select(func.max(jobs.c.seq))).scalar() or 0) + 1,
        definitions=_definitions(connection),
        environments=_details(connection, "compute-environment", shapes.ComputeEnvironmentDetail),
        instances=_details(connection, "instance", InstanceDetail),
        service_environments=_details(connection, "service-environment", shapes.ServiceEnvironmentDetail),
        queues=_details(connection, "job-queue", shapes.JobQueueDetail),
        scheduling_policies=_details(connection, "scheduling-policy", shapes.SchedulingPolicyDetail),
        quota_shares=_details(connection, "quota-share", shapes.DescribeQuotaShareResponse),
        submission_tokens=_details(connection, submission_tokens.KIND, submission_tokens.SubmissionToken),
        consumable_resources=_details(connection, "consumable-resource", ConsumableResourceDetail),
        consumable_updates=_details(connection, "consumable-resource-update", AppliedUpdate),
        ended_runs=partial(ended_runs, connection),
        requirements=_requirements(connection),
        children={row.seq: _children(connection, row.seq) for row in connection.execute(arrays)},
        jobs=(stored_job(row) for row in connection.execution_options(yield_per=1000).execute(unfinished)),
    )


def _details(connection: Connection, kind: str, shape: type[Detail]) -> list[Detail]:
    query = select(resources.c.document).where(resources.c.kind == kind).order_by(resources.c.name)
    return [msgspec.json.decode(document, type=shape) for (document,) in connection.execute(query)]


def _definitions(connection: Connection) -> dict[str, DefinitionFamily]:
    families: dict[str, DefinitionFamily] = {}
    for row in connection.execute(select(job_definitions).order_by(job_definitions.c.name, job_definitions.c.revision)):
        family = families.setdefault(row.name, DefinitionFamily({}, set()))
        family.revisions[row.revision] = row.document
        family.newest = max(family.newest, row.revision)
        if row.active:
            family.active.add(row.revision)
    return families


def _requirements(connection: Connection) -> dict[int, tuple[Requirement, ...]]:
    """What unfinished jobs need of consumable resources, by seq."""
    table = job_consumable_resources
    query = (
        select(table.c.job_seq, table.c.resource, table.c.quantity)
        .join(jobs, jobs.c.seq == table.c.job_seq)
        .where(jobs.c.status.in_(_UNFINISHED))
        .order_by(table.c.job_seq, table.c.resource)
    )
    found: dict[int, tuple[Requirement, ...]] = {}
    for seq, resource, quantity in connection.execute(query):
        found[seq] = (*found.get(seq, ()), (resource, quantity))
    return found


def _children(connection: Connection, parent_seq: int) -> list[StoredJob]:
    rows = connection.execute(select(jobs).where(jobs.c.parent_seq == parent_seq).order_by(jobs.c.child_index))
    return [stored_job(row) for row in rows]


def facts(connection: Connection, job_ids: Iterable[str]) -> dict[str, JobFact]:
    """What is known of jobs, by id; unknown ids are left out. A child is known through its parent."""
    wanted = {job_id: split_child(job_id) for job_id in job_ids}
    parents = {
        row.id: row
        for chunk in chunks(sorted({parent for parent, _ in wanted.values()}))
        for row in connection.execute(
            select(jobs.c.id, jobs.c.seq, jobs.c.status, jobs.c.array_size).where(
                jobs.c.id.in_(chunk), jobs.c.kind != int(Kind.SERVICE)
            )
        )
    }
    found: dict[str, JobFact] = {}
    for job_id, (parent_id, index) in wanted.items():
        row = parents.get(parent_id)
        if row is None or (index is not None and (row.array_size is None or index >= row.array_size)):
            continue
        states = child_states(connection, row.seq, row.array_size) if row.array_size is not None else b""
        if index is None:
            found[job_id] = JobFact(Status(row.status), row.array_size, states)
        else:
            found[job_id] = JobFact(Status(states[index]))
    return found


def child_states(connection: Connection, parent_seq: int, size: int) -> bytes:
    """The status of each child of a finished array: children without a row have failed with their parent."""
    states = bytearray([Status.FAILED]) * size
    query = select(jobs.c.child_index, jobs.c.status).where(jobs.c.parent_seq == parent_seq)
    for index, status in connection.execute(query):
        states[index] = status
    return bytes(states)


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in lists short enough for one statement."""
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
