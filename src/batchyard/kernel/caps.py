"""Caps on running jobs: of a queue, of each share, of each group of jobs, and of an array.

Tags set them: `batchyard:maxRunning`, `batchyard:maxRunningPerShare` and `batchyard:maxRunningPerGroup` on the job queue (the
group is the job's tag `batchyard:group`), `batchyard:maxRunning` on an array job. An attempt counts from the moment that it is
placed until it has ended.

A queue at its cap starts nothing, and a share at its cap is passed over. Arrays and groups share a line with others, whom
they must not hold up: there a cap is to a job what a consumable resource is, of which it takes one, and who lacks it stands
aside in a line of its own (`ordering/lines.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from batchyard.kernel.records import Job, JobQueue, Requirement
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State
from batchyard.kernel.terms import NO_TERMS

QUEUE = "queue"
SHARE = "share:"
GROUP = "group:"
ARRAY = "array:"
"""What the names of caps begin with. No consumable resource has a colon in its name."""


def requirements(job: Job) -> tuple[Requirement, ...]:
    """All that an attempt of the job takes and may have to stand in line for: consumable resources, and a place below each cap
    of its array and its group."""
    if job.terms is None:
        return job.consumables or ()
    return (*(job.consumables or ()), *((name, 1) for name in _own_caps(job)))


def _own_caps(job: Job) -> Iterator[str]:
    for name in job.cap_names:
        if limit_of(job, name) is not None:
            yield name


def _all_caps(job: Job) -> Iterator[str]:
    terms = job.queue.terms
    if terms.most_running is not None:
        yield QUEUE
    if terms.most_running_in_share is not None and job.share is not None:
        yield f"{SHARE}{job.share}"
    yield from _own_caps(job)


def is_cap(name: str) -> bool:
    """Whether a requirement of this name is a place below a cap."""
    return name.startswith((GROUP, ARRAY))


def limit_of(job: Job, name: str) -> int | None:
    """How many may be in flight below the cap of this name, which the job stands in line for; None: it is gone."""
    if name.startswith(ARRAY):
        return job.terms.most_running if job.terms is not None else None
    return job.queue.terms.most_running_in_group


def is_reached(job: Job, name: str) -> bool:
    """Whether the job would be one too many."""
    limit = limit_of(job, name)
    return limit is not None and job.queue.in_flight[name] >= limit


def room_in(queue: JobQueue, most: int) -> int:
    """How many jobs of the queue may start, but no more than `most`."""
    limit = queue.terms.most_running
    return most if limit is None else min(most, max(0, limit - queue.in_flight[QUEUE]))


def startable(state: State, queue: JobQueue) -> dict[Resources, int]:
    """How many of those that wait may start, by what they ask for: `JobQueue.demand` without those above a cap."""
    most = queue.terms.most_running
    if most is None and not queue.below_caps:
        return queue.demand
    found = dict(queue.demand)
    for name, waiting in queue.below_caps.items():
        limit = _limit_of(state, queue, name)
        room = max(0, limit - queue.in_flight[name]) if limit is not None else None
        for resources, count in waiting.items() if room is not None else ():
            allowed = min(count, room or 0)
            room = (room or 0) - allowed
            found[resources] = max(0, found.get(resources, 0) - count + allowed)
    return {resources: room_in(queue, count) for resources, count in found.items() if room_in(queue, count)}


def _limit_of(state: State, queue: JobQueue, name: str) -> int | None:
    if name.startswith(GROUP):
        return queue.terms.most_running_in_group
    array = state.jobs.get(name.removeprefix(ARRAY))
    return array.terms.most_running if array is not None and array.terms is not None else None


def is_full(queue: JobQueue) -> bool:
    """Whether the queue has reached its cap."""
    return room_in(queue, 1) == 0


def is_share_full(job: Job) -> bool:
    """Whether the share of the job has reached its cap."""
    limit = job.queue.terms.most_running_in_share
    return limit is not None and job.share is not None and job.queue.in_flight[f"{SHARE}{job.share}"] >= limit


def count(job: Job, sign: int) -> None:
    """An attempt of the job is in flight (1), or has ended (-1)."""
    if job.terms is None and job.queue.terms is NO_TERMS:
        return
    in_flight = job.queue.in_flight
    for name in _all_caps(job):
        in_flight[name] += sign
        if not in_flight[name]:
            del in_flight[name]


def recount(state: State, queue: JobQueue) -> None:
    """Tags have changed: counts again, and calls all who stand in line for a cap."""
    queue.in_flight = counted(state, queue)
    names = {*queue.lines}
    for share in queue.quota_shares.values():
        names.update(share.lines)
    for line in queue.fair.shares.values() if queue.fair is not None else ():
        names.update(line.lines)
    state.freed.update(name for name in names if is_cap(name))


def counted(state: State, queue: JobQueue) -> Counter[str]:
    """The attempts in flight, by the caps that they count for."""
    jobs = {job.id: job for job in state.tasks.values() if job.queue is queue}
    return Counter(name for job in jobs.values() for name in _all_caps(job))


def why_full(queue: JobQueue) -> str:
    """In words, that the queue has reached its cap."""
    return (
        f"Job queue {queue.name} runs {queue.in_flight[QUEUE]} of at most {queue.terms.most_running} jobs"
        " (its tag batchyard:maxRunning)."
    )


def why_share_full(job: Job) -> str:
    """In words, that the job's share has reached its cap."""
    queue = job.queue
    return (
        f"Share {job.share} of job queue {queue.name} runs {queue.in_flight[f'{SHARE}{job.share}']} of at most"
        f" {queue.terms.most_running_in_share} jobs (the queue's tag batchyard:maxRunningPerShare)."
    )


def why_reached(job: Job, name: str) -> str:
    """In words, that the job would be one too many below a cap of its own."""
    running = f"{job.queue.in_flight[name]} of at most {limit_of(job, name)}"
    if name.startswith(ARRAY):
        return f"Its array runs {running} children (the job's tag batchyard:maxRunning)."
    group = job.terms.group if job.terms is not None else None
    return f"Job queue {job.queue.name} runs {running} jobs of group {group} (the queue's tag batchyard:maxRunningPerGroup)."
