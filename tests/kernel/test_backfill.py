"""Jobs behind the head of a queue that start before it, and never delay its reserved start."""

from __future__ import annotations

import pytest
from fleet_story import Fleet
from story import Story

from batchyard.kernel.commands import CreateSchedulingPolicy
from batchyard.kernel.ordering import fifo
from batchyard.shapes import batch as shapes


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


def test_small_instances_make_way_for_one_that_is_large_enough() -> None:
    """B needs an instance of 8 vCPU, and all 8 are those of small instances: nothing else is placed on what becomes free."""
    fleet = Fleet()
    fleet.environment("ce", types=["c6i.large", "c6i.2xlarge"], max_vcpus=8, strategy="BEST_FIT")
    fleet.queue("q", ["ce"])
    for label in ("A1", "A2", "A3", "A4"):
        fleet.submit(label, vcpus=2)
        fleet.begin(label)
    fleet.submit("B", vcpus=8)
    for label in ("C1", "C2"):
        fleet.submit(label, vcpus=2)
    fleet.pass_time(1)
    fleet.given("start")
    fleet.run("A1")
    fleet.run("A2", "A3")
    fleet.pass_time(100)
    fleet.ordered()
    fleet.exit("A4")
    fleet.ordered("start B#1")
    assert fleet.fleet() == ["c6i.2xlarge"]


def test_only_as_many_instances_make_way_as_it_takes() -> None:
    fleet = Fleet()
    fleet.environment("ce", types=["c6i.large", "c6i.xlarge"], max_vcpus=8, strategy="BEST_FIT")
    fleet.queue("q", ["ce"])
    for label in ("A1", "A2", "A3", "A4"):
        fleet.submit(label, vcpus=2)
        fleet.begin(label)
    fleet.submit("B", vcpus=4)
    for label in ("C1", "C2", "C3"):
        fleet.submit(label, vcpus=2)
    fleet.given("start")
    fleet.exit("A3")
    fleet.ordered()
    fleet.exit("A4")
    fleet.ordered("start B#1")
    fleet.exit("A1")
    fleet.ordered("start C1#1")


def test_nothing_is_launched_for_jobs_that_would_use_what_is_reserved() -> None:
    """R = 50 and one share: half of the 16 vCPU are for others, and no instance idles for the jobs that may not use them."""
    fleet = Fleet()
    fleet.environment("ce", types=["c6i.large"], max_vcpus=16)
    fair = shapes.FairsharePolicy(compute_reservation=50)
    request = shapes.CreateSchedulingPolicyRequest(name="fair", fairshare_policy=fair)
    fleet.queue("q", ["ce"], scheduling_policy_arn=fleet.tell(CreateSchedulingPolicy(request)).arn)
    for number in range(12):
        fleet.submit(f"A{number}", share_identifier="A")
    assert len(fleet.fleet()) == 4
    fleet.submit("B", share_identifier="B", vcpus=2)
    assert len(fleet.fleet()) == 6, "one for B; and with two shares only a quarter is reserved"


def test_those_who_pass_at_one_moment_fit_beside_the_head_together(story: Story) -> None:
    """2 vCPU are free, and when A has gone 1 beside B: for one child."""
    story.submit("A", vcpus=2, timeout=600)
    story.begin("A")
    story.submit("B", vcpus=3)
    story.submit("C", array=2)
    story.ordered("start A#1", "start C:0#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("C:0")
    story.ordered("start C:1#1")


def test_who_has_passed_at_this_moment_is_known_to_end() -> None:
    """C has not begun to run when D comes. It ends before A, and so the reserved start is still the end of A, which D would
    delay."""
    story = Story(vcpus=5)
    story.submit("A", vcpus=2, timeout=600)
    story.submit("X", vcpus=1, timeout=900)
    story.begin("A", "X")
    story.submit("B", vcpus=4)
    story.submit("C", vcpus=1, timeout=60)
    story.submit("D", vcpus=1, timeout=800)
    story.ordered("start A#1", "start X#1", "start C#1")
    story.run("C", "A")
    story.ordered("start B#1")


def test_who_has_passed_and_is_tried_again_stands_in_line_once(story: Story) -> None:
    """C passes B, fails, passes it again as a retried job, and fails again: it never stands in the queue twice."""
    story.submit("A", vcpus=3)
    story.submit("B", vcpus=3)
    story.submit("C", vcpus=1, attempts=3)
    story.run("C", code=1)
    story.run("C", code=1)
    queue = story.kernel.state.queues["q"]
    standing = [story.label(entry[2].id) for entry in sorted(queue.waiting) if fifo.stands(queue, entry)]
    assert standing == ["B"]
    story.ordered("start A#1", "start C#1", "start C#2", "start C#3")
    story.submit("D", vcpus=1)
    story.run("C", code=1)
    assert story.status("C") == "FAILED"
    story.ordered("start D#1")
    assert fifo.jobs_ahead(queue, story.jobs["B"]) == 0
    story.run("A", "D")
    story.ordered("start B#1")
