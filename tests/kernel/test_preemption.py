"""Preemption between and within quota shares (User Guide "Preemption")."""

from __future__ import annotations

from typing import Any

import pytest
from quota_story import LARGE, QuotaStory, limits, sharing

from batchyard.kernel.ordering.quota_share import (
    Claim,
    Ledger,
    Share,
    cross_share_victims,
    in_share_victims,
)
from batchyard.kernel.ordering.rooms import Rooms, Slot, Wanted
from batchyard.kernel.resources import Resources
from batchyard.kernel.training import training_job_arn, training_job_name

CROSS = "Cross-share preemption triggered to reclaim borrowed capacity"
IN_SHARE = "In-share preemption triggered by a job with a higher priority"
BORROW = sharing("LEND_AND_BORROW")


def running(*jobs: tuple[str, str, int, int, int]) -> Ledger:
    """(name, share, instances, priority, start). Share `a` owns 4 and lends; `b` and `c` own 2 each and borrow."""
    shares = [
        Share(name="a", limits={LARGE: 4}, lends=True),
        Share(name="b", limits={LARGE: 2}, lends=True, borrows=True),
        Share(name="c", limits={LARGE: 2}, lends=True, borrows=True),
    ]
    rooms = Rooms(slots=(Slot(LARGE, "m"),), free={"m": Resources(64, 64)}, allowed={LARGE: 8})
    ledger = Ledger(shares={share.name: share for share in shares}, rooms=rooms)
    for name, share, count, priority, start in jobs:
        ledger.add(claim(name, share, count, priority, start))
    return ledger


def claim(name: str, share: str, count: int, priority: int = 0, start: int = 0) -> Claim:
    needs = Wanted(each=Resources(1, 1), tasks=count, draws=1, allowance=LARGE)
    return Claim(job_id=name, share=share, counts={LARGE: count}, priority=priority, wanted=needs, begun=(start, 0))


def wanted(share: str, count: int, priority: int = 0) -> Claim:
    return claim("new", share, count, priority)


class TestVictims:
    @pytest.mark.parametrize(
        ("jobs", "count", "victims"),
        [
            ([("b1", "b", 2, 0, 1), ("c1", "c", 2, 0, 1)], 4, []),
            ([("b1", "b", 3, 0, 1), ("b2", "b", 1, 0, 2), ("c1", "c", 3, 0, 3), ("c2", "c", 1, 0, 9)], 1, ["c2"]),
            ([("b1", "b", 4, 0, 1), ("b2", "b", 1, 0, 2), ("c1", "c", 2, 0, 3), ("c2", "c", 1, 0, 9)], 1, ["b2"]),
            ([("b1", "b", 5, 9, 1), ("c1", "c", 3, 0, 9)], 1, ["b1"]),
            ([("c1", "c", 3, 5, 9), ("c2", "c", 1, 0, 2), ("c3", "c", 2, 0, 1), ("b1", "b", 2, 0, 9)], 1, ["c2"]),
            ([("c1", "c", 3, 5, 9), ("c2", "c", 1, 0, 2), ("c3", "c", 2, 0, 1), ("b1", "b", 2, 0, 9)], 3, ["c2", "c3"]),
            ([("c1", "c", 4, 1, 1), ("c2", "c", 1, 0, 2), ("b1", "b", 3, 0, 9)], 4, ["c1"]),
        ],
        ids=[
            "no-need",
            "latest",
            "most-borrowed-lowest-latest",
            "most-borrowed",
            "lowest",
            "two",
            "the-needless-spared",
        ],
    )
    def test_across_shares(self, jobs: list[tuple[str, str, int, int, int]], count: int, victims: list[str]) -> None:
        assert [victim.job_id for victim in cross_share_victims(running(*jobs), wanted("a", count))] == victims

    @pytest.mark.parametrize(
        ("priority", "count", "victims"),
        [(1, 1, []), (2, 1, ["late"]), (2, 2, ["late", "early"]), (9, 3, ["late", "high"]), (9, 5, [])],
    )
    def test_within_a_share(self, priority: int, count: int, victims: list[str]) -> None:
        ledger = running(("early", "a", 1, 1, 1), ("late", "a", 1, 1, 2), ("high", "a", 2, 2, 3), ("b1", "b", 2, 0, 9))
        ledger.add(claim("c1", "c", 2))
        found = in_share_victims(ledger, wanted("a", count, priority))
        assert [victim.job_id for victim in found] == victims

    def test_nobody_is_stopped_for_a_claim_that_would_not_start_all_the_same(self) -> None:
        ledger = running(("a1", "a", 3, 0, 1), ("b1", "b", 3, 0, 1))
        ledger.rooms.free["m"] = Resources(0, 64)
        assert cross_share_victims(ledger, wanted("a", 1)) != []
        ledger.rooms.free["m"] = Resources(-4, 64)
        assert cross_share_victims(ledger, wanted("a", 1)) == []


def borrowed(story: QuotaStory, **more: Any) -> None:
    """Share `a` has lent its 4 instances to `b`, which has begun b1 and b2 with its own and b3 and b4 with a's."""
    story.share("a", sharing("LEND"))
    story.share("b", BORROW)
    for number in range(1, 5):
        story.train(f"b{number}", "b", 2, **more)
        story.pass_time(1)
    assert story.running() == ["b1", "b2", "b3", "b4"]
    story.given("start")


class TestAcrossShares:
    def test_the_owner_gets_it_back_and_the_victim_waits_again(self) -> None:
        story = QuotaStory()
        borrowed(story, attempts=1)
        story.train("a1", "a", 1)
        assert {order.partition("#")[0] for order in story.given("stop")} == {"b4"}
        assert (story.status("b4"), story.reason("b4")) == ("RUNNING", f"PREEMPTION_IN_PROGRESS: {CROSS}")
        story.train("a2", "a", 1)
        story.pass_time(30)
        assert story.given("stop") == [], "what is being stopped already is enough for both"
        story.end("b4", 137)
        assert story.running() == ["b1", "b2", "b3", "a1", "a2"]
        assert (story.status("b4"), story.reason("b4")) == ("RUNNABLE", CROSS)
        assert story.attempts("b4") == []
        story.begin_all("a1")
        for label in ("a1", "a2"):
            story.end(label)
        assert "b4" in story.running()
        assert {order.partition("#")[2][0] for order in story.given("start") if order.startswith("b4")} == {"2"}
        story.begin_all("b4")
        story.end("b4", 1)
        assert [code for code, _ in story.attempts("b4")] == [1]
        assert story.status("b4") == "FAILED"

    def test_what_is_shown_of_it(self) -> None:
        story = QuotaStory()
        borrowed(story)
        started = story.jobs["b4"].started_at
        story.train("a1", "a", 2)
        story.pass_time(1)
        story.end("b4", 0)
        service = story.jobs["b4"].service
        assert service is not None
        assert service.preemptions == 1
        [attempt] = service.recent_preemptions or ()
        assert (attempt.started_at, attempt.stopped_at, attempt.status_reason) == (started, story.now, CROSS)
        account = story.kernel.state.settings.account
        assert attempt.service_resource_id is not None
        assert attempt.service_resource_id.name == "TrainingJobArn"
        name = training_job_name("b4", story.id("b4"), 1)
        assert attempt.service_resource_id.value == training_job_arn(account, name)

    @pytest.mark.parametrize(("retries", "statuses"), [(0, ["FAILED"]), (1, ["RUNNABLE", "FAILED"])])
    def test_retries_before_termination(self, retries: int, statuses: list[str]) -> None:
        story = QuotaStory(**{LARGE: 2})
        story.share("a", sharing("LEND"), large=1)
        story.share("b", BORROW, large=1)
        story.train("own", "b")
        story.train("victim", "b", preemptions=retries)
        for number, status in enumerate(statuses):
            story.train(f"a{number}", "a")
            story.end("victim", 137)
            assert (story.status("victim"), story.reason("victim")) == (status, CROSS)
            story.end(f"a{number}")
        assert story.running() == ["own"]

    def test_without_a_limit_it_is_tried_again_and_again(self) -> None:
        story = QuotaStory(**{LARGE: 2})
        story.share("a", sharing("LEND"), large=1)
        story.share("b", BORROW, large=1)
        story.train("own", "b")
        story.train("victim", "b")
        for number in range(12):
            story.train(f"a{number}", "a")
            story.end("victim", 137)
            story.end(f"a{number}")
        service = story.jobs["victim"].service
        assert service is not None
        assert (service.preemptions, len(service.recent_preemptions or ())) == (12, 10)
        assert story.running() == ["own", "victim"]

    def test_a_victim_that_is_terminated_while_it_stops_has_failed(self) -> None:
        story = QuotaStory()
        borrowed(story)
        story.train("a1", "a", 2)
        story.stop_training("b4")
        story.end("b4", 137)
        assert (story.status("b4"), story.reason("b4")) == ("FAILED", "stop it")

    def test_borrowers_do_not_preempt(self) -> None:
        story = QuotaStory()
        borrowed(story)
        story.share("c", BORROW, large=0)
        story.train("c1", "c", 1, priority=9)
        story.train("b5", "b", 1, priority=9)
        story.pass_time(60)
        assert story.given("stop") == []

    def test_borrowers_wait_while_an_owner_waits(self) -> None:
        story = QuotaStory()
        borrowed(story)
        story.train("a1", "a", 4)
        story.train("b5", "b", 1)
        assert {order.partition("#")[0] for order in story.given("stop")} == {"b3", "b4"}
        story.end("b3", 137)
        assert story.running() == ["b1", "b2", "b4"]
        story.end("b4", 137)
        assert story.running() == ["b1", "b2", "a1"]

    @pytest.mark.parametrize("strategy", [sharing("RESERVE"), sharing("LEND"), BORROW])
    def test_lower_limits_make_what_runs_above_them_preemptable(self, strategy: Any) -> None:
        story = QuotaStory()
        story.share("a", strategy, large=6)
        story.train("a1", "a", 3)
        story.train("a2", "a", 3)
        story.change_share("a", capacity_limits=limits(large=3))
        story.share("b", sharing("RESERVE"), large=5)
        assert story.given("stop") == [], "nobody claims it yet"
        story.train("b1", "b", 2)
        assert story.given("stop") == [], "there is room"
        story.train("b2", "b", 3)
        assert {order.partition("#")[0] for order in story.given("stop")} == {"a2"}
        story.end("a2", 137)
        assert story.running() == ["a1", "b1", "b2"]

    def test_full_machines_are_a_reason_to_take_back(self) -> None:
        story = QuotaStory(machine=4)
        story.share("a", sharing("LEND"))
        story.share("b", BORROW, large=1)
        story.train("b1", "b")
        story.train("b2", "b")
        assert story.running() == ["b1", "b2"]
        story.train("a1", "a")
        assert {order.partition("#")[0] for order in story.given("stop")} == {"b2"}
        story.train("b3", "b")
        story.end("b2", 137)
        assert story.running() == ["b1", "a1"]


class TestWithinAShare:
    def test_a_higher_priority_preempts_a_lower_one(self) -> None:
        story = QuotaStory()
        story.share("a", sharing("RESERVE"), large=2, in_share="ENABLED")
        story.train("low", "a", priority=1)
        story.train("middle", "a", priority=2)
        story.train("equal", "a", priority=1)
        assert story.given("stop") == []
        story.train("high", "a", priority=5)
        assert {order.partition("#")[0] for order in story.given("stop")} == {"low"}
        assert story.reason("low") == f"PREEMPTION_IN_PROGRESS: {IN_SHARE}"
        story.end("low", 0)
        assert (story.status("low"), story.reason("low")) == ("RUNNABLE", IN_SHARE)
        assert story.running() == ["middle", "high"]

    def test_only_where_it_is_enabled(self) -> None:
        story = QuotaStory()
        story.share("a", sharing("RESERVE"), large=1, in_share="DISABLED")
        story.train("low", "a", priority=1)
        story.train("high", "a", priority=5)
        assert story.given("stop") == []
        enabled = story.kernel.state.queues["q"].quota_shares["a"].detail.preemption_configuration
        assert enabled is not None
        story.prioritise("low", 7)
        story.change_share("a", preemption_configuration=type(enabled)(in_share_preemption="ENABLED"))
        assert story.given("stop") == []
        story.prioritise("high", 8)
        assert len(story.given("stop")) == 1
