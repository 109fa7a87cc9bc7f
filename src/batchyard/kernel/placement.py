"""Which instance takes a job.

The compute environments of a queue are tried in their order; the first that is available and has room takes the job
(User Guide "Job queues"). What an environment has to place jobs on depends on its capacity, see :class:`Capacity`. When
none has room, a job of a kind that ends within milliseconds may be handed over *ahead*: the engine begins it as soon as
the running ones make room, which hides the round trip. See `Instance.line`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from batchyard.kernel import instances
from batchyard.kernel.records import ComputeEnvironment, Instance, Job, JobQueue, Kind
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.state import State

CAPACITY_TAG = "batchyard:capacity"
"""Of an EC2 or SPOT environment: `instances` or `slices`, see :class:`Capacity`."""


class Capacity(enum.Enum):
    """Where an environment's jobs are placed."""

    INSTANCES = "instances"
    """On instances of EC2 types, which it launches and lets go: EC2 and SPOT."""
    SLICES = "slices"
    """Each task on a slice of a machine of its own size: FARGATE, FARGATE_SPOT and ECS_MANAGED_INSTANCES."""
    HOSTS = "hosts"
    """On what its user has registered: UNMANAGED."""
    NONE = "none"
    """Nowhere: a Kubernetes cluster that is not connected."""


class Place(msgspec.Struct, frozen=True):
    """Where a job goes."""

    environment: ComputeEnvironment
    instance: Instance
    ahead: bool = False


def capacity_of(state: State, environment: ComputeEnvironment) -> Capacity:
    """What kind of capacity an environment has."""
    detail = environment.detail
    if detail.eks_configuration is not None:
        return Capacity.NONE
    if detail.type != "MANAGED" or detail.compute_resources is None:
        return Capacity.HOSTS
    if detail.compute_resources.type not in ("EC2", "SPOT"):
        return Capacity.SLICES
    chosen = (detail.tags or {}).get(CAPACITY_TAG)
    if chosen in ("instances", "slices"):
        return Capacity(chosen)
    return Capacity.SLICES if state.settings.slices else Capacity.INSTANCES


def find_place(state: State, job: Job, *, without: Instance | None = None) -> Place | None:
    """The place of a job, or None when it has to wait. `without`: an instance that is kept for somebody else; then nothing is
    handed over ahead either."""
    if job.kind is not Kind.CONTAINER:
        return None
    environments = environments_for(state, job)
    for environment in environments:
        if environment.available:
            instance = _room_in(state, environment, job.resources, without)
            if instance is not None:
                return Place(environment, instance)
    if without is not None:
        return None
    for environment in environments:
        for machine in slices_of(state, environment) if environment.available else ():
            if _may_line_up(state, job, environment, machine):
                return Place(environment, machine, ahead=True)
    return None


def _room_in(
    state: State, environment: ComputeEnvironment, wanted: Resources, without: Instance | None
) -> Instance | None:
    if capacity_of(state, environment) is not Capacity.SLICES:
        excluded = without is not None and without.id in environment.rooms
        if without is not None and excluded:
            environment.rooms.exclude(without.id)
        found = environment.rooms.find(wanted)
        if without is not None and excluded:
            environment.rooms.include(without.id)
        return environment.instances[found] if found is not None else None
    if not has_share(environment, wanted):
        return None
    for machine in state.machines.values():
        if machine is not without and not machine.line and wanted.fits(machine.room):
            return machine
    return None


def places_in(state: State, environment: ComputeEnvironment) -> Iterator[Instance]:
    """Everything that takes tasks of the environment now."""
    if capacity_of(state, environment) is Capacity.SLICES:
        return (machine for machine in state.machines.values() if not machine.line)
    return (each for each in environment.instances.values() if instances.takes_tasks(each))


def allowance_of(state: State, environment: ComputeEnvironment, instance: Instance) -> int:
    """Thousandths of a vCPU that the environment itself still allows on an instance. What its own instances may have is decided
    at their launch."""
    if capacity_of(state, environment) is Capacity.SLICES:
        return environment.max_milli_vcpus - environment.used.milli_vcpus
    return instance.room.milli_vcpus


def environments_of(state: State, queue: JobQueue) -> list[ComputeEnvironment]:
    """The environments of a queue, in the order in which they are tried: its detail has them sorted."""
    names = [entry.compute_environment.rpartition("/")[2] for entry in queue.detail.compute_environment_order or ()]
    return [state.environments[name] for name in names if name in state.environments]


def environments_for(state: State, job: Job) -> list[ComputeEnvironment]:
    """As `environments_of`: those that a job of the queue may start in."""
    environments = environments_of(state, job.queue)
    if not job.on_demand:
        return environments
    return [environment for environment in environments if not is_spot(environment)] or environments


def is_spot(environment: ComputeEnvironment) -> bool:
    """Whether what runs there may be reclaimed."""
    resources = environment.detail.compute_resources
    if resources is None:
        return False
    provider = resources.managed_instances_provider
    spot = provider is not None and provider.instance_launch_template.capacity_option_type == "SPOT"
    return spot or resources.type in ("SPOT", "FARGATE_SPOT")


def slices_of(state: State, environment: ComputeEnvironment) -> list[Instance]:
    """The machines that an environment may have slices of, for each of its tasks."""
    return list(state.machines.values()) if capacity_of(state, environment) is Capacity.SLICES else []


def used_in(state: State, name: str) -> Resources:
    """What runs in the compute environment of this name. That may be something before the environment is created: tasks of
    one that was deleted go on running."""
    running = (
        job for job in state.tasks.values() if job.task is not None and not job.task.ahead and job.service is None
    )
    return sum((job.resources for job in running if job.task and job.task.environment == name), start=NOTHING)


def take_room(state: State, place: Place, job: Job, now: int) -> None:
    """Books a job where it goes."""
    instance = place.instance
    if place.ahead:
        if not instance.line:
            instance.moved_at = now
        instance.line.append(job)
        return
    place.environment.used += job.resources
    occupy(state, instance, job)


def occupy(state: State, instance: Instance, job: Job) -> None:
    """A task of the job is on this instance."""
    instance.used += job.resources
    instance.jobs[job.id] = job
    if instance.detail is None:
        return
    state.idle.pop(instance.id, None)
    environment = state.environments.get(instance.detail.environment)
    if environment is not None and instances.takes_tasks(instance):
        environment.rooms.update(instance.id, instance.room)
    if not instance.detail.has_worked:
        instance.detail.has_worked = True
        instances.save(state, instance.detail)


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
            _vacate(state, instance, job, now)


def _vacate(state: State, instance: Instance, job: Job, now: int) -> None:
    instance.used -= job.resources
    instance.jobs.pop(job.id, None)
    if instance.detail is None:
        instance.moved_at = now
        instance.stands_still = False
        advance_line(state, instance)
        if any(each.lacks_room for each in state.environments.values()):
            state.scaling_due = True  # There is more room on the machine.
        return
    environment = state.environments.get(instance.detail.environment)
    if environment is not None and instances.takes_tasks(instance):
        environment.rooms.update(instance.id, instance.room)
    if not instances.is_busy(instance):
        instances.note_idle(state, instance, now)


def advance_line(state: State, instance: Instance) -> None:
    """Moves those at the head of the line that now have room among those with room."""
    while instance.line and instance.line[0].resources.fits(instance.room):
        job = instance.line.popleft()
        assert job.task is not None
        job.task.ahead = False
        occupy(state, instance, job)
        environment = state.environments.get(job.task.environment)
        if environment is not None:
            environment.used += job.resources


def has_share(environment: ComputeEnvironment, resources: Resources) -> bool:
    """Whether `maxvCpus` allows a task of this size, where tasks have slices of their own."""
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
