"""Between the kernel's records and the rows of the tables."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from batchyard.kernel.records import Amendments, Blocked, Job, Preemptions, ServiceRequest, Status, Task
from batchyard.kernel.stored import StoredJob
from batchyard.kernel.terms import JobTerms
from batchyard.shapes import batch as shapes

encode = msgspec.json.Encoder().encode
_decode_retry = msgspec.json.Decoder(shapes.RetryStrategy).decode
_decode_depends_on = msgspec.json.Decoder(list[shapes.JobDependency]).decode
_decode_attempts = msgspec.json.Decoder(list[shapes.AttemptDetail]).decode
_decode_task = msgspec.json.Decoder(Task).decode
_decode_service = msgspec.json.Decoder(ServiceRequest).decode
_decode_blocked = msgspec.json.Decoder(Blocked).decode
_decode_preemptions = msgspec.json.Decoder(Preemptions).decode
_decode_terms = msgspec.json.Decoder(JobTerms).decode
_decode_amendments = msgspec.json.Decoder(Amendments).decode
_decode_counts = msgspec.json.Decoder(list[int]).decode


Values = tuple[Any, ...]


def new_row(job: Job) -> Values:
    """All columns of a job whose row does not exist yet, in the order of the table."""
    if job.parent is not None:
        return (job.seq, None, job.parent.seq, job.index, *_NO_CONSTANTS, *_progress(job))
    return (
        job.seq,
        job.id,
        None,
        None,
        job.name,
        job.queue.name,
        job.definition,
        job.resources.milli_vcpus,
        job.resources.memory,
        job.resources.gpus,
        job.created_at,
        encode(job.retry) if job.retry else None,
        job.timeout,
        job.share,
        job.priority,
        job.log_prefix,
        encode(job.depends_on) if job.depends_on else None,
        job.array.size if job.array else None,
        int(job.kind),
        *_progress(job),
    )


_NO_CONSTANTS = (None,) * 15


def changed_row(job: Job) -> Values:
    """The columns that change, in the order of the table, and the key of the row."""
    return (*_progress(job), job.seq)


def _progress(job: Job) -> Values:
    array = job.array
    return (
        int(job.status),
        job.status_reason,
        job.started_at,
        job.stopped_at,
        job.attempt,
        encode(job.attempts) if job.attempts else None,
        encode(job.task) if job.task else None,
        job.cancelled + 2 * job.terminated,
        encode(array.counts) if array else None,
        array.summary_at if array else None,
        int(array.closed) if array else None,
        array.untouched_reason if array else None,
        encode(job.service) if job.service else None,
        encode(job.blocked) if job.blocked else None,
        encode(job.preemptions) if job.preemptions else None,
        encode(job.terms) if job.terms and job.parent is None else None,
        encode(job.amendments) if job.amendments else None,
    )


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
    if job.service is not None:
        job.service = _decode_service(row.service)
    if job.blocked is not None:
        job.blocked = _decode_blocked(row.blocked)
    if job.preemptions is not None:
        job.preemptions = _decode_preemptions(row.preemptions)
    if job.terms is not None:
        job.terms = _decode_terms(row.terms)
    if job.amendments is not None:
        job.amendments = _decode_amendments(row.amendments)
    return job


_STATUSES = tuple(Status)


def ended_name(terminated_at: int, instance_id: str = "") -> str:
    """What a terminated instance is kept under: in the order of the end, so that a list and the retention find their place."""
    return f"{terminated_at:015d} {instance_id}"
