"""The lines of jobs in a queue with fair share: one for each share identifier.

In a line: the highest scheduling priority first; among equals those that are tried again, then by submission (User Guide
"Fair-share scheduling policies"; priorities never count across shares). Which line is next follows from the shares' claims
(`fair_share.py`). A head that cannot start blocks those behind it, but no other share.

An array stands in its line once, for all of its children that wait. Jobs are put in line by `fifo.enqueue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush, merge
from itertools import islice, takewhile
from typing import NamedTuple

import msgspec

from batchyard.kernel.arrays import next_ready
from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import FairShareLines, Job, JobQueue, ServiceRequest, ShareLine, Status
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State

Entry = tuple[int, int, int, Job]
"""Negative priority, rank, seq (`fifo.place_in_share`), and the job."""


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
    """Whose turn it is; None where those that wait lack a consumable resource, or could never run."""


def amount(resources: Resources, service: ServiceRequest | None) -> int:
    """What an attempt counts in its share: thousandths of a vCPU; for a service job, thousandths of an instance."""
    return 1000 * service.instance_count if service is not None else resources.milli_vcpus


def head(lines: FairShareLines, share: str) -> Job | None:
    """The job, or the array, whose turn it is in its share. Entries that no longer wait are dropped on the way."""
    line = lines.shares.get(share)
    if line is None:
        return None
    while line.waiting:
        job = line.waiting[0][3]
        if fifo.waits(job):
            return job
        drop_head(line)
    if not line.lines:
        del lines.shares[share]
    return None


def take(line: ShareLine) -> None:
    """The head has started: removes it, or keeps it when it is an array with more children ready."""
    job = line.waiting[0][3]
    if job.array is None or next_ready(job.array) is None:
        drop_head(line)


def drop_head(line: ShareLine) -> None:
    """Removes the head, whatever it is."""
    fifo.forget(heappop(line.waiting)[3])


def remove(line: ShareLine, job: Job) -> bool:
    """Takes a job or an array out of the line, wherever it stands: O(n). Returns whether it stood there."""
    left = [entry for entry in line.waiting if entry[3] is not job]
    found = len(left) < len(line.waiting)
    if found:
        line.waiting[:] = left
        heapify(line.waiting)
        fifo.forget(job)
    return found


def candidates(lines: FairShareLines, now: int) -> Iterator[Job]:
    """The heads of the lines, the share with the smallest claim first. Whoever asks starts the job (`FairShare.placed`, then
    `take`), moves it elsewhere (`drop_head`), or leaves it where it is; then the share's next head has its turn according
    to what the share has by then. A share whose head was left where it is, is not looked at again. One round costs
    O(shares), each start O(log shares).

    Who leaves a head where it is because it does not fit, and then starts those of other shares in what room there is,
    keeps large jobs waiting for ever. Room for the first that does not fit has to be kept."""
    fair_share = lines.fair_share
    fair_share.move(now)
    claims: list[tuple[int, int, str, Job]] = []
    for share in list(lines.shares):
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


def is_held_back(state: State, queue: JobQueue, job: Job) -> bool:
    """Whether a job would use what is reserved for shares that are not active yet."""
    if queue.fair is None or job.share is None or not queue.fair.fair_share.policy.reservation:
        return False
    return queue.fair.fair_share.held_back(job.share, amount(job.resources, job.service), capacity_of(state, queue))


def capacity_of(state: State, queue: JobQueue) -> int:
    """What reservations are a part of: `maxvCpus`, or `unmanagedvCpus`, of all compute environments of the queue, in
    thousandths of a vCPU; of a queue for service jobs, thousandths of an instance."""
    if queue.is_service:
        names = [entry.service_environment.rpartition("/")[2] for entry in queue.detail.service_environment_order or ()]
        services = [state.service_environments[name] for name in names if name in state.service_environments]
        return sum(1000 * (limit.max_capacity or 0) for each in services for limit in each.detail.capacity_limits or ())
    order = queue.detail.compute_environment_order or ()
    names = [entry.compute_environment.rpartition("/")[2] for entry in order]
    return sum(state.environments[name].max_milli_vcpus for name in names if name in state.environments)


def in_order(lines: FairShareLines, now: int, aside: Iterable[Job] = ()) -> Iterator[Turn]:
    """All that wait, in the order in which they would start if there were room now for one after another. Costs no more than
    what is asked for, and O(shares). Those that lack a consumable resource, and those that were set `aside`, keep their
    place in it."""
    lines.fair_share.move(now)
    elsewhere = _by_share(aside)
    shares = dict.fromkeys([*lines.shares, *elsewhere])
    for place in merge(*(_places(lines, share, now, *_heaps(lines, share, elsewhere)) for share in shares)):
        yield place.turn


def jobs_ahead(lines: FairShareLines, job: Job, now: int, at_most: int = 10_000) -> int:
    """How many waiting jobs of all shares (array children one by one) come before this one, or before the first waiting child
    of this array. Not counted beyond `at_most`, which limits the cost."""
    lines.fair_share.move(now)
    line = lines.shares.get(job.share or "")
    if line is None or not fifo.waits(job) or all(entry[3] is not job for entry in line.waiting):
        return 0
    of_mine = islice(_places(lines, job.share or "", now, line.waiting), at_most)
    mine = next((place for place in of_mine if place.turn.job is job), None)
    if mine is None:
        return at_most
    before = (
        place
        for share, other in lines.shares.items()
        for place in takewhile(lambda place: place < mine, _places(lines, share, now, other.waiting))
    )
    return sum(1 for _ in islice(before, at_most))


def in_line(line: ShareLine) -> Iterator[Job]:
    """The jobs and arrays of one share that wait for their turn, in its order, looking no further than is asked for."""
    return (entry[3] for entry in fifo.in_order(line.waiting) if fifo.waits(entry[3]))


def standings(lines: FairShareLines, now: int) -> list[Standing]:
    """All active shares, the one with the smallest claim first. O(shares), however many jobs wait."""
    fair_share = lines.fair_share
    fair_share.move(now)
    entitlements = fair_share.entitlements()
    usages = {share: account.usage.vcpu_seconds(now) for share, account in fair_share.accounts.items()}
    total = sum(usages.values())
    standings = []
    for share in sorted(usages, key=lambda share: (fair_share.claim(share, now), share)):
        line = lines.shares.get(share) or ShareLine()
        standings.append(
            Standing(
                share=share,
                usage=usages[share] / 3600,
                weight=fair_share.weight(share) / 1_000_000,
                entitlement=entitlements[share],
                part=usages[share] / total if total else 0.0,
                in_flight=fair_share.accounts[share].in_flight,
                waiting=fair_share.accounts[share].waiting,
                next=next((place.turn for place in _places(lines, share, now, line.waiting)), None),
            )
        )
    return standings


def _by_share(jobs: Iterable[Job]) -> dict[str, list[Entry]]:
    """A heap for each share."""
    heaps: dict[str, list[Entry]] = {}
    for job in jobs:
        heappush(heaps.setdefault(job.share or "", []), (*fifo.place_in_share(job), job))
    return heaps


def _heaps(lines: FairShareLines, share: str, elsewhere: dict[str, list[Entry]]) -> list[list[Entry]]:
    """All the heaps in which jobs of a share wait."""
    line = lines.shares.get(share) or ShareLine()
    return [line.waiting, *line.lines.values(), elsewhere.get(share, [])]


class _Place(NamedTuple):
    """Where something stands among all shares. Seq and child tell any two apart, so that a turn is never compared."""

    claim: int
    seq: int
    child: int
    turn: Turn


def _places(lines: FairShareLines, share: str, now: int, *heaps: list[Entry]) -> Iterator[_Place]:
    """The places of those in these heaps, all of one share, as they would start one after another."""
    claim = lines.fair_share.claim(share, now)
    for _, _, seq, job in merge(*map(fifo.in_order, heaps)):
        charge = lines.fair_share.charge(share, amount(job.resources, job.service))
        for turn in _turns(job):
            yield _Place(claim, seq, turn.child or 0, turn)
            claim += charge


def _turns(job: Job) -> Iterator[Turn]:
    """The job if it waits, or the children of the array that are ready."""
    array = job.array
    if array is None:
        if fifo.waits(job):
            yield Turn(job)
        return
    for index in sorted(array.ready) if array.ready is not None else range(array.next_index, array.size):
        if array.states[index] == Status.RUNNABLE and index not in array.children:
            yield Turn(job, index)
