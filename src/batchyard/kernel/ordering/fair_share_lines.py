"""The lines of jobs in a queue with fair share: one for each share identifier.

In a line: the highest scheduling priority first; among equals those that are tried again, then by submission (User Guide
"Fair-share scheduling policies"; priorities never count across shares). Which line is next follows from the shares' claims
(`fair_share.py`). A head that cannot start blocks those behind it, but no other share.

An array stands in its line once, for all of its children that wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush, merge
from itertools import islice, takewhile
from typing import NamedTuple

import msgspec

from batchyard.kernel.arrays import next_ready
from batchyard.kernel.ordering.fair_share import FairShare
from batchyard.kernel.records import Job, Resources, ServiceRequest, Status

Entry = tuple[int, int, int, Job]
"""Negative priority, rank (as in `fifo.place`), seq, job."""


class Lines(msgspec.Struct, kw_only=True):
    """What waits in one queue, and the account of its shares."""

    fair_share: FairShare
    waiting: dict[str, list[Entry]] = {}
    """Heaps, by share identifier; one that has become empty is dropped."""


class Turn(NamedTuple):
    """A job that waits, or a child of an array that does."""

    job: Job
    """For a child without a record: its array."""
    child: int | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a share stands beside the others: `batchyard shares`."""

    share: str
    usage: float
    """vCPU-hours in the window, decayed."""
    weight: float
    """As it counts: a prefix entry's, times the number of active identifiers that it covers."""
    entitlement: float
    """The part of the usage that it should have."""
    part: float
    """The part of the usage that it has."""
    in_flight: int
    """Thousandths of a vCPU."""
    waiting: int
    """Jobs that are RUNNABLE, array children one by one."""
    next: Turn | None


def amount(resources: Resources, service: ServiceRequest | None) -> int:
    """What an attempt counts in its share: thousandths of a vCPU; for a service job, thousandths of an instance."""
    return 1000 * service.instance_count if service is not None else resources.milli_vcpus


def enqueue(lines: Lines, rank: int, job: Job) -> None:
    """Puts a RUNNABLE job, or an array with children that are ready, in its place. `rank`: as in `fifo.place`."""
    heappush(lines.waiting.setdefault(job.share or "", []), (-(job.priority or 0), rank, job.seq, job))


def head(lines: Lines, share: str) -> Job | None:
    """The job, or the array, whose turn it is in its share. Entries that no longer wait are dropped on the way."""
    line = lines.waiting.get(share)
    while line:
        job = line[0][3]
        if _waits(job):
            return job
        _forget(heappop(line)[3])
    lines.waiting.pop(share, None)
    return None


def take(lines: Lines, job: Job) -> None:
    """The head of its line, which is this job, has started, or a child of this array: removes it, or keeps an array with more
    children ready."""
    entry = lines.waiting[job.share or ""][0]
    assert entry[3] is job
    if job.array is None or next_ready(job.array) is None:
        _forget(heappop(lines.waiting[job.share or ""])[3])


def set_aside(lines: Lines, job: Job) -> None:
    """Removes the head of its line, which is this job, though it waits."""
    popped = heappop(lines.waiting[job.share or ""])[3]
    assert popped is job
    _forget(job)


def remove(lines: Lines, job: Job) -> bool:
    """Takes a job out of its line, wherever it stands: O(n). Returns whether it stood there."""
    line = lines.waiting.get(job.share or "", [])
    left = [entry for entry in line if entry[3] is not job]
    if len(left) == len(line):
        return False
    line[:] = left
    heapify(line)
    _forget(job)
    return True


def sweep(lines: Lines) -> None:
    """Drops all entries that no longer wait."""
    for share, line in list(lines.waiting.items()):
        for entry in line:
            if not _waits(entry[3]):
                _forget(entry[3])
        line[:] = [entry for entry in line if _waits(entry[3])]
        heapify(line)
        if not line:
            del lines.waiting[share]


def candidates(lines: Lines, now: int) -> Iterator[Job]:
    """The heads of the lines, the share with the smallest claim first. Whoever asks starts the job (`FairShare.placed`, then
    `take`), sets it aside, or leaves it where it is; then the share's next head has its turn according to what the share
    has by then. A share whose head was left where it is, is not looked at again. One round costs O(shares), each start O(log
    shares)."""
    fair_share = lines.fair_share
    fair_share.move(now)
    claims: list[tuple[int, int, str, Job]] = []
    for share in list(lines.waiting):
        job = head(lines, share)
        if job is not None:
            claims.append((fair_share.claim(share, now), job.seq, share, job))
    heapify(claims)
    while claims:
        _, _, share, job = heappop(claims)
        account = fair_share.accounts[share]
        in_flight = account.in_flight
        yield job
        following = head(lines, share)
        if following is not None and (following is not job or account.in_flight != in_flight):
            heappush(claims, (fair_share.claim(share, now), following.seq, share, following))


def in_order(lines: Lines, now: int, aside: Iterable[tuple[int, Job]] = ()) -> Iterator[Turn]:
    """All that wait, in the order in which they would start if there were room now for one after another. Costs no more than
    what is asked for, and O(shares). `aside`: rank and job of those that wait elsewhere, who keep their place in it."""
    lines.fair_share.move(now)
    elsewhere: dict[str, list[Entry]] = {}
    for rank, job in aside:
        elsewhere.setdefault(job.share or "", []).append((-(job.priority or 0), rank, job.seq, job))
    shares = dict.fromkeys([*lines.waiting, *elsewhere])
    for place in merge(*(_places(lines, share, now, elsewhere.get(share, ())) for share in shares)):
        yield place.turn


def jobs_ahead(lines: Lines, job: Job, now: int, at_most: int = 10_000) -> int:
    """How many waiting jobs of all shares (array children one by one) come before this one, or before the first waiting child
    of this array. Not counted beyond `at_most`, which limits the cost."""
    lines.fair_share.move(now)
    mine = next(
        (place for place in islice(_places(lines, job.share or "", now), at_most) if place.turn.job is job), None
    )
    if mine is None:
        stands_there = any(entry[3] is job for entry in lines.waiting.get(job.share or "", ())) and _waits(job)
        return at_most if stands_there else 0
    before = (
        place for share in lines.waiting for place in takewhile(lambda place: place < mine, _places(lines, share, now))
    )
    return sum(1 for _ in islice(before, at_most))


def in_line(lines: Lines, share: str) -> Iterator[Job]:
    """The jobs and arrays of one share that wait, in the order of their turn, looking no further than is asked for."""
    return (entry[3] for entry in _from_the_first(lines.waiting.get(share, [])) if _waits(entry[3]))


def standings(lines: Lines, now: int) -> list[Standing]:
    """All active shares, the one with the smallest claim first. O(n) in what waits."""
    fair_share = lines.fair_share
    fair_share.move(now)
    entitlements = fair_share.entitlements()
    usages = {share: account.usage.vcpu_seconds(now) for share, account in fair_share.accounts.items()}
    total = sum(usages.values())
    return [
        Standing(
            share=share,
            usage=usages[share] / 3600,
            weight=fair_share.weight(share) / 1_000_000,
            entitlement=entitlements[share],
            part=usages[share] / total if total else 0.0,
            in_flight=fair_share.accounts[share].in_flight,
            waiting=sum(_count(entry[3]) for entry in lines.waiting.get(share, ()) if _waits(entry[3])),
            next=next((place.turn for place in _places(lines, share, now)), None),
        )
        for share in sorted(usages, key=lambda share: (fair_share.claim(share, now), share))
    ]


class _Place(NamedTuple):
    """Where something stands among all shares. Seq and child tell any two apart, so that a turn is never compared."""

    claim: int
    seq: int
    child: int
    turn: Turn


def _places(lines: Lines, share: str, now: int, aside: Iterable[Entry] = ()) -> Iterator[_Place]:
    """The places of all that wait in one share, as they would start one after another."""
    claim = lines.fair_share.claim(share, now)
    for _, _, seq, job in merge(_from_the_first(lines.waiting.get(share, [])), sorted(aside)):
        charge = lines.fair_share.charge(share, amount(job.resources, job.service))
        for turn in _turns(job):
            yield _Place(claim, seq, turn.child or 0, turn)
            claim += charge


def _turns(job: Job) -> Iterator[Turn]:
    """The job if it waits, or the children of the array that are ready."""
    array = job.array
    if array is None:
        if _waits(job):
            yield Turn(job)
        return
    for index in sorted(array.ready) if array.ready is not None else range(array.next_index, array.size):
        if array.states[index] == Status.RUNNABLE and index not in array.children:
            yield Turn(job, index)


def _count(job: Job) -> int:
    if job.array is None:
        return 1
    with_record = sum(child.status is Status.RUNNABLE for child in job.array.children.values())
    return job.array.counts[Status.RUNNABLE] - with_record


def _from_the_first(heap: Sequence[Entry]) -> Iterator[Entry]:
    """The entries of a heap in order, looking no further than is asked for."""
    following = [(heap[0], 0)] if heap else []
    while following:
        entry, index = heappop(following)
        yield entry
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(heap):
                heappush(following, (heap[child], child))


def _forget(job: Job) -> None:
    """The job's entry is gone."""
    if job.array is not None:
        job.array.queued = False


def _waits(job: Job) -> bool:
    """Whether an entry still stands for something that waits."""
    if job.array is not None:
        return next_ready(job.array) is not None
    return job.status is Status.RUNNABLE
