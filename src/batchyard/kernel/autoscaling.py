"""When instances are launched, and for whom: from the jobs that wait to the capacity of their environments.

Each queue's jobs are offered to its environments in their order; what the first can't launch anything for goes to the next
(User Guide "Job queues"). `scaling/` decides which types, here they are booked. An idle instance is let go early where its room
on the machine, or its vCPUs below `maxvCpus`, are needed for another.
Sources: User Guide "Managed compute environments", "Instance type allocation strategies".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from batchyard.catalogue import InstanceType
from batchyard.kernel import caps, instances
from batchyard.kernel.ordering import fair_share_lines
from batchyard.kernel.placement import (
    Capacity,
    capacity_of,
    environments_for,
    environments_of,
    has_share,
    is_spot,
    slices_of,
)
from batchyard.kernel.records import ComputeEnvironment, Instance, Job, JobQueue
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.scaling.allocation import plan
from batchyard.kernel.scaling.plans import Demand, Obstacle, Plan, Unmet
from batchyard.kernel.scaling.strategies import places_of
from batchyard.kernel.state import State
from batchyard.kernel.suitability import DEFAULT_TYPES, hostable_types, verdict
from batchyard.kernel.yielding import first_of, make_others_yield

MOST_ENVIRONMENTS = 3
"""Of a queue."""
ONE_VCPU = Resources(1000, 1)


class Waiting(msgspec.Struct):
    """Jobs of one shape that wait in a queue and have not been offered capacity yet."""

    queue: JobQueue
    resources: Resources
    count: int
    first: bool
    """The job whose turn it is in its queue is one of them."""
    on_demand: bool = False
    """They do not start on Spot capacity."""


def scale(state: State, now: int) -> bool:
    """Launches what is called for. Returns whether anything is different now for those who wait: what there is, or why they
    wait."""
    state.scaling_due = False
    launches = state.launches
    news = False
    for environment in state.environments.values():
        if capacity_of(state, environment) is Capacity.INSTANCES:
            _keep_least(state, environment, now)
    waiting = list(_waiting(state))
    for position in range(MOST_ENVIRONMENTS):
        for environment, entries in _offers(state, waiting, position):
            demands, found = _plan_for_entries(state, environment, entries, now)
            unmet = {unmet.demand.resources: unmet for unmet in found.unmet}
            news |= _obstacles(unmet) != _obstacles(environment.unmet)
            environment.unmet = unmet
            held_up = [entry.queue.name for entry in entries if entry.first and _is_kept_for(environment, entry)]
            if held_up:
                entries = [entry for entry in entries if entry.first or entry.queue.name not in held_up]
                demands, found = _plan_for_entries(state, environment, entries, now)
            _carry_out(state, environment, found, now)
            _ask_for_room(state, environment, entries, demands, found, now)
            _subtract(entries, demands, found)
    return news or state.launches != launches or state.scaling_due


def _obstacles(unmet: dict[Resources, Unmet]) -> dict[Resources, Obstacle]:
    return {resources: each.obstacle for resources, each in unmet.items()}


def _ask_for_room(
    state: State, environment: ComputeEnvironment, entries: list[Waiting], demands: list[Demand], found: Plan, now: int
) -> None:
    """Where a machine is full of others' instances, has them make way for the first that finds no room."""
    for unmet in found.unmet:
        if unmet.obstacle is Obstacle.NO_ROOM:
            owners = (entry.queue for entry, demand in zip(entries, demands, strict=True) if demand is unmet.demand)
            smallest = state.settings.catalogue.types[unmet.types[0]]
            make_others_yield(state, next(owners), environment, instances.footprint_of(smallest), now)
            return


def _plan_for_entries(
    state: State, environment: ComputeEnvironment, entries: list[Waiting], now: int
) -> tuple[list[Demand], Plan]:
    demands = [Demand(entry.resources, entry.count) for entry in entries]
    return demands, plan_for(state, environment, demands, now)


def _is_kept_for(environment: ComputeEnvironment, entry: Waiting) -> bool:
    """Whether the job whose turn it is needs an instance that there is no room for: then none is launched for those behind it,
    or there never would be. See `reservations.py`."""
    unmet = environment.unmet.get(entry.resources)
    if unmet is None or unmet.obstacle not in (Obstacle.MAX_VCPUS, Obstacle.NO_ROOM):
        return False
    return not any(entry.resources.fits(instance.capacity) for instance in environment.instances.values())


def _waiting(state: State) -> Iterator[Waiting]:
    """What waits, in the order in which it would start: by the priority of the queue, among equals by the job at the head, and
    within a queue the shape of that job first."""
    heads = [(queue, first_of(state, queue)) for queue in state.queues.values() if not queue.is_service]
    for queue, head in sorted(heads, key=lambda each: (-(each[0].detail.priority or 0), each[1].seq if each[1] else 0)):
        first = head.resources if head is not None else NOTHING
        for resources, count in sorted(_demand(state, queue).items(), key=lambda item: item[0] != first):
            yield Waiting(queue, resources, count, resources == first)
        for resources, count in queue.on_demand.items():
            yield Waiting(queue, resources, count, resources == first, on_demand=True)


def _demand(state: State, queue: JobQueue) -> dict[Resources, int]:
    """How many jobs could start, by what they ask for: not those above a cap, and not those that would use what is reserved
    for shares that are not active."""
    if queue.fair is None or not queue.fair.fair_share.policy.reservation:
        return caps.startable(state, queue)
    fair_share, capacity = queue.fair.fair_share, fair_share_lines.capacity_of(state, queue)
    newcomers = Counter(
        head.resources
        for share, account in fair_share.accounts.items()
        if not account.attempts and (head := fair_share_lines.head(queue.fair, share)) is not None
    )
    first = sum(count * resources.milli_vcpus for resources, count in newcomers.items())
    allowed = max(0, capacity - fair_share.reserved(capacity) - fair_share.in_flight - first)
    demand = {}
    for resources, count in caps.startable(state, queue).items():
        more = min(count - newcomers[resources], allowed // max(1, resources.milli_vcpus))
        allowed -= more * resources.milli_vcpus
        demand[resources] = newcomers[resources] + more
    return demand


def _offers(state: State, waiting: list[Waiting], position: int) -> Iterator[tuple[ComputeEnvironment, list[Waiting]]]:
    """The environments that stand at this position in the order of some queue, and what they are offered."""
    offered: dict[str, list[Waiting]] = {}
    for entry in waiting:
        order = environments_of(state, entry.queue)
        if entry.on_demand:
            order = [each for each in order if not is_spot(each)] or order
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
    """Whether an idle instance is neither kept for `minvCpus` nor has been launched at this moment, for somebody else."""
    detail = instance.detail
    assert detail is not None
    if detail.running_at == state.now and not detail.has_worked:
        return False
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
    for environment in environments_for(state, job):
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
