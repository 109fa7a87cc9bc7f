"""Hosts of UNMANAGED compute environments (User Guide "Unmanaged compute environments"): a part of the machine each, registered,
drained and removed by their user."""

from __future__ import annotations

import pytest
from fleet_story import Fleet

from batchyard.kernel.commands import (
    CreateSchedulingPolicy,
    DeleteComputeEnvironment,
    DeregisterHost,
    RegisterHost,
    UpdateHost,
)
from batchyard.kernel.instances import DRAINED, ENVIRONMENT_DELETED, REMOVED, ended_by
from batchyard.shapes import batch as shapes


@pytest.fixture
def fleet() -> Fleet:
    story = Fleet(vcpus=8, memory=16_384, gpus=1)
    story.unmanaged()
    story.queue("q", ["ce"])
    return story


def register(
    name: str = "lab-1", environment: str = "ce", vcpus: int = 2, memory: int = 1024, gpus: int = 0
) -> RegisterHost:
    return RegisterHost(name=name, environment=environment, vcpus=vcpus, memory=memory, gpus=gpus)


def test_jobs_wait_for_a_host_and_run_on_it(fleet: Fleet) -> None:
    fleet.submit("A")
    fleet.ordered()
    assert "compute environment ce has no hosts" in fleet.why("A").text
    assert fleet.reason("A") is None
    fleet.register("lab-1")
    fleet.ordered("start A#1")
    assert fleet.host("A") == "lab-1"
    fleet.run("A")


def test_a_job_too_large_for_every_host_says_so_until_there_is_a_larger_one(fleet: Fleet) -> None:
    fleet.register("lab-1")
    fleet.submit("A", vcpus=4, memory=1024)
    reason = fleet.reason("A") or ""
    assert reason.startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - ")
    assert "the largest host of compute environment ce has 2 vCPU and 4096 MiB" in reason
    fleet.register("lab-2", vcpus=4)
    fleet.ordered("start A#1")
    assert fleet.host("A") == "lab-2"


def test_a_host_takes_its_part_of_the_machine(fleet: Fleet) -> None:
    detail = fleet.register("lab-1", vcpus=6, memory=8000, gpus=1)
    [machine] = fleet.kernel.state.machines.values()
    assert (machine.room.milli_vcpus, machine.room.memory, machine.room.gpus) == (2000, 8384, 0)
    text = fleet.refused(register("lab-2", vcpus=4))
    assert text == (
        f"Host lab-2 needs 4 vCPU and 1024 MiB, and machine {machine.id} has 2 vCPU and 8384 MiB free of 8 vCPU, 16384 MiB"
        " and 1 GPU. See the server's setting overcommit."
    )
    fleet.tell(DeregisterHost(detail.id))
    fleet.register("lab-2", vcpus=4)


def test_an_idle_instance_gives_way_to_a_host(fleet: Fleet) -> None:
    fleet.environment("managed", types=["c6i.xlarge"], max_vcpus=4)
    fleet.queue("r", ["managed"])
    fleet.submit("A", queue="r")
    fleet.begin("A")
    assert "free of 8 vCPU" in fleet.refused(register(vcpus=8))
    fleet.exit("A")
    fleet.register("lab-1", vcpus=8)
    assert fleet.fleet("managed") == []


def test_a_host_stays_however_long_it_is_idle(fleet: Fleet) -> None:
    fleet.register("lab-1")
    fleet.pass_time(100_000)
    assert fleet.hosts() == {"lab-1": None}


def test_a_drained_host_finishes_what_it_runs_and_takes_nothing_new(fleet: Fleet) -> None:
    fleet.register("lab-1")
    fleet.submit("A")
    fleet.begin("A")
    fleet.tell(UpdateHost("lab-1", "DRAINING"))
    fleet.submit("B")
    fleet.ordered("start A#1")
    assert "no host of compute environment ce takes jobs: all 1 are draining" in fleet.why("B").text
    fleet.exit("A")
    fleet.ordered()
    assert fleet.hosts() == {"lab-1": DRAINED}
    fleet.tell(UpdateHost("lab-1", "ACTIVE"))
    fleet.ordered("start B#1")
    fleet.run("B")


def test_a_removed_host_goes_when_it_is_empty(fleet: Fleet) -> None:
    fleet.register("lab-1")
    fleet.submit("A")
    fleet.begin("A")
    fleet.tell(DeregisterHost("lab-1"))
    assert fleet.hosts() == {"lab-1": REMOVED}
    assert fleet.refused(UpdateHost("lab-1", "ACTIVE")) == f"Host lab-1 is being removed: {REMOVED}."
    fleet.ordered("start A#1")
    fleet.exit("A")
    assert fleet.status("A") == "SUCCEEDED"
    assert fleet.hosts() == {}


@pytest.mark.parametrize("drained", [False, True])
def test_force_stops_what_runs(fleet: Fleet, drained: bool) -> None:
    host = fleet.register("lab-1")
    fleet.submit("A", attempts=2)
    fleet.begin("A")
    if drained:
        fleet.tell(UpdateHost("lab-1", "DRAINING"))
    fleet.tell(DeregisterHost("lab-1", force=True))
    fleet.ordered("start A#1", "stop A#1 30")
    assert f"its instance {host.id} is taken away (removed by its user)" in fleet.why("A").text
    fleet.exit("A", 143)
    assert fleet.attempts("A") == [(143, ended_by(host.id))]
    assert fleet.hosts() == {}
    fleet.register("lab-1")
    fleet.ordered("start A#2")


def test_hosts_go_with_their_environment(fleet: Fleet) -> None:
    for name in ("idle", "busy"):
        fleet.register(name)
    fleet.submit("A", vcpus=2)
    fleet.begin("A")
    other = "busy" if fleet.host("A") == "idle" else "idle"
    fleet.tell(UpdateHost(fleet.host("A"), "DRAINING"))
    fleet.unmanaged("second")
    fleet.change_queue("q", ["second"])
    fleet.change_environment("ce", state="DISABLED")
    fleet.tell(DeleteComputeEnvironment("ce"))
    fleet.pass_time(1)
    assert fleet.hosts() == {fleet.host("A"): ENVIRONMENT_DELETED}
    fleet.exit("A")
    assert fleet.status("A") == "SUCCEEDED"
    assert fleet.hosts() == {}
    fleet.register(other, environment="second")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (register("i-1"), "The name of a host is up to 128 letters"),
        (register("a b"), "got 'a b'"),
        (register(vcpus=0), "A host has at least 1 vCPU, got 0"),
        (register(memory=3), "A host has at least 4 MiB of memory, got 3"),
        (register(gpus=-1), "The number of GPUs must not be negative, got -1"),
        (register(environment="none"), "ComputeEnvironment none not found."),
        (register(environment="managed"), "UNMANAGED compute environments, and managed is MANAGED."),
        (register("known"), "Host known exists already: it is instance i-"),
        (UpdateHost("known", "GONE"), "The status of a host is ACTIVE or DRAINING, got 'GONE'"),
        (UpdateHost("unknown", "ACTIVE"), "Host unknown not found."),
        (DeregisterHost("unknown"), "Host unknown not found."),
    ],
)
def test_refusals(fleet: Fleet, command: RegisterHost | UpdateHost | DeregisterHost, text: str) -> None:
    fleet.environment("managed")
    fleet.register("known")
    assert text in fleet.refused(command)


def test_a_launched_instance_is_no_host(fleet: Fleet) -> None:
    fleet.environment("managed", types=["c6i.large"], max_vcpus=2)
    fleet.queue("r", ["managed"])
    fleet.submit("A", queue="r")
    [instance] = fleet.launched
    assert fleet.refused(DeregisterHost(instance.id)) == f"Host {instance.id} not found."


def test_unmanaged_vcpus_are_what_reservations_are_a_part_of(fleet: Fleet) -> None:
    fair = shapes.CreateSchedulingPolicyRequest(
        name="fair", fairshare_policy=shapes.FairsharePolicy(compute_reservation=50)
    )
    arn = fleet.tell(CreateSchedulingPolicy(fair)).arn
    fleet.unmanaged("lab", vcpus=4)
    fleet.queue("f", ["lab"], scheduling_policy_arn=arn)
    fleet.register("lab-1", environment="lab", vcpus=8)
    for label in ("A", "B", "C", "D"):
        fleet.submit(label, queue="f", share_identifier="a")
    fleet.ordered("start A#1", "start B#1")
    fleet.change_environment("lab", unmanaged_vcpus=6)
    assert fleet.kernel.state.environments["lab"].detail.unmanaged_vcpus == 6
    fleet.ordered("start C#1")
