"""Instances and hosts in the store: what a restart brings back, and what is kept of those that are gone."""

from __future__ import annotations

import pytest
from fleet_story import Fleet
from shelf import Shelf

from batchyard.kernel.commands import InterruptInstance, UpdateHost
from batchyard.kernel.instances import DRAINED, MACHINE_GONE, SCALED_IN
from batchyard.kernel.stored import restore
from batchyard.store import reading


@pytest.fixture
def fleet(shelf: Shelf) -> Fleet:
    shelf.story = Fleet(vcpus=8, save=shelf.save)
    shelf.story.environment("ce", kind="SPOT", types=["c6i.large"], strategy="SPOT_CAPACITY_OPTIMIZED")
    shelf.story.unmanaged("lab")
    shelf.story.queue("q", ["ce"])
    shelf.story.queue("hosts", ["lab"])
    return shelf.story


def restart(shelf: Shelf, fleet: Fleet) -> None:
    with shelf.store.load() as snapshot:
        fleet.restart(snapshot)


def ended(shelf: Shelf, after: str | None = None, limit: int = 10) -> list[tuple[str, str]]:
    """Instance types (or names) and reasons of instances that are gone."""
    kept = shelf.store.read_now(lambda connection: reading.ended_instances(connection, after, limit))
    return [(detail.instance_type or detail.name or "", detail.draining or "") for _, detail in kept]


def test_hosts_are_as_they_were_after_a_restart(shelf: Shelf, fleet: Fleet) -> None:
    fleet.register("lab-1", environment="lab")
    fleet.register("lab-2", environment="lab")
    fleet.submit("A", queue="hosts")
    fleet.begin("A")
    fleet.tell(UpdateHost("lab-2", "DRAINING"))
    restart(shelf, fleet)
    assert fleet.hosts() == {"lab-1": None, "lab-2": DRAINED}
    fleet.exit("A")
    fleet.submit("B", queue="hosts", vcpus=2, memory=4096)
    fleet.submit("C", queue="hosts", vcpus=2, memory=4096)
    fleet.ordered("start A#1", "start B#1")
    assert fleet.host("B") == "lab-1"
    restart(shelf, fleet)
    fleet.tell(UpdateHost("lab-2", "ACTIVE"))
    fleet.ordered("start C#1")


def test_a_notice_goes_on_after_a_restart(shelf: Shelf, fleet: Fleet) -> None:
    fleet.submit("A", attempts=2)
    fleet.begin("A")
    detail = fleet.tell(InterruptInstance(fleet.launched[0].id))
    restart(shelf, fleet)
    [instance] = fleet.launched
    assert instance.detail == detail
    fleet.ordered("start A#1", "stop A#1 120", "stop A#1 120")
    fleet.exit("A", 143)
    fleet.ordered("start A#2")
    assert ended(shelf) == [("c6i.large", "Spot Instance interruption")]


def test_those_that_are_gone_are_kept_by_the_time_of_their_end(shelf: Shelf, fleet: Fleet) -> None:
    for label in "ABC":
        fleet.submit(label)
        fleet.run(label)
        fleet.pass_time(100)
    kept = shelf.store.read_now(lambda connection: reading.ended_instances(connection, None, 10))
    ends = [detail.terminated_at or 0 for _, detail in kept]
    assert [detail.draining for _, detail in kept] == [SCALED_IN] * 3
    assert ends == sorted(ends, reverse=True)
    assert len(ended(shelf, after=kept[0][0])) == 2
    assert len(ended(shelf, limit=1)) == 1
    assert shelf.store.forget_instances(ends[0], 1) == 1
    assert shelf.store.forget_instances(ends[0], 10) == 1
    assert len(ended(shelf)) == 1, "the end itself is not before it"
    assert shelf.store.forget_instances(ends[0] + 1, 10) == 1
    assert ended(shelf) == []


def test_instances_go_with_the_runtime_that_they_were_on(shelf: Shelf, fleet: Fleet) -> None:
    fleet.register("lab-1", environment="lab")
    fleet.submit("A")
    fleet.begin("A")
    kernel = type(fleet.kernel)(fleet.kernel.state.settings)
    kernel.add_machine("another", fleet.kernel.state.machines[fleet.launched[0].detail.machine].capacity, 0)  # type: ignore[union-attr]
    with shelf.store.load() as snapshot:
        restore(kernel.state, snapshot, fleet.now)
    assert [instance for instance in kernel.state.instances.values() if instance.detail is not None] == []
    assert kernel.state.tasks.keys() == fleet.kernel.state.tasks.keys(), "the control loop finds that it is lost"
    shelf.save(kernel.take_effects())
    assert sorted(ended(shelf)) == [("c6i.large", MACHINE_GONE), ("lab-1", MACHINE_GONE)]
