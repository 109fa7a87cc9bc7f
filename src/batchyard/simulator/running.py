"""The simulated machines: tasks that begin, run for as long as their job says, and end; or are stopped and end early."""

from __future__ import annotations

from heapq import heappop, heappush

import msgspec

from batchyard.kernel.effects import Start, Stop
from batchyard.kernel.instances import chance
from batchyard.kernel.messages import TaskExited, TaskStarted
from batchyard.kernel.records import Job
from batchyard.simulator.environment_file import SimulationSettings
from batchyard.simulator.workload import Work

TERMINATED = 143
"""The exit code of a program that SIGTERM ends: 128 + 15, as a shell reports it."""
KILLED = 137


class RunningTask(msgspec.Struct, gc=False):
    """An attempt that has its place."""

    id: str
    job: Job
    work: Work
    placed_at: int
    environment: str
    instance: str
    ends_at: int
    exit_code: int | None
    started_at: int | None = None


class Machinery:
    """All tasks that are in force, and what will become of them."""

    def __init__(self, settings: SimulationSettings) -> None:
        self._seed = settings.seed
        self._start = round(1000 * settings.start_seconds)
        self._stop = round(1000 * settings.stop_seconds)
        self.tasks: dict[str, RunningTask] = {}
        self._events: list[tuple[int, int, RunningTask, bool]] = []
        """A heap of (time, number, task, whether it begins)."""
        self._number = 0

    def next_event(self) -> int | None:
        return self._events[0][0] if self._events else None

    def begin(self, order: Start, work: Work, now: int) -> TaskStarted | None:
        """Takes a task. Gives what is to be told when it begins at once."""
        job = order.job
        assert job.task is not None
        fails = work.failure_probability > 0 and self._fails(order.task_id, work.failure_probability)
        task = RunningTask(
            id=order.task_id,
            job=job,
            work=work,
            placed_at=now,
            environment=job.task.environment,
            instance=job.task.instance,
            ends_at=now + self._start + work.run,
            exit_code=work.exit_code if fails else 0,
        )
        self.tasks[task.id] = task
        if self._start:
            self._expect(now + self._start, task, begins=True)
        else:
            task.started_at = now
        self._expect(task.ends_at, task, begins=False)
        return TaskStarted(task.id, now) if task.started_at is not None else None

    def _fails(self, task_id: str, probability: float) -> bool:
        return chance(self._seed, f"fails {task_id}") < probability

    def stop(self, order: Stop, now: int) -> None:
        """SIGTERM, and SIGKILL when the grace is over. A program that ends by itself before is not disturbed."""
        task = self.tasks[order.task_id]
        grace = round(1000 * order.grace_seconds)
        ends_at = now + min(self._stop, grace)
        if task.started_at is None:
            task.exit_code, ends_at = None, now
        elif ends_at >= task.ends_at:
            return
        else:
            task.exit_code = TERMINATED if self._stop <= grace else KILLED
        task.ends_at = ends_at
        self._expect(ends_at, task, begins=False)

    def _expect(self, at: int, task: RunningTask, *, begins: bool) -> None:
        self._number += 1
        heappush(self._events, (at, self._number, task, begins))

    def next_message(self, now: int) -> tuple[RunningTask, TaskStarted | TaskExited] | None:
        """What happens next, up to `now`."""
        while self._events and self._events[0][0] <= now:
            at, _, task, begins = heappop(self._events)
            if task.id not in self.tasks:
                continue  # It was stopped, and has ended before its time.
            if begins:
                task.started_at = at
                return task, TaskStarted(task.id, at)
            if at == task.ends_at:
                del self.tasks[task.id]
                return task, TaskExited(task.id, at, task.exit_code, None, task.started_at)
        return None
