"""Jobs that wait are held, released, and given another priority."""

from __future__ import annotations

import pytest
from story import Story

from batchyard.kernel.commands import ChangePriority, HoldJob, ReleaseJob


@pytest.fixture
def story() -> Story:
    """One machine of 2 vCPU."""
    return Story()


def hold(story: Story, label: str, reason: str = "not yet") -> None:
    story.tell(HoldJob(story.id(label), reason))


def release(story: Story, label: str) -> None:
    story.tell(ReleaseJob(story.id(label)))


def prioritise(story: Story, label: str, priority: int) -> None:
    story.tell(ChangePriority(story.id(label), priority))


def test_a_held_job_does_not_start_and_blocks_nobody(story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A", vcpus=2)
    story.submit("B", vcpus=2)
    hold(story, "A", "the licence server is down")
    assert story.status("A") == "RUNNABLE"
    assert story.reason("A") == "Held: the licence server is down"
    assert story.why("A").text == "Is held: the licence server is down"
    story.run("busy")
    story.run("B")
    story.ordered("start busy#1", "start B#1")
    release(story, "A")
    assert story.reason("A") is None
    story.run("A")
    story.ordered("start A#1")
    story.over()


def test_it_has_its_place_again_when_it_is_released(story: Story) -> None:
    story.submit("busy", vcpus=2)
    for label in "ABC":
        story.submit(label, vcpus=2)
    hold(story, "A")
    release(story, "A")
    story.run("busy", "A", "B", "C")
    story.ordered("start busy#1", "start A#1", "start B#1", "start C#1")


def test_a_pending_job_is_held_and_its_dependencies_end_meanwhile(story: Story) -> None:
    story.submit("A")
    story.submit("B", after=["A"])
    hold(story, "B", "look at the result of A first")
    assert story.status("B") == "PENDING"
    assert "It is held, too: look at the result of A first" in story.why("B").text
    story.run("A")
    assert (story.status("B"), story.reason("B")) == ("RUNNABLE", "Held: look at the result of A first")
    story.ordered("start A#1")
    release(story, "B")
    story.run("B")
    story.ordered("start B#1")
    story.over()


def test_of_an_array_those_that_wait_are_held_and_those_that_run_go_on(story: Story) -> None:
    story.submit("A", array=4, attempts=2)
    story.ordered("start A:0#1", "start A:1#1")
    hold(story, "A")
    assert "Those that wait are held: not yet" in story.why("A").text
    story.run("A:0")
    story.run("A:1", code=1)
    assert story.reason("A:1") == "Held: not yet", "a child that is to be tried again waits, too"
    assert story.summary("A") == {"RUNNABLE": 3, "SUCCEEDED": 1}
    story.submit("B")
    story.run("B")
    story.ordered("start B#1")
    release(story, "A")
    story.run("A:1", "A:2", "A:3")
    story.ordered("start A:1#2", "start A:2#1", "start A:3#1")
    story.over()


def test_one_child_is_held(story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A", array=3)
    hold(story, "A:1")
    assert story.reason("A:1") == "Held: not yet"
    story.run("busy")
    story.run("A:0", "A:2")
    story.ordered("start busy#1", "start A:0#1", "start A:2#1")
    release(story, "A:1")
    story.run("A:1")
    story.ordered("start A:1#1")
    story.over()


def test_a_held_job_can_be_cancelled(story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A", array=3)
    story.submit("B")
    hold(story, "A")
    hold(story, "B")
    story.cancel("A")
    story.cancel("B")
    assert (story.status("A"), story.status("B")) == ("FAILED", "FAILED")
    story.run("busy")
    story.ordered("start busy#1")
    story.over()


def test_held_jobs_call_for_no_capacity(story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A", array=3)
    story.submit("B")
    queue = story.kernel.state.queues["q"]
    assert sum(queue.demand.values()) == 4
    hold(story, "A")
    hold(story, "B")
    assert queue.demand == {}
    release(story, "A")
    assert sum(queue.demand.values()) == 3
    story.ordered("start busy#1")


def test_what_cannot_be_held_is_said(story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A")
    story.submit("B", array=2, sequential=True)
    busy, waiting, array = story.id("busy"), story.id("A"), story.id("B")
    assert story.refused(HoldJob(busy, "no")) == f"Job {busy} is STARTING: only a job that waits can be held."
    assert story.refused(HoldJob("nobody", "no")) == "Job nobody not found, or it has ended."
    assert story.refused(HoldJob(waiting, "")) == "reason must not be empty"
    assert story.refused(HoldJob(f"{array}:1", "no")) == (
        f"Child {array}:1 waits for its dependencies; only its array {array} can be held."
    )
    assert story.refused(ReleaseJob(waiting)) == f"Job {waiting} is not held."
    hold(story, "B")
    assert story.refused(ReleaseJob(f"{array}:0")) == f"Job {array}:0 is held with its array; release {array}."
    assert "between 0 and 9999" in story.refused(ChangePriority(waiting, 10_000))
    story.ordered("start busy#1")


def test_in_a_queue_without_shares_a_changed_priority_counts_before_all_else(story: Story) -> None:
    story.submit("busy", vcpus=2, attempts=2)
    for label in "ABCD":
        story.submit(label, vcpus=2)
    prioritise(story, "C", 5)
    prioritise(story, "D", 9)
    story.begin("busy")
    story.exit("busy", 1)
    story.run("D", "C", "busy", "A", "B")
    story.ordered("start busy#1", "start D#1", "start C#1", "start busy#2", "start A#1", "start B#1")
    story.over()


def test_a_priority_is_taken_back(story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A", vcpus=2)
    story.submit("B", vcpus=2)
    prioritise(story, "B", 5)
    prioritise(story, "B", 0)
    story.run("busy", "A", "B")
    story.ordered("start busy#1", "start A#1", "start B#1")


def test_the_priority_of_an_array_is_that_of_all_its_children(story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A", vcpus=2)
    story.submit("B", vcpus=2, array=2)
    prioritise(story, "B:1", 3)
    prioritise(story, "B", 5)
    assert story.jobs["B:1"].priority == 5
    story.run("busy", "B:1", "B:0", "A")
    story.ordered("start busy#1", "start B:1#1", "start B:0#1", "start A#1")
    story.over()


def test_a_job_that_started_before_its_turn_twice_is_tried_again(story: Story) -> None:
    """Its old places in the queue stand in nobody's way."""
    story.submit("busy", timeout=1000)
    story.submit("large", vcpus=2)
    story.begin("busy")
    prioritise(story, "large", 1)
    story.submit("A", timeout=60, attempts=4)
    for _ in range(3):
        story.begin("A")
        story.exit("A", 1)
    story.begin("A")
    story.exit("A")
    story.ordered("start busy#1", "start A#1", "start A#2", "start A#3", "start A#4")
