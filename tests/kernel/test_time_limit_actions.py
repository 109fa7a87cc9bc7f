"""What becomes of a job that blocks its queue, and when: `jobStateTimeLimitActions`.

The machine has 2 vCPU and the story begins at 22:13:20 UTC.
"""

from __future__ import annotations

from typing import Any

import pytest
from quota_story import LARGE, QuotaStory, sharing
from service_story import Training, update
from story import NOON, Story

from batchyard.kernel import time_limits, waiting
from batchyard.kernel.blocked import blocking
from batchyard.kernel.commands import UpdateJobQueue
from batchyard.kernel.records import Blocked, Job, JobQueue
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State
from batchyard.kernel.waiting import explain
from batchyard.shapes import batch as shapes

NEVER = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
MAX_VCPUS = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
SERVICE_MAXIMUM = "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE"
QUOTA_LIMIT = "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED"
CANCELLED = "Canceled by JobStateTimeLimit action due to reason: "
TERMINATED = "Terminated by JobStateTimeLimit action due to reason: "


@pytest.fixture
def training() -> Training:
    return Training(Story(vcpus=8, memory=32_768))


def limit(reason: str, seconds: int = 600, action: Any = "CANCEL") -> shapes.JobStateTimeLimitAction:
    return shapes.JobStateTimeLimitAction(reason=reason, state="RUNNABLE", max_time_seconds=seconds, action=action)


def limit_queue(story: Story, *given: shapes.JobStateTimeLimitAction, queue: str = "q") -> None:
    story.tell(UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue=queue, job_state_time_limit_actions=list(given))))
    story.pass_time(0.01)


def clocks(story: Story, queue: str = "q") -> dict[str, list[str]]:
    """Who is blocked, by code, the longest first."""
    found = story.kernel.state.queues[queue].blocked
    return {code: [story.label(job.id) for job in jobs.values()] for code, jobs in found.items()}


class TestTheClock:
    def test_a_job_that_nothing_could_run_is_cancelled_to_the_second(self, story: Story) -> None:
        limit_queue(story, limit(NEVER))
        story.submit("huge", vcpus=64)
        blocked_at = story.now
        assert story.kernel.next_wakeup(story.now) == blocked_at + 600_000
        story.pass_time(599.999)
        assert story.status("huge") == "RUNNABLE"
        story.pass_time(0.001)
        assert (story.status("huge"), story.reason("huge")) == ("FAILED", CANCELLED + NEVER)
        assert story.jobs["huge"].stopped_at == blocked_at + 600_000
        assert story.jobs["huge"].cancelled
        assert story.history("huge")[-1] == ("FAILED", CANCELLED + NEVER)
        assert story.kernel.next_wakeup(story.now) is None

    def test_each_job_has_its_own(self, story: Story) -> None:
        limit_queue(story, limit(NEVER))
        story.submit("A", vcpus=64)
        story.pass_time(100)
        story.submit("B", vcpus=32)
        assert clocks(story) == {NEVER: ["A", "B"]}
        story.pass_time(500)
        assert (story.status("A"), story.status("B")) == ("FAILED", "RUNNABLE")
        story.pass_time(99.999)
        assert story.status("B") == "RUNNABLE"
        story.pass_time(0.001)
        assert story.status("B") == "FAILED"
        assert clocks(story) == {}

    def test_it_starts_anew_with_another_code(self, story: Story) -> None:
        """Three vCPU are too many for the machine; two are too many for the environment once it may have only one."""
        limit_queue(story, limit(NEVER, 600), limit(MAX_VCPUS, 700))
        story.change_environment("ce", max_vcpus=1)
        story.submit("A", vcpus=2)
        assert clocks(story) == {MAX_VCPUS: ["A"]}
        story.pass_time(650)
        story.change_environment("ce", max_vcpus=2, state="DISABLED")
        assert clocks(story) == {"ACTION_REQUIRED": ["A"]}
        story.change_environment("ce", max_vcpus=1)
        assert clocks(story) == {MAX_VCPUS: ["A"]}
        story.pass_time(699.9)
        assert story.status("A") == "RUNNABLE"
        story.pass_time(0.1)
        assert story.reason("A") == CANCELLED + MAX_VCPUS

    def test_it_goes_on_when_only_the_numbers_change(self, story: Story) -> None:
        limit_queue(story, limit(NEVER))
        story.submit("huge", vcpus=64)
        since = story.now
        story.pass_time(300)
        story.change_environment("ce", max_vcpus=1)
        assert "is 1 vCPU" in str(story.reason("huge"))
        assert story.jobs["huge"].blocked == Blocked(NEVER, since)
        story.pass_time((since + 600_000 - story.now) / 1000)
        assert story.status("huge") == "FAILED"

    def test_it_goes_on_behind_a_job_that_waits(self, story: Story) -> None:
        """What was set aside does not go back in line when it could not run anyway."""
        limit_queue(story, limit(NEVER))
        story.submit("huge", vcpus=64)
        story.submit("A", vcpus=2)
        story.submit("B", vcpus=2)
        story.ordered("start A#1")
        story.begin("A")
        story.pass_time(300)
        story.change_environment("ce", max_vcpus=4)
        assert story.reason("huge") is not None
        story.pass_time(300)
        assert story.status("huge") == "FAILED"
        story.exit("A")
        story.ordered("start B#1")
        story.run("B")

    def test_it_stops_when_the_job_can_start(self, story: Story) -> None:
        limit_queue(story, limit(MAX_VCPUS))
        story.change_environment("ce", max_vcpus=1)
        story.submit("A", vcpus=2, attempts=2)
        story.pass_time(599)
        story.change_environment("ce", max_vcpus=2)
        story.ordered("start A#1")
        assert (story.jobs["A"].blocked, clocks(story)) == (None, {})
        story.begin("A")
        story.change_environment("ce", max_vcpus=1)
        story.exit("A", 1)
        story.pass_time(599)
        assert story.status("A") == "RUNNABLE"
        story.pass_time(1)
        assert story.reason("A") == CANCELLED + MAX_VCPUS

    def test_a_job_that_could_run_now_but_has_to_wait_is_left_in_peace(self, story: Story) -> None:
        limit_queue(story, limit(MAX_VCPUS))
        story.submit("A", vcpus=1)
        story.begin("A")
        story.change_environment("ce", max_vcpus=1)
        story.submit("B", vcpus=2)
        story.pass_time(599)
        story.change_environment("ce", max_vcpus=2)
        assert story.reason("B") is None
        story.pass_time(10_000)
        assert story.status("B") == "RUNNABLE"
        story.ordered("start A#1")
        story.exit("A")
        story.ordered("start B#1")
        story.run("B")

    def test_the_environment_grows_in_the_last_moment(self, story: Story) -> None:
        """Both at the same time: whoever can start does."""
        limit_queue(story, limit(MAX_VCPUS))
        story.change_environment("ce", max_vcpus=1)
        story.submit("A", vcpus=2)
        story.pass_time(599.999)
        story.now += 1
        story.change_environment("ce", max_vcpus=2)
        story.ordered("start A#1")
        story.run("A")


class TestTheQueue:
    def test_no_limit_for_this_reason(self, story: Story) -> None:
        limit_queue(story, limit(MAX_VCPUS), limit(CAPACITY))
        story.submit("huge", vcpus=64)
        story.change_environment("ce", state="DISABLED")
        story.submit("A")
        assert clocks(story) == {NEVER: ["huge"], "ACTION_REQUIRED": ["A"]}
        story.pass_time(1)
        assert story.kernel.next_wakeup(story.now) is None
        story.pass_time(100_000)
        assert (story.status("huge"), story.status("A")) == ("RUNNABLE", "RUNNABLE")
        story.cancel("huge")
        story.cancel("A")
        assert clocks(story) == {}

    def test_new_limits_hold_for_what_is_blocked_already(self, story: Story) -> None:
        story.submit("huge", vcpus=64)
        story.pass_time(1000)
        limit_queue(story, limit(NEVER, 2000))
        story.pass_time(100)
        limit_queue(story, limit(NEVER, 1500))
        story.pass_time(399.97)
        assert story.status("huge") == "RUNNABLE"
        story.pass_time(0.01)
        assert story.status("huge") == "FAILED"
        story.submit("late", vcpus=64)
        story.pass_time(1499)
        limit_queue(story)
        story.pass_time(10_000)
        assert story.status("late") == "RUNNABLE"
        limit_queue(story, limit(NEVER, 600))
        assert story.reason("late") == CANCELLED + NEVER

    def test_the_head_has_a_clock_only_while_it_is_the_head(self, story: Story) -> None:
        """A job that is tried again comes before all others: then the other one blocks nobody."""
        story.submit("first", attempts=2)
        story.begin("first")
        story.change_environment("ce", state="DISABLED")
        story.submit("A")
        since = story.now
        assert story.jobs["A"].blocked == Blocked("ACTION_REQUIRED", since)
        story.pass_time(10)
        story.exit("first", 1)
        assert clocks(story) == {"ACTION_REQUIRED": ["first"]}
        assert story.reason("A") is None
        story.cancel("first")
        assert story.jobs["A"].blocked == Blocked("ACTION_REQUIRED", since + 10_000)
        story.ordered("start first#1")
        story.cancel("A")

    def test_since_when_it_is_blocked(self, story: Story) -> None:
        queue = story.kernel.state.queues["q"]
        assert blocking(queue) is None
        limit_queue(story, limit(NEVER))
        since = story.now
        story.submit("A", vcpus=64)
        story.pass_time(60)
        story.submit("B", vcpus=64)
        assert blocking(queue) == (story.jobs["A"], Blocked(NEVER, since))
        story.pass_time(540)
        assert blocking(queue) == (story.jobs["B"], Blocked(NEVER, since + 60_000))
        story.pass_time(60)
        assert blocking(queue) is None

    def test_other_queues_are_left_alone(self, story: Story) -> None:
        story.queue("other", ["ce"], job_state_time_limit_actions=[limit(NEVER, 700)])
        limit_queue(story, limit(NEVER, 600))
        story.submit("A", vcpus=64)
        story.submit("B", vcpus=64, queue="other")
        story.pass_time(600)
        assert (story.status("A"), story.status("B")) == ("FAILED", "RUNNABLE")
        story.pass_time(100)
        assert story.status("B") == "FAILED"

    def test_more_of_them_at_once_than_one_round_ends(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time_limits, "ENDS_A_STEP", 3)
        limit_queue(story, limit(NEVER))
        for label in "ABCDE":
            story.submit(label, vcpus=64)
        story.now += 600_000
        story._turn()
        assert [story.status(label) for label in "ABCDE"] == ["FAILED"] * 3 + ["RUNNABLE"] * 2
        assert story.kernel.next_wakeup(story.now) == story.now
        story.pass_time(0)
        assert {story.status(label) for label in "ABCDE"} == {"FAILED"}

    def test_the_head_is_ended_and_the_next_has_its_turn_at_once(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Any code that the head of a queue can wait with will do: here capacity that nobody provides."""
        coded = waiting.head_code

        def no_capacity(state: State, queue: JobQueue, job: Job) -> tuple[str | None, str]:
            return (CAPACITY, CAPACITY) if job.resources.milli_vcpus == 2000 else coded(state, queue, job)

        monkeypatch.setattr(waiting, "head_code", no_capacity)
        limit_queue(story, limit(CAPACITY, 900))
        story.submit("A")
        story.begin("A")
        story.submit("B", vcpus=2)
        story.submit("C")
        assert story.why("C").text.endswith(
            "That job will be cancelled at 2023-11-14 22:28:20 UTC by the queue's job state time limit."
        )
        story.pass_time(899.999)
        assert (story.status("B"), story.status("C")) == ("RUNNABLE", "RUNNABLE")
        story.pass_time(0.001)
        assert story.reason("B") == CANCELLED + CAPACITY
        story.ordered("start A#1", "start C#1")
        story.run("C")
        story.exit("A")


class TestWhatIsEnded:
    def test_those_that_depend_on_it_fail(self, story: Story) -> None:
        limit_queue(story, limit(NEVER))
        story.submit("huge", vcpus=64)
        story.submit("after", after=["huge"])
        story.pass_time(600)
        assert (story.status("after"), story.reason("after")) == ("FAILED", "Dependent Job failed")

    def test_all_waiting_children_of_an_array(self, story: Story) -> None:
        limit_queue(story, limit(NEVER))
        story.submit("A", array=1000, vcpus=64)
        assert clocks(story) == {NEVER: ["A"]}
        story.pass_time(600)
        assert (story.status("A"), story.reason("A")) == ("FAILED", CANCELLED + NEVER)
        assert story.summary("A") == {"FAILED": 1000}
        assert story.reason("A:7") == CANCELLED + NEVER

    def test_children_that_run_go_on(self, story: Story) -> None:
        limit_queue(story, limit(MAX_VCPUS))
        story.submit("A", array=3, vcpus=2)
        story.ordered("start A:0#1")
        story.begin("A:0")
        story.change_environment("ce", max_vcpus=1)
        story.submit("small")
        story.pass_time(1)
        assert clocks(story) == {MAX_VCPUS: ["A"]}
        story.pass_time(600)
        assert story.summary("A") == {"RUNNING": 1, "FAILED": 2}
        assert story.reason("A:1") == CANCELLED + MAX_VCPUS
        assert clocks(story) == {}
        story.exit("A:0")
        assert (story.status("A"), story.reason("A")) == ("FAILED", CANCELLED + MAX_VCPUS)
        assert story.status("A:0") == "SUCCEEDED"
        story.ordered("start small#1")
        story.run("small")

    def test_a_child_that_is_tried_again_is_ended_by_itself(self) -> None:
        story = Story(vcpus=4)
        limit_queue(story, limit(MAX_VCPUS))
        story.submit("A", array=2, vcpus=2, attempts=2)
        story.ordered("start A:0#1", "start A:1#1")
        story.begin("A:0", "A:1")
        story.change_environment("ce", max_vcpus=1)
        story.exit("A:0", 1)
        assert clocks(story) == {MAX_VCPUS: ["A:0"]}
        story.pass_time(600)
        assert story.reason("A:0") == CANCELLED + MAX_VCPUS
        assert story.summary("A") == {"RUNNING": 1, "FAILED": 1}
        story.exit("A:1")
        assert (story.status("A"), story.reason("A")) == ("FAILED", "Array Child Job failed")
        story.over()

    def test_children_that_were_cancelled_one_by_one_leave_no_clock(self, story: Story) -> None:
        limit_queue(story, limit(MAX_VCPUS))
        story.submit("A", array=2, vcpus=2)
        story.ordered("start A:0#1")
        story.begin("A:0")
        story.change_environment("ce", max_vcpus=1)
        story.cancel("A:1")
        story.change_environment("ce", max_vcpus=2)
        story.pass_time(600)
        assert story.status("A") == "PENDING"
        story.exit("A:0")


class TestServiceJobs:
    def test_a_training_job_is_terminated(self, training: Training) -> None:
        story = training.story
        limit_queue(
            story,
            limit(SERVICE_MAXIMUM, 600, "TERMINATE"),
            limit(CAPACITY, 700, "TERMINATE"),
            queue="training",
        )
        training.submit("wide", 5)
        training.submit("A", 4)
        story.given("start")
        assert str(story.reason("wide")).startswith(SERVICE_MAXIMUM)
        story.pass_time(600)
        assert (story.status("wide"), story.reason("wide")) == ("FAILED", TERMINATED + SERVICE_MAXIMUM)
        assert story.jobs["wide"].terminated
        assert story.status("A") == "SCHEDULED"

    def test_more_instances_than_the_machine_can_hold(self, training: Training) -> None:
        """The machine has become smaller while the job waited."""
        story = training.story
        limit_queue(story, limit(CAPACITY, 700, "TERMINATE"), queue="training")
        story.tell(update(state="DISABLED"))
        training.submit("A", 4)
        story.pass_time(100)
        assert clocks(story, "training") == {"ACTION_REQUIRED": ["A"]}
        story.kernel.add_machine("local", Resources(4000, 32_768), 0)
        story.pass_time(0)
        assert str(story.reason("A")).startswith(f"{CAPACITY} - Unable to provision requested compute resources")
        story.pass_time(699.999)
        assert story.status("A") == "RUNNABLE"
        story.pass_time(0.001)
        assert story.reason("A") == TERMINATED + CAPACITY

    def test_a_job_too_large_for_its_quota_share(self) -> None:
        story = QuotaStory(**{LARGE: 8})
        story.share("a", sharing("RESERVE"), large=2)
        story.share("b", sharing("RESERVE"), large=6)
        limit_queue(story, limit(QUOTA_LIMIT, 600, "TERMINATE"))
        story.train("A", "a", 3)
        story.pass_time(300)
        story.train("B", "b", 7)
        assert clocks(story) == {QUOTA_LIMIT: ["A", "B"]}
        story.pass_time(300)
        assert (story.reason("A"), story.status("B")) == (TERMINATED + QUOTA_LIMIT, "RUNNABLE")
        story.pass_time(300)
        assert story.reason("B") == TERMINATED + QUOTA_LIMIT

    def test_the_head_of_every_quota_share_has_a_clock(self) -> None:
        story = QuotaStory(**{LARGE: 8})
        story.share("a", large=4)
        story.share("b", large=4)
        story.tell(update(state="DISABLED"))
        story.pass_time(0.01)
        for label, share in (("A", "a"), ("B", "b"), ("A2", "a")):
            story.train(label, share)
        assert clocks(story) == {"ACTION_REQUIRED": ["A", "B"]}
        assert story.reason("A2") is None
        story.stop_training("A")
        assert clocks(story) == {"ACTION_REQUIRED": ["B", "A2"]}
        story.tell(update(state="ENABLED"))
        story.pass_time(0.01)
        assert clocks(story) == {}
        assert story.status("A2") == "SCHEDULED"


class TestWhy:
    def test_when_the_job_will_be_cancelled(self, story: Story) -> None:
        limit_queue(story, limit(NEVER, 3600))
        story.pass_time((NOON + 100_000 - story.now) / 1000)
        story.submit("huge", vcpus=64)
        why = story.why("huge")
        assert why.code == NEVER
        assert why.text == (
            "It needs 64 vCPU and 128 MiB; the most that compute environment ce can give one job is 2 vCPU and 4096 MiB."
            " It will be cancelled at 2023-11-14 23:15:00 UTC by the queue's job state time limit."
        )
        assert "cancelled" not in str(story.reason("huge")), "the limit may still change"
        limit_queue(story)
        assert story.why("huge").text.endswith("is 2 vCPU and 4096 MiB.")
        story.cancel("huge")

    def test_children_and_service_jobs(self, training: Training) -> None:
        story = training.story
        limit_queue(story, limit(NEVER))
        since = story.now
        story.submit("A", array=3, vcpus=64)
        ending = "It will be cancelled at 2023-11-14 22:23:20 UTC by the queue's job state time limit."
        assert since < NOON + 1000
        assert story.why("A:2").text.endswith(ending)
        assert story.why("A").text.endswith(ending)
        limit_queue(story, limit(SERVICE_MAXIMUM, 600, "TERMINATE"), queue="training")
        training.submit("wide", 5)
        assert (
            "It will be terminated at 2023-11-14 22:23:20 UTC by"
            in explain(story.kernel.state, story.jobs["wide"], None).text
        )
        story.pass_time(600)
