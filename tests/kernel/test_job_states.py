"""The states of a single job and their reasons (User Guide "Job states"), told as stories."""

from __future__ import annotations

import pytest
from story import ACCOUNT, NOON, Story

from batchyard.kernel.identifiers import instance_id_of, task_id_of
from batchyard.kernel.messages import TaskExited, TaskLost, TaskRecalled, TaskStarted, TaskUnknown

INSTANCE = instance_id_of("local")


def test_a_job_that_succeeds(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    assert story.status("A") == "STARTING"
    story.pass_time(2)
    story.begin("A")
    assert story.status("A") == "RUNNING"
    story.pass_time(5)
    story.exit("A", 0)
    assert story.states("A") == ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    assert story.reason("A") == "Essential container in task exited"
    job = story.jobs["A"]
    assert (job.created_at, job.started_at, job.stopped_at) == (story.now - 7000, story.now - 5000, story.now)


def test_an_attempt_tells_where_it_ran_and_how_it_ended(story: Story) -> None:
    job_id = story.submit("A")
    story.ordered("start A#1")
    story.begin("A")
    story.pass_time(3)
    story.exit("A", 7, "OutOfMemoryError: Container killed due to memory usage")
    (attempt,) = story.jobs["A"].attempts or ()
    assert attempt.container is not None
    task_id = task_id_of(job_id, 1)
    assert attempt.container.task_arn == ACCOUNT.ecs_arn(f"task/AWSBatch-ce/{task_id}")
    assert attempt.container.log_stream_name == f"work/default/{task_id}"
    assert attempt.container.exit_code == 7
    assert attempt.container.reason == "OutOfMemoryError: Container killed due to memory usage"
    assert attempt.status_reason == "Essential container in task exited"
    assert (attempt.started_at, attempt.stopped_at) == (story.now - 3000, story.now)
    assert story.status("A") == "FAILED"
    assert story.reason("A") == "Essential container in task exited"


def test_a_container_reason_is_cut_at_255_characters(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.exit("A", None, "CannotPullContainerError: " + "x" * 300, started=False)
    (attempt,) = story.jobs["A"].attempts or ()
    assert attempt.container is not None
    assert len(attempt.container.reason or "") == 255


def test_a_task_that_can_not_begin_has_no_start_and_no_log(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.exit("A", None, "CannotPullContainerError: no such image", started=False)
    assert story.states("A") == ["SUBMITTED", "RUNNABLE", "STARTING", "FAILED"]
    assert story.reason("A") == "Task failed to start"
    (attempt,) = story.jobs["A"].attempts or ()
    assert attempt.started_at is None
    assert attempt.container is not None
    assert attempt.container.log_stream_name is None


def test_a_task_so_short_that_its_start_is_told_with_its_end_was_still_running(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.exit("A", 0)
    assert story.states("A") == ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]


@pytest.mark.parametrize("code", [1, 137, 143, 255])
def test_any_exit_code_but_zero_fails_the_job(story: Story, code: int) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.run("A", code=code)
    assert story.status("A") == "FAILED"
    assert story.attempts("A") == [(code, "Essential container in task exited")]


def test_a_lost_host_fails_the_job_with_the_text_that_clients_match(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.begin("A")
    story.lose("A")
    assert story.reason("A") == f"Host EC2 (instance {INSTANCE}) terminated."
    assert story.attempts("A") == [(None, f"Host EC2 (instance {INSTANCE}) terminated.")]


def test_a_task_that_was_never_begun_is_ordered_again_as_the_same_attempt(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.unknown("A")
    story.ordered("start A#1")
    story.run("A")
    assert story.status("A") == "SUCCEEDED"
    assert story.attempts("A") == [(0, "Essential container in task exited")]


def test_what_an_engine_says_of_unknown_tasks_changes_nothing(story: Story) -> None:
    for observation in (
        TaskStarted("0" * 32, NOON),
        TaskExited("0" * 32, NOON, 0),
        TaskLost("0" * 32, NOON),
        TaskUnknown("0" * 32),
        TaskRecalled("0" * 32),
    ):
        story.observe(observation)
    assert story.kernel.state.tasks == {}


def test_what_an_engine_says_twice_counts_once(story: Story) -> None:
    job_id = story.submit("A", attempts=2)
    story.ordered("start A#1")
    story.begin("A")
    story.begin("A")
    story.exit("A", 1)
    story.ordered("start A#2")
    first = task_id_of(job_id, 1)
    story.observe(TaskExited(first, story.now, 1))
    story.observe(TaskStarted(first, story.now))
    assert story.status("A") == "STARTING"
    story.run("A")
    assert story.states("A") == [
        *("SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED")
    ]


def test_the_same_attempt_has_the_same_task_id_and_every_attempt_its_own() -> None:
    ids = {task_id_of(job, attempt) for job in ("a", "a:1", "b") for attempt in (1, 2)}
    assert len(ids) == 6
    assert all(len(task_id) == 32 and set(task_id) <= set("0123456789abcdef") for task_id in ids)
    assert task_id_of("a", 1) == task_id_of("a", 1)


def test_jobs_that_end_in_one_round_make_room_for_the_next(story: Story) -> None:
    for label in "ABCD":
        story.submit(label)
    story.ordered("start A#1", "start B#1")
    story.run("A", "B")
    story.ordered("start C#1", "start D#1")
    story.run("C", "D")
