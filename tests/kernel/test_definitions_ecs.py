"""`ecsProperties` in a job definition (model `EcsTaskProperties`; User Guide "Create job definitions using EcsProperties")."""

from __future__ import annotations

from typing import Any

import pytest
from definition_forms import Form, beside, needs, register, registering, task
from story import Story

ROLE = "arn:aws:iam::123456789012:role/run"


def after(*others: tuple[str, str]) -> list[Form]:
    return [{"containerName": name, "condition": condition} for name, condition in others]


def test_a_task_comes_back_with_what_aws_fills_in(story: Story) -> None:
    sidecar = beside("log", essential=False, dependsOn=after(("main", "START")), stopTimeout=5)
    shown = register(story, ecsProperties=task(beside("main"), sidecar))
    assert shown["containerOrchestrationType"] == "ECS"
    [properties] = shown["ecsProperties"]["taskProperties"]
    assert properties["volumes"] == []
    main, log = properties["containers"]
    empty: Form = {"environment": [], "dependsOn": [], "mountPoints": [], "secrets": [], "ulimits": []}
    assert main == {**beside("main"), **empty, "essential": True}
    assert log == {**empty, **sidecar}
    assert "platformVersion" not in properties


def test_on_fargate_the_platform_version_is_filled_in(story: Story) -> None:
    properties = task(beside("main", resourceRequirements=needs("0.25", "512")), executionRoleArn=ROLE)
    shown = register(story, platformCapabilities=["FARGATE"], ecsProperties=properties)
    assert shown["ecsProperties"]["taskProperties"][0]["platformVersion"] == "LATEST"


def test_a_container_that_is_alone_needs_no_name(story: Story) -> None:
    container = beside("x")
    del container["name"]
    shown = register(story, ecsProperties=task(container))
    assert "name" not in shown["ecsProperties"]["taskProperties"][0]["containers"][0]


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"taskProperties": []}, "ecsProperties must have exactly 1 taskProperties, got 0"),
        ({"taskProperties": [{"containers": []}]}, "taskProperties must have 1 to 10 containers, got 0"),
        (
            task(*(beside(f"c{number}") for number in range(11))),
            "taskProperties must have 1 to 10 containers, got 11",
        ),
        (task(beside("a"), beside("a")), "Container name a is given twice"),
        (task(beside("a b")), "Container name 'a b' must be 1 to 255 letters, numbers, hyphens and underscores"),
        (
            task(beside("a"), {"image": "busybox", "resourceRequirements": needs()}),
            "Container name '' must be 1 to 255 letters, numbers, hyphens and underscores",
        ),
        (task(beside("a", essential=False)), "ecsProperties must have at least one essential container"),
        (task(beside("a", image="")), "Container a must have an image"),
        (task(beside("a", resourceRequirements=[])), "vCPU is not provided."),
        (task(beside("a", resourceRequirements=needs()[:1])), "Memory is not provided."),
        (
            task(beside("a", resourceRequirements=needs("0.5"))),
            "Value 0.5 for type VCPU in resourceRequirement is not valid. Please provide a numeric value.",
        ),
        (task(beside("a", startTimeout=1)), "startTimeout must be at least 2 seconds, got 1"),
        (task(beside("a", stopTimeout=0)), "stopTimeout must be at least 2 seconds, got 0"),
        (
            task(beside("a", environment=[{"name": "AWS_BATCH_X", "value": "1"}])),
            "Environment variable name AWS_BATCH_X starts with the reserved prefix AWS_BATCH",
        ),
        (
            task(beside("a", mountPoints=[{"containerPath": "/v", "sourceVolume": "v"}])),
            "Mount point /v refers to unknown volume v",
        ),
        (
            task(
                beside("a", firelensConfiguration={"type": "fluentbit"}),
                beside("b", firelensConfiguration={"type": "fluentd"}),
            ),
            "ecsProperties can have only one container with a firelensConfiguration",
        ),
        (task(ipcMode="private"), "ipcMode must be host, task or none, got 'private'"),
        (task(pidMode="none"), "pidMode must be host or task, got 'none'"),
        (task(networkMode="host"), "networkMode not applicable for EC2."),
        (task(platformVersion="LATEST"), "platformVersion not applicable for EC2."),
        (task(ephemeralStorage={"sizeInGiB": 30}), "ephemeralStorage not applicable for EC2."),
        (task(networkConfiguration={}), "networkConfiguration not applicable for EC2."),
        # Dependencies between containers
        (
            task(beside("a", dependsOn=after(("b", "START")))),
            "Container a depends on 'b', which is no other container of the task",
        ),
        (
            task(beside("a", dependsOn=after(("a", "START")))),
            "Container a depends on 'a', which is no other container of the task",
        ),
        (
            task(beside("a", dependsOn=after(("b", "HEALTHY"))), beside("b")),
            "Container a: the condition of a dependency must be START, COMPLETE or SUCCESS, got 'HEALTHY'",
        ),
        (
            task(beside("a", dependsOn=[{"containerName": "b"}]), beside("b")),
            "Container a: the condition of a dependency must be START, COMPLETE or SUCCESS, got ''",
        ),
        *(
            (
                task(beside("a", dependsOn=after(("b", condition))), beside("b")),
                f"Container a cannot depend on b with condition {condition}: that container is essential",
            )
            for condition in ("COMPLETE", "SUCCESS")
        ),
        (
            task(
                beside("a", dependsOn=after(("b", "START"))),
                beside("b", dependsOn=after(("c", "START"))),
                beside("c", dependsOn=after(("b", "START"))),
            ),
            "Containers depend on each other in a circle: a, b, c",
        ),
    ],
)
def test_what_is_refused(story: Story, properties: Form, text: str) -> None:
    assert story.refused(registering(ecsProperties=properties)) == text


@pytest.mark.parametrize("condition", ["START", "COMPLETE", "SUCCESS"])
def test_dependencies_on_a_container_that_is_not_essential(story: Story, condition: str) -> None:
    first = beside("first", essential=False)
    assert register(story, ecsProperties=task(beside("main", dependsOn=after(("first", condition))), first))


def fargate(*containers: Form, **members: Any) -> Form:
    return {
        "platformCapabilities": ["FARGATE"],
        "ecsProperties": task(
            *(containers or [beside("a", resourceRequirements=needs("1", "2048"))]),
            **{"executionRoleArn": ROLE, **members},
        ),
    }


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            fargate(
                beside("a", resourceRequirements=needs("0.25", "512")),
                beside("b", resourceRequirements=needs("0.25", "256")),
            ),
            "Fargate resource requirements (0.50 vCPU, 768 MiB) not valid.",
        ),
        (
            fargate(beside("a", resourceRequirements=needs("1.25")[:1])),
            "Fargate resource requirements (1.25 vCPU) not valid",
        ),
        (fargate(beside("a", resourceRequirements=needs("1", "2048", GPU="1"))), "GPU is not applicable for Fargate."),
        (fargate(executionRoleArn=None), "executionRoleArn is required for Fargate."),
        (fargate(ipcMode="task"), "ipcMode is not applicable for Fargate."),
        (fargate(pidMode="host"), "pidMode host is not applicable for Fargate."),
        (fargate(networkMode="host"), "networkMode is not applicable for Fargate."),
        (fargate(platformVersion="2"), "Fargate platform version must be one of 1.3.0, 1.4.0, LATEST, got '2'"),
        (
            fargate(beside("a", privileged=True, resourceRequirements=needs("1", "2048"))),
            "privileged is not applicable for Fargate.",
        ),
        (
            fargate(beside("a", stopTimeout=121, resourceRequirements=needs("1", "2048"))),
            "stopTimeout must be at most 120 seconds for Fargate, got 121",
        ),
    ],
)
def test_what_fargate_refuses(story: Story, form: Form, text: str) -> None:
    assert story.refused(registering(**form)) == text


def test_on_fargate_the_sum_of_all_containers_counts(story: Story) -> None:
    half, quarter = needs("0.5", "1024"), needs("0.25", "512")
    containers = [beside("a", resourceRequirements=half)]
    containers += [beside(name, resourceRequirements=quarter) for name in ("b", "c")]
    assert register(story, **fargate(*containers))


def managed(**members: Any) -> Form:
    return {"platformCapabilities": ["MANAGED_INSTANCES"], "ecsProperties": task(**members)}


def test_managed_instances(story: Story) -> None:
    assert register(story, **managed(networkMode="host"))
    text = "networkMode must be host, got 'awsvpc'"
    assert story.refused(registering(**managed(networkMode="awsvpc"))) == text
    text = "networkConfiguration is not applicable for Managed Instances."
    assert story.refused(registering(**managed(networkConfiguration={"assignPublicIp": "ENABLED"}))) == text
    form = managed()
    form["ecsProperties"]["taskProperties"][0]["containers"][0]["logConfiguration"] = {"logDriver": "syslog"}
    assert story.refused(registering(**form)) == "Log driver syslog is not applicable for Managed Instances."
