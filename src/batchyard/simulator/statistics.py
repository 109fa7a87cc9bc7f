"""What is counted while a simulation runs. Whole numbers throughout (thousandths of vCPUs, milliseconds): sums are exact.

Instances count from the moment they run, as EC2 bills them, until they are terminated; jobs use their vCPUs from the moment
they have their place.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Protocol

import msgspec

from batchyard.kernel.effects import Effects
from batchyard.kernel.instances import ENDED_KIND, RECLAIMED
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.placement import Capacity, capacity_of
from batchyard.kernel.records import InstanceDetail, Job, Status
from batchyard.kernel.waiting import first_before, head_reason, never_fits, shape_of
from batchyard.simulator.environment_file import EnvironmentFile, SimulationSettings
from batchyard.simulator.running import RunningTask
from batchyard.simulator.site import ORIGIN
from batchyard.simulator.timeline import Timeline
from batchyard.simulator.workload import Work

SHORTEST_BILL = 60_000
"""Milliseconds. Source: EC2 and Fargate pricing ("per second, with a minimum of one minute")."""
HOUR = 3_600_000
QUANTITIES = ("instances", "vcpus_offered", "vcpus_used", "running", "waiting")
"""Of the timeline; vCPUs in thousandths."""


class EndedJob(msgspec.Struct, frozen=True, gc=False):
    """A job, or a child of an array, that has ended. Times are milliseconds after the first submission."""

    line: int
    name: str
    index: int
    """Of a child; -1 for a job that is none."""
    queue: str
    share: str | None
    status: Status
    status_reason: str | None
    submitted_at: int
    started_at: int | None
    """When its first attempt began; None when none did."""
    ended_at: int
    attempts: int
    exit_code: int | None
    """Of the last attempt."""
    environment: str | None
    instance: str | None
    instance_type: str | None


class JobLog(Protocol):
    """Where ended jobs are written to."""

    def ended(self, job: EndedJob) -> None: ...


class TypeCount(msgspec.Struct):
    """Instances of one type in one environment."""

    launched: int = 0
    present: int = 0
    peak: int = 0
    milliseconds: int = 0
    cost: float = 0.0


class Present(msgspec.Struct):
    """An instance that is there."""

    detail: InstanceDetail
    running_at: int | None = None


class Statistics:
    """See the module's text."""

    def __init__(self, file: EnvironmentFile, kernel: Kernel, log: JobLog | None = None) -> None:
        state = kernel.state
        self.settings: SimulationSettings = file.settings
        self.log = log
        self.timeline = Timeline(len(QUANTITIES))
        self.environments = list(state.environments)
        self.slices = {
            name: each.detail.compute_resources.type
            for name, each in state.environments.items()
            if capacity_of(state, each) is Capacity.SLICES and each.detail.compute_resources is not None
        }
        """The environments whose jobs have slices of their own, and their types."""
        self.most_milli_vcpus = sum(each.max_milli_vcpus for each in state.environments.values())
        self.submitted_jobs = self.succeeded = self.failed = self.never_began = 0
        self.attempts = self.retries = self.failed_attempts = self.reclaims = self.launches = 0
        self.waits: dict[tuple[str, str | None], array[int]] = {}
        """Milliseconds from submission to the start of the first attempt, by queue and share."""
        self.used: dict[tuple[str, str | None], int] = {}
        """Thousandths of vCPUs times milliseconds, by environment and share."""
        self.slice_costs: dict[str, float] = {}
        self.offered: dict[str, int] = {}
        """As `used`, by instances that ran, by environment."""
        self.types: dict[tuple[str, str], TypeCount] = {}
        """By environment and instance type."""
        self.peak_instances = self.peak_milli_vcpus = 0
        self.ended_at = ORIGIN
        self.stuck: dict[str, int] = {}
        """Why the jobs wait that were left at the end, and how many of them for each reason."""
        self.left = 0
        self._present: dict[str, Present] = {}
        self._levels = [0] * len(QUANTITIES)
        self._seen: dict[str, bytearray] = {}
        """By the id of an array: 1 for each child that has ended by itself."""
        self._hosts: dict[int, tuple[str, str, str | None]] = {}
        """Environment, instance and its type of the last attempt, by the seq of the job."""
        self._last_end = ORIGIN

    def pass_time(self, now: int) -> None:
        levels = self._levels
        levels[4] = self.submitted_jobs - self.succeeded - self.failed - levels[3]
        self.timeline.advance(now - ORIGIN, levels)

    def submitted(self, work: Work) -> None:
        self.submitted_jobs += work.shape.count

    def attempt_began(self, task: RunningTask) -> None:
        job = task.job
        levels = self._levels
        self.attempts += 1
        if job.attempt > 1:
            self.retries += 1
        levels[2] += job.resources.milli_vcpus
        levels[3] += 1
        if task.environment in self.slices:
            levels[1] += job.resources.milli_vcpus
        present = self._present.get(task.instance)
        type_name = present.detail.instance_type if present is not None else None
        self._hosts[job.seq] = task.environment, task.instance, type_name
        self._note_peak()

    def attempt_ended(self, task: RunningTask, now: int) -> None:
        """Before the kernel's next step, after it was told."""
        job = task.job
        levels = self._levels
        vcpus = job.resources.milli_vcpus
        levels[2] -= vcpus
        levels[3] -= 1
        if task.exit_code != 0:
            self.failed_attempts += 1
        if task.environment in self.slices:
            levels[1] -= vcpus
        self._account_for(task, now)

    def _account_for(self, task: RunningTask, until: int) -> None:
        """What an attempt has used and, where it had a slice of its own, what that costs."""
        key = task.environment, task.job.share
        self.used[key] = self.used.get(key, 0) + task.job.resources.milli_vcpus * (until - task.placed_at)
        kind = self.slices.get(task.environment)
        if kind not in ("FARGATE", "FARGATE_SPOT"):
            return
        settings, needs = self.settings, task.job.resources
        an_hour = needs.milli_vcpus / 1000 * settings.fargate_vcpu_hour_price
        an_hour += needs.memory / 1024 * settings.fargate_gib_hour_price
        if kind == "FARGATE_SPOT":
            an_hour *= 1 - settings.fargate_spot_discount
        cost = an_hour * max(SHORTEST_BILL, until - task.placed_at) / HOUR
        self.slice_costs[task.environment] = self.slice_costs.get(task.environment, 0.0) + cost

    def job_ended(self, job: Job, work: Work) -> None:
        """A single job, or a child with a record."""
        if job.status is Status.SUCCEEDED:
            self.succeeded += 1
        else:
            self.failed += 1
        if job.parent is not None:
            seen = self._seen.get(job.parent.id)
            if seen is None:
                seen = self._seen[job.parent.id] = bytearray(work.shape.count)
            seen[job.index] = 1
        ended_at = job.stopped_at or ORIGIN
        self._last_end = max(self._last_end, ended_at)
        submitted_at = ORIGIN + work.at
        started_at = next((each.started_at for each in job.attempts or () if each.started_at is not None), None)
        if started_at is None:
            self.never_began += 1
        else:
            waits = self.waits.get((job.queue.name, job.share))
            if waits is None:
                waits = self.waits[job.queue.name, job.share] = array("q")
            waits.append(started_at - submitted_at)
        host = self._hosts.pop(job.seq, None)
        if self.log is not None:
            self._write(self.log, job, work, started_at, ended_at, host, index=job.index)

    def _write(
        self,
        log: JobLog,
        job: Job,
        work: Work,
        started_at: int | None,
        ended_at: int,
        host: tuple[str, str, str | None] | None,
        *,
        index: int,
    ) -> None:
        container = job.attempts[-1].container if job.attempts else None
        log.ended(
            EndedJob(
                line=work.line,
                name=work.name,
                index=index,
                queue=job.queue.name,
                share=job.share,
                status=job.status,
                status_reason=job.status_reason,
                submitted_at=work.at,
                started_at=started_at - ORIGIN if started_at is not None else None,
                ended_at=ended_at - ORIGIN,
                attempts=job.attempt,
                exit_code=container.exit_code if container is not None else None,
                environment=host[0] if host is not None else None,
                instance=host[1] if host is not None else None,
                instance_type=host[2] if host is not None else None,
            )
        )

    def array_ended(self, parent: Job, work: Work) -> None:
        """Children that never had a record have failed together."""
        seen = self._seen.pop(parent.id, None) or bytearray(work.shape.count)
        unseen = [index for index, ended in enumerate(seen) if not ended]
        self.failed += len(unseen)
        self.never_began += len(unseen)
        ended_at = parent.stopped_at or ORIGIN
        self._last_end = max(self._last_end, ended_at)
        if self.log is not None:
            for index in unseen:
                self._write(self.log, parent, work, None, ended_at, None, index=index)

    def instances_changed(self, effects: Effects, now: int) -> None:
        """Instances that have been launched, run, or are gone."""
        for (kind, instance_id), detail in effects.resources.items():
            if not isinstance(detail, InstanceDetail):
                continue
            present = self._present.get(instance_id)
            if present is None:
                present = self._present[instance_id] = Present(detail)
                self.launches += 1
                self._count_of(detail).launched += 1
            if present.running_at is None and detail.running_at is not None:
                self._runs(present, detail)
            if kind == ENDED_KIND:
                self._is_gone(present, now)
        self._note_peak()

    def _runs(self, present: Present, detail: InstanceDetail) -> None:
        present.running_at = detail.running_at
        self._levels[0] += 1
        self._levels[1] += 1000 * detail.vcpus
        count = self._count_of(detail)
        count.present += 1
        count.peak = max(count.peak, count.present)

    def _is_gone(self, present: Present, now: int) -> None:
        detail = present.detail
        del self._present[detail.id]
        if detail.draining == RECLAIMED:
            self.reclaims += 1
        if present.running_at is not None:
            self._levels[0] -= 1
            self._levels[1] -= 1000 * detail.vcpus
            self._count_of(detail).present -= 1
            self._bill(present, now)

    def _bill(self, present: Present, until: int) -> None:
        count = self._count_of(present.detail)
        lasted = until - (present.running_at or until)
        count.milliseconds += lasted
        name = present.detail.environment
        self.offered[name] = self.offered.get(name, 0) + 1000 * present.detail.vcpus * lasted
        count.cost += present.detail.price * max(SHORTEST_BILL, lasted) / HOUR

    def _count_of(self, detail: InstanceDetail) -> TypeCount:
        key = detail.environment, detail.instance_type or ""
        count = self.types.get(key)
        if count is None:
            count = self.types[key] = TypeCount()
        return count

    def _note_peak(self) -> None:
        self.peak_instances = max(self.peak_instances, self._levels[0])
        self.peak_milli_vcpus = max(self.peak_milli_vcpus, self._levels[1])

    def close(self, kernel: Kernel, running: Iterable[RunningTask], now: int) -> None:
        """The run is over. With jobs left it ends now, else it has ended with the last of them."""
        jobs = kernel.state.jobs
        self.ended_at = now if jobs else self._last_end
        self.pass_time(self.ended_at)
        for task in running:
            self._account_for(task, self.ended_at)
        for present in self._present.values():
            if present.running_at is not None:
                self._bill(present, max(self.ended_at, present.running_at))
        self.left = self.submitted_jobs - self.succeeded - self.failed
        self._explain_waiting(kernel)

    def _explain_waiting(self, kernel: Kernel) -> None:
        """One reason for each shape of jobs in a queue."""
        reasons: dict[tuple[object, ...], str] = {}
        for job in kernel.state.jobs.values():
            waiting = job.array.counts[Status.RUNNABLE] if job.array is not None else int(job.status is Status.RUNNABLE)
            if not waiting:
                continue
            key = job.queue.name, *shape_of(job)
            if key not in reasons:
                never = never_fits(kernel.state, job)
                first = first_before(kernel.state, job) or job
                reasons[key] = (never or head_reason(kernel.state, job.queue, first, "The first job in line")).text
            self.stuck[reasons[key]] = self.stuck.get(reasons[key], 0) + waiting
