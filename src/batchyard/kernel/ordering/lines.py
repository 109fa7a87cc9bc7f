"""Lines of jobs that lack a consumable resource.

A job whose resources are not there leaves the queue proper, so that jobs which do not need them go on, and stands in the
line of the first resource that it lacks. In its queue nobody overtakes it there: later jobs that need the same resource
stand behind it, so that many small ones do not starve a large one. When there is more of a resource, the head of
its line goes back to its place in the queue; when that one has started, the next.

The line is of one queue. Between queues their priority decides, as it does about vCPUs. Source: User Guide "Resource-aware
scheduling" (jobs wait in RUNNABLE until all that they need is there); the order is ours.
"""

from __future__ import annotations

from heapq import heappop, heappush

from batchyard.kernel.consumable_resources import lacks
from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import Job, JobQueue
from batchyard.kernel.state import State


def stand_in_line(state: State, queue: JobQueue) -> bool:
    """Moves the head of the queue into a line when it lacks a resource, or when somebody before it does. Returns whether."""
    entry = queue.waiting[0]
    for requirement in entry[2].consumables or ():
        name = requirement[0]
        first = first_in_line(queue, name)
        if lacks(state, requirement) or (first is not None and first < entry[:2]):
            heappop(queue.waiting)
            heappush(queue.lines.setdefault(name, []), entry)
            call(state, queue, entry[2], but=name)
            return True
    return False


def call_freed(state: State) -> None:
    """There is more of some resources, or somebody who was called has gone: calls the heads of their lines."""
    freed, state.freed = state.freed, set()
    for queue in state.queues.values():
        for name in sorted(freed & queue.lines.keys()):
            _call_first(state, queue, name)


def call(state: State, queue: JobQueue, job: Job, *, but: str | None = None) -> None:
    """The job has started, or has left the queue: calls those who stand behind it for what it needs."""
    for name, _ in job.consumables or ():
        if name != but and name in queue.lines:
            _call_first(state, queue, name)


def first_in_line(queue: JobQueue, name: str) -> tuple[int, int] | None:
    """The place of the head of a line. Entries that no longer wait are dropped on the way."""
    line = queue.lines.get(name)
    while line:
        rank, seq, job = line[0]
        if fifo.waits(job):
            return rank, seq
        heappop(line)
        fifo.forget(job)
    if line is not None:
        del queue.lines[name]
    return None


def _call_first(state: State, queue: JobQueue, name: str) -> None:
    """Sends the head of the line back to the queue if all that it needs is there; if it lacks something else it goes to
    that line, and the next is looked at."""
    while first_in_line(queue, name) is not None:
        line = queue.lines[name]
        requirements = sorted(line[0][2].consumables or (), key=lambda requirement: requirement[0] != name)
        lacking = next((other for other, quantity in requirements if lacks(state, (other, quantity))), None)
        if lacking == name:
            return
        entry = heappop(line)
        if lacking is None:
            heappush(queue.waiting, entry)
            first_in_line(queue, name)
            return
        heappush(queue.lines.setdefault(lacking, []), entry)
