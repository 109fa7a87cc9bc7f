"""Managed instances: launched for jobs that wait, let go when idle, replaced, reclaimed (User Guide "Managed compute
environments", "Update a compute environment"; EC2 "Spot Instance interruptions")."""

from __future__ import annotations

import pytest
from fleet_story import Fleet

from batchyard.kernel.draining import interrupt
from batchyard.kernel.instances import ended_by
from batchyard.kernel.placement import CAPACITY_TAG


@pytest.fixture
def fleet() -> Fleet:
    story = Fleet()
    story.environment("ce", types=["c6i"], max_vcpus=16)
    story.queue("q", ["ce"])
    return story


def test_a_job_gets_an_instance_at_once(fleet: Fleet) -> None:
    assert fleet.fleet() == []
    fleet.submit("A", vcpus=1, memory=1024)
    fleet.ordered("start A#1")
    assert fleet.fleet() == ["c6i.large"]
    assert fleet.desired() == 2
    fleet.run("A")


def test_jobs_share_an_instance_and_the_next_one_is_launched_when_it_is_full(fleet: Fleet) -> None:
    for label in "ABC":
        fleet.submit(label, vcpus=1, memory=1024)
    fleet.ordered("start A#1", "start B#1", "start C#1")
    assert fleet.fleet() == ["c6i.large", "c6i.large"]


def test_an_array_gets_instances_of_a_fitting_size(fleet: Fleet) -> None:
    fleet.submit("A", vcpus=1, memory=1024, array=100)
    assert sum(each.detail.vcpus for each in fleet.launched if each.detail) == 16
    assert len(fleet.launched) <= 2
    assert fleet.desired() == 16
    assert fleet.summary("A") == {"RUNNABLE": 84, "STARTING": 16}


def test_an_idle_instance_is_let_go_after_a_while(fleet: Fleet) -> None:
    fleet.submit("A")
    fleet.run("A")
    fleet.pass_time(59.9)
    assert fleet.fleet() == ["c6i.large"]
    fleet.pass_time(0.1)
    assert fleet.fleet() == []
    assert fleet.desired() == 0


def test_the_next_job_finds_the_instance_warm(fleet: Fleet) -> None:
    fleet.submit("A")
    fleet.run("A")
    before = [instance.id for instance in fleet.launched]
    fleet.pass_time(30)
    fleet.submit("B")
    fleet.pass_time(100)
    assert [instance.id for instance in fleet.launched] == before
    fleet.run("B")


def test_min_vcpus_are_kept() -> None:
    fleet = Fleet()
    fleet.environment("ce", types=["c6i"], min_vcpus=4, max_vcpus=16)
    assert sum(each.detail.vcpus for each in fleet.launched if each.detail) == 4
    fleet.pass_time(10_000)
    assert sum(each.detail.vcpus for each in fleet.launched if each.detail) == 4
    fleet.change_environment("ce", resources={"min_vcpus": 0})
    fleet.pass_time(60)
    assert fleet.launched == []


def test_desired_vcpus_of_the_user_are_launched_once() -> None:
    fleet = Fleet()
    fleet.environment("ce", types=["c6i.large"], min_vcpus=2, resources={"desired_vcpus": 6})
    assert fleet.fleet() == ["c6i.large"] * 3
    assert fleet.desired() == 6
    fleet.pass_time(60)
    assert (fleet.fleet(), fleet.desired()) == (["c6i.large"], 2)
    fleet.change_environment("ce", resources={"desired_vcpus": 4})
    assert (fleet.fleet(), fleet.desired()) == (["c6i.large"] * 2, 4)


def test_an_instance_boots_for_a_while() -> None:
    fleet = Fleet(boot_seconds=90.0)
    fleet.environment("ce", types=["c6i"], max_vcpus=16)
    fleet.queue("q", ["ce"])
    fleet.submit("A")
    fleet.submit("B")
    assert fleet.fleet() == ["c6i.large pending"]
    fleet.ordered()
    assert "is booting" in fleet.why("A").text
    fleet.pass_time(89.9)
    fleet.ordered()
    fleet.pass_time(0.1)
    fleet.ordered("start A#1", "start B#1")


def test_a_job_that_no_type_can_hold_is_told_so(fleet: Fleet) -> None:
    fleet.submit("A", vcpus=2, memory=10_000_000)
    reason = fleet.reason("A") or ""
    assert reason.startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - ")
    assert "no instance type of compute environment ce is large enough: c6i.32xlarge has 128 vCPU" in reason


def test_a_type_that_no_machine_can_hold_is_insufficient_capacity() -> None:
    fleet = Fleet(vcpus=2, memory=8192)
    fleet.environment("ce", types=["m6i"], max_vcpus=16)
    fleet.queue("q", ["ce"])
    fleet.submit("A", vcpus=4, memory=1024)
    fleet.submit("B", vcpus=2, memory=1024)
    assert (fleet.reason("A") or "").startswith(
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type [m6i.xlarge]"
    )
    assert "the largest of its instance types that fits is m6i.large" in (fleet.reason("A") or "")
    fleet.ordered("start B#1")
    fleet.run("B")


def test_max_vcpus_are_kept_and_said() -> None:
    fleet = Fleet()
    fleet.environment("ce", types=["c6i.large"], max_vcpus=2)
    fleet.queue("q", ["ce"])
    fleet.submit("A", vcpus=2)
    fleet.submit("B", vcpus=2)
    assert fleet.fleet() == ["c6i.large"]
    assert "compute environment ce has 1 instance with 2 of at most 2 vCPU" in fleet.why("B").text
    assert fleet.reason("B") is None
    fleet.run("A")
    fleet.ordered("start A#1", "start B#1")
    fleet.run("B")


def test_a_full_machine_is_insufficient_capacity_until_something_ends() -> None:
    fleet = Fleet(vcpus=2, memory=8192)
    fleet.environment("ce", types=["c6i.large"], max_vcpus=16)
    fleet.queue("q", ["ce"])
    fleet.submit("A", vcpus=2)
    fleet.submit("B", vcpus=2)
    assert (fleet.reason("B") or "").startswith("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - ")
    assert "no machine has room for c6i.large" in fleet.why("B").text
    fleet.run("A")
    fleet.ordered("start A#1", "start B#1")
    fleet.run("B")


def test_the_second_environment_takes_what_the_first_cannot() -> None:
    fleet = Fleet()
    fleet.environment("one", types=["c6i.large"], max_vcpus=2)
    fleet.environment("two", types=["m6i.large"], max_vcpus=4)
    fleet.queue("q", ["one", "two"])
    for label in "ABC":
        fleet.submit(label, vcpus=2)
    assert [fleet.host(label) for label in "ABC"] == ["c6i.large", "m6i.large", "m6i.large"]


def test_a_launch_that_fails_is_followed_by_the_next_type() -> None:
    fleet = Fleet(launch_failure_rate=1.0)
    fleet.environment("ce", types=["c6i.large", "m6i.large"], max_vcpus=4)
    fleet.queue("q", ["ce"])
    fleet.submit("A", vcpus=2)
    assert fleet.fleet() == []
    assert "no capacity for c6i.large and m6i.large" in fleet.why("A").text
    assert (fleet.reason("A") or "").startswith("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - ")


def test_an_idle_instance_gives_way_to_another_environment() -> None:
    fleet = Fleet(vcpus=2, memory=8192)
    fleet.environment("one", types=["c6i.large"])
    fleet.environment("two", types=["m6i.large"])
    fleet.queue("q", ["one"])
    fleet.queue("r", ["two"])
    fleet.submit("A", vcpus=2)
    fleet.run("A")
    assert fleet.fleet("one") == ["c6i.large"]
    fleet.submit("B", vcpus=2, queue="r")
    assert fleet.fleet("one") == []
    assert fleet.fleet("two") == ["m6i.large"]


def test_an_idle_instance_gives_way_to_a_slice() -> None:
    fleet = Fleet(vcpus=2, memory=8192)
    fleet.environment("one", types=["c6i.large"])
    fleet.environment("two", tags={"batchyard:capacity": "slices"})
    fleet.queue("q", ["one"])
    fleet.queue("r", ["two"])
    fleet.submit("A", vcpus=2)
    fleet.run("A")
    fleet.submit("B", vcpus=2, queue="r")
    assert fleet.launched == []
    fleet.ordered("start A#1", "start B#1")


class TestAFullMachine:
    @pytest.fixture
    def fleet(self) -> Fleet:
        """Room for one instance, and two environments whose queues never run dry."""
        story = Fleet(vcpus=2, memory=8192)
        story.environment("one", types=["c6i.large"])
        story.environment("two", types=["m6i.large"])
        story.queue("q", ["one"])
        story.queue("r", ["two"])
        return story

    def test_who_came_first_has_it_first_and_nobody_keeps_it(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=2)
        fleet.submit("B", vcpus=2, queue="r")
        fleet.submit("C", vcpus=2)
        assert fleet.fleet("one") == ["c6i.large draining"]
        fleet.run("A")
        assert (fleet.fleet("one"), fleet.fleet("two")) == ([], ["m6i.large draining"])
        fleet.run("B")
        assert (fleet.fleet("one"), fleet.fleet("two")) == (["c6i.large"], [])
        fleet.ordered("start A#1", "start B#1", "start C#1")

    def test_a_queue_of_higher_priority_keeps_its_instances(self, fleet: Fleet) -> None:
        fleet.queue("high", ["one"], priority=9)
        fleet.submit("A", vcpus=2, queue="high")
        fleet.submit("B", vcpus=2, queue="r")
        fleet.submit("C", vcpus=2, queue="high")
        fleet.run("A", "C", "B")
        fleet.ordered("start A#1", "start C#1", "start B#1")


def test_an_infrastructure_update_replaces_instances(fleet: Fleet) -> None:
    fleet.submit("A", vcpus=1)
    fleet.change_environment("ce", resources={"instance_types": ["m6i"]})
    environment = fleet.kernel.state.environments["ce"]
    assert environment.detail.status == "UPDATING"
    assert fleet.fleet() == ["c6i.large draining"]
    fleet.submit("B", vcpus=1)
    assert fleet.host("B") == "m6i.large"
    fleet.run("A")
    assert fleet.fleet() == ["m6i.large"]
    fleet.pass_time(1)
    assert environment.detail.status == "VALID"


def test_what_still_runs_after_the_time_of_the_update_policy_is_stopped(fleet: Fleet) -> None:
    fleet.submit("A", vcpus=1, attempts=2)
    fleet.begin("A")
    instance = fleet.launched[0].id
    fleet.change_environment("ce", resources={"instance_types": ["m6i"]})
    fleet.pass_time(30 * 60 - 1)
    fleet.ordered("start A#1")
    fleet.pass_time(1)
    fleet.ordered("stop A#1 30")
    fleet.exit("A", 143)
    assert fleet.attempts("A") == [(143, ended_by(instance))]
    fleet.ordered("start A#2")
    assert fleet.host("A") == "m6i.large"


def test_an_update_may_stop_what_runs_at_once(fleet: Fleet) -> None:
    fleet.submit("A", vcpus=1)
    fleet.begin("A")
    from batchyard.shapes import batch as shapes

    policy = shapes.UpdatePolicy(terminate_jobs_on_update=True)
    fleet.change_environment("ce", resources={"instance_types": ["m6i"]}, update_policy=policy)
    fleet.ordered("start A#1", "stop A#1 30")
    fleet.exit("A", 143)
    assert fleet.status("A") == "FAILED"


def test_a_scaling_update_replaces_nothing(fleet: Fleet) -> None:
    fleet.submit("A", vcpus=1)
    fleet.change_environment("ce", max_vcpus=32)
    assert fleet.fleet() == ["c6i.large"]
    fleet.run("A")


class TestSpot:
    @pytest.fixture
    def fleet(self) -> Fleet:
        story = Fleet()
        story.environment("ce", kind="SPOT", types=["c6i"], max_vcpus=16, strategy="SPOT_PRICE_CAPACITY_OPTIMIZED")
        story.queue("q", ["ce"])
        return story

    def test_two_minutes_of_notice(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=1, attempts=2)
        fleet.begin("A")
        instance = fleet.launched[0]
        interrupt(fleet.kernel.state, instance, fleet.now)
        fleet.pass_time(0)
        fleet.ordered("start A#1", "stop A#1 120")
        fleet.exit("A", 143)
        assert fleet.attempts("A") == [(143, ended_by(instance.id))]
        assert instance.detail is not None
        assert instance.detail.state == "terminated"
        fleet.ordered("start A#2")

    def test_a_program_that_ends_well_within_the_notice_has_succeeded(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=1)
        fleet.begin("A")
        interrupt(fleet.kernel.state, fleet.launched[0], fleet.now)
        fleet.pass_time(60)
        fleet.exit("A", 0)
        assert fleet.status("A") == "SUCCEEDED"

    def test_reclaims_are_drawn_from_the_seed(self) -> None:
        lives = []
        for seed in (1, 1, 2):
            fleet = Fleet(spot_interruptions_an_hour=2.0, seed=seed)
            fleet.environment("ce", kind="SPOT", types=["c6i"], strategy="SPOT_CAPACITY_OPTIMIZED")
            fleet.queue("q", ["ce"])
            fleet.submit("A", vcpus=1)
            fleet.begin("A")
            since = fleet.now
            instance = fleet.launched[0]
            while instance.detail is not None and instance.detail.draining is None:
                fleet.pass_time(60)
            lives.append(fleet.now - since)
            fleet.exit("A", 143)
        assert lives[0] == lives[1] != lives[2]


def test_an_instance_is_launched_when_a_task_with_a_slice_of_its_own_has_made_room() -> None:
    fleet = Fleet(vcpus=4)
    fleet.environment("slices", max_vcpus=4, tags={CAPACITY_TAG: "slices"})
    fleet.environment("ce", types=["c6i.xlarge"])
    fleet.queue("s", ["slices"])
    fleet.queue("q", ["ce"])
    fleet.submit("A", queue="s", vcpus=1)
    fleet.submit("B", vcpus=4)
    fleet.run("A")
    fleet.ordered("start A#1", "start B#1")


def test_desired_vcpus_follow_a_maximum_that_is_raised() -> None:
    """Of 6 vCPU in use no more than `maxvCpus` are shown."""
    fleet = Fleet()
    fleet.environment("ce", types=["c6i.large"], max_vcpus=6)
    fleet.queue("q", ["ce"])
    for label in "ABC":
        fleet.submit(label, vcpus=2)
    fleet.change_environment("ce", max_vcpus=4)
    assert fleet.desired() == 4
    fleet.change_environment("ce", max_vcpus=5)
    assert fleet.desired() == 5
