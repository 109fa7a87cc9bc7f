"""What the kernel must do, written naively: every child of an array is an object of its own, nothing is lazy, nothing is
indexed, every question is answered by looking at everything. It shares no code with the kernel.

The model decides statuses, attempts and reasons by itself. Which job starts next is the kernel's choice; the model says
whether it was legal (`start`), and whether the kernel should have started more (`could_start`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
ACTIVE = ("STARTING", "RUNNING")
ENDED = ("SUCCEEDED", "FAILED")

DEPENDENT = "Dependent Job failed"
EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"


@dataclass(eq=False)
class Unit:
    """Something that runs: a single job, or one child of an array."""

    name: str
    vcpus: int
    memory: int
    attempts: int
    retry_codes: tuple[int, ...] | None
    """Exit codes that are not retried (an EXIT rule each); None: no rules."""
    timeout: int | None
    retry_timeout: bool
    status: str = "PENDING"
    reason: str | None = None
    begun: int = 0
    ended: list[tuple[int | None, str | None]] = field(default_factory=list)
    waits_for: list[Unit | Job] = field(default_factory=list)
    ending: str | None = None
    """Reason of the stop that has been ordered."""
    timed_out: bool = False
    started_at: int | None = None
    environment: str = ""
    turn: int = 0
    """Its turn among those that are tried again: a single job's submission, a child's first start."""
    returned: bool = False
    """Came back unbegun."""


@dataclass(eq=False)
class Job:
    """What was submitted: a single job is a job with one unit."""

    name: str
    order: int
    queue: str
    units: list[Unit]
    array: bool
    waits_for: list[Unit | Job] = field(default_factory=list)
    final: bool = False
    """Cancelled or terminated as a whole: nothing of it is tried again."""
    asked: str | None = None
    """The reason of the last such request."""
    status: str = "PENDING"
    reason: str | None = None


@dataclass
class Environment:
    name: str
    max_vcpus: int
    enabled: bool = True


class Model:
    """One machine, some compute environments, some queues."""

    def __init__(self, vcpus: int, memory: int, environments: dict[str, int], queues: dict[str, list[str]]) -> None:
        self.vcpus, self.memory = vcpus, memory
        self.environments = {name: Environment(name, limit) for name, limit in environments.items()}
        self.queues = queues
        self.disabled_queues: set[str] = set()
        self.jobs: list[Job] = []
        self.turns = 0
        self.stops: list[str] = []
        """Who was to be stopped since this was last looked at."""

    def _next_turn(self) -> int:
        self.turns += 1
        return self.turns

    # Looking

    def units(self) -> list[Unit]:
        return [unit for job in self.jobs for unit in job.units]

    def job(self, name: str) -> Job:
        return next(job for job in self.jobs if job.name == name)

    def unit(self, name: str) -> Unit:
        return next(unit for unit in self.units() if unit.name == name)

    def job_of(self, unit: Unit) -> Job:
        return next(job for job in self.jobs if unit in job.units)

    def active(self) -> list[Unit]:
        return [unit for unit in self.units() if unit.status in ACTIVE]

    # What callers do

    def submit(
        self,
        name: str,
        queue: str,
        *,
        size: int | None,
        vcpus: int,
        memory: int,
        attempts: int,
        retry_codes: tuple[int, ...] | None,
        timeout: int | None,
        retry_timeout: bool,
        after: list[str],
        n_to_n: list[str],
        sequential: bool,
    ) -> None:
        names = [name] if size is None else [f"{name}:{index}" for index in range(size)]
        units = [Unit(each, vcpus, memory, attempts, retry_codes, timeout, retry_timeout) for each in names]
        waits_for = [self._named(other) for other in after]
        job = Job(name, len(self.jobs), queue, units, size is not None, waits_for)
        for unit in units:
            unit.turn = 0 if job.array else self._next_turn()
        self.jobs.append(job)
        if any(other.status == "FAILED" for other in waits_for):
            self._fail_whole(job, DEPENDENT)
        for other in n_to_n:
            for unit, partner in zip(units, self.job(other).units, strict=True):
                unit.waits_for.append(partner)
        if sequential:
            for before, unit in pairwise(units):
                unit.waits_for.append(before)
        self.settle()

    def _named(self, name: str) -> Unit | Job:
        return self.unit(name) if ":" in name else self.job(name)

    def end(self, name: str, reason: str, *, terminate: bool) -> None:
        if ":" in name:
            self._end_unit(self.unit(name), reason, terminate)
        else:
            job = self.job(name)
            if job.status not in ENDED:
                if job.array:
                    job.final, job.asked = True, reason
                for unit in job.units:
                    self._end_unit(unit, reason, terminate)
        self.settle()

    def _end_unit(self, unit: Unit, reason: str, terminate: bool) -> None:
        if unit.status in WAITING:
            self._end(unit, "FAILED", reason)
        elif unit.status in ACTIVE and terminate and (unit.ending is None or unit.timed_out):
            if unit.ending is None:
                self.stops.append(unit.name)
            unit.ending, unit.timed_out = reason, False

    # What engines say

    def start(self, name: str, attempt: int, environment: str) -> None:
        """The kernel has started this: was it allowed to?"""
        unit = self.unit(name)
        job = self.job_of(unit)
        assert unit.status == "RUNNABLE", f"{name} is {unit.status} and was started"
        assert attempt == unit.begun + 1, f"{name} starts attempt {attempt} after {unit.begun}"
        assert environment in self.queues[job.queue]
        place = self._place(job, unit)
        assert place == environment, f"{name} was put into {environment}, its place is {place}"
        for other in self._before(job, unit):
            could = not self._never_fits(*other) and self._place(*other) is not None
            assert not could, f"{name} was started before {other[1].name}, which had a place"
        unit.begun = attempt
        unit.turn = unit.turn or self._next_turn()
        unit.status, unit.environment, unit.reason = "STARTING", environment, None
        unit.ending, unit.timed_out, unit.started_at = None, False, None
        self.settle()

    def could_start(self) -> list[str]:
        """Heads of queues that have a place and were left waiting."""
        found = []
        for queue in self.queues:
            line = [pair for pair in self._line(queue) if not self._never_fits(*pair)]
            if line and self._place(*line[0]) is not None:
                found.append(line[0][1].name)
        return found

    def _line(self, queue: str) -> list[tuple[Job, Unit]]:
        """Who waits in a queue, in order: what is tried again (or a child that came back) first, by its turn; then by
        submission, then by index."""
        line = [
            (job, unit) for job in self.jobs if job.queue == queue for unit in job.units if unit.status == "RUNNABLE"
        ]
        again = [pair for pair in line if pair[1].ended or (pair[0].array and pair[1].returned)]
        return sorted(again, key=lambda pair: pair[1].turn) + [pair for pair in line if pair not in again]

    def _before(self, job: Job, unit: Unit) -> list[tuple[Job, Unit]]:
        """Those that must go first."""
        line = self._line(job.queue)
        return line[: line.index((job, unit))]

    def _place(self, job: Job, unit: Unit) -> str | None:
        active = self.active()
        if sum(other.vcpus for other in active) + unit.vcpus > self.vcpus:
            return None
        if sum(other.memory for other in active) + unit.memory > self.memory:
            return None
        for name in self.queues[job.queue]:
            used = sum(other.vcpus for other in active if other.environment == name)
            if self.environments[name].enabled and used + unit.vcpus <= self.environments[name].max_vcpus:
                return name
        return None

    def _never_fits(self, job: Job, unit: Unit) -> bool:
        limit = max(min(self.environments[name].max_vcpus, self.vcpus) for name in self.queues[job.queue])
        return unit.vcpus > limit or unit.memory > self.memory

    def begin(self, name: str, now: int) -> None:
        unit = self.unit(name)
        if unit.status == "STARTING":
            unit.status, unit.started_at = "RUNNING", now
            self.settle()

    def exit(self, name: str, code: int | None, *, began: bool, lost: str | None = None) -> None:
        unit = self.unit(name)
        text = lost or (EXITED if began or unit.status == "RUNNING" else "Task failed to start")
        if code == 0 and unit.ending is None:
            unit.ended.append((0, text))
            self._end(unit, "SUCCEEDED", text)
        else:
            reason = unit.ending or text
            unit.ended.append((code, reason))
            if self._tries_again(unit, code):
                unit.status, unit.reason = "RUNNABLE", reason
            else:
                self._end(unit, "FAILED", reason)
        self.settle()

    def _tries_again(self, unit: Unit, code: int | None) -> bool:
        if self.job_of(unit).final or unit.begun >= unit.attempts or (unit.ending is not None and not unit.timed_out):
            return False
        if unit.timed_out:
            return unit.retry_timeout
        return unit.retry_codes is None or code not in unit.retry_codes

    def unknown(self, name: str) -> bool:
        """Whether the same attempt is ordered again."""
        unit = self.unit(name)
        if unit.ending is None:
            return True
        self.exit(name, None, began=unit.status == "RUNNING")
        return False

    def recalled(self, name: str) -> None:
        """The task came back unbegun: the attempt does not count."""
        unit = self.unit(name)
        job = self.job_of(unit)
        unit.begun -= 1
        unit.returned = True
        if unit.ending is not None:
            self._end(unit, "FAILED", unit.ending)
        elif job.final:
            self._end(unit, "FAILED", job.asked)
        else:
            unit.status, unit.reason = "RUNNABLE", None
        self.settle()

    def pass_time(self, now: int) -> None:
        """Who has to be stopped, because it has run for too long."""
        late = [
            unit
            for unit in self.units()
            if unit.status == "RUNNING"
            and unit.timeout is not None
            and unit.started_at is not None
            and now >= unit.started_at + 1000 * unit.timeout
            and unit.ending is None
        ]
        for unit in late:
            unit.ending, unit.timed_out = TIMED_OUT, True
            self.stops.append(unit.name)

    # What follows

    def settle(self) -> None:
        """Again and again over everything, until nothing changes any more."""
        changed = True
        while changed:
            changed = False
            for job in self.jobs:
                changed |= self._follow(job)

    def _follow(self, job: Job) -> bool:
        if job.status in ENDED:
            return False
        if any(other.status == "FAILED" for other in job.waits_for):
            self._fail_whole(job, DEPENDENT)
        changed = False
        for unit in job.units:
            changed |= self._follow_unit(job, unit)
        statuses = {unit.status for unit in job.units}
        if job.array and statuses <= set(ENDED):
            job.status = "FAILED" if "FAILED" in statuses else "SUCCEEDED"
            job.reason = (job.asked or job.reason or "Array Child Job failed") if "FAILED" in statuses else None
            return True
        if not job.array and (job.status, job.reason) != (job.units[0].status, job.units[0].reason):
            job.status, job.reason = job.units[0].status, job.units[0].reason
            return True
        return changed

    def _follow_unit(self, job: Job, unit: Unit) -> bool:
        if unit.status != "PENDING":
            return False
        if any(other.status == "FAILED" for other in unit.waits_for):
            self._end(unit, "FAILED", DEPENDENT)
        elif all(other.status == "SUCCEEDED" for other in (*job.waits_for, *unit.waits_for)):
            unit.status = "RUNNABLE"
        return unit.status != "PENDING"

    def _fail_whole(self, job: Job, reason: str) -> None:
        for unit in job.units:
            if unit.status in WAITING:
                self._end(unit, "FAILED", reason)
                job.reason = reason

    def _end(self, unit: Unit, status: str, reason: str | None) -> None:
        unit.status, unit.reason = status, reason

    def check(self) -> None:
        """Nothing is over-committed."""
        active = self.active()
        assert sum(unit.vcpus for unit in active) <= self.vcpus
        assert sum(unit.memory for unit in active) <= self.memory
