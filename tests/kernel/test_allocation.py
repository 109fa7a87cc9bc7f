"""Allocation strategies: which instances are launched, and what is said about what is not."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from fleet import instance_type, jobs, launches, nodes, room, types_of
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.catalogue import InstanceType, load
from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.allocation import hostable, plan
from batchyard.kernel.scaling.plans import Demand, Obstacle, Plan
from batchyard.kernel.scaling.strategies import Strategy, places_of

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def planned(strategy: Strategy, types: str, *demands: Demand, **limits: Any) -> Plan:
    given: dict[str, Any] = {"spot": strategy.startswith("SPOT"), "current_vcpus": 0, "max_vcpus": 10_000_000, **limits}
    return plan(strategy, types_of(types), demands, **given)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("types", "demand", "expected"),
    [
        pytest.param("c m r", jobs(1, 1, 1), {"c.large": 1}, id="a small job does not get a large instance"),
        pytest.param("c", jobs(1, 2, 4), {"c.xlarge": 1}, id="all nominal memory of a type is never free"),
        pytest.param("c", jobs(1, 2, 3.5), {"c.large": 1}, id="but what jobs can have is"),
        pytest.param("c", jobs(1, 33, 1), {"c.24xlarge": 1}, id="the smallest that is large enough"),
        pytest.param("c g", jobs(1, 3, 1, 1), {"g.xlarge": 1}, id="GPUs"),
        pytest.param("g.xlarge c", jobs(2, 1, 1), {"c.large": 1}, id="no GPU type for jobs without GPUs"),
        pytest.param("g", jobs(4, 1, 1), {"g.xlarge": 1}, id="but where there is no other"),
        pytest.param("c.large g", jobs(1, 4, 1), {"g.xlarge": 1}, id="or no other is large enough"),
        pytest.param("c", jobs(0, 1, 1), {}, id="nobody waits"),
        pytest.param("c.large", jobs(3, 0, 0), {"c.large": 1}, id="jobs that ask for nothing"),
        pytest.param("c", Demand(Resources(1000, 0), 14), None, id="vCPUs to keep, whatever for"),
    ],
)
def test_every_strategy(strategy: Strategy, types: str, demand: Demand, expected: dict[str, int] | None) -> None:
    names = ["c", "m", "r", "g.xlarge", "c.large", "g"]
    places = {each.name: names.index(each.family) for each in types_of(types)}
    found = planned(strategy, types, demand, places=places)
    assert found.unmet == []
    if expected is None:
        assert found.vcpus in (14, 16)
    else:
        assert launches(found) == expected


@pytest.mark.parametrize(
    ("types", "demands", "expected"),
    [
        pytest.param(
            "c", [jobs(100, 1, 1)], {"c.24xlarge": 1, "c.xlarge": 1}, id="large instances where they are filled"
        ),
        pytest.param("c.large c.4xlarge", [jobs(100, 1, 1)], {"c.4xlarge": 6, "c.large": 2}, id="as cheap by vCPU"),
        pytest.param(
            "c m r", [jobs(96, 1, 3.5)], {"m.24xlarge": 1}, id="memory decides: vCPUs that idle are not cheap"
        ),
        pytest.param("c m r", [jobs(96, 1, 7.5)], {"r.24xlarge": 1}, id="much memory"),
        pytest.param(
            "c m r", [jobs(48, 1, 6.5), jobs(48, 1, 0.5)], {"m.24xlarge": 1}, id="shapes that complete each other"
        ),
        pytest.param(
            "c m", [jobs(32, 1, 3.5), jobs(32, 1, 1)], {"m.8xlarge": 1, "c.8xlarge": 1}, id="shapes that do not"
        ),
        pytest.param("c", [jobs(1_000_000, 1, 1)], {"c.24xlarge": 10_416, "c.8xlarge": 2}, id="a million jobs"),
        pytest.param("c", [jobs(1, 0.25, 1), jobs(1, 1.75, 1)], {"c.large": 1}, id="one instance for two shapes"),
        pytest.param("c g", [jobs(7, 1, 1, 1), jobs(2, 2, 1)], None, id="GPU instances are filled with GPU jobs only"),
    ],
)
def test_best_fit_progressive_is_the_lowest_cost_by_usable_vcpu(
    types: str, demands: list[Demand], expected: dict[str, int] | None
) -> None:
    found = planned("BEST_FIT_PROGRESSIVE", types, *demands)
    assert found.unmet == []
    assert launches(found) == (expected or {"g.4xlarge": 1, "g.2xlarge": 1, "g.xlarge": 1, "c.xlarge": 1})


@pytest.mark.parametrize(
    ("types", "demands", "expected"),
    [
        pytest.param(
            "c", [jobs(100, 1, 1)], {"c.xlarge": 25}, id="one type for a shape: the cheapest, of equals the largest"
        ),
        pytest.param(
            "c.24xlarge c.large", [jobs(7, 1, 1)], {"c.large": 4}, id="a large one that stays half empty is dear"
        ),
        pytest.param("c m", [jobs(10, 1, 3.5)], {"m.large": 5}, id="cheapest for all, not for one"),
        pytest.param("c m", [jobs(1, 1, 3.5)], {"c.large": 1}, id="and for one"),
        pytest.param("c.xlarge c.4xlarge", [jobs(13, 3, 1)], {"c.4xlarge": 3}, id="the same type for what remains"),
    ],
)
def test_best_fit_is_one_type(types: str, demands: list[Demand], expected: dict[str, int]) -> None:
    assert launches(planned("BEST_FIT", types, *demands)) == expected


def test_best_fit_waits_for_its_type() -> None:
    found = planned("BEST_FIT", "c.large m.large", jobs(4, 1, 1), unavailable={"c.large": 1})
    assert found.launches == []
    (unmet,) = found.unmet
    assert (unmet.count, unmet.obstacle, unmet.types) == (4, Obstacle.UNAVAILABLE, ("c.large",))
    assert unmet.text == "There is no capacity for c.large, which fits best; BEST_FIT waits for it."


@pytest.mark.parametrize("strategy", [each for each in STRATEGIES if each != "BEST_FIT"])
def test_all_others_go_on_to_further_types(strategy: Strategy) -> None:
    assert launches(planned(strategy, "c.large m.large", jobs(4, 1, 1), unavailable={"c.large"})) == {"m.large": 2}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_none_is_launched_when_all_suitable_types_are_unavailable(strategy: Strategy) -> None:
    found = planned(strategy, "c.large r.large", jobs(4, 1, 5), unavailable={"r.large"})
    (unmet,) = found.unmet
    assert (found.launches, unmet.obstacle, unmet.types) == ([], Obstacle.UNAVAILABLE, ("r.large",))


def test_the_unavailable_are_named() -> None:
    (unmet,) = planned(
        "BEST_FIT_PROGRESSIVE", "c.large m.large r.large", jobs(1, 1, 5), unavailable={"m.large", "r.large"}
    ).unmet
    assert unmet.text == "There is no capacity for m.large and r.large."


@pytest.mark.parametrize(
    ("names", "demand", "unavailable", "expected"),
    [
        pytest.param(["r", "c"], jobs(2, 1, 1), (), {"r.large": 1}, id="the order of the list, not the price"),
        pytest.param(["c.large", "m.4xlarge"], jobs(2, 4, 1), (), {"m.4xlarge": 1}, id="too small types are skipped"),
        pytest.param(["m", "c"], jobs(100, 1, 1), (), {"m.24xlarge": 1, "m.xlarge": 1}, id="a family by cost and size"),
        pytest.param(["c.2xlarge", "c"], jobs(9, 1, 1), (), {"c.2xlarge": 2}, id="an explicit type keeps its place"),
        pytest.param(["c", "c.large"], jobs(1, 1, 1), (), {"c.xlarge": 1}, id="and leaves its family"),
        pytest.param(["r", "c"], jobs(2, 1, 1), ["r.large"], {"r.xlarge": 1}, id="on in the same family"),
        pytest.param(["r.large", "c"], jobs(2, 1, 1), ["r.large"], {"c.large": 1}, id="on in the list"),
    ],
)
def test_best_fit_progressive_ordered(
    names: list[str], demand: Demand, unavailable: list[str], expected: dict[str, int]
) -> None:
    places = places_of(names, lambda some: types_of(" ".join(some)))
    found = planned("BEST_FIT_PROGRESSIVE_ORDERED", " ".join(names), demand, places=places, unavailable=unavailable)
    assert launches(found) == expected


def test_without_places_each_type_has_its_own() -> None:
    assert launches(planned("BEST_FIT_PROGRESSIVE_ORDERED", "c.xlarge c.large m.large", jobs(1, 1, 1))) == {
        "c.xlarge": 1
    }


def test_places_of_bundles() -> None:
    catalogue = load()
    places = places_of(["r6i.large", "optimal", "m6i.large", "r6i"], catalogue.expand)
    assert [places[name] for name in ("r6i.large", "r6i.xlarge", "c6i.large", "m6i.large", "m6i.xlarge")] == [
        0,
        1,
        1,
        2,
        1,
    ]


LIKELY = {"c": 0.12, "m": 0.03, "r": 0.04}


@pytest.mark.parametrize(
    ("strategy", "interruption", "expected"),
    [
        pytest.param("SPOT_CAPACITY_OPTIMIZED", LIKELY, "m.large", id="least likely to be interrupted, then the price"),
        pytest.param("SPOT_CAPACITY_OPTIMIZED", {**LIKELY, "m": 0.06}, "r.large", id="whatever the price"),
        pytest.param("SPOT_CAPACITY_OPTIMIZED", {"c": 0.0, "m": 0.0, "r": 0.0}, "c.large", id="all alike: the price"),
        pytest.param("SPOT_CAPACITY_OPTIMIZED_PRIORITIZED", LIKELY, "r.large", id="the list among those as good"),
        pytest.param("SPOT_CAPACITY_OPTIMIZED_PRIORITIZED", {**LIKELY, "r": 0.06}, "m.large", id="capacity first"),
        pytest.param("SPOT_PRICE_CAPACITY_OPTIMIZED", LIKELY, "c.large", id="0.04 × 1.12 is less than 0.048 × 1.03"),
        pytest.param("SPOT_PRICE_CAPACITY_OPTIMIZED", {**LIKELY, "c": 0.3}, "m.large", id="but 0.04 × 1.3 is more"),
        pytest.param("BEST_FIT_PROGRESSIVE", {**LIKELY, "c": 0.9}, "c.large", id="only the price"),
    ],
)
def test_spot(strategy: Strategy, interruption: dict[str, float], expected: str) -> None:
    found = planned(
        strategy,
        "r.large m.large c.large",
        jobs(2, 1, 1),
        spot=True,
        interruption=lambda each: interruption[each.family],
    )
    assert launches(found) == {expected: 1}


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        pytest.param(room(64, 512), "r.large", id="64 vCPUs of either"),
        pytest.param(room(64, 272), "r.large", id="34 vCPUs of r: more than half of 64"),
        pytest.param(room(64, 256), "m.large", id="32 vCPUs of r: half as deep"),
    ],
)
def test_capacity_is_the_room_of_machines(machine: Resources, expected: str) -> None:
    strategy: Strategy = "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"
    assert launches(planned(strategy, "r.large m.large", jobs(2, 1, 1), host_rooms=[machine])) == {expected: 1}


@pytest.mark.parametrize(("memory", "expected"), [(512, "r.large"), (256, "m.large"), (128, "m.large")])
def test_half_the_depth_counts_as_a_tenth_of_the_price(memory: int, expected: str) -> None:
    # r at 0.046 by instance, m at 0.048: 0.046 × 1.1 is 0.0506.
    types = [msgspec.structs.replace(instance_type("r.large"), spot_price=0.046), instance_type("m.large")]
    limits: dict[str, Any] = {"spot": True, "current_vcpus": 0, "max_vcpus": 100, "host_rooms": [room(64, memory)]}
    assert launches(plan("SPOT_PRICE_CAPACITY_OPTIMIZED", types, [jobs(2, 1, 1)], **limits)) == {expected: 1}


@pytest.mark.parametrize(("spot", "expected"), [(False, "r.large"), (True, "m.xlarge")])
def test_spot_prices_and_on_demand_prices(spot: bool, expected: str) -> None:
    # On demand r.large is 0.16 and m.xlarge 0.24; on Spot, at these prices, 0.08 and 0.07.
    types = [instance_type("r.large"), msgspec.structs.replace(instance_type("m.xlarge"), spot_price=0.07)]
    found = plan("BEST_FIT", types, [jobs(2, 1, 6)], spot=spot, current_vcpus=0, max_vcpus=100)
    assert launches(found) == {expected: 1}


MAXIMUM = [
    pytest.param("c.4xlarge c.large", 0, 50, {"c.4xlarge": 3, "c.large": 1}, 50, id="smaller types fill what is left"),
    pytest.param("c.4xlarge", 0, 48, {"c.4xlarge": 3}, 52, id="reached exactly: none crosses"),
    pytest.param("c.4xlarge c.large", 49, 50, {"c.large": 1}, 98, id="the smallest crosses"),
    pytest.param("c.4xlarge c.large", 50, 50, {}, 100, id="none when it is reached"),
    pytest.param("c.4xlarge c.large", 60, 50, {}, 100, id="nor when it was lowered"),
    pytest.param("c.4xlarge", 0, 40, {"c.4xlarge": 3}, 52, id="the last one crosses"),
]


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize(("types", "current", "most", "expected", "unmet"), MAXIMUM)
def test_max_vcpus_may_be_exceeded_by_one_instance(
    strategy: Strategy, types: str, current: int, most: int, expected: dict[str, int], unmet: int
) -> None:
    found = planned(strategy, types, jobs(100, 1, 1), current_vcpus=current, max_vcpus=most)
    assert launches(found) == expected
    (refused,) = found.unmet
    assert (refused.count, refused.obstacle) == (unmet, Obstacle.MAX_VCPUS)


def test_best_fit_exceeds_max_vcpus_on_spot_only() -> None:
    limits = {"current_vcpus": 0, "max_vcpus": 40}
    assert launches(planned("BEST_FIT", "c.4xlarge", jobs(100, 1, 1), spot=False, **limits)) == {"c.4xlarge": 2}
    assert launches(planned("BEST_FIT", "c.4xlarge", jobs(100, 1, 1), spot=True, **limits)) == {"c.4xlarge": 3}


def test_max_vcpus_in_words() -> None:
    (unmet,) = planned("BEST_FIT", "c", jobs(1, 8, 4), current_vcpus=12, max_vcpus=16).unmet
    assert (unmet.types, unmet.vcpus) == (("c.2xlarge",), 8)
    assert unmet.text == "Another c.2xlarge with 8 vCPU would exceed maxvCpus 16; 12 are in use."


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_below_max_vcpus_those_first_in_order_come_first(strategy: Strategy) -> None:
    small, large = jobs(4, 1, 1), jobs(2, 16, 8)
    found = planned(strategy, "c.large c.4xlarge", small, large, max_vcpus=20)
    assert {unmet.demand: unmet.count for unmet in found.unmet} == {large: 1}
    assert launches(found) == {"c.large": 2, "c.4xlarge": 1}


def test_too_large_in_words() -> None:
    found = planned("BEST_FIT_PROGRESSIVE", "c.large r.large", jobs(3, 2, 20), jobs(1, 1, 1, 1))
    assert [unmet.obstacle for unmet in found.unmet] == [Obstacle.TOO_LARGE, Obstacle.TOO_LARGE]
    assert [unmet.text for unmet in found.unmet] == [
        "No instance type is large enough: it needs 2 vCPU and 20480 MiB; r.large, the nearest, has 2 vCPU and 16184 MiB.",
        "No instance type is large enough: it needs 1 vCPU, 1024 MiB and 1 GPU; r.large, the nearest, has 2 vCPU and 16184 MiB.",
    ]


def test_an_environment_without_types() -> None:
    (unmet,) = planned("BEST_FIT", "", jobs(3, 1, 1)).unmet
    assert (unmet.count, unmet.obstacle, unmet.types) == (3, Obstacle.TOO_LARGE, ())


@pytest.mark.parametrize(
    ("free", "demands", "expected"),
    [
        pytest.param([room(2, 8)] * 3, [jobs(6, 1, 1)], {}, id="all have room"),
        pytest.param([room(2, 8)] * 3, [jobs(8, 1, 1)], {"c.large": 1}, id="the rest"),
        pytest.param([room(2, 1)], [jobs(2, 1, 1)], {"c.large": 1}, id="not enough memory for the second"),
        pytest.param(
            [room(4, 8), room(1, 1)], [jobs(1, 1, 1), jobs(1, 4, 4)], {}, id="the first takes the smallest room"
        ),
        pytest.param([room(8, 8, 1), room(1, 1)], [jobs(1, 1, 1), jobs(1, 4, 4, 1)], {}, id="and leaves GPUs"),
    ],
)
def test_room_on_running_and_booting_instances_comes_first(
    free: list[Resources], demands: list[Demand], expected: dict[str, int]
) -> None:
    found = planned("BEST_FIT_PROGRESSIVE", "c", *demands, free=free)
    assert (launches(found), found.unmet) == (expected, [])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("machines", "demand", "expected", "unmet"),
    [
        pytest.param([room(16, 64)], jobs(96, 1, 1), {"c.4xlarge": 1}, 80, id="no larger than the machine"),
        pytest.param([room(5, 64)], jobs(4, 1, 1), {"c.xlarge": 1}, 0, id="in what is left"),
        pytest.param([room(2, 4), room(2, 4)], jobs(4, 1, 1), {"c.large": 2}, 0, id="several machines"),
        pytest.param([room(2, 3.9)], jobs(1, 1, 1), {}, 1, id="nominal memory counts"),
        pytest.param([], jobs(1, 1, 1), {}, 1, id="no machine"),
    ],
)
def test_instances_are_slices_of_machines(
    strategy: Strategy, machines: list[Resources], demand: Demand, expected: dict[str, int], unmet: int
) -> None:
    places = {each.name: 0 for each in types_of("c")}
    found = planned(strategy, "c", demand, host_rooms=machines, places=places)
    assert launches(found) == expected
    assert sum(each.count for each in found.unmet) == unmet
    assert all(each.obstacle is Obstacle.NO_ROOM for each in found.unmet)


def test_no_room_in_words() -> None:
    (unmet,) = planned("BEST_FIT", "c", jobs(1, 3, 2), host_rooms=[room(2, 64), room(1, 99)]).unmet
    assert unmet.text == (
        "No machine has room for c.xlarge, which takes 4 vCPU and 8192 MiB; the largest room is 2 vCPU and 65536 MiB."
    )


def test_types_that_no_machine_could_hold() -> None:
    machines = [room(4, 8), room(2, 16)]
    assert [each.name for each in hostable(types_of("c r g"), machines)] == ["c.large", "c.xlarge", "r.large"]
    assert [each.name for each in hostable(types_of("g"), [room(8, 32, 1)])] == ["g.xlarge"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("demand", "limits", "expected", "unmet"),
    [
        pytest.param(nodes(4, 2, 2, together=4), {}, {"c.large": 4}, 0, id="an instance each, all of one type"),
        pytest.param(nodes(4, 1, 1, together=4), {"idle": [room(2, 4)] * 3}, {"c.large": 1}, 0, id="idle instances"),
        pytest.param(nodes(4, 1, 1, together=4), {"free": [room(2, 4)] * 4}, {"c.large": 4}, 0, id="no others"),
        pytest.param(nodes(1, 1, 1, together=1), {"idle": [room(0.5, 4)]}, {"c.large": 1}, 0, id="large enough ones"),
        pytest.param(nodes(8, 2, 2, together=4), {"max_vcpus": 12}, {"c.large": 4}, 4, id="all nodes of a job or none"),
        pytest.param(nodes(4, 2, 2, together=4), {"max_vcpus": 6}, {}, 4, id="none"),
        pytest.param(nodes(2, 2, 2, together=2), {"host_rooms": [room(3, 9)]}, {}, 2, id="not on half a machine"),
    ],
)
def test_multi_node_jobs(
    strategy: Strategy, demand: Demand, limits: dict[str, Any], expected: dict[str, int], unmet: int
) -> None:
    found = planned(strategy, "c.large c.xlarge m.large", demand, **limits)
    assert launches(found) == expected
    assert sum(each.count for each in found.unmet) == unmet


def test_an_instance_that_has_a_job_is_no_longer_idle() -> None:
    job, node = jobs(1, 1, 1), nodes(1, 0.5, 1, together=1)
    assert launches(planned("BEST_FIT_PROGRESSIVE", "c.large", node, idle=[room(2, 4)])) == {}
    assert launches(planned("BEST_FIT_PROGRESSIVE", "c.large", job, node, idle=[room(2, 4)])) == {"c.large": 1}
    assert launches(planned("BEST_FIT_PROGRESSIVE", "c.large", job, jobs(1, 1, 2), idle=[room(2, 4)])) == {}


def test_a_multi_node_job_has_one_type() -> None:
    # 3 c.large are 6 vCPU; the machines would take 2 c.large and a m.large.
    found = planned("BEST_FIT_PROGRESSIVE", "c.large m.large", nodes(3, 1, 1, together=3), host_rooms=[room(6, 16)])
    assert launches(found) == {"c.large": 3}
    found = planned("BEST_FIT_PROGRESSIVE", "c.xlarge m.large", nodes(3, 1, 1, together=3), host_rooms=[room(6, 24)])
    assert launches(found) == {"m.large": 3}


def test_nodes_may_exceed_max_vcpus_by_one_instance() -> None:
    demand = nodes(3, 8, 8, together=3)
    assert launches(planned("BEST_FIT_PROGRESSIVE", "c.2xlarge", demand, max_vcpus=17)) == {"c.2xlarge": 3}
    assert launches(planned("BEST_FIT_PROGRESSIVE", "c.2xlarge", demand, max_vcpus=16)) == {}
    (unmet,) = planned("BEST_FIT", "c.2xlarge", demand, max_vcpus=17).unmet
    assert unmet.text == "3 instances of c.2xlarge with 24 vCPU would exceed maxvCpus 17; 0 are in use."


def test_nodes_of_best_fit_wait_for_their_type() -> None:
    (unmet,) = planned("BEST_FIT", "c.large m.large", nodes(2, 1, 1, together=2), unavailable={"c.large"}).unmet
    assert (unmet.obstacle, unmet.types) == (Obstacle.UNAVAILABLE, ("c.large",))


# --- properties ---

ALL_TYPES = types_of("c m r g")
SHAPE = st.builds(
    Resources,
    st.sampled_from([250, 1000, 2000, 3000, 7000, 16_000, 96_000, 200_000]),
    st.integers(0, 200_000),
    st.sampled_from([0, 0, 0, 1, 3]),
)
DEMANDS = st.lists(
    st.one_of(
        st.builds(Demand, SHAPE, st.integers(0, 5000)),
        st.builds(Demand, SHAPE, st.integers(0, 12), exclusive=st.just(True), together=st.sampled_from([1, 2, 4])),
    ),
    max_size=8,
    unique_by=lambda demand: (demand.resources, demand.exclusive),
)
TYPES = st.lists(st.sampled_from(ALL_TYPES), max_size=12, unique=True)
ROOMS = st.lists(st.builds(Resources, st.integers(0, 64_000), st.integers(0, 256_000), st.integers(0, 2)), max_size=5)
CASE = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(STRATEGIES),
        "types": TYPES,
        "demands": DEMANDS,
        "spot": st.booleans(),
        "current_vcpus": st.integers(0, 200),
        "max_vcpus": st.integers(0, 2000),
        "free": ROOMS,
        "idle": ROOMS,
        "unavailable": st.frozensets(st.sampled_from([each.name for each in ALL_TYPES]), max_size=6),
        "host_rooms": st.none() | ROOMS,
    }
)


@given(CASE)
@settings(max_examples=300, deadline=None)
def test_max_vcpus_is_exceeded_by_less_than_one_instance(case: dict[str, Any]) -> None:
    found = plan(**case)
    total = case["current_vcpus"] + found.vcpus
    if not found.launches:
        return
    if case["strategy"] == "BEST_FIT" and not case["spot"]:
        assert total <= case["max_vcpus"]
    else:
        assert total < case["max_vcpus"] + max(launch.type.vcpus for launch in found.launches)


@given(CASE)
@settings(max_examples=300, deadline=None)
def test_every_launch_serves_a_demand_and_is_possible(case: dict[str, Any]) -> None:
    found = plan(**case)
    assert all(launch.count > 0 for launch in found.launches)
    assert len({launch.type.name for launch in found.launches}) == len(found.launches)
    for launch in found.launches:
        assert launch.type in case["types"]
        assert launch.type.name not in case["unavailable"]
        assert any(demand.count and _holds(launch.type, demand.resources) for demand in case["demands"])
    launched = sum(launch.count for launch in found.launches)
    unmet = sum(each.count for each in found.unmet)
    assert launched <= sum(demand.count for demand in case["demands"]) - unmet
    if case["host_rooms"] is not None:
        _assert_machines_hold(found, case["host_rooms"])


def _assert_machines_hold(found: Plan, machines: list[Resources]) -> None:
    """In total, and the largest on some machine."""
    for launch in found.launches:
        taken = Resources(1000 * launch.type.vcpus, launch.type.memory, launch.type.gpus)
        assert any(taken.fits(machine) for machine in machines)
    assert 1000 * found.vcpus <= sum(machine.milli_vcpus for machine in machines)
    memory = sum(launch.type.memory * launch.count for launch in found.launches)
    assert memory <= sum(machine.memory for machine in machines)


@given(CASE)
@settings(max_examples=200, deadline=None)
def test_without_limits_only_what_no_type_can_hold_is_unmet(case: dict[str, Any]) -> None:
    case |= {"max_vcpus": 10**9, "host_rooms": None, "unavailable": frozenset()}
    found = plan(**case)
    assert all(unmet.obstacle is Obstacle.TOO_LARGE for unmet in found.unmet)
    for unmet in found.unmet:
        assert not any(_holds(each, unmet.demand.resources) for each in case["types"])


@given(CASE)
@settings(max_examples=200, deadline=None)
def test_what_is_launched_holds_what_is_not_unmet(case: dict[str, Any]) -> None:
    """Total resources of launches and room there was are no less than those of the jobs that are taken care of."""
    found = plan(**case)
    unmet = {unmet.demand: unmet.count for unmet in found.unmet}
    for member in ("milli_vcpus", "memory", "gpus"):
        needed = sum(
            getattr(demand.resources, member) * (demand.count - unmet.get(demand, 0)) for demand in case["demands"]
        )
        had = sum(getattr(each, member) for each in (*case["free"], *case["idle"]))
        new = sum(getattr(_capacity(launch.type), member) * launch.count for launch in found.launches)
        assert needed <= had + new


@given(CASE)
@settings(max_examples=100, deadline=None)
def test_the_same_again_is_the_same(case: dict[str, Any]) -> None:
    assert plan(**case) == plan(**case)


def _holds(each: InstanceType, resources: Resources) -> bool:
    return resources.fits(_capacity(each))


def _capacity(each: InstanceType) -> Resources:
    return Resources(1000 * each.vcpus, each.schedulable_memory, each.gpus)
