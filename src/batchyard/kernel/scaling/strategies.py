"""The order in which each allocation strategy considers instance types.

Source: User Guide "Instance type allocation strategies for AWS Batch". A strategy makes *rungs*: groups of types, the best
first. A job takes the first rung with a suitable type that can be launched; within a rung the cheapest way to hold the jobs
decides (see `packing`).

What stands for Spot *capacity* on machines one owns:

- how likely an instance of the type is to be interrupted, as the caller tells, in steps of 5 percent as EC2's Spot Instance
  advisor has them;
- its depth: the vCPUs that the machines could still take as instances of this type. A type is as deep as the deepest unless it
  has half of that or less; each halving is a step down. Without machines to look at all are as deep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from batchyard.catalogue import InstanceType
from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.shelf import Shelf

Strategy = Literal[
    "BEST_FIT",
    "BEST_FIT_PROGRESSIVE",
    "BEST_FIT_PROGRESSIVE_ORDERED",
    "SPOT_CAPACITY_OPTIMIZED",
    "SPOT_PRICE_CAPACITY_OPTIMIZED",
    "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED",
]

INTERRUPTION_STEP = 0.05
HALVING_WEIGHT = 0.1
"""What SPOT_PRICE_CAPACITY_OPTIMIZED adds to the price, as a part of it, for each halving of depth."""
_DEEP_ENOUGH = 1_000_000


class Offer(msgspec.Struct, frozen=True):
    """An instance type as a strategy sees it."""

    type: InstanceType
    capacity: Resources
    """What jobs can have of an instance."""
    slice: Resources
    """What an instance takes of a machine."""
    cost: float
    """What the strategy counts as its price. Above 0."""
    rung: tuple[int, ...]

    @property
    def vcpus(self) -> int:
        return self.type.vcpus


def rungs(
    strategy: Strategy,
    types: Sequence[InstanceType],
    *,
    spot: bool,
    machines: Shelf | None,
    interruption: Callable[[InstanceType], float] | None,
    places: Mapping[str, int] | None,
) -> list[list[Offer]]:
    """The types by rung, the best rung first; within a rung the larger types first, equals by name."""
    distinct = {each.name: each for each in types}
    positions = places or {name: number for number, name in enumerate(distinct)}
    depth = _halvings(distinct, machines)
    offers = []
    for each in distinct.values():
        likelihood = interruption(each) if interruption else 0.0
        place = positions.get(each.name, len(positions))
        capacity_rank = (int(likelihood / INTERRUPTION_STEP + 1e-9), depth[each.name])
        price = each.spot_price if spot else each.on_demand_price
        match strategy:
            case "BEST_FIT_PROGRESSIVE_ORDERED":
                rung: tuple[int, ...] = (place,)
            case "SPOT_CAPACITY_OPTIMIZED":
                rung = capacity_rank
            case "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED":
                rung = (*capacity_rank, place)
            case "SPOT_PRICE_CAPACITY_OPTIMIZED":
                rung, price = (), price * (1 + likelihood + HALVING_WEIGHT * depth[each.name])
            case "BEST_FIT" | "BEST_FIT_PROGRESSIVE":
                rung = ()
        offers.append(_offer(each, price, rung))
    offers.sort(key=lambda offer: (offer.rung, -offer.vcpus, -offer.capacity.memory, offer.type.name))
    return [list(group) for _, group in groupby(offers, key=lambda offer: offer.rung)]


def places_of(names: Sequence[str], expand: Callable[[Sequence[str]], Sequence[InstanceType]]) -> dict[str, int]:
    """The place of each instance type in a compute environment's `instanceTypes`.

    All types of a family share the family's place; one that the list also names by itself has its own instead.
    """
    places: dict[str, int] = {}
    for number, name in enumerate(names):
        for each in expand([name]):
            if each.name == name or (each.name not in names and each.name not in places):
                places.setdefault(each.name, number)
    return places


def _offer(each: InstanceType, price: float, rung: tuple[int, ...]) -> Offer:
    capacity = Resources(1000 * each.vcpus, each.schedulable_memory, each.gpus)
    return Offer(each, capacity, slice_of(each), max(price, 1e-6), rung)


def slice_of(each: InstanceType) -> Resources:
    """What an instance takes of a machine."""
    return Resources(1000 * each.vcpus, each.memory, each.gpus)


def _halvings(types: Mapping[str, InstanceType], machines: Shelf | None) -> dict[str, int]:
    """How often the depth of the deepest type halves down to each; a type that no machine has room for counts as one vCPU."""
    if machines is None:
        return dict.fromkeys(types, 0)
    depths = {name: max(1, machines.holds(slice_of(each), _DEEP_ENOUGH) * each.vcpus) for name, each in types.items()}
    deepest = max(depths.values(), default=1)
    return {name: (deepest // depth).bit_length() - 1 for name, depth in depths.items()}
