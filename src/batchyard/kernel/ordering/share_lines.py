"""The line of jobs in a quota share: the highest scheduling priority first; among equals those that are tried again, then
by submission. The head blocks those behind it, as in a queue (User Guide "Quota shares": a share is a virtual queue).
Jobs are put in line by `fifo.enqueue`; an array stands there once, for all of its children that wait.
"""

from __future__ import annotations

from heapq import heapify, heappop

from batchyard.kernel.arrays import next_ready
from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import Job, QuotaShare


def jobs_ahead(share: QuotaShare, job: Job) -> int:
    """How many waiting jobs (array children counted one by one) come before this one, or before the first waiting child of
    this array. O(n): for the explanation of one job only."""
    mine = fifo.place_in_share(job)
    return sum(fifo.weight(entry[3]) for entry in share.waiting if entry[:3] < mine and fifo.waits(entry[3]))


def head(share: QuotaShare) -> Job | None:
    """The job, or the array, whose turn it is. Entries that no longer wait are dropped on the way."""
    while share.waiting:
        job = share.waiting[0][3]
        if fifo.waits(job):
            return job
        drop_head(share)
    return None


def take(share: QuotaShare) -> None:
    """Removes the head, or keeps it when it is an array with more children ready."""
    job = share.waiting[0][3]
    if job.array is None or next_ready(job.array) is None:
        drop_head(share)


def drop_head(share: QuotaShare) -> None:
    """Removes the head, whatever it is."""
    fifo.forget(heappop(share.waiting)[3])


def remove(share: QuotaShare, job: Job) -> bool:
    """Takes a job that is no array out of the line, wherever it stands: O(n). Returns whether it stood there."""
    left = [entry for entry in share.waiting if entry[3] is not job]
    found = len(left) < len(share.waiting)
    share.waiting[:] = left
    heapify(share.waiting)
    return found
