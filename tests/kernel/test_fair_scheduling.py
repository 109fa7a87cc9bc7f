"""Queues with a fair-share policy: whose job starts next (User Guide "Fair-share scheduling policies")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from story import ACCOUNT, Story

from batchyard.kernel.commands import CreateSchedulingPolicy, UpdateSchedulingPolicy
from batchyard.kernel.queue_snapshot import front_of_queue, utilization
from batchyard.shapes import batch as shapes


def policy(
    *, decay: int | None = None, reservation: int | None = None, weights: Mapping[str, float] = {}
) -> shapes.FairsharePolicy:
    return shapes.FairsharePolicy(
        share_decay_seconds=decay,
        compute_reservation=reservation,
        share_distribution=[
            shapes.ShareAttributes(share_identifier=share, weight_factor=weight) for share, weight in weights.items()
        ],
    )


def fair_story(given: shapes.FairsharePolicy, *, vcpus: int = 4) -> Story:
    story = Story(vcpus=vcpus)
    request = shapes.CreateSchedulingPolicyRequest(name="fair", fairshare_policy=given)
    arn = story.tell(CreateSchedulingPolicy(request)).arn
    story.queue("f", ["ce"], scheduling_policy_arn=arn)
    return story


def submit(story: Story, labels: Sequence[str], **members: object) -> None:
    """Jobs whose share is the first letter of their label."""
    for label in labels:
        story.submit(label, queue="f", share_identifier=label[0], **members)


def started(story: Story) -> list[str]:
    """The labels of what has been started since the last call."""
    orders, story._orders = story._orders, []
    return [order.removeprefix("start ").partition("#")[0] for order in orders]


def test_shares_take_turns_though_one_was_first() -> None:
    story = fair_story(policy())
    submit(story, ["busy"], vcpus=4)
    submit(story, ["A1", "A2", "A3", "B1", "B2", "B3"])
    started(story)
    story.run("busy")
    assert started(story) == ["A1", "B1", "A2", "B2"]


def test_a_lower_weight_gets_more() -> None:
    story = fair_story(policy(weights={"A": 1.0, "B": 0.25}), vcpus=5)
    submit(story, ["busy"], vcpus=5)
    submit(story, [f"A{number}" for number in range(5)])
    submit(story, [f"B{number}" for number in range(5)])
    started(story)
    story.run("busy")
    assert Counter(label[0] for label in started(story)) == {"A": 1, "B": 4}


def test_priority_counts_within_a_share_alone() -> None:
    story = fair_story(policy())
    submit(story, ["busy"], vcpus=4)
    submit(story, ["A1", "A2", "B1", "B2"], vcpus=2)
    submit(story, ["A9"], vcpus=2, scheduling_priority_override=9)
    started(story)
    story.run("busy")
    assert started(story) == ["B1", "A9"]


def test_what_was_used_of_late_counts_and_is_forgotten() -> None:
    """A has used 4 vCPU for five minutes; B comes and is served until it has had as much."""
    story = fair_story(policy(decay=600))
    submit(story, ["A0"], vcpus=4)
    story.begin("A0")
    story.pass_time(300)
    submit(story, ["A1", "A2", "B1", "B2"], vcpus=2)
    started(story)
    story.exit("A0")
    assert started(story) == ["B1", "B2"]
    story.begin("B1", "B2")
    story.pass_time(601)
    story.exit("B1")
    assert started(story) == ["A1"]


def test_the_reservation_keeps_room_for_shares_that_are_not_active() -> None:
    """R = 50: with one active share half of the 4 vCPU are kept, with two a quarter."""
    story = fair_story(policy(reservation=50))
    submit(story, ["A1", "A2", "A3"])
    assert started(story) == ["A1", "A2"]
    assert "2 are reserved for shares that are not active yet (computeReservation 50, 1 active)" in story.why("A3").text
    submit(story, ["B1", "B2"])
    assert started(story) == ["B1"]
    story.run("A1")
    assert started(story) == ["B2"]


def test_a_share_with_a_large_job_is_not_starved_by_small_ones() -> None:
    story = fair_story(policy())
    submit(story, ["A1", "A2", "A3"])
    submit(story, ["B1"], vcpus=4)
    submit(story, ["A4", "A5", "A6", "A7"])
    assert started(story) == ["A1", "A2", "A3"]
    story.run("A1", "A2", "A3")
    assert started(story) == ["B1"]


def test_the_snapshot_shows_the_true_order() -> None:
    story = fair_story(policy(weights={"B": 0.5}))
    submit(story, ["busy"], vcpus=4)
    submit(story, ["A1", "A2", "B1", "B2", "B3"])
    queue = story.kernel.state.queues["f"]
    front = [story.label(each.arn.rpartition("/")[2]) for each in front_of_queue(queue, ACCOUNT, story.now)]
    started(story)
    story.run("busy")
    assert started(story) == front[:4]
    shares = utilization(story.kernel.state, queue, story.now).fairshare_utilization
    assert shares is not None
    assert shares.active_share_count == 3


def test_an_updated_policy_holds_from_now_on() -> None:
    story = fair_story(policy())
    submit(story, ["busy"], vcpus=4)
    submit(story, [f"A{number}" for number in range(4)] + [f"B{number}" for number in range(4)])
    arn = story.kernel.state.queues["f"].detail.scheduling_policy_arn or ""
    story.tell(
        UpdateSchedulingPolicy(
            shapes.UpdateSchedulingPolicyRequest(arn=arn, fairshare_policy=policy(weights={"A": 3.0, "B": 1.0}))
        )
    )
    started(story)
    story.run("busy")
    assert Counter(label[0] for label in started(story)) == {"A": 1, "B": 3}


def test_why_a_job_waits_names_its_share() -> None:
    story = fair_story(policy())
    submit(story, ["A1"], vcpus=4)
    story.begin("A1")
    story.pass_time(1800)
    submit(story, ["A2", "B1"])
    text = story.why("A2").text
    assert "1 job is ahead of it in job queue f by fair share" in text
    assert "share A has used 0.333 vCPU-hours of late and has 4 vCPU in flight; it is entitled to 50.0%" in text


@pytest.mark.parametrize("size", [2, 7])
def test_an_array_stands_in_its_share_once(size: int) -> None:
    story = fair_story(policy())
    submit(story, ["busy"], vcpus=4)
    submit(story, ["A1"], array=size)
    submit(story, ["B1", "B2", "B3"])
    started(story)
    story.run("busy")
    assert started(story) == ["A1:0", "B1", "A1:1", "B2"]


def test_who_is_held_back_says_nothing_of_a_newcomer() -> None:
    """A and B may have no more for what is reserved; C has nothing yet, and its first job starts."""
    story = fair_story(policy(reservation=90), vcpus=8)
    submit(story, ["A1", "B1"])
    submit(story, ["A2", "B2"])
    started(story)
    submit(story, ["C1"])
    assert started(story) == ["C1"]
