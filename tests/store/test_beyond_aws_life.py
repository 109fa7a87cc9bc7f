"""Random lives with all that AWS does not have at once, and restarts: after every step the rules hold, and a restart changes
nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from shelf import Shelf
from story import ACCOUNT

from batchyard.kernel.commands import ChangePriority, ChangeTags, HoldJob, ReleaseJob
from batchyard.kernel.records import Ending, Job, Status
from batchyard.kernel.refusal import Refusal

GROUPS = ("red", "blue")
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


class Life:
    """Three queues: plain, with caps, and one before which the others make way."""

    def __init__(self, shelf: Shelf, seed: int) -> None:
        self.shelf, self.story, self.random = shelf, shelf.story, Random(seed)
        self.seen = Counter[str]()
        self.numbers = 0
        story = self.story
        story.queue("capped", ["ce"], tags={"batchyard:maxRunningPerGroup": "1", "batchyard:maxRunning": "2"})
        story.queue("urgent", ["ce"], priority=9, tags={"batchyard:preemption": "lower-priority"})

    def live(self) -> None:
        often = [self.submit, self.end] * 2
        event = self.random.choice(
            [
                *often,
                self.hold,
                self.release,
                self.prioritise,
                self.pass_time,
                self.retag,
                self.cancel,
                self.restart,
            ]
        )
        event()
        self.story.given("start")
        self.seen["preempted"] += len(self.story.given("stop"))
        self.check()

    def submit(self) -> None:
        self.numbers += 1
        pick = self.random.choice
        tags = {
            "batchyard:group": pick(GROUPS),
            "batchyard:maxRunning": pick("12"),
            "batchyard:retryBackoff": pick(["1s", "5s x3", "2s max 2s"]),
            "batchyard:onOutOfMemory": pick(["x2", "+50"]),
            "batchyard:preemptible": "never",
        }
        kept = {name: value for name, value in tags.items() if self.random.random() < 0.4}
        more: dict[str, Any] = {"array": self.random.randint(2, 4)} if self.random.random() < 0.4 else {}
        self.story.submit(
            f"j{self.numbers}",
            vcpus=pick([1, 1, 2]),
            queue=pick(["q", "capped", "urgent"]),
            attempts=3,
            tags=kept,
            after=[pick(self.unfinished())] if self.unfinished() and self.random.random() < 0.2 else [],
            **more,
        )

    def end(self) -> None:
        running = sorted(self.story.kernel.state.tasks.values(), key=lambda job: job.seq)
        if not running:
            return
        job = self.random.choice(running)
        assert job.task is not None
        code, reason = self.random.choice([(0, None), (1, None), (137, OUT_OF_MEMORY)])
        if job.task.ending is Ending.PREEMPTED:
            code, reason = 143, None
        before = job.resources.memory
        self.story.exit(self.story.label(job.id), code, reason)
        self.seen["escalated"] += job.resources.memory > before
        self.seen["put off"] += job.not_before is not None

    def unfinished(self) -> list[str]:
        return sorted(self.story.label(job_id) for job_id in self.story.kernel.state.jobs)

    def targets(self) -> list[str]:
        """Ids of jobs, arrays and children."""
        ids: list[str] = []
        for job in self.story.kernel.state.jobs.values():
            ids += [job.id, *(f"{job.id}:{index}" for index in range(job.array.size if job.array else 0))]
        return ids

    def ask(self, command: Any, name: str) -> None:
        try:
            self.story.tell(command)
            self.seen[name] += 1
        except Refusal:
            self.seen[f"{name} refused"] += 1

    def hold(self) -> None:
        if ids := self.targets():
            self.ask(HoldJob(self.random.choice(ids), "not yet"), "held")

    def release(self) -> None:
        held = [job_id for job_id in self.targets() if self._is_held(job_id)]
        if held:
            self.ask(ReleaseJob(self.random.choice(held)), "released")

    def _is_held(self, job_id: str) -> bool:
        found = self.story.kernel.state.find(job_id)
        return found is not None and found[0].held is not None

    def prioritise(self) -> None:
        if ids := self.targets():
            self.ask(ChangePriority(self.random.choice(ids), self.random.randint(0, 3)), "prioritised")

    def pass_time(self) -> None:
        self.story.pass_time(self.random.choice([0.5, 2, 10]))

    def retag(self) -> None:
        tags = {"batchyard:maxRunningPerGroup": self.random.choice("123")}
        self.story.tell(ChangeTags(arn=ACCOUNT.arn("job-queue/capped"), add=tags))

    def cancel(self) -> None:
        if self.random.random() < 0.3 and (labels := self.unfinished()):
            self.story.cancel(self.random.choice(labels))

    def restart(self) -> None:
        self.shelf.reopen()
        with self.shelf.store.load() as snapshot:
            self.story.restart(snapshot)

    def records(self) -> list[Job]:
        jobs = self.story.kernel.state.jobs.values()
        return [each for job in jobs for each in (job, *(job.array.children.values() if job.array else ()))]

    def check(self) -> None:
        """What was held or put off does not run, and no cap is exceeded by what starts."""
        state = self.story.kernel.state
        for job in self.records():
            if job.task is not None:
                assert job.not_before is None
            elif job.held is not None and job.status is Status.RUNNABLE:
                assert job.status_reason == "Held: not yet"
        running = [job for job in self.records() if job.task is not None and job.queue.name == "capped"]
        assert len(running) <= 2
        for job in state.jobs.values():
            if job.array is not None and job.terms is not None and job.terms.most_running is not None:
                assert sum(child.task is not None for child in job.array.children.values()) <= job.terms.most_running

    def finish(self) -> None:
        """Nobody is forgotten: all that is released comes to its end."""
        for job_id in self.targets():
            found = self.story.kernel.state.find(job_id)
            if found is not None and found[1] is None and found[0].amendments and found[0].amendments.held is not None:
                self.story.tell(ReleaseJob(job_id))
        for _ in range(2000):
            running = list(self.story.kernel.state.tasks.values())
            if not running and not self.story.kernel.state.put_off:
                break
            if running:
                self.story.exit(self.story.label(running[0].id), 0)
            else:
                self.story.pass_time(60)
        self.story.given("start")
        self.story.given("stop")
        self.story.over()


@pytest.mark.parametrize("seed", range(12))
def test_random_lives(tmp_path: Path, seed: int) -> None:
    shelf = Shelf(tmp_path / "batchyard.db")
    try:
        life = Life(shelf, seed)
        for _ in range(120):
            life.live()
        life.finish()
    finally:
        shelf.close()


def test_the_lives_are_worth_looking_at(tmp_path: Path) -> None:
    """Everything that is to be looked at does happen."""
    shelf = Shelf(tmp_path / "batchyard.db")
    life = Life(shelf, 99)
    for _ in range(400):
        life.live()
    shelf.close()
    for what in ("preempted", "escalated", "put off", "held", "released", "prioritised"):
        assert life.seen[what] > 3, what
