"""What the kernel wants done: rows to save, then (and only then) orders to engines.

An `Effects` is filled by `Kernel.apply` and `Kernel.step` and taken by the control loop, which commits it as one
transaction before it acts on any of it.
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.records import Job, Status
from batchyard.shapes import batch as shapes


class Transition(msgspec.Struct, gc=False):
    """One change of a job's state: the line of its history, and the source of its event. The reason of a job that has
    become RUNNABLE is filled in at the end of the step, when it is known whether it has to wait."""

    job_seq: int
    at: int
    status: Status
    reason: str | None = None


class Wait(msgspec.Struct, frozen=True, gc=False):
    """From `at` on, the head of this queue has been waiting for this reason."""

    queue: str
    at: int
    reason: str


class Start(msgspec.Struct, frozen=True):
    """Order an engine to begin the current attempt of a job."""

    engine: str
    job: Job
    task_id: str
    attempt: int


class Stop(msgspec.Struct, frozen=True):
    """Order an engine to end a task: SIGTERM, and SIGKILL after the grace."""

    engine: str
    task_id: str
    grace_seconds: float


Detail = shapes.JobDetail | shapes.DescribeServiceJobResponse
"""What a job was asked to run: the second, of a service job."""


class Effects(msgspec.Struct, kw_only=True):
    """See the module's text."""

    jobs: dict[int, Job] = msgspec.field(default_factory=dict)
    """Jobs whose rows are new or changed, by seq."""
    created: set[int] = msgspec.field(default_factory=set)
    """Those of them that have no row yet."""
    details: list[tuple[int, Detail]] = msgspec.field(default_factory=list)
    """What a new job was asked to run, by seq: written once, never changed (but for its tags)."""
    definitions: dict[tuple[str, int], shapes.JobDefinition] = msgspec.field(default_factory=dict)
    resources: dict[tuple[str, str], msgspec.Struct | None] = msgspec.field(default_factory=dict)
    """Details of other resources by kind (as in the ARN: `job-queue`) and name; None: deleted."""
    job_tags: dict[int, dict[str, str]] = msgspec.field(default_factory=dict)
    transitions: list[Transition] = msgspec.field(default_factory=list)
    waits: list[Wait] = msgspec.field(default_factory=list)
    start: list[Start] = msgspec.field(default_factory=list)
    stop: list[Stop] = msgspec.field(default_factory=list)
    recall: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """Task ids by engine."""
    acknowledge: dict[str, list[str]] = msgspec.field(default_factory=dict)

    @property
    def durable(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.jobs or self.definitions or self.resources or self.job_tags or self.transitions or self.waits)

    @property
    def empty(self) -> bool:
        return not (self.durable or self.start or self.stop or self.recall or self.acknowledge)
