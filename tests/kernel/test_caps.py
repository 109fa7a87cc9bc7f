"""Caps on running jobs: of a queue, a share, a group, an array."""

from __future__ import annotations

import pytest
from story import ACCOUNT, Story

from batchyard.kernel.commands import ChangeTags, CreateJobQueue, CreateSchedulingPolicy
from batchyard.shapes import batch as shapes

PER_GROUP = {"batchyard:maxRunningPerGroup": "2"}


@pytest.fixture
def story() -> Story:
    """One machine of 8 vCPU."""
    return Story(vcpus=8)


def group(name: str) -> dict[str, str]:
    return {"batchyard:group": name}


def retag(story: Story, queue: str, *remove: str, **add: str) -> None:
    tags = {f"batchyard:{name}": value for name, value in add.items()}
    arn = ACCOUNT.arn(f"job-queue/{queue}")
    story.tell(ChangeTags(arn=arn, add=tags, remove=[f"batchyard:{name}" for name in remove]))


def test_a_queue_runs_no_more_than_its_cap(story: Story) -> None:
    story.queue("two", ["ce"], tags={"batchyard:maxRunning": "2"})
    story.submit("A", queue="two")
    story.submit("B", queue="two", array=3)
    story.submit("other")
    story.ordered("start A#1", "start B:0#1", "start other#1")
    assert story.why("B:1").text == (
        "Is next in job queue two. Job queue two runs 2 of at most 2 jobs (its tag batchyard:maxRunning)."
    )
    story.run("A")
    story.run("B:0")
    story.ordered("start B:1#1", "start B:2#1")
    story.run("B:1", "B:2", "other")
    story.over()


def test_what_keeps_a_full_queue_waiting_is_written_down(story: Story) -> None:
    story.queue("one", ["ce"], tags={"batchyard:maxRunning": "1"})
    story.submit("A", queue="one")
    story.submit("B", queue="one")
    story.pass_time(2)
    assert [wait.reason for wait in story.waits] == [
        "Job queue one runs 1 of at most 1 jobs (its tag batchyard:maxRunning)."
    ]
    story.ordered("start A#1")


def test_a_group_waits_without_holding_up_the_others(story: Story) -> None:
    story.queue("grouped", ["ce"], tags=PER_GROUP)
    for label in ("A1", "A2", "A3", "A4"):
        story.submit(label, queue="grouped", tags=group("a"))
    story.submit("B1", queue="grouped", tags=group("b"))
    story.submit("free", queue="grouped")
    story.ordered("start A1#1", "start A2#1", "start B1#1", "start free#1")
    assert story.why("A3").text == (
        "Job queue grouped runs 2 of at most 2 jobs of group a (the queue's tag batchyard:maxRunningPerGroup)."
    )
    assert ("RUNNABLE", story.why("A3").text) in story.history("A3")
    story.run("A1")
    story.ordered("start A3#1")
    story.run("A2")
    story.ordered("start A4#1")


def test_a_retried_job_of_a_group_comes_first_in_it(story: Story) -> None:
    story.queue("grouped", ["ce"], tags={"batchyard:maxRunningPerGroup": "1"})
    story.submit("A1", queue="grouped", tags=group("a"), attempts=2)
    story.submit("A2", queue="grouped", tags=group("a"))
    story.run("A1", code=1)
    story.ordered("start A1#1", "start A1#2")
    story.run("A1", "A2")
    story.ordered("start A2#1")
    story.over()


def test_an_array_has_a_cap_of_its_own(story: Story) -> None:
    story.submit("A", array=5, tags={"batchyard:maxRunning": "2"}, attempts=2)
    story.submit("B")
    story.ordered("start A:0#1", "start A:1#1", "start B#1")
    assert story.why("A:2").text == "Its array runs 2 of at most 2 children (the job's tag batchyard:maxRunning)."
    story.run("A:0", code=1)
    story.ordered("start A:0#2")
    for label in ("A:0", "A:1", "A:2", "A:3", "A:4", "B"):
        story.run(label)
    story.ordered("start A:2#1", "start A:3#1", "start A:4#1")
    story.over()


def test_a_share_at_its_cap_is_passed_over(story: Story) -> None:
    policy = shapes.CreateSchedulingPolicyRequest(name="fair", fairshare_policy=shapes.FairsharePolicy())
    arn = story.tell(CreateSchedulingPolicy(policy)).arn
    story.queue("shared", ["ce"], scheduling_policy_arn=arn, tags={"batchyard:maxRunningPerShare": "2"})
    for label in ("A1", "A2", "A3"):
        story.submit(label, queue="shared", share_identifier="a")
    story.submit("B1", queue="shared", share_identifier="b")
    story.ordered("start A1#1", "start A2#1", "start B1#1")
    assert story.why("A3").text == (
        "Share a of job queue shared runs 2 of at most 2 jobs (the queue's tag batchyard:maxRunningPerShare)."
    )
    story.run("A2")
    story.ordered("start A3#1")


def test_a_cap_that_is_changed_counts_at_once(story: Story) -> None:
    for label in ("A1", "A2", "A3"):
        story.submit(label, tags=group("a"))
    story.ordered("start A1#1", "start A2#1", "start A3#1")
    retag(story, "q", maxRunningPerGroup="1", maxRunning="3")
    story.submit("A4", tags=group("a"))
    story.run("A1", "A2")
    story.submit("B")
    story.ordered("start B#1")
    retag(story, "q", maxRunningPerGroup="2")
    story.ordered("start A4#1")
    story.submit("A5", tags=group("a"))
    retag(story, "q", "maxRunningPerGroup", "maxRunning")
    story.ordered("start A5#1")


def test_the_group_of_a_job_is_changed(story: Story) -> None:
    story.queue("grouped", ["ce"], tags={"batchyard:maxRunningPerGroup": "1"})
    story.submit("A1", queue="grouped", tags=group("a"))
    story.submit("A2", queue="grouped", tags=group("a"))
    job = story.jobs["A2"]
    story.tell(ChangeTags(arn=ACCOUNT.arn(f"job/{job.id}"), add=group("b"), job=(job.seq, group("a"))))
    story.ordered("start A1#1", "start A2#1")


@pytest.mark.parametrize(
    ("tag", "value", "allowed"),
    [
        ("maxRunning", "0", "a whole number of at least 1"),
        ("maxRunning", "many", "a whole number of at least 1"),
        ("maxRunningPerShare", "1.5", "a whole number of at least 1"),
        ("maxRunningPerGroup", "", "a whole number of at least 1"),
    ],
)
def test_bad_values_are_refused(story: Story, tag: str, value: str, allowed: str) -> None:
    tags = {f"batchyard:{tag}": value}
    request = shapes.CreateJobQueueRequest(job_queue_name="new", priority=1, compute_environment_order=[], tags=tags)
    said = f"The tag batchyard:{tag} must be {allowed}, got {value!r}"
    assert story.refused(CreateJobQueue(request)) == said
    assert story.refused(ChangeTags(arn=ACCOUNT.arn("job-queue/q"), add=tags)) == said


def test_an_unknown_tag_is_refused_with_those_that_there_are(story: Story) -> None:
    said = story.refused_submission(tags={"batchyard:maxrunning": "3"})
    assert said.startswith("The tag batchyard:maxrunning has no meaning here: known here are batchyard:group, ")
    assert "batchyard:maxRunning," in said
    assert story.refused(ChangeTags(arn=ACCOUNT.arn("job-definition/work:1"), add=group("a"))) == (
        "The tag batchyard:group has no meaning here: this kind of resource has no such tags"
    )
