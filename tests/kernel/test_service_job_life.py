"""Service jobs: tasks that start and end together, capacity, what SageMaker would say (User Guide "Service jobs")."""

from __future__ import annotations

import pytest
from service_story import STOP_GRACE, Training, limits, payload, submission, update
from story import Story

from batchyard.kernel.commands import TerminateServiceJob, UpdateServiceJob
from batchyard.kernel.resources import Resources
from batchyard.kernel.training import instance_resources, training_job_name
from batchyard.shapes import batch as shapes

RECEIVED = "Received status from SageMaker: "


@pytest.fixture
def training() -> Training:
    return Training(Story(vcpus=8, memory=32_768))


def test_a_job_goes_through_all_states(training: Training) -> None:
    story = training.story
    training.submit("J", 2)
    story.ordered("start J#1/1", "start J#1/2")
    assert story.status("J") == "SCHEDULED"
    story.begin("J/2")
    assert story.status("J") == "STARTING"
    story.pass_time(1)
    story.begin("J/1")
    assert (story.status("J"), story.jobs["J"].started_at) == ("RUNNING", story.now)
    story.exit("J/1")
    assert story.status("J") == "RUNNING"
    story.exit("J/2")
    assert (story.status("J"), story.reason("J")) == ("SUCCEEDED", f"{RECEIVED}Completed")
    assert story.states("J") == ["SUBMITTED", "RUNNABLE", "SCHEDULED", "STARTING", "RUNNING", "SUCCEEDED"]
    story.over()


def test_one_that_fails_stops_the_others_and_gives_the_reason(training: Training) -> None:
    story = training.story
    training.submit("J", 3, attempts=2)
    story.given("start")
    story.begin("J/1", "J/2", "J/3")
    story.exit("J/2", 3, message="no disk")
    story.ordered(f"stop J#1/1 {STOP_GRACE}", f"stop J#1/3 {STOP_GRACE}")
    story.exit("J/1", 143)
    assert story.status("J") == "RUNNING"
    story.exit("J/3", 0)
    story.ordered("start J#2/1", "start J#2/2", "start J#2/3")
    assert story.attempts("J") == [(3, f"{RECEIVED}AlgorithmError: no disk, exit code: 3")]
    story.begin("J/1", "J/2", "J/3")
    for number in (1, 2, 3):
        story.exit(f"J/{number}")
    assert story.status("J") == "SUCCEEDED"
    story.over()


def test_an_instance_that_cannot_start(training: Training) -> None:
    story = training.story
    training.submit("J", 2)
    story.begin("J/1")
    story.exit("J/2", None, "CannotPullContainerError: no such image", started=False)
    story.exit("J/1", 143)
    assert story.reason("J") == f"{RECEIVED}ClientError: CannotPullContainerError: no such image"
    assert (story.status("J"), story.jobs["J"].started_at) == ("FAILED", None)


def test_an_instance_that_is_lost_is_an_error_of_the_service(training: Training) -> None:
    story = training.story
    training.submit("J", attempts=2)
    story.begin("J/1")
    story.lose("J/1")
    assert "InternalServerError: Host (instance i-" in str(story.attempts("J")[0][1])
    assert story.status("J") == "SCHEDULED"


def test_a_task_that_never_began_is_ordered_again_unless_the_attempt_ends(training: Training) -> None:
    story = training.story
    training.submit("J", 2)
    story.given("start")
    story.unknown("J/1")
    story.ordered("start J#1/1")
    story.tell(TerminateServiceJob(story.id("J"), "enough"))
    story.ordered(f"stop J#1/1 {STOP_GRACE}", f"stop J#1/2 {STOP_GRACE}")
    story.unknown("J/1")
    story.exit("J/2", 143)
    assert (story.status("J"), story.reason("J")) == ("FAILED", "enough")
    story.over()


def test_capacity_is_counted_in_instances_and_free_when_the_last_has_ended(training: Training) -> None:
    story = training.story
    training.submit("A", 3)
    training.submit("B", 2)
    assert story.status("B") == "RUNNABLE"
    story.begin("A/1", "A/2", "A/3")
    story.exit("A/1")
    story.exit("A/2")
    assert story.kernel.state.service_environments["se"].used == {"ml.t3.medium": 3}
    assert story.status("B") == "RUNNABLE"
    story.exit("A/3")
    assert story.status("B") == "SCHEDULED"
    assert story.kernel.state.service_environments["se"].used == {"ml.t3.medium": 2}


def test_why_it_waits(training: Training) -> None:
    story = training.story
    training.submit("A", 3)
    training.submit("B", 2)
    training.submit("C", 1)
    [(_, reason)] = [line for line in story.history("B") if line[0] == "RUNNABLE"]
    assert reason == (
        "It needs 2 instances of type ml.t3.medium, and that many are not free: service environment se uses 3 of its 4"
        " instances."
    )
    assert story.history("C")[1][1] == f"Job {story.id('B')}, which is ahead of it," + str(reason)[2:]
    story.tell(update(state="DISABLED"))
    story.pass_time(2)
    assert str(story.reason("B")).startswith("ACTION_REQUIRED - ")
    assert str(story.reason("B")).endswith("Service environment se is DISABLED, VALID.")
    story.tell(update(state="ENABLED"))
    story.pass_time(2)
    assert story.reason("B") is None


def test_what_could_never_run_says_so_and_blocks_nobody(training: Training) -> None:
    story = training.story
    training.submit("A", 5)
    training.submit("B", 1)
    assert story.status("B") == "SCHEDULED"
    assert story.reason("A") == (
        "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE - Service environment(s) associated with the job queue cannot meet"
        " the capacity requirement of the job. It needs 5 instances of type ml.t3.medium; service environment se has 4"
        " instances."
    )
    story.tell(update(capacity_limits=limits(NUM_INSTANCES=6)))
    story.pass_time(0.01)
    assert (story.status("A"), story.reason("A")) == ("RUNNABLE", None)


def test_the_machine_is_a_limit_too(training: Training) -> None:
    """Four instances of 2 vCPU are all that 8 vCPU hold; container jobs take their part."""
    story = training.story
    story.submit("busy", vcpus=2)
    training.submit("A", 4)
    assert story.status("A") == "RUNNABLE"
    assert "each instance takes 2 vCPU and 8192 MiB, and i-" in str(story.history("A")[1][1])
    story.run("busy")
    assert story.status("A") == "SCHEDULED"


@pytest.mark.parametrize(
    ("instance_type", "count", "resources"),
    [
        ("ml.t3.medium", 1, Resources(2000, 8192)),
        ("ml.c5.xlarge", 1, Resources(4000, 8192)),
        ("ml.r5.xlarge", 1, Resources(4000, 32_768)),
        ("ml.m5.24xlarge", 1, Resources(16_000, 65_536)),
        ("ml.m5.24xlarge", 4, Resources(4000, 16_384)),
        ("ml.trn1.2xlarge", 2, Resources(8000, 32_768)),
    ],
)
def test_instances_are_scaled_to_the_machine(instance_type: str, count: int, resources: Resources) -> None:
    assert instance_resources(instance_type, count, Resources(16_000, 65_536)) == resources


def test_the_shorter_of_two_limits_ends_an_attempt(training: Training) -> None:
    story = training.story
    training.submit("A", runtime=90)
    training.submit("B", timeout_config=shapes.ServiceJobTimeout(attempt_duration_seconds=60))
    story.begin("A/1", "B/1")
    story.given("start")
    story.pass_time(60)
    story.ordered(f"stop B#1/1 {STOP_GRACE}")
    story.pass_time(30)
    story.ordered(f"stop A#1/1 {STOP_GRACE}")
    story.exit("A/1", 0)
    story.exit("B/1", 143)
    assert "MaxRuntimeExceeded" in str(story.reason("A"))
    assert story.reason("B") == "Job attempt duration exceeded timeout"
    assert (story.status("A"), story.status("B")) == ("FAILED", "FAILED")


def test_the_same_token_is_the_same_job_for_eight_hours(training: Training) -> None:
    story = training.story
    first = training.submit("A", client_token="t")
    again = submission("A", payload(), job_id="other", client_token="t")
    assert story.tell(again).job_id == first
    other = submission("A", payload(2), client_token="t")
    assert story.refused(other) == "clientToken t was used before, for a different request"
    story.pass_time(8 * 3600)
    assert training.submit("B", client_token="u") != first
    assert list(story.kernel.state.submission_tokens) == ["u"]


def test_a_priority_is_changed_while_the_job_lasts(training: Training) -> None:
    story = training.story
    training.submit("A", scheduling_priority=1)
    story.tell(UpdateServiceJob(story.id("A"), 5))
    assert story.jobs["A"].priority == 5
    assert story.refused(UpdateServiceJob("none", 5)) == "Service job none not found, or it has ended."


def test_names_of_training_jobs() -> None:
    name = training_job_name("x" * 80, "id", 1)
    assert len(name) == 63
    assert name.startswith("AWSBatchxxx")
    assert training_job_name("x", "id", 1) != training_job_name("x", "id", 2)
