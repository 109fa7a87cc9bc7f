"""Random lives of a queue of container jobs with quota shares, on a store: arrays, consumable resources, changes of limits and
restarts. After every step the rules hold, and a restart changes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from container_quota_story import BORROW, LEND, RESERVE, ContainerQuotaStory, units
from quota_story import sharing
from shelf import Shelf
from test_consumable_resources import creation, needs, update

from batchyard.kernel.records import Ending, Job, Status
from batchyard.kernel.resources import Resources

VCPUS, MEMORY = 6, 4096
SHARES = ("a", "b", "c")
STRATEGIES = [RESERVE, LEND, BORROW, sharing("LEND_AND_BORROW", 100)]
UNITS = ("VCPU", "MEMORY")


class Life(ContainerQuotaStory):
    """Looks at every step, and derives for itself what the shares use."""

    def __init__(self, **more: Any) -> None:
        self.seen = Counter[str]()
        super().__init__(vcpus=VCPUS, memory=MEMORY, **more)
        self.tell(creation("licence", 3))

    def records(self) -> Iterator[Job]:  # type: ignore[override]
        """Jobs, and children that have a record."""
        for job in self.kernel.state.jobs.values():
            yield job
            yield from job.array.children.values() if job.array is not None else ()

    def own(self, share: str, unit: str) -> int:
        limits = self.kernel.state.queues["q"].quota_shares[share].detail.capacity_limits or ()
        return sum(limit.max_capacity for limit in limits if limit.capacity_unit == unit)

    def limited(self, share: str, unit: str) -> bool:
        limits = self.kernel.state.queues["q"].quota_shares[share].detail.capacity_limits or ()
        return any(limit.capacity_unit == unit for limit in limits)

    def strategy(self, share: str) -> Any:
        return self.kernel.state.queues["q"].quota_shares[share].detail.resource_sharing_configuration

    def used(self, *, but_ending: bool = False) -> Counter[tuple[str, str]]:
        """By share and unit."""
        used: Counter[tuple[str, str]] = Counter()
        for job in self.records():
            if job.task is not None and not (but_ending and job.task.ending is not None):
                for unit in UNITS:
                    used[job.share or "", unit] += (
                        amount(job.resources, unit) if self.limited(job.share or "", unit) else 0
                    )
        return used

    def _turn(self) -> None:
        begun = {job.id: job.attempt for job in self.records() if job.task is not None}
        stopping = set(self.stopping())
        before = (
            self.used(but_ending=True) if hasattr(self, "kernel") and "q" in self.kernel.state.queues else Counter()
        )
        super()._turn()
        used = self.used()
        for name, job in self.stopping().items():
            if name not in stopping:
                self.look_at_victim(job, before)
        for job in self.records():
            if job.task is not None and begun.get(job.id) != job.attempt:
                self.seen["consumables"] += job.consumables is not None
                self.seen["children"] += job.parent is not None
                self.look_at_newcomer(job, used)

    def look_at_newcomer(self, job: Job, used: Counter[tuple[str, str]]) -> None:
        """Who borrows does so of what is idle, and within the limits."""
        share = job.share or ""
        above = [unit for unit in UNITS if self.limited(share, unit) and used[share, unit] > self.own(share, unit)]
        for unit in above:
            self.seen[f"borrowed {unit}"] += 1
            strategy = self.strategy(share)
            assert strategy.strategy == "LEND_AND_BORROW"
            assert strategy.borrow_limit == -1 or used[share, unit] <= 2 * self.own(share, unit)
            lenders = [
                name for name in SHARES if self.strategy(name).strategy != "RESERVE" and self.limited(name, unit)
            ]
            idle = sum(max(0, self.own(name, unit) - used[name, unit]) for name in lenders)
            assert sum(max(0, used[name, unit] - self.own(name, unit)) for name in SHARES) <= idle

    def stopping(self) -> dict[str, Job]:
        return {job.id: job for job in self.records() if job.task is not None and job.task.ending is Ending.PREEMPTED}

    def look_at_victim(self, victim: Job, used: Counter[tuple[str, str]]) -> None:
        """Somebody who waits has a better claim."""
        share = victim.share or ""
        waiting = [job for job in self.records() if waits(job)]
        assert victim.status_reason is not None
        if "Cross-share" in victim.status_reason:
            self.seen["across"] += 1
            assert any(used[share, unit] > self.own(share, unit) for unit in UNITS if self.limited(share, unit))
            assert any(job.share != share and self.is_own(job, used) for job in waiting)
        else:
            self.seen["within"] += 1
            assert any(job.share == share and (job.priority or 0) > (victim.priority or 0) for job in waiting)

    def is_own(self, job: Job, used: Counter[tuple[str, str]]) -> bool:
        share = job.share or ""
        return all(
            used[share, unit] + amount(job.resources, unit) <= self.own(share, unit)
            for unit in UNITS
            if self.limited(share, unit)
        )


def amount(resources: Resources, unit: str) -> int:
    return resources.milli_vcpus // 1000 if unit == "VCPU" else resources.memory


def waits(job: Job) -> bool:
    if job.array is not None:
        return job.array.counts[Status.RUNNABLE] > 0
    return job.status is Status.RUNNABLE


class QuotaShelf(Shelf):
    """A store, and the life that keeps its rows there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = asyncio.new_event_loop()
        self.store = self.opened()
        self.story = self.life = Life(save=self.save)


def one_day(shelf: QuotaShelf, random: Random, label: str) -> None:
    life = shelf.life
    held = [life.label(job.id) for job in life.records()]
    running = life.running()
    deeds = ["work"] * 4 + ["end"] * 3 + ["terminate", "cancel", "change", "restart", "licences", "lose"]
    match random.choice(deeds):
        case "work":
            life.work(
                label,
                random.choice(SHARES),
                random.choice([1, 1, 2, 3]),
                memory=random.choice([128, 512, 1024]),
                array=random.choice([None, None, None, 3]),
                sequential=False,
                priority=random.choice([None, 1, 2]),
                preemptions=random.choice([None, None, 0, 1]),
                attempts=random.choice([None, 2]),
                **(needs(licence=random.randint(1, 2)) if random.random() < 0.3 else {}),
            )
        case "end" if running:
            life.end(random.choice(running), random.choice([0, 0, 1, 143]))
        case "lose" if running:
            life.lose(random.choice(running))
        case "terminate" if held:
            life.terminate(random.choice(held))
        case "cancel" if held:
            life.cancel(random.choice(held))
        case "licences":
            life.tell(update("licence", "SET", random.randint(1, 4)))
        case "change":
            life.change_share(
                random.choice(SHARES),
                capacity_limits=random_limits(random),
                resource_sharing_configuration=random.choice(STRATEGIES),
            )
        case "restart":
            shelf.reopen()
            with shelf.store.load() as snapshot:
                life.restart(snapshot)
        case _:
            life.pass_time(1)
    life.begin_all()


def random_limits(random: Random) -> Any:
    memory = {"memory": random.choice([512, 1024, 2048])} if random.random() < 0.7 else {}
    return units(vcpu=random.randint(0, 4), **memory)


def live(path: Path, seed: int, days: int) -> QuotaShelf:
    """A life of so many days."""
    random = Random(seed)
    shelf = QuotaShelf(path)
    for name in SHARES:
        shelf.life.share(
            name,
            random.choice(STRATEGIES),
            in_share=random.choice(["ENABLED", "DISABLED"]),
            vcpu=2,
            memory=random.choice([512, 1024]),
        )
    for day in range(days):
        one_day(shelf, random, f"j{day}")
    return shelf


@pytest.mark.parametrize("seed", range(12))
def test_random_lives(tmp_path: Path, seed: int) -> None:
    shelf = live(tmp_path / "batchyard.db", seed, 80)
    life = shelf.life
    for name in SHARES:
        life.change_share(name, capacity_limits=units(vcpu=VCPUS))
    life.tell(update("licence", "SET", 10))
    life.begin_all()
    while life.running():
        life.end(life.running()[0])
    assert [life.label(job.id) for job in life.kernel.state.jobs.values()] == []
    shelf.close()


def test_the_lives_are_worth_looking_at(tmp_path: Path) -> None:
    """They preempt in both ways, borrow of both units, and have arrays and consumable resources."""
    seen: Counter[str] = Counter()
    for seed in range(6):
        shelf = live(tmp_path / f"{seed}.db", seed, 80)
        seen += shelf.life.seen
        shelf.close()
    assert {"across", "within", "borrowed VCPU", "borrowed MEMORY", "children", "consumables"} <= {*seen}
