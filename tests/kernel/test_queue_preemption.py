"""Strict priority between queues: whoever has a lower one makes way."""

from __future__ import annotations

from random import Random

import pytest
from fleet_story import Fleet
from story import ACCOUNT, Story

from batchyard.kernel.commands import ChangeTags, CreateJobQueue, CreateSchedulingPolicy
from batchyard.kernel.invariants import check_invariants
from batchyard.kernel.records import Ending, Job
from batchyard.shapes import batch as shapes

STRICT = {"batchyard:preemption": "lower-priority"}
NEVER = {"batchyard:preemptible": "never"}
REASON = "Preempted by a job of job queue urgent, which has a higher priority"


@pytest.fixture
def story() -> Story:
    """One machine of 4 vCPU, and queues of the priorities 1 (q), 2 and 9 that share an environment."""
    story = Story(vcpus=4)
    story.queue("normal", ["ce"], priority=2)
    story.queue("equal", ["ce"], priority=9)
    story.queue("urgent", ["ce"], priority=9, tags=STRICT)
    return story


def test_a_job_of_a_lower_queue_makes_way_and_waits_again_in_front(story: Story) -> None:
    story.submit("A", vcpus=4)
    story.begin("A")
    story.submit("B", vcpus=4)
    story.submit("U", vcpus=4, queue="urgent")
    story.ordered("start A#1", "stop A#1 30")
    assert story.reason("A") == f"PREEMPTION_IN_PROGRESS: {REASON}"
    assert story.why("A").text == f"Is being preempted: {REASON}."
    assert story.why("U").text.endswith(" 1 job of a queue with a lower priority makes way.")
    story.exit("A", 143)
    assert (story.status("A"), story.reason("A")) == ("RUNNABLE", REASON)
    story.run("U")
    story.ordered("start U#1", "start A#2")
    job = story.jobs["A"]
    assert job.preemptions is not None
    assert (job.attempts, job.counted_attempts, job.preemptions.count) == (None, 1, 1)
    story.run("A", "B")
    story.ordered("start B#1")
    story.over()


def test_the_lowest_queue_first_then_whoever_started_last_and_no_more_than_needed(story: Story) -> None:
    story.submit("N", queue="normal")
    for label in ("A", "B", "C"):
        story.submit(label)
        story.begin(label)
        story.pass_time(1)
    story.begin("N")
    story.submit("U", vcpus=2, queue="urgent")
    story.ordered("start N#1", "start A#1", "start B#1", "start C#1", "stop C#1 30", "stop B#1 30")
    story.exit("C", 143)
    story.ordered()
    story.exit("B", 143)
    story.ordered("start U#1")


def test_who_turns_out_not_to_be_needed_is_spared(story: Story) -> None:
    """The one that started last gives too little; the one before it is enough by itself."""
    story.submit("large", vcpus=3)
    story.begin("large")
    story.pass_time(1)
    story.submit("small", vcpus=1)
    story.begin("small")
    story.submit("U", vcpus=3, queue="urgent")
    story.ordered("start large#1", "start small#1", "stop large#1 30")


def test_nobody_is_stopped_when_it_would_not_help(story: Story) -> None:
    story.submit("E", vcpus=2, queue="equal")
    story.submit("A", vcpus=2)
    story.submit("U", vcpus=4, queue="urgent")
    story.submit("huge", vcpus=8, queue="urgent")
    story.ordered("start E#1", "start A#1")
    story.run("E")
    story.ordered("stop A#1 30")


def test_equal_queues_and_those_that_may_not_be_preempted_are_left_alone(story: Story) -> None:
    story.queue("safe", ["ce"], priority=1, tags=NEVER)
    story.submit("E", queue="equal")
    story.submit("S", queue="safe")
    story.submit("A", tags=NEVER)
    story.submit("B")
    story.submit("U", queue="urgent")
    assert story.given("stop") == ["B#1 30"]
    assert sorted(story.given("start")) == ["A#1", "B#1", "E#1", "S#1"]


def test_without_the_tag_nobody_is_stopped(story: Story) -> None:
    story.submit("A", vcpus=4)
    story.submit("E", vcpus=4, queue="equal")
    story.ordered("start A#1")


def test_lower_queues_do_not_start_what_would_delay_it(story: Story) -> None:
    story.submit("E", vcpus=2, queue="equal", timeout=600)
    story.begin("E")
    story.submit("U", vcpus=4, queue="urgent")
    story.submit("A", vcpus=2)
    assert story.why("A").text == (
        f"Is next in job queue q. It needs 2 vCPU and 128 MiB; what is free is kept for job {story.id('U')} of job queue"
        " urgent, which has a higher priority."
    )
    story.submit("short", vcpus=1, timeout=300, queue="normal")
    story.ordered("start E#1", "start short#1")
    story.run("short")
    story.ordered()
    story.run("E")
    story.ordered("start U#1")
    story.run("U")
    story.ordered("start A#1")


def test_the_room_of_those_that_are_being_stopped_is_kept(story: Story) -> None:
    story.submit("A", vcpus=2)
    story.submit("B", vcpus=2)
    story.begin("A", "B")
    story.submit("U", vcpus=4, queue="urgent")
    story.submit("C", vcpus=2, queue="normal")
    story.ordered("start A#1", "start B#1", "stop B#1 30", "stop A#1 30")
    story.exit("B", 143)
    story.ordered()
    story.exit("A", 143)
    story.ordered("start U#1")


def test_an_attempt_that_ends_well_has_succeeded_after_all(story: Story) -> None:
    story.submit("A", vcpus=4)
    story.begin("A")
    story.submit("U", vcpus=4, queue="urgent")
    story.exit("A", 0)
    story.ordered("start A#1", "stop A#1 30", "start U#1")
    assert story.status("A") == "SUCCEEDED"


def test_children_of_arrays_make_way(story: Story) -> None:
    story.submit("A", array=6)
    story.submit("U", vcpus=1, queue="urgent")
    assert story.given("stop") == ["A:3#1 30"]
    story.exit("A:3", 143, started=False)
    assert story.given("start") == ["A:0#1", "A:1#1", "A:2#1", "A:3#1", "U#1"]
    story.run("A:0")
    assert story.given("start") == ["A:3#2"], "before its siblings that have not started"


def test_a_queue_gets_the_tag_later(story: Story) -> None:
    story.submit("A", vcpus=4)
    story.submit("E", vcpus=4, queue="equal")
    story.ordered("start A#1")
    story.tell(ChangeTags(arn=ACCOUNT.arn("job-queue/equal"), add=STRICT))
    story.ordered("stop A#1 30")


def test_fair_share_queues_preempt_too(story: Story) -> None:
    policy = shapes.CreateSchedulingPolicyRequest(name="fair", fairshare_policy=shapes.FairsharePolicy())
    arn = story.tell(CreateSchedulingPolicy(policy)).arn
    story.queue("shared", ["ce"], priority=9, scheduling_policy_arn=arn, tags=STRICT)
    story.submit("A", vcpus=4)
    story.submit("U", vcpus=2, queue="shared", share_identifier="a")
    story.ordered("start A#1", "stop A#1 30")


class TestInstances:
    """Instances of 2 vCPU, at most two of them."""

    @pytest.fixture
    def fleet(self) -> Fleet:
        fleet = Fleet()
        fleet.environment("ce", types=["c6i.large"], max_vcpus=4)
        fleet.queue("q", ["ce"], priority=1)
        fleet.queue("urgent", ["ce"], priority=9, tags=STRICT)
        return fleet

    def test_room_is_made_on_one_instance(self, fleet: Fleet) -> None:
        for label in "ABCD":
            fleet.submit(label)
            fleet.begin(label)
            fleet.pass_time(1)
        instances = [set(each.jobs) for each in fleet.launched]
        fleet.submit("U", vcpus=2, queue="urgent")
        assert len(fleet.given("start")) == 4
        stopped = {fleet.id(order.partition("#")[0]) for order in fleet.given("stop")}
        assert stopped in instances, "both jobs of one instance, and no other"
        for job_id in stopped:
            fleet.exit(fleet.label(job_id), 143)
        assert fleet.given("start") == ["U#1"]

    def test_an_instance_is_launched_where_there_may_be_another(self, fleet: Fleet) -> None:
        fleet.submit("A", vcpus=2)
        fleet.submit("U", vcpus=2, queue="urgent")
        fleet.ordered("start A#1", "start U#1")
        assert len(fleet.launched) == 2

    def test_nobody_is_stopped_while_one_boots(self) -> None:
        fleet = Fleet(boot_seconds=30)
        fleet.environment("ce", types=["c6i.large"], max_vcpus=4)
        fleet.queue("q", ["ce"], priority=1)
        fleet.queue("urgent", ["ce"], priority=9, tags=STRICT)
        fleet.submit("A", vcpus=2)
        fleet.pass_time(30)
        fleet.submit("U", vcpus=2, queue="urgent")
        fleet.pass_time(29)
        fleet.ordered("start A#1")
        fleet.pass_time(1)
        fleet.ordered("start U#1")


def test_a_queue_of_quota_shares_cannot_have_the_tag(story: Story) -> None:
    policy = shapes.CreateSchedulingPolicyRequest(
        name="quota",
        quota_share_policy=shapes.QuotaSharePolicy(idle_resource_assignment_strategy="FIFO"),
    )
    arn = story.tell(CreateSchedulingPolicy(policy)).arn
    request = shapes.CreateJobQueueRequest(
        job_queue_name="new",
        priority=1,
        compute_environment_order=[shapes.ComputeEnvironmentOrder(order=1, compute_environment="ce")],
        scheduling_policy_arn=arn,
        tags=STRICT,
    )
    assert story.refused(CreateJobQueue(request)) == (
        "The tag batchyard:preemption is not for a job queue of quota shares, which have preemption of their own"
    )
    assert "must be lower-priority" in story.refused(
        ChangeTags(arn=ACCOUNT.arn("job-queue/q"), add={"batchyard:preemption": "yes"})
    )


@pytest.mark.parametrize("seed", range(8))
def test_no_preemption_without_a_higher_claim(seed: int) -> None:
    """Random lives of four queues: whoever is stopped has a lower priority than a strict queue whose first job waits, that job
    then starts before anything of a lower queue takes its room, and all come to their end."""
    random = Random(seed)
    story = Story(vcpus=6, bare=True)
    story.definition("work")
    story.environment("ce", max_vcpus=6)
    for priority, strict in ((1, False), (2, True), (3, False), (4, True)):
        story.queue(f"q{priority}", ["ce"], priority=priority, tags=STRICT if strict else {})
    preempted = 0
    for number in range(120):
        running = [job for job in story.kernel.state.tasks.values() if job.task is not None]
        if random.random() < 0.5 or not running:
            tags = NEVER if random.random() < 0.2 else {}
            queue = f"q{random.randint(1, 4)}"
            story.submit(f"j{number}", vcpus=random.randint(1, 4), queue=queue, tags=tags)
        else:
            job = random.choice(running)
            assert job.task is not None
            ending = job.task.ending is Ending.PREEMPTED
            story.exit(story.label(job.id), 143 if ending else random.choice([0, 0, 1]), started=True)
        check_invariants(story.kernel.state)
        for label in (order.partition("#")[0] for order in story.given("stop")):
            preempted += 1
            _look_at_victim(story, story.jobs[label])
        story.given("start")
    while story.kernel.state.tasks:
        job = next(iter(story.kernel.state.tasks.values()))
        story.exit(story.label(job.id), 0)
    story.given("start")
    story.given("stop")
    story.over()
    assert preempted > 3


def _look_at_victim(story: Story, victim: Job) -> None:
    claims = [claim for claim in story.kernel.state.claims if claim.job.queue.name in (victim.status_reason or "")]
    assert claims, "nobody with strict priority waits"
    assert claims[0].job.queue.terms.preempts
    assert (claims[0].job.queue.detail.priority or 0) > (victim.queue.detail.priority or 0)
    assert victim.terms is None or not victim.terms.never_preempted
