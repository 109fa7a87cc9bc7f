"""Job state time limits over restarts: the clock of a blocked job goes on, and stops when its reason has gone meanwhile."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from shelf import Shelf
from sqlalchemy import text
from story import Story

from batchyard.kernel.commands import UpdateJobQueue
from batchyard.kernel.records import Blocked, Job, Status
from batchyard.kernel.resources import Resources
from batchyard.kernel.stored import restore
from batchyard.shapes import batch as shapes

NEVER = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
MAX_VCPUS = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
CANCELLED = "Canceled by JobStateTimeLimit action due to reason: "
LIMITS = {NEVER: 600, MAX_VCPUS: 900}
"""Seconds."""


def limit_queue(story: Story) -> None:
    actions = [
        shapes.JobStateTimeLimitAction(reason=reason, state="RUNNABLE", max_time_seconds=seconds, action="CANCEL")
        for reason, seconds in LIMITS.items()
    ]
    story.tell(UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue="q", job_state_time_limit_actions=actions)))
    story.pass_time(0.01)


def restart(shelf: Shelf) -> None:
    shelf.reopen()
    with shelf.store.load() as snapshot:
        shelf.story.restart(snapshot)


def test_the_clock_goes_on(shelf: Shelf, story: Story) -> None:
    limit_queue(story)
    story.submit("huge", vcpus=64)
    since = story.now
    story.pass_time(200)
    restart(shelf)
    assert story.jobs["huge"].blocked == Blocked(NEVER, since)
    assert story.kernel.next_wakeup(story.now) == since + 600_000
    story.pass_time(399.999)
    assert story.status("huge") == "RUNNABLE"
    story.pass_time(0.001)
    assert story.reason("huge") == CANCELLED + NEVER
    restart(shelf)
    assert story.kernel.state.jobs == {}


def test_the_time_comes_while_the_server_is_away(shelf: Shelf, story: Story) -> None:
    limit_queue(story)
    story.submit("A", array=5, vcpus=64)
    story.submit("after", after=["A"])
    story.now += 700_000
    restart(shelf)
    assert story.summary("A") == {"FAILED": 5}
    assert (story.reason("A"), story.reason("after")) == (CANCELLED + NEVER, "Dependent Job failed")
    story.over()


def test_the_machine_comes_back_larger(shelf: Shelf, story: Story) -> None:
    """Even when the time has come meanwhile: what can run now, does."""
    limit_queue(story)
    story.change_environment("ce", max_vcpus=64)
    story.submit("A", vcpus=8)
    assert story.jobs["A"].blocked is not None
    story._machine = (Resources(8000, 4096), 0)
    story.now += 700_000
    shelf.reopen()
    with shelf.store.load() as snapshot:
        story.kernel = story._new_kernel()
        restore(story.kernel.state, snapshot, story.now)
    story.jobs["A"] = story.kernel.state.jobs[story.id("A")]
    story._turn()
    story.ordered("start A#1")
    story.run("A")
    story.over()


def test_the_head_of_a_queue_goes_on_as_well(shelf: Shelf, story: Story) -> None:
    story.change_environment("ce", state="DISABLED")
    story.submit("A")
    story.submit("B")
    since = story.now
    story.pass_time(100)
    restart(shelf)
    assert story.jobs["A"].blocked == Blocked("ACTION_REQUIRED", since)
    assert story.jobs["B"].blocked is None
    assert story.kernel.state.queues["q"].unplaceable == {}
    story.change_environment("ce", state="ENABLED")
    story.ordered("start A#1", "start B#1")
    restart(shelf)
    assert story.jobs["A"].blocked is None
    story.run("A", "B")


def test_jobs_of_an_earlier_version_are_clocked_from_the_first_step(shelf: Shelf, story: Story) -> None:
    """They have the reason in their row, and nothing about its beginning."""
    limit_queue(story)
    story.submit("huge", vcpus=64)
    story.pass_time(500)
    with shelf.store._transaction() as writer:
        writer.execute(text("UPDATE jobs SET blocked = NULL"))
    story.jobs["huge"].blocked = None
    story.kernel.state.queues["q"].blocked.clear()
    restart(shelf)
    since = story.now
    assert story.jobs["huge"].blocked == Blocked(NEVER, since)
    restart(shelf)
    assert story.jobs["huge"].blocked == Blocked(NEVER, since)
    story.pass_time(600)
    assert story.status("huge") == "FAILED"


class Watched(Story):
    """Notes, from what callers can see alone, since when each job has had its reason."""

    def __init__(self, **more: Any) -> None:
        self.since: dict[str, tuple[str, int]] = {}
        self.ended = 0
        super().__init__(vcpus=3, **more)

    def _turn(self) -> None:
        super()._turn()
        state = self.kernel.state
        entries = [job for job in self.jobs.values() if job.parent is None]
        for job in entries:
            code = (job.status_reason or "").partition(" - ")[0]
            before, at = self.since.get(job.id, ("", 0))
            if job.id not in state.jobs:
                self._look_at_end(job, before, at)
            elif code not in (*LIMITS, "ACTION_REQUIRED"):
                self.since.pop(job.id, None)
            elif before != code:
                self.since[job.id] = (code, self.now)
            elif code in LIMITS:
                assert self.now < at + 1000 * LIMITS[code], f"{self.label(job.id)} should have been ended"

    def _look_at_end(self, job: Job, code: str, at: int) -> None:
        if (job.status_reason or "").startswith(CANCELLED) and self.since.pop(job.id, None):
            assert job.status is Status.FAILED
            assert job.status_reason == CANCELLED + code
            if job.array is None:
                assert job.stopped_at == at + 1000 * LIMITS[code], self.label(job.id)
                self.ended += 1


class WatchedShelf(Shelf):
    """A store, and a watched story that keeps its rows there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.story = self.watched = Watched(save=self.save, bare=True)


def one_day(shelf: WatchedShelf, random: Random, label: str) -> None:
    story = shelf.watched
    running = [story.label(job.id) for job in {job.id: job for job in story.kernel.state.tasks.values()}.values()]
    match random.choice(
        ["submit", "submit", "submit", "exit", "limit", "disable", "enable", "enable", "restart", "time", "time"]
    ):
        case "submit":
            story.submit(
                label,
                vcpus=random.choice([1, 2, 3, 4]),
                array=random.choice([None, None, 2, 3]),
                attempts=random.choice([None, 3]),
            )
        case "exit" if running:
            story.exit(random.choice(running), random.choice([0, 1]))
        case "limit":
            story.change_environment("ce", max_vcpus=random.choice([1, 2, 3]))
        case "disable" if random.random() < 0.2:
            story.change_environment("ce", state="DISABLED")
        case "enable":
            story.change_environment("ce", state="ENABLED")
        case "restart":
            restart(shelf)
        case _:
            story.pass_time(random.choice([1, 150, 400]))
    story.given("start")


def life(path: Path, seed: int) -> Watched:
    random = Random(seed)
    shelf = WatchedShelf(path)
    story = shelf.watched
    story.environment("ce", max_vcpus=2)
    story.queue("q", ["ce"])
    story.definition("work")
    limit_queue(story)
    for day in range(120):
        one_day(shelf, random, f"j{day}")
    shelf.close()
    return story


@pytest.mark.parametrize("seed", range(10))
def test_random_lives(tmp_path: Path, seed: int) -> None:
    """A job with such a reason is ended exactly when it has had it for as long as it may, whatever else happens."""
    assert life(tmp_path / "watched.db", seed).kernel.state.jobs


def test_the_lives_are_worth_looking_at(tmp_path: Path) -> None:
    """Jobs do reach their limits."""
    assert sum(life(tmp_path / f"{seed}.db", seed).ended for seed in range(4)) > 4
