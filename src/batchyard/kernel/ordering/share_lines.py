"""The line of jobs in a quota share: the highest scheduling priority first; among equals those that are tried again, then
by submission. The head blocks those behind it, as in a queue (User Guide "Quota shares": a share is a virtual queue).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from batchyard.kernel.records import Job, QuotaShare, Status


def enqueue(share: QuotaShare, rank: int, job: Job) -> None:
    """Puts a RUNNABLE job in its place. `rank`: as in `fifo.place`."""
    heappush(share.waiting, (-(job.priority or 0), rank, job.seq, job))


def jobs_ahead(share: QuotaShare, job: Job) -> int:
    """How many waiting jobs come before this one, which waits, too. O(n): for the explanation of one job only."""
    return next((place for place, other in enumerate(in_order(share)) if other is job), 0)


def head(share: QuotaShare) -> Job | None:
    """The job whose turn it is. Entries that no longer wait are dropped on the way."""
    while share.waiting:
        job = share.waiting[0][3]
        if _waits(job):
            return job
        heappop(share.waiting)
    return None


def take(share: QuotaShare, job: Job) -> None:
    """Removes the head, which is this job."""
    assert heappop(share.waiting)[3] is job


def remove(share: QuotaShare, job: Job) -> bool:
    """Takes a job out of the line, wherever it stands: O(n). Returns whether it stood there."""
    left = [entry for entry in share.waiting if entry[3] is not job]
    found = len(left) < len(share.waiting)
    share.waiting[:] = left
    heapify(share.waiting)
    return found


def sweep(share: QuotaShare) -> None:
    """Drops all entries that no longer wait."""
    share.waiting[:] = [entry for entry in share.waiting if _waits(entry[3])]
    heapify(share.waiting)


def in_order(share: QuotaShare) -> list[Job]:
    """All that wait, in the order of their turn."""
    return [entry[3] for entry in sorted(share.waiting) if _waits(entry[3])]


def _waits(job: Job) -> bool:
    return job.status is Status.RUNNABLE
