"""Time-outs (User Guide "Job timeouts"): SIGTERM, 30 seconds, SIGKILL, FAILED, and no retry unless a rule names it."""

from __future__ import annotations

import pytest
from story import Story, retry_strategy, submission

from batchyard.shapes import batch as shapes

TIMED_OUT = "Job attempt duration exceeded timeout"


def test_an_attempt_that_runs_too_long_is_ended(story: Story) -> None:
    story.submit("A", timeout=60, attempts=3)
    story.ordered("start A#1")
    story.begin("A")
    story.pass_time(59.999)
    story.ordered()
    story.pass_time(0.001)
    story.ordered("stop A#1 30")
    assert story.status("A") == "RUNNING"
    story.pass_time(30)
    story.exit("A", 137)
    assert story.status("A") == "FAILED"
    assert story.reason("A") == TIMED_OUT
    assert story.attempts("A") == [(137, TIMED_OUT)]


def test_the_clock_does_not_run_while_the_task_is_starting(story: Story) -> None:
    story.submit("A", timeout=60)
    story.ordered("start A#1")
    story.pass_time(600)
    story.ordered()
    story.begin("A")
    story.pass_time(59)
    story.ordered()
    story.exit("A", 0)
    assert story.status("A") == "SUCCEEDED"


def test_every_attempt_has_a_clock_of_its_own(story: Story) -> None:
    story.submit("A", timeout=60, attempts=2)
    story.ordered("start A#1")
    story.begin("A")
    story.pass_time(50)
    story.exit("A", 1)
    story.ordered("start A#2")
    story.begin("A")
    story.pass_time(50)
    story.ordered()
    story.pass_time(10)
    story.ordered("stop A#2 30")
    story.exit("A", 143)
    assert story.reason("A") == TIMED_OUT


def test_a_program_that_ends_well_after_the_signal_has_still_timed_out(story: Story) -> None:
    story.submit("A", timeout=60)
    story.ordered("start A#1")
    story.begin("A")
    story.pass_time(60)
    story.ordered("stop A#1 30")
    story.exit("A", 0)
    assert story.status("A") == "FAILED"
    assert story.attempts("A") == [(0, TIMED_OUT)]


def test_a_rule_that_names_the_time_out_has_it_retried(story: Story) -> None:
    story.submit("A", timeout=60, attempts=2, evaluate=[{"onStatusReason": "Job attempt duration*", "action": "RETRY"}])
    story.ordered("start A#1")
    story.begin("A")
    story.pass_time(60)
    story.ordered("stop A#1 30")
    story.exit("A", 137)
    story.ordered("start A#2")
    story.begin("A")
    story.pass_time(60)
    story.ordered("stop A#2 30")
    story.exit("A", 137)
    assert story.status("A") == "FAILED"


def test_every_child_of_an_array_has_its_own_clock(story: Story) -> None:
    story.submit("A", array=2, timeout=60)
    story.ordered("start A:0#1", "start A:1#1")
    story.begin("A:0")
    story.pass_time(30)
    story.begin("A:1")
    story.pass_time(30)
    story.ordered("stop A:0#1 30")
    story.exit("A:0", 137)
    story.exit("A:1", 0)
    assert story.summary("A") == {"SUCCEEDED": 1, "FAILED": 1}
    assert story.reason("A:0") == TIMED_OUT


def test_the_definitions_time_out_holds_unless_the_submission_says_otherwise(story: Story) -> None:
    story.definition("limited", timeout=shapes.JobTimeout(attempt_duration_seconds=100))
    story.submit("A", definition="limited")
    story.submit("B", definition="limited", timeout=200)
    story.ordered("start A#1", "start B#1")
    story.begin("A", "B")
    story.pass_time(100)
    story.ordered("stop A#1 30")
    story.exit("A", 143)
    story.pass_time(100)
    story.ordered("stop B#1 30")
    story.exit("B", 143)


def test_terminating_a_job_that_is_being_timed_out_wins_and_stops_it_only_once(story: Story) -> None:
    strategy = retry_strategy(2, [{"onStatusReason": TIMED_OUT, "action": "RETRY"}])
    story.definition("stubborn", retry_strategy=strategy)
    story.submit("A", definition="stubborn", timeout=60)
    story.ordered("start A#1")
    story.begin("A")
    story.pass_time(60)
    story.ordered("stop A#1 30")
    story.terminate("A", "enough")
    story.ordered()
    story.exit("A", 137)
    assert (story.status("A"), story.reason("A")) == ("FAILED", "enough")


def test_a_time_out_does_not_weaken_a_termination(story: Story) -> None:
    story.submit("A", timeout=60)
    story.ordered("start A#1")
    story.begin("A")
    story.pass_time(50)
    story.terminate("A", "enough")
    story.ordered("stop A#1 30")
    story.pass_time(20)
    story.ordered()
    story.exit("A", 137)
    assert story.reason("A") == "enough"


@pytest.mark.parametrize("seconds", [-1, 0, 1, 59])
def test_less_than_a_minute_is_refused(story: Story, seconds: int) -> None:
    timeout = shapes.JobTimeout(attempt_duration_seconds=seconds)
    text = f"Timeout attemptDurationSeconds must be at least 60 seconds, got {seconds}"
    assert story.refused(submission(timeout=timeout)) == text
