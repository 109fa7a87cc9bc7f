"""Service environments and the queues on them (User Guide "Service environments for AWS Batch")."""

from __future__ import annotations

from typing import Any

import pytest
from service_story import create, limits, queue, update
from story import ACCOUNT, Story

from batchyard.kernel.commands import (
    ChangeTags,
    DeleteServiceEnvironment,
    UpdateJobQueue,
    UpdateServiceEnvironment,
)
from batchyard.kernel.tagging import tags_of
from batchyard.shapes import batch as shapes

ARN = ACCOUNT.arn("service-environment/se")


@pytest.fixture
def story(story: Story) -> Story:
    story.tell(create(tags={"team": "vision"}))
    story.pass_time(0.01)
    return story


def detail(story: Story, name: str = "se") -> shapes.ServiceEnvironmentDetail:
    return story.kernel.state.service_environments[name].detail


def test_created_then_valid(story: Story) -> None:
    answer = story.tell(create("other"))
    assert answer.service_environment_arn == ACCOUNT.arn("service-environment/other")
    assert (detail(story, "other").state, detail(story, "other").status) == ("ENABLED", "CREATING")
    story.pass_time(0.001)
    assert detail(story, "other").status == "VALID"


def test_updated_then_valid_again(story: Story) -> None:
    story.tell(update(state="DISABLED", capacity_limits=limits(ml_m5_large=3, ml_m5_xlarge=1)))
    assert (detail(story).state, detail(story).status) == ("DISABLED", "UPDATING")
    assert story.refused(update(state="ENABLED")) == "Cannot update, resource is being modified"
    assert story.refused(DeleteServiceEnvironment("se")) == "Cannot delete, resource is being modified"
    story.pass_time(0.001)
    assert detail(story).status == "VALID"
    assert detail(story).capacity_limits == limits(ml_m5_large=3, ml_m5_xlarge=1)


def test_deleted_when_disabled_and_detached(story: Story) -> None:
    story.tell(queue("se"))
    story.pass_time(0.01)
    assert story.refused(DeleteServiceEnvironment("se")) == "Cannot delete, state must be DISABLED"
    story.tell(update(state="DISABLED"))
    story.pass_time(0.01)
    assert story.refused(DeleteServiceEnvironment(ARN)) == "Cannot delete, found existing JobQueue relationship"
    story.delete_queue("training")
    story.pass_time(0.01)
    story.tell(DeleteServiceEnvironment(ARN))
    assert detail(story).status == "DELETING"
    story.pass_time(0.001)
    assert "se" not in story.kernel.state.service_environments
    story.tell(DeleteServiceEnvironment("se"))


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (create(), "Object already exists"),
        (create("no spaces"), "serviceEnvironmentName should match valid pattern"),
        (create("new", []), "capacityLimits must have 1 to 5 entries, got 0"),
        (
            create("new", limits(NUM_INSTANCES=1, ml_m5_large=1)),
            "capacityLimits with the capacityUnit NUM_INSTANCES cannot have another entry",
        ),
        (create("new", limits(ml_m5_large=1) * 2), "capacityLimits cannot name a capacityUnit twice"),
        (create("new", limits(NUM_INSTANCES=0)), "maxCapacity must be at least 1, got 0"),
        (
            create("new", [shapes.CapacityLimit(capacity_unit="NUM_INSTANCES")]),
            "maxCapacity must be at least 1, got None",
        ),
        (
            create("new", limits(VCPU=1)),
            "capacityUnit must be NUM_INSTANCES or a SageMaker instance type such as ml.m5.large, got 'VCPU'",
        ),
        (create("new", tags={"aws:x": "y"}), "Tag key 'aws:x' starts with the reserved prefix aws:"),
        (update(capacity_limits=[]), "capacityLimits must have 1 to 5 entries, got 0"),
        (
            UpdateServiceEnvironment(shapes.UpdateServiceEnvironmentRequest(service_environment="none")),
            "ServiceEnvironment none not found.",
        ),
    ],
)
def test_refused(story: Story, command: Any, text: str) -> None:
    assert story.refused(command) == text


def test_tags(story: Story) -> None:
    story.tell(ChangeTags(arn=ARN, add={"stage": "test"}, remove=["team"]))
    assert tags_of(story.kernel.state, ARN) == {"stage": "test"}


def test_a_queue_on_a_service_environment(story: Story) -> None:
    story.tell(queue("se"))
    story.pass_time(0.01)
    made = story.kernel.state.queues["training"].detail
    assert made.job_queue_type == "SAGEMAKER_TRAINING"
    assert made.service_environment_order == [shapes.ServiceEnvironmentOrder(order=1, service_environment=ARN)]
    assert made.compute_environment_order == []


COMPUTE = [shapes.ComputeEnvironmentOrder(order=1, compute_environment="ce")]
TERMINATE = shapes.JobStateTimeLimitAction(
    reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", state="RUNNABLE", max_time_seconds=600, action="TERMINATE"
)
CANCEL = shapes.JobStateTimeLimitAction(
    reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", state="RUNNABLE", max_time_seconds=600, action="CANCEL"
)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            queue("se", compute_environment_order=COMPUTE),
            "A job queue cannot have both computeEnvironmentOrder and serviceEnvironmentOrder",
        ),
        (queue("se", "se"), "A job queue must have exactly 1 service environment, got 2"),
        (queue("none"), "Service Environment none does not exist"),
        (queue("se", job_queue_type="ECS"), "A job queue of type ECS cannot have a serviceEnvironmentOrder"),
        (
            queue(compute_environment_order=COMPUTE, job_queue_type="SAGEMAKER_TRAINING"),
            "A job queue of type SAGEMAKER_TRAINING cannot have a computeEnvironmentOrder",
        ),
        (
            queue("se", job_state_time_limit_actions=[CANCEL]),
            "The action of a job state time limit must be TERMINATE in this job queue, got CANCEL",
        ),
        (
            queue(compute_environment_order=COMPUTE, job_state_time_limit_actions=[TERMINATE]),
            "The action of a job state time limit must be CANCEL in this job queue, got TERMINATE",
        ),
    ],
)
def test_queues_refused(story: Story, command: Any, text: str) -> None:
    assert story.refused(command) == text


def test_a_queue_cannot_be_on_an_environment_that_is_being_created(story: Story) -> None:
    story.tell(create("new"))
    assert story.refused(queue("new")) == "Service Environment new is not valid"


def test_a_queue_keeps_its_kind_of_environment(story: Story) -> None:
    story.tell(queue("se"))
    story.tell(create("other"))
    story.pass_time(0.01)
    order = [shapes.ServiceEnvironmentOrder(order=1, service_environment="other")]
    story.tell(UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue="training", service_environment_order=order)))
    story.pass_time(0.01)
    [entry] = story.kernel.state.queues["training"].detail.service_environment_order or []
    assert entry.service_environment == ACCOUNT.arn("service-environment/other")
    for name, members, kind in [
        (
            "training",
            {"compute_environment_order": COMPUTE},
            "SAGEMAKER_TRAINING cannot have a computeEnvironmentOrder",
        ),
        ("q", {"service_environment_order": order}, "ECS cannot have a serviceEnvironmentOrder"),
    ]:
        request = shapes.UpdateJobQueueRequest(job_queue=name, **members)
        assert story.refused(UpdateJobQueue(request)) == f"A job queue of type {kind}"
