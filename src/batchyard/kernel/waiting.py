"""Why a job is not running: in words with the numbers, and as AWS's reason code where there is one.

Codes and texts: User Guide "Jobs stuck in a RUNNABLE status" and "Job queue blocked events". A code is given only when
it is certain: never because capacity that could still come is not there yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from batchyard.kernel import arrays, backoff, caps, queue_preemption, quota_placement, service_placement
from batchyard.kernel.consumable_resources import lacks
from batchyard.kernel.instances import takes_tasks
from batchyard.kernel.ordering import fair_share_lines, fifo, lines, share_lines
from batchyard.kernel.ordering.fair_share import FairShare
from batchyard.kernel.placement import Capacity, capacity_of, environments_for, find_place, slices_of
from batchyard.kernel.records import (
    Claim,
    ComputeEnvironment,
    Ending,
    Instance,
    Job,
    JobQueue,
    Kind,
    ServiceRequest,
    Status,
    Task,
)
from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling import plans as scaling
from batchyard.kernel.state import State
from batchyard.kernel.suitability import Obstacle, verdict
from batchyard.kernel.time_limits import due_end_of

CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
NEVER = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
MAX_VCPUS = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
INVALID = "ACTION_REQUIRED"
CAP = "MAX_RUNNING"
"""The kind of a wait for a place below a cap; no code of AWS's."""

CODES = (
    NEVER,
    MAX_VCPUS,
    INVALID,
    service_placement.MAX_CAPACITY,
    service_placement.NO_CAPACITY,
    quota_placement.LIMIT_EXCEEDED,
)

_TEXTS = {
    NEVER: "The job resource requirement (vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the"
    " job queue.",
    MAX_VCPUS: "CE(s) associated with the job queue cannot meet the CPU requirement of the job.",
    INVALID: "CE(s) associated with the job queue are invalid.",
    service_placement.MAX_CAPACITY: "Service environment(s) associated with the job queue cannot meet the capacity"
    " requirement of the job.",
    service_placement.NO_CAPACITY: "Unable to provision requested compute resources",
}


class Reason(msgspec.Struct, frozen=True):
    """Why a job, or the head of a queue, waits."""

    text: str
    code: str | None = None
    """AWS's code, as `MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT`; None for a wait that needs nobody's help."""
    kind: str = "CAPACITY"
    """Stays the same while only numbers change."""
    sentence: str | None = None
    """AWS's text, where the code has several."""

    @property
    def status_reason(self) -> str | None:
        """What DescribeJobs shows: AWS's code and text, and the numbers."""
        if self.code is None:
            return None
        sentence = (self.sentence or _TEXTS[self.code]).removesuffix(".")
        return f"{self.code} - {sentence}. {self.text}"


def shape_of(job: Job) -> tuple[object, ...]:
    """What decides, within a queue, whether something could ever run a job."""
    instances = (job.service.instance_type, job.service.instance_count) if job.service is not None else None
    return job.resources, job.kind, job.share, instances, job.on_demand


_NOT_RUN = {
    Kind.ECS: "jobs of several containers (ecsProperties)",
    Kind.EKS: "jobs on Kubernetes (eksProperties)",
    Kind.MULTI_NODE: "multi-node parallel jobs (nodeProperties)",
}


def never_fits(state: State, job: Job) -> Reason | None:
    """The reason why nothing that the job's queue has could ever run it, or None when something could."""
    over = quota_placement.never_fits(job)
    if over is not None:
        return Reason(over[1], quota_placement.LIMIT_EXCEEDED, "NEVER", over[0])
    if job.service is not None:
        found = service_placement.never_fits(state, job, job.service)
        return Reason(found[1], found[0], "NEVER") if found else None
    if job.kind in _NOT_RUN:
        return Reason(f"No engine of this server runs {_NOT_RUN[job.kind]}.", NEVER, "NEVER")
    verdicts = [verdict(state, environment, job.resources) for environment in environments_for(state, job)]
    if not verdicts or any(each.obstacle is None for each in verdicts):
        return None
    text = f"It needs {job.resources}; {'; '.join(each.text for each in verdicts)}."
    mildest = max(verdicts, key=lambda each: each.obstacle or 0)
    code = _VERDICT_CODES[mildest.obstacle or Obstacle.TOO_SMALL]
    return Reason(text, code, "NEVER", _no_capacity(mildest.type_name) if code == CAPACITY else None)


_VERDICT_CODES = {Obstacle.TOO_SMALL: NEVER, Obstacle.MAX_VCPUS: MAX_VCPUS, Obstacle.NO_MACHINE: CAPACITY}


def _no_capacity(type_name: str | None) -> str:
    return f"Service cannot fulfill the capacity requested for instance type [{type_name}]"


def head_code(state: State, queue: JobQueue, job: Job) -> tuple[str | None, str]:
    """AWS's code for the wait of the job whose turn it is, if there is one, and its kind: as `head_reason` without the words,
    which take time."""
    if caps.is_full(queue):
        return None, CAP
    if job.service is not None:
        reason = head_reason(state, queue, job)
        return reason.code, reason.kind
    available = [environment for environment in environments_for(state, job) if environment.available]
    if not available:
        return INVALID, "INVALID"
    able = [environment for environment in available if verdict(state, environment, job.resources).obstacle is None]
    if able and all(_lacks_capacity(state, environment, job.resources) for environment in able):
        return CAPACITY, CAPACITY
    return None, "CAPACITY"


def _lacks_capacity(state: State, environment: ComputeEnvironment, wanted: Resources) -> bool:
    """Whether instances can't be launched for want of capacity alone."""
    unmet = _unmet(state, environment, wanted)
    return unmet is not None and unmet.obstacle in (scaling.Obstacle.NO_ROOM, scaling.Obstacle.UNAVAILABLE)


def _unmet(state: State, environment: ComputeEnvironment, wanted: Resources) -> scaling.Unmet | None:
    """What was in the way when instances were last to be launched for such a job; None when `maxvCpus` is reached."""
    if capacity_of(state, environment) is not Capacity.INSTANCES or environment.booting:
        return None
    if 1000 * environment.vcpus >= environment.max_milli_vcpus:
        return None
    return environment.unmet.get(wanted)


def head_reason(state: State, queue: JobQueue, job: Job, subject: str = "It") -> Reason:
    """Why the job whose turn it is (`subject` names it in the sentence) can't start now, though it could at another time."""
    if caps.is_full(queue):
        return Reason(caps.why_full(queue), kind=CAP)
    claim = _kept_for(state, job)
    if claim is not None:
        first = f"job {claim.job.id} of job queue {claim.job.queue.name}, which has a higher priority"
        return Reason(f"{subject} needs {job.resources}; what is free is kept for {first}.", kind="KEPT")
    reason = _no_room(state, queue, job, subject)
    stopping = queue_preemption.being_stopped_for(state, queue) if queue.terms.preempts else 0
    if stopping:
        one = stopping == 1
        who = (
            "1 job of a queue with a lower priority makes"
            if one
            else f"{stopping} jobs of queues with a lower priority make"
        )
        return msgspec.structs.replace(reason, text=f"{reason.text} {who} way.")
    if reason.code is None and job.quota_share is not None:
        return Reason(quota_placement.why_not_now(state, job, subject, reason.text))
    return reason


def _kept_for(state: State, job: Job) -> Claim | None:
    """The claim of another queue on the room that there would be for the job."""
    claims = [each for each in state.claims if (each.job.queue.detail.priority or 0) > (job.queue.detail.priority or 0)]
    return claims[0] if claims and find_place(state, job) is not None else None


def _no_room(state: State, queue: JobQueue, job: Job, subject: str) -> Reason:
    if job.service is not None:
        invalid, text = service_placement.why_not_now(state, job, job.service, subject)
        return Reason(text, INVALID, "INVALID") if invalid else Reason(text)
    environments = environments_for(state, job)
    if not environments:
        return Reason(f"Job queue {queue.name} has no compute environment.", INVALID, "INVALID")
    usable = [environment for environment in environments if environment.available]
    if not usable:
        text = "; ".join(
            f"compute environment {environment.name} is {environment.detail.state}, {environment.detail.status}"
            for environment in environments
        )
        return Reason(f"{text[0].upper()}{text[1:]}.", INVALID, "INVALID")
    rooms = "; ".join(_room(state, environment, job.resources) for environment in usable)
    text = f"{subject} needs {job.resources}, and that much is not free: {rooms}."
    code, kind = head_code(state, queue, job)
    if code != CAPACITY:
        return Reason(text, code, kind)
    unmet = (_unmet(state, environment, job.resources) for environment in usable)
    types = next((", ".join(found.types) for found in unmet if found is not None), None)
    return Reason(text, code, kind, _no_capacity(types))


def _room(state: State, environment: ComputeEnvironment, wanted: Resources) -> str:
    used, limit = environment.used.milli_vcpus / 1000, environment.max_milli_vcpus / 1000
    machines = slices_of(state, environment)
    if machines:
        text = f"compute environment {environment.name} uses {used:g} of its {limit:g} vCPU"
        return f"{text}, and {_freest(machines)}"
    instances = list(environment.instances.values())
    if capacity_of(state, environment) is Capacity.HOSTS:
        if not instances:
            return f"compute environment {environment.name} has no hosts"
        taking = [instance for instance in instances if takes_tasks(instance)]
        if not taking:
            return f"no host of compute environment {environment.name} takes jobs: all {len(instances)} are draining"
        return f"compute environment {environment.name} uses {used:g} vCPU, and {_freest(taking)}"
    count = f"{len(instances)} instance{'' if len(instances) == 1 else 's'}"
    text = f"compute environment {environment.name} has {count} with {environment.vcpus} of at most {limit:g} vCPU"
    if environment.booting:
        text += f", of which {len(environment.booting)} {'is' if len(environment.booting) == 1 else 'are'} booting"
    freest = environment.rooms.freest()
    if freest is not None:
        text += f", and {_freest([environment.instances[freest]])}"
    unmet = _unmet(state, environment, wanted)
    return text if unmet is None else f"{text}; {unmet.text[0].lower()}{unmet.text[1:].removesuffix('.')}"


def _freest(instances: Sequence[Instance]) -> str:
    freest = max(instances, key=lambda instance: (instance.room.milli_vcpus, instance.room.memory))
    called = (freest.detail.instance_type or freest.detail.name) if freest.detail is not None else None
    return f"{freest.id}{f' ({called})' if called else ''} has {freest.room} free of {freest.capacity}"


def explain(state: State, job: Job, index: int | None) -> Reason:
    """Why an unfinished job, or child `index` of an array that has no record of its own, is where it is."""
    status = job.status if index is None or job.array is None else arrays.status_of(job.array, index)
    if status in (Status.SCHEDULED, Status.STARTING, Status.RUNNING):
        assert job.task is not None
        if job.task.ending is Ending.PREEMPTED:
            return Reason(f"Is being preempted: {job.task.ending_reason}.", kind=status.name)
        if job.service is not None:
            return Reason(_of_instances(job.service, job.task), kind=status.name)
        if job.task.ending is Ending.RECLAIMED:
            return Reason(f"Is being stopped: {_taken_away(state, job.task)}", kind=status.name)
        doing = "Is being started" if status is Status.STARTING else "Runs"
        ahead = ", as soon as the tasks before it have ended" if job.task.ahead else ""
        return Reason(
            f"{doing} on instance {job.task.instance} of compute environment {job.task.environment}{ahead}.",
            kind=status.name,
        )
    if job.open_dependencies:
        held = f" It is held, too: {job.held}" if job.held is not None else ""
        return Reason(_dependencies(job) + held, kind="DEPENDENCIES")
    if job.array is not None and index is None:
        return _explain_array(state, job)
    if status is Status.PENDING:
        return Reason(_child_dependencies(job, index), kind="DEPENDENCIES")
    if status.terminal:
        reason = (job.array.untouched_reason if job.array else None) or job.status_reason
        return Reason(f"Has ended: {status.name}{f' ({reason})' if reason else ''}.", kind=status.name)
    return _explain_runnable(state, job, index)


def _taken_away(state: State, task: Task) -> str:
    instance = state.instances.get(task.instance)
    if instance is None or instance.detail is None:
        return task.ending_reason
    why = instance.detail.draining or ""
    return f"its instance {instance.id} is taken away ({why[:1].lower()}{why[1:]})."


def _of_instances(service: ServiceRequest, task: Task) -> str:
    running = sum(node.started_at is not None and node.ended_at is None for node in task.nodes or ())
    return f"{running} of its {service.instance_count} instances run, in service environment {task.environment}."


def _explain_runnable(state: State, job: Job, index: int | None) -> Reason:
    queue = job.queue
    if job.held is not None:
        return Reason(f"Is held: {job.held}", kind="HELD")
    if job.not_before is not None:
        return Reason(f"{backoff.reason_of(job)}.", kind="BACKOFF")
    never = never_fits(state, job)
    if never is not None:
        return _with_time_limit(never, job)
    entry = job
    share = job.quota_share
    line = f"job queue {queue.name}"
    if queue.fair is not None:
        ahead = fair_share_lines.jobs_ahead(queue.fair, entry, state.now)
        line += f" by fair share ({_standing(queue.fair.fair_share, job, state.now)})"
    elif share is not None:
        ahead = share_lines.jobs_ahead(share, job)
        line = f"quota share {share.name} of {line}"
    else:
        ahead = fifo.jobs_ahead(queue, entry)
    if job.array is not None and index is not None:
        ahead += sum(job.array.states[before] == Status.RUNNABLE for before in range(index))
        ahead -= sum(child.status is Status.RUNNABLE and child.index < index for child in job.array.children.values())
    lacking = consumable_reason(state, job)
    if lacking is not None:
        return lacking
    if fair_share_lines.is_held_back(state, queue, job):
        return Reason(_held_back(state, queue, job), kind="RESERVED")
    first = first_before(state, job)
    if ahead == 0 or first is None:
        reason = head_reason(state, queue, job)
        return _with_time_limit(Reason(f"Is next in {line}. {reason.text}", reason.code, reason.kind), job)
    reason = head_reason(state, queue, first, "That job")
    jobs = "1 job is" if ahead == 1 else f"{ahead} jobs are"
    text = f"{jobs} ahead of it in {line}; the first of them is {first.id}. {reason.text}"
    return _with_time_limit(Reason(text, reason.code, reason.kind), first, "That job")


def _with_time_limit(reason: Reason, job: Job, subject: str = "It") -> Reason:
    """Says, too, when the queue will end the job that blocks it (`subject` in the sentence)."""
    end = due_end_of(job)
    if end is None:
        return reason
    at = datetime.fromtimestamp(end.at / 1000, UTC)
    done = "terminated" if end.limit.action == "TERMINATE" else "cancelled"
    text = f"{reason.text} {subject} will be {done} at {at:%Y-%m-%d %H:%M:%S} UTC by the queue's job state time limit."
    return msgspec.structs.replace(reason, text=text)


def _standing(fair_share: FairShare, job: Job, now: int) -> str:
    """What a job's share has had, beside what it should have."""
    share = job.share or ""
    account = fair_share.accounts[share]
    entitlement = fair_share.entitlements()[share]
    return (
        f"share {share} has used {account.usage.vcpu_seconds(now) / 3600:.3g} vCPU-hours of late and has"
        f" {account.in_flight / 1000:g} vCPU in flight; it is entitled to {entitlement:.1%}"
    )


def _held_back(state: State, queue: JobQueue, job: Job) -> str:
    assert queue.fair is not None
    fair_share = queue.fair.fair_share
    capacity = fair_share_lines.capacity_of(state, queue)
    active = len(fair_share.accounts)
    return (
        f"Needs {job.resources}; of the {capacity / 1000:g} vCPU of job queue {queue.name} {fair_share.in_flight / 1000:g} are in"
        f" flight, and {fair_share.reserved(capacity) / 1000:g} are reserved for shares that are not active yet"
        f" (computeReservation {fair_share.policy.reservation}, {active} active)."
    )


def first_before(state: State, job: Job) -> Job | None:
    """The head of the line that a RUNNABLE job stands in."""
    if job.queue.fair is not None:
        candidates = fair_share_lines.candidates(job.queue.fair, state.now)
        return next((each for each in candidates if not caps.is_share_full(each)), None)
    share = job.quota_share
    return fifo.head(job.queue) if share is None else share_lines.head(share)


def consumable_reason(state: State, job: Job) -> Reason | None:
    """Why a job stands, or would stand, in the line for a consumable resource or for a place below a cap; None when all that it
    needs is there."""
    reached = [name for name, _ in caps.requirements(job) if caps.is_cap(name) and caps.is_reached(job, name)]
    if reached:
        return Reason(" ".join(caps.why_reached(job, name) for name in reached), kind=CAP)
    if caps.is_share_full(job):
        return Reason(caps.why_share_full(job), kind=CAP)
    needs = job.consumables or ()
    lacking = [requirement for requirement in needs if lacks(state, requirement)]
    if lacking:
        text = "; ".join(
            f"{quantity} of consumable resource {name}, {_stock(state, name)}" for name, quantity in lacking
        )
        return Reason(f"Needs {text}.", kind="CONSUMABLE_RESOURCE")
    mine = fifo.place_in_line(job)
    queue: lines.Queue = fifo.line_of(job)
    for name, _ in needs:
        line = fifo.in_order(queue.lines.get(name, ()))
        first = next((entry for entry in line if fifo.waits(entry[-1])), None)
        if first is not None and first[:-1] < mine:
            other: Job = first[-1]
            quantity = dict(other.consumables or ())[name]
            return Reason(
                f"Needs consumable resource {name} after job {other.id}, which needs {quantity} of it,"
                f" {_stock(state, name)}.",
                kind="CONSUMABLE_RESOURCE",
            )
    return None


def _stock(state: State, name: str) -> str:
    resource = state.consumable_resources.get(name)
    if resource is None:
        return "which does not exist"
    return f"of which {resource.available} of {resource.shown_total} {'is' if resource.available == 1 else 'are'} available"


def _dependencies(job: Job) -> str:
    ids = [dependency.job_id for dependency in job.depends_on or () if dependency.job_id and not dependency.type]
    named = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    count = job.open_dependencies
    return f"Waits for {count} of {len(ids)} jobs it depends on ({named})."


def _child_dependencies(job: Job, index: int | None) -> str:
    array = job.array or (job.parent.array if job.parent else None)
    at = job.index if index is None else index
    open_partners = (array.blocked or {}).get(at, 0) if array else 0
    if open_partners:
        partners = ", ".join(
            f"{dependency.job_id}:{at}" for dependency in job.depends_on or () if dependency.type == "N_TO_N"
        )
        return f"Waits for the same child of the array it follows ({partners})."
    return f"Waits for the child before it, {at - 1}, to succeed (SEQUENTIAL)."


def _explain_array(state: State, job: Job) -> Reason:
    assert job.array is not None
    counts = ", ".join(f"{count} {Status(status).name}" for status, count in enumerate(job.array.counts) if count)
    text = f"Of its {job.array.size} children, {counts}."
    if job.held is not None:
        return Reason(f"{text} Those that wait are held: {job.held}", kind="HELD")
    if arrays.next_ready(job.array) is None:
        return Reason(text, kind="ARRAY")
    index = arrays.next_ready(job.array)
    following = _explain_runnable(state, job, index)
    return Reason(f"{text} Child {index}: {following.text}", following.code, following.kind)
