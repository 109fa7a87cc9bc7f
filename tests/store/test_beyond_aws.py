"""What jobs ask for beyond AWS, over restarts: nothing that can be observed is different."""

from __future__ import annotations

import pytest
from shelf import Shelf
from story import Story

from batchyard.kernel.commands import ChangePriority, HoldJob, ReleaseJob


@pytest.fixture
def story(shelf: Shelf) -> Story:
    return shelf.story


def restart(shelf: Shelf) -> None:
    shelf.reopen()
    with shelf.store.load() as snapshot:
        shelf.story.restart(snapshot)


def test_held_jobs_stay_held(shelf: Shelf, story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A")
    story.submit("B", array=3)
    story.submit("C", array=2)
    story.submit("D", after=["busy"])
    story.tell(HoldJob(story.id("A"), "not yet"))
    story.tell(HoldJob(story.id("B"), "not yet"))
    story.tell(HoldJob(story.id("C:1"), "not yet"))
    story.tell(HoldJob(story.id("D"), "not yet"))
    restart(shelf)
    story.run("busy")
    story.run("C:0")
    story.ordered("start busy#1", "start C:0#1")
    assert [story.reason(label) for label in ("A", "B:1", "C:1", "D")] == ["Held: not yet"] * 4
    restart(shelf)
    for label in ("A", "B", "C:1", "D"):
        story.tell(ReleaseJob(story.id(label)))
    story.ordered("start A#1", "start B:0#1")
    story.run("A", "B:0", "C:1", "B:1", "B:2", "D")
    story.ordered("start C:1#1", "start B:1#1", "start B:2#1", "start D#1")
    story.over()


def test_changed_priorities_are_kept(shelf: Shelf, story: Story) -> None:
    story.submit("busy", vcpus=2)
    for label in "ABC":
        story.submit(label, vcpus=2, array=2 if label == "B" else None)
    story.tell(ChangePriority(story.id("B"), 3))
    story.tell(ChangePriority(story.id("B:1"), 5))
    story.tell(ChangePriority(story.id("C"), 4))
    restart(shelf)
    story.run("busy", "B:1", "C", "B:0", "A")
    story.ordered("start busy#1", "start B:1#1", "start C#1", "start B:0#1", "start A#1")
    story.over()


def test_caps_go_on_counting(shelf: Shelf, story: Story) -> None:
    story.queue("capped", ["ce"], tags={"batchyard:maxRunningPerGroup": "1"})
    story.submit("A1", queue="capped", tags={"batchyard:group": "a"})
    story.submit("A2", queue="capped", tags={"batchyard:group": "a"})
    story.submit("B", queue="capped", array=3, tags={"batchyard:maxRunning": "1"}, memory=8)
    restart(shelf)
    story.ordered("start A1#1", "start B:0#1")
    story.run("A1")
    story.ordered("start A2#1")
    story.run("B:0")
    restart(shelf)
    story.run("B:1", "B:2", "A2")
    story.ordered("start B:1#1", "start B:2#1")
    story.over()


def test_a_back_off_goes_on(shelf: Shelf, story: Story) -> None:
    tags = {"batchyard:retryBackoff": "30s x2"}
    story.submit("A", attempts=3, tags=tags)
    story.submit("B", array=2, attempts=3, tags=tags)
    story.run("A", code=1)
    story.run("B:0", code=1)
    story.run("B:1")
    restart(shelf)
    story.ordered("start A#1", "start B:0#1", "start B:1#1")
    story.pass_time(26)
    story.ordered()
    story.pass_time(5)
    story.ordered("start A#2", "start B:0#2")
    story.run("A", "B:0", code=1)
    story.now += 100_000
    restart(shelf)
    story.run("A", "B:0")
    story.ordered("start A#3", "start B:0#3")
    story.over()


def test_escalation_is_kept(shelf: Shelf, story: Story) -> None:
    tags = {"batchyard:onOutOfMemory": "x2", "batchyard:onSpotReclaim": "on-demand"}
    story.environment("spot", kind="SPOT", strategy="SPOT_CAPACITY_OPTIMIZED")
    story.queue("both", ["ce", "spot"], priority=2)
    story.submit("busy", vcpus=2)
    story.submit("A", memory=200, queue="both", attempts=3, tags=tags)
    story.submit("B", array=2, memory=200, attempts=2, tags=tags)
    story.run("busy")
    for label in ("A", "B:0"):
        story.begin(label)
        story.exit(label, 137, "OutOfMemoryError: Container killed due to memory usage")
    restart(shelf)
    assert story.jobs["A"].resources.memory == story.jobs["B:0"].resources.memory == 400
    assert story.jobs["B"].resources.memory == 200
    story.run("A", "B:0", "B:1")
    story.given("start")
    story.over()


def test_a_preemption_goes_on(shelf: Shelf, story: Story) -> None:
    story.queue("urgent", ["ce"], priority=9, tags={"batchyard:preemption": "lower-priority"})
    story.submit("A")
    story.submit("B")
    story.begin("A", "B")
    story.submit("U", vcpus=2, queue="urgent")
    story.ordered("start A#1", "start B#1", "stop B#1 30", "stop A#1 30")
    restart(shelf)
    story.ordered("stop A#1 30", "stop B#1 30")
    story.exit("B", 143)
    restart(shelf)
    story.ordered("stop A#1 30")
    story.submit("C")
    story.exit("A", 143)
    story.run("U")
    restart(shelf)
    story.run("A", "B", "C")
    story.ordered("start U#1", "start A#2", "start B#2", "start C#1")
    story.over()
