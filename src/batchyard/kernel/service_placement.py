"""Whether a service job has room: all its instances at once, or none.

Two limits hold: the service environment's, in instances, and the machines', in vCPUs and memory. Source: User Guide
"Service environments for AWS Batch", "Service jobs in AWS Batch".
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.records import Instance, Job, JobQueue, ServiceEnvironment, ServiceRequest
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State

NUM_INSTANCES = "NUM_INSTANCES"
MAX_CAPACITY = "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE"
NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"


class Gang(msgspec.Struct, frozen=True):
    """Where the tasks of a job go."""

    environment: ServiceEnvironment
    instances: tuple[Instance, ...]
    """One for each task."""


def environment_of(state: State, queue: JobQueue) -> ServiceEnvironment | None:
    """The service environment of a queue."""
    for entry in queue.detail.service_environment_order or ():
        return state.service_environments.get(entry.service_environment.rpartition("/")[2])
    return None


def unit_of(environment: ServiceEnvironment, instance_type: str) -> str:
    """The unit in which an environment counts instances of a type."""
    whole = any(limit.capacity_unit == NUM_INSTANCES for limit in environment.detail.capacity_limits or ())
    return NUM_INSTANCES if whole else instance_type


def limit_of(environment: ServiceEnvironment, instance_type: str) -> int:
    """How many instances there may be at the same time: of this type, or of all types together. 0: none of this type."""
    unit = unit_of(environment, instance_type)
    limits = environment.detail.capacity_limits or ()
    return next((limit.max_capacity or 0 for limit in limits if limit.capacity_unit == unit), 0)


def used_of(environment: ServiceEnvironment, instance_type: str) -> int:
    """How many of these run."""
    if unit_of(environment, instance_type) == NUM_INSTANCES:
        return sum(environment.used.values())
    return environment.used.get(instance_type, 0)


def find_gang(state: State, job: Job, service: ServiceRequest) -> Gang | None:
    """The places of a job's tasks, or None when it has to wait."""
    environment = environment_of(state, job.queue)
    if environment is None or not environment.available:
        return None
    kind, wanted = service.instance_type, service.instance_count
    if used_of(environment, kind) + wanted > limit_of(environment, kind):
        return None
    places: list[Instance] = []
    for instance in state.machines.values():
        if not instance.line:
            places += [instance] * (min(wanted - len(places), _times(job.resources, instance.room)))
    return Gang(environment, tuple(places)) if len(places) == wanted else None


def _times(wanted: Resources, room: Resources) -> int:
    """How often so much fits into a room."""
    return max(0, min(room.milli_vcpus // wanted.milli_vcpus, room.memory // wanted.memory))


def never_fits(state: State, job: Job, service: ServiceRequest) -> tuple[str, str] | None:
    """AWS's code and a sentence for a job that nothing its queue has could ever run, or None when something could."""
    environment = environment_of(state, job.queue)
    if environment is None:
        return None
    kind, wanted = service.instance_type, service.instance_count
    limit = limit_of(environment, kind)
    if wanted > limit:
        unit = "instances" if unit_of(environment, kind) == NUM_INSTANCES else f"instances of type {kind}"
        text = f"It needs {instances(service)}; service environment {environment.name} has {limit} {unit}."
        return MAX_CAPACITY, text
    holds = sum(_times(job.resources, instance.capacity) for instance in state.machines.values())
    if holds < wanted:
        return NO_CAPACITY, f"It needs {instances(service)} with {job.resources} each; this machine can hold {holds}."
    return None


def why_not_now(state: State, job: Job, service: ServiceRequest, subject: str) -> tuple[bool, str]:
    """Why the job whose turn it is can't start now; whether that is because its environment can't be used at all."""
    environment = environment_of(state, job.queue)
    if environment is None:
        return True, f"Job queue {job.queue.name} has no service environment."
    detail = environment.detail
    if not environment.available:
        return True, f"Service environment {environment.name} is {detail.state}, {detail.status}."
    kind = service.instance_type
    used, limit = used_of(environment, kind), limit_of(environment, kind)
    unit = "instances" if unit_of(environment, kind) == NUM_INSTANCES else f"instances of type {kind}"
    text = f"service environment {environment.name} uses {used} of its {limit} {unit}"
    if used + service.instance_count <= limit:
        rooms = "; ".join(f"{each.id} has {each.room} free of {each.capacity}" for each in state.machines.values())
        text += f", but each instance takes {job.resources}, and {rooms}"
    return False, f"{subject} needs {instances(service)}, and that many are not free: {text}."


def instances(service: ServiceRequest) -> str:
    """Their number and type in words."""
    return (
        f"{service.instance_count} instance{'s' if service.instance_count > 1 else ''} of type {service.instance_type}"
    )


def used_in(state: State, name: str) -> dict[str, int]:
    """Instances that run in the service environment of this name, by type; see `placement.used_in`."""
    used: dict[str, int] = {}
    for job in {job.id: job for job in state.tasks.values()}.values():
        if job.service is not None and job.task is not None and job.task.environment == name:
            kind = job.service.instance_type
            used[kind] = used.get(kind, 0) + job.service.instance_count
    return used
