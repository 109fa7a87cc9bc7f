"""Lines of jobs that lack a consumable resource, or a place below a cap (`caps.py`), which is treated as one.

A job whose resources are not there leaves its queue proper (or its quota share's line), so that jobs which do not need them
go on, and stands in the line of the first resource that it lacks. In its queue nobody overtakes it there: later jobs that
need the same resource stand behind it, so that many small ones do not starve a large one. When there is more of a resource,
the head of its line goes back to its place in the queue; when that one has started, the next.

The line is of one queue, or of one quota share. Between queues their priority decides, as it does about vCPUs, and between
shares what decides there about vCPUs. Source: User Guide "Resource-aware scheduling" (jobs wait in RUNNABLE until all that
they need is there); the order is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Protocol

from batchyard.kernel import caps
from batchyard.kernel.consumable_resources import lacks
from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import Job, Requirement
from batchyard.kernel.state import State


class Queue(Protocol):
    """A job queue or a quota share. Entries are the job's place there, and the job."""

    waiting: list[Any]
    lines: dict[str, list[Any]]


def all_queues(state: State) -> Iterator[Queue]:
    """The queues, each followed by its quota shares, or by its shares."""
    for queue in state.queues.values():
        yield queue
        yield from queue.quota_shares.values()
        if queue.fair is not None:
            yield from list(queue.fair.shares.values())


def stand_in_line(state: State, queue: Queue) -> bool:
    """Moves the head of the queue into a line when it lacks a resource, or when somebody before it does. Returns whether."""
    entry = queue.waiting[0]
    job: Job = entry[-1]
    for requirement in caps.requirements(job):
        name = requirement[0]
        first = first_in_line(queue, name)
        if is_lacking(state, job, requirement) or (first is not None and first < entry[:-1]):
            heappop(queue.waiting)
            heappush(queue.lines.setdefault(name, []), entry)
            call(state, queue, job, but=name)
            return True
    return False


def is_lacking(state: State, job: Job, requirement: Requirement) -> bool:
    """Whether the job lacks what it needs of a consumable resource, or a place below a cap."""
    return caps.is_reached(job, requirement[0]) if caps.is_cap(requirement[0]) else lacks(state, requirement)


def lacks_anything(state: State, job: Job) -> bool:
    """Whether it could not start even if there were room for it."""
    return any(is_lacking(state, job, requirement) for requirement in caps.requirements(job))


def call_freed(state: State) -> None:
    """There is more of some resources, or somebody who was called has gone: calls the heads of their lines."""
    freed, state.freed = state.freed, set()
    for queue in all_queues(state):
        for name in sorted(freed & queue.lines.keys()):
            _call_first(state, queue, name)


def call(state: State, queue: Queue, job: Job, *, but: str | None = None) -> None:
    """The job has started, or has left the queue: calls those who stand behind it for what it needs."""
    for name, _ in caps.requirements(job):
        if name != but and name in queue.lines:
            _call_first(state, queue, name)


def first_in_line(queue: Queue, name: str) -> tuple[int, ...] | None:
    """The place of the head of a line. Entries that no longer wait are dropped on the way."""
    line = queue.lines.get(name)
    while line:
        place: tuple[int, ...] = line[0][:-1]
        job: Job = line[0][-1]
        if fifo.waits(job):
            return place
        heappop(line)
        fifo.forget(job)
    if line is not None:
        del queue.lines[name]
    return None


def _call_first(state: State, queue: Queue, name: str) -> None:
    """Sends the head of the line back to the queue if all that it needs is there; if it lacks something else it goes to
    that line, and the next is looked at."""
    while first_in_line(queue, name) is not None:
        line = queue.lines[name]
        first: Job = line[0][-1]
        requirements = sorted(caps.requirements(first), key=lambda requirement: requirement[0] != name)
        lacking = next((each[0] for each in requirements if is_lacking(state, first, each)), None)
        if lacking == name:
            return
        entry = heappop(line)
        if lacking is None:
            heappush(queue.waiting, entry)
            first_in_line(queue, name)
            return
        heappush(queue.lines.setdefault(lacking, []), entry)
