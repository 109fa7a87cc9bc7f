"""Quota shares as resources: what may be created, changed and deleted (User Guide "Quota shares")."""

from __future__ import annotations

from typing import Any

import pytest
from quota_story import (
    LARGE,
    XLARGE,
    QuotaStory,
    arn_of,
    create_share,
    environment,
    limits,
    policy,
    sharing,
    training_queue,
    update_share,
)
from story import ACCOUNT, Story

from batchyard.kernel.commands import ChangeTags, DeleteJobQueue, DeleteQuotaShare
from batchyard.kernel.tagging import tags_of
from batchyard.shapes import batch as shapes


@pytest.fixture
def story() -> QuotaStory:
    return QuotaStory(**{LARGE: 8, XLARGE: 2})


def detail(story: Story, name: str = "a") -> shapes.DescribeQuotaShareResponse:
    return story.kernel.state.queues["q"].quota_shares[name].detail


def test_created_then_valid(story: QuotaStory) -> None:
    answer = story.tell(create_share("a", tags={"team": "vision"}))
    arn = ACCOUNT.arn("job-queue/q/quota-share/a")
    assert (answer.quota_share_name, answer.quota_share_arn) == ("a", arn)
    assert (detail(story).state, detail(story).status) == ("ENABLED", "CREATING")
    story.pass_time(0.001)
    assert detail(story) == shapes.DescribeQuotaShareResponse(
        quota_share_name="a",
        quota_share_arn=arn,
        job_queue_arn=ACCOUNT.arn("job-queue/q"),
        capacity_limits=limits(large=4),
        resource_sharing_configuration=sharing("LEND"),
        preemption_configuration=shapes.QuotaSharePreemptionConfiguration(in_share_preemption="DISABLED"),
        state="ENABLED",
        status="VALID",
        tags={"team": "vision"},
    )
    assert story.refused(create_share("a")) == "Object already exists"


def test_borrowing_has_no_limit_by_default(story: QuotaStory) -> None:
    story.share("a", sharing("LEND_AND_BORROW"))
    assert detail(story).resource_sharing_configuration == sharing("LEND_AND_BORROW", -1)
    story.share("b", sharing("LEND_AND_BORROW", 200))
    assert detail(story, "b").resource_sharing_configuration == sharing("LEND_AND_BORROW", 200)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("quotaShareName should match valid pattern", {"quota_share_name": "a b"}),
        ("JobQueue none not found.", {"job_queue": "none"}),
        ("has no quota share policy", {"job_queue": "plain"}),
        ("capacityLimits must have 1 to 5 entries, got 0", {"capacity_limits": []}),
        ("cannot name a capacityUnit twice", {"capacity_limits": limits(large=1) * 2}),
        (
            "capacityUnit 'NUM_INSTANCES' is none of the service environment's (ml.m5.large, ml.m5.xlarge)",
            {"capacity_limits": [shapes.QuotaShareCapacityLimit(max_capacity=1, capacity_unit="NUM_INSTANCES")]},
        ),
        ("maxCapacity must not be negative, got -1", {"capacity_limits": limits(large=-1)}),
        ("borrowLimit can only be used", {"resource_sharing_configuration": sharing("RESERVE", 100)}),
        ("borrowLimit can only be used", {"resource_sharing_configuration": sharing("LEND", -1)}),
        (
            "borrowLimit must be at least -1, got -2",
            {"resource_sharing_configuration": sharing("LEND_AND_BORROW", -2)},
        ),
        ("reserved prefix", {"tags": {"aws:x": "1"}}),
    ],
)
def test_refused_creations(story: QuotaStory, text: str, members: dict[str, Any]) -> None:
    story.environment("ce")
    story.queue("plain", ["ce"])
    assert text in story.refused(create_share("a", **members))


def test_the_queue_must_be_valid_and_has_room_for_twenty(story: QuotaStory) -> None:
    for number in range(20):
        story.share(f"s{number}")
    assert story.refused(create_share("a")) == "A job queue cannot have more than 20 quota shares"
    story.tell(update_share("s0", state="DISABLED"))
    story.pass_time(0.01)
    story.tell(DeleteQuotaShare(arn_of("s0")))
    story.pass_time(0.01)
    story.share("a")
    story.change_queue("q", state="DISABLED")
    story.tell(DeleteJobQueue("q"))
    assert "must be VALID, it is DELETING" in story.refused(create_share("b"))
    story.pass_time(0.01)
    assert "q" not in story.kernel.state.queues


def test_updated_then_valid_again(story: QuotaStory) -> None:
    story.share("a")
    enabled = shapes.QuotaSharePreemptionConfiguration(in_share_preemption="ENABLED")
    story.tell(
        update_share(
            "a",
            capacity_limits=limits(large=1, xlarge=2),
            resource_sharing_configuration=sharing("LEND_AND_BORROW", 50),
            preemption_configuration=enabled,
            state="DISABLED",
        )
    )
    changed = detail(story)
    assert (changed.state, changed.status) == ("DISABLED", "UPDATING")
    assert story.refused(update_share("a", state="ENABLED")) == "Cannot update, resource is being modified"
    assert story.refused(DeleteQuotaShare(arn_of("a"))) == "Cannot delete, resource is being modified"
    story.pass_time(0.001)
    assert detail(story).status == "VALID"
    assert detail(story).capacity_limits == limits(large=1, xlarge=2)
    assert detail(story).resource_sharing_configuration == sharing("LEND_AND_BORROW", 50)
    assert detail(story).preemption_configuration == enabled
    assert "must have 1 to 5" in story.refused(update_share("a", capacity_limits=[]))
    assert "borrowLimit" in story.refused(update_share("a", resource_sharing_configuration=sharing("RESERVE", 1)))
    assert "not found" in story.refused(update_share("nobody", state="DISABLED"))


def test_deleted_when_disabled_and_its_jobs_are_ended(story: QuotaStory) -> None:
    story.share("a")
    story.train("runs", "a")
    assert story.refused(DeleteQuotaShare(arn_of("a"))) == "Cannot delete, state must be DISABLED"
    story.tell(update_share("a", state="DISABLED"))
    story.pass_time(0.01)
    assert "is not enabled" in story.refused(story.training("late", "a"))
    story.tell(DeleteQuotaShare(arn_of("a")))
    story.pass_time(0.01)
    assert detail(story).status == "DELETING"
    assert story.refused(story.training("late", "a")) == "Quota share a not found."
    assert story.given("stop") != []
    story.given("start")
    story.end("runs", 137)
    assert (story.status("runs"), story.reason("runs")) == ("FAILED", "QuotaShare deleted")
    story.pass_time(0.01)
    assert story.kernel.state.queues["q"].quota_shares == {}
    story.tell(DeleteQuotaShare(arn_of("a")))
    story.over()


def test_submissions_name_a_quota_share(story: QuotaStory) -> None:
    story.share("a")
    assert "quotaShareName is required" in story.refused(story.training("x", None))
    assert story.refused(story.training("x", "b")) == "Quota share b not found."
    assert "shareIdentifier cannot be used" in story.refused(story.training("x", "a", share_identifier="b"))


def test_tags(story: QuotaStory) -> None:
    story.share("a", tags={"a": "1"})
    story.tell(ChangeTags(arn=arn_of("a"), add={"b": "2"}, remove=["a"]))
    assert tags_of(story.kernel.state, arn_of("a")) == {"b": "2"}


def test_a_training_queue_with_the_policy_has_an_environment_of_its_own(story: QuotaStory) -> None:
    story.tell(environment("counted", NUM_INSTANCES=2))
    story.pass_time(0.01)
    assert "needs a service environment with limits for instance types" in story.refused(
        training_queue("x", "counted", policy())
    )
    assert "serves job queue q" in story.refused(training_queue("x", "se", policy()))
    assert "serves job queue q" in story.refused(training_queue("x", "se", None))
    story.tell(training_queue("x", "counted", None))
    story.tell(training_queue("y", "counted", None))
    assert "needs limits for instance types" in story.refused(story.new_limits(NUM_INSTANCES=2))
