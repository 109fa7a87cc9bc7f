"""Compute environments: creating, changing, deleting (User Guide "Compute environments")."""

from __future__ import annotations

from typing import Any

import pytest
from story import ACCOUNT, Story

from batchyard.kernel.commands import (
    Command,
    CreateComputeEnvironment,
    DeleteComputeEnvironment,
    UpdateComputeEnvironment,
)
from batchyard.shapes import batch as shapes

MODIFIED = "resource is being modified"


def resources(**members: Any) -> shapes.ComputeResource:
    given: dict[str, Any] = {"type": "EC2", "max_vcpus": 4, "min_vcpus": 0, "instance_role": "role", "subnets": ["s"]}
    return shapes.ComputeResource(**given | members)


def create(name: str = "new", **members: Any) -> CreateComputeEnvironment:
    given: dict[str, Any] = {"type": "MANAGED", "compute_resources": resources()}
    request = shapes.CreateComputeEnvironmentRequest(compute_environment_name=name, **given | members)
    return CreateComputeEnvironment(request, "11111111-2222-4333-8444-555555555555")


def of_resources(**members: Any) -> CreateComputeEnvironment:
    return create(compute_resources=resources(**members))


def fargate(**members: Any) -> CreateComputeEnvironment:
    given: dict[str, Any] = {"type": "FARGATE", "min_vcpus": None, "instance_role": None}
    return of_resources(**given | members)


def update(name: str = "ce", **members: Any) -> UpdateComputeEnvironment:
    return UpdateComputeEnvironment(shapes.UpdateComputeEnvironmentRequest(compute_environment=name, **members))


def test_an_environment_is_created_then_valid(story: Story) -> None:
    answer = story.tell(create(tags={"team": "a"}))
    arn = ACCOUNT.arn("compute-environment/new")
    assert (answer.compute_environment_name, answer.compute_environment_arn) == ("new", arn)
    detail = story.kernel.state.environments["new"].detail
    assert (detail.state, detail.status, detail.tags) == ("ENABLED", "CREATING", {"team": "a"})
    assert detail.uuid == "11111111-2222-4333-8444-555555555555"
    assert detail.ecs_cluster_arn == ACCOUNT.ecs_arn("cluster/AWSBatch-new")
    assert story.kernel.next_wakeup(story.now) == story.now + 1
    story.pass_time(0.001)
    detail = story.kernel.state.environments["new"].detail
    assert (detail.status, detail.status_reason) == ("VALID", "ComputeEnvironment Healthy")
    assert detail.compute_resources is not None
    assert detail.compute_resources.desired_vcpus == 0


def test_an_environment_is_changed_and_keeps_what_is_not_named(story: Story) -> None:
    story.tell(update(ACCOUNT.arn("compute-environment/ce"), state="DISABLED"))
    detail = story.kernel.state.environments["ce"].detail
    assert (detail.state, detail.status) == ("DISABLED", "UPDATING")
    story.pass_time(0.01)
    story.tell(update(compute_resources=shapes.ComputeResourceUpdate(max_vcpus=9)))
    story.pass_time(0.01)
    detail = story.kernel.state.environments["ce"].detail
    assert (detail.state, detail.status) == ("DISABLED", "VALID")
    assert detail.compute_resources is not None
    assert (detail.compute_resources.max_vcpus, detail.compute_resources.instance_role) == (9, "role")


def test_an_environment_is_deleted_when_it_is_disabled_and_in_no_queue(story: Story) -> None:
    story.environment("new")
    assert story.refused(DeleteComputeEnvironment("new")) == "Cannot delete, state must be DISABLED"
    story.change_environment("new", state="DISABLED")
    story.tell(DeleteComputeEnvironment("new"))
    assert story.kernel.state.environments["new"].detail.status == "DELETING"
    assert MODIFIED in story.refused(DeleteComputeEnvironment("new"))
    story.pass_time(0.001)
    assert "new" not in story.kernel.state.environments
    story.tell(DeleteComputeEnvironment("new"))
    story.change_environment("ce", state="DISABLED")
    text = "Cannot delete, found existing JobQueue relationship"
    assert story.refused(DeleteComputeEnvironment("ce")) == text


def test_what_is_being_modified_is_left_alone(story: Story) -> None:
    story.tell(create())
    assert story.refused(update("new", state="DISABLED")) == f"Cannot update, {MODIFIED}"
    assert story.refused(DeleteComputeEnvironment("new")) == f"Cannot delete, {MODIFIED}"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (create("ce"), "Object already exists"),
        (create("no good"), "computeEnvironmentName should match valid pattern"),
        (create("x" * 129), "computeEnvironmentName should match valid pattern"),
        (
            create(compute_resources=None),
            "computeResources must be provided for a MANAGED compute environment",
        ),
        (
            create(type="UNMANAGED", service_role="r"),
            "computeResources is not applicable for an UNMANAGED compute environment",
        ),
        (create(type="UNMANAGED", compute_resources=None), "ServiceRole is required."),
        (create(unmanaged_vcpus=4), "unmanagedvCpus is not applicable for a MANAGED compute environment"),
        (of_resources(min_vcpus=None), "Resource minvCpus is required."),
        (of_resources(instance_role=None), "Instance role is required."),
        (of_resources(type="SPOT"), "ComputeResources.spotIamFleetRole cannot not be null or empty"),
        (of_resources(max_vcpus=-1), "Resource maxvCpus must be at least 1, got -1"),
        (of_resources(min_vcpus=5), "Resource minvCpus must be between 0 and maxvCpus (4), got 5"),
        (
            of_resources(desired_vcpus=5),
            "Resource desiredvCpus must be between minvCpus (0) and maxvCpus (4), got 5",
        ),
        (fargate(max_vcpus=0), "Resource maxvCpus must be at least 1, got 0"),
        (fargate(desired_vcpus=1), "desiredvCpus is not applicable for Fargate."),
        (fargate(min_vcpus=0), "minvCpus is not applicable for Fargate."),
        (fargate(tags={"a": "b"}), "tags is not applicable for Fargate."),
        (update("none", state="ENABLED"), "ComputeEnvironment none not found."),
        (update(unmanaged_vcpus=1), "unmanagedvCpus is not applicable for a MANAGED compute environment"),
        (
            update("scaled", compute_resources=shapes.ComputeResourceUpdate(desired_vcpus=1)),
            "Manually scaling down compute environment is not supported. Disconnecting job queues from compute"
            " environment will cause it to scale-down to minvCpus",
        ),
        (
            update(compute_resources=shapes.ComputeResourceUpdate(min_vcpus=3, max_vcpus=2)),
            "Resource minvCpus must be between 0 and maxvCpus (2), got 3",
        ),
    ],
)
def test_what_is_refused(story: Story, command: Command, text: str) -> None:
    story.tell(create("scaled", compute_resources=resources(desired_vcpus=2)))
    story.pass_time(0.01)
    assert story.refused(command) == text


def test_kubernetes_is_invalid_with_a_reason(story: Story) -> None:
    configuration = shapes.EksConfiguration(eks_cluster_arn="arn", kubernetes_namespace="batch")
    given = resources(allocation_strategy="BEST_FIT_PROGRESSIVE")
    story.tell(create(eks_configuration=configuration, compute_resources=given))
    story.pass_time(0.01)
    detail = story.kernel.state.environments["new"].detail
    assert detail.status == "INVALID"
    assert (detail.status_reason or "").startswith("CLIENT_ERROR - ")
