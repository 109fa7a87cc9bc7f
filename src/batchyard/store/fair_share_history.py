"""What the shares of fair-share queues have used of late: read once, when the server starts.

Nothing is kept for it alone: the attempts in the rows of jobs say it. Those that ended inside the window are wanted, of jobs
that have finished (found by the index on the time of their end), of jobs that are to be tried again, and of the children of
both; and of every job that finished inside the window the time of its end, until when its share was active. Jobs that were
removed are not remembered: where finished jobs are kept for less time than the window lasts, the past begins there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy import Connection, and_, case, null, or_, select

from batchyard.kernel.ordering.fair_share import Run
from batchyard.kernel.ordering.fair_share_lines import amount
from batchyard.kernel.records import ServiceRequest, Status
from batchyard.kernel.resources import Resources
from batchyard.store.schema import jobs

_UNFINISHED = [int(status) for status in Status if not status.terminal]
_ARRAYS_AT_ONCE = 500
"""In one IN list."""


class _Span(msgspec.Struct, rename="camel"):
    """Of an attempt, when it ran."""

    started_at: int | None = None
    stopped_at: int | None = None


_decode_spans = msgspec.json.Decoder(list[_Span]).decode
_decode_service = msgspec.json.Decoder(ServiceRequest).decode

_first_succeeded = and_(jobs.c.status == int(Status.SUCCEEDED), jobs.c.attempt == 1)
"""Then the row itself says when its only attempt ran, and there is nothing to decode."""
_spans = case((_first_succeeded, null()), else_=jobs.c.attempts)
_progress = (_first_succeeded, jobs.c.started_at, jobs.c.stopped_at, _spans)
_constants = (jobs.c.seq, jobs.c.queue, jobs.c.share, jobs.c.milli_vcpus, jobs.c.array_size, jobs.c.service)


class _Origin(msgspec.Struct, frozen=True):
    """Whose attempts they are."""

    queue: str
    share: str
    amount: int
    horizon: int


def ended_runs(connection: Connection, horizons: Mapping[str, int]) -> Iterator[tuple[str, Run]]:
    """Each with its queue, in no particular order, read while they are iterated over. `horizons`: by queue, the beginning of
    its window (milliseconds); only these queues are looked at."""
    if not horizons:
        return
    connection = connection.execution_options(yield_per=1000)
    arrays: dict[int, _Origin] = {}
    # Were the queue a part of the first condition, SQLite would go through all that the queue has ever finished.
    finished = jobs.c.stopped_at > min(horizons.values())
    tried = and_(
        jobs.c.queue.in_(list(horizons)),
        jobs.c.status.in_(_UNFINISHED),
        or_(jobs.c.attempts.is_not(None), jobs.c.array_size.is_not(None)),
    )
    for condition in (finished, tried):
        query = select(*_constants, *_progress).where(jobs.c.parent_seq.is_(None), jobs.c.share.is_not(None), condition)
        for seq, queue, share, milli_vcpus, array_size, service, *progress in connection.execute(query):
            if queue not in horizons:
                continue
            request = _decode_service(service) if service is not None else None
            counts = amount(Resources(milli_vcpus, 0), request)
            origin = _Origin(queue, share, counts, horizons[queue])
            if array_size is not None:
                arrays[seq] = origin
            for run in _runs(origin, *progress):
                yield queue, run
    yield from _runs_of_children(connection, arrays)


def _runs_of_children(connection: Connection, arrays: Mapping[int, _Origin]) -> Iterator[tuple[str, Run]]:
    seqs = sorted(arrays)
    for start in range(0, len(seqs), _ARRAYS_AT_ONCE):
        some = seqs[start : start + _ARRAYS_AT_ONCE]
        horizon = min(arrays[seq].horizon for seq in some)
        ended_in_time = or_(jobs.c.stopped_at > horizon, jobs.c.status.in_(_UNFINISHED))
        query = select(jobs.c.parent_seq, *_progress).where(
            jobs.c.parent_seq.in_(some), jobs.c.attempts.is_not(None), ended_in_time
        )
        for parent_seq, *progress in connection.execute(query):
            origin = arrays[parent_seq]
            for run in _runs(origin, *progress):
                yield origin.queue, run


def _runs(
    origin: _Origin, first_succeeded: int, started_at: int | None, stopped_at: int | None, spans: bytes | None
) -> Iterator[Run]:
    """What a row says of the time since the horizon."""
    if first_succeeded:
        if stopped_at is not None and stopped_at > origin.horizon:
            yield Run(origin.share, started_at, stopped_at, origin.amount)
        return
    for span in _decode_spans(spans) if spans is not None else ():
        if span.started_at is not None and span.stopped_at is not None and span.stopped_at > origin.horizon:
            yield Run(origin.share, span.started_at, span.stopped_at, origin.amount)
    if stopped_at is not None and stopped_at > origin.horizon:
        yield Run(origin.share, None, stopped_at, 0)
