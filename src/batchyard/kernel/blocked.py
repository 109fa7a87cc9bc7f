"""Which jobs block their queue: since when, and with what code.

A job blocks its queue while AWS has a code for its wait: at the head of the queue or of a quota share, or set aside because
nothing could ever run it. Here what was set aside holds nobody up, but AWS calls its queue blocked, and so does this module.
The clock of a job starts when the code first holds, and stops when another one does, or none. `Job.blocked` is what the store
keeps; `JobQueue.blocked` has the same by code, the job that has been blocked for longest first.

Source: User Guide "Job queue blocked events", "Jobs stuck in a RUNNABLE status".
"""

from __future__ import annotations

from collections import OrderedDict

from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import Blocked, Job, JobQueue


def block(job: Job, code: str, now: int) -> bool:
    """The code holds of the job. Returns whether that is new; its row is to be saved then."""
    if job.blocked is not None and job.blocked.code == code:
        return False
    unblock(job)
    job.blocked = Blocked(code, now)
    _note(job, job.blocked)
    return True


def unblock(job: Job) -> None:
    """No code holds of the job any more."""
    if job.blocked is None:
        return
    jobs = job.queue.blocked.get(job.blocked.code, OrderedDict())
    jobs.pop(job.seq, None)
    if not jobs:
        job.queue.blocked.pop(job.blocked.code, None)
    job.blocked = None


def first(queue: JobQueue, code: str) -> Job | None:
    """The job of which this code has held for longest. Arrays that have nothing left to start are dropped on the way."""
    while jobs := queue.blocked.get(code):
        job = next(iter(jobs.values()))
        if fifo.waits(job):
            return job
        unblock(job)
    return None


def blocking(queue: JobQueue) -> tuple[Job, Blocked] | None:
    """The job that has blocked the queue for longest, with the code and the time; None when the queue is not blocked."""
    candidates = (first(queue, code) for code in list(queue.blocked))
    found = [(job, job.blocked) for job in candidates if job is not None and job.blocked is not None]
    return min(found, key=lambda each: (each[1].since, each[0].seq), default=None)


def resume(queue: JobQueue) -> None:
    """After a restart: the jobs that were blocked have been set aside, and the clocks go on."""
    for job in sorted(queue.unplaceable.values(), key=lambda job: job.blocked.since if job.blocked else 0):
        if job.blocked is not None:
            _note(job, job.blocked)


def _note(job: Job, blocked: Blocked) -> None:
    job.queue.blocked.setdefault(blocked.code, OrderedDict())[job.seq] = job
