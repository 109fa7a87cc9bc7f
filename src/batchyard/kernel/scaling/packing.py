"""What one instance of a type would hold of the jobs that wait, and which type holds them at the least cost.

Jobs are worth what their resources cost on the cheapest mix of types: the dual prices of the linear programme "least cost
of instances whose vCPUs, and whose memory, together suffice". At those prices no instance can hold more than it costs, so
`cost / worth of what it holds` is at least 1, and 1 is perfect. That one number makes a small demand choose a small
instance, a large one a large instance, and jobs short of memory a type with memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.shelf import times_in
from batchyard.kernel.scaling.strategies import Offer

GOOD_ENOUGH = 0.95
"""A type is looked at only when it could beat the best so far by more than this. As the larger of equally promising types come
first, this is also how much dearer one large instance may be than several small ones."""
EQUAL = 1e-6
"""Scores that differ by less are equal, and the larger instance is better: there are fewer to start."""
LEAST_WORTH = 1e-9
"""Of jobs that ask for nothing, or for what has no price."""


class Work(msgspec.Struct):
    """The jobs that instances are chosen for."""

    shapes: list[Resources]
    left: list[int]
    """How many of each shape are not yet packed."""
    order: list[int]
    """The shapes in the order in which they are packed; those with none left may be missing."""
    proportional: bool
    """Whether an instance may hold a cross-section of the work, instead of the first in order before all others."""

    def total(self, indexes: Iterable[int]) -> Resources:
        milli_vcpus = memory = gpus = 0
        for index in indexes:
            shape, left = self.shapes[index], self.left[index]
            milli_vcpus += left * shape.milli_vcpus
            memory += left * shape.memory
            gpus += left * shape.gpus
        return Resources(milli_vcpus, memory, gpus)

    def total_without_gpus(self) -> Resources:
        """Never nothing, so that it has prices."""
        total = self.total(index for index, shape in enumerate(self.shapes) if not shape.gpus)
        return total if total.milli_vcpus or total.memory else Resources(1, 1)


class Mix(msgspec.Struct, frozen=True):
    """The shapes that may share an instance."""

    companions: Sequence[int]
    """None of which there are none left."""
    total: Resources
    """Of all that is left of them."""
    least: Resources
    """With less than this nothing more fits."""


class Prices(msgspec.Struct, frozen=True):
    """What a vCPU/1000, a MiB and a GPU are worth."""

    milli_vcpu: float
    memory: float
    gpu: float

    def of(self, resources: Resources) -> float:
        return resources.milli_vcpus * self.milli_vcpu + resources.memory * self.memory + resources.gpus * self.gpu


class Pattern(msgspec.Struct, frozen=True):
    """One instance and what it holds."""

    offer: Offer
    held: dict[int, int]
    """Number by shape, none of them 0."""
    score: float
    """Cost by worth; 1 is perfect."""


def prices(offers: Sequence[Offer], total: Resources) -> Prices:
    """The dual prices for jobs that need `total` together.

    Where GPUs are asked for they alone are counted: nobody launches a GPU instance for its vCPUs.
    """
    if total.gpus:
        return Prices(
            0.0, 0.0, min((each.cost / each.capacity.gpus for each in offers if each.capacity.gpus), default=0)
        )
    # Among (milli_vcpu, memory) prices that no type's cost falls short of, those that make the total worth most: a walk
    # along the lower hull of the types' lines, from memory for nothing to where memory is as scarce as in the total.
    at = min(offers, key=lambda each: (each.cost / each.capacity.milli_vcpus, -_memory_ratio(each)))
    memory = 0.0
    while total.memory and _memory_ratio(at) * total.milli_vcpus < total.memory:
        crossings = [
            (max(memory, _crossing(at, each)), -_memory_ratio(each), number)
            for number, each in enumerate(offers)
            if _memory_ratio(each) > _memory_ratio(at)
        ]
        ceiling = at.cost / at.capacity.memory
        if not crossings or min(crossings)[0] >= ceiling:
            return Prices(0.0, ceiling, 0.0)
        memory, _, number = min(crossings)
        at = offers[number]
    return Prices((at.cost - memory * at.capacity.memory) / at.capacity.milli_vcpus, memory, 0.0)


def _memory_ratio(offer: Offer) -> float:
    return offer.capacity.memory / offer.capacity.milli_vcpus


def _crossing(one: Offer, other: Offer) -> float:
    """The price of memory from which on `other`, with more memory, leaves less for a vCPU than `one`."""
    excess = other.cost / other.capacity.milli_vcpus - one.cost / one.capacity.milli_vcpus
    return excess / (_memory_ratio(other) - _memory_ratio(one))


def best_pattern(
    work: Work, head: int, offers: Sequence[Offer], prices: Prices, companions: Sequence[int], *, alone: bool
) -> Pattern:
    """The type, of those given, that holds the head and what may go with it at the least cost.

    `companions` are the shapes that may share an instance, in order, the head among them. With `alone` one type has to do for
    all jobs of the head's shape, and is judged by all instances that it would take.
    """
    mix = Mix(companions, work.total(companions), _least([work.shapes[index] for index in companions]))
    hopes = _hopes(work, head, offers, prices, prices.of(mix.total), alone=alone)
    best: Pattern | None = None
    for hope, offer in hopes:
        if best is not None and not _worth_a_look(hope, offer, best):
            continue
        for held in _fillings(work, head, offer, mix):
            score = _score(work, head, offer, held, prices, alone=alone)
            if best is None or score < best.score - EQUAL or (score < best.score + EQUAL and _larger(offer, best)):
                best = Pattern(offer, held, score)
            if best.offer is offer and hope >= best.score * GOOD_ENOUGH:
                break
    assert best is not None
    return best


def _worth_a_look(hope: float, offer: Offer, best: Pattern) -> bool:
    return hope < best.score * GOOD_ENOUGH or (hope < best.score + EQUAL and _larger(offer, best))


def _larger(offer: Offer, best: Pattern) -> bool:
    return offer.vcpus > best.offer.vcpus


def _least(shapes: Sequence[Resources]) -> Resources:
    return Resources(
        min(shape.milli_vcpus for shape in shapes),
        min(shape.memory for shape in shapes),
        min(shape.gpus for shape in shapes),
    )


def _hopes(
    work: Work, head: int, offers: Sequence[Offer], prices: Prices, worth: float, *, alone: bool
) -> list[tuple[float, Offer]]:
    """The best score that each type could reach, the best first; of equals, as they come: the largest first."""
    shape, count = work.shapes[head], work.left[head]
    hopes = []
    for offer in offers:
        instances = -(-count // times_in(shape, offer.capacity, count)) if alone else 1
        most = min(worth, instances * prices.of(offer.capacity))
        hopes.append((round(offer.cost * instances / max(LEAST_WORTH, most), 6), offer))
    hopes.sort(key=lambda entry: entry[0])
    return hopes


def _score(work: Work, head: int, offer: Offer, held: dict[int, int], prices: Prices, *, alone: bool) -> float:
    instances = -(-work.left[head] // held[head]) if alone else 1
    vcpus = memory = gpus = 0
    for index, number in held.items():
        shape = work.shapes[index]
        number = min(work.left[index], instances * number)
        vcpus += number * shape.milli_vcpus
        memory += number * shape.memory
        gpus += number * shape.gpus
    worth = vcpus * prices.milli_vcpu + memory * prices.memory + gpus * prices.gpu
    return offer.cost * instances / max(LEAST_WORTH, worth)


def _fillings(work: Work, head: int, offer: Offer, mix: Mix) -> Iterator[dict[int, int]]:
    capacity, count = offer.capacity, work.left[head]
    if work.proportional and len(mix.companions) > 1:
        total = mix.total
        share = min(
            capacity.milli_vcpus / total.milli_vcpus if total.milli_vcpus else 1.0,
            capacity.memory / total.memory if total.memory else 1.0,
            capacity.gpus / total.gpus if total.gpus else 1.0,
        )
        if share < 1:
            yield _fill(work, head, max(1, int(count * share)), capacity, mix, share)
    yield _fill(work, head, times_in(work.shapes[head], capacity, count), capacity, mix, None)


def _fill(work: Work, head: int, first: int, capacity: Resources, mix: Mix, share: float | None) -> dict[int, int]:
    """So many of the head, then of each companion its share of the work, then in order what still fits."""
    shapes, left = work.shapes, work.left
    held = {head: first}
    vcpus = capacity.milli_vcpus - first * shapes[head].milli_vcpus
    memory = capacity.memory - first * shapes[head].memory
    gpus = capacity.gpus - first * shapes[head].gpus
    for part in (share, 1) if share is not None else (1,):
        for index in mix.companions:
            shape = shapes[index]
            if shape.milli_vcpus > vcpus or shape.memory > memory or shape.gpus > gpus:
                continue
            already = held.get(index, 0)
            number = int(left[index] * part) - already
            if number <= 0:
                continue
            number = times_in(shape, Resources(vcpus, memory, gpus), number)
            held[index] = already + number
            vcpus -= number * shape.milli_vcpus
            memory -= number * shape.memory
            gpus -= number * shape.gpus
            if vcpus < mix.least.milli_vcpus or memory < mix.least.memory or gpus < mix.least.gpus:
                return held
    return held
