"""Whole runs: a workload from its first submission to its last end, in virtual time.

Environments and queues are made by a story; then a `Run` takes its kernel over, plays the engine, and keeps a fingerprint of
all that the kernel decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

import msgspec
from story import NOON, Story

from batchyard.kernel.commands import Command, SubmitJob
from batchyard.kernel.effects import Effects
from batchyard.kernel.invariants import check_invariants
from batchyard.kernel.messages import TaskExited, TaskStarted
from batchyard.kernel.records import Job, Status
from batchyard.shapes import batch as shapes

BEGINS_AFTER = 50
"""Milliseconds from an order to the start of the program."""
ENDS_AFTER = 500
"""Milliseconds from SIGTERM to the end of a program."""
SECOND = 1000


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A job of the workload."""

    at: float = 0
    """Seconds after the beginning."""
    seconds: float = 60
    """For which it runs."""
    vcpus: int = 1
    memory: int = 128
    queue: str = "q"
    share: str | None = None
    priority: int | None = None
    timeout: int | None = None
    size: int | None = None
    """Of an array."""
    failures: int = 0
    """So many attempts (of each child) fail before one succeeds; there are ten."""


class Fate(msgspec.Struct):
    """What became of a job. Times are milliseconds."""

    work: Work
    submitted_at: int
    starts: list[int] = []
    """When an attempt was placed, of an array those of all children."""
    ended_at: int | None = None
    status: Status | None = None

    @property
    def waited(self) -> float:
        """Seconds until the first start."""
        return (self.starts[0] - self.submitted_at) / SECOND


class Run:
    """See the module's text."""

    def __init__(self, story: Story, workload: Iterable[Work] = (), *, check_every: int = 1) -> None:
        """The invariants are re-derived after each step, or after every so many."""
        self.kernel = story.kernel
        self.now = self.began_at = story.now
        self.fates: dict[str, Fate] = {}
        """By job id."""
        self.after_step: list[Callable[[Effects], None]] = []
        self.on_end: list[Callable[[Fate], None]] = []
        """Called with each job that has ended."""
        self.most_in_flight = 0
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._steps = 0
        self._check_every = check_every
        self._fingerprint = hashlib.sha256()
        self._jobs: dict[int, str] = {}
        self._over: set[str] = set()
        """Tasks that have ended."""
        for work in workload:
            self.at(self.began_at + round(SECOND * work.at), lambda work=work: self.submit(work))  # type: ignore[misc]

    @property
    def fingerprint(self) -> str:
        """Of all effects, in their order."""
        return self._fingerprint.hexdigest()

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return (self.now - self.began_at) / SECOND

    def at(self, moment: int, do: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._agenda, (moment, self._count, do))

    def tell(self, command: Command) -> Any:
        return self.kernel.apply(command, self.now)

    def submit(self, work: Work) -> str:
        job_id = f"{len(self.fates):08x}-0000-4000-8000-000000000000"
        needs = [("VCPU", work.vcpus), ("MEMORY", work.memory)]
        request = shapes.SubmitJobRequest(
            job_name=f"j{len(self.fates)}",
            job_queue=work.queue,
            job_definition="work",
            share_identifier=work.share,
            scheduling_priority_override=work.priority,
            array_properties=shapes.ArrayProperties(size=work.size) if work.size is not None else None,
            container_overrides=shapes.ContainerOverrides(
                resource_requirements=[
                    shapes.ResourceRequirement(type=kind, value=str(amount))  # type: ignore[arg-type]
                    for kind, amount in needs
                ]
            ),
            retry_strategy=shapes.RetryStrategy(attempts=10) if work.failures else None,
            timeout=shapes.JobTimeout(attempt_duration_seconds=work.timeout) if work.timeout is not None else None,
        )
        self.fates[job_id] = Fate(work, self.now)
        self.tell(SubmitJob(request=request, job_id=job_id, size=100, facts={}))
        return job_id

    def run(self, until: float | None = None) -> None:
        """Until nothing happens any more, or for so many seconds from the beginning."""
        end = None if until is None else self.began_at + round(SECOND * until)
        self._step()
        while (moment := self._next()) is not None and (end is None or moment <= end):
            self.now = max(self.now, moment)
            while self._agenda and self._agenda[0][0] <= self.now:
                heappop(self._agenda)[2]()
            self._step()
        if end is not None:
            self.now = end

    def _next(self) -> int | None:
        times = [due for due in (self.kernel.next_wakeup(self.now),) if due is not None]
        if self._agenda:
            times.append(self._agenda[0][0])
        if not self.kernel.state.jobs and not self._agenda:
            return None  # What is left is the life of idle instances.
        return min(times, default=None)

    def _step(self) -> None:
        self.kernel.step(self.now)
        self._steps += 1
        if self._steps % self._check_every == 0:
            check_invariants(self.kernel.state)
        effects = self.kernel.take_effects()
        self._fingerprint.update(plain(self.now, effects))
        self.most_in_flight = max(self.most_in_flight, len(self.kernel.state.tasks))
        for start in effects.start:
            self._fate(start.job).starts.append(self.now)
            self.at(self.now + BEGINS_AFTER, lambda task=start.task_id, job=start.job: self._begin(task, job))  # type: ignore[misc]
        for stop in effects.stop:
            self.at(self.now + ENDS_AFTER, lambda task=stop.task_id: self._end(task, 143))  # type: ignore[misc]
        for hook in self.after_step:
            hook(effects)
        for job in effects.jobs.values():
            if job.status.terminal and job.parent is None:
                fate = self._fate(job)
                fate.ended_at, fate.status = job.stopped_at, job.status
                for each in self.on_end:
                    each(fate)

    def _fate(self, job: Job) -> Fate:
        return self.fates[(job.parent or job).id]

    def _begin(self, task: str, job: Job) -> None:
        if task in self._over or task not in self.kernel.state.tasks:
            return
        self.kernel.apply(TaskStarted(task, self.now), self.now)
        work = self._fate(job).work
        code = 1 if job.counted_attempts <= work.failures else 0
        self.at(self.now + round(SECOND * work.seconds), lambda: self._end(task, code))

    def _end(self, task: str, code: int) -> None:
        job = self.kernel.state.tasks.get(task)
        if task in self._over or job is None:
            return
        self._over.add(task)
        self.kernel.apply(TaskExited(task, self.now, code, None, job.started_at), self.now)


def plain(now: int, effects: Effects) -> bytes:
    """Effects as bytes, every order of things kept."""
    rows = [
        (seq, job.id, int(job.status), job.status_reason, job.attempt, job.task, job.started_at, job.stopped_at)
        for seq, job in effects.jobs.items()
    ]
    return msgspec.json.encode(
        (
            now - NOON,
            rows,
            sorted(effects.created),
            [(*key, detail) for key, detail in effects.resources.items()],
            effects.transitions,
            effects.waits,
            [(start.engine, start.job.id, start.task_id, start.attempt) for start in effects.start],
            effects.stop,
            effects.recall,
            effects.acknowledge,
        )
    )
