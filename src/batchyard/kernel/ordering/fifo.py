"""First in, first out: jobs that are retried first, then by the time of submission.

Sources: User Guide "Job queues" and "Automated job retries" (a retried job goes to the front of its queue). The head
of the queue blocks those behind it, so that a large job is never starved by small ones; a job that nothing in the
queue could ever run is set aside and blocks nobody.

An array stands in the queue once, for all of its children that wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

from batchyard.kernel.arrays import next_ready
from batchyard.kernel.ordering import share_lines
from batchyard.kernel.records import Job, JobQueue, Status

Entry = tuple[int, int, Job]
"""Rank, seq, job: what the heaps of a queue hold."""

_RETRIED = 0
_SUBMITTED = 1
_SWEEP_AFTER = 10_000


def enqueue(queue: JobQueue, job: Job) -> None:
    """Puts a RUNNABLE job, or an array with children that are ready, in its place: what is tried again (and an array child
    that has come back) before all others."""
    if job.array is not None:
        if job.array.queued:
            return
        job.array.queued = True
    share = queue.quota_shares.get(job.share or "")
    if share is not None:
        share_lines.enqueue(share, place(job)[0], job)
        return
    heappush(queue.waiting, (*place(job), job))


def place(job: Job) -> tuple[int, int]:
    """The rank and the seq of the job's entry. They follow from what the store keeps of the job, so that a restart changes
    nobody's turn."""
    return (_RETRIED if job.attempts or job.parent is not None else _SUBMITTED), job.seq


def head(queue: JobQueue) -> Job | None:
    """The job, or the array, whose turn it is. Entries that no longer wait are dropped on the way."""
    while queue.waiting:
        job = queue.waiting[0][2]
        if waits(job):
            return job
        _drop_head(queue)
    return None


def take(queue: JobQueue) -> None:
    """Removes the head, or keeps it when it is an array with more children ready."""
    job = queue.waiting[0][2]
    if job.array is None or next_ready(job.array) is None:
        _drop_head(queue)


def set_aside(queue: JobQueue) -> Job:
    """Moves the head among the jobs that can never run as things are."""
    job = _drop_head(queue)
    queue.unplaceable[job.seq] = job
    return job


def bring_back(queue: JobQueue, job: Job) -> None:
    """Puts a job that was set aside back in line."""
    del queue.unplaceable[job.seq]
    if waits(job):
        enqueue(queue, job)


def leave(queue: JobQueue, job: Job) -> None:
    """A job has ended. Its entry, if it still waits, is dropped when its turn comes; where many such entries have gathered
    they are all dropped at once, so that cancelling a million jobs gives their memory back."""
    queue.unplaceable.pop(job.seq, None)
    queue.left += 1
    if queue.left >= _SWEEP_AFTER and queue.left * 2 >= len(queue.waiting) + sum(map(len, queue.lines.values())):
        queue.left = 0
        for heap in (queue.waiting, *queue.lines.values()):
            for _, _, other in heap:
                if not waits(other):
                    forget(other)
            heap[:] = [entry for entry in heap if waits(entry[2])]
            heapify(heap)
        for share in queue.quota_shares.values():
            share_lines.sweep(share)


def in_order(heap: Sequence[Entry]) -> Iterator[Entry]:
    """The entries of a heap, the first first, looking no further than is asked for."""
    following = [(heap[0], 0)] if heap else []
    while following:
        entry, index = heappop(following)
        yield entry
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(heap):
                heappush(following, (heap[child], child))


def jobs_ahead(queue: JobQueue, job: Job) -> int:
    """How many waiting jobs (array children counted one by one) come before this one, or before the first waiting child
    of this array. O(n): for the explanation of one job only."""
    mine = place(job)
    return sum(_weight(other) for rank, seq, other in queue.waiting if (rank, seq) < mine and waits(other))


def _weight(job: Job) -> int:
    if job.array is None:
        return 1
    return job.array.counts[Status.RUNNABLE] - sum(
        child.status is Status.RUNNABLE for child in job.array.children.values()
    )


def _drop_head(queue: JobQueue) -> Job:
    job = heappop(queue.waiting)[2]
    forget(job)
    return job


def forget(job: Job) -> None:
    """The job's entry is gone."""
    if job.array is not None:
        job.array.queued = False


def waits(job: Job) -> bool:
    """Whether an entry still stands for something that waits."""
    if job.array is not None:
        return next_ready(job.array) is not None
    return job.status is Status.RUNNABLE
