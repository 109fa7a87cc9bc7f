"""Retry strategies (User Guide "Automated job retries")."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from story import Story, retry_strategy, submission

from batchyard.kernel.identifiers import instance_id_of
from batchyard.kernel.retries import TIMED_OUT, AttemptEnd, wants_retry
from batchyard.shapes import batch as shapes

EXITED = "Essential container in task exited"
HOST = "Host EC2 (instance i-0123456789abcdef0) terminated."
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
RETRY, EXIT = {"action": "RETRY"}, {"action": "EXIT"}


def test_a_job_is_tried_as_often_as_it_says_and_no_more(story: Story) -> None:
    story.submit("A", attempts=3)
    for attempt in (1, 2, 3):
        story.ordered(f"start A#{attempt}")
        story.run("A", code=attempt)
    assert story.status("A") == "FAILED"
    assert story.attempts("A") == [(1, EXITED), (2, EXITED), (3, EXITED)]


def test_without_a_strategy_there_is_one_attempt(story: Story) -> None:
    story.submit("A")
    story.ordered("start A#1")
    story.run("A", code=1)
    assert story.status("A") == "FAILED"


def test_a_success_ends_the_trying(story: Story) -> None:
    story.submit("A", attempts=10)
    story.ordered("start A#1")
    story.run("A", code=1)
    story.ordered("start A#2")
    story.run("A")
    assert story.status("A") == "SUCCEEDED"
    assert story.attempts("A") == [(1, EXITED), (0, EXITED)]


def test_a_lost_host_is_retried(story: Story) -> None:
    story.submit("A", attempts=2, evaluate=[{"onStatusReason": "Host EC2*", **RETRY}, {"onReason": "*", **EXIT}])
    story.ordered("start A#1")
    story.begin("A")
    story.lose("A")
    story.ordered("start A#2")
    story.run("A", code=1)
    assert story.status("A") == "FAILED"
    assert story.attempts("A") == [(None, f"Host EC2 (instance {instance_id_of('local')}) terminated."), (1, EXITED)]


def test_a_retried_job_shows_why_and_keeps_its_earlier_attempts(story: Story) -> None:
    story.submit("A", vcpus=2, attempts=2)
    story.ordered("start A#1")
    story.begin("A")
    story.change_environment("ce", state="DISABLED")
    story.exit("A", 3)
    assert story.status("A") == "RUNNABLE"
    assert story.history("A")[-1] == ("RUNNABLE", EXITED)
    assert story.attempts("A") == [(3, EXITED)]
    story.change_environment("ce", state="ENABLED")
    story.ordered("start A#2")
    story.run("A")


def test_retried_jobs_go_before_all_that_wait(story: Story) -> None:
    story.submit("A", vcpus=2, attempts=2)
    for label in "BCD":
        story.submit(label, vcpus=2)
    story.ordered("start A#1")
    story.run("A", code=1)
    story.ordered("start A#2")
    story.run("A")
    for label in "BCD":
        story.ordered(f"start {label}#1")
        story.run(label)


def test_the_strategy_of_a_submission_replaces_the_definitions_as_a_whole(story: Story) -> None:
    story.definition("stubborn", retry_strategy=retry_strategy(5, [{"onExitCode": "1", **EXIT}]))
    story.submit("A", definition="stubborn")
    story.ordered("start A#1")
    story.run("A", code=1)
    assert story.status("A") == "FAILED"
    story.submit("B", definition="stubborn", attempts=2)
    story.ordered("start B#1")
    story.run("B", code=1)
    story.ordered("start B#2")
    story.run("B", code=1)
    assert story.status("B") == "FAILED"


@pytest.mark.parametrize(
    ("entries", "end", "retried"),
    [
        # No entry: every failure is retried.
        ([], AttemptEnd(EXITED, None, 1), True),
        # One condition.
        ([{"onExitCode": "1", **EXIT}], AttemptEnd(EXITED, None, 1), False),
        ([{"onExitCode": "1", **EXIT}], AttemptEnd(EXITED, None, 10), True),
        ([{"onExitCode": "1*", **EXIT}], AttemptEnd(EXITED, None, 10), False),
        ([{"onExitCode": "13*", **EXIT}], AttemptEnd(EXITED, None, 1), True),
        ([{"onExitCode": "*", **EXIT}], AttemptEnd(EXITED, None, 255), False),
        ([{"onReason": "OutOfMemory*", **EXIT}], AttemptEnd(EXITED, OUT_OF_MEMORY, 137), False),
        ([{"onReason": OUT_OF_MEMORY, **EXIT}], AttemptEnd(EXITED, OUT_OF_MEMORY, 137), False),
        ([{"onReason": "OutOfMemory", **EXIT}], AttemptEnd(EXITED, OUT_OF_MEMORY, 137), True),
        ([{"onStatusReason": "Host EC2*", **EXIT}], AttemptEnd(HOST), False),
        ([{"onStatusReason": "Host EC2*", **EXIT}], AttemptEnd(EXITED, None, 1), True),
        # What is compared is case-sensitive.
        ([{"onStatusReason": "host ec2*", **EXIT}], AttemptEnd(HOST), True),
        ([{"onReason": "outofmemory*", **EXIT}], AttemptEnd(EXITED, OUT_OF_MEMORY, 137), True),
        # `*` matches a reason that is not there; another pattern does not.
        ([{"onReason": "*", **EXIT}], AttemptEnd(HOST), False),
        ([{"onReason": "C*", **EXIT}], AttemptEnd(HOST), True),
        # A condition on the exit code never holds without one.
        ([{"onExitCode": "*", **EXIT}], AttemptEnd(HOST), True),
        ([{"onExitCode": "*", "onStatusReason": "Host*", **EXIT}], AttemptEnd(HOST), True),
        # All the conditions of an entry must hold.
        ([{"onExitCode": "137", "onReason": "OutOf*", **EXIT}], AttemptEnd(EXITED, OUT_OF_MEMORY, 137), False),
        ([{"onExitCode": "137", "onReason": "OutOf*", **EXIT}], AttemptEnd(EXITED, OUT_OF_MEMORY, 1), True),
        ([{"onExitCode": "137", "onReason": "OutOf*", **EXIT}], AttemptEnd(EXITED, None, 137), True),
        (
            [{"onExitCode": "1", "onReason": "*", "onStatusReason": "Essential*", **EXIT}],
            AttemptEnd(EXITED, None, 1),
            False,
        ),
        # The first entry that matches decides.
        ([{"onExitCode": "1", **RETRY}, {"onReason": "*", **EXIT}], AttemptEnd(EXITED, None, 1), True),
        ([{"onReason": "*", **EXIT}, {"onExitCode": "1", **RETRY}], AttemptEnd(EXITED, None, 1), False),
        ([{"onExitCode": "2", **RETRY}, {"onReason": "*", **EXIT}], AttemptEnd(EXITED, None, 1), False),
        # Nextflow's rules.
        ([{"onStatusReason": "Host EC2*", **RETRY}, {"onReason": "*", **EXIT}], AttemptEnd(HOST), True),
        ([{"onStatusReason": "Host EC2*", **RETRY}, {"onReason": "*", **EXIT}], AttemptEnd(EXITED, None, 1), False),
        # Actions in any case.
        ([{"onExitCode": "1", "action": "exit"}], AttemptEnd(EXITED, None, 1), False),
        ([{"onExitCode": "1", "action": "Retry"}, {"onReason": "*", **EXIT}], AttemptEnd(EXITED, None, 1), True),
        # A time-out is not retried…
        ([], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), False),
        ([{"onExitCode": "137", **RETRY}], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), False),
        ([{"onReason": "*", **RETRY}], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), False),
        ([{"onStatusReason": "*", **RETRY}], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), False),
        ([{"onStatusReason": "Host*", **RETRY}], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), False),
        # …unless the entry that decides names its status reason.
        ([{"onStatusReason": TIMED_OUT, **RETRY}], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), True),
        ([{"onStatusReason": "Job attempt*", **RETRY}], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), True),
        ([{"onStatusReason": TIMED_OUT, **EXIT}], AttemptEnd(TIMED_OUT, None, 137, timed_out=True), False),
        (
            [{"onExitCode": "137", **RETRY}, {"onStatusReason": TIMED_OUT, **RETRY}],
            AttemptEnd(TIMED_OUT, None, 137, timed_out=True),
            False,
        ),
        (
            [{"onExitCode": "1", "onStatusReason": TIMED_OUT, **RETRY}],
            AttemptEnd(TIMED_OUT, None, 137, timed_out=True),
            False,
        ),
    ],
)
def test_evaluate_on_exit(entries: list[Mapping[str, str]], end: AttemptEnd, retried: bool) -> None:
    assert wants_retry(retry_strategy(2, entries), 1, end) is retried
    assert wants_retry(retry_strategy(2, entries), 2, end) is False
    assert wants_retry(retry_strategy(1, entries), 1, end) is False


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (shapes.RetryStrategy(), "RetryAttempts must be provided with retry strategy"),
        (retry_strategy(0), "RetryAttempts must be between 1 and 10, got 0"),
        (retry_strategy(11), "RetryAttempts must be between 1 and 10, got 11"),
        (
            retry_strategy(2, [{"onExitCode": "1", **EXIT}] * 6),
            "Evaluate on exit list cannot have more than 5 entries, got 6",
        ),
        (
            shapes.RetryStrategy(evaluate_on_exit=[shapes.EvaluateOnExit(on_exit_code="1", action="EXIT")]),
            "RetryAttempts must be provided with retry strategy",
        ),
        (
            retry_strategy(2, [{"onReason": "x", "action": "STOP"}]),
            "Evaluate on exit action must be RETRY or EXIT, got 'STOP'",
        ),
        (
            retry_strategy(2, [{**EXIT}]),
            "Evaluate on exit needs at least one of onStatusReason, onReason and onExitCode",
        ),
        (
            retry_strategy(2, [{"onReason": "x" * 513, **EXIT}]),
            "Evaluate on exit condition cannot be longer than 512 characters",
        ),
    ],
)
def test_strategies_that_are_refused(story: Story, strategy: shapes.RetryStrategy, text: str) -> None:
    assert story.refused(submission(retry_strategy=strategy)) == text


@pytest.mark.parametrize(
    "entry",
    [
        {"onReason": "*Error"},
        {"onReason": "a*b"},
        {"onReason": "Host (EC2)"},
        {"onStatusReason": "50%"},
        {"onStatusReason": "a_b"},
        {"onReason": "café"},
        {"onReason": ""},
        {"onExitCode": "one"},
        {"onExitCode": "1.0"},
        {"onExitCode": "*1"},
        {"onExitCode": "-1"},
        {"onExitCode": "١"},
        {"onReason": "x\0"},
        {"onReason": "**"},
    ],
)
def test_conditions_with_restricted_characters(story: Story, entry: dict[str, str]) -> None:
    strategy = retry_strategy(2, [entry | RETRY])
    text = "Evaluate on exit condition contains restricted characters"
    assert story.refused(submission(retry_strategy=strategy)) == text


@pytest.mark.parametrize(
    "entry",
    [{"onReason": "a b\tc.d:E9*"}, {"onStatusReason": "*"}, {"onExitCode": "137"}, {"onExitCode": "13*"}],
)
def test_conditions_that_are_in_order(story: Story, entry: dict[str, str]) -> None:
    story.submit("A", attempts=2, evaluate=[entry | EXIT])
    story.ordered("start A#1")
    story.run("A")
