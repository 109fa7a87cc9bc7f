"""Between the kernel's records and the rows of the tables."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from batchyard.kernel.records import Job, Status, Task
from batchyard.kernel.stored import StoredJob
from batchyard.shapes import batch as shapes

encode = msgspec.json.Encoder().encode
_decode_retry = msgspec.json.Decoder(shapes.RetryStrategy).decode
_decode_depends_on = msgspec.json.Decoder(list[shapes.JobDependency]).decode
_decode_attempts = msgspec.json.Decoder(list[shapes.AttemptDetail]).decode
_decode_task = msgspec.json.Decoder(Task).decode
_decode_counts = msgspec.json.Decoder(list[int]).decode


def new_row(job: Job) -> dict[str, Any]:
    """All columns of a job whose row does not exist yet."""
    row = changed_row(job)
    row["seq"] = row.pop("key")
    parent = job.parent
    if parent is not None:
        row |= _NO_CONSTANTS
        row["parent_seq"] = parent.seq
        row["child_index"] = job.index
        return row
    row["id"] = job.id
    row["parent_seq"] = row["child_index"] = None
    row["name"] = job.name
    row["queue"] = job.queue.name
    row["definition"] = job.definition
    row["milli_vcpus"] = job.resources.milli_vcpus
    row["memory"] = job.resources.memory
    row["gpus"] = job.resources.gpus
    row["created_at"] = job.created_at
    row["retry"] = encode(job.retry) if job.retry else None
    row["timeout"] = job.timeout
    row["share"] = job.share
    row["priority"] = job.priority
    row["log_prefix"] = job.log_prefix
    row["depends_on"] = encode(job.depends_on) if job.depends_on else None
    row["array_size"] = job.array.size if job.array else None
    return row


_NO_CONSTANTS: dict[str, Any] = dict.fromkeys(
    (
        "id",
        "name",
        "queue",
        "definition",
        "milli_vcpus",
        "memory",
        "gpus",
        "created_at",
        "retry",
        "timeout",
        "share",
        "priority",
        "log_prefix",
        "depends_on",
        "array_size",
    )
)


def changed_row(job: Job) -> dict[str, Any]:
    """The columns that change; `key` is the seq (the update's bound parameter)."""
    array = job.array
    return {
        "key": job.seq,
        "status": int(job.status),
        "status_reason": job.status_reason,
        "started_at": job.started_at,
        "stopped_at": job.stopped_at,
        "attempt": job.attempt,
        "attempts": encode(job.attempts) if job.attempts else None,
        "task": encode(job.task) if job.task else None,
        "ended_by": job.cancelled + 2 * job.terminated,
        "summary": encode(array.counts) if array else None,
        "summary_at": array.summary_at if array else None,
        "closed": int(array.closed) if array else None,
        "untouched_reason": array.untouched_reason if array else None,
    }


def stored_job(row: Row[Any]) -> StoredJob:
    """A row of `jobs`, all columns in the order of the table, as the kernel and the API read it."""
    job = StoredJob(*row)
    job.status = _STATUSES[job.status]
    if job.retry is not None:
        job.retry = _decode_retry(row.retry)
    if job.depends_on is not None:
        job.depends_on = _decode_depends_on(row.depends_on)
    if job.attempts is not None:
        job.attempts = _decode_attempts(row.attempts)
    if job.task is not None:
        job.task = _decode_task(row.task)
    if job.summary is not None:
        job.summary = _decode_counts(row.summary)
    return job


_STATUSES = tuple(Status)
