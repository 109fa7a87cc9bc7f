"""Why a job is not running: in words with the numbers, and as AWS's reason code where there is one.

Codes and texts: User Guide "Jobs stuck in a RUNNABLE status" and "Job queue blocked events". A code is given only when
it is certain: never because capacity that could still come is not there yet.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from batchyard.kernel import arrays, quota_placement, service_placement
from batchyard.kernel.consumable_resources import lacks
from batchyard.kernel.ordering import fifo, lines, share_lines
from batchyard.kernel.placement import environments_of, instances_of, largest
from batchyard.kernel.records import (
    ComputeEnvironment,
    Ending,
    Job,
    JobQueue,
    Kind,
    Resources,
    ServiceRequest,
    Status,
    Task,
)
from batchyard.kernel.state import State
from batchyard.kernel.time_limits import due_end_of

NEVER = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
MAX_VCPUS = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
INVALID = "ACTION_REQUIRED"

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
        return f"{self.code} - {self.sentence or _TEXTS[self.code]} {self.text}" if self.code else None


def shape_of(job: Job) -> tuple[object, ...]:
    """What decides, within a queue, whether something could ever run a job."""
    instances = (job.service.instance_type, job.service.instance_count) if job.service is not None else None
    return job.resources, job.kind, job.share, instances


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
    environments = environments_of(state, job.queue)
    limits = [(environment, largest(state, environment)) for environment in environments]
    if not limits or any(job.resources.fits(limit) for _, limit in limits):
        return None
    text = f"It needs {job.resources}; " + "; ".join(
        f"the most that compute environment {environment.name} can give one job is {limit}"
        for environment, limit in limits
    )
    only_max_vcpus = any(_fits_but_for_max_vcpus(state, environment, job.resources) for environment in environments)
    return Reason(f"{text}.", MAX_VCPUS if only_max_vcpus else NEVER, "NEVER")


def _fits_but_for_max_vcpus(state: State, environment: ComputeEnvironment, wanted: Resources) -> bool:
    return any(wanted.fits(instance.capacity) for instance in instances_of(state, environment))


def head_reason(state: State, queue: JobQueue, job: Job, subject: str = "It") -> Reason:
    """Why the job whose turn it is (`subject` names it in the sentence) can't start now, though it could at another time."""
    reason = _no_room(state, queue, job, subject)
    if reason.code is None and job.quota_share is not None:
        return Reason(quota_placement.why_not_now(state, job, subject, reason.text))
    return reason


def _no_room(state: State, queue: JobQueue, job: Job, subject: str) -> Reason:
    if job.service is not None:
        invalid, text = service_placement.why_not_now(state, job, job.service, subject)
        return Reason(text, INVALID, "INVALID") if invalid else Reason(text)
    environments = environments_of(state, queue)
    if not environments:
        return Reason(f"Job queue {queue.name} has no compute environment.", INVALID, "INVALID")
    if not any(environment.available for environment in environments):
        text = "; ".join(
            f"compute environment {environment.name} is {environment.detail.state}, {environment.detail.status}"
            for environment in environments
        )
        return Reason(f"{text[0].upper()}{text[1:]}.", INVALID, "INVALID")
    usable = [environment for environment in environments if environment.available]
    rooms = "; ".join(_room(state, environment) for environment in usable)
    return Reason(f"{subject} needs {job.resources}, and that much is not free: {rooms}.")


def _room(state: State, environment: ComputeEnvironment) -> str:
    instances = instances_of(state, environment)
    used, limit = environment.used.milli_vcpus / 1000, environment.max_milli_vcpus / 1000
    text = f"compute environment {environment.name} uses {used:g} of its {limit:g} vCPU"
    if instances:
        freest = max(instances, key=lambda instance: (instance.room.milli_vcpus, instance.room.memory))
        text += f", and {freest.id} has {freest.room} free of {freest.capacity}"
    return text


def explain(state: State, job: Job, index: int | None) -> Reason:
    """Why an unfinished job, or child `index` of an array that has no record of its own, is where it is."""
    status = job.status if index is None or job.array is None else arrays.status_of(job.array, index)
    if status in (Status.SCHEDULED, Status.STARTING, Status.RUNNING):
        assert job.task is not None
        if job.task.ending is Ending.PREEMPTED:
            return Reason(f"Is being preempted: {job.task.ending_reason}.", kind=status.name)
        if job.service is not None:
            return Reason(_of_instances(job.service, job.task), kind=status.name)
        doing = "Is being started" if status is Status.STARTING else "Runs"
        ahead = ", as soon as the tasks before it have ended" if job.task.ahead else ""
        return Reason(
            f"{doing} on instance {job.task.instance} of compute environment {job.task.environment}{ahead}.",
            kind=status.name,
        )
    if job.open_dependencies:
        return Reason(_dependencies(job), kind="DEPENDENCIES")
    if job.array is not None and index is None:
        return _explain_array(state, job)
    if status is Status.PENDING:
        return Reason(_child_dependencies(job, index), kind="DEPENDENCIES")
    if status.terminal:
        reason = (job.array.untouched_reason if job.array else None) or job.status_reason
        return Reason(f"Has ended: {status.name}{f' ({reason})' if reason else ''}.", kind=status.name)
    return _explain_runnable(state, job, index)


def _of_instances(service: ServiceRequest, task: Task) -> str:
    running = sum(node.started_at is not None and node.ended_at is None for node in task.nodes or ())
    return f"{running} of its {service.instance_count} instances run, in service environment {task.environment}."


def _explain_runnable(state: State, job: Job, index: int | None) -> Reason:
    queue = job.queue
    never = never_fits(state, job)
    if never is not None:
        return _with_time_limit(never, job)
    entry = job
    share = job.quota_share
    ahead = fifo.jobs_ahead(queue, entry) if share is None else share_lines.jobs_ahead(share, job)
    line = f"job queue {queue.name}" if share is None else f"quota share {share.name} of job queue {queue.name}"
    if job.array is not None and index is not None:
        ahead += sum(job.array.states[before] == Status.RUNNABLE for before in range(index))
        ahead -= sum(child.status is Status.RUNNABLE and child.index < index for child in job.array.children.values())
    lacking = consumable_reason(state, job)
    if lacking is not None:
        return lacking
    first = first_before(job)
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


def first_before(job: Job) -> Job | None:
    """The head of the line that a RUNNABLE job stands in."""
    share = job.quota_share
    return fifo.head(job.queue) if share is None else share_lines.head(share)


def consumable_reason(state: State, job: Job) -> Reason | None:
    """Why a job stands, or would stand, in the line for a consumable resource; None when all that it needs is there."""
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
    if arrays.next_ready(job.array) is None:
        return Reason(text, kind="ARRAY")
    index = arrays.next_ready(job.array)
    following = _explain_runnable(state, job, index)
    return Reason(f"{text} Child {index}: {following.text}", following.code, following.kind)
