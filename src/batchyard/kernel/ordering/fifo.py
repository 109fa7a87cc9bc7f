"""First in, first out: jobs that are retried first, then by the time of submission.

Sources: User Guide "Job queues" and "Automated job retries" (a retried job goes to the front of its queue). The head
of the queue blocks those behind it, so that a large job is never starved by small ones; a job that nothing in the
queue could ever run is set aside and blocks nobody.

An array stands in the queue once, for all of its children that wait. A job in a quota share, or in a queue
with fair share, stands in the line of its share instead (`share_lines.py`, `fair_share_lines.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from batchyard.kernel.arrays import next_ready
from batchyard.kernel.caps import requirements
from batchyard.kernel.records import Job, JobQueue, QuotaShare, ShareLine, Status
from batchyard.kernel.resources import Resources

Entry = tuple[int, int, Job]
"""Rank, seq, job: what the heaps of a queue hold."""
EntryT = TypeVar("EntryT", bound=tuple[Any, ...])

_RETRIED = 0
_SUBMITTED = 1
_SWEEP_AFTER = 10_000


def enqueue(queue: JobQueue, job: Job) -> None:
    """Puts a RUNNABLE job, or an array with children that are ready, in its place: what is tried again (and an array child
    that has come back) before all others."""
    if job.is_withdrawn:
        return
    if job.array is not None:
        if job.array.queued:
            return
        job.array.queued = True
    line = line_of(job)
    if not isinstance(line, JobQueue):
        heappush(line.waiting, (*place_in_share(job), job))
        return
    entry = (*place(job), job)
    if entry[:2] in queue.passed:
        queue.passed.discard(entry[:2])  # Its entry is still there.
    else:
        heappush(queue.waiting, entry)
    if not requirements(job):
        heappush(queue.shapes.setdefault(_shape_of(job), []), entry)


def pass_by(queue: JobQueue, heap: list[Entry]) -> None:
    """The first job of a heap of `shapes` has started before its turn: its entry in `waiting` stands for it no longer."""
    rank, seq, job = heap[0]
    if job.array is None:
        heappop(heap)
        queue.passed.add((rank, seq))
    drop_left(heap)


def stands(queue: JobQueue, entry: Entry) -> bool:
    """Whether an entry of `waiting` still stands for something that waits."""
    return waits(entry[2]) and entry[:2] not in queue.passed


def withdraw(job: Job) -> None:
    """Takes a job, or an array, out of wherever it waits: O(n), for the request of a user."""
    queue, line = job.queue, line_of(job)
    queue.unplaceable.pop(job.seq, None)
    heaps: list[list[Any]] = [line.waiting, *line.lines.values(), *queue.shapes.values()]
    queue.passed -= {entry[:2] for entry in queue.waiting if entry[2] is job}
    for heap in heaps:
        left = [entry for entry in heap if entry[-1] is not job]
        if len(left) < len(heap):
            heap[:] = left
            heapify(heap)
    forget(job)


def _shape_of(job: Job) -> tuple[Resources, int | None, bool]:
    return job.resources, job.timeout, job.on_demand


def others_behind(queue: JobQueue, head: Job) -> list[list[Entry]]:
    """What waits behind the head and asks for something else: for each shape, its entries as a heap whose first one waits. The
    shape whose first job comes first is the first."""
    found: list[list[Entry]] = []
    for shape, heap in list(queue.shapes.items()):
        drop_left(heap)
        if not heap:
            del queue.shapes[shape]
        elif (shape[0], shape[2]) != (head.resources, head.on_demand):
            found.append(heap)
    return sorted(found, key=lambda heap: heap[0][:2])


def drop_left(heap: list[Entry]) -> None:
    """Drops the first entries that no longer wait."""
    while heap and not waits(heap[0][2]):
        heappop(heap)


def line_of(job: Job) -> JobQueue | QuotaShare | ShareLine:
    """Where the job waits for its turn: its quota share, its share, or its queue."""
    if job.queue.fair is not None:
        return job.queue.fair.of(job.share or "")
    return job.quota_share or job.queue


def place_in_line(job: Job) -> tuple[int, ...]:
    """The place of the job's entry, be it in a queue or in a quota share."""
    return place(job) if job.quota_share is None else place_in_share(job)


def place_in_share(job: Job) -> tuple[int, int, int]:
    """As `place`, in a quota share: there the highest scheduling priority comes first."""
    return -(job.priority or 0), *place(job)


def place(job: Job) -> tuple[int, int]:
    """The rank and the seq of the job's entry. They follow from what the store keeps of the job, so that a restart changes
    nobody's turn. In a queue without shares a priority that was changed counts; see `holding.py`."""
    rank = _RETRIED if job.attempts or job.parent is not None or _was_preempted(job) else _SUBMITTED
    return rank - 2 * _changed_priority(job), job.seq


def _was_preempted(job: Job) -> bool:
    """By another queue: within a queue of quota shares, who was preempted waits as before."""
    return job.preemptions is not None and job.preemptions.count > 0 and job.quota_share is None


def _changed_priority(job: Job) -> int:
    own = job.amendments.priority if job.amendments is not None else None
    if own is None:
        return _changed_priority(job.parent) if job.parent is not None else 0
    return own if job.queue.fair is None and job.quota_share is None else 0


def head(queue: JobQueue) -> Job | None:
    """The job, or the array, whose turn it is. Entries that no longer wait are dropped on the way."""
    while queue.waiting:
        entry = queue.waiting[0]
        if entry[:2] in queue.passed:
            queue.passed.discard(entry[:2])
            heappop(queue.waiting)
        elif waits(entry[2]):
            return entry[2]
        else:
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
    if queue.left < _SWEEP_AFTER:
        return
    heaps: list[list[Any]] = [queue.waiting, *queue.lines.values(), *queue.shapes.values()]
    for share in queue.quota_shares.values():
        heaps += (share.waiting, *share.lines.values())
    for line in queue.fair.shares.values() if queue.fair is not None else ():
        heaps += (line.waiting, *line.lines.values())
    if queue.left * 2 >= sum(map(len, heaps)):
        queue.left = 0
        queue.waiting[:] = [entry for entry in queue.waiting if entry[:2] not in queue.passed]
        queue.passed.clear()
        for heap in heaps:
            _sweep(heap)


def _sweep(heap: list[Any]) -> None:
    """Drops all entries that no longer wait."""
    for *_, job in heap:
        if not waits(job):
            forget(job)
    heap[:] = [entry for entry in heap if waits(entry[-1])]
    heapify(heap)


def in_order(heap: Sequence[EntryT]) -> Iterator[EntryT]:
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
    return sum(weight(entry[2]) for entry in queue.waiting if entry[:2] < mine and stands(queue, entry))


def weight(job: Job) -> int:
    """How many jobs an entry stands for."""
    if job.array is None:
        return 1
    return job.array.counts[Status.RUNNABLE] - sum(
        child.status is Status.RUNNABLE for child in job.array.children.values()
    )


def _drop_head(queue: JobQueue) -> Job:
    job = heappop(queue.waiting)[2]
    forget(job)
    same = queue.shapes.get(_shape_of(job))
    if same and same[0][2] is job:
        heappop(same)
    return job


def forget(job: Job) -> None:
    """The job's entry is gone."""
    if job.array is not None:
        job.array.queued = False


def waits(job: Job) -> bool:
    """Whether an entry still stands for something that waits."""
    if (job.amendments is not None or job.parent is not None) and job.is_withdrawn:
        return False
    if job.array is not None:
        return next_ready(job.array) is not None
    return job.status is Status.RUNNABLE
