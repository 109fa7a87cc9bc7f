"""Scheduling policies: their rules, and what a queue with one takes."""

from __future__ import annotations

from typing import Any

import pytest
from story import ACCOUNT, Story, order_of, submission

from batchyard.kernel.commands import (
    ChangeTags,
    CreateJobQueue,
    CreateSchedulingPolicy,
    DeleteSchedulingPolicy,
    UpdateJobQueue,
    UpdateSchedulingPolicy,
)
from batchyard.shapes import batch as shapes


def arn_of(name: str) -> str:
    return ACCOUNT.arn(f"scheduling-policy/{name}")


def creation(name: str = "fair", **members: Any) -> CreateSchedulingPolicy:
    return CreateSchedulingPolicy(shapes.CreateSchedulingPolicyRequest(name=name, **members))


def fairshare(*entries: tuple[str, float | None], decay: int | None = None, reservation: int | None = None) -> Any:
    return shapes.FairsharePolicy(
        share_decay_seconds=decay,
        compute_reservation=reservation,
        share_distribution=[shapes.ShareAttributes(share_identifier=s, weight_factor=w) for s, w in entries],
    )


def fair_queue(story: Story, name: str = "fair") -> None:
    story.tell(creation(name))
    story.queue(name, ["ce"], scheduling_policy_arn=arn_of(name))


def quota_policy() -> shapes.QuotaSharePolicy:
    return shapes.QuotaSharePolicy(idle_resource_assignment_strategy="FIFO")


class TestRules:
    def test_the_edges_of_every_range_are_taken(self) -> None:
        story = Story()
        story.tell(creation("low", fairshare_policy=fairshare(("a", 0.0001), decay=0, reservation=0)))
        story.tell(creation("high", fairshare_policy=fairshare(("a", 999.9999), decay=604800, reservation=99)))

    def test_defaults_are_filled_in(self) -> None:
        story = Story()
        answer = story.tell(creation("plain", fairshare_policy=fairshare(("a", None))))
        assert (answer.name, answer.arn) == ("plain", arn_of("plain"))
        story.tell(creation("bare"))
        policies = story.kernel.state.scheduling_policies
        assert policies["plain"].fairshare_policy == fairshare(("a", 1.0), decay=0, reservation=0)
        assert policies["bare"].fairshare_policy == fairshare(decay=0, reservation=0)

    @pytest.mark.parametrize(
        ("policy", "text"),
        [
            (fairshare(decay=604801), "shareDecaySeconds must be between 0 and 604800, got 604801"),
            (fairshare(decay=-1), "shareDecaySeconds must be between 0 and 604800, got -1"),
            (fairshare(reservation=100), "computeReservation must be between 0 and 99, got 100"),
            (fairshare(reservation=-1), "computeReservation must be between 0 and 99, got -1"),
            (fairshare(("a", 0.00001)), "weightFactor must be between 0.0001 and 999.9999, got 1e-05"),
            (fairshare(("a", 1000)), "weightFactor must be between 0.0001 and 999.9999, got 1000"),
            (fairshare(("a-b", 1)), "shareIdentifier 'a-b' must be 1 to 255 letters and digits"),
            (fairshare(("", 1)), "shareIdentifier '' must be"),
            (fairshare(("*", 1)), "shareIdentifier '*' must be"),
            (fairshare(("a*b", 1)), "shareIdentifier 'a*b' must be"),
            (fairshare(("é", 1)), "shareIdentifier 'é' must be"),
            (fairshare(("a" * 256, 1)), "must be 1 to 255 letters and digits"),
        ],
    )
    def test_what_is_out_of_range_is_refused(self, policy: shapes.FairsharePolicy, text: str) -> None:
        story = Story()
        assert text in story.refused(creation(fairshare_policy=policy))
        story.tell(creation("there"))
        update = shapes.UpdateSchedulingPolicyRequest(arn=arn_of("there"), fairshare_policy=policy)
        assert text in story.refused(UpdateSchedulingPolicy(update))

    @pytest.mark.parametrize(
        "identifiers",
        [
            ["UserA*", "UserA1"],
            ["UserA1", "UserA*"],
            ["UserA*", "UserA"],
            ["UserA", "UserA"],
            ["User*", "UserA*"],
            ["User*", "UserZ", "Other", "User"],
            ["User*", "User*"],
        ],
    )
    def test_identifiers_that_overlap_are_refused(self, identifiers: list[str]) -> None:
        policy = fairshare(*((identifier, 1.0) for identifier in identifiers))
        assert "Share identifiers cannot overlap" in Story().refused(creation(fairshare_policy=policy))

    def test_identifiers_that_are_only_alike_are_taken(self) -> None:
        identifiers = ["UserA*", "UserB", "UserB1", "usera", "User", "UserC*"]
        Story().tell(creation(fairshare_policy=fairshare(*((identifier, 1.0) for identifier in identifiers))))

    def test_names(self) -> None:
        story = Story()
        story.tell(creation("there"))
        assert story.refused(creation("there")) == "Object already exists"
        assert story.refused(creation("no/slash")) == "name should match valid pattern"
        assert "aws:" in story.refused(creation("tagged", tags={"aws:x": "y"}))


class TestKinds:
    def test_only_one_kind_at_a_time(self) -> None:
        both = creation(fairshare_policy=fairshare(), quota_share_policy=quota_policy())
        assert Story().refused(both) == "Only one of fairsharePolicy and quotaSharePolicy can be given"

    def test_the_kind_is_for_life(self) -> None:
        story = Story()
        story.tell(creation("fair"))
        story.tell(creation("quota", quota_share_policy=quota_policy()))
        to_quota = shapes.UpdateSchedulingPolicyRequest(arn=arn_of("fair"), quota_share_policy=quota_policy())
        to_fair = shapes.UpdateSchedulingPolicyRequest(arn=arn_of("quota"), fairshare_policy=fairshare())
        assert "cannot be changed" in story.refused(UpdateSchedulingPolicy(to_quota))
        assert "cannot be changed" in story.refused(UpdateSchedulingPolicy(to_fair))

    def test_an_update_replaces_the_whole(self) -> None:
        story = Story()
        story.tell(creation("fair", fairshare_policy=fairshare(("a", 2), decay=60, reservation=10)))
        update = shapes.UpdateSchedulingPolicyRequest(arn=arn_of("fair"), fairshare_policy=fairshare(("b", 3)))
        story.tell(UpdateSchedulingPolicy(update))
        policy = story.kernel.state.scheduling_policies["fair"].fairshare_policy
        assert policy == fairshare(("b", 3), decay=0, reservation=0)

    def test_an_unknown_policy(self) -> None:
        story = Story()
        for arn in ("fair", arn_of("fair"), "arn:aws:batch:eu-west-1:999999999999:scheduling-policy/fair"):
            update = UpdateSchedulingPolicy(shapes.UpdateSchedulingPolicyRequest(arn=arn))
            assert story.refused(update) == f"SchedulingPolicy {arn} not found."
            story.tell(DeleteSchedulingPolicy(arn))


class TestQueues:
    def test_a_policy_in_use_is_not_deleted(self) -> None:
        story = Story()
        fair_queue(story)
        deletion = DeleteSchedulingPolicy(arn_of("fair"))
        assert story.refused(deletion) == "Cannot delete, found existing JobQueue relationship (fair)"
        story.delete_queue("fair")
        story.pass_time(0.01)
        story.tell(deletion)
        assert story.kernel.state.scheduling_policies == {}

    def test_a_queue_cannot_be_given_an_unknown_policy(self) -> None:
        story = Story()
        request = shapes.CreateJobQueueRequest(
            job_queue_name="x", priority=1, compute_environment_order=order_of(["ce"]), scheduling_policy_arn="fair"
        )
        assert story.refused(CreateJobQueue(request)) == "SchedulingPolicy fair not found."

    def test_a_policy_is_replaced_but_never_added_or_removed(self) -> None:
        story = Story()
        fair_queue(story)
        story.tell(creation("other"))
        story.tell(creation("quota", quota_share_policy=quota_policy()))

        def update(queue: str, arn: str) -> UpdateJobQueue:
            return UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue=queue, scheduling_policy_arn=arn))

        assert "cannot be added" in story.refused(update("q", arn_of("fair")))
        assert "not removed" in story.refused(update("fair", ""))
        assert "same kind" in story.refused(update("fair", arn_of("quota")))
        assert "not found" in story.refused(update("fair", arn_of("nobody")))
        story.change_queue("fair", scheduling_policy_arn=arn_of("other"))
        assert story.kernel.state.queues["fair"].detail.scheduling_policy_arn == arn_of("other")
        story.change_queue("q", scheduling_policy_arn="")

    def test_tags(self) -> None:
        story = Story()
        story.tell(creation("fair", tags={"a": "1"}))
        story.tell(ChangeTags(arn=arn_of("fair"), add={"b": "2"}))
        story.tell(ChangeTags(arn=arn_of("fair"), remove=["a"]))
        assert story.kernel.state.scheduling_policies["fair"].tags == {"b": "2"}


class TestSubmissions:
    def test_a_fair_share_queue_requires_an_identifier(self) -> None:
        story = Story()
        fair_queue(story)
        text = story.refused(submission(job_queue="fair"))
        assert text.startswith("shareIdentifier is required: job queue arn:aws:batch:")
        for bad in ("a-b", "é", "a" * 256, "a*"):
            text = story.refused(submission(job_queue="fair", share_identifier=bad))
            assert text == "shareIdentifier must be 1 to 255 letters and digits"

    @pytest.mark.parametrize("members", [{"share_identifier": "a"}, {"scheduling_priority_override": 3}])
    def test_a_fifo_queue_takes_neither_identifier_nor_priority(self, members: dict[str, Any]) -> None:
        text = Story().refused(submission(**members))
        assert text == (
            "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share"
            " scheduling policy."
        )

    def test_identifier_and_priority_are_kept(self) -> None:
        story = Story()
        fair_queue(story)
        story.submit("A", queue="fair", share_identifier="blue", scheduling_priority_override=7)
        assert (story.jobs["A"].share, story.jobs["A"].priority) == ("blue", 7)
        detail = story.details["A"]
        assert (detail.share_identifier, detail.scheduling_priority) == ("blue", 7)

    def test_children_of_an_array_have_the_identifier_of_their_parent(self) -> None:
        story = Story()
        fair_queue(story)
        story.submit("A", queue="fair", share_identifier="blue", array=2)
        assert story.jobs["A:0"].share == "blue"
        assert story.kernel.state.queues["fair"].shares == {"blue": 1}

    def test_at_most_500_identifiers_are_active(self) -> None:
        story = Story()
        fair_queue(story)
        for number in range(500):
            story.submit(f"J{number}", queue="fair", share_identifier=f"share{number}")
        text = story.refused(submission(job_queue="fair", share_identifier="another"))
        assert "has 500 active share identifiers" in text
        story.submit("again", queue="fair", share_identifier="share499")
        story.cancel("J77")
        story.pass_time(600)
        story.submit("new", queue="fair", share_identifier="another")
