"""Rooms in bulk and one by one, against searches that look at everything; and the worth of jobs."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from fleet import room, types_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.packing import prices
from batchyard.kernel.scaling.rooms import BLOCK, Rooms, memory_ratio
from batchyard.kernel.scaling.shelf import Shelf, times_in
from batchyard.kernel.scaling.strategies import Offer, rungs

SMALL = st.builds(Resources, st.integers(0, 8), st.integers(0, 8), st.integers(0, 2))
SOME = SMALL.filter(lambda resources: resources != Resources(0, 0, 0))


# --- Rooms: the best instance for a job ---


@pytest.mark.parametrize(
    ("rooms", "wanted", "expected"),
    [
        pytest.param({"a": room(8, 32), "b": room(4, 16)}, room(2, 8), "b", id="least vCPUs left"),
        pytest.param({"a": room(4, 18), "b": room(4, 16)}, room(2, 8), "b", id="then least memory"),
        pytest.param({"b": room(4, 16), "a": room(4, 16)}, room(2, 8), "a", id="then the id"),
        pytest.param({"a": room(4, 16, 1), "b": room(8, 32)}, room(2, 8), "b", id="GPUs are kept"),
        pytest.param({"a": room(4, 16, 1)}, room(2, 8), "a", id="but not for nobody"),
        pytest.param({"a": room(4, 16, 4), "b": room(8, 32, 1)}, room(2, 8, 1), "b", id="fewest GPUs left"),
        pytest.param({"a": room(4, 16), "b": room(8, 32, 1)}, room(2, 8, 2), None, id="not enough GPUs"),
        pytest.param({"a": room(2, 16), "b": room(4, 8)}, room(2, 16), "a", id="memory"),
        pytest.param({"r": room(2, 16), "c": room(16, 32)}, room(1, 2), "c", id="memory is kept for those who need it"),
        pytest.param({"r": room(16, 128), "c": room(2, 4)}, room(0.5, 4), "r", id="who so find it"),
        pytest.param({"m": room(16, 64), "r": room(8, 64)}, room(1, 3), "m", id="nearest from above"),
        pytest.param({"m": room(16, 64), "c": room(8, 16)}, room(1, 6), "m", id="nearest from below"),
        pytest.param({"a": room(2, 4)}, room(3, 1), None, id="nowhere"),
        pytest.param({}, room(1, 1), None, id="no instances"),
    ],
)
def test_the_best_instance(rooms: dict[str, Resources], wanted: Resources, expected: str | None) -> None:
    index = Rooms()
    for name, free in rooms.items():
        index.add(name, free)
    assert index.find(wanted) == expected


def test_an_excluded_instance_is_not_found_until_it_is_included() -> None:
    rooms = Rooms()
    rooms.add("a", room(4, 16))
    rooms.exclude("a")
    rooms.exclude("a")
    assert rooms.find(room(1, 1)) is None
    assert rooms.find_empty(room(1, 1)) is None
    rooms.update("a", room(2, 2))
    rooms.include("a")
    rooms.include("a")
    assert rooms.find(room(2, 2)) == "a"
    assert rooms.find(room(3, 2)) is None
    rooms.exclude("a")
    rooms.remove("a")
    assert len(rooms) == 0


def test_an_instance_to_itself() -> None:
    rooms = Rooms()
    rooms.add("large", room(8, 32))
    rooms.add("small", room(4, 16))
    rooms.update("small", room(3, 16))
    assert rooms.find(room(1, 1)) == "small"
    assert rooms.find_empty(room(1, 1)) == "large"
    rooms.update("small", room(4, 16))
    assert rooms.find_empty(room(1, 1)) == "small"


def test_an_instance_that_holds_jobs_when_it_is_added() -> None:
    rooms = Rooms()
    rooms.add("a", room(1, 16), room(4, 16))
    assert rooms.find_empty(room(1, 1)) is None
    assert "a" in rooms
    assert rooms.room("a") == room(1, 16)


def test_mistakes_are_not_passed_over() -> None:
    rooms = Rooms()
    rooms.add("a", room(1, 1))
    with pytest.raises(ValueError, match="already there"):
        rooms.add("a", room(1, 1))
    for mistake in (rooms.remove, rooms.exclude, rooms.include, rooms.room):
        with pytest.raises(KeyError):
            mistake("b")
    with pytest.raises(KeyError):
        rooms.update("b", room(1, 1))


class RoomsMachine(RuleBasedStateMachine):
    """The index finds exactly what a look at every instance finds."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.rooms = Rooms()
        self.known: dict[str, tuple[Resources, Resources, bool]] = {}
        """Capacity, room, and whether it is excluded."""

    @rule(target=names, capacity=SMALL, part=st.sampled_from([0, 1, 2]))
    def add(self, capacity: Resources, part: int) -> str:
        name = f"i-{(len(self.known) * 7919) % 10_007}-{self.total_added}"
        self.total_added += 1
        free = _part(capacity, part)
        self.rooms.add(name, free, capacity)
        self.known[name] = capacity, free, False
        return name

    total_added = 0

    @rule(name=names, part=st.sampled_from([0, 1, 2]))
    def update(self, name: str, part: int) -> None:
        capacity, _, excluded = self.known[name]
        self.rooms.update(name, _part(capacity, part))
        self.known[name] = capacity, _part(capacity, part), excluded

    @rule(name=names, excluded=st.booleans())
    def exclude(self, name: str, excluded: bool) -> None:
        (self.rooms.exclude if excluded else self.rooms.include)(name)
        self.known[name] = (*self.known[name][:2], excluded)

    @rule(name=consumes(names))
    def remove(self, name: str) -> None:
        self.rooms.remove(name)
        del self.known[name]

    @rule(wanted=SMALL)
    def find(self, wanted: Resources) -> None:
        there = {name: entry for name, entry in self.known.items() if not entry[2]}
        assert self.rooms.find(wanted) == _best_of(there, wanted)
        empty = {name: entry for name, entry in there.items() if entry[0] == entry[1]}
        assert self.rooms.find_empty(wanted) == _best_of(empty, wanted)

    @invariant()
    def size(self) -> None:
        assert len(self.rooms) == len(self.known)


TestRooms = RoomsMachine.TestCase
TestRooms.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def _part(capacity: Resources, part: int) -> Resources:
    return Resources(capacity.milli_vcpus * part // 2, capacity.memory * part // 2, capacity.gpus * part // 2)


def _best_of(known: dict[str, tuple[Resources, Resources, bool]], wanted: Resources) -> str | None:
    ratio = memory_ratio(wanted)

    def rank(name: str) -> tuple[Any, ...]:
        capacity, free, _ = known[name]
        kind = memory_ratio(capacity)
        suits = (kind < ratio, abs(kind - ratio))
        return capacity.gpus > 0, free.gpus, *suits, free.milli_vcpus, free.memory, name

    return min((name for name, (_, free, _) in known.items() if wanted.fits(free)), key=rank, default=None)


@given(st.randoms(use_true_random=False), st.integers(BLOCK, 8 * BLOCK))
@settings(max_examples=15, deadline=None)
def test_many_instances(chance: Any, count: int) -> None:
    """More than one block: cut in two when they are full, gone when they are empty."""
    rooms = Rooms()
    known: dict[str, tuple[Resources, Resources, bool]] = {}

    def some() -> Resources:
        return Resources(1000 * chance.randint(0, 16), 1024 * chance.randint(0, 32), chance.choice([0, 0, 0, 1]))

    capacity = Resources(16_000, 32 * 1024, 1)
    for number in range(count):
        known[f"i-{number}"] = capacity, some(), False
        rooms.add(f"i-{number}", known[f"i-{number}"][1], capacity)
    while known:
        wanted = some()
        assert rooms.find(wanted) == _best_of(known, wanted)
        name = chance.choice(sorted(known))
        if chance.random() < 0.5:
            rooms.remove(name)
            del known[name]
        else:
            known[name] = capacity, some(), False
            rooms.update(name, known[name][1])


# --- Shelf: rooms in bulk ---


@given(st.lists(SMALL, max_size=12), st.lists(st.tuples(SOME, st.integers(0, 30)), max_size=6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_shelf_takes_as_one_after_the_other(
    rooms: list[Resources], takes: list[tuple[Resources, int]], elsewhere: bool
) -> None:
    shelf, left = Shelf(rooms), Shelf()
    one_by_one, left_one_by_one = list(rooms), [] if elsewhere else None
    for wanted, count in takes:
        taken = shelf.take(wanted, count, leftovers=left if elsewhere else None)
        assert taken == _take(one_by_one, wanted, count, left_one_by_one)
        assert _content(shelf) == sorted(one_by_one, key=_order)
        assert not elsewhere or _content(left) == sorted(left_one_by_one or [], key=_order)


def _take(rooms: list[Resources], wanted: Resources, count: int, leftovers: list[Resources] | None) -> int:
    """What has been begun is filled first, as it is the smallest."""
    begun: list[Resources] = []
    for taken in range(count):
        for pool in (begun, rooms):
            fitting = [free for free in pool if wanted.fits(free)]
            if fitting:
                best = min(fitting, key=_order)
                pool.remove(best)
                (rooms if leftovers is None else begun).append(best - wanted)
                break
        else:
            if leftovers is not None:
                leftovers += begun
            return taken
    if leftovers is not None:
        leftovers += begun
    return count


@given(st.lists(SMALL, max_size=12), SOME, st.integers(0, 30))
def test_a_shelf_knows_how_often_something_fits(rooms: list[Resources], wanted: Resources, enough: int) -> None:
    held = Shelf(rooms).holds(wanted, enough)
    assert held == min(enough, Shelf(rooms).take(wanted, 10_000))
    assert held == min(enough, sum(times_in(wanted, free, 10_000) for free in rooms if wanted.fits(free)))


@given(st.lists(SMALL, max_size=12), SMALL, st.integers(0, 15))
def test_whole_rooms(rooms: list[Resources], wanted: Resources, count: int) -> None:
    shelf = Shelf(rooms)
    taken = shelf.take_whole(wanted, count)
    assert taken == min(count, sum(wanted.fits(free) for free in rooms))
    assert len(_content(shelf)) == len(rooms) - taken


def test_a_million_jobs_are_one_step() -> None:
    shelf = Shelf([room(4, 8)] * 3 + [room(10_000_000, 40_000_000)])
    assert shelf.take(room(1, 1), 1_000_000) == 1_000_000
    assert shelf.largest() == room(10_000_000 - 999_988, 40_000_000 - 999_988)


def _content(shelf: Shelf) -> list[Resources]:
    return sorted(shelf._rooms.elements(), key=_order)


def _order(resources: Resources) -> tuple[int, int, int]:
    return resources.gpus, resources.milli_vcpus, resources.memory


# --- prices: what jobs are worth ---


@given(
    st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(1, 40)), min_size=1, max_size=8),
    st.integers(0, 50),
    st.integers(0, 50),
)
@settings(max_examples=300, deadline=None)
def test_prices_are_the_dual_of_the_least_cost(sizes: list[tuple[int, int, int]], vcpus: int, memory: int) -> None:
    base = _offers("c.large")[0]
    offers = [Offer(base.type, Resources(v, m), base.slice, cost / 10, ()) for v, m, cost in sizes]
    total = Resources(vcpus, memory)
    found = prices(offers, total)
    assert found.milli_vcpu >= -1e-9
    assert found.memory >= -1e-9
    assert all(found.of(offer.capacity) <= offer.cost + 1e-9 for offer in offers), "no type is worth more than it costs"
    assert found.of(total) == pytest.approx(_least_cost(offers, total))


def _least_cost(offers: list[Offer], total: Resources) -> float:
    """Of parts of instances: at most two types are needed for two resources."""
    best = float("inf")
    for one, other in product(offers, offers):
        (a, b), (c, d) = (
            (one.capacity.milli_vcpus, one.capacity.memory),
            (other.capacity.milli_vcpus, other.capacity.memory),
        )
        alone = max(total.milli_vcpus / a, total.memory / b)
        best = min(best, alone * one.cost)
        determinant = a * d - b * c
        if determinant:
            first = (total.milli_vcpus * d - total.memory * c) / determinant
            second = (total.memory * a - total.milli_vcpus * b) / determinant
            if first >= 0 and second >= 0:
                best = min(best, first * one.cost + second * other.cost)
    return best


def test_of_gpu_jobs_only_gpus_are_priced() -> None:
    found = prices(_offers("c g"), Resources(8000, 8192, 4))
    assert (found.milli_vcpu, found.memory) == (0, 0)
    assert found.gpu == pytest.approx(0.6)


def _offers(types: str) -> list[Offer]:
    ladder = rungs("BEST_FIT", types_of(types), spot=False, machines=None, interruption=None, places=None)
    return [offer for rung in ladder for offer in rung]
