"""How near shares come to what they are entitled to, in an hour of contention in virtual time.

Every share always has more jobs waiting than there is room for. Measured is the part of the vCPU-seconds that each has had,
beside the part that its weight gives it: the worked examples of AWS's documentation, and some that are harder.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from heapq import heappop, heappush
from pathlib import Path

import msgspec

from batchyard.kernel.messages import TaskExited, TaskStarted
from batchyard.kernel.records import Job
from batchyard.kernel.resources import Resources
from benchmarks.measures import Result, Row, at_most
from benchmarks.sizes import Sizes
from benchmarks.yard import Yard

AHEAD = 4
"""Jobs of each share that always wait."""


class Share(msgspec.Struct, frozen=True):
    """What a share asks for."""

    vcpus: int = 1
    seconds: tuple[int, int] = (30, 90)
    """Its jobs run for something between."""
    since: float = 0
    """The part of the time after which its first jobs come."""


class Case(msgspec.Struct, frozen=True):
    """A workload. `entitled`: the parts of all vCPU-seconds; for a reservation, of all that there are."""

    label: str
    vcpus: int
    shares: Mapping[str, Share]
    entitled: Mapping[str, float]
    weights: Mapping[str, float] = {}
    decay: int = 0
    reservation: int = 0
    measured_from: float = 0
    """A part of the time."""


CASES = {
    "sizes": Case(
        "jobs of 32 and of 64 vCPU", 192, {"A": Share(32), "B": Share(64)}, entitled={"A": 1 / 2, "B": 1 / 2}
    ),
    "eightfold": Case(
        "weights 0.125 and 1", 72, {"A": Share(), "B": Share()}, {"A": 8 / 9, "B": 1 / 9}, weights={"A": 0.125}
    ),
    "prefix": Case(
        "UserA* for two, and UserB",
        64,
        {"UserA1": Share(), "UserA2": Share(2), "UserB": Share()},
        {"UserA1": 1 / 4, "UserA2": 1 / 4, "UserB": 1 / 2},
        weights={"UserA*": 1.0},
    ),
    "lengths": Case(
        "jobs of 20 seconds and of 15 minutes",
        64,
        {"A": Share(seconds=(10, 30)), "B": Share(seconds=(600, 1200))},
        {"A": 1 / 2, "B": 1 / 2},
    ),
    "three": Case(
        "weights 1, 0.5 and 0.25, different jobs",
        100,
        {"A": Share(4), "B": Share(1, (60, 180)), "C": Share(2, (300, 600))},
        {"A": 1 / 7, "B": 2 / 7, "C": 4 / 7},
        weights={"B": 0.5, "C": 0.25},
    ),
    "newcomer": Case(
        "a third share comes; the second half",
        64,
        {"A": Share(), "B": Share(2), "C": Share(since=0.25)},
        {"A": 1 / 3, "B": 1 / 3, "C": 1 / 3},
        measured_from=0.5,
    ),
    "reservation": Case(
        "R = 75, three shares: of all there is",
        256,
        {"A": Share(), "B": Share(), "C": Share()},
        {"A": 148 / 256 / 3, "B": 148 / 256 / 3, "C": 148 / 256 / 3},
        reservation=75,
    ),
}


def measure(folder: Path, sizes: Sizes) -> Result:  # noqa: ARG001
    rows: list[Row] = []
    worst = 0.0
    for key, case in CASES.items():
        had = parts_of(case, sizes.fairness_seconds)
        errors = {share: 100 * (had[share] - entitled) for share, entitled in case.entitled.items()}
        for share, entitled in case.entitled.items():
            rows.append(
                Row(
                    key=f"fairness.{key}.{share}",
                    label=f"{case.label}: {share}, entitled to {entitled:.2%}",
                    value=100 * had[share],
                    unit="%",
                )
            )
        worst = max(worst, *map(abs, errors.values()))
    rows.append(
        Row(key="fairness.worst", label="worst error of all, points", value=worst, unit="points", aim=at_most(2))
    )
    notes = [
        f"vCPU-seconds in {sizes.fairness_seconds:,} seconds of virtual time, from an empty start.",
        "With R = 75 and three active shares 42.19 % stays reserved for others: 108 of 256 vCPU, so that 148 are shared.",
    ]
    return Result("Fair share", rows, notes)


def parts_of(case: Case, seconds: int, seed: int = 1) -> dict[str, float]:
    """The part of the vCPU-seconds that each share has had."""
    contention = _Contention(case, seed)
    contention.run(seconds)
    used = contention.used
    all_there_is = case.vcpus * 1000 * seconds * 1000 * (1 - case.measured_from)
    total = all_there_is if case.reservation else used.total()
    return {share: used[share] / total if total else 0.0 for share in case.shares}


class _Contention:
    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.chance = random.Random(seed)
        self.yard = Yard(case.vcpus)
        self.yard.environment("ce", max_vcpus=case.vcpus, slices=True)
        self.yard.fair_queue("q", "ce", weights=case.weights, decay=case.decay, reservation=case.reservation)
        self.used: Counter[str] = Counter()
        """Thousandths of a vCPU, times milliseconds."""
        self.ends: list[tuple[int, int, str, Job]] = []

    def run(self, seconds: int) -> None:
        yard = self.yard
        begin, end = yard.now, yard.now + 1000 * seconds
        measured_from = begin + round(1000 * seconds * self.case.measured_from)
        arrivals = sorted((begin + round(1000 * seconds * each.since), name) for name, each in self.case.shares.items())
        while yard.now < end:
            while arrivals and arrivals[0][0] <= yard.now:
                _, share = arrivals.pop(0)
                for _ in range(AHEAD):
                    self._submit(share)
            while self.ends and self.ends[0][0] <= yard.now:
                _, began, task_id, job = heappop(self.ends)
                self._count(job, max(began, measured_from), yard.now)
                yard.kernel.apply(TaskExited(task_id, yard.now, 0, None, job.started_at), yard.now)
            while orders := yard.step().start:
                for order in orders:
                    self._begin(order.task_id, order.job)
            yard.now = min([end, *(at for at, _ in arrivals[:1]), *(each[0] for each in self.ends[:1])])
        for _, began, _, job in self.ends:
            self._count(job, max(began, measured_from), end)

    def _submit(self, share: str) -> None:
        self.yard.submit("q", share, Resources(1000 * self.case.shares[share].vcpus, 128))

    def _begin(self, task_id: str, job: Job) -> None:
        share = job.share or ""
        now = self.yard.now
        self.yard.kernel.apply(TaskStarted(task_id, now), now)
        lasts = round(1000 * self.chance.uniform(*self.case.shares[share].seconds))
        heappush(self.ends, (now + lasts, now, task_id, job))
        self._submit(share)

    def _count(self, job: Job, began: int, ended: int) -> None:
        self.used[job.share or ""] += job.resources.milli_vcpus * max(0, ended - began)
