"""Instances: slices of a machine, of real EC2 types, that a managed compute environment launches; and hosts of unmanaged ones.

An instance is pending while it boots, running, and terminated in the end; while it drains it takes no new tasks. Its engine
knows nothing of it: launching is booking a part of the machine. What on EC2 is up to chance (a launch that fails, a Spot
reclaim) is drawn from the instance's id and the seed in the settings, so that the same run always goes the same way.
Sources: EC2 "Instance lifecycle", "Spot Instance interruption notices"; User Guide "Compute environments", "Perform
infrastructure updates".
"""

from __future__ import annotations

import hashlib
import math
from heapq import heappush

from batchyard.catalogue import InstanceType
from batchyard.kernel.identifiers import instance_id_of
from batchyard.kernel.records import ComputeEnvironment, Instance, InstanceDetail
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State

KIND = "instance"
ENDED_KIND = "terminated-instance"
"""What is kept of one for a while when it is gone."""
LAUNCH_RETRY = 60_000
"""Milliseconds for which a type that could not be launched is not tried again."""
HOUR = 3_600_000
SCALED_IN = "Idle: no job needs it"
RECLAIMED = "Spot Instance interruption"
REPLACED = "Replaced by an infrastructure update"
ROOM_NEEDED = "Idle, and its room is needed"
ENVIRONMENT_DELETED = "Its compute environment was deleted"
INTERRUPTED = "Interrupted by its user"
DRAINED = "Drained by its user"
"""Of a host, which stays when nothing runs on it."""
REMOVED = "Removed by its user"
MACHINE_GONE = "Its machine is gone"


def footprint_of(instance_type: InstanceType) -> Resources:
    """What an instance of this type takes of its machine."""
    return Resources(1000 * instance_type.vcpus, instance_type.memory, instance_type.gpus)


def capacity_of(instance_type: InstanceType) -> Resources:
    """What tasks can have of an instance of this type."""
    return Resources(1000 * instance_type.vcpus, instance_type.schedulable_memory, instance_type.gpus)


def ended_by(instance_id: str) -> str:
    """The status reason of attempts that end with their instance."""
    return f"Host EC2 (instance {instance_id}) terminated."


def launch(
    state: State,
    environment: ComputeEnvironment,
    machine: Instance,
    instance_type: InstanceType,
    now: int,
    *,
    spot: bool,
) -> Instance | None:
    """Launches an instance. None when its type has insufficient capacity: then it is not tried again for a while."""
    instance_id = new_instance_id(state, environment, now)
    if chance(state.settings.seed, f"launch {instance_id}") < state.settings.launch_failure_rate:
        environment.unavailable[instance_type.name] = now + LAUNCH_RETRY
        heappush(state.timers, (now + LAUNCH_RETRY, instance_id))
        return None
    detail = InstanceDetail(
        id=instance_id,
        environment=environment.name,
        machine=machine.id,
        purchase="SPOT" if spot else "ON_DEMAND",
        vcpus=instance_type.vcpus,
        capacity=capacity_of(instance_type),
        footprint=footprint_of(instance_type),
        launched_at=now,
        instance_type=instance_type.name,
        price=instance_type.spot_price if spot else instance_type.on_demand_price,
    )
    instance = add(state, detail)
    if boot_time(state):
        watch(state, instance, now)
        save(state, detail)
    else:
        run(state, instance, now)
    return instance


def new_instance_id(state: State, environment: ComputeEnvironment, now: int) -> str:
    """The counter begins anew with the server, which never starts twice in a millisecond."""
    state.launches += 1
    return instance_id_of(f"{environment.detail.uuid}/{now}/{state.launches}")


def add(state: State, detail: InstanceDetail) -> Instance:
    """Books an instance on its machine and in its environment; also for what a restart finds."""
    machine = state.machines.get(detail.machine)
    engine = machine.engine if machine is not None else ""
    instance = Instance(id=detail.id, engine=engine, capacity=detail.capacity, detail=detail)
    state.instances[detail.id] = instance
    if machine is not None:
        machine.used += detail.footprint
    environment = state.environments.get(detail.environment)
    if environment is not None:
        environment.instances[detail.id] = instance
        environment.vcpus += detail.vcpus
        if takes_tasks(instance):
            environment.rooms.add(detail.id, instance.room, instance.capacity)
        elif detail.state == "pending":
            environment.booting[detail.id] = instance
        show_vcpus(state, environment)
    return instance


def show_vcpus(state: State, environment: ComputeEnvironment) -> None:
    """`desiredvCpus` follows what there is, within its bounds."""
    resources = environment.detail.compute_resources
    if resources is None or resources.desired_vcpus is None:
        return
    vcpus = max(environment.vcpus, environment.wanted_vcpus)
    shown = min(max(vcpus, resources.min_vcpus or 0), resources.max_vcpus)
    if shown != resources.desired_vcpus:
        resources.desired_vcpus = shown
        state.effects.resources["compute-environment", environment.name] = environment.detail


def takes_tasks(instance: Instance) -> bool:
    """Whether new tasks may be placed on it."""
    detail = instance.detail
    return detail is not None and detail.state == "running" and detail.draining is None


def run(state: State, instance: Instance, now: int) -> None:
    """It has booted."""
    detail = instance.detail
    assert detail is not None
    detail.state, detail.running_at = "running", now
    environment = state.environments.get(detail.environment)
    if environment is not None:
        environment.booting.pop(instance.id, None)
        if detail.draining is None:
            environment.rooms.add(instance.id, instance.room)
    watch(state, instance, now)
    save(state, detail)


def watch(state: State, instance: Instance, now: int) -> None:
    """Sets its alarm clocks; also for what a restart finds."""
    detail = instance.detail
    assert detail is not None
    if detail.running_at is None:
        heappush(state.timers, (detail.launched_at + boot_time(state), instance.id))
        return
    rate = state.settings.spot_interruptions_an_hour
    if detail.purchase == "SPOT" and rate > 0:
        hours = -math.log(1 - chance(state.settings.seed, f"reclaim {instance.id}")) / rate
        instance.reclaimed_at = detail.running_at + round(hours * HOUR)
        heappush(state.timers, (instance.reclaimed_at, instance.id))
    if detail.deadline is not None:
        heappush(state.timers, (detail.deadline, instance.id))
    if not is_busy(instance):
        note_idle(state, instance, now)


def boot_time(state: State) -> int:
    """Milliseconds from the launch of an instance until it runs."""
    return round(1000 * state.settings.boot_seconds)


def note_idle(state: State, instance: Instance, now: int) -> None:
    """Nothing runs on it any more: it drains no longer, or is watched for being idle."""
    instance.idle_since = now
    if instance.detail is not None and instance.detail.draining not in (None, DRAINED):
        terminate(state, instance, now)
    elif instance.detail is not None and instance.detail.purchase != "REGISTERED":
        state.idle[instance.id] = instance
        if any(each.unmet or instance.id in each.going for each in state.environments.values()):
            state.scaling_due = True  # It may make way for another.
        heappush(state.timers, (now + idle_delay(state, instance), instance.id))


def look_after_idle(state: State, environment: ComputeEnvironment, now: int) -> None:
    """The environment has changed: what is idle may no longer be kept."""
    for instance_id, instance in environment.instances.items():
        if instance_id in state.idle:
            heappush(state.timers, (max(now, instance.idle_since + idle_delay(state, instance)), instance_id))


def idle_delay(state: State, instance: Instance) -> int:
    """Milliseconds for which an instance is kept that has nothing to do."""
    detail = instance.detail
    assert detail is not None
    environment = state.environments.get(detail.environment)
    resources = environment.detail.compute_resources if environment is not None else None
    policy = resources.scaling_policy if resources is not None else None
    minutes = (policy.min_scale_down_delay_minutes if policy is not None else None) or 0
    delay = round(1000 * state.settings.idle_seconds)
    return max(delay, 60_000 * minutes) if detail.has_worked else delay


def is_busy(instance: Instance) -> bool:
    return bool(instance.jobs)


def terminate(state: State, instance: Instance, now: int, reason: str | None = None) -> None:
    """It is gone, for this reason or the one that it drains for. Nothing may run on it."""
    detail = instance.detail
    assert detail is not None
    assert not is_busy(instance)
    is_in_rooms = takes_tasks(instance)
    detail.state, detail.terminated_at, detail.draining = "terminated", now, reason or detail.draining
    machine = state.machines.get(detail.machine)
    if machine is not None:
        machine.used -= detail.footprint
    environment = state.environments.get(detail.environment)
    if environment is not None and environment.instances.pop(instance.id, None) is not None:
        environment.vcpus -= detail.vcpus
        environment.booting.pop(instance.id, None)
        if is_in_rooms:
            environment.rooms.remove(instance.id)
        show_vcpus(state, environment)
    state.idle.pop(instance.id, None)
    del state.instances[instance.id]
    state.scaling_due = True
    _keep_ended(state, detail)
    if environment is not None and environment.detail.status == "UPDATING" and not is_replacing(environment):
        environment.due = now


def end_without_machine(state: State, detail: InstanceDetail, now: int) -> None:
    """A restart finds an instance whose machine no engine offers any more: it is gone, and what ran on it is lost."""
    detail.state, detail.terminated_at, detail.draining = "terminated", now, MACHINE_GONE
    _keep_ended(state, detail)


def _keep_ended(state: State, detail: InstanceDetail) -> None:
    state.effects.resources[KIND, detail.id] = None
    state.effects.resources[ENDED_KIND, detail.id] = detail


def is_replacing(environment: ComputeEnvironment) -> bool:
    """Whether instances of before an infrastructure update are still there."""
    return any(each.detail is not None and each.detail.draining == REPLACED for each in environment.instances.values())


def is_idle_for_long(state: State, instance: Instance, now: int) -> bool:
    return not is_busy(instance) and now >= instance.idle_since + idle_delay(state, instance)


def scale_in(state: State, instance: Instance, now: int, reason: str = SCALED_IN) -> bool:
    """Lets an idle instance go, unless `minvCpus` would be missed. Returns whether."""
    detail = instance.detail
    assert detail is not None
    environment = state.environments.get(detail.environment)
    if detail.purchase == "REGISTERED":
        return False
    if environment is not None and environment.vcpus - detail.vcpus < least_vcpus(environment):
        return False
    terminate(state, instance, now, reason)
    return True


def least_vcpus(environment: ComputeEnvironment) -> int:
    """`minvCpus`."""
    resources = environment.detail.compute_resources
    return (resources.min_vcpus or 0) if resources is not None else 0


def save(state: State, detail: InstanceDetail) -> None:
    state.effects.resources[KIND, detail.id] = detail


def chance(seed: int, text: str) -> float:
    """A number from 0 up to 1 that is always the same for the same seed and text."""
    digest = hashlib.blake2b(f"{seed} {text}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56
