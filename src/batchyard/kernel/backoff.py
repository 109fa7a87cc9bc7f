"""Retry back-off: how long a job waits before it is tried again (tag `batchyard:retryBackoff`, of the job or its queue).

Only an attempt that failed counts: one that was preempted, or came back unbegun, is followed by the next as soon as there is
room. While it waits the job is RUNNABLE and stands in no line, so that it holds nobody up.
"""

from __future__ import annotations

from datetime import UTC, datetime
from heapq import heappop, heappush

from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import Job, Status
from batchyard.kernel.state import State
from batchyard.kernel.terms import Backoff


def backoff_of(job: Job) -> Backoff | None:
    """That of the job's own tag, or else that of its queue's."""
    own = job.terms.backoff if job.terms is not None else None
    return own or job.queue.terms.jobs.backoff


def delay_after(backoff: Backoff, failures: int) -> int:
    """Milliseconds to wait after so many failed attempts."""
    seconds: float = backoff.first
    for _ in range(failures - 1):
        seconds = min(seconds * backoff.factor, backoff.longest)
    return round(1000 * min(seconds, backoff.longest))


def put_off(state: State, job: Job, at: int) -> str | None:
    """An attempt has failed, and another is wanted: says until when the job waits, in words; None: it does not."""
    backoff = backoff_of(job)
    if backoff is None:
        return None
    job.amend().not_before = at + delay_after(backoff, len(job.attempts or ()))
    watch(state, job)
    return reason_of(job)


def reason_of(job: Job) -> str:
    """Why a job that waits for a time is not tried again yet."""
    at = datetime.fromtimestamp((job.not_before or 0) / 1000, UTC)
    return f"Waits until {at:%Y-%m-%d %H:%M:%S} UTC before attempt {job.attempt + 1} (retry back-off)"


def watch(state: State, job: Job) -> None:
    """Has the job woken when its time comes."""
    if job.not_before is not None:
        heappush(state.put_off, (job.not_before, job.seq, job))


def wake(state: State, now: int) -> None:
    """Puts those whose time has come back in line, at the front, where a retried job stands."""
    while state.put_off and state.put_off[0][0] <= now:
        job = heappop(state.put_off)[2]
        if job.not_before is None or job.not_before > now or job.status is not Status.RUNNABLE:
            continue
        job.amend().not_before = None
        state.save(job)
        if not job.is_withdrawn:
            job.status_reason = job.attempts[-1].status_reason if job.attempts else None
            state.count_waiting(job, 1)
            fifo.enqueue(job.queue, job)
