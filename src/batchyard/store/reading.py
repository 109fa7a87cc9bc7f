"""The queries behind the API: jobs by id, lists of jobs, histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, func, or_, select, tuple_

from batchyard.kernel.instances import ENDED_KIND
from batchyard.kernel.records import InstanceDetail, Kind, Status
from batchyard.kernel.stored import StoredJob
from batchyard.shapes import batch as shapes
from batchyard.store.loading import chunks
from batchyard.store.rows import stored_job
from batchyard.store.schema import job_consumable_resources, jobs, resources, transitions, waits
from batchyard.store.schema import job_details as details_table

Detail = TypeVar("Detail", shapes.JobDetail, shapes.DescribeServiceJobResponse)

_decode_detail = msgspec.json.Decoder(shapes.JobDetail).decode
_decode_service_detail = msgspec.json.Decoder(shapes.DescribeServiceJobResponse).decode
_decode_instance = msgspec.json.Decoder(InstanceDetail).decode
_decode_tags = msgspec.json.Decoder(dict[str, str]).decode


class HistoryLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of a job's state, or one reason for a wait."""

    at: int
    status: str
    reason: str | None = None


def job_details(connection: Connection, seqs: Sequence[int]) -> dict[int, shapes.JobDetail]:
    """What jobs were asked to run, by seq, with their present tags."""
    return _details(connection, seqs, _decode_detail)


def service_job_details(connection: Connection, seqs: Sequence[int]) -> dict[int, shapes.DescribeServiceJobResponse]:
    """As `job_details`, for service jobs."""
    return _details(connection, seqs, _decode_service_detail)


def _details(connection: Connection, seqs: Sequence[int], decode: Callable[[bytes], Detail]) -> dict[int, Detail]:
    found: dict[int, Detail] = {}
    for chunk in chunks(seqs):
        for row in connection.execute(select(details_table).where(details_table.c.seq.in_(chunk))):
            detail = found[row.seq] = decode(row.document)
            if row.tags is not None:
                detail.tags = _decode_tags(row.tags)
    return found


def jobs_by_id(connection: Connection, job_ids: Sequence[str]) -> dict[str, StoredJob]:
    """Single jobs and array parents by id; unknown ids are left out."""
    return {
        row.id: stored_job(row)
        for chunk in chunks(job_ids)
        for row in connection.execute(select(jobs).where(jobs.c.id.in_(chunk)))
    }


def children(connection: Connection, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], StoredJob]:
    """Children that have a row, by (seq of the parent, index)."""
    found: dict[tuple[int, int], StoredJob] = {}
    for start in range(0, len(wanted), 250):
        some = wanted[start : start + 250]
        query = select(jobs).where(tuple_(jobs.c.parent_seq, jobs.c.child_index).in_(some))
        for row in connection.execute(query):
            found[row.parent_seq, row.child_index] = stored_job(row)
    return found


def last_entered(connection: Connection, seqs: Sequence[int], statuses: Sequence[Status]) -> dict[int, int]:
    """When jobs last entered any of these states, by seq."""
    states = [int(status) for status in statuses]
    query = (
        select(transitions.c.job_seq, func.max(transitions.c.at).label("at"))
        .where(transitions.c.job_seq.in_(seqs), transitions.c.status.in_(states))
        .group_by(transitions.c.job_seq)
    )
    return {row.job_seq: row.at for row in connection.execute(query)}


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs of a queue are wanted."""

    queue: str
    status: Status | None = None
    name: str | None = None
    """Case-insensitive; a trailing `*` makes it a prefix."""
    definition: str | None = None
    """An ARN, or the name (a trailing `*` makes it a prefix)."""
    created_before: int | None = None
    created_after: int | None = None
    share: str | None = None
    service: bool = False
    """Service jobs, in place of all others."""


def list_jobs(connection: Connection, wanted: JobFilter, before_seq: int | None, limit: int) -> list[StoredJob]:
    """Single jobs and array parents of a queue, newest first, from the page that follows `before_seq`."""
    query = select(jobs).where(jobs.c.parent_seq.is_(None), jobs.c.queue == wanted.queue, *_conditions(wanted))
    if before_seq is not None:
        query = query.where(jobs.c.seq < before_seq)
    rows = connection.execute(query.order_by(jobs.c.seq.desc()).limit(limit))
    return [stored_job(row) for row in rows]


def jobs_by_consumable_resource(
    connection: Connection,
    resource: str,
    statuses: Sequence[Status],
    names: Sequence[str],
    before_seq: int | None,
    limit: int,
) -> list[tuple[StoredJob, int]]:
    """Single jobs and array parents that need a consumable resource, each with the quantity, newest first, from the page that
    follows `before_seq`. No statuses, or no names, means any."""
    needs = job_consumable_resources
    query = select(jobs).join(needs, needs.c.job_seq == jobs.c.seq).where(needs.c.resource == resource)
    if statuses:
        query = query.where(jobs.c.status.in_([int(status) for status in statuses]))
    if names:
        query = query.where(or_(*(_name_condition(name) for name in names)))
    if before_seq is not None:
        query = query.where(needs.c.job_seq < before_seq)
    rows = [stored_job(row) for row in connection.execute(query.order_by(needs.c.job_seq.desc()).limit(limit))]
    of_these = select(needs).where(needs.c.resource == resource, needs.c.job_seq.in_([row.seq for row in rows]))
    quantities = {row.job_seq: row.quantity for row in connection.execute(of_these)}
    return [(row, quantities[row.seq]) for row in rows]


def ended_instances(connection: Connection, after: str | None, limit: int) -> list[tuple[str, InstanceDetail]]:
    """Instances that are gone, the last to go first, each with the name that it is kept under; from the page that follows
    `after`."""
    query = select(resources.c.name, resources.c.document).where(resources.c.kind == ENDED_KIND)
    if after is not None:
        query = query.where(resources.c.name < after)
    rows = connection.execute(query.order_by(resources.c.name.desc()).limit(limit))
    return [(name, _decode_instance(document)) for name, document in rows]


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    service = int(Kind.SERVICE)
    conditions = [jobs.c.kind == service if wanted.service else jobs.c.kind != service]
    if wanted.status is not None:
        conditions.append(jobs.c.status == int(wanted.status))
    if wanted.name is not None:
        conditions.append(_name_condition(wanted.name))
    if wanted.definition is not None:
        conditions.append(_definition_condition(wanted.definition))
    if wanted.created_before is not None:
        conditions.append(jobs.c.created_at < wanted.created_before)
    if wanted.created_after is not None:
        conditions.append(jobs.c.created_at > wanted.created_after)
    if wanted.share is not None:
        conditions.append(jobs.c.share == wanted.share)
    return conditions


def _name_condition(name: str) -> ColumnElement[bool]:
    """Case does not count, and a trailing `*` makes it a prefix."""
    prefix = name.removesuffix("*")
    if name.endswith("*"):
        return jobs.c.name.istartswith(prefix, autoescape=True)
    return jobs.c.name.ilike(_literal(prefix), escape="/")


def _definition_condition(definition: str) -> ColumnElement[bool]:
    """Case counts here, and LIKE ignores it in SQLite: a text that REPLACE changes is one that contains the name."""
    if definition.startswith("arn:"):
        return jobs.c.definition == definition
    name = definition[:-1] if definition.endswith("*") else f"{definition}:"
    return func.replace(jobs.c.definition, f":job-definition/{name}", "") != jobs.c.definition


def _literal(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def history(connection: Connection, seq: int, queue: str, until: int, *, array: bool = False) -> list[HistoryLine]:
    """A job's changes of state, and between them the reasons that held up its queue while it was RUNNABLE (an array is PENDING
    while its children are)."""
    waiting = "PENDING" if array else "RUNNABLE"
    query = select(transitions).where(transitions.c.job_seq == seq).order_by(transitions.c.id)
    lines = [HistoryLine(row.at, Status(row.status).name, row.reason) for row in connection.execute(query)]
    ends = [line.at for line in lines[1:]] + [until]
    merged: list[HistoryLine] = []
    for line, end in zip(lines, ends, strict=False):
        merged.append(line)
        if line.status == waiting:
            first = line.at if line.reason is None else line.at + 1
            held = select(waits).where(waits.c.queue == queue, waits.c.at >= first, waits.c.at < end)
            merged += [
                HistoryLine(row.at, waiting, row.reason) for row in connection.execute(held.order_by(waits.c.at))
            ]
    return merged
