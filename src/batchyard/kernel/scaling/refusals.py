"""Why nothing is launched for a demand, in words with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.limits import Limits
from batchyard.kernel.scaling.plans import Demand, Obstacle, Unmet
from batchyard.kernel.scaling.strategies import Offer


def refuse(
    demand: Demand,
    count: int,
    limits: Limits,
    *,
    suitable: Sequence[Offer],
    offers: Sequence[Offer],
    chosen: Offer | None = None,
) -> Unmet:
    """Names the obstacle that is last in the way: types, then machines, then maxvCpus.

    `chosen` is the type that BEST_FIT waits for.
    """
    if not suitable:
        return _too_large(demand, count, offers)
    smallest = min(suitable, key=_size)
    if chosen is not None:
        text = f"There is no capacity for {chosen.type.name}, which fits best; BEST_FIT waits for it."
        return Unmet(demand, count, Obstacle.UNAVAILABLE, (chosen.type.name,), smallest.vcpus, text)
    available = [offer for offer in suitable if limits.available(offer)]
    if not available:
        names = tuple(sorted(offer.type.name for offer in suitable))
        text = f"There is no capacity for {_listed(names)}" + (", the only suitable type." if len(names) == 1 else ".")
        return Unmet(demand, count, Obstacle.UNAVAILABLE, names, smallest.vcpus, text)
    together = min(demand.together, count)
    roomy = [offer for offer in available if limits.has_room(offer, together)]
    if not roomy:
        return _no_room(demand, count, limits, min(available, key=_size), smallest, together)
    return _max_vcpus(demand, count, limits, min(roomy, key=_size), smallest, together)


def _too_large(demand: Demand, count: int, offers: Sequence[Offer]) -> Unmet:
    if not offers:
        text = "The compute environment has no instance types."
        return Unmet(demand, count, Obstacle.TOO_LARGE, (), 0, text)
    nearest = max(offers, key=lambda offer: (_nearness(demand.resources, offer.capacity), offer.vcpus, offer.type.name))
    text = f"No instance type is large enough: it needs {demand.resources}; {nearest.type.name}, the nearest, has"
    return Unmet(demand, count, Obstacle.TOO_LARGE, (nearest.type.name,), 0, f"{text} {nearest.capacity}.")


def _no_room(demand: Demand, count: int, limits: Limits, offer: Offer, smallest: Offer, together: int) -> Unmet:
    assert limits.machines is not None
    room = limits.machines.largest()
    what = f"{together} instances of {offer.type.name}, {offer.slice} each" if together > 1 else offer.type.name
    needs = "" if together > 1 else f", which takes {offer.slice}"
    text = f"No machine has room for {what}{needs}; the largest room is {room or 'none'}."
    return Unmet(demand, count, Obstacle.NO_ROOM, (offer.type.name,), smallest.vcpus, text)


def _max_vcpus(demand: Demand, count: int, limits: Limits, offer: Offer, smallest: Offer, together: int) -> Unmet:
    what = f"{together} instances of {offer.type.name}" if together > 1 else f"another {offer.type.name}"
    text = (
        f"{what[0].upper()}{what[1:]} with {offer.vcpus * together} vCPU would exceed maxvCpus {limits.max_vcpus};"
        f" {limits.in_use} are in use."
    )
    return Unmet(demand, count, Obstacle.MAX_VCPUS, (offer.type.name,), smallest.vcpus, text)


def _size(offer: Offer) -> tuple[int, int, str]:
    return offer.vcpus, offer.capacity.memory, offer.type.name


def _nearness(needed: Resources, capacity: Resources) -> float:
    pairs = (
        (needed.milli_vcpus, capacity.milli_vcpus),
        (needed.memory, capacity.memory),
        (needed.gpus, capacity.gpus),
    )
    return min((min(1.0, has / needs) for needs, has in pairs if needs), default=1.0)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
