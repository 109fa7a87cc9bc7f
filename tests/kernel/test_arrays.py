"""Array jobs (User Guide "Array jobs"), expanded lazily: see `kernel/arrays.py`."""

from __future__ import annotations

import pytest
from story import Story, submission

from batchyard.shapes import batch as shapes


def test_ten_thousand_children_are_one_record_until_they_start(story: Story) -> None:
    story.submit("A", array=10_000)
    assert story.records() == 3, "the parent and the two children that were started"
    assert story.summary("A") == {"RUNNABLE": 9998, "STARTING": 2}
    assert len(story.jobs) == 3
    story.ordered("start A:0#1", "start A:1#1")
    story.cancel("A")
    story.run("A:0", "A:1")
    assert story.records() == 0
    assert len(story.jobs) == 3, "children that never started got no row"


def test_an_array_that_has_to_wait_makes_no_child_at_all(story: Story) -> None:
    story.submit("A", vcpus=2)
    story.submit("B", array=10_000)
    story.submit("C", array=10_000, after=["A"])
    assert story.records() == 3
    assert story.summary("B") == {"RUNNABLE": 10_000}
    assert story.summary("C") == {"PENDING": 10_000}
    story.terminate("B")
    story.terminate("C")
    assert story.jobs.keys() == {"A", "B", "C"}
    story.ordered("start A#1")
    story.run("A")


def test_the_life_of_an_array(story: Story) -> None:
    story.submit("A", array=3)
    story.ordered("start A:0#1", "start A:1#1")
    assert story.status("A") == "PENDING"
    story.begin("A:0")
    assert story.summary("A") == {"RUNNABLE": 1, "STARTING": 1, "RUNNING": 1}
    story.exit("A:0")
    story.ordered("start A:2#1")
    story.run("A:1")
    assert story.summary("A") == {"STARTING": 1, "SUCCEEDED": 2}
    story.run("A:2")
    assert story.status("A") == "SUCCEEDED"
    assert story.states("A") == ["SUBMITTED", "PENDING", "SUCCEEDED"]
    assert story.states("A:0") == ["STARTING", "RUNNING", "SUCCEEDED"]
    assert story.jobs["A"].attempts is None
    assert story.jobs["A"].stopped_at == story.now


def test_a_failing_child_stops_no_sibling_and_the_parent_fails_last(story: Story) -> None:
    story.submit("A", array=4)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0", code=1)
    story.ordered("start A:2#1")
    assert story.status("A") == "PENDING"
    story.run("A:1", code=1)
    story.ordered("start A:3#1")
    story.run("A:2")
    assert story.status("A") == "PENDING"
    story.run("A:3")
    assert (story.status("A"), story.reason("A")) == ("FAILED", "Array Child Job failed")
    assert story.summary("A") == {"SUCCEEDED": 2, "FAILED": 2}


def test_children_are_retried_one_by_one_and_before_those_that_never_started(story: Story) -> None:
    story.submit("A", array=4, attempts=2)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:1", code=1)
    story.ordered("start A:1#2")
    assert story.status("A:1") == "STARTING"
    story.run("A:0")
    story.ordered("start A:2#1")
    story.run("A:1", code=1)
    story.ordered("start A:3#1")
    assert story.status("A:1") == "FAILED"
    story.run("A:2", "A:3")
    assert story.attempts("A:1") == [(1, "Essential container in task exited")] * 2


def test_children_have_what_their_parent_has(story: Story) -> None:
    parent_id = story.submit("A", array=2, timeout=70, attempts=2, memory=256)
    story.ordered("start A:0#1", "start A:1#1")
    parent, child = story.jobs["A"], story.jobs["A:1"]
    assert child.id == f"{parent_id}:1"
    for member in ("name", "queue", "definition", "resources", "retry", "timeout", "created_at"):
        assert getattr(child, member) == getattr(parent, member)
    assert (child.index, child.parent) == (1, parent)
    story.run("A:0", "A:1")


def test_an_array_stands_in_the_queue_once_behind_those_before_it(story: Story) -> None:
    story.submit("A", array=3)
    story.submit("B", array=2)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0")
    story.ordered("start A:2#1")
    story.run("A:1")
    story.ordered("start B:0#1")
    story.run("A:2")
    story.ordered("start B:1#1")
    story.run("B:0", "B:1")


def test_a_sequential_array_runs_child_after_child(story: Story) -> None:
    story.submit("A", array=3, sequential=True)
    assert story.summary("A") == {"PENDING": 2, "STARTING": 1}
    for index in range(3):
        story.ordered(f"start A:{index}#1")
        story.run(f"A:{index}")
    assert story.status("A") == "SUCCEEDED"


def test_a_failure_in_a_sequential_array_fails_all_that_come_after(story: Story) -> None:
    story.submit("A", array=5, sequential=True)
    story.ordered("start A:0#1")
    story.run("A:0")
    story.ordered("start A:1#1")
    story.run("A:1", code=1)
    assert story.summary("A") == {"SUCCEEDED": 1, "FAILED": 4}
    assert {story.reason(f"A:{index}") for index in (2, 3, 4)} == {"Dependent Job failed"}
    assert (story.status("A"), story.reason("A")) == ("FAILED", "Array Child Job failed")


def test_a_sequential_array_waits_for_the_retries_of_a_child(story: Story) -> None:
    story.submit("A", array=2, sequential=True, attempts=2)
    story.ordered("start A:0#1")
    story.run("A:0", code=1)
    story.ordered("start A:0#2")
    assert story.status("A:1") == "PENDING"
    story.run("A:0")
    story.ordered("start A:1#1")
    story.run("A:1")
    assert story.status("A") == "SUCCEEDED"


def test_cancelling_a_later_child_of_a_sequential_array_fails_those_after_it(story: Story) -> None:
    story.submit("A", array=5, sequential=True)
    story.ordered("start A:0#1")
    story.cancel("A:2", "skip it")
    assert story.summary("A") == {"PENDING": 1, "STARTING": 1, "FAILED": 3}
    assert [story.reason(f"A:{index}") for index in (2, 3, 4)] == [
        "skip it",
        "Dependent Job failed",
        "Dependent Job failed",
    ]
    story.run("A:0")
    story.ordered("start A:1#1")
    story.run("A:1")
    assert (story.status("A"), story.summary("A")) == ("FAILED", {"SUCCEEDED": 2, "FAILED": 3})


def test_a_long_sequential_array_is_failed_from_its_middle_in_one_go(story: Story) -> None:
    """Each of the children fails one by one here, and none of them looks at all the others again."""
    story.submit("A", array=10_000, sequential=True)
    story.ordered("start A:0#1")
    story.cancel("A:5000", "skip it")
    assert story.summary("A") == {"PENDING": 4999, "STARTING": 1, "FAILED": 5000}
    assert story.reason("A:9999") == "Dependent Job failed"
    story.cancel("A")
    story.run("A:0")


@pytest.mark.parametrize("size", [-1, 0, 1, 10_001])
def test_sizes_that_are_refused(story: Story, size: int) -> None:
    text = f"Array size must be between 2 and 10000, got {size}"
    assert story.refused(submission(array_properties=shapes.ArrayProperties(size=size))) == text


@pytest.mark.parametrize("size", [2, 10_000])
def test_sizes_that_are_in_order(story: Story, size: int) -> None:
    story.submit("A", array=size)
    story.ordered("start A:0#1", "start A:1#1")
    assert sum(story.summary("A").values()) == size
    story.cancel("A")
    story.run("A:0", "A:1")


def test_array_properties_without_a_size_make_a_single_job(story: Story) -> None:
    story.send(
        "A",
        shapes.SubmitJobRequest(
            job_name="A", job_queue="q", job_definition="work", array_properties=shapes.ArrayProperties()
        ),
    )
    story.ordered("start A#1")
    story.run("A")


def test_the_summary_says_when_it_changed_last(story: Story) -> None:
    story.submit("A", array=2)
    array = story.jobs["A"].array
    assert array is not None
    assert array.summary_at == story.now
    story.ordered("start A:0#1", "start A:1#1")
    story.pass_time(9)
    story.begin("A:0")
    assert array.summary_at == story.now
    story.exit("A:0")
    story.run("A:1")
