"""CancelJob and TerminateJob in every state (model `CancelJob`, `TerminateJob`; User Guide "Array jobs")."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from story import ACCOUNT, Story

from batchyard.kernel.commands import CancelJob, TerminateJob

BOTH = pytest.mark.parametrize("end", [Story.cancel, Story.terminate], ids=["cancel", "terminate"])
End = Callable[[Story, str, str], None]


@BOTH
def test_a_job_that_waits_for_room_fails_with_the_callers_reason(story: Story, end: End) -> None:
    for label in "ABC":
        story.submit(label, attempts=3)
    story.ordered("start A#1", "start B#1")
    end(story, "C", "not needed")
    assert (story.status("C"), story.reason("C")) == ("FAILED", "not needed")
    assert story.jobs["C"].stopped_at == story.now
    assert story.jobs["C"].started_at is None
    story.run("A", "B")


@BOTH
def test_a_job_that_waits_for_another_fails_at_once(story: Story, end: End) -> None:
    story.submit("A")
    story.submit("B", after=["A"])
    story.submit("C", after=["B"])
    end(story, "B", "not needed")
    assert (story.status("B"), story.reason("B")) == ("FAILED", "not needed")
    assert (story.status("C"), story.reason("C")) == ("FAILED", "Dependent Job failed")
    story.ordered("start A#1")
    story.run("A")


@pytest.mark.parametrize("running", [False, True])
def test_cancelling_a_job_that_has_a_task_changes_nothing(story: Story, running: bool) -> None:
    story.submit("A", attempts=2)
    story.ordered("start A#1")
    if running:
        story.begin("A")
    story.cancel("A")
    story.ordered()
    story.exit("A", 1)
    story.ordered("start A#2")
    story.run("A")
    assert story.status("A") == "SUCCEEDED"
    assert not story.jobs["A"].cancelled


@pytest.mark.parametrize("running", [False, True])
def test_terminating_a_job_that_has_a_task_stops_it_and_it_is_not_retried(story: Story, running: bool) -> None:
    story.submit("A", attempts=5)
    story.ordered("start A#1")
    if running:
        story.begin("A")
    story.terminate("A", "enough")
    story.ordered("stop A#1 30")
    assert story.status("A") == ("RUNNING" if running else "STARTING")
    story.exit("A", 143 if running else None, started=running)
    assert (story.status("A"), story.reason("A")) == ("FAILED", "enough")
    assert story.jobs["A"].terminated
    assert story.attempts("A") == [(143 if running else None, "enough")]


def test_a_terminated_job_that_was_never_begun_fails_without_being_ordered_again(story: Story) -> None:
    story.submit("A", attempts=2)
    story.ordered("start A#1")
    story.terminate("A", "enough")
    story.ordered("stop A#1 30")
    story.unknown("A")
    assert (story.status("A"), story.reason("A")) == ("FAILED", "enough")


def test_a_terminated_job_whose_host_is_lost_is_not_retried(story: Story) -> None:
    story.submit("A", attempts=2)
    story.ordered("start A#1")
    story.terminate("A", "enough")
    story.ordered("stop A#1 30")
    story.lose("A")
    assert (story.status("A"), story.reason("A")) == ("FAILED", "enough")


def test_terminating_twice_stops_once_and_the_first_reason_stays(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.terminate("A", "first")
    story.terminate("A", "second")
    story.ordered("stop A#1 30")
    story.exit("A", 143)
    assert story.reason("A") == "first"


@BOTH
def test_a_job_between_two_attempts_fails_and_keeps_its_attempts(story: Story, end: End) -> None:
    story.submit("A", attempts=3)
    story.ordered("start A#1")
    story.begin("A")
    story.change_environment("ce", state="DISABLED")
    story.exit("A", 4)
    assert story.status("A") == "RUNNABLE"
    end(story, "A", "not needed")
    assert (story.status("A"), story.reason("A")) == ("FAILED", "not needed")
    assert story.attempts("A") == [(4, "Essential container in task exited")]


@BOTH
def test_jobs_that_are_unknown_or_have_ended_are_no_error(story: Story, end: End) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.run("A")
    for job in ("A", "A:0", "ffffffff-1111-4111-8111-111111111111", "nonsense", "", ":", "#1"):
        end(story, job, "too late")
    assert (story.status("A"), story.reason("A")) == ("SUCCEEDED", "Essential container in task exited")


@BOTH
def test_children_that_do_not_exist_are_no_error(story: Story, end: End) -> None:
    job_id = story.submit("A", array=2)
    for index in ("2", "-1", "01", "²", "1.0", "", "9" * 5000, "0:0"):
        end(story, f"{job_id}:{index}", "nonsense")
    story.ordered("start A:0#1", "start A:1#1")
    assert story.summary("A") == {"STARTING": 2}
    story.run("A:0", "A:1")
    assert story.status("A") == "SUCCEEDED"


def test_a_job_arn_will_do(story: Story) -> None:
    job_id = story.submit("A", after=[story.submit("B")])
    story.terminate(ACCOUNT.arn(f"job/{job_id}"), "by its ARN")
    assert story.reason("A") == "by its ARN"
    story.ordered("start B#1")
    story.run("B")


@pytest.mark.parametrize("command", [CancelJob, TerminateJob])
def test_reasons_that_are_refused(story: Story, command: Callable[[str, str], CancelJob]) -> None:
    assert story.refused(command("any", "")) == "reason must not be empty"
    text = "reason must have at most 1024 characters, got 1025"
    assert story.refused(command("any", "x" * 1025)) == text


# Arrays


@BOTH
def test_a_child_that_has_not_started(story: Story, end: End) -> None:
    story.submit("A", array=4)
    story.ordered("start A:0#1", "start A:1#1")
    end(story, "A:2", "skip it")
    assert (story.status("A:2"), story.reason("A:2")) == ("FAILED", "skip it")
    assert story.history("A:2") == [("FAILED", "skip it")]
    assert story.summary("A") == {"RUNNABLE": 1, "STARTING": 2, "FAILED": 1}
    story.run("A:0", "A:1")
    story.ordered("start A:3#1")
    assert story.status("A") == "PENDING"
    story.run("A:3")
    assert (story.status("A"), story.reason("A")) == ("FAILED", "Array Child Job failed")


def test_cancelling_a_child_that_runs_changes_nothing(story: Story) -> None:
    story.submit("A", array=2)
    story.ordered("start A:0#1", "start A:1#1")
    story.begin("A:0", "A:1")
    story.cancel("A:0")
    story.exit("A:0")
    story.exit("A:1")
    assert story.status("A") == "SUCCEEDED"


def test_terminating_a_child_that_runs(story: Story) -> None:
    story.submit("A", array=2, attempts=3)
    story.ordered("start A:0#1", "start A:1#1")
    story.terminate("A:0", "enough")
    story.ordered("stop A:0#1 30")
    story.exit("A:0", 143)
    assert (story.status("A:0"), story.reason("A:0")) == ("FAILED", "enough")
    story.run("A:1")
    assert (story.status("A"), story.reason("A")) == ("FAILED", "Array Child Job failed")


@BOTH
def test_a_child_that_waits_to_be_retried(story: Story, end: End) -> None:
    story.submit("A", array=2, attempts=3)
    story.ordered("start A:0#1", "start A:1#1")
    story.begin("A:0", "A:1")
    story.change_environment("ce", state="DISABLED")
    story.exit("A:0", 1)
    end(story, "A:0", "skip it")
    assert (story.status("A:0"), story.reason("A:0")) == ("FAILED", "skip it")
    story.exit("A:1")
    assert story.status("A") == "FAILED"
    story.change_environment("ce", state="ENABLED")
    story.ordered()


@BOTH
def test_an_array_of_which_nothing_has_started_ends_at_once(story: Story, end: End) -> None:
    story.submit("A", vcpus=2)
    story.submit("B", array=1000)
    end(story, "B", "not needed")
    assert (story.status("B"), story.reason("B")) == ("FAILED", "not needed")
    assert story.summary("B") == {"FAILED": 1000}
    assert (story.status("B:7"), story.reason("B:7")) == ("FAILED", "not needed")
    assert story.states("B") == ["SUBMITTED", "PENDING", "FAILED"]
    story.ordered("start A#1")
    story.run("A")


def test_cancelling_an_array_leaves_its_running_children_alone(story: Story) -> None:
    story.submit("A", array=5)
    story.ordered("start A:0#1", "start A:1#1")
    story.begin("A:0", "A:1")
    story.cancel("A", "not needed")
    story.ordered()
    assert story.status("A") == "PENDING"
    assert story.summary("A") == {"RUNNING": 2, "FAILED": 3}
    story.exit("A:0")
    story.exit("A:1")
    assert story.summary("A") == {"SUCCEEDED": 2, "FAILED": 3}
    assert (story.status("A"), story.reason("A")) == ("FAILED", "not needed")
    assert story.jobs["A"].cancelled
    assert not story.jobs["A"].terminated


def test_a_running_child_of_a_cancelled_array_is_not_retried(story: Story) -> None:
    story.submit("A", array=3, attempts=3)
    story.ordered("start A:0#1", "start A:1#1")
    story.begin("A:0", "A:1")
    story.cancel("A")
    story.exit("A:0", 1)
    story.exit("A:1", 0)
    assert story.attempts("A:0") == [(1, "Essential container in task exited")]
    assert story.status("A") == "FAILED"


def test_terminating_an_array_stops_its_running_children(story: Story) -> None:
    story.submit("A", array=5, attempts=3)
    story.ordered("start A:0#1", "start A:1#1")
    story.begin("A:0")
    story.terminate("A", "enough")
    story.ordered("stop A:0#1 30", "stop A:1#1 30")
    assert story.summary("A") == {"STARTING": 1, "RUNNING": 1, "FAILED": 3}
    story.exit("A:0", 143)
    story.exit("A:1", None, started=False)
    assert story.summary("A") == {"FAILED": 5}
    assert (story.status("A"), story.reason("A")) == ("FAILED", "enough")
    assert {story.reason(f"A:{index}") for index in range(5)} == {"enough"}


def test_children_keep_the_reason_for_which_they_failed(story: Story) -> None:
    story.submit("A", array=4)
    story.ordered("start A:0#1", "start A:1#1")
    story.cancel("A", "first")
    story.terminate("A", "second")
    story.ordered("stop A:0#1 30", "stop A:1#1 30")
    story.exit("A:0", 143)
    story.exit("A:1", 143)
    assert story.reason("A:3") == "first"
    assert story.reason("A:0") == "second"
    assert story.jobs["A"].cancelled
    assert story.jobs["A"].terminated


@BOTH
def test_an_array_that_waits_for_another_job(story: Story, end: End) -> None:
    story.submit("A")
    story.submit("B", array=10, after=["A"])
    story.submit("C", array=10, n_to_n=["B"])
    end(story, "B", "not needed")
    assert (story.status("B"), story.reason("B")) == ("FAILED", "not needed")
    assert story.status("C") == "FAILED"
    assert story.reason("C:5") == "Dependent Job failed"
    story.ordered("start A#1")
    story.run("A")


@BOTH
def test_a_child_of_an_array_that_waits_for_another_job(story: Story, end: End) -> None:
    story.submit("A")
    story.submit("B", array=2, after=["A"])
    end(story, "B:0", "skip it")
    assert story.summary("B") == {"PENDING": 1, "FAILED": 1}
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B:1#1")
    story.run("B:1")
    assert story.status("B") == "FAILED"
