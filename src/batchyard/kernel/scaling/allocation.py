"""Which instances to launch for the jobs that wait.

Jobs first have the room on instances that run or boot. For the rest types are chosen by the compute environment's
allocation strategy and sized so that jobs pack well, within maxvCpus and, where instances are slices of machines, within
the machines.

Sources: User Guide "Instance type allocation strategies for AWS Batch", "Managed compute environments" (maxvCpus),
"Multi-node parallel jobs" (single tenant; one instance type for a job).

- BEST_FIT chooses one type for all jobs of a shape, the cheapest for them, whether it is available or not; when it is not,
  they wait. A type that no machine has room for is not chosen while another has. On demand it never exceeds maxvCpus.
- All others go on to the next type when one is unavailable, and may exceed maxvCpus by one instance at most: only when no
  suitable type stays within it, and then with the smallest.
- Cost per vCPU is that of the vCPUs which the jobs can use: a cheap type whose vCPUs idle because its memory is full is not
  cheap.
- Jobs without GPUs go to types without, unless none of those is large enough.
- While there is enough for all, large jobs are packed first, which packs best. When maxvCpus or the machines are too small
  for all, jobs are packed in the order in which they will be dispatched.

The cost follows shapes times types. The number of jobs does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import msgspec

from batchyard.catalogue import InstanceType
from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.limits import Limits
from batchyard.kernel.scaling.packing import Pattern, Prices, Work, best_pattern, prices
from batchyard.kernel.scaling.plans import Demand, Launch, Obstacle, Plan, Unmet
from batchyard.kernel.scaling.refusals import refuse
from batchyard.kernel.scaling.shelf import Shelf
from batchyard.kernel.scaling.strategies import Offer, Strategy, rungs, slice_of


def plan(
    strategy: Strategy,
    types: Sequence[InstanceType],
    demands: Sequence[Demand],
    *,
    spot: bool,
    current_vcpus: int,
    max_vcpus: int,
    free: Iterable[Resources] = (),
    idle: Iterable[Resources] = (),
    unavailable: Container[str] = frozenset(),
    host_rooms: Iterable[Resources] | None = None,
    interruption: Callable[[InstanceType], float] | None = None,
    places: Mapping[str, int] | None = None,
) -> Plan:
    """What to launch for `demands`, which come in dispatch order.

    `types` are those of the compute environment's `instanceTypes`, expanded, in the order of the list; `places` says which of
    them share a place in it (`strategies.places_of`), None that each has its own. `current_vcpus` are those of the
    environment's instances that run or boot. `free` is room on such instances that hold or await other jobs, `idle` the
    capacity of those that do not; only these take a node of a multi-node job. `unavailable` names types that lately had
    insufficient capacity. `host_rooms` is what the machines have left for instances, in vCPUs and nominal memory; None means
    that there is no such limit. Types that the machines could not hold even when empty should be left out of `types` (see
    `hostable`). `interruption` is the likelihood, from 0 to 1, that a Spot Instance of a type is interrupted.

    To have a number of vCPUs run whether or not there are jobs (minvCpus), ask for as many jobs of 1 vCPU and no memory.
    """
    rooms = None if host_rooms is None else list(host_rooms)
    ladder = rungs(
        strategy,
        types,
        spot=spot,
        machines=None if rooms is None else Shelf(rooms),
        interruption=interruption,
        places=places,
    )
    one_type = strategy == "BEST_FIT"
    left = _what_is_left(demands, Shelf(free), Shelf(idle))

    def attempt(*, in_dispatch_order: bool) -> Plan:
        limits = Limits(
            max_vcpus=max_vcpus,
            in_use=current_vcpus,
            may_cross=spot or not one_type,
            machines=None if rooms is None else Shelf(rooms),
            unavailable=unavailable,
        )
        return _run(_begin(demands, left, ladder, limits, one_type=one_type, in_dispatch_order=in_dispatch_order))

    packed = attempt(in_dispatch_order=False)
    if len(demands) > 1 and any(each.obstacle in (Obstacle.MAX_VCPUS, Obstacle.NO_ROOM) for each in packed.unmet):
        return attempt(in_dispatch_order=True)
    return packed


def hostable(types: Iterable[InstanceType], machines: Iterable[Resources]) -> list[InstanceType]:
    """Those of which an instance fits on one of the machines, when that is empty."""
    shelf = Shelf(machines)
    return [each for each in types if shelf.holds(slice_of(each), 1)]


def _what_is_left(demands: Sequence[Demand], free: Shelf, idle: Shelf) -> list[int]:
    """How many jobs of each demand find no room on the instances there are, taken in dispatch order."""
    left = []
    for demand in demands:
        count = demand.count
        if demand.exclusive:
            count -= idle.take_whole(demand.resources, count)
        else:
            count -= free.take(demand.resources, count)
            count -= idle.take(demand.resources, count, leftovers=free)
        left.append(count)
    return left


class _Attempt(msgspec.Struct):
    """One pass over the demands, in one order."""

    demands: Sequence[Demand]
    work: Work
    offers: list[Offer]
    suitable: list[list[list[Offer]]]
    """For each demand the rungs of the strategy, with those types that are suitable for it."""
    limits: Limits
    one_type: bool
    only_gpu_types: bool
    launched: dict[str, Launch] = {}
    unmet: dict[int, Unmet] = {}
    chosen: dict[int, Offer] = {}
    """The type that BEST_FIT has chosen for a shape."""
    prices: dict[tuple[int, bool, bool], Prices] = {}
    """By rung, and whether it is for jobs with GPUs and on types with GPUs."""


def _begin(
    demands: Sequence[Demand],
    left: list[int],
    ladder: list[list[Offer]],
    limits: Limits,
    *,
    one_type: bool,
    in_dispatch_order: bool,
) -> _Attempt:
    offers = [offer for rung in ladder for offer in rung]
    work = Work(
        shapes=[demand.resources for demand in demands],
        left=list(left),
        order=list(range(len(demands))),
        proportional=not in_dispatch_order,
    )
    if offers and not in_dispatch_order:
        worth = prices([offer for offer in offers if not offer.capacity.gpus] or offers, work.total_without_gpus())
        work.order.sort(
            key=lambda index: (
                not demands[index].exclusive,
                -work.shapes[index].gpus,
                -worth.of(work.shapes[index]),
                index,
            )
        )
    suitable = [_suitable(demand.resources, ladder) for demand in demands]
    only_gpu_types = all(offer.capacity.gpus for offer in offers)
    return _Attempt(demands, work, offers, suitable, limits, one_type, only_gpu_types)


def _suitable(resources: Resources, ladder: list[list[Offer]]) -> list[list[Offer]]:
    """The types that are large enough; those with GPUs only for jobs with GPUs, or when there are no others."""
    for gpus in (True,) if resources.gpus else (False, True):
        fitting = [
            [offer for offer in rung if (offer.capacity.gpus > 0) is gpus and resources.fits(offer.capacity)]
            for rung in ladder
        ]
        if any(fitting):
            return fitting
    return []


def _run(attempt: _Attempt) -> Plan:
    work = attempt.work
    while work.order:
        head = work.order[0]
        if not work.left[head]:
            work.order.pop(0)
        elif attempt.demands[head].exclusive:
            _launch_gangs(attempt, head)
            work.order.pop(0)
        elif not _launch_for(attempt, head):
            work.order.pop(0)
    return Plan(list(attempt.launched.values()), [attempt.unmet[index] for index in sorted(attempt.unmet)])


def _launch_for(attempt: _Attempt, head: int) -> bool:
    """Launches instances of one type for the head and what goes with it; False when nothing can be launched."""
    work, limits = attempt.work, attempt.limits
    pattern = _choose(attempt, head)
    if pattern is None:
        return False
    offer = pattern.offer
    number = min(work.left[index] // held for index, held in pattern.held.items())
    number = limits.most(offer, number) or 1
    for index, held in pattern.held.items():
        work.left[index] -= number * held
    _launch(attempt, offer, number)
    return True


def _choose(attempt: _Attempt, head: int) -> Pattern | None:
    limits, chosen = attempt.limits, attempt.chosen.get(head)
    for number, rung in enumerate(attempt.suitable[head]):
        candidates = [
            offer for offer in rung if (attempt.one_type or limits.available(offer)) and limits.has_place(offer)
        ]
        if chosen in candidates:
            candidates = [chosen]
        if candidates:
            pattern = _best(attempt, head, number, candidates)
            if not limits.available(pattern.offer):
                _refuse(attempt, head, pattern.offer)
                return None
            if attempt.one_type:
                attempt.chosen[head] = pattern.offer
            return pattern
    crossing = [
        (offer.vcpus, offer.cost, offer.type.name, number, offer)
        for number, rung in enumerate(attempt.suitable[head])
        for offer in rung
        if limits.available(offer) and limits.may_exceed_with(offer)
    ]
    if not crossing:
        _refuse(attempt, head)
        return None
    _, _, _, number, smallest = min(crossing, key=lambda entry: entry[:3])
    return _best(attempt, head, number, [smallest])


def _best(attempt: _Attempt, head: int, rung: int, candidates: list[Offer]) -> Pattern:
    work = attempt.work
    gpu_job, gpu_type = work.shapes[head].gpus > 0, candidates[0].capacity.gpus > 0
    companions = [
        index
        for index in work.order
        if work.left[index]
        and not attempt.demands[index].exclusive
        and (attempt.only_gpu_types or gpu_job == (work.shapes[index].gpus > 0))
    ]
    key = rung, gpu_job, gpu_type
    if key not in attempt.prices:
        like = [
            offer
            for offer in attempt.offers
            if (offer.capacity.gpus > 0) is gpu_type and offer.rung == candidates[0].rung
        ]
        attempt.prices[key] = prices(like, work.total(companions))
    return best_pattern(work, head, candidates, attempt.prices[key], companions, alone=attempt.one_type)


def _launch_gangs(attempt: _Attempt, head: int) -> None:
    """Launches whole instances, for all nodes of a multi-node job or for none, and for one job of one type."""
    demand, work, limits = attempt.demands[head], attempt.work, attempt.limits
    while work.left[head]:
        nodes = work.left[head] % demand.together or demand.together
        offer = _choose_for_gang(attempt, head, nodes)
        if offer is None:
            return
        gangs = max(1, limits.most(offer, work.left[head]) // nodes) if nodes == demand.together else 1
        work.left[head] -= gangs * nodes
        _launch(attempt, offer, gangs * nodes)


def _choose_for_gang(attempt: _Attempt, head: int, nodes: int) -> Offer | None:
    limits = attempt.limits
    for rung in attempt.suitable[head]:
        candidates = [
            offer
            for offer in rung
            if (attempt.one_type or limits.available(offer)) and limits.most(offer, nodes) == nodes
        ]
        if candidates:
            cheapest = min(candidates, key=lambda offer: (offer.cost, offer.vcpus, offer.type.name))
            if limits.available(cheapest):
                return cheapest
            _refuse(attempt, head, cheapest)
            return None
    crossing = [
        offer
        for rung in attempt.suitable[head]
        for offer in rung
        if limits.available(offer) and limits.may_exceed_with(offer, nodes)
    ]
    if crossing:
        return min(crossing, key=lambda offer: (offer.vcpus, offer.cost, offer.type.name))
    _refuse(attempt, head)
    return None


def _launch(attempt: _Attempt, offer: Offer, number: int) -> None:
    attempt.limits.launch(offer, number)
    before = attempt.launched.get(offer.type.name)
    attempt.launched[offer.type.name] = Launch(offer.type, number + (before.count if before else 0))


def _refuse(attempt: _Attempt, head: int, chosen: Offer | None = None) -> None:
    attempt.unmet[head] = refuse(
        attempt.demands[head],
        attempt.work.left[head],
        attempt.limits,
        suitable=[offer for rung in attempt.suitable[head] for offer in rung],
        offers=attempt.offers,
        chosen=chosen,
    )
