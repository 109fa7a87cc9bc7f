"""When instances are launched, and for whom: from the jobs that wait to the capacity of their environments.

Each queue's jobs are offered to its environments in their order; what the first can't launch anything for goes to the next
(User Guide "Job queues"). `scaling/` decides which types, here they are booked. An idle instance is let go early where its room
on the machine, or its vCPUs below `maxvCpus`, are needed for another.
Sources: User Guide "Managed compute environments", "Instance type allocation strategies".
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from batchyard.catalogue import InstanceType
from batchyard.kernel import instances
from batchyard.kernel.ordering import fifo
from batchyard.kernel.placement import Capacity, capacity_of, environments_of, has_share, slices_of
from batchyard.kernel.records import ComputeEnvironment, Instance, Job, JobQueue
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.scaling.allocation import plan
from batchyard.kernel.scaling.plans import Demand, Plan
from batchyard.kernel.scaling.strategies import places_of
from batchyard.kernel.state import State
from batchyard.kernel.suitability import DEFAULT_TYPES, hostable_types, verdict

MOST_ENVIRONMENTS = 3
"""Of a queue."""
ONE_VCPU = Resources(1000, 1)


class Waiting(msgspec.Struct):
    """Jobs of one shape that wait in a queue and have not been offered capacity yet."""

    queue: JobQueue
    resources: Resources
    count: int


def scale(state: State, now: int) -> None:
    """Launches what is called for."""
    state.scaling_due = False
    for environment in state.environments.values():
        if capacity_of(state, environment) is Capacity.INSTANCES:
            _keep_least(state, environment, now)
    waiting = list(_waiting(state))
    for position in range(MOST_ENVIRONMENTS):
        for environment, entries in _offers(state, waiting, position):
            demands = [Demand(entry.resources, entry.count) for entry in entries]
            found = plan_for(state, environment, demands, now)
            environment.unmet = {unmet.demand.resources: unmet for unmet in found.unmet}
            _carry_out(state, environment, found, now)
            _subtract(entries, demands, found)


def _waiting(state: State) -> Iterator[Waiting]:
    """What waits, in the order in which it would start: by the priority of the queue, and within a queue the shape of the
    job at its head first."""
    for queue in sorted(state.queues.values(), key=lambda queue: -(queue.detail.priority or 0)):
        if queue.is_service:
            continue
        head = fifo.head(queue)
        first = head.resources if head is not None else NOTHING
        for resources, count in sorted(queue.demand.items(), key=lambda item: item[0] != first):
            yield Waiting(queue, resources, count)


def _offers(state: State, waiting: list[Waiting], position: int) -> Iterator[tuple[ComputeEnvironment, list[Waiting]]]:
    """The environments that stand at this position in the order of some queue, and what they are offered."""
    offered: dict[str, list[Waiting]] = {}
    for entry in waiting:
        order = environments_of(state, entry.queue)
        if entry.count and position < len(order):
            offered.setdefault(order[position].name, []).append(entry)
    for name, entries in offered.items():
        environment = state.environments[name]
        if environment.available and _may_launch(state, environment):
            able = [entry for entry in entries if verdict(state, environment, entry.resources).obstacle is None]
            if able:
                yield environment, able


def _may_launch(state: State, environment: ComputeEnvironment) -> bool:
    """Whether it launches instances, and is below `maxvCpus` or would be without those that are idle."""
    if capacity_of(state, environment) is not Capacity.INSTANCES:
        return False
    below = 1000 * environment.vcpus < environment.max_milli_vcpus
    return below or any(each.id in environment.instances for each in state.idle.values())


def _subtract(entries: list[Waiting], demands: list[Demand], found: Plan) -> None:
    """Leaves what the environment can't launch anything for."""
    left = {id(unmet.demand): 0 for unmet in found.unmet}
    for unmet in found.unmet:
        left[id(unmet.demand)] += unmet.count
    for entry, demand in zip(entries, demands, strict=True):
        entry.count = left.get(id(demand), 0)


def plan_for(state: State, environment: ComputeEnvironment, demands: list[Demand], now: int) -> Plan:
    """What the environment would launch for these demands as things are."""
    resources = environment.detail.compute_resources
    assert resources is not None
    environment.unavailable = {name: until for name, until in environment.unavailable.items() if until > now}
    idle = [each for each in state.idle.values() if each.id in environment.instances and _may_go(state, each)]
    return plan(
        resources.allocation_strategy or "BEST_FIT",
        hostable_types(state, environment),
        demands,
        spot=resources.type == "SPOT",
        current_vcpus=environment.vcpus - sum(each.detail.vcpus for each in idle if each.detail),
        max_vcpus=resources.max_vcpus,
        idle=[each.capacity for each in environment.booting.values()],
        unavailable=environment.unavailable,
        places=places_of(resources.instance_types or DEFAULT_TYPES, state.settings.catalogue.expand),
        host_rooms=[_room_with_idle(state, machine) for machine in state.machines.values()],
    )


def _may_go(state: State, instance: Instance) -> bool:
    """Whether an idle instance is not kept for `minvCpus`."""
    detail = instance.detail
    assert detail is not None
    environment = state.environments.get(detail.environment)
    return environment is None or environment.vcpus - detail.vcpus >= instances.least_vcpus(environment)


def _room_with_idle(state: State, machine: Instance) -> Resources:
    """What would be free on a machine if all that is idle went."""
    room = machine.room
    for instance in state.idle.values():
        if instance.detail is not None and instance.detail.machine == machine.id and _may_go(state, instance):
            room += instance.detail.footprint
    return room


def _carry_out(state: State, environment: ComputeEnvironment, found: Plan, now: int) -> None:
    resources = environment.detail.compute_resources
    assert resources is not None
    for order in found.launches:
        instance_type = state.settings.catalogue.types[order.type.name]
        for _ in range(order.count):
            machine = _make_way(state, environment, instance_type, now)
            if machine is None:
                break
            spot = resources.type == "SPOT"
            if instances.launch(state, environment, machine, instance_type, now, spot=spot) is None:
                state.scaling_due = True  # Another type may do.
                break


def _make_way(state: State, environment: ComputeEnvironment, instance_type: InstanceType, now: int) -> Instance | None:
    """A machine with room for an instance, idle instances that stand in its way having been let go."""
    wanted = instances.footprint_of(instance_type)
    _keep_below_maximum(state, environment, instance_type, now)
    for machine in state.machines.values():
        if wanted.fits(machine.room):
            return machine
    for machine in state.machines.values():
        if wanted.fits(_room_with_idle(state, machine)):
            make_room(state, machine, wanted, now)
            return machine
    return None


def _keep_below_maximum(state: State, environment: ComputeEnvironment, instance_type: InstanceType, now: int) -> None:
    resources = environment.detail.compute_resources
    assert resources is not None
    for instance in list(state.idle.values()):
        if environment.vcpus + instance_type.vcpus <= resources.max_vcpus:
            return
        if instance.id in environment.instances and _may_go(state, instance):
            instances.scale_in(state, instance, now, instances.ROOM_NEEDED)


def make_room(state: State, machine: Instance, wanted: Resources, now: int) -> bool:
    """Lets idle instances go until a machine has this much room, the longest idle first. Returns whether it has."""
    if not wanted.fits(_room_with_idle(state, machine)):
        return False
    for instance in list(state.idle.values()):
        if wanted.fits(machine.room):
            break
        if instance.detail is not None and instance.detail.machine == machine.id and _may_go(state, instance):
            instances.scale_in(state, instance, now, instances.ROOM_NEEDED)
    return wanted.fits(machine.room)


def let_idle_go(state: State, job: Job, now: int) -> bool:
    """Makes room for a job that would have a slice of a machine, where idle instances stand in its way. Returns whether there is
    room now."""
    if not state.idle:
        return False
    for environment in environments_of(state, job.queue):
        if environment.available and has_share(environment, job.resources):
            for machine in slices_of(state, environment):
                if make_room(state, machine, job.resources, now):
                    return True
    return False


def _keep_least(state: State, environment: ComputeEnvironment, now: int) -> None:
    """Launches what is missing to `minvCpus`, and to what its user has set `desiredvCpus` to."""
    if environment.detail.status not in ("VALID", "UPDATING"):
        return
    wanted = max(instances.least_vcpus(environment), environment.wanted_vcpus if environment.available else 0)
    missing = wanted - environment.vcpus
    if missing <= 0:
        environment.wanted_vcpus = 0
        return
    _carry_out(state, environment, plan_for(state, environment, [Demand(ONE_VCPU, missing)], now), now)
    if environment.vcpus >= wanted:
        environment.wanted_vcpus = 0
