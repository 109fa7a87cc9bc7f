"""Quota shares of queues of container jobs: an extension, with the rules that AWS has for service jobs."""

from __future__ import annotations

from typing import Any

import pytest
from container_quota_story import BORROW, CROSS, LEND, RESERVE, RETRIES, ContainerQuotaStory, units
from quota_story import create_share, policy, sharing, update_share
from story import ACCOUNT, container, submission
from test_consumable_resources import creation, figures, needs, update

from batchyard.kernel.commands import DeleteQuotaShare
from batchyard.kernel.queue_snapshot import front_of_queue, front_of_shares, utilization
from batchyard.shapes import batch as shapes

CODE = "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED"


@pytest.fixture
def story() -> ContainerQuotaStory:
    return ContainerQuotaStory()


class TestShares:
    @pytest.mark.parametrize(
        ("text", "limits"),
        [
            ("capacityUnit 'ml.m5.large' is not for a job queue of container jobs (VCPU, MEMORY, GPU)", "ml.m5.large"),
            ("capacityUnit 'vcpu' is not for a job queue of container jobs (VCPU, MEMORY, GPU)", "vcpu"),
            ("capacityLimits must limit VCPU in a job queue of container jobs; MEMORY (MiB) and GPU may follow", "GPU"),
        ],
    )
    def test_units_are_those_of_containers(self, story: ContainerQuotaStory, text: str, limits: str) -> None:
        given = [shapes.QuotaShareCapacityLimit(max_capacity=1, capacity_unit=limits)]
        assert story.refused(create_share("a", capacity_limits=given)) == text
        story.share("b")
        assert story.refused(update_share("b", capacity_limits=given)) == text

    def test_all_units_together(self, story: ContainerQuotaStory) -> None:
        story.share("a", vcpu=4, memory=512, gpu=1)
        detail = story.kernel.state.queues["q"].quota_shares["a"].detail
        assert (detail.status, detail.capacity_limits) == ("VALID", units(vcpu=4, memory=512, gpu=1))
        story.change_share("a", capacity_limits=units(vcpu=1))
        assert story.kernel.state.queues["q"].quota_shares["a"].detail.capacity_limits == units(vcpu=1)

    def test_deleting_a_share_ends_its_jobs(self, story: ContainerQuotaStory) -> None:
        story.share("a", vcpu=2)
        story.work("runs", "a")
        story.work("array", "a", array=3)
        story.change_share("a", state="DISABLED")
        assert "is not enabled" in story.refused_submission(share_identifier="a")
        story.tell(DeleteQuotaShare(ACCOUNT.arn("job-queue/q/quota-share/a")))
        assert story.refused_submission(share_identifier="a") == "Quota share a not found."
        assert story.stopped() == ["runs", "array:0"]
        for label in ("runs", "array:0"):
            story.exit(label, 143)
        assert (story.status("runs"), story.reason("runs")) == ("FAILED", "QuotaShare deleted")
        assert story.summary("array") == {"FAILED": 3}
        story.pass_time(0.01)
        assert story.kernel.state.queues["q"].quota_shares == {}


class TestSubmitting:
    def test_the_share_identifier_names_the_quota_share(self, story: ContainerQuotaStory) -> None:
        story.share("my_share-1")
        story.work("A", "my_share-1")
        assert story.details["A"].share_identifier == "my_share-1"
        assert story.running() == ["A"]
        assert "shareIdentifier is required" in story.refused_submission()
        assert story.refused_submission(share_identifier="other") == "Quota share other not found."

    @pytest.mark.parametrize("retries", ["-1", "1.5", "", "many", "1" * 10])
    def test_how_often_it_may_be_preempted_is_a_whole_number(self, story: ContainerQuotaStory, retries: str) -> None:
        story.share("a")
        text = f"The tag {RETRIES} must be a whole number of at least 0, got {retries!r}"
        assert story.refused_submission(share_identifier="a", tags={RETRIES: retries}) == text

    def test_other_queues_know_nothing_of_it(self, story: ContainerQuotaStory) -> None:
        story.queue("plain", ["ce"])
        assert "can onlybe submitted to job queue with fair share" in story.refused_submission(
            job_queue="plain", share_identifier="a"
        )
        story.submit("A", queue="plain", tags={RETRIES: "7"})
        assert story.jobs["A"].preemptions is None

    def test_the_definitions_priority_counts_unless_the_submission_has_one(self, story: ContainerQuotaStory) -> None:
        story.share("a", vcpu=1)
        story.definition("urgent", scheduling_priority=5)
        story.work("first", "a")
        story.work("none", "a")
        story.work("defined", "a", definition="urgent")
        story.work("lowered", "a", definition="urgent", priority=1)
        story.work("raised", "a", priority=9)
        for label in ("raised", "defined", "lowered", "none"):
            story.end(story.running()[0])
            assert story.running() == [label]


class TestUnits:
    def test_each_unit_is_a_limit_of_its_own(self) -> None:
        story = ContainerQuotaStory(gpus=8)
        story.share("a", RESERVE, vcpu=8, memory=1024, gpu=1)
        story.work("m1", "a", memory=512)
        story.work("m2", "a", memory=512)
        story.work("m3", "a", memory=512)
        assert story.running() == ["m1", "m2"]
        story.end("m1")
        assert story.running() == ["m2", "m3"]
        story.end("m2")
        story.work("g1", "a", gpus=1)
        story.work("g2", "a", gpus=1)
        assert story.running() == ["m3", "g1"]

    def test_a_unit_that_the_share_does_not_name_is_not_limited(self) -> None:
        story = ContainerQuotaStory(gpus=8)
        story.share("a", RESERVE, vcpu=4)
        story.work("A", "a", 4, memory=100_000, gpus=8)
        assert story.running() == ["A"]

    def test_quarters_of_a_vcpu_add_up_exactly(self) -> None:
        story = ContainerQuotaStory()
        fargate = container(
            resource_requirements=[
                shapes.ResourceRequirement(type="VCPU", value="0.25"),
                shapes.ResourceRequirement(type="MEMORY", value="512"),
            ],
            execution_role_arn="arn:aws:iam::123456789012:role/execution",
        )
        story.fargate_environment("fargate", 64)
        story.queue("f", ["fargate"], scheduling_policy_arn=policy())
        story.definition("quarter", container_properties=fargate, platform_capabilities=["FARGATE"])
        story.tell(create_share("a", job_queue="f", capacity_limits=units(vcpu=1)))
        for number in range(5):
            story.submit(
                f"A{number}",
                queue="f",
                definition="quarter",
                share_identifier="a",
                overrides=shapes.ContainerOverrides(),
            )
        assert story.running() == ["A0", "A1", "A2", "A3"]
        shown = utilization(story.kernel.state, story.kernel.state.queues["f"], story.now).quota_share_utilization
        assert shown is not None
        [share] = shown.top_capacity_utilization or ()
        assert share.capacity_usage == [shapes.QuotaShareCapacityUsage(capacity_unit="VCPU", quantity=1.0)]

    def test_whoever_exceeds_one_unit_borrows(self) -> None:
        story = ContainerQuotaStory()
        story.share("lender", LEND, vcpu=4, memory=1024)
        story.share("b", BORROW, vcpu=4, memory=1024)
        story.work("own", "b", 1, memory=1024)
        story.work("more", "b", 1, memory=512)
        story.work("too-much", "b", 1, memory=1024)
        assert story.running() == ["own", "more"]
        assert story.history("too-much")[-1][1] == (
            "It needs 1 vCPU and 1024 MiB; quota share b uses 2 of its own 4 vCPU and 1536 of its own 1024 MiB, and"
            " 512 MiB more can be borrowed now."
        )

    def test_the_borrow_limit_holds_for_each_unit(self) -> None:
        story = ContainerQuotaStory()
        story.share("lender", LEND, vcpu=40, memory=10_240)
        story.share("b", sharing("LEND_AND_BORROW", 50), vcpu=8, memory=1024)
        story.work("A", "b", 1, memory=1024)
        story.work("B", "b", 1, memory=512)
        story.work("C", "b", 1)
        assert story.running() == ["A", "B"]
        assert story.history("C")[-1][1] == (
            "It needs 1 vCPU and 128 MiB; quota share b uses 2 of its own 8 vCPU and 1536 of its own 1024 MiB, and may use"
            " 1536 MiB."
        )


class TestWaiting:
    @pytest.mark.parametrize(
        ("configuration", "vcpus", "memory", "text"),
        [
            (
                RESERVE,
                3,
                128,
                "Job requirements exceed quota share capacity limits. It needs 3 vCPU and 128 MiB; quota share",
            ),
            (LEND, 1, 1025, "It needs 1 vCPU and 1025 MiB; quota share a has 1024 MiB."),
            (
                sharing("LEND_AND_BORROW", 100),
                5,
                128,
                "It needs 5 vCPU and 128 MiB; quota share a has 2 vCPU and may borrow 2 vCPU; the others can lend 4 vCPU.",
            ),
            (
                BORROW,
                7,
                128,
                "Job requires borrowing that exceeds all configured borrowable capacity. It needs 7 vCPU and 128 MiB; quota"
                " share a has 2 vCPU and may borrow without limit; the others can lend 4 vCPU.",
            ),
        ],
    )
    def test_what_can_never_run_says_so_and_blocks_nobody(
        self, configuration: Any, vcpus: int, memory: int, text: str
    ) -> None:
        story = ContainerQuotaStory()
        story.share("a", configuration, vcpu=2, memory=1024)
        story.share("b", LEND, vcpu=4)
        story.work("huge", "a", vcpus, memory=memory)
        story.work("small", "a")
        assert story.running() == ["small"]
        reason = story.reason("huge") or ""
        assert reason.startswith(f"{CODE} - Job require")
        assert text in reason
        story.change_share("a", capacity_limits=units(vcpu=8, memory=2048))
        assert story.running() == ["huge", "small"]
        assert story.reason("huge") is None

    def test_what_no_machine_could_run_says_that(self) -> None:
        story = ContainerQuotaStory(vcpus=4)
        story.share("a", vcpu=8)
        story.work("huge", "a", 8)
        assert (story.reason("huge") or "").startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")

    def test_a_time_limit_may_end_what_is_too_large_for_its_share(self, story: ContainerQuotaStory) -> None:
        limit = shapes.JobStateTimeLimitAction(reason=CODE, state="RUNNABLE", max_time_seconds=600, action="CANCEL")
        story.change_queue("q", job_state_time_limit_actions=[limit])
        story.share("a", vcpu=1)
        story.work("huge", "a", 2)
        story.pass_time(601)
        assert story.reason("huge") == f"Canceled by JobStateTimeLimit action due to reason: {CODE}"

    def test_it_is_explained_by_its_share(self) -> None:
        story = ContainerQuotaStory(vcpus=8)
        story.share("a", LEND)
        story.share("b", BORROW)
        story.work("b1", "b", 8)
        story.work("a1", "a", 2)
        story.work("a2", "a")
        why = story.why("a1").text
        assert why.startswith(
            "Is next in quota share a of job queue q. It needs 2 vCPU and 128 MiB, and that much is not"
        )
        assert why.endswith("Quota share a uses 0 of its own 4 vCPU, and what others have borrowed is taken back.")
        assert f"first of them is {story.id('a1')}" in story.why("a2").text
        assert story.why("b1").text == f"Is being preempted: {CROSS}."

    def test_nothing_is_handed_over_ahead(self) -> None:
        story = ContainerQuotaStory(vcpus=1, lead=10)
        story.share("a", vcpu=8)
        story.queue("plain", ["ce"])
        story.submit("short", queue="plain")
        story.begin("short")
        story.pass_time(0.001)
        story.exit("short")
        for label in ("A", "B", "C"):
            story.work(label, "a")
        assert story.running() == ["A"]
        story.end("A")
        assert story.running() == ["B"]

    def test_a_machine_where_work_was_handed_over_ahead_is_left_alone(self) -> None:
        story = ContainerQuotaStory(vcpus=1, lead=10)
        story.share("a", LEND)
        story.share("b", BORROW, vcpu=0)
        story.queue("plain", ["ce"], priority=0)
        story.submit("short", queue="plain")
        story.begin("short")
        story.pass_time(0.001)
        story.exit("short")
        story.work("b1", "b")
        story.submit("ahead", queue="plain")
        assert story.jobs["ahead"].task is not None
        story.work("a1", "a")
        assert story.stopped() == [], "what b1 frees would go to the job that was handed over ahead"
        story.given("start")
        story.pass_time(2)
        story.give_back("ahead")
        story.pass_time(0.1)
        assert story.stopped() == ["b1"]
        story.end("b1", 137)
        assert story.running() == ["a1"]


class TestArrays:
    def test_an_array_stands_in_its_share_once_for_all_its_children(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, vcpu=3)
        story.share("b", RESERVE, vcpu=1)
        story.work("A", "a", array=5)
        story.work("after", "a")
        story.work("other", "b")
        assert story.running() == ["A:0", "A:1", "A:2", "other"]
        [entry] = [entry for entry in story.kernel.state.queues["q"].quota_shares["a"].waiting if entry[3].array]
        assert entry[3] is story.jobs["A"]
        for ends, begins in (("A:0", "A:3"), ("A:1", "A:4"), ("A:2", "after")):
            story.end(ends)
            assert begins in story.running()

    def test_a_child_that_fails_is_tried_again_before_its_siblings(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, vcpu=1)
        story.work("A", "a", array=3, attempts=2)
        story.end("A:0", 1)
        assert story.running() == ["A:0"]
        story.end("A:0")
        assert story.running() == ["A:1"]

    def test_children_wait_for_each_other_as_elsewhere(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, vcpu=4)
        story.work("A", "a", array=2, sequential=True)
        assert story.running() == ["A:0"]
        story.end("A:0")
        assert story.running() == ["A:1"]

    def test_an_array_that_is_too_large_is_set_aside_whole_and_comes_back(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, vcpu=1)
        story.work("A", "a", 2, array=3)
        story.work("small", "a")
        assert story.running() == ["small"]
        assert CODE in (story.reason("A") or "")
        story.change_share("a", capacity_limits=units(vcpu=5))
        assert story.running() == ["small", "A:0", "A:1"]

    def test_cancelling_one_leaves_no_trace_in_the_share(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, vcpu=1)
        story.work("A", "a", array=3)
        story.cancel("A")
        story.work("B", "a")
        story.end("A:0")
        assert story.running() == ["B"]
        story.end("B")
        story.given("start")
        story.over()


class TestConsumableResources:
    def test_who_lacks_one_does_not_start_and_holds_up_only_who_needs_it_too(self, story: ContainerQuotaStory) -> None:
        story.tell(creation("licence", 1))
        story.share("a", RESERVE, vcpu=8)
        story.work("A", "a", **needs(licence=1))
        story.work("two", "a", **needs(licence=2))
        story.work("one", "a", **needs(licence=1))
        story.work("none", "a")
        assert story.running() == ["A", "none"]
        assert story.why("one").text.startswith("Needs 1 of consumable resource licence, of which 0 of 1 are available")
        story.tell(update("licence", "SET", 2))
        assert f"after job {story.id('two')}" in story.why("one").text
        story.end("A")
        assert story.running() == ["two", "none"]
        story.end("two")
        assert story.running() == ["one", "none"]

    def test_priority_counts_in_the_line_for_it(self, story: ContainerQuotaStory) -> None:
        story.tell(creation("licence", 0))
        story.share("a", RESERVE, vcpu=8)
        story.work("low", "a", priority=1, **needs(licence=1))
        story.work("high", "a", priority=2, **needs(licence=1))
        story.tell(update("licence", "SET", 1))
        assert story.running() == ["high"]

    def test_the_last_one_goes_to_one_share(self, story: ContainerQuotaStory) -> None:
        story.tell(creation("licence", 0))
        for name in ("a", "b"):
            story.share(name, RESERVE, vcpu=8)
            story.work(name.upper(), name, **needs(licence=1))
        story.tell(update("licence", "SET", 1))
        assert story.running() == ["A"]
        story.end("A")
        assert story.running() == ["B"]

    def test_an_array_stands_in_the_line_once(self, story: ContainerQuotaStory) -> None:
        story.tell(creation("licence", 2))
        story.share("a", RESERVE, vcpu=8)
        story.work("A", "a", array=4, **needs(licence=1))
        assert story.running() == ["A:0", "A:1"]
        assert figures(story, "licence") == (2, 2, 0)
        story.end("A:0")
        assert story.running() == ["A:1", "A:2"]

    def test_nobody_is_stopped_for_a_job_that_lacks_one(self) -> None:
        story = ContainerQuotaStory(vcpus=4)
        story.tell(creation("licence", 1))
        story.share("b", BORROW, vcpu=0)
        for name, own in (("a", 2), ("c", 1), ("d", 1)):
            story.share(name, LEND, vcpu=own)
        for number in range(4):
            story.work(f"b{number}", "b")
        story.work("none", "d", **needs(licence=2))
        assert story.stopped() == []
        story.work("last", "a", **needs(licence=1))
        assert story.stopped() == ["b3"]
        story.work("late", "c", **needs(licence=1))
        assert story.stopped() == [], "the last one is promised to the job before it"


class TestWhatIsShown:
    def test_the_front_of_each_share(self, story: ContainerQuotaStory) -> None:
        story.tell(creation("licence", 0))
        for name in ("a", "b", "c", "d"):
            story.share(name, RESERVE, vcpu=1)
        story.work("a1", "a")
        story.work("a2", "a")
        story.work("a3", "a", priority=3, array=2)
        story.work("lacks", "b", **needs(licence=1))
        story.work("huge", "c", 2)
        queue = story.kernel.state.queues["q"]
        assert {name: job.arn.rpartition("/")[2] for name, job in front_of_shares(queue, ACCOUNT).items()} == {
            "a": f"{story.id('a3')}:0",
            "b": story.id("lacks"),
            "c": story.id("huge"),
        }
        front = [job.arn.rpartition("/")[2] for job in front_of_queue(queue, ACCOUNT, story.now)]
        array = [f"{story.id('a3')}:{index}" for index in range(2)]
        assert front == [story.id("a2"), *array, story.id("lacks"), story.id("huge")]

    def test_what_each_share_uses_in_its_units(self) -> None:
        story = ContainerQuotaStory(gpus=2)
        story.share("a", vcpu=2, memory=1024)
        story.share("b", vcpu=4, gpu=2)
        story.work("a1", "a", 2, memory=512)
        story.work("b1", "b", 3, memory=256, gpus=1)
        shown = utilization(story.kernel.state, story.kernel.state.queues["q"], story.now)
        assert shown.total_capacity_usage == [shapes.QueueSnapshotCapacityUsage(capacity_unit="VCPU", quantity=5.0)]
        assert shown.fairshare_utilization is None
        assert shown.quota_share_utilization is not None
        assert [
            (share.quota_share_name, {usage.capacity_unit: usage.quantity for usage in share.capacity_usage or ()})
            for share in shown.quota_share_utilization.top_capacity_utilization or ()
        ] == [("b", {"VCPU": 3.0, "GPU": 1}), ("a", {"VCPU": 2.0, "MEMORY": 512})]


def test_submissions_are_refused_without_a_trace(story: ContainerQuotaStory) -> None:
    assert "not found" in story.refused(submission(share_identifier="a"))
