"""Preemption of container jobs in quota shares: who is stopped, what becomes of the attempt, and what is kept of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from container_quota_story import BORROW, CROSS, IN_SHARE, LEND, RESERVE, ContainerQuotaStory, units
from test_consumable_resources import creation, figures, needs

from batchyard.kernel.identifiers import task_arn
from batchyard.kernel.ordering.quota_share import Claim, Ledger, Share, cross_share_victims, next_to_start
from batchyard.kernel.ordering.rooms import Rooms, Slot, Wanted
from batchyard.kernel.resources import Resources
from batchyard.store.store import Store

IN_PROGRESS = "PREEMPTION_IN_PROGRESS: "


class TestArithmetic:
    """Shares of several units: `a` lends 4 vCPU and 100 MiB, `b` and `c` own 2 vCPU and 50 MiB each and borrow."""

    def ledger(self, *jobs: tuple[str, str, int, int]) -> Ledger:
        """(name, share, vCPU, MiB)."""
        own = {"a": (4000, 100), "b": (2000, 50), "c": (2000, 50)}
        shares = {
            name: Share(name=name, limits={"VCPU": vcpu, "MEMORY": memory}, lends=True, borrows=name != "a")
            for name, (vcpu, memory) in own.items()
        }
        rooms = Rooms(slots=(Slot("ce", "m"),), free={"m": Resources(8000, 200)}, allowed={"ce": 8000})
        ledger = Ledger(shares=shares, rooms=rooms)
        for number, job in enumerate(jobs):
            ledger.add(self.claim(*job, begun=number))
        return ledger

    def claim(self, name: str, share: str, vcpus: int, memory: int, begun: int = 0) -> Claim:
        each = Resources(1000 * vcpus, memory)
        counts = {"VCPU": each.milli_vcpus, "MEMORY": memory}
        wanted = Wanted(each=each, draws=each.milli_vcpus)
        return Claim(job_id=name, share=share, counts=counts, wanted=wanted, begun=(begun, 0))

    @pytest.mark.parametrize(
        ("jobs", "wanted", "victims"),
        [
            ([("b1", "b", 4, 10), ("c1", "c", 1, 90)], (4, 20), ["b1"]),
            ([("b1", "b", 3, 10), ("b2", "b", 1, 10), ("c1", "c", 1, 140)], (1, 60), ["c1"]),
            ([("b1", "b", 4, 10), ("c1", "c", 4, 140)], (1, 60), ["c1"]),
            ([("b1", "b", 5, 10), ("c1", "c", 3, 40)], (1, 60), ["b1"]),
        ],
        ids=["the-vcpus-lack", "the-memory-lacks", "most-of-any-unit", "the-larger-part"],
    )
    def test_who_gives_back(
        self, jobs: list[tuple[str, str, int, int]], wanted: tuple[int, int], victims: list[str]
    ) -> None:
        found = cross_share_victims(self.ledger(*jobs), self.claim("new", "a", *wanted))
        assert [victim.job_id for victim in found] == victims

    def test_what_is_idle_is_counted_by_unit(self) -> None:
        ledger = self.ledger(("b1", "b", 3, 10), ("c1", "c", 1, 80))
        assert (ledger.idle("VCPU"), ledger.idle("MEMORY")) == (4000, 110)
        assert (ledger.borrowed("b", "VCPU"), ledger.borrowed("b", "MEMORY")) == (1000, 0)
        assert (ledger.borrowed("c", "VCPU"), ledger.borrowed("c", "MEMORY")) == (0, 30)

    def test_nobody_borrows_of_a_unit_that_an_owner_waits_for(self) -> None:
        ledger = self.ledger(("b1", "b", 2, 10), ("other", "c", 2, 10))
        ledger.rooms.free["m"] = Resources(3000, 200)
        waits, borrows = self.claim("a1", "a", 4, 10), self.claim("b2", "b", 1, 10)
        assert next_to_start(ledger, [borrows]) is borrows
        assert next_to_start(ledger, [waits, borrows]) is None


def borrowed(story: ContainerQuotaStory, **more: object) -> None:
    """Share `a` has lent 4 vCPU to `b`, which has begun b1 and b2 with its own and b3 and b4 with a's."""
    story.share("a", LEND)
    story.share("b", BORROW)
    for number in range(1, 5):
        story.work(f"b{number}", "b", 2, **more)  # type: ignore[arg-type]
        story.pass_time(1)
    assert story.running() == ["b1", "b2", "b3", "b4"]
    story.given("start")


@pytest.fixture
def story() -> ContainerQuotaStory:
    return ContainerQuotaStory(vcpus=8)


class TestAcrossShares:
    def test_the_owner_gets_it_back_and_the_victim_waits_again(self, story: ContainerQuotaStory) -> None:
        borrowed(story, attempts=1)
        story.work("a1", "a", 1)
        assert story.given("stop") == ["b4#1 30"]
        assert (story.status("b4"), story.reason("b4")) == ("RUNNING", IN_PROGRESS + CROSS)
        story.work("a2", "a", 1)
        story.pass_time(30)
        assert story.given("stop") == [], "what is being stopped already is enough for both"
        story.end("b4", 143)
        assert story.running() == ["b1", "b2", "b3", "a1", "a2"]
        assert (story.status("b4"), story.reason("b4")) == ("RUNNABLE", CROSS)
        assert story.attempts("b4") == []
        assert story.history("b4")[-2:] == [("RUNNING", None), ("RUNNABLE", CROSS)]
        for label in ("a1", "a2"):
            story.end(label)
        assert "b4" in story.running()
        assert "b4#2" in story.given("start")
        story.end("b4", 1)
        assert story.attempts("b4") == [(1, "Essential container in task exited")]
        assert story.status("b4") == "FAILED"

    def test_what_is_kept_of_the_attempt(self, story: ContainerQuotaStory) -> None:
        borrowed(story)
        started = story.jobs["b4"].started_at
        story.work("a1", "a", 2)
        task = story.jobs["b4"].task
        assert task is not None
        story.pass_time(1)
        story.end("b4", 143)
        kept = story.jobs["b4"].preemptions
        assert kept is not None
        assert (kept.count, kept.retries) == (1, None)
        [attempt] = kept.recent or ()
        assert (attempt.started_at, attempt.stopped_at, attempt.status_reason) == (started, story.now, CROSS)
        assert attempt.container is not None
        assert attempt.container.exit_code == 143
        assert attempt.container.task_arn == task_arn(story.kernel.state.settings.account, "ce", task.id)
        assert attempt.container.log_stream_name == f"work/default/{task.id}"

    def test_a_program_that_ends_well_meanwhile_has_succeeded(self, story: ContainerQuotaStory) -> None:
        borrowed(story)
        story.work("a1", "a", 2)
        assert story.stopped() == ["b4"]
        story.end("b4", 0)
        assert (story.status("b4"), story.reason("b4")) == ("SUCCEEDED", "Essential container in task exited")
        assert story.attempts("b4") == [(0, "Essential container in task exited")]
        assert "a1" in story.running()

    @pytest.mark.parametrize(("retries", "statuses"), [(0, ["FAILED"]), (1, ["RUNNABLE", "FAILED"])])
    def test_how_often(self, retries: int, statuses: list[str]) -> None:
        story = ContainerQuotaStory(vcpus=2)
        story.share("a", LEND, vcpu=1)
        story.share("b", BORROW, vcpu=1)
        story.work("own", "b")
        story.work("victim", "b", preemptions=retries, attempts=5)
        for number, status in enumerate(statuses):
            story.work(f"a{number}", "a")
            story.end("victim", 143)
            assert (story.status("victim"), story.reason("victim")) == (status, CROSS)
            story.end(f"a{number}")
        assert story.running() == ["own"]

    def test_without_a_limit_it_is_tried_again_and_again(self) -> None:
        story = ContainerQuotaStory(vcpus=2)
        story.share("a", LEND, vcpu=1)
        story.share("b", BORROW, vcpu=1)
        story.work("own", "b")
        story.work("victim", "b")
        for number in range(12):
            story.work(f"a{number}", "a")
            story.end("victim", 143)
            story.end(f"a{number}")
        kept = story.jobs["victim"].preemptions
        assert kept is not None
        assert (kept.count, len(kept.recent or ())) == (12, 10)
        assert story.running() == ["own", "victim"]

    def test_a_victim_that_is_terminated_while_it_stops_has_failed(self, story: ContainerQuotaStory) -> None:
        borrowed(story)
        story.work("a1", "a", 2)
        story.terminate("b4")
        story.end("b4", 143)
        assert (story.status("b4"), story.reason("b4")) == ("FAILED", "stop it")

    def test_a_victim_whose_host_fails_has_been_preempted(self, story: ContainerQuotaStory) -> None:
        borrowed(story)
        story.work("a1", "a", 2)
        story.lose("b4")
        assert (story.status("b4"), story.reason("b4"), story.attempts("b4")) == ("RUNNABLE", CROSS, [])

    def test_a_victim_that_had_not_begun_waits_again(self, story: ContainerQuotaStory) -> None:
        story.tell(creation("once", 5, resource_type="NON_REPLENISHABLE"))
        story.share("a", LEND)
        story.share("b", BORROW)
        story.work("b1", "b", 4)
        story.submit("b2", vcpus=4, share_identifier="b", **needs(once=2))
        assert (story.status("b2"), figures(story, "once")) == ("STARTING", (3, 0, 3))
        story.submit("a1", vcpus=4, share_identifier="a")
        assert story.stopped() == ["b2"]
        story.unknown("b2")
        assert (story.status("b2"), figures(story, "once")) == ("RUNNABLE", (5, 0, 5))

    def test_one_that_begins_while_it_is_stopped_still_says_so(self, story: ContainerQuotaStory) -> None:
        story.share("a", LEND)
        story.share("b", BORROW)
        story.submit("b1", vcpus=8, share_identifier="b")
        story.submit("a1", vcpus=4, share_identifier="a")
        story.begin("b1")
        assert (story.status("b1"), story.reason("b1")) == ("RUNNING", IN_PROGRESS + CROSS)

    def test_lower_limits_make_what_runs_above_them_preemptable(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, vcpu=6)
        story.work("a1", "a", 3)
        story.work("a2", "a", 3)
        story.change_share("a", capacity_limits=units(vcpu=3))
        story.share("b", RESERVE, vcpu=5)
        assert story.stopped() == [], "nobody claims it yet"
        story.work("b1", "b", 5)
        assert story.stopped() == ["a2"]

    def test_maximum_vcpus_are_a_reason_to_take_back(self) -> None:
        story = ContainerQuotaStory(vcpus=64, max_vcpus=4)
        story.share("a", LEND, vcpu=2)
        story.share("b", BORROW, vcpu=2)
        story.work("b1", "b", 2)
        story.work("b2", "b", 2)
        story.work("a1", "a", 1)
        assert story.stopped() == ["b2"]

    def test_nothing_is_stopped_where_other_queues_have_the_room(self, story: ContainerQuotaStory) -> None:
        story.queue("plain", ["ce"], priority=9)
        story.submit("plain", queue="plain", vcpus=6)
        story.share("a", LEND)
        story.share("b", BORROW, vcpu=1)
        story.work("b1", "b", 2)
        story.work("a1", "a", 4)
        assert story.stopped() == []


class TestArrays:
    def test_children_are_preempted_one_by_one(self, story: ContainerQuotaStory) -> None:
        story.share("a", LEND)
        story.share("b", BORROW)
        story.work("B", "b", array=10, preemptions=1)
        assert len(story.running()) == 8
        story.work("a1", "a", 2)
        assert story.stopped() == ["B:7", "B:6"]
        assert story.reason("B:7") == IN_PROGRESS + CROSS
        for label in ("B:6", "B:7"):
            story.end(label, 143)
        assert (story.status("B:7"), story.reason("B:7")) == ("RUNNABLE", CROSS)
        assert story.summary("B") == {"RUNNABLE": 4, "RUNNING": 6}
        story.end("a1")
        assert {"B:6", "B:7"} <= set(story.running()), "children that come back are before their siblings"
        story.work("a2", "a", 1)
        [victim] = story.stopped()
        assert victim in ("B:6", "B:7")
        story.end(victim, 143)
        assert (story.status(victim), story.reason(victim)) == ("FAILED", CROSS)
        other = {"B:6": "B:7", "B:7": "B:6"}[victim]
        kept = story.jobs[other].preemptions
        assert kept is not None
        assert (kept.retries, kept.count) == (1, 1)

    def test_a_child_of_a_cancelled_array_is_not_tried_again(self, story: ContainerQuotaStory) -> None:
        story.share("a", LEND)
        story.share("b", BORROW)
        story.work("B", "b", 4, array=2)
        story.cancel("B")
        story.work("a1", "a", 1)
        assert story.stopped() == ["B:1"]
        story.end("B:1", 143)
        assert (story.status("B:1"), story.reason("B:1")) == ("FAILED", CROSS)
        story.end("B:0")
        assert story.status("B") == "FAILED"


class TestWithinAShare:
    def test_a_higher_priority_preempts_a_lower_one(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, in_share="ENABLED", vcpu=2)
        story.work("low", "a", priority=1)
        story.work("middle", "a", priority=2)
        story.work("equal", "a", priority=1)
        assert story.stopped() == []
        story.work("high", "a", priority=5)
        assert story.stopped() == ["low"]
        assert story.reason("low") == IN_PROGRESS + IN_SHARE
        story.end("low", 143)
        assert (story.status("low"), story.reason("low")) == ("RUNNABLE", IN_SHARE)
        assert story.running() == ["middle", "high"]

    def test_only_where_it_is_enabled(self, story: ContainerQuotaStory) -> None:
        story.share("a", RESERVE, vcpu=1)
        story.work("low", "a", priority=1)
        story.work("high", "a", priority=5)
        assert story.stopped() == []


class TestConsumableResources:
    def test_what_a_victim_held_comes_back(self, story: ContainerQuotaStory) -> None:
        story.tell(creation("licence", 1))
        story.tell(creation("once", 5, resource_type="NON_REPLENISHABLE"))
        story.share("a", LEND)
        story.share("b", BORROW)
        story.work("b1", "b", 8, **needs(licence=1, once=2))
        story.work("a1", "a", 4)
        story.end("b1", 143)
        assert (figures(story, "licence"), figures(story, "once")) == ((1, 0, 1), (3, 0, 3))


def test_preemptions_survive_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "batchyard.db")
    store.open()
    loop = asyncio.new_event_loop()
    story = ContainerQuotaStory(
        vcpus=8, save=lambda effects: loop.run_until_complete(store.save(effects)) if effects.durable else None
    )
    borrowed(story, preemptions=1)
    story.work("more", "b", array=3, preemptions=2)
    story.work("a1", "a", 2)
    story.end("b4", 143)
    story.work("a2", "a", 1)
    assert story.stopped() == ["b4", "b3"]
    with store.load() as snapshot:
        story.restart(snapshot)
    assert story.stopped() == ["b3"], "the order is given again"
    kept, stopping = story.jobs["b4"].preemptions, story.jobs["b3"].preemptions
    assert kept is not None
    assert stopping is not None
    assert (kept.retries, kept.count, stopping.retries, stopping.count) == (1, 1, 1, 0)
    story.end("b3", 143)
    assert story.status("b3") == "RUNNABLE"
    assert story.running() == ["b1", "b2", "a1", "a2"]
    store.close()
    loop.close()
