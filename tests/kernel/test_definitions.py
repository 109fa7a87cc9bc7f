"""Job definitions: registering, revisions, deregistering (model `RegisterJobDefinition`; User Guide)."""

from __future__ import annotations

from typing import Any

import pytest
from story import ACCOUNT, Story, container, definition_request, retry_strategy

from batchyard.kernel.commands import DeregisterJobDefinition, RegisterJobDefinition
from batchyard.kernel.container_resources import FARGATE_SIZES
from batchyard.kernel.state import decode_definition
from batchyard.shapes import batch as shapes


def requirements(vcpus: str, memory: str) -> list[shapes.ResourceRequirement]:
    return [
        shapes.ResourceRequirement(type="VCPU", value=vcpus),
        shapes.ResourceRequirement(type="MEMORY", value=memory),
    ]


def register(name: str = "new", size: int = 100, **members: Any) -> RegisterJobDefinition:
    return RegisterJobDefinition(definition_request(name, **members), size)


def containing(**members: Any) -> RegisterJobDefinition:
    return register(container_properties=container(**members))


def fargate(vcpus: str = "0.25", memory: str = "512", **members: Any) -> RegisterJobDefinition:
    given = {"execution_role_arn": "arn:role", "resource_requirements": requirements(vcpus, memory)} | members
    return register(platform_capabilities=["FARGATE"], container_properties=container(**given))


def test_every_registration_makes_the_next_revision(story: Story) -> None:
    answers = [story.tell(register()) for _ in range(3)]
    assert [answer.revision for answer in answers] == [1, 2, 3]
    assert answers[2].job_definition_arn == ACCOUNT.arn("job-definition/new:3")
    story.tell(DeregisterJobDefinition("new:3"))
    assert story.tell(register()).revision == 4


def test_what_is_stored_is_filled_up_with_empty_lists(story: Story) -> None:
    story.tell(register(container_properties=container(command=None)))
    definition = decode_definition(story.kernel.state.definitions["new"].revisions[1])
    properties = definition.container_properties
    assert properties is not None
    for member in ("command", "volumes", "environment", "mount_points", "ulimits", "secrets"):
        assert getattr(properties, member) == []
    assert (definition.parameters, definition.tags, definition.status) == ({}, {}, "ACTIVE")
    assert definition.container_orchestration_type == "ECS"


def test_deregistering(story: Story) -> None:
    for _ in range(3):
        story.tell(register())
    family = story.kernel.state.definitions["new"]
    story.tell(DeregisterJobDefinition("new"))
    assert family.active == {1, 2}
    story.tell(DeregisterJobDefinition(ACCOUNT.arn("job-definition/new:1")))
    story.tell(DeregisterJobDefinition("new:1"))
    assert family.active == {2}
    assert decode_definition(family.revisions[1]).status == "INACTIVE"
    assert family.revisions.keys() == {1, 2, 3}


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ("nope", "JobDefinition name nope does not exist or is not in ACTIVE status"),
        ("work:7", "JobDefinition name work:7 does not exist or is not in ACTIVE status"),
        (ACCOUNT.arn("job-definition/work:7"), f"JobDefinition {ACCOUNT.arn('job-definition/work:7')} not found."),
        ("a b", "Provided name a b is not supported pattern[a-zA-Z_0-9-]{1,128}"),
    ],
)
def test_deregistering_what_is_not_there(story: Story, definition: str, text: str) -> None:
    assert story.refused(DeregisterJobDefinition(definition)) == text


def test_jobs_of_a_deregistered_definition_go_on(story: Story) -> None:
    story.submit("A", vcpus=2)
    story.submit("B")
    story.tell(DeregisterJobDefinition("work:1"))
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("B")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (register("a b"), "Provided name a b is not supported pattern[a-zA-Z_0-9-]{1,128}"),
        (register("x" * 129), f"Provided name {'x' * 129} is not supported pattern[a-zA-Z_0-9-]{{1,128}}"),
        (register(size=24 * 1024 + 1), "Job definition size must be less than 24 KiB, got 25 KiB"),
        (register(retry_strategy=shapes.RetryStrategy()), "RetryAttempts must be provided with retry strategy"),
        (
            register(retry_strategy=retry_strategy(2, [{"onReason": "(", "action": "EXIT"}])),
            "Evaluate on exit condition contains restricted characters",
        ),
        (
            register(timeout=shapes.JobTimeout(attempt_duration_seconds=59)),
            "Timeout attemptDurationSeconds must be at least 60 seconds, got 59",
        ),
        (register(scheduling_priority=-1), "Scheduling priority must be between 0 and 9999, got -1"),
        (containing(image=""), "Container properties must have an image"),
        (containing(image=None), "Container properties must have an image"),
        (containing(image="a b"), "Container image 'a b' does not match regex [A-Za-z0-9_.:/#@-]{1,255}"),
        (containing(user="No One"), "User 'No One' does not match regex ^([a-z0-9_][a-z0-9_-]{0,30})$"),
        (containing(resource_requirements=[]), "vCPU is not provided."),
        (containing(vcpus=1), "Container property vcpus and resource requirement VCPU cannot both be given"),
        (
            containing(resource_requirements=requirements("1", "128") * 2),
            "Container resource requirements name VCPU more than once",
        ),
        (
            containing(resource_requirements=requirements("0", "128")),
            "Container resource requirement VCPU must be a whole number of at least 1, got '0'",
        ),
        (
            containing(resource_requirements=requirements("1", "1e3")),
            "Value 1e3 for type MEMORY in resourceRequirement is not valid. Please provide a numeric value.",
        ),
        (
            containing(environment=[shapes.KeyValuePair(name="AWS_BATCH_JOB_ID", value="x")]),
            "Environment variable name AWS_BATCH_JOB_ID starts with the reserved prefix AWS_BATCH",
        ),
        (
            containing(network_configuration=shapes.NetworkConfiguration()),
            "networkConfiguration not applicable for EC2.",
        ),
        (
            containing(mount_points=[shapes.MountPoint(source_volume="v", container_path="/v")]),
            "Mount point /v refers to unknown volume v",
        ),
        # Fargate
        (
            fargate("0.25", "1024.5"),
            "Value 1024.5 for type MEMORY in resourceRequirement is not valid. Please provide a numeric value.",
        ),
        (fargate("2", "1024"), "Fargate resource requirements (2.00 vCPU, 1024 MiB) not valid."),
        (fargate("3", "8192"), "Fargate resource requirements (3.00 vCPU, 8192 MiB) not valid."),
        (
            fargate("x", "512"),
            "Value x for type VCPU in resourceRequirement is not valid. Please provide a numeric value.",
        ),
        (fargate(execution_role_arn=None), "executionRoleArn is required for Fargate."),
        (fargate(privileged=True), "privileged is not applicable for Fargate."),
        (
            fargate(ulimits=[shapes.Ulimit(name="nofile", soft_limit=1, hard_limit=1)]),
            "ulimits is not applicable for Fargate.",
        ),
        (
            register(
                platform_capabilities=["FARGATE"],
                container_properties=container(
                    execution_role_arn="arn:role", resource_requirements=None, vcpus=1, memory=2048
                ),
            ),
            "vcpus is not applicable for Fargate. Use resource requirements instead.",
        ),
    ],
)
def test_what_is_refused(story: Story, command: RegisterJobDefinition, text: str) -> None:
    assert story.refused(command) == text


@pytest.mark.parametrize(
    ("vcpus", "memory"),
    [(vcpus, memory) for vcpus, sizes in FARGATE_SIZES.items() for memory in (min(sizes), max(sizes))],
)
def test_fargate_sizes(story: Story, vcpus: int, memory: int) -> None:
    assert story.tell(fargate(f"{vcpus / 1000:g}", str(memory))).revision == 1


def test_the_fargate_table_is_that_of_the_guide() -> None:
    assert {
        250: {512, 1024, 2048},
        500: {1024, 2048, 3072, 4096},
        1000: set(range(2048, 8193, 1024)),
        2000: set(range(4096, 16385, 1024)),
        4000: set(range(8192, 30721, 1024)),
        8000: set(range(16384, 61441, 4096)),
        16000: set(range(32768, 122881, 8192)),
        32000: {61440, 122880, 249856},
    } == FARGATE_SIZES


def test_a_kind_of_job_that_is_named_twice_or_not_at_all(story: Story) -> None:
    assert "exactly one of" in story.refused(register(container_properties=None))
    both = register(ecs_properties=shapes.EcsProperties(task_properties=[]))
    assert "exactly one of" in story.refused(both)
