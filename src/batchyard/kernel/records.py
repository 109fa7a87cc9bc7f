"""The records that the kernel keeps: jobs, queues, compute environments, instances.

A job is in memory only while it is not finished. What it was asked to run (its *detail*) is not here at all: the store
keeps it, and gives it back when the job starts or is described. That keeps a waiting job at some hundred bytes.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, deque
from typing import Any

import msgspec

from batchyard.catalogue import InstanceType
from batchyard.kernel.identifiers import task_id_of
from batchyard.kernel.ordering.fair_share import FairShare
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.scaling.plans import Obstacle, Unmet
from batchyard.kernel.scaling.rooms import Rooms
from batchyard.kernel.terms import NO_TERMS, JobTerms, QueueTerms, queue_terms
from batchyard.shapes import batch as shapes


class Status(enum.IntEnum):
    """The states of a job, in the order of its life (User Guide "Job states"). The numbers are what the store keeps."""

    SUBMITTED = 0
    PENDING = 1
    RUNNABLE = 2
    STARTING = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    SCHEDULED = 7
    """Of service jobs, between RUNNABLE and STARTING."""

    @property
    def terminal(self) -> bool:
        return Status.SUCCEEDED <= self <= Status.FAILED


JOB_STATUSES = tuple(status for status in Status if status is not Status.SCHEDULED)
"""Of all jobs but service jobs."""


class Kind(enum.IntEnum):
    """What a job is made of. The numbers are what the store keeps."""

    CONTAINER = 0
    """One container (`containerProperties`)."""
    ECS = 1
    """Several containers on one host (`ecsProperties`)."""
    EKS = 2
    """A pod (`eksProperties`)."""
    MULTI_NODE = 3
    """Several hosts at once (`nodeProperties`)."""
    SERVICE = 4
    """A service job: a SageMaker training job."""


class InstanceDetail(msgspec.Struct, kw_only=True):
    """What is kept of an instance that was launched, or of a host that was registered. See `instances.py`."""

    id: str
    environment: str
    """Name of its compute environment."""
    machine: str
    """The machine that it is a slice of."""
    purchase: str
    """ON_DEMAND, SPOT, or REGISTERED for a host of an unmanaged environment."""
    vcpus: int
    capacity: Resources
    """What tasks can have of it."""
    footprint: Resources
    """What it takes of its machine."""
    launched_at: int
    instance_type: str | None = None
    """As `c6i.large`; None for a host."""
    name: str | None = None
    """Of a host, as its user calls it."""
    price: float = 0.0
    """US dollars an hour."""
    state: str = "pending"
    """EC2's: pending, running, shutting-down, terminated."""
    running_at: int | None = None
    has_worked: bool = False
    """A task has run on it."""
    draining: str | None = None
    """Why nothing new is placed on it."""
    deadline: int | None = None
    """When what still runs on it is stopped, while it drains."""
    interrupted_at: int | None = None
    """When it got the two-minute notice, at the end of which (the deadline) it is taken away."""
    terminated_at: int | None = None


class Instance(msgspec.Struct, kw_only=True):
    """A machine, or a slice of one, that tasks are placed on."""

    id: str
    engine: str
    capacity: Resources
    used: Resources = NOTHING
    detail: InstanceDetail | None = None
    """None: the machine itself, which the engine offers."""
    jobs: dict[str, Job] = msgspec.field(default_factory=dict)
    """What runs on it, by job id."""
    idle_since: int = 0
    """When the last task that was here ended."""
    reclaimed_at: int | None = None
    """When a Spot instance will get its notice, as drawn from its id."""
    lead: int = 0
    """How many tasks the engine takes ahead of free resources."""
    line: deque[Job] = msgspec.field(default_factory=deque)
    """Tasks handed over ahead, in the order in which the engine will begin them."""
    moved_at: int = 0
    """When a task last ended here: a line that does not move is recalled."""
    stands_still: bool = False
    """Its line has been recalled, and no task has ended since: nothing is handed over ahead."""

    @property
    def room(self) -> Resources:
        return self.capacity - self.used


class ComputeEnvironment(msgspec.Struct, kw_only=True):
    """A compute environment: its public detail, and what runs in it."""

    detail: shapes.ComputeEnvironmentDetail
    due: int | None = None
    """When the asynchronous change that is under way (CREATING, UPDATING, DELETING) is completed."""
    used: Resources = NOTHING
    instances: dict[str, Instance] = msgspec.field(default_factory=dict)
    """Those launched for it, or registered with it, that are not terminated, by id."""
    vcpus: int = 0
    """Of all its instances."""
    booting: dict[str, Instance] = msgspec.field(default_factory=dict)
    """Those of them that are pending."""
    rooms: Rooms = msgspec.field(default_factory=Rooms)
    """What is free on those of them that take tasks."""
    unavailable: dict[str, int] = msgspec.field(default_factory=dict)
    """Instance types that could not be launched lately, and until when they are not tried again."""
    unmet: dict[Resources, Unmet] = msgspec.field(default_factory=dict)
    """What was in the way when instances were last to be launched, by what jobs ask for."""
    going: tuple[str, ...] = ()
    """Ids of instances that are to make way for a larger one as soon as they are idle. See `reservations.py`."""
    wanted_vcpus: int = 0
    """What its user has set `desiredvCpus` to, until it is reached."""
    types: list[InstanceType] | None = None
    """The instance types that it may launch, once somebody has asked. See `suitability.py`."""
    verdicts: dict[Resources, Any] = msgspec.field(default_factory=dict)
    """Whether it could ever run a job, by what the job asks for. See `suitability.py`."""

    @property
    def name(self) -> str:
        return self.detail.compute_environment_name or ""

    @property
    def available(self) -> bool:
        return self.detail.state == "ENABLED" and self.detail.status in ("VALID", "UPDATING")

    @property
    def lacks_room(self) -> bool:
        """When instances were last to be launched, no machine had room for one."""
        return any(each.obstacle is Obstacle.NO_ROOM for each in self.unmet.values())

    @property
    def max_milli_vcpus(self) -> int:
        resources = self.detail.compute_resources
        return 1000 * (resources.max_vcpus if resources else self.detail.unmanaged_vcpus or 0)


class ServiceEnvironment(msgspec.Struct, kw_only=True):
    """A service environment: its public detail, and what runs in it."""

    detail: shapes.ServiceEnvironmentDetail
    due: int | None = None
    used: dict[str, int] = msgspec.field(default_factory=dict)
    """Instances in use, by instance type; types that are not in use are left out."""

    @property
    def name(self) -> str:
        return self.detail.service_environment_name or ""

    @property
    def available(self) -> bool:
        return self.detail.state == "ENABLED" and self.detail.status in ("VALID", "UPDATING")

    def count(self, service: ServiceRequest, sign: int) -> None:
        """Counts a job that starts (1) or has ended (-1)."""
        used = self.used.get(service.instance_type, 0) + sign * service.instance_count
        if used:
            self.used[service.instance_type] = used
        else:
            del self.used[service.instance_type]


class QuotaShare(msgspec.Struct, kw_only=True):
    """A quota share: its public detail, and the queue that it is a part of."""

    detail: shapes.DescribeQuotaShareResponse
    queue: JobQueue
    due: int | None = None
    waiting: list[tuple[int, int, int, Job]] = msgspec.field(default_factory=list)
    """A heap of (negative priority, rank, seq, job): see `ordering/share_lines.py`."""
    lines: dict[str, list[tuple[int, int, int, Job]]] = msgspec.field(default_factory=dict)
    """As `JobQueue.lines`, of the jobs of this share."""
    used: Counter[str] = msgspec.field(default_factory=Counter)
    """What the attempts of its jobs use, in the units of `Job.units`."""

    @property
    def name(self) -> str:
        return self.detail.quota_share_name or ""

    @property
    def key(self) -> str:
        """What the store keeps it under: names are unique only within a queue."""
        return f"{self.queue.name}/{self.name}"

    @property
    def unfinished(self) -> int:
        """Its jobs that have not finished."""
        return self.queue.shares.get(self.name, 0)

    def count(self, job: Job, sign: int) -> None:
        """Counts an attempt that begins (1) or has ended (-1)."""
        for unit, count in job.units.items():
            self.used[unit] += sign * count


Requirement = tuple[str, int]
"""A consumable resource, by name, and the quantity of it that one attempt takes."""


class Hold(msgspec.Struct, frozen=True):
    """What an attempt has taken of a consumable resource. `uuid` tells one that was deleted from its namesake."""

    resource: str
    uuid: str
    quantity: int


class AppliedUpdate(msgspec.Struct, frozen=True):
    """An update of a consumable resource that carried a client token."""

    resource: str
    token: str
    at: int
    operation: str
    quantity: int


class ConsumableResourceDetail(msgspec.Struct, kw_only=True):
    """What is kept of a consumable resource. What is in use of it follows from the attempts in force."""

    name: str
    uuid: str
    resource_type: str
    """REPLENISHABLE or NON_REPLENISHABLE."""
    total: int
    """What it was set to, less what has been used up."""
    created_at: int
    tags: dict[str, str] | None = None


class ConsumableResource(msgspec.Struct, kw_only=True):
    """A consumable resource, and how much of it is in use. See `consumable_resources.py`."""

    detail: ConsumableResourceDetail
    in_use: int = 0
    updates: dict[str, AppliedUpdate] = msgspec.field(default_factory=dict)
    """By client token, oldest first."""

    @property
    def name(self) -> str:
        return self.detail.name

    @property
    def replenishable(self) -> bool:
        return self.detail.resource_type == "REPLENISHABLE"

    @property
    def shown_total(self) -> int:
        return max(self.detail.total, self.in_use)

    @property
    def available(self) -> int:
        return self.shown_total - self.in_use


class ShareLine(msgspec.Struct, kw_only=True):
    """Those who wait in one share of a queue with fair share."""

    waiting: list[tuple[int, int, int, Job]] = msgspec.field(default_factory=list)
    """A heap of (negative priority, rank, seq, job): see `ordering/fair_share_lines.py`."""
    lines: dict[str, list[tuple[int, int, int, Job]]] = msgspec.field(default_factory=dict)
    """As `JobQueue.lines`, of the jobs of this share: those that lack a consumable resource."""


class FairShareLines(msgspec.Struct, kw_only=True):
    """What waits in a queue with fair share, and the account of its shares."""

    fair_share: FairShare
    shares: dict[str, ShareLine] = msgspec.field(default_factory=dict)
    """By share identifier."""

    def of(self, share: str) -> ShareLine:
        """The line of a share; one that has become empty may be dropped, and comes back here."""
        return self.shares.setdefault(share, ShareLine())


class HeadWait(msgspec.Struct):
    """What holds up the head of a queue. It goes into the history once it has lasted for a while."""

    kind: str
    since: int
    written: bool = False


class Blocked(msgspec.Struct, frozen=True, gc=False):
    """The code that says why a job blocks its queue, and since when (milliseconds) it has held: see `blocked.py`."""

    code: str
    since: int


class JobQueue(msgspec.Struct, kw_only=True):
    """A job queue: its public detail, and the jobs that wait in it."""

    detail: shapes.JobQueueDetail
    due: int | None = None
    unfinished: int = 0
    """Jobs of the queue that have not finished (an array counts once)."""
    shares: dict[str, int] = msgspec.field(default_factory=dict)
    """Those of them with a share identifier, or in a quota share, by its name: the shares that are active."""
    quota_shares: dict[str, QuotaShare] = msgspec.field(default_factory=dict)
    demand: dict[Resources, int] = msgspec.field(default_factory=dict)
    """How many jobs are RUNNABLE (children of arrays one by one), by what they ask for. Those that wait for a time, or for
    somebody to release them, do not count; nor do those of `on_demand`."""
    on_demand: dict[Resources, int] = msgspec.field(default_factory=dict)
    """As `demand`, of jobs that no longer start on Spot capacity."""
    below_caps: dict[str, dict[Resources, int]] = msgspec.field(default_factory=dict)
    """Those of both that belong to an array with a cap, or to a group, by the name of the cap: see `caps.py`."""
    terms: QueueTerms = NO_TERMS
    """What its tags say."""
    in_flight: Counter[str] = msgspec.field(default_factory=Counter)
    """Attempts in force, by the cap that they count for: see `caps.py`."""
    fair: FairShareLines | None = None
    """In a queue with a fair-share policy: its shares, and those who wait in them instead of in `waiting`."""
    waiting: list[tuple[int, int, Job]] = msgspec.field(default_factory=list)
    """A heap of (rank, seq, job): see `ordering/fifo.py`."""
    last_start: tuple[tuple[int, int], int] = ((0, 0), 0)
    """The place of the job that last started, and when: all behind it moved up then."""
    left: int = 0
    """Jobs that have ended since `waiting` was last swept."""
    unplaceable: dict[int, Job] = msgspec.field(default_factory=dict)
    """RUNNABLE jobs, by seq, that nothing the queue has could ever run: set aside until its environments change."""
    passed: set[tuple[int, int]] = msgspec.field(default_factory=set)
    """Rank and seq of the entries in `waiting` whose jobs have started before their turn: they stand for nobody."""
    shapes: dict[tuple[Resources, int | None, bool], list[tuple[int, int, Job]]] = msgspec.field(default_factory=dict)
    """The same entries, of jobs that need no consumable resource, by what they ask for, their time limit, and whether they
    start on Spot capacity no longer: for those who start before the head of the queue. See `reservations.py`."""
    lines: dict[str, list[tuple[int, int, Job]]] = msgspec.field(default_factory=dict)
    """Entries as in `waiting` of jobs that lack a consumable resource, by its name: see `ordering/lines.py`."""
    wait: HeadWait | None = None
    """Why the head of the queue is waiting."""
    changed: bool = False
    """What there is to run its jobs on has changed: the next step looks again at those that were set aside."""
    held: dict[int, Job] = msgspec.field(default_factory=dict)
    """By seq, the heads that have a code for their wait, until a step finds that they have none, or are no heads."""
    blocked: dict[str, OrderedDict[int, Job]] = msgspec.field(default_factory=dict)
    """Jobs that block the queue, by code and seq, in the order in which they came to: see `blocked.py`."""

    @property
    def name(self) -> str:
        return self.detail.job_queue_name or ""

    def __post_init__(self) -> None:
        self.terms = queue_terms(self.detail.tags)

    @property
    def is_service(self) -> bool:
        """It takes service jobs and no others."""
        return bool(self.detail.service_environment_order)

    def count_in(self, job: Job) -> None:
        """One more job that has not finished."""
        self.unfinished += 1
        if job.share is not None:
            self.shares[job.share] = self.shares.get(job.share, 0) + 1
            if self.fair is not None:
                self.fair.fair_share.joined(job.share)

    def count_waiting(self, job: Job, more: int) -> None:
        """So many more (or fewer) jobs like this one are RUNNABLE."""
        demand = self.on_demand if job.on_demand else self.demand
        _add(demand, job.resources, more)
        for name in job.cap_names:
            below = self.below_caps.setdefault(name, {})
            _add(below, job.resources, more)
            if not below:
                del self.below_caps[name]
        if self.fair is not None and job.share is not None:
            self.fair.fair_share.waits(job.share, more)

    def count_out(self, job: Job, now: int) -> None:
        """A job has finished."""
        self.unfinished -= 1
        if job.share is not None:
            if self.fair is not None:
                self.fair.fair_share.left(job.share, now)
            self.shares[job.share] -= 1
            if not self.shares[job.share]:
                del self.shares[job.share]


def _add(counts: dict[Resources, int], resources: Resources, more: int) -> None:
    count = counts.get(resources, 0) + more
    if count:
        counts[resources] = count
    else:
        counts.pop(resources, None)


class Ending(enum.IntEnum):
    """Why a task was told to stop."""

    TERMINATED = 1
    TIMEOUT = 2
    PREEMPTED = 3
    """Another job has a better claim to what it uses: the attempt does not count, and the job waits again."""
    RECLAIMED = 4
    """Its instance goes. A program that ends well nevertheless has succeeded."""


class Failure(msgspec.Struct, frozen=True):
    """What ended an attempt of several tasks."""

    status_reason: str
    exit_code: int | None = None
    reason: str | None = None


class Node(msgspec.Struct, kw_only=True):
    """One of the tasks of an attempt that has several; each has its instance."""

    id: str
    """The engine's task id."""
    instance: str
    started_at: int | None = None
    ended_at: int | None = None


class Task(msgspec.Struct, kw_only=True, gc=False):
    """A job's current attempt at the engine. It is in force from the commit that precedes the order to start it."""

    id: str
    instance: str
    """For an attempt of several tasks: that of the first."""
    environment: str
    """Name of the compute environment or service environment."""
    ahead: bool = False
    """Handed over before its resources were free."""
    ending: Ending | None = None
    ending_reason: str = ""
    nodes: list[Node] | None = None
    """The tasks of an attempt that has several, or may have; None: it is one task, `id`. See `gangs.py`."""
    failure: Failure | None = None
    """Of several tasks, the first that failed, and how: the others are stopped."""
    holds: list[Hold] | None = None
    """What it has taken of consumable resources."""

    @property
    def is_to_end(self) -> bool:
        """Its tasks have been told to stop."""
        return self.ending is not None or self.failure is not None

    @property
    def in_force(self) -> list[tuple[str, str]]:
        """Task id and instance of what has not ended yet."""
        if self.nodes is None:
            return [(self.id, self.instance)]
        return [(node.id, node.instance) for node in self.nodes if node.ended_at is None]

    @property
    def instances(self) -> list[str]:
        """Where it holds resources, each instance as often as tasks were placed on it."""
        return [self.instance] if self.nodes is None else [node.instance for node in self.nodes]


class Array(msgspec.Struct, kw_only=True):
    """The children of an array job, expanded lazily: a child gets a record of its own (a `Job`) when it starts or comes
    to differ from its siblings. All the others are one byte in `states`."""

    size: int
    states: bytearray
    counts: list[int]
    """Children by status, indexed by `Status`."""
    children: dict[int, Job] = msgspec.field(default_factory=dict)
    """Children with a record that have not finished."""
    next_index: int = 0
    """Every child from here on is untouched, where children are ready in the order of their index."""
    ready: list[int] | None = None
    """A heap of the indices that have become ready one by one (SEQUENTIAL, N_TO_N); None: all of them at once. Either way
    the lowest is next."""
    sequential: bool = False
    blocked: dict[int, int] | None = None
    """N_TO_N: how many dependencies of a child are still open, for the children that have any."""
    awaited: dict[int, list[Job]] = msgspec.field(default_factory=dict)
    """Jobs that wait for one child, by its index."""
    followers: list[Job] = msgspec.field(default_factory=list)
    """Arrays whose children wait for those of this one, each for its partner (N_TO_N)."""
    summary_at: int = 0
    queued: bool = False
    """Has its entry in the queue."""
    closed: bool = False
    """Cancelled or terminated: no further child starts, and none is retried."""
    untouched_reason: str | None = None
    """Why children without a record have failed."""


class ServiceRequest(msgspec.Struct, kw_only=True):
    """What a service job has that other jobs have not. It is kept as a whole, in one column."""

    instance_type: str
    instance_count: int
    training_name: str
    """What the names of its training jobs are made of."""
    max_runtime: int
    """Seconds: `StoppingCondition.MaxRuntimeInSeconds`."""
    priority: int | None = None
    """As `Job.priority`, which UpdateServiceJob changes."""
    quota_share: str | None = None
    scheduled_at: int | None = None
    """When the current or the last attempt became SCHEDULED."""
    preemption_retries: int | None = None
    """How often it may be preempted and tried again; None: without limit."""
    preemptions: int = 0
    recent_preemptions: list[shapes.ServiceJobPreemptedAttempt] | None = None
    """The latest of the attempts that were preempted."""


class Preemptions(msgspec.Struct, kw_only=True):
    """How often a job in a quota share may be preempted, and has been. It is kept as a whole, in one column; a service job has
    it in its `ServiceRequest`."""

    retries: int | None = None
    """How often it may be preempted and tried again; None: without limit."""
    count: int = 0
    recent: list[shapes.AttemptDetail] | None = None
    """The latest of the attempts that were preempted."""


class Amendments(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What has changed of a job since it was submitted. It is kept as a whole, in one column."""

    held: str | None = None
    """Why it is not to start, as its user said."""
    not_before: int | None = None
    """When its next attempt may start, after one that failed."""
    priority: int | None = None
    """Instead of the one that it was submitted with."""
    memory: int | None = None
    """MiB: instead of what it asked for."""
    on_demand: bool = False
    """It no longer starts on Spot capacity."""


class Job(msgspec.Struct, kw_only=True):
    """An unfinished job: a single job, an array parent, or an array child that has a record."""

    seq: int
    """Order of acceptance, over all queues; the store's key."""
    id: str
    name: str
    queue: JobQueue
    definition: str
    """ARN with revision."""
    resources: Resources
    created_at: int
    kind: Kind = Kind.CONTAINER
    status: Status = Status.SUBMITTED
    status_reason: str | None = None
    retry: shapes.RetryStrategy | None = None
    timeout: int | None = None
    """Seconds from the start of an attempt."""
    share: str | None = None
    priority: int | None = None
    consumables: tuple[Requirement, ...] | None = None
    """What each attempt (of each child) takes of consumable resources."""
    log_prefix: str | None = None
    """The log stream's prefix, where the definition gives one."""
    attempt: int = 0
    """The number of the current or, between attempts, of the last attempt; the first is 1. Those that were preempted have
    a number, too."""
    attempts: list[shapes.AttemptDetail] | None = None
    """The attempts that have ended."""
    started_at: int | None = None
    stopped_at: int | None = None
    task: Task | None = None
    cancelled: bool = False
    terminated: bool = False
    depends_on: list[shapes.JobDependency] | None = None
    open_dependencies: int = 0
    dependents: list[Job] | None = None
    """Jobs that wait for the whole of this one."""
    parent: Job | None = None
    index: int = -1
    array: Array | None = None
    service: ServiceRequest | None = None
    """For a service job."""
    blocked: Blocked | None = None
    """While it blocks its queue."""
    preemptions: Preemptions | None = None
    """Of a job that was preempted, or may not be without limit."""
    terms: JobTerms | None = None
    """What its tags say; a child has those of its array."""
    amendments: Amendments | None = None

    def amend(self) -> Amendments:
        """What has changed of it, to be changed further."""
        self.amendments = self.amendments or Amendments()
        return self.amendments

    @property
    def held(self) -> str | None:
        """Why it, or the array that it is a child of, is held; None: it is not."""
        if self.amendments is not None and self.amendments.held is not None:
            return self.amendments.held
        return self.parent.held if self.parent is not None else None

    @property
    def not_before(self) -> int | None:
        """When its next attempt may start; None: at any time."""
        return self.amendments.not_before if self.amendments is not None else None

    @property
    def is_withdrawn(self) -> bool:
        """It stands in no line, though it may be RUNNABLE: it is held, or waits for a time."""
        return self.not_before is not None or self.held is not None

    @property
    def cap_names(self) -> list[str]:
        """The caps of its own that it may be subject to, as `caps.py` names them."""
        terms = self.terms
        if terms is None:
            return []
        of_array = terms.most_running is not None and (self.array is not None or self.parent is not None)
        names = [f"array:{(self.parent or self).id}"] if of_array else []
        return [*names, f"group:{self.queue.name}/{terms.group}"] if terms.group is not None else names

    @property
    def on_demand(self) -> bool:
        """It does not start on Spot capacity where there is other."""
        return self.amendments is not None and self.amendments.on_demand

    @property
    def counted_attempts(self) -> int:
        """The attempts that have begun, without those that were preempted."""
        if self.service is not None:
            return self.attempt - self.service.preemptions
        return self.attempt - (self.preemptions.count if self.preemptions is not None else 0)

    @property
    def quota_share(self) -> QuotaShare | None:
        """The quota share that it is in."""
        return self.queue.quota_shares.get(self.share or "")

    @property
    def units(self) -> dict[str, int]:
        """What each attempt takes, in the units of quota shares: instances of a type, or vCPUs (in thousandths), MiB and GPUs."""
        if self.service is not None:
            return {self.service.instance_type: self.service.instance_count}
        needs = self.resources
        return {"VCPU": needs.milli_vcpus, "MEMORY": needs.memory, "GPU": needs.gpus}

    @property
    def task_id(self) -> str:
        return task_id_of(self.id, self.attempt)

    @property
    def closed(self) -> bool:
        """No further attempt is wanted."""
        parent = self.parent
        return parent is not None and parent.array is not None and parent.array.closed


class Reservation(msgspec.Struct):
    """What is kept for a job."""

    resources: Resources
    environment: ComputeEnvironment
    instance: Instance | None
    """None: it has yet to be launched."""
    at: int | None = None
    """The reserved start; None: nobody knows."""
    beside: Resources | None = None
    """What others may have of the instance at that time; None: nothing."""
    going: tuple[str, ...] = ()
    """Ids of the instances that are to make way for its launch."""


class Claim(msgspec.Struct, frozen=True):
    """The first job of a queue with strict priority, which does not fit, and what is kept for it: see `queue_preemption.py`."""

    job: Job
    reservation: Reservation
