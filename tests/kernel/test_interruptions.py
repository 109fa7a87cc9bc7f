"""Interruptions on request (EC2 "Spot Instance interruption notices"; ECS "Fargate Spot termination notices")."""

from __future__ import annotations

import pytest
from fleet_story import Fleet
from story import container

from batchyard.kernel.commands import InterruptInstance, InterruptJob
from batchyard.kernel.instances import INTERRUPTED, RECLAIMED, REPLACED, ended_by
from batchyard.kernel.records import InstanceDetail
from batchyard.shapes import batch as shapes

FARGATE_MEMORY = 2048
"""MiB: what goes with one vCPU."""
HOST_LOST = ({"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"})


@pytest.fixture
def fleet() -> Fleet:
    story = Fleet()
    story.environment("spot", kind="SPOT", types=["c6i.large"], strategy="SPOT_CAPACITY_OPTIMIZED")
    story.environment("ce", types=["c6i.large"])
    story.queue("s", ["spot"])
    story.queue("q", ["ce"])
    return story


def running(fleet: Fleet, label: str, queue: str) -> InstanceDetail:
    """A job runs; the instance that it runs on."""
    fleet.submit(label, queue=queue, attempts=3, evaluate=HOST_LOST)
    fleet.begin(label)
    found = fleet.kernel.state.find(fleet.id(label))
    assert found is not None
    assert found[0].task is not None
    detail = fleet.kernel.state.instances[found[0].task.instance].detail
    assert detail is not None
    return detail


def test_a_spot_instance_gets_its_notice_and_the_job_another_instance(fleet: Fleet) -> None:
    detail = running(fleet, "A", "s")
    assert fleet.tell(InterruptInstance(detail.id)) is detail
    fleet.ordered("start A#1", "stop A#1 120")
    assert (detail.draining, detail.interrupted_at, detail.deadline) == (RECLAIMED, fleet.now, fleet.now + 120_000)
    assert f"its instance {detail.id} is taken away (spot Instance interruption)" in fleet.why("A").text
    deadline = detail.deadline
    fleet.pass_time(60)
    fleet.tell(InterruptInstance(detail.id))
    assert detail.deadline == deadline, "a second notice changes nothing"
    fleet.ordered()
    fleet.exit("A", 143)
    assert fleet.attempts("A") == [(143, ended_by(detail.id))]
    assert detail.state == "terminated"
    fleet.ordered("start A#2")
    fleet.run("A")
    assert fleet.status("A") == "SUCCEEDED"


def test_an_on_demand_instance_is_only_interrupted_by_force(fleet: Fleet) -> None:
    detail = running(fleet, "A", "q")
    text = fleet.refused(InterruptInstance(detail.id))
    assert (
        text == f"{detail.id} is an On-Demand Instance, which is never reclaimed. With force it gets the same notice."
    )
    fleet.tell(InterruptInstance(detail.id, force=True))
    fleet.ordered("start A#1", "stop A#1 120")
    assert detail.draining == INTERRUPTED
    fleet.exit("A", None)
    assert fleet.attempts("A") == [(None, ended_by(detail.id))]
    fleet.ordered("start A#2")


def test_an_idle_instance_goes_at_once(fleet: Fleet) -> None:
    detail = running(fleet, "A", "s")
    fleet.exit("A")
    fleet.tell(InterruptInstance(detail.id))
    assert (detail.state, detail.draining) == ("terminated", RECLAIMED)
    assert fleet.refused(InterruptInstance(detail.id)) == f"Instance {detail.id} not found."


def test_an_instance_that_is_being_replaced_gets_its_notice_too(fleet: Fleet) -> None:
    detail = running(fleet, "A", "s")
    fleet.change_environment("spot", resources={"instance_types": ["m6i.large"]})
    fleet.tell(InterruptInstance(detail.id))
    fleet.ordered("start A#1", "stop A#1 120")
    assert (detail.draining, detail.deadline) == (REPLACED, fleet.now + 120_000)
    fleet.exit("A", 143)
    fleet.pass_time(1)
    assert fleet.kernel.state.environments["spot"].detail.status == "VALID"


def test_machines_and_hosts_are_not_interrupted(fleet: Fleet) -> None:
    [machine] = fleet.kernel.state.machines
    assert fleet.refused(InterruptInstance(machine)).startswith(f"{machine} is a machine of this server")
    fleet.unmanaged("lab")
    host = fleet.register("lab-1", environment="lab")
    assert fleet.refused(InterruptInstance(host.id, force=True)).startswith(f"{host.id} is host lab-1")


class TestFargateSpot:
    @pytest.fixture
    def fleet(self) -> Fleet:
        story = Fleet()
        story.fargate("ce")
        story.fargate("spot", spot=True)
        story.queue("q", ["ce"])
        story.queue("s", ["spot"])
        size = [
            shapes.ResourceRequirement(type="VCPU", value="1"),
            shapes.ResourceRequirement(type="MEMORY", value=str(FARGATE_MEMORY)),
        ]
        properties = container(resource_requirements=size, execution_role_arn="role")
        story.definition("work", container_properties=properties, platform_capabilities=["FARGATE"])
        return story

    def test_the_attempt_ends_and_is_tried_again(self, fleet: Fleet) -> None:
        fleet.submit("A", memory=FARGATE_MEMORY, queue="s", attempts=2)
        fleet.begin("A")
        fleet.tell(InterruptJob(fleet.id("A")))
        fleet.ordered("start A#1", "stop A#1 120")
        assert fleet.why("A").text == "Is being stopped: Your Spot Task was interrupted."
        fleet.tell(InterruptJob(fleet.id("A")))
        fleet.ordered()
        fleet.exit("A", 137)
        assert fleet.attempts("A") == [(137, "Your Spot Task was interrupted.")]
        fleet.ordered("start A#2")
        fleet.run("A")

    def test_without_a_retry_strategy_it_fails(self, fleet: Fleet) -> None:
        fleet.submit("A", memory=FARGATE_MEMORY, queue="s")
        fleet.begin("A")
        fleet.tell(InterruptJob(fleet.id("A")))
        fleet.exit("A", 143)
        assert (fleet.status("A"), fleet.reason("A")) == ("FAILED", "Your Spot Task was interrupted.")

    def test_a_program_that_ends_well_within_the_notice_has_succeeded(self, fleet: Fleet) -> None:
        fleet.submit("A", memory=FARGATE_MEMORY, queue="s")
        fleet.begin("A")
        fleet.tell(InterruptJob(fleet.id("A")))
        fleet.exit("A", 0)
        assert fleet.status("A") == "SUCCEEDED"

    def test_a_child_of_an_array(self, fleet: Fleet) -> None:
        fleet.submit("A", memory=FARGATE_MEMORY, array=2, queue="s")
        fleet.begin("A:0", "A:1")
        assert fleet.refused(InterruptJob(fleet.id("A"))).endswith(" does not run.")
        fleet.tell(InterruptJob(fleet.id("A:1")))
        fleet.exit("A:1", 143)
        fleet.exit("A:0")
        assert (fleet.status("A:0"), fleet.status("A:1")) == ("SUCCEEDED", "FAILED")

    def test_only_what_runs_on_fargate_spot_is_interrupted(self, fleet: Fleet) -> None:
        fleet.submit("A", memory=FARGATE_MEMORY)
        fleet.begin("A")
        text = fleet.refused(InterruptJob(fleet.id("A")))
        assert text.endswith("does not run on Fargate Spot: its compute environment ce is of type FARGATE.")
        fleet.terminate("A")
        fleet.submit("B", memory=FARGATE_MEMORY, queue="s")
        fleet.begin("B")
        fleet.terminate("B")
        assert fleet.refused(InterruptJob(fleet.id("B"))).endswith("is being ended already: stop it")
        fleet.submit("C", memory=FARGATE_MEMORY, after=["A"])
        assert fleet.refused(InterruptJob(fleet.id("C"))).endswith(" does not run.")
        assert fleet.refused(InterruptJob("no such job")) == "Job no such job does not run."


def test_a_job_on_an_instance_names_it(fleet: Fleet) -> None:
    detail = running(fleet, "A", "s")
    text = fleet.refused(InterruptJob(fleet.id("A")))
    assert text.endswith(f"its compute environment spot is of type SPOT, and it runs on instance {detail.id}.")
