"""All that the kernel knows, in one object."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from batchyard.catalogue import Catalogue, load
from batchyard.kernel.effects import Effects, Transition
from batchyard.kernel.identifiers import Account, split_child
from batchyard.kernel.records import (
    Claim,
    ComputeEnvironment,
    ConsumableResource,
    Instance,
    Job,
    JobQueue,
    Kind,
    ServiceEnvironment,
    Status,
)
from batchyard.kernel.resources import Resources
from batchyard.kernel.submission_tokens import SubmissionToken
from batchyard.shapes import batch as shapes


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose about the rules."""

    account: Account
    stop_grace_seconds: float = 30.0
    """Between SIGTERM and SIGKILL (User Guide "Job timeouts": 30 s)."""
    maximum_array_size: int = 10_000
    lead_milliseconds: int = 100
    """How much work, by the recent run time of the job definition, may be handed to an engine ahead of free resources."""
    catalogue: Catalogue = msgspec.field(default_factory=load)
    """The EC2 instance types that there are."""
    slices: bool = False
    """Whether EC2 and SPOT environments give each task a slice of the machine of its own, and launch no instances, unless their
    tag `batchyard:capacity` says otherwise."""
    boot_seconds: float = 0.0
    """From the launch of an instance until it runs."""
    idle_seconds: float = 60.0
    """For how long an instance is kept that has nothing to do. AWS publishes no figure; see `minScaleDownDelayMinutes`."""
    launch_failure_rate: float = 0.0
    """The part of launches that have insufficient capacity."""
    spot_interruptions_an_hour: float = 0.0
    """How often a Spot instance is reclaimed, on average."""
    spot_notice_seconds: float = 120.0
    """Between the notice and the end of a Spot instance (EC2 "Spot Instance interruption notices")."""
    seed: int = 0
    """Of what is left to chance."""


class DefinitionFamily(msgspec.Struct):
    """All revisions of a job definition. They are kept encoded: there may be a hundred thousand of them."""

    revisions: dict[int, bytes]
    active: set[int]
    newest: int = 0


class Settled(msgspec.Struct, frozen=True):
    """A job that has ended, or children of an array that have ended together."""

    job: Job
    children: Sequence[int] | None
    succeeded: bool


class State(msgspec.Struct, kw_only=True):
    """The unfinished jobs, the resources and the tasks in flight."""

    settings: Settings
    effects: Effects = msgspec.field(default_factory=Effects)
    """What has been decided since the control loop last took the effects."""
    now: int = 0
    """The time of the last message or step: for what is only asked."""
    next_seq: int = 1
    jobs: dict[str, Job] = msgspec.field(default_factory=dict)
    """Single jobs and array parents by id. Children are found through their parent."""
    tasks: dict[str, Job] = msgspec.field(default_factory=dict)
    """Jobs with a task in force, by task id."""
    definitions: dict[str, DefinitionFamily] = msgspec.field(default_factory=dict)
    environments: dict[str, ComputeEnvironment] = msgspec.field(default_factory=dict)
    service_environments: dict[str, ServiceEnvironment] = msgspec.field(default_factory=dict)
    queues: dict[str, JobQueue] = msgspec.field(default_factory=dict)
    consumable_resources: dict[str, ConsumableResource] = msgspec.field(default_factory=dict)
    freed: set[str] = msgspec.field(default_factory=set)
    """Consumable resources of which there may be more than at the last step, by name."""
    scheduling_policies: dict[str, shapes.SchedulingPolicyDetail] = msgspec.field(default_factory=dict)
    submission_tokens: dict[str, SubmissionToken] = msgspec.field(default_factory=dict)
    """Client tokens of service jobs, the oldest first."""
    machines: dict[str, Instance] = msgspec.field(default_factory=dict)
    """What the engines offer."""
    instances: dict[str, Instance] = msgspec.field(default_factory=dict)
    """All that tasks may be placed on: the machines, and the instances that are slices of them."""
    idle: dict[str, Instance] = msgspec.field(default_factory=dict)
    """Launched instances that run and have nothing to do, the longest idle first."""
    launches: int = 0
    """Since the start of the server: part of the ids of instances."""
    timers: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """A heap of (time, instance id): when to look after an instance."""
    scaling_due: bool = False
    """Something has changed that may call for another instance."""
    resources: dict[Resources, Resources] = msgspec.field(default_factory=dict)
    """One object for each shape that jobs ask for."""
    names: dict[str, str] = msgspec.field(default_factory=dict)
    """One object for each definition ARN and other text that many jobs share."""
    run_times: dict[str, float] = msgspec.field(default_factory=dict)
    """Recent run time of an attempt in milliseconds, by definition ARN (exponentially weighted)."""
    settling: deque[Settled] = msgspec.field(default_factory=deque)
    """What has ended and has not yet been told to those who wait for it."""
    ended: dict[str, tuple[Status, bytes | None]] = msgspec.field(default_factory=dict)
    """Jobs that have left since the effects were last taken: status, and for an array the states of its children. The store
    does not know them as finished yet, so a job submitted in the same round finds them here."""
    claims: list[Claim] = msgspec.field(default_factory=list)
    """Of queues with strict priority, in descending order, as of the last time that jobs were placed."""
    newcomers: list[tuple[Job, Transition]] = msgspec.field(default_factory=list)
    """Jobs that became RUNNABLE since the last step, with the line of history that shall say why they wait."""
    put_off: list[tuple[int, int, Job]] = msgspec.field(default_factory=list)
    """A heap of (time, seq, job): jobs that are not tried again before then."""
    deadlines: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """A heap of (time, task id): attempts with a time limit."""

    def take_seq(self) -> int:
        """The key of a new job, whose row the next commit will add."""
        seq = self.next_seq
        self.next_seq += 1
        self.effects.created.add(seq)
        return seq

    def save(self, job: Job) -> None:
        """Marks a job's row as changed."""
        self.effects.jobs[job.seq] = job

    def enter(self, job: Job, status: Status, now: int, reason: str | None = None) -> None:
        """Moves a job to a status: record, row and history."""
        if job.array is None and (job.status is Status.RUNNABLE) is not (status is Status.RUNNABLE):
            self.count_waiting(job, 1 if status is Status.RUNNABLE else -1)
        job.status = status
        job.status_reason = reason
        self.effects.jobs[job.seq] = job
        transition = Transition(job.seq, now, status, reason)
        self.effects.transitions.append(transition)
        if status is Status.RUNNABLE:
            self.newcomers.append((job, transition))

    def count_waiting(self, job: Job, more: int) -> None:
        """So many more (or fewer) jobs like this one are RUNNABLE. Those that stand in no line do not count."""
        if job.is_withdrawn:
            return
        job.queue.count_waiting(job, more)
        if more > 0:
            self.scaling_due = True

    def shared(self, resources: Resources) -> Resources:
        return self.resources.setdefault(resources, resources)

    def shared_text(self, text: str) -> str:
        return self.names.setdefault(text, text)

    def find(self, job_id: str) -> tuple[Job, int | None] | None:
        """The unfinished job of this id (service jobs are not found). For a child: its record and None, or its parent and
        the index when it has none."""
        job = self.jobs.get(job_id)
        if job is not None:
            return None if job.kind is Kind.SERVICE else (job, None)
        parent_id, index = split_child(job_id)
        parent = self.jobs.get(parent_id)
        if index is None or parent is None or parent.array is None:
            return None
        if index >= parent.array.size or job_id != f"{parent_id}:{index}":
            return None
        child = parent.array.children.get(index)
        return (parent, index) if child is None else (child, None)


def encode_definition(definition: shapes.JobDefinition) -> bytes:
    return msgspec.json.encode(definition)


_DECODER = msgspec.json.Decoder(shapes.JobDefinition)


def decode_definition(data: bytes) -> shapes.JobDefinition:
    return _DECODER.decode(data)
