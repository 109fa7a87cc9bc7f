"""Random lives of a queue with quota shares, on a store: after every step the rules hold, and a restart changes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from quota_story import LARGE, QuotaStory, limits, sharing
from shelf import Shelf

from batchyard.kernel.records import Ending, Job, Status

LIMIT = 6
SHARES = ("a", "b", "c")
STRATEGIES = [sharing("RESERVE"), sharing("LEND"), sharing("LEND_AND_BORROW"), sharing("LEND_AND_BORROW", 100)]


class Life(QuotaStory):
    """Looks at every step, and derives for itself what the shares use."""

    def __init__(self, **more: Any) -> None:
        self.preempted = Counter[str]()
        super().__init__(**{LARGE: LIMIT}, **more)

    def _jobs(self) -> list[Job]:
        return list(self.kernel.state.jobs.values())

    def _own(self, share: str) -> int:
        detail = self.kernel.state.queues["q"].quota_shares[share].detail
        return sum(limit.max_capacity for limit in detail.capacity_limits or ())

    def _strategy(self, share: str) -> Any:
        return self.kernel.state.queues["q"].quota_shares[share].detail.resource_sharing_configuration

    def _used(self, *, but_ending: bool = False) -> Counter[str]:
        used: Counter[str] = Counter()
        for job in self._jobs():
            if job.task is not None and not (but_ending and job.task.ending is not None):
                assert job.service is not None
                used[job.share or ""] += job.service.instance_count
        return used

    def _turn(self) -> None:
        begun = {job.id: job.attempt for job in self._jobs() if job.task is not None}
        stopping = self._stopping()
        before = self._used(but_ending=True)
        super()._turn()
        used = self._used()
        assert sum(used.values()) <= LIMIT
        for job in self._stopping().values():
            if job.id not in stopping:
                self._look_at_victim(job, before)
        borrowers = [
            job
            for job in self._jobs()
            if job.task is not None
            and begun.get(job.id) != job.attempt
            and used[job.share or ""] > self._own(job.share or "")
        ]
        for job in borrowers:
            strategy = self._strategy(job.share or "")
            assert strategy.strategy == "LEND_AND_BORROW"
            assert strategy.borrow_limit == -1 or used[job.share or ""] <= 2 * self._own(job.share or "")
        if borrowers:
            idle = sum(
                max(0, self._own(name) - used[name]) for name in SHARES if self._strategy(name).strategy != "RESERVE"
            )
            assert sum(max(0, used[name] - self._own(name)) for name in SHARES) <= idle

    def _stopping(self) -> dict[str, Job]:
        return {job.id: job for job in self._jobs() if job.task is not None and job.task.ending is Ending.PREEMPTED}

    def _look_at_victim(self, victim: Job, used: Counter[str]) -> None:
        """Somebody who waits has a better claim."""
        waiting = [job for job in self._jobs() if job.status is Status.RUNNABLE and job.service is not None]
        assert victim.status_reason is not None
        if "Cross-share" in victim.status_reason:
            self.preempted["across"] += 1
            assert used[victim.share or ""] > self._own(victim.share or "")
            assert any(
                job.service is not None
                and job.share != victim.share
                and used[job.share or ""] + job.service.instance_count <= self._own(job.share or "")
                for job in waiting
            )
        else:
            self.preempted["within"] += 1
            assert any(job.share == victim.share and (job.priority or 0) > (victim.priority or 0) for job in waiting)


class QuotaShelf(Shelf):
    """A store, and the life that keeps its rows there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = asyncio.new_event_loop()
        self.store = self.opened()
        self.story = self.life = Life(save=self.save)


def one_day(shelf: QuotaShelf, random: Random, label: str) -> None:
    life = shelf.life
    held = [life.label(job.id) for job in life.kernel.state.jobs.values()]
    running = life.running()
    match random.choice(["train", "train", "train", "end", "end", "terminate", "prioritise", "change", "restart"]):
        case "train":
            life.train(
                label,
                random.choice(SHARES),
                random.choice([1, 1, 2, 3]),
                priority=random.choice([None, 1, 2]),
                preemptions=random.choice([None, None, 0, 1]),
                attempts=random.choice([None, 2]),
            )
        case "end" if running:
            life.end(random.choice(running), random.choice([0, 0, 1, 137]))
        case "terminate" if held:
            life.stop_training(random.choice(held))
        case "prioritise" if held:
            life.prioritise(random.choice(held), random.randint(0, 3))
        case "change":
            life.change_share(
                random.choice(SHARES),
                capacity_limits=limits(large=random.randint(0, 4)),
                resource_sharing_configuration=random.choice(STRATEGIES),
            )
        case "restart":
            shelf.reopen()
            with shelf.store.load() as snapshot:
                life.restart(snapshot)
        case _:
            life.pass_time(1)


@pytest.mark.parametrize("seed", range(12))
def test_random_lives(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    shelf = QuotaShelf(tmp_path / "batchyard.db")
    life = shelf.life
    for name in SHARES:
        life.share(name, random.choice(STRATEGIES), large=2, in_share=random.choice(["ENABLED", "DISABLED"]))
    for day in range(60):
        one_day(shelf, random, f"j{day}")
    for name in SHARES:
        life.change_share(name, capacity_limits=limits(large=LIMIT))
    while life.running():
        life.end(life.running()[0])
    assert [life.label(job.id) for job in life.kernel.state.jobs.values()] == []
    shelf.close()


def test_the_lives_are_worth_looking_at(tmp_path: Path) -> None:
    """They do preempt, in both ways."""
    preempted: Counter[str] = Counter()
    for seed in range(4):
        random = Random(seed)
        shelf = QuotaShelf(tmp_path / f"{seed}.db")
        for name, strategy in zip(SHARES, (STRATEGIES[1], STRATEGIES[2], STRATEGIES[3]), strict=True):
            shelf.life.share(name, strategy, large=2, in_share="ENABLED")
        for day in range(60):
            one_day(shelf, random, f"j{day}")
        preempted += shelf.life.preempted
        shelf.close()
    assert preempted["across"] > 0
    assert preempted["within"] > 0
