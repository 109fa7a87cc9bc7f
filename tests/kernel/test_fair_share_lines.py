"""The lines of a queue with fair share, and who of them is next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from itertools import islice

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.kernel import arrays
from batchyard.kernel.ordering import fair_share_lines, fifo
from batchyard.kernel.ordering.fair_share import FairShare, policy_from
from batchyard.kernel.ordering.fair_share_lines import Turn
from batchyard.kernel.records import FairShareLines, Job, JobQueue, ServiceRequest, ShareLine, Status
from batchyard.kernel.resources import Resources
from batchyard.shapes import batch as shapes

NOON = 1_700_000_000_000
SECOND = 1000
HOUR = 3600
QUEUE = JobQueue(detail=shapes.JobQueueDetail(job_queue_name="q"))


class Board:
    """Lines of jobs, each called by its share and a number: `A1` is the first job of share A."""

    def __init__(self, **weights: float) -> None:
        """`UserA_` stands for the entry `UserA*`."""
        distribution = [
            shapes.ShareAttributes(share_identifier=share.replace("_", "*"), weight_factor=weight)
            for share, weight in weights.items()
        ]
        policy = policy_from(shapes.FairsharePolicy(share_distribution=distribution))
        self.lines = FairShareLines(fair_share=FairShare(policy=policy))
        self.jobs: dict[str, Job] = {}
        self.numbers: Counter[str] = Counter()

    def submit(self, share: str, *, vcpus: float = 1, priority: int | None = None, array: int | None = None) -> Job:
        self.numbers[share] += 1
        name = f"{share}{self.numbers[share]}"
        job = self.jobs[name] = Job(
            seq=len(self.jobs) + 1,
            id=name,
            name=name,
            queue=QUEUE,
            definition="work",
            resources=Resources(int(1000 * vcpus), 128),
            created_at=NOON,
            status=Status.RUNNABLE,
            share=share,
            priority=priority,
        )
        if array is not None:
            job.status = Status.PENDING
            job.array = arrays.new_array(array, sequential=False)
            arrays.release(job.array, NOON)
        self.lines.fair_share.joined(share)
        self.lines.fair_share.waits(share, array or 1)
        self.wait(job)
        return job

    def wait(self, job: Job) -> None:
        if job.array is not None:
            job.array.queued = True
        heappush(self.line(job.share or "").waiting, (*fifo.place_in_share(job), job))

    def line(self, share: str) -> ShareLine:
        return self.lines.of(share)

    def start(self, job: Job, now: int = NOON) -> str:
        """Places the job, or the next child of the array. Returns its name."""
        started = job
        if job.array is not None:
            index = arrays.next_ready(job.array)
            assert index is not None
            started = arrays.child_of(job, index, 0)
            arrays.set_status(job.array, index, Status.STARTING, now)
        started.status = Status.STARTING
        self.lines.fair_share.waits(job.share or "", -1)
        self.lines.fair_share.placed(job.share or "", fair_share_lines.amount(job.resources, job.service))
        fair_share_lines.take(self.line(job.share or ""))
        return started.id

    def end(self, job: Job, now: int = NOON) -> None:
        """The job was cancelled."""
        job.status = Status.FAILED
        self.lines.fair_share.waits(job.share or "", -1)
        self.lines.fair_share.left(job.share or "", now)

    def drain(self, limit: int = 1000) -> list[str]:
        """Starts all that wait, one after another, in one moment."""
        return [self.start(job) for job in islice(fair_share_lines.candidates(self.lines, NOON), limit)]

    def order(self, limit: int = 1000) -> list[str]:
        return list(islice(map(name_of, fair_share_lines.in_order(self.lines, NOON)), limit))


def name_of(turn: Turn) -> str:
    return turn.job.name if turn.child is None else f"{turn.job.name}:{turn.child}"


# Within a share


def test_the_highest_priority_first_then_retried_then_by_submission() -> None:
    board = Board()
    for priority in (None, 5, 9999, 0, 5):
        board.submit("A", priority=priority)
    again = board.submit("A", priority=5)
    fair_share_lines.remove(board.line("A"), again)
    again.attempts = [shapes.AttemptDetail()]
    board.wait(again)
    assert [job.name for job in fair_share_lines.in_line(board.line("A"))] == ["A3", "A6", "A2", "A5", "A1", "A4"]
    assert board.drain() == ["A3", "A6", "A2", "A5", "A1", "A4"]


def test_a_priority_never_counts_across_shares() -> None:
    board = Board()
    board.submit("A")
    board.submit("B", priority=9999)
    assert board.drain() == ["A1", "B1"]


def test_what_no_longer_waits_is_dropped_on_the_way() -> None:
    board = Board()
    first, second, third = (board.submit("A") for _ in range(3))
    board.end(first)
    board.end(second)
    assert fair_share_lines.head(board.lines, "A") is third
    assert len(board.line("A").waiting) == 1
    board.end(third)
    assert fair_share_lines.head(board.lines, "A") is None
    assert board.lines.shares == {}


def test_a_job_is_taken_out_of_its_line_wherever_it_stands() -> None:
    board = Board()
    jobs = [board.submit("A", priority=priority) for priority in (1, 2, 3, 4, 5)]
    assert fair_share_lines.remove(board.line("A"), jobs[2])
    assert not fair_share_lines.remove(board.line("A"), jobs[2])
    assert board.drain() == ["A5", "A4", "A2", "A1"]
    array = board.submit("A", array=2)
    assert array.array is not None
    assert fair_share_lines.remove(board.line("A"), array)
    assert not array.array.queued


# Across shares


def test_the_share_that_has_less_is_next_and_of_equals_the_oldest_job() -> None:
    board = Board()
    for share in "BACBAC":
        board.submit(share)
    assert board.drain() == ["B1", "A1", "C1", "B2", "A2", "C2"]


def test_jobs_of_32_and_64_vcpus() -> None:
    """The worked example: two jobs of A for one of B."""
    board = Board()
    for _ in range(6):
        board.submit("A", vcpus=32)
        board.submit("B", vcpus=64)
    assert board.drain(9) == ["A1", "B1", "A2", "B2", "A3", "A4", "B3", "A5", "A6"]


def test_a_prefix_is_one_portion() -> None:
    board = Board(UserA_=1.0)
    for share in ("UserAx", "UserAy", "B"):
        for _ in range(8):
            board.submit(share)
    started = Counter(name[:-1] for name in board.drain(12))
    assert started == {"UserAx": 3, "UserAy": 3, "B": 6}


def test_a_head_that_does_not_fit_blocks_its_share_and_no_other() -> None:
    board = Board()
    board.submit("A", vcpus=64)
    board.submit("A")
    for _ in range(2):
        board.submit("B")
    asked = []
    for job in fair_share_lines.candidates(board.lines, NOON):
        asked.append(job.name)
        if job.resources.milli_vcpus <= 1000:
            board.start(job)
    assert asked == ["A1", "B1", "B2"]
    assert board.order() == ["A1", "A2"]


def test_a_head_that_is_set_aside_makes_room_for_the_next() -> None:
    board = Board()
    for share in "AAB":
        board.submit(share)
    asked = []
    for job in fair_share_lines.candidates(board.lines, NOON):
        asked.append(job.name)
        if job.name == "A1":
            fair_share_lines.drop_head(board.line("A"))
    assert asked == ["A1", "A2", "B1"]


def test_children_of_an_array_take_turns_with_other_shares() -> None:
    board = Board()
    array = board.submit("A", array=3)
    for _ in range(2):
        board.submit("B")
    assert board.order() == ["A1:0", "B1", "A1:1", "B2", "A1:2"]
    assert board.drain() == ["A1:0", "B1", "A1:1", "B2", "A1:2"]
    assert array.array is not None
    assert not array.array.queued
    assert board.lines.shares == {}


def test_an_array_behind_a_child_that_is_tried_again() -> None:
    board = Board()
    array = board.submit("A", array=3)
    assert board.drain(1) == ["A1:0"]
    assert array.array is not None
    again = array.array.children[0]
    again.status = Status.RUNNABLE
    arrays.set_status(array.array, 0, Status.RUNNABLE, NOON)
    board.wait(again)
    assert board.order() == ["A1", "A1:1", "A1:2"]
    assert next(fair_share_lines.in_order(board.lines, NOON)).job is again


def test_a_child_with_a_record_does_not_wait_as_a_part_of_its_array() -> None:
    board = Board()
    array = board.submit("A", array=3)
    arrays.child_of(array, 1, 0)
    assert board.order() == ["A1:0", "A1:2"]


def test_children_that_become_ready_one_by_one() -> None:
    board = Board()
    array = board.submit("A", array=5)
    assert array.array is not None
    array.array.states[:] = bytes([Status.PENDING]) * 5
    array.array.ready = []
    for index in (3, 1, 4):
        arrays.make_ready(array.array, index, NOON)
    assert board.order() == ["A1:1", "A1:3", "A1:4"]
    assert board.drain() == ["A1:1", "A1:3", "A1:4"]


def test_service_jobs_count_by_their_instances() -> None:
    service = ServiceRequest(instance_type="ml.m5.large", instance_count=3, training_name="t", max_runtime=60)
    assert fair_share_lines.amount(Resources(2000, 8192), service) == 3000
    assert fair_share_lines.amount(Resources(2000, 8192), None) == 2000


JOBS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "UserC1", "UserC2"]),
        st.sampled_from([0.25, 1, 2, 32, 64]),
        st.sampled_from([None, None, 0, 1, 2]),
        st.sampled_from([None, None, None, 2, 5]),
    ),
    max_size=25,
)


def filled(jobs: list[tuple[str, float, int | None, int | None]], running: Mapping[str, int]) -> Board:
    board = Board(A=0.3, UserC_=0.7)
    for share, vcpus, priority, array in jobs:
        board.submit(share, vcpus=vcpus, priority=priority, array=array)
    for share in running.keys() & board.lines.fair_share.accounts.keys():
        board.lines.fair_share.placed(share, 1000)
        board.lines.fair_share.ran(share, NOON - running[share] * SECOND, 1000)
    return board


RUNNING = st.dictionaries(st.sampled_from(["A", "B", "UserC1"]), st.integers(0, 700))


@given(JOBS, RUNNING)
def test_the_order_that_is_shown_is_the_order_of_the_starts(
    jobs: list[tuple[str, float, int | None, int | None]], running: dict[str, int]
) -> None:
    board = filled(jobs, running)
    shown = board.order()
    assert len(shown) == sum(array or 1 for _, _, _, array in jobs)
    assert board.drain() == shown


@given(JOBS, RUNNING)
def test_jobs_ahead_is_the_place_in_that_order(
    jobs: list[tuple[str, float, int | None, int | None]], running: dict[str, int]
) -> None:
    board = filled(jobs, running)
    places: dict[str, int] = {}
    for place, turn in enumerate(fair_share_lines.in_order(board.lines, NOON)):
        places.setdefault(turn.job.name, place)
    assert {name: fair_share_lines.jobs_ahead(board.lines, job, NOON) for name, job in board.jobs.items()} == places


def test_jobs_ahead_are_counted_only_so_far() -> None:
    board = Board()
    for share in "AB" * 6:
        board.submit(share)
    for name, ahead in {"A1": 0, "B1": 1, "A2": 2, "A3": 4, "B3": 4, "A6": 4, "B6": 4}.items():
        assert fair_share_lines.jobs_ahead(board.lines, board.jobs[name], NOON, at_most=4) == ahead, name


def test_nobody_is_ahead_of_what_does_not_wait() -> None:
    board = Board()
    job = board.submit("A")
    board.submit("B")
    board.end(job)
    assert fair_share_lines.jobs_ahead(board.lines, job, NOON) == 0


@given(JOBS, st.data())
def test_who_waits_elsewhere_keeps_a_place_in_the_order(
    jobs: list[tuple[str, float, int | None, int | None]], data: st.DataObject
) -> None:
    board = filled(jobs, {})
    shown = board.order()
    aside = [job for job in board.jobs.values() if data.draw(st.booleans())]
    for job in aside:
        fair_share_lines.remove(board.line(job.share or ""), job)
    order = fair_share_lines.in_order(board.lines, NOON, aside)
    assert list(map(name_of, order)) == shown


def test_who_lacks_a_consumable_resource_keeps_a_place_in_the_order() -> None:
    board = Board()
    for share in "AABA":
        board.submit(share)
    line = board.line("A")
    line.lines["licence"] = [heappop(line.waiting)]
    assert board.order() == ["A1", "B1", "A2", "A3"]
    assert fair_share_lines.jobs_ahead(board.lines, board.jobs["A1"], NOON) == 0
    assert board.drain() == ["A2", "B1", "A3"]
    assert fair_share_lines.standings(board.lines, NOON)[1].waiting == 1
    assert board.order() == ["A1"]
    assert list(board.lines.shares) == ["A"]


def test_the_order_looks_no_further_than_is_asked_for() -> None:
    board = Board()
    board.submit("A", array=1000)
    for number in range(3000):
        board.submit(f"share{number % 7}")
        assert len(board.order(100)) == 100
    for *_, job in board.line("share0").waiting[50:]:
        del job.resources  # whoever looks at it fails
    assert len(board.order(100)) == 100


# How the shares stand


def test_how_the_shares_stand() -> None:
    board = Board(A=0.5)
    fair_share = board.lines.fair_share
    board.submit("A")
    board.submit("B", array=5)
    board.submit("B", priority=7)
    fair_share.joined("C")
    for share, minutes in {"A": 2, "B": 1}.items():
        fair_share.placed(share, 6000)
        fair_share.ran(share, NOON - minutes * 60 * SECOND, 6000)
    fair_share.ended("B", NOON, 6000, ran=True)
    third, first, second = fair_share_lines.standings(board.lines, NOON)
    assert [first.share, second.share, third.share] == ["B", "A", "C"]
    assert (first.usage, second.usage) == pytest.approx((6 / 60 * 0.95, 6 * 2 / 60 * 0.9))
    assert (first.weight, second.weight, third.weight) == (1.0, 0.5, 1.0)
    assert (first.entitlement, second.entitlement) == pytest.approx((1 / 4, 1 / 2))
    assert (first.part, second.part, third.part) == pytest.approx((0.95 / 2.75, 1.8 / 2.75, 0))
    assert (first.in_flight, second.in_flight, third.in_flight) == (0, 6000, 0)
    assert (first.waiting, second.waiting, third.waiting) == (6, 1, 0)
    assert first.next == Turn(board.jobs["B2"])
    assert third.next is None


# Whole runs


class Demand(msgspec.Struct, frozen=True):
    """A share whose jobs never run out: their vCPUs, and for how many seconds each runs, over and over."""

    vcpus: int
    seconds: tuple[int, ...]
    weight: float = 1.0
    since: int = 0
    """Second at which its first job is submitted."""


class Contention:
    """One machine for all, and a queue that is asked again whenever something ends. The share that is next has what is free
    kept for it when it does not fit."""

    def __init__(self, vcpus: int, demands: Mapping[str, Demand]) -> None:
        self.board = Board(**{share: demand.weight for share, demand in demands.items()})
        self.demands = demands
        self.free = 1000 * vcpus
        self.used = dict.fromkeys(demands, 0)
        """Milli-vCPU-seconds."""
        self.longest_wait = 0
        self._waiting_since: dict[str, int] = {}
        self._ends: list[tuple[int, int, str]] = []
        self._lengths: dict[str, Iterator[int]] = {share: _forever(demand) for share, demand in demands.items()}

    def run(self, seconds: int, measured_from: int = 0) -> dict[str, float]:
        """The parts of the vCPU-seconds that the shares have had from then on."""
        moments = sorted({demand.since for demand in self.demands.values()})
        while (now := min([*moments[:1], *(end for end, _, _ in self._ends[:1])])) < seconds:
            moments = [moment for moment in moments if moment > now]
            while self._ends and self._ends[0][0] == now:
                _, began, share = heappop(self._ends)
                self._end(share, max(began, measured_from), now)
            self._place(now)
        for _, began, share in self._ends:
            self._count(share, max(began, measured_from), seconds)
        total = sum(self.used.values())
        return {share: used / total for share, used in self.used.items()}

    def _place(self, now: int) -> None:
        for share, demand in self.demands.items():
            if demand.since <= now and share not in self.board.lines.shares:
                self._submit(share, now)
        for job in fair_share_lines.candidates(self.board.lines, NOON + now * SECOND):
            if job.resources.milli_vcpus > self.free:
                return
            share = job.share or ""
            self.longest_wait = max(self.longest_wait, now - self._waiting_since[share])
            self.board.start(job, NOON + now * SECOND)
            self.board.lines.fair_share.ran(share, NOON + now * SECOND, job.resources.milli_vcpus)
            self.free -= job.resources.milli_vcpus
            heappush(self._ends, (now + next(self._lengths[share]), now, share))
            self._submit(share, now)

    def _submit(self, share: str, now: int) -> None:
        self.board.submit(share, vcpus=self.demands[share].vcpus)
        self._waiting_since[share] = now

    def _end(self, share: str, began: int, now: int) -> None:
        amount = 1000 * self.demands[share].vcpus
        self.board.lines.fair_share.ended(share, NOON + now * SECOND, amount, ran=True)
        self.free += amount
        self._count(share, began, now)

    def _count(self, share: str, began: int, now: int) -> None:
        self.used[share] += 1000 * self.demands[share].vcpus * max(0, now - began)


def _forever(demand: Demand) -> Iterator[int]:
    while True:
        yield from demand.seconds


@pytest.mark.parametrize(
    ("vcpus", "demands", "entitled"),
    [
        # the worked example
        (192, {"A": Demand(32, (60,)), "B": Demand(64, (60,))}, {"A": 1 / 2, "B": 1 / 2}),
        (128, {"A": Demand(32, (50, 70)), "B": Demand(64, (60, 40, 90))}, {"A": 1 / 2, "B": 1 / 2}),
        # eight times the compute
        (72, {"A": Demand(1, (60, 45), 0.125), "B": Demand(1, (60, 75))}, {"A": 8 / 9, "B": 1 / 9}),
        # long jobs beside short ones
        (64, {"A": Demand(1, (300, 200)), "B": Demand(1, (10, 12))}, {"A": 1 / 2, "B": 1 / 2}),
        (64, {"A": Demand(1, (900,)), "B": Demand(1, (2, 3))}, {"A": 1 / 2, "B": 1 / 2}),
        # different in everything
        (
            100,
            {"A": Demand(4, (30, 35)), "B": Demand(1, (120, 90), 0.5), "C": Demand(2, (600, 500), 0.25)},
            {"A": 1 / 7, "B": 2 / 7, "C": 4 / 7},
        ),
    ],
)
def test_shares_converge_to_what_they_are_entitled_to(
    vcpus: int, demands: dict[str, Demand], entitled: dict[str, float]
) -> None:
    assert Contention(vcpus, demands).run(HOUR) == pytest.approx(entitled, abs=0.02)


def test_a_share_that_comes_later_first_makes_up_for_what_it_had_not() -> None:
    demands = {"A": Demand(1, (30, 40)), "B": Demand(1, (30, 40), since=HOUR)}
    catching_up = Contention(64, demands).run(HOUR + 300, measured_from=HOUR + 60)
    assert catching_up["B"] > 0.6
    assert Contention(64, demands).run(3 * HOUR, measured_from=2 * HOUR) == pytest.approx(
        {"A": 0.5, "B": 0.5}, abs=0.02
    )


DEMANDS = st.dictionaries(
    st.sampled_from(["A", "B", "C", "D"]),
    st.builds(
        Demand,
        st.sampled_from([1, 2, 4, 8]),
        st.lists(st.integers(5, 120), min_size=1, max_size=3).map(tuple),
        st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    ),
    min_size=2,
)


@settings(max_examples=25, deadline=None)
@given(DEMANDS)
def test_whatever_the_jobs_weights_converge_and_no_job_starves(demands: dict[str, Demand]) -> None:
    contention = Contention(64, demands)
    parts = contention.run(HOUR)
    assert parts == pytest.approx(contention.board.lines.fair_share.entitlements(), abs=0.06)
    assert contention.longest_wait < 900
