"""Retry back-off."""

from __future__ import annotations

import pytest
from story import NOON, Story

from batchyard.kernel.backoff import delay_after
from batchyard.kernel.commands import HoldJob, ReleaseJob
from batchyard.kernel.terms import Backoff, JobTerms, job_terms

BACKOFF = {"batchyard:retryBackoff": "30s x2 max 100s"}


@pytest.fixture
def story() -> Story:
    """One machine of 2 vCPU."""
    return Story()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30s", [30, 30, 30]),
        ("30s x2", [30, 60, 120, 240]),
        ("30s x2 max 100s", [30, 60, 100, 100]),
        ("2m x1.5", [120, 180, 270]),
        ("1h max 1h", [3600, 3600]),
        ("1s x999", [1, 999, 604_800, 604_800]),
    ],
)
def test_how_long_the_waits_are(value: str, seconds: list[int]) -> None:
    terms = job_terms({"batchyard:retryBackoff": value})
    assert terms is not None
    assert terms.backoff is not None
    assert [delay_after(terms.backoff, n) / 1000 for n in range(1, len(seconds) + 1)] == seconds


@pytest.mark.parametrize("value", ["", "30", "0s", "30s x0.5", "200h", "30s max 10s", "30s  x2"])
def test_bad_values_are_refused(story: Story, value: str) -> None:
    said = story.refused_submission(tags={"batchyard:retryBackoff": value})
    assert said.startswith("The tag batchyard:retryBackoff must be a delay of 1s to 168h, as in 30s, 30s x2")


def test_a_failed_job_waits_and_holds_nobody_up(story: Story) -> None:
    story.submit("A", vcpus=2, attempts=3, tags=BACKOFF)
    story.begin("A")
    story.exit("A", 1)
    assert (story.status("A"), story.reason("A")) == (
        "RUNNABLE",
        "Waits until 2023-11-14 22:13:50 UTC before attempt 2 (retry back-off)",
    )
    assert story.why("A").text == "Waits until 2023-11-14 22:13:50 UTC before attempt 2 (retry back-off)."
    assert story.kernel.next_wakeup(story.now) == NOON + 10 + 10 + 30_000
    story.submit("B", vcpus=2)
    story.pass_time(29.9)
    story.run("B")
    story.ordered("start A#1", "start B#1", "start A#2")
    assert story.now == NOON + 20 + 30_900
    story.begin("A")
    story.exit("A", 1)
    story.pass_time(59.9)
    story.ordered()
    story.pass_time(0.1)
    story.ordered("start A#3")
    story.run("A")
    story.over()


def test_it_is_tried_again_before_those_that_came_later(story: Story) -> None:
    story.submit("A", vcpus=2, attempts=2, tags=BACKOFF)
    story.run("A", code=1)
    story.submit("B", vcpus=2)
    story.submit("C", vcpus=2)
    story.pass_time(30)
    assert story.reason("A") == "Essential container in task exited"
    story.run("B", "A", "C")
    story.ordered("start A#1", "start B#1", "start A#2", "start C#1")
    story.over()


def test_the_queue_gives_the_default_and_the_job_may_differ(story: Story) -> None:
    story.queue("patient", ["ce"], tags={"batchyard:retryBackoff": "10s"})
    story.submit("A", queue="patient", attempts=2)
    story.submit("B", queue="patient", attempts=2, tags={"batchyard:retryBackoff": "60s"})
    story.run("A", "B", code=1)
    story.ordered("start A#1", "start B#1")
    story.pass_time(9)
    story.ordered("start A#2")
    story.pass_time(51)
    story.ordered("start B#2")


def test_each_child_of_an_array_waits_for_itself(story: Story) -> None:
    story.submit("A", array=3, attempts=2, tags=BACKOFF)
    story.run("A:0", code=1)
    story.ordered("start A:0#1", "start A:1#1", "start A:2#1")
    story.run("A:1", "A:2")
    assert story.summary("A") == {"RUNNABLE": 1, "SUCCEEDED": 2}
    story.pass_time(30)
    story.run("A:0")
    story.ordered("start A:0#2")
    story.over()


def test_one_that_waits_is_cancelled_or_held(story: Story) -> None:
    for label in "AB":
        story.submit(label, attempts=2, tags=BACKOFF)
        story.run(label, code=1)
    story.cancel("A")
    story.tell(HoldJob(story.id("B"), "look first"))
    story.pass_time(100)
    assert story.reason("B") == "Held: look first"
    story.ordered("start A#1", "start B#1")
    story.tell(ReleaseJob(story.id("B")))
    story.run("B")
    story.ordered("start B#2")
    story.over()


def test_a_release_does_not_cut_the_wait_short(story: Story) -> None:
    story.submit("A", attempts=2, tags=BACKOFF)
    story.run("A", code=1)
    story.tell(HoldJob(story.id("A"), "look first"))
    story.tell(ReleaseJob(story.id("A")))
    assert (story.reason("A") or "").startswith("Waits until ")
    story.pass_time(29)
    story.ordered("start A#1")
    story.pass_time(1)
    story.ordered("start A#2")


def test_what_the_tag_says() -> None:
    assert job_terms(BACKOFF) == JobTerms(backoff=Backoff(30, 2.0, 100))
    assert job_terms({"project": "x"}) is None
