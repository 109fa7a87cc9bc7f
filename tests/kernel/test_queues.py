"""Job queues: creating, changing, deleting (User Guide "Job queues")."""

from __future__ import annotations

from typing import Any

import pytest
from story import ACCOUNT, Story, order_of, submission

from batchyard.kernel.commands import CreateJobQueue, DeleteJobQueue, UpdateJobQueue
from batchyard.shapes import batch as shapes


def create(name: str = "new", priority: int = 1, order: list[str] | None = None, **members: Any) -> CreateJobQueue:
    given: dict[str, Any] = {"compute_environment_order": order_of(order if order is not None else ["ce"])}
    return CreateJobQueue(shapes.CreateJobQueueRequest(job_queue_name=name, priority=priority, **given | members))


def test_a_queue_is_created_then_valid(story: Story) -> None:
    answer = story.tell(create(tags={"team": "a"}))
    assert (answer.job_queue_name, answer.job_queue_arn) == ("new", ACCOUNT.arn("job-queue/new"))
    detail = story.kernel.state.queues["new"].detail
    assert (detail.state, detail.status, detail.status_reason) == ("ENABLED", "CREATING", "JobQueue Creating")
    assert detail.compute_environment_order == [
        shapes.ComputeEnvironmentOrder(order=1, compute_environment=ACCOUNT.arn("compute-environment/ce"))
    ]
    assert (detail.job_queue_type, detail.tags) == ("ECS", {"team": "a"})
    assert story.kernel.next_wakeup(story.now) == story.now + 1
    story.pass_time(0.001)
    detail = story.kernel.state.queues["new"].detail
    assert (detail.status, detail.status_reason) == ("VALID", "JobQueue Healthy")


def test_a_queue_is_updated_then_valid_again(story: Story) -> None:
    story.environment("other")
    story.tell(
        UpdateJobQueue(
            shapes.UpdateJobQueueRequest(
                job_queue=ACCOUNT.arn("job-queue/q"),
                priority=7,
                state="DISABLED",
                compute_environment_order=order_of(["other", "ce"]),
            )
        )
    )
    detail = story.kernel.state.queues["q"].detail
    assert (detail.status, detail.priority, detail.state) == ("UPDATING", 7, "DISABLED")
    story.pass_time(0.01)
    detail = story.kernel.state.queues["q"].detail
    assert detail.status == "VALID"
    assert [entry.compute_environment.rpartition("/")[2] for entry in detail.compute_environment_order or ()] == [
        "other",
        "ce",
    ]


def test_a_disabled_queue_takes_no_jobs_and_runs_those_it_has(story: Story) -> None:
    story.submit("A", vcpus=2)
    story.submit("B")
    story.change_queue("q", state="DISABLED")
    assert story.refused(submission()) == f"Job queue {ACCOUNT.arn('job-queue/q')} is not enabled"
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("B")


def test_a_deleted_queue_ends_all_its_jobs_and_then_is_gone(story: Story) -> None:
    story.queue("other", ["ce"])
    story.submit("A", attempts=3)
    story.submit("B", array=3)
    story.submit("C", after=["A"])
    story.submit("D", array=2, after=["A"])
    story.submit("E", queue="other", after=["C"])
    story.ordered("start A#1", "start B:0#1")
    story.begin("A", "B:0")
    story.delete_queue("q")
    story.ordered("stop A#1 30", "stop B:0#1 30")
    for label in ("C", "D", "D:1", "B:2"):
        assert (story.status(label), story.reason(label)) == ("FAILED", "JobQueue deleted")
    assert (story.status("E"), story.reason("E")) == ("FAILED", "Dependent Job failed")
    assert story.refused(submission()) == "JobQueue q not found."
    story.pass_time(100)
    assert story.kernel.state.queues["q"].detail.status == "DELETING"
    assert story.kernel.next_wakeup(story.now) is None
    story.exit("A", 143)
    assert (story.status("A"), story.reason("A")) == ("FAILED", "JobQueue deleted")
    story.exit("B:0", 143)
    assert (story.status("B"), story.reason("B")) == ("FAILED", "JobQueue deleted")
    assert "q" not in story.kernel.state.queues


def test_an_array_of_a_deleted_queue_says_so_whatever_it_waited_for(story: Story) -> None:
    """The job that it waits for ends in the same moment; the deletion is the reason all the same."""
    story.submit("W", vcpus=2)
    story.submit("A")
    story.submit("B", array=2, after=["A"])
    story.delete_queue("q")
    assert (story.reason("B"), story.reason("B:0")) == ("JobQueue deleted", "JobQueue deleted")
    story.ordered("start W#1", "stop W#1 30")
    story.exit("W", None, started=False)


def test_an_empty_queue_is_gone_at_once(story: Story) -> None:
    story.delete_queue("q")
    assert story.kernel.state.queues["q"].detail.status == "DELETING"
    story.pass_time(0.001)
    assert story.kernel.state.queues == {}
    story.tell(DeleteJobQueue("q"))
    story.tell(DeleteJobQueue("never was"))


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (create("q"), "Object already exists"),
        (create("no good"), "jobQueueName should match valid pattern"),
        (create(""), "jobQueueName should match valid pattern"),
        (create("x" * 129), "jobQueueName should match valid pattern"),
        (create("new\n"), "jobQueueName should match valid pattern"),
        (create(priority=-1), "priority must be between 0 and 2147483647, got -1"),
        (create(priority=2**31), "priority must be between 0 and 2147483647, got 2147483648"),
        (create(order=[]), "A job queue must have 1 to 3 compute environments, got 0"),
        (create(order=["ce"] * 4), "A job queue must have 1 to 3 compute environments, got 4"),
        (create(order=["nowhere"]), "Compute Environment nowhere does not exist"),
        (create(order=["ce", "ce"]), "computeEnvironmentOrder cannot name a compute environment twice"),
        (create(order=["ce", "fargate"]), "A job queue cannot mix compute environments of types EC2 and FARGATE"),
        (create(order=["kubernetes"]), "Compute Environment kubernetes is not valid"),
        (
            create(
                compute_environment_order=[
                    shapes.ComputeEnvironmentOrder(order=1, compute_environment="ce"),
                    shapes.ComputeEnvironmentOrder(order=1, compute_environment="fargate"),
                ]
            ),
            "computeEnvironmentOrder cannot use the same order twice",
        ),
        (create(scheduling_policy_arn="arn:x"), "SchedulingPolicy arn:x not found."),
        (
            create(
                job_state_time_limit_actions=[
                    shapes.JobStateTimeLimitAction(
                        reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
                        state="RUNNABLE",
                        max_time_seconds=599,
                        action="CANCEL",
                    )
                ]
            ),
            "maxTimeSeconds must be between 600 and 86400, got 599",
        ),
        (
            create(tags={"a*": "b"}),
            "Tags can only contain letters, numbers, spaces, and the following special characters: _ . : / = + - @",
        ),
        (UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue="none", priority=1)), "JobQueue none not found."),
        (
            UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue="q", priority=-1)),
            "priority must be between 0 and 2147483647, got -1",
        ),
        (
            UpdateJobQueue(
                shapes.UpdateJobQueueRequest(job_queue="q", compute_environment_order=order_of(["ce", "none"]))
            ),
            "Compute Environment none does not exist",
        ),
        (DeleteJobQueue("q"), "Cannot delete, state must be DISABLED"),
    ],
)
def test_what_is_refused(story: Story, command: CreateJobQueue, text: str) -> None:
    fargate_environment(story)
    kubernetes_environment(story)
    assert story.refused(command) == text


def test_what_is_being_modified_is_left_alone(story: Story) -> None:
    story.tell(create())
    update = UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue="new", priority=5))
    assert story.refused(update) == "Cannot update, resource is being modified"
    assert story.refused(DeleteJobQueue("new")) == "Cannot delete, resource is being modified"


def test_an_environment_that_is_still_being_created_is_not_valid(story: Story) -> None:
    from batchyard.kernel.commands import CreateComputeEnvironment

    story.tell(
        CreateComputeEnvironment(
            shapes.CreateComputeEnvironmentRequest(
                compute_environment_name="fresh", type="UNMANAGED", service_role="role"
            ),
            "uuid",
        )
    )
    assert story.refused(create(order=["fresh"])) == "Compute Environment fresh is not valid"


def fargate_environment(story: Story) -> None:
    from batchyard.kernel.commands import CreateComputeEnvironment

    resources = shapes.ComputeResource(type="FARGATE", max_vcpus=16, subnets=["s"], security_group_ids=["g"])
    story.tell(
        CreateComputeEnvironment(
            shapes.CreateComputeEnvironmentRequest(
                compute_environment_name="fargate", type="MANAGED", compute_resources=resources
            ),
            "uuid",
        )
    )
    story.pass_time(0.01)


def kubernetes_environment(story: Story) -> None:
    from batchyard.kernel.commands import CreateComputeEnvironment

    resources = shapes.ComputeResource(
        type="EC2",
        allocation_strategy="BEST_FIT_PROGRESSIVE",
        max_vcpus=16,
        min_vcpus=0,
        instance_role="r",
        subnets=["s"],
        security_group_ids=["g"],
    )
    story.tell(
        CreateComputeEnvironment(
            shapes.CreateComputeEnvironmentRequest(
                compute_environment_name="kubernetes",
                type="MANAGED",
                compute_resources=resources,
                eks_configuration=shapes.EksConfiguration(eks_cluster_arn="arn", kubernetes_namespace="batch"),
            ),
            "uuid",
        )
    )
    story.pass_time(0.01)
    assert story.kernel.state.environments["kubernetes"].detail.status == "INVALID"
