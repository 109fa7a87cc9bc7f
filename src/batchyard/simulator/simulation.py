"""One run: the workload's submissions, the machines' events and the kernel's alarm clocks, in the order of their time.

All that falls on one millisecond is told to the kernel before it takes a step. Nothing depends on the time of day, on the hash
seed or on anything that is drawn elsewhere: the same inputs give the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from batchyard.kernel.commands import SubmitJob
from batchyard.kernel.effects import Effects
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.messages import TaskExited
from batchyard.kernel.records import Job, Status
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes
from batchyard.simulator.environment_file import EnvironmentFile
from batchyard.simulator.inputs import InputError
from batchyard.simulator.running import Machinery
from batchyard.simulator.site import ORIGIN, REQUEST_BYTES, definition_for, set_up
from batchyard.simulator.statistics import JobLog, Statistics
from batchyard.simulator.workload import Shape, Work

STANDSTILL = 7 * 86_400_000
"""Milliseconds without a start, an end or a submission after which nothing is waited for any more."""
ARRAY_LIMIT = 1_000_000

Inspect = Callable[[Kernel, int], None]
"""Told of the kernel and the time."""


class Simulation:
    """See the module's text. Times are those of the kernel: milliseconds, the first submission at `ORIGIN`."""

    def __init__(
        self,
        file: EnvironmentFile,
        workload: Iterable[Work],
        *,
        log: JobLog | None = None,
        until: int | None = None,
        inspect: Inspect | None = None,
    ) -> None:
        """`log` gets every job that has ended. `until`: milliseconds after which the run is cut short. `inspect` sees the kernel
        after each step. Raises `InputError`."""
        self.kernel = set_up(file, maximum_array_size=ARRAY_LIMIT)
        self.statistics = Statistics(file, self.kernel, log)
        self._machinery = Machinery(file.settings)
        self._workload: Iterator[Work] = iter(workload)
        self._following = next(self._workload, None)
        self._until = ORIGIN + until if until is not None else None
        self._inspect = inspect
        self._works: dict[str, Work] = {}
        """By job id; one for all children of an array."""
        self._requests: dict[Shape, shapes.SubmitJobRequest] = {}
        self._submitted = 0
        self._active_at = ORIGIN
        """When something was last submitted, begun or ended."""

    def run(self) -> Statistics:
        """Runs to the end: the last job has ended, or those that are left never will. Raises `InputError`."""
        self._take(self.kernel.take_effects(), ORIGIN)
        now = ORIGIN
        while True:
            following = self._next_time(now)
            if following is None or self._is_over(following):
                break
            now = following
            self._turn(now)
        end = now if self._until is None or following is None else max(now, self._until)
        self.statistics.close(self.kernel, self._machinery.tasks.values(), end)
        return self.statistics

    def _next_time(self, now: int) -> int | None:
        """When something is to happen, or None when nothing is left."""
        if self._following is None and not self.kernel.state.jobs:
            return None
        times = [self._machinery.next_event(), self.kernel.next_wakeup(now)]
        if self._following is not None:
            times.append(ORIGIN + self._following.at)
        known = [time for time in times if time is not None]
        return max(now, min(known)) if known else None

    def _is_over(self, following: int) -> bool:
        if self._until is not None and following > self._until:
            return True
        idle = self._following is None and not self._machinery.tasks
        return idle and following - self._active_at > STANDSTILL

    def _turn(self, now: int) -> None:
        self.statistics.pass_time(now)
        kernel, machinery = self.kernel, self._machinery
        while (event := machinery.next_message(now)) is not None:
            task, message = event
            kernel.apply(message, now)
            self._active_at = now
            if isinstance(message, TaskExited):
                self.statistics.attempt_ended(task, now)
        while self._following is not None and ORIGIN + self._following.at <= now:
            self._submit(self._following, now)
            self._following = next(self._workload, None)
        kernel.step(now)
        if self._inspect is not None:
            self._inspect(kernel, now)
        self._take(kernel.take_effects(), now)

    def _submit(self, work: Work, now: int) -> None:
        request = self._requests.get(work.shape)
        if request is None:
            request = self._requests[work.shape] = self._request(work)
        self._submitted += 1
        job_id = f"{self._submitted:08x}-0000-4000-8000-000000000000"
        self._works[job_id] = work
        try:
            self.kernel.apply(SubmitJob(request=request, job_id=job_id, size=REQUEST_BYTES), now)
        except Refusal as refusal:
            raise InputError(f"line {work.line} of the workload is refused: {refusal.message}") from None
        self._active_at = now
        self.statistics.submitted(work)

    def _request(self, work: Work) -> shapes.SubmitJobRequest:
        """One request for all jobs of a shape."""
        shape = work.shape
        queue = self._queue(work)
        needs = [
            shapes.ResourceRequirement(type="VCPU", value=shape.vcpus),
            shapes.ResourceRequirement(type="MEMORY", value=str(shape.memory)),
        ]
        if shape.gpus:
            needs.append(shapes.ResourceRequirement(type="GPU", value=str(shape.gpus)))
        return shapes.SubmitJobRequest(
            job_name="job",
            job_queue=queue,
            job_definition=definition_for(self.kernel, queue),
            array_properties=shapes.ArrayProperties(size=shape.count) if shape.count > 1 else None,
            share_identifier=shape.share,
            scheduling_priority_override=shape.priority,
            timeout=shapes.JobTimeout(attempt_duration_seconds=shape.timeout) if shape.timeout else None,
            retry_strategy=shapes.RetryStrategy(attempts=shape.attempts) if shape.attempts else None,
            container_overrides=shapes.ContainerOverrides(resource_requirements=needs),
        )

    def _queue(self, work: Work) -> str:
        queues = self.kernel.state.queues
        name = work.shape.queue
        if name is None and len(queues) == 1:
            return next(iter(queues))
        if name is None:
            raise InputError(f"line {work.line} of the workload names no queue, and there are {', '.join(queues)}")
        if name not in queues:
            known = ", ".join(queues)
            raise InputError(f"line {work.line} of the workload: there is no job queue {name!r}; there are {known}")
        return name

    def _take(self, effects: Effects, now: int) -> None:
        """Carries out what the kernel has decided."""
        self.statistics.instances_changed(effects, now)
        self._note_ends(effects)
        for order in effects.start:
            job = order.job
            work = self._works[job.parent.id if job.parent is not None else job.id]
            message = self._machinery.begin(order, work, now)
            self.statistics.attempt_began(self._machinery.tasks[order.task_id])
            if message is not None:
                self.kernel.apply(message, now)
        for stop in effects.stop:
            self._machinery.stop(stop, now)
        if effects.start:
            self._active_at = now

    def _note_ends(self, effects: Effects) -> None:
        ended = [job for job in effects.jobs.values() if job.status in (Status.SUCCEEDED, Status.FAILED)]
        parents: list[Job] = []
        for job in ended:
            if job.array is not None:
                parents.append(job)
            elif job.parent is not None:
                self.statistics.job_ended(job, self._works[job.parent.id])
            else:
                self.statistics.job_ended(job, self._works.pop(job.id))
        for parent in parents:
            self.statistics.array_ended(parent, self._works.pop(parent.id))
