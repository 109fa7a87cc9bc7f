"""What the next attempt asks for after one that failed for want of it."""

from __future__ import annotations

import pytest
from fleet_story import Fleet
from story import ACCOUNT, Story

from batchyard.kernel.commands import ChangeTags, InterruptInstance
from batchyard.kernel.terms import MoreMemory, job_terms

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
DOUBLE = {"batchyard:onOutOfMemory": "x2", "batchyard:maxMemory": "700"}
ON_DEMAND = {"batchyard:onSpotReclaim": "on-demand"}


def run_out(story: Story, label: str) -> None:
    story.begin(label)
    story.exit(label, 137, OUT_OF_MEMORY)


def memory(story: Story, label: str) -> int:
    return story.jobs[label].resources.memory


@pytest.fixture
def story() -> Story:
    """One machine of 2 vCPU and 4,096 MiB."""
    return Story()


@pytest.mark.parametrize(
    ("value", "more"),
    [("x2", MoreMemory(2.0)), ("x1.5", MoreMemory(1.5)), ("+1024", MoreMemory(mebibytes=1024))],
)
def test_what_the_tag_says(value: str, more: MoreMemory) -> None:
    terms = job_terms({"batchyard:onOutOfMemory": value})
    assert terms is not None
    assert terms.more_memory == more


@pytest.mark.parametrize(
    "tags",
    [{"batchyard:onOutOfMemory": value} for value in ("", "x1", "x0.5", "x", "+0", "1024", "memory x2", "-5", "x2 +4")]
    + [{"batchyard:maxMemory": "3"}, {"batchyard:maxMemory": "64G"}, {"batchyard:onSpotReclaim": "spot"}],
)
def test_bad_values_are_refused(story: Story, tags: dict[str, str]) -> None:
    [(name, value)] = tags.items()
    said = story.refused_submission(tags=tags)
    assert said.startswith(f"The tag {name} must be ")
    assert said.endswith(f", got {value!r}")


def test_more_memory_up_to_the_limit_after_each_attempt_that_ran_out_of_it(story: Story) -> None:
    story.submit("A", memory=256, attempts=4, tags=DOUBLE)
    run_out(story, "A")
    assert memory(story, "A") == 512
    story.begin("A")
    story.exit("A", 1)
    assert memory(story, "A") == 512, "any other failure changes nothing"
    run_out(story, "A")
    assert memory(story, "A") == 700
    run_out(story, "A")
    assert story.status("A") == "FAILED"
    story.ordered("start A#1", "start A#2", "start A#3", "start A#4")
    story.over()


def test_the_next_attempt_needs_the_room(story: Story) -> None:
    story.submit("A", memory=2048, attempts=2, tags={"batchyard:onOutOfMemory": "+1024"})
    story.submit("B", memory=2048)
    run_out(story, "A")
    story.ordered("start A#1", "start B#1")
    assert "It needs 1 vCPU and 3072 MiB, and that much is not free" in story.why("A").text
    story.run("B")
    story.run("A")
    story.ordered("start A#2")
    story.over()


def test_what_nothing_could_ever_give_is_not_asked_for(story: Story) -> None:
    story.submit("A", memory=3000, attempts=2, tags={"batchyard:onOutOfMemory": "x2"})
    run_out(story, "A")
    assert memory(story, "A") == 3000
    story.ordered("start A#1", "start A#2")


def test_a_child_asks_for_more_and_its_siblings_do_not(story: Story) -> None:
    story.submit("A", array=3, memory=256, attempts=2, tags=DOUBLE)
    run_out(story, "A:0")
    assert (memory(story, "A"), memory(story, "A:0"), memory(story, "A:1")) == (256, 512, 256)
    story.ordered("start A:0#1", "start A:1#1", "start A:0#2")
    story.run("A:0", "A:1", "A:2")
    story.ordered("start A:2#1")
    story.over()


def test_the_queue_gives_the_default(story: Story) -> None:
    arn = ACCOUNT.arn("job-queue/q")
    story.tell(ChangeTags(arn=arn, add={"batchyard:onOutOfMemory": "+100", "batchyard:maxMemory": "350"}))
    story.submit("A", memory=200, attempts=3)
    story.submit("B", memory=200, attempts=2, tags={"batchyard:onOutOfMemory": "x2", "batchyard:maxMemory": "1000"})
    run_out(story, "A")
    run_out(story, "B")
    run_out(story, "A")
    assert (memory(story, "A"), memory(story, "B")) == (350, 400)
    assert story.given("start") == ["A#1", "B#1", "A#2", "B#2", "A#3"]


class TestSpot:
    """A queue with an On-Demand environment that is full, and a Spot one."""

    @pytest.fixture
    def fleet(self) -> Fleet:
        fleet = Fleet()
        fleet.environment("on-demand", types=["c6i.large"], max_vcpus=2)
        fleet.environment("spot", kind="SPOT", types=["c6i.large"], strategy="SPOT_CAPACITY_OPTIMIZED")
        fleet.queue("q", ["on-demand", "spot"])
        fleet.submit("busy", vcpus=2)
        return fleet

    def reclaim(self, fleet: Fleet, label: str) -> None:
        fleet.begin(label)
        task = fleet.jobs[label].task
        assert task is not None
        fleet.tell(InterruptInstance(task.instance))
        fleet.exit(label, 143)

    def environment_of(self, fleet: Fleet, label: str) -> str:
        task = fleet.jobs[label].task
        assert task is not None
        return task.environment

    def test_a_reclaimed_job_waits_for_on_demand_capacity(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=2, attempts=3, tags=ON_DEMAND)
        fleet.submit("B", vcpus=2, attempts=3)
        assert (self.environment_of(fleet, "A"), self.environment_of(fleet, "B")) == ("spot", "spot")
        self.reclaim(fleet, "A")
        self.reclaim(fleet, "B")
        assert fleet.status("A") == "RUNNABLE"
        assert self.environment_of(fleet, "B") == "spot"
        assert fleet.fleet("spot") == ["c6i.large"], "no Spot instance is launched for it"
        text = fleet.why("A").text
        assert "compute environment on-demand has 1 instance with 2 of at most 2 vCPU" in text
        assert "spot" not in text
        fleet.run("busy")
        assert self.environment_of(fleet, "A") == "on-demand"
        assert fleet.given("start") == ["busy#1", "A#1", "B#1", "B#2", "A#2"]

    def test_an_instance_is_launched_for_it(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=2, attempts=3, tags=ON_DEMAND)
        self.reclaim(fleet, "A")
        fleet.change_environment("on-demand", max_vcpus=4)
        assert self.environment_of(fleet, "A") == "on-demand"
        assert fleet.fleet("on-demand") == ["c6i.large", "c6i.large"]

    def test_where_there_is_no_other_it_stays_on_spot(self, fleet: Fleet) -> None:
        fleet.queue("s", ["spot"])
        fleet.submit("A", vcpus=2, queue="s", attempts=2, tags=ON_DEMAND)
        self.reclaim(fleet, "A")
        assert self.environment_of(fleet, "A") == "spot"

    def test_a_failure_of_its_own_changes_nothing(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=2, attempts=2, tags=ON_DEMAND)
        fleet.begin("A")
        fleet.exit("A", 1)
        assert self.environment_of(fleet, "A") == "spot"

    def test_no_more_is_launched_than_caps_let_run(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=2, array=6, tags={"batchyard:maxRunning": "2"})
        assert fleet.fleet("spot") == ["c6i.large", "c6i.large"]
        fleet.queue("grouped", ["spot"], tags={"batchyard:maxRunningPerGroup": "1"})
        for label in ("G1", "G2", "G3"):
            fleet.submit(label, vcpus=2, queue="grouped", tags={"batchyard:group": "g"})
        assert len(fleet.fleet("spot")) == 3
