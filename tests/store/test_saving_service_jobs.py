"""Service jobs, their tasks, capacity and client tokens come back from the store."""

from __future__ import annotations

import pytest
from service_story import STOP_GRACE, Training
from shelf import Shelf
from story import Story

from batchyard.kernel.commands import UpdateServiceJob


@pytest.fixture
def story(shelf: Shelf) -> Story:
    shelf.story = Story(vcpus=8, memory=32_768, save=shelf.save)
    return shelf.story


def test_everything_of_service_jobs_comes_back(shelf: Shelf, story: Story) -> None:
    training = Training(story)
    training.submit("A", 3, client_token="a", attempts=2, runtime=60)
    training.submit("B", 2, scheduling_priority=1)
    story.begin("A/1", "A/2", "A/3")
    story.exit("A/3", 0)
    story.tell(UpdateServiceJob(story.id("B"), 7))
    shelf.reopen()
    with shelf.store.load() as snapshot:
        story.restart(snapshot)
    assert story.kernel.state.jobs[story.id("B")].priority == 7
    assert story.kernel.state.service_environments["se"].used == {"ml.t3.medium": 3}
    story.given("start")
    story.pass_time(60)
    story.ordered(f"stop A#1/1 {STOP_GRACE}", f"stop A#1/2 {STOP_GRACE}")
    shelf.reopen()
    with shelf.store.load() as snapshot:
        story.restart(snapshot)
    story.ordered(f"stop A#1/1 {STOP_GRACE}", f"stop A#1/2 {STOP_GRACE}")
    story.exit("A/1", 143)
    story.exit("A/2", 143)
    story.ordered("start B#1/1", "start B#1/2")
