"""Which instance takes a job.

The compute environments of a queue are tried in their order; the first that is available and has room takes the job
(User Guide "Job queues"). When none has room, a job of a kind that ends within milliseconds may be handed over *ahead*:
the engine begins it as soon as the running ones make room, which hides the round trip. See `Instance.line`.
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.records import NOTHING, ComputeEnvironment, Instance, Job, JobQueue, Kind, Resources
from batchyard.kernel.state import State


class Place(msgspec.Struct, frozen=True):
    """Where a job goes."""

    environment: ComputeEnvironment
    instance: Instance
    ahead: bool = False


def find_place(state: State, job: Job) -> Place | None:
    """The place of a job, or None when it has to wait."""
    if job.kind is not Kind.CONTAINER:
        return None
    environments = environments_of(state, job.queue)
    for environment in environments:
        if not environment.available or not _has_share(environment, job.resources):
            continue
        for instance in instances_of(state, environment):
            if not instance.line and job.resources.fits(instance.room):
                return Place(environment, instance)
    for environment in environments:
        for instance in instances_of(state, environment) if environment.available else ():
            if _may_line_up(state, job, environment, instance):
                return Place(environment, instance, ahead=True)
    return None


def environments_of(state: State, queue: JobQueue) -> list[ComputeEnvironment]:
    """The environments of a queue, in the order in which they are tried."""
    orders = sorted(queue.detail.compute_environment_order or (), key=lambda entry: entry.order)
    names = (entry.compute_environment.rpartition("/")[2] for entry in orders)
    return [state.environments[name] for name in names if name in state.environments]


def instances_of(state: State, environment: ComputeEnvironment) -> list[Instance]:
    """The instances that an environment may use: as yet the machine itself, for every managed one."""
    if environment.detail.type != "MANAGED" or environment.detail.eks_configuration is not None:
        return []
    return list(state.instances.values())


def largest(state: State, environment: ComputeEnvironment) -> Resources:
    """The most that one job could ever have in this environment."""
    instances = instances_of(state, environment)
    return Resources(
        min(environment.max_milli_vcpus, max((instance.capacity.milli_vcpus for instance in instances), default=0)),
        max((instance.capacity.memory for instance in instances), default=0),
        max((instance.capacity.gpus for instance in instances), default=0),
    )


def used_in(state: State, name: str) -> Resources:
    """What runs in the compute environment of this name. That may be something before the environment is created: tasks of
    one that was deleted go on running."""
    running = (
        job for job in state.tasks.values() if job.task is not None and not job.task.ahead and job.service is None
    )
    return sum((job.resources for job in running if job.task and job.task.environment == name), start=NOTHING)


def take_room(place: Place, job: Job, now: int) -> None:
    """Books a job where it goes."""
    if place.ahead:
        if not place.instance.line:
            place.instance.moved_at = now
        place.instance.line.append(job)
        return
    place.instance.used += job.resources
    place.environment.used += job.resources


def release_room(state: State, job: Job, now: int) -> None:
    """Gives back what a task had, to those next in line first, as the engine does."""
    task = job.task
    assert task is not None
    instance = state.instances.get(task.instance)
    if task.ahead:
        if instance is not None:
            instance.line.remove(job)
        return
    if job.service is not None:
        service_environment = state.service_environments.get(task.environment)
        if service_environment is not None:
            service_environment.count(job.service, -1)
    else:
        environment = state.environments.get(task.environment)
        if environment is not None:
            environment.used -= job.resources
    for instance_id in task.instances:
        instance = state.instances.get(instance_id)
        if instance is not None:
            instance.used -= job.resources
            instance.moved_at = now
            instance.stands_still = False
            advance_line(state, instance)


def advance_line(state: State, instance: Instance) -> None:
    """Moves those at the head of the line that now have room among those with room."""
    while instance.line and instance.line[0].resources.fits(instance.room):
        job = instance.line.popleft()
        assert job.task is not None
        job.task.ahead = False
        instance.used += job.resources
        environment = state.environments.get(job.task.environment)
        if environment is not None:
            environment.used += job.resources


def _has_share(environment: ComputeEnvironment, resources: Resources) -> bool:
    return environment.used.milli_vcpus + resources.milli_vcpus <= environment.max_milli_vcpus


def _may_line_up(state: State, job: Job, environment: ComputeEnvironment, instance: Instance) -> bool:
    """Only what is sure to begin soon may line up, and only where the instance alone is the limit: the engine knows
    nothing of an environment's maxvCpus."""
    if instance.lead == 0 or instance.stands_still or environment.max_milli_vcpus < instance.capacity.milli_vcpus:
        return False
    run_time = state.run_times.get(job.definition)
    if run_time is None or not job.resources.fits(instance.capacity):
        return False
    abreast = max(1, instance.capacity.milli_vcpus // max(1, job.resources.milli_vcpus))
    horizon = state.settings.lead_milliseconds
    return len(instance.line) < min(instance.lead, int(abreast * horizon / run_time)) and run_time < horizon
