"""Jobs behind the head of a queue that start before it, and never delay its reserved start."""

from __future__ import annotations

import pytest
from fleet_story import Fleet
from story import Story


@pytest.fixture
def story() -> Story:
    """One machine of 4 vCPU."""
    return Story(vcpus=4)


def test_a_short_job_passes_when_its_time_limit_ends_before_the_reserved_start(story: Story) -> None:
    story.submit("A", vcpus=3, timeout=3600)
    story.begin("A")
    story.submit("B", vcpus=4)
    story.submit("C", vcpus=1, timeout=3000)
    story.ordered("start A#1", "start C#1")
    story.run("A", "C")
    story.ordered("start B#1")


def test_a_job_that_may_last_longer_does_not_pass(story: Story) -> None:
    story.submit("A", vcpus=3, timeout=3600)
    story.begin("A")
    story.submit("B", vcpus=4)
    story.submit("C", vcpus=1, timeout=3601)
    story.submit("D", vcpus=1)
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")


def test_without_time_limits_nobody_passes_who_would_stand_in_the_way(story: Story) -> None:
    story.submit("A", vcpus=2)
    story.submit("B", vcpus=4)
    story.submit("C", vcpus=1, timeout=60)
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")


def test_a_job_that_fits_beside_the_head_passes(story: Story) -> None:
    """When A has gone there is room for B and C together."""
    story.submit("A", vcpus=3)
    story.submit("B", vcpus=3)
    story.submit("C", vcpus=1)
    story.ordered("start A#1", "start C#1")
    story.run("A")
    story.ordered("start B#1")


def test_only_as_many_pass_as_fit_beside_the_head(story: Story) -> None:
    story.submit("A", vcpus=2, timeout=600)
    story.begin("A")
    story.submit("B", vcpus=3)
    story.submit("C", vcpus=1)
    story.submit("D", vcpus=1)
    story.ordered("start A#1", "start C#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("C")
    story.ordered("start D#1")


def test_what_max_vcpus_leaves_to_the_head_is_kept_for_it() -> None:
    """Of the 4 vCPU B needs 3 when A has gone: there is 1 for C, and none for D."""
    story = Story(vcpus=8)
    story.environment("small", max_vcpus=4)
    story.queue("r", ["small"])
    story.submit("A", vcpus=2, queue="r", timeout=600)
    story.begin("A")
    story.submit("B", vcpus=3, queue="r")
    story.submit("C", vcpus=1, queue="r")
    story.submit("D", vcpus=1, queue="r")
    story.ordered("start A#1", "start C#1")
    story.run("A")
    story.ordered("start B#1")


def test_other_instances_are_free_for_others() -> None:
    """B is kept the instance of A; C goes to another, which is too small for B."""
    fleet = Fleet(vcpus=10, memory=65_536)
    fleet.environment("ce", types=["c6i.xlarge", "c6i.large"], max_vcpus=6, strategy="BEST_FIT_PROGRESSIVE_ORDERED")
    fleet.queue("q", ["ce"])
    fleet.submit("A", vcpus=4)
    fleet.change_environment("ce", resources={"max_vcpus": 6})
    fleet.submit("A2", vcpus=1)
    fleet.submit("B", vcpus=4)
    fleet.submit("C", vcpus=1)
    fleet.ordered("start A#1", "start A2#1", "start C#1")
    fleet.run("A")
    fleet.ordered("start B#1")
