"""Array jobs, expanded lazily.

Ten thousand children cost one record and ten thousand bytes until they start. A child gets a record of its own when it
starts, or when it ends without having started while its siblings go on; the record goes away when the child has
finished, and its byte in `Array.states` remains. Source of the rules: User Guide "Array jobs".
"""

from __future__ import annotations

from heapq import heappop, heappush

from batchyard.kernel.records import JOB_STATUSES, Array, Job, Preemptions, Status


def new_array(size: int, *, sequential: bool) -> Array:
    """An array whose children all wait for the parent's dependencies."""
    counts = [0] * len(Status)
    counts[Status.PENDING] = size
    return Array(size=size, states=bytearray([Status.PENDING]) * size, counts=counts, sequential=sequential)


def status_of(array: Array, index: int) -> Status:
    return Status(array.states[index])


def set_status(array: Array, index: int, status: Status, now: int) -> None:
    """Moves one child from its present status to another."""
    array.counts[array.states[index]] -= 1
    array.counts[status] += 1
    array.states[index] = status
    array.summary_at = now


def release(array: Array, now: int) -> None:
    """The dependencies of the array as a whole are satisfied: children become RUNNABLE, all at once where nothing holds
    them one by one."""
    array.summary_at = now
    if array.sequential:
        array.ready = []
        first = next((index for index, state in enumerate(array.states) if state == Status.PENDING), array.size)
        follows = first == 0 or (first < array.size and array.states[first - 1] == Status.SUCCEEDED)
        if follows and not (array.blocked and first in array.blocked):
            make_ready(array, first, now)
    elif array.blocked:
        array.ready = []
        for index in range(array.size):
            if index not in array.blocked and array.states[index] == Status.PENDING:
                make_ready(array, index, now)
    else:
        pending = array.counts[Status.PENDING]
        if pending == array.size:
            array.states[:] = bytes([Status.RUNNABLE]) * array.size
        else:
            for index, state in enumerate(array.states):
                if state == Status.PENDING:
                    array.states[index] = Status.RUNNABLE
        array.counts[Status.PENDING] = 0
        array.counts[Status.RUNNABLE] += pending


def make_ready(array: Array, index: int, now: int) -> None:
    """One child has become RUNNABLE."""
    assert array.ready is not None
    set_status(array, index, Status.RUNNABLE, now)
    heappush(array.ready, index)


def next_ready(array: Array) -> int | None:
    """The child whose turn it is; None when no untouched child is ready."""
    if array.ready is not None:
        while array.ready and (array.states[array.ready[0]] != Status.RUNNABLE or array.ready[0] in array.children):
            heappop(array.ready)
        return array.ready[0] if array.ready else None
    index = array.next_index
    while index < array.size and (array.states[index] != Status.RUNNABLE or index in array.children):
        index += 1
    array.next_index = index
    return index if index < array.size else None


def waiting_of(job: Job) -> list[tuple[Job, int]]:
    """How many RUNNABLE jobs a job stands for: of an array, its children without a record, and each that has one."""
    if job.array is None:
        return [(job, 1)] if job.status is Status.RUNNABLE else []
    with_record = [(child, 1) for child in job.array.children.values() if child.status is Status.RUNNABLE]
    untouched = job.array.counts[Status.RUNNABLE] - len(with_record)
    return [(job, untouched), *with_record] if untouched else list(with_record)


def unfinished(array: Array) -> int:
    return array.size - array.counts[Status.SUCCEEDED] - array.counts[Status.FAILED]


def untouched(array: Array) -> list[int]:
    """The children that wait and have no record."""
    return [
        index for index, state in enumerate(array.states) if state <= Status.RUNNABLE and index not in array.children
    ]


def summary(array: Array) -> dict[str, int]:
    """`statusSummary`: all seven states, always."""
    return {status.name: array.counts[status] for status in JOB_STATUSES}


def child_of(parent: Job, index: int, seq: int) -> Job:
    """A record for one child, with what it inherits."""
    assert parent.array is not None
    child = Job(
        seq=seq,
        id=f"{parent.id}:{index}",
        name=parent.name,
        queue=parent.queue,
        definition=parent.definition,
        resources=parent.resources,
        created_at=parent.created_at,
        kind=parent.kind,
        status=status_of(parent.array, index),
        retry=parent.retry,
        timeout=parent.timeout,
        share=parent.share,
        priority=parent.priority,
        consumables=parent.consumables,
        log_prefix=parent.log_prefix,
        preemptions=Preemptions(retries=parent.preemptions.retries) if parent.preemptions is not None else None,
        terms=parent.terms,
        parent=parent,
        index=index,
    )
    parent.array.children[index] = child
    return child
