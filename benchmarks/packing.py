"""How well instances are chosen: vCPUs launched and their cost, against bounds that nothing can be below.

Random workloads, all of whose jobs wait at once. Instances are planned, jobs are placed on them one by one as the server
does (best fit), and those that found no place are planned for again, until all have one. The baseline is first fit: each
job goes to the first instance with room, and where there is none, the cheapest type that holds the job is launched.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import get_args

import msgspec

from batchyard.catalogue import InstanceType, load
from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.allocation import plan
from batchyard.kernel.scaling.plans import Demand
from batchyard.kernel.scaling.rooms import Rooms
from batchyard.kernel.scaling.strategies import Strategy, places_of
from benchmarks.measures import Aim, Result, Row, at_most, median_row
from benchmarks.sizes import Sizes

FAMILIES = ["m6i", "c6i", "r6i", "c7i", "g4dn"]
NO_LIMIT = 10**9
VCPUS = [0.25, 0.5, 1, 2, 4, 8, 16]
MEMORY_PER_VCPU = [0.5, 1, 1.75, 2, 3.75, 4, 7.5]
"""GiB."""
NAMES: dict[Strategy, str] = {
    "BEST_FIT": "best_fit",
    "BEST_FIT_PROGRESSIVE": "best_fit_progressive",
    "BEST_FIT_PROGRESSIVE_ORDERED": "best_fit_progressive_ordered",
    "SPOT_CAPACITY_OPTIMIZED": "spot_capacity_optimized",
    "SPOT_PRICE_CAPACITY_OPTIMIZED": "spot_price_capacity_optimized",
    "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED": "spot_capacity_optimized_prioritized",
}
FREE_TO_CHOOSE = ("BEST_FIT", "BEST_FIT_PROGRESSIVE", "SPOT_PRICE_CAPACITY_OPTIMIZED")
"""The strategies that choose by price; the order of the others leaves little to choose."""
SHAPES, TYPES = 100, 60
ROUNDS = 5
PLACINGS = 1000


class Outcome(msgspec.Struct, frozen=True):
    """All instances that a workload took."""

    instances: int
    vcpus: int
    cost: float


def measure(folder: Path, sizes: Sizes) -> Result:  # noqa: ARG001
    catalogue = load()
    types = catalogue.expand(FAMILIES)
    places = places_of(FAMILIES, catalogue.expand)
    workloads = [_workload(random.Random(seed), sizes.packing_jobs) for seed in range(1, sizes.packing_workloads + 1)]
    rows = []
    for strategy in get_args(Strategy):
        spot = strategy.startswith("SPOT")

        def carried_out(jobs: Sequence[Resources], strategy: Strategy = strategy, spot: bool = spot) -> Outcome:
            return _carry_out(strategy, types, jobs, spot, places)

        rows += _ratio_rows(NAMES[strategy], strategy, carried_out, workloads, types, spot, strategy in FREE_TO_CHOOSE)
    rows += _ratio_rows("first_fit", "baseline: first fit", lambda jobs: _first_fit(types, jobs), workloads, types)
    rows += _time_rows(catalogue.expand(["default_x86_64", "m7i", "r7i", "c5", "m5"])[:TYPES], sizes)
    notes = [
        f"{len(workloads)} random workloads of {sizes.packing_jobs:,} jobs, a fifth of them with GPU jobs; the median.",
        "Bound: the linear programme in which instances can be cut and jobs are a liquid, for jobs with and without GPUs"
        " apart. The cheapest feasible choice lies above it, so the excess over that is smaller than the one shown.",
        "Cost: on-demand prices; of the SPOT strategies Spot prices. Interruption rates are made up, by family.",
    ]
    return Result("Packing", rows, notes)


def _ratio_rows(
    key: str,
    label: str,
    choose: Callable[[Sequence[Resources]], Outcome],
    workloads: Sequence[Sequence[Resources]],
    types: Sequence[InstanceType],
    spot: bool = False,
    free: bool = False,
) -> list[Row]:
    vcpus, costs, instances = [], [], []
    for jobs in workloads:
        outcome = choose(jobs)
        vcpus.append(outcome.vcpus / _bound(types, jobs, lambda each: each.vcpus))
        costs.append(outcome.cost / _bound(types, jobs, lambda each: _price(each, spot)))
        instances.append(float(outcome.instances))
    return [
        median_row(f"packing.{key}.vcpus", f"{label}: vCPUs / bound", vcpus, "×"),
        median_row(f"packing.{key}.cost", f"{label}: cost / bound", costs, "×", at_most(1.1) if free else None),
        Row(
            key=f"packing.{key}.worst",
            label=f"{label}: cost / bound, worst of {len(workloads)}",
            value=max(costs),
            unit="×",
            aim=at_most(1.25) if free else None,
        ),
        median_row(f"packing.{key}.instances", f"{label}: instances", instances, ""),
    ]


def _workload(chance: random.Random, jobs: int) -> list[Resources]:
    """Jobs of 1 to 60 shapes, few of most shapes and many of some, in the order in which they were submitted."""
    shapes = [_shape(chance) for _ in range(chance.randint(1, 60))]
    if chance.random() < 0.2:
        shapes += [Resources(1000 * chance.choice([1, 2, 4]), 1024 * chance.randint(2, 14), 1) for _ in range(3)]
    weights = [chance.paretovariate(0.8) for _ in shapes]
    return chance.choices(shapes, weights, k=jobs)


def _shape(chance: random.Random) -> Resources:
    vcpus = chance.choice(VCPUS)
    return Resources(int(1000 * vcpus), int(1024 * vcpus * chance.choice(MEMORY_PER_VCPU) * chance.uniform(0.8, 1)))


def _carry_out(
    strategy: Strategy, types: Sequence[InstanceType], jobs: Sequence[Resources], spot: bool, places: dict[str, int]
) -> Outcome:
    rooms, waiting, vcpus, cost = Rooms(), list(jobs), 0, 0.0
    while waiting:
        free = [rooms.room(str(number)) for number in range(len(rooms))]
        planned = plan(
            strategy,
            types,
            _demands(waiting),
            spot=spot,
            current_vcpus=vcpus,
            max_vcpus=NO_LIMIT,
            free=free,
            interruption=_interruption,
            places=places,
        )
        assert planned.launches, planned.unmet
        assert not planned.unmet, planned.unmet
        for launch in planned.launches:
            for _ in range(launch.count):
                rooms.add(str(len(rooms)), _capacity(launch.type))
            vcpus += launch.count * launch.type.vcpus
            cost += launch.count * _price(launch.type, spot)
        waiting = [job for job in waiting if not _place(rooms, job)]
    return Outcome(len(rooms), vcpus, cost)


def _demands(jobs: Sequence[Resources]) -> list[Demand]:
    counts: dict[Resources, int] = {}
    for job in jobs:
        counts[job] = counts.get(job, 0) + 1
    return [Demand(job, count) for job, count in counts.items()]


def _place(rooms: Rooms, job: Resources) -> bool:
    found = rooms.find(job)
    if found is not None:
        rooms.update(found, rooms.room(found) - job)
    return found is not None


def _first_fit(types: Sequence[InstanceType], jobs: Sequence[Resources]) -> Outcome:
    rooms: list[Resources] = []
    tried: dict[Resources, int] = {}
    """Before this one, no instance has room for the shape any more: rooms only shrink."""
    vcpus, cost = 0, 0.0
    for job in jobs:
        number = tried.get(job, 0)
        while number < len(rooms) and not (job.fits(rooms[number]) and _may_go(job, rooms[number])):
            number += 1
        tried[job] = number
        if number == len(rooms):
            suitable = [each for each in types if job.fits(_capacity(each)) and (each.gpus > 0) == (job.gpus > 0)]
            cheapest = min(suitable, key=lambda each: (each.on_demand_price, each.name))
            rooms.append(_capacity(cheapest))
            vcpus += cheapest.vcpus
            cost += cheapest.on_demand_price
        rooms[number] -= job
    return Outcome(len(rooms), vcpus, cost)


def _may_go(job: Resources, room: Resources) -> bool:
    return job.gpus > 0 or room.gpus == 0


def _bound(types: Sequence[InstanceType], jobs: Sequence[Resources], weight: Callable[[InstanceType], float]) -> float:
    """The least weight of instances that have what the jobs need in total."""
    bound = 0.0
    for gpus in (False, True):
        mine = [job for job in jobs if (job.gpus > 0) is gpus]
        total = (sum(job.milli_vcpus for job in mine), sum(job.memory for job in mine), sum(job.gpus for job in mine))
        used = [number for number, amount in enumerate(total) if amount]
        rows = [(weight(each), _amounts(each)) for each in types if (each.gpus > 0) is gpus]
        # The dual: prices of the resources that make the total worth most while no type is worth more than it weighs.
        bound += _most([total[i] for i in used], [([has[i] for i in used], limit) for limit, has in rows])
    return bound


def _amounts(each: InstanceType) -> tuple[int, int, int]:
    return 1000 * each.vcpus, each.schedulable_memory, each.gpus


def _most(worth: list[int], constraints: list[tuple[list[int], float]]) -> float:
    """The largest `worth · y` with y ≥ 0 and `row · y` ≤ limit for each constraint: looks at every corner."""
    size = len(worth)
    if not size:
        return 0.0
    axes: list[tuple[list[int], float]] = [([int(i == j) for j in range(size)], 0.0) for i in range(size)]
    best = 0.0
    for corner in combinations([*constraints, *axes], size):
        point = _solve([[float(x) for x in row] for row, _ in corner], [limit for _, limit in corner])
        if point is None or any(y < -1e-12 for y in point):
            continue
        value = sum(w * y for w, y in zip(worth, point, strict=True))
        if value > best and all(
            sum(x * y for x, y in zip(row, point, strict=True)) <= limit * (1 + 1e-9) for row, limit in constraints
        ):
            best = value
    return best


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """Gauss–Jordan elimination; None when there is no single solution."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(len(rows)):
        pivot = max(range(column, len(rows)), key=lambda number: abs(rows[number][column]))
        if abs(rows[pivot][column]) < 1e-12:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for number, row in enumerate(rows):
            if number != column:
                rows[number] = [a - row[column] * b for a, b in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows]


def _time_rows(types: Sequence[InstanceType], sizes: Sizes) -> list[Row]:
    chance = random.Random(1)
    many = [Demand(_shape(chance), chance.randint(1, 1000)) for _ in range(SHAPES)]
    one = [Demand(Resources(1000, 2048), 1_000_000)]
    rows = [
        _timed("packing.plan_shapes", f"a plan: {SHAPES} shapes, {len(types)} types", many, types, at_most(50)),
        _timed("packing.plan_jobs", f"a plan: 1,000,000 jobs of a shape, {len(types)} types", one, types, at_most(2)),
    ]
    for count in sizes.packing_rooms:
        rows.append(
            median_row(
                f"packing.rooms_{'few' if count == sizes.packing_rooms[0] else 'many'}",
                f"the best of {count:,} instances for a job, and its room booked",
                [_placing_microseconds(count, seed) for seed in range(ROUNDS)],
                "µs",
            )
        )
    return rows


def _timed(key: str, label: str, demands: list[Demand], types: Sequence[InstanceType], aim: Aim) -> Row:
    samples = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        plan("BEST_FIT_PROGRESSIVE", types, demands, spot=False, current_vcpus=0, max_vcpus=NO_LIMIT)
        samples.append((time.perf_counter() - before) * 1000)
    return median_row(key, label, samples, "ms", aim)


def _placing_microseconds(count: int, seed: int) -> float:
    """Jobs come and go on instances that are half full."""
    chance = random.Random(seed)
    rooms = Rooms()
    for number in range(count):
        free = Resources(1000 * chance.randint(0, 32), 1024 * chance.randint(0, 128))
        rooms.add(str(number), free, Resources(64_000, 256 * 1024))
    shapes = [_shape(chance) for _ in range(20)]
    jobs = chance.choices(shapes, k=PLACINGS)
    before = time.perf_counter()
    for shape in jobs:
        found = rooms.find(shape)
        if found is not None:
            rooms.update(found, rooms.room(found) - shape)
            rooms.update(found, rooms.room(found) + shape)
    return (time.perf_counter() - before) * 1e6 / PLACINGS


def _interruption(each: InstanceType) -> float:
    """Made up: newer families are asked for more."""
    return {"m6i": 0.04, "c6i": 0.07, "r6i": 0.04, "c7i": 0.12}.get(each.family, 0.1)


def _capacity(each: InstanceType) -> Resources:
    return Resources(1000 * each.vcpus, each.schedulable_memory, each.gpus)


def _price(each: InstanceType, spot: bool) -> float:
    return each.spot_price if spot else each.on_demand_price
