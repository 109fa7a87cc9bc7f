"""Hosts: what the user of an UNMANAGED compute environment registers with it.

On AWS these are container instances that somebody has launched and that join the environment's ECS cluster. Here a host is a part
of this machine, of a size that its user gives, under a name. It is an `Instance` that is never scaled in.
Sources: User Guide "Unmanaged compute environments"; ECS `RegisterContainerInstance`, `UpdateContainerInstancesState`,
`DeregisterContainerInstance`.
"""

from __future__ import annotations

import re

from batchyard.kernel import draining, instances, lifecycle
from batchyard.kernel.autoscaling import make_room
from batchyard.kernel.commands import DeregisterHost, RegisterHost, UpdateHost
from batchyard.kernel.environments import find_environment
from batchyard.kernel.instances import DRAINED, REMOVED
from batchyard.kernel.placement import Capacity, capacity_of
from batchyard.kernel.records import ComputeEnvironment, Instance, InstanceDetail
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State

PURCHASE = "REGISTERED"
SMALLEST_MEMORY = 4
"""MiB: the least that a container can have."""
_NAME = re.compile(r"(?!i-)[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def register_host(state: State, command: RegisterHost, now: int) -> InstanceDetail:
    """Takes a part of the machine for a host; idle instances give way to it. Raises `Refusal` where there is no such room."""
    environment = _unmanaged(state, command.environment)
    _check(state, command)
    size = Resources(1000 * command.vcpus, command.memory, command.gpus)
    machine = _machine_with(state, size, now)
    if machine is None:
        raise Refusal(
            f"Host {command.name} needs {size}, and {_largest_room(state)}. See the server's setting overcommit."
        )
    detail = InstanceDetail(
        id=instances.new_instance_id(state, environment, now),
        environment=environment.name,
        machine=machine.id,
        purchase=PURCHASE,
        vcpus=command.vcpus,
        capacity=size,
        footprint=size,
        launched_at=now,
        running_at=now,
        name=command.name,
        state="running",
    )
    instances.add(state, detail)
    instances.save(state, detail)
    lifecycle.reconsider_all(state)
    return detail


def update_host(state: State, command: UpdateHost, _now: int) -> InstanceDetail:
    """DRAINING: nothing new is placed on it, and what runs goes on. ACTIVE: it takes jobs again."""
    instance, detail = _find(state, command.host)
    if command.status not in ("ACTIVE", "DRAINING"):
        raise Refusal(f"The status of a host is ACTIVE or DRAINING, got {command.status!r}")
    if detail.draining not in (None, DRAINED):
        raise Refusal(f"Host {detail.name} is being removed: {detail.draining}.")
    environment = state.environments[detail.environment]
    if command.status == "DRAINING" and detail.draining is None:
        environment.rooms.remove(instance.id)
        detail.draining = DRAINED
    elif command.status == "ACTIVE" and detail.draining is not None:
        detail.draining = None
        environment.rooms.add(instance.id, instance.room, instance.capacity)
    instances.save(state, detail)
    lifecycle.reconsider_all(state)
    return detail


def deregister_host(state: State, command: DeregisterHost, now: int) -> InstanceDetail:
    """Nothing new is placed on it, and it goes when nothing runs on it any more. With `force` what runs is stopped."""
    instance, detail = _find(state, command.host)
    draining.drain(state, instance, REMOVED, now)
    if command.force:
        draining.stop_all(state, instance)
    lifecycle.reconsider_all(state)
    return detail


def _unmanaged(state: State, name_or_arn: str) -> ComputeEnvironment:
    environment = find_environment(state, name_or_arn)
    if environment is None:
        raise Refusal(f"ComputeEnvironment {name_or_arn} not found.", wrapped=False)
    if capacity_of(state, environment) is not Capacity.HOSTS:
        kind = "on Amazon EKS" if environment.detail.eks_configuration is not None else environment.detail.type
        raise Refusal(f"Hosts are registered with UNMANAGED compute environments, and {environment.name} is {kind}.")
    if environment.detail.status == "DELETING":
        raise Refusal(f"ComputeEnvironment {environment.name} is being deleted.")
    return environment


def _check(state: State, command: RegisterHost) -> None:
    if not _NAME.match(command.name):
        raise Refusal(
            "The name of a host is up to 128 letters, digits, dots, hyphens and underscores, and begins with a letter or a"
            f" digit, but not with i-; got {command.name[:200]!r}"
        )
    known = _named(state, command.name)
    if known is not None:
        raise Refusal(f"Host {command.name} exists already: it is instance {known.id}.")
    if command.vcpus < 1:
        raise Refusal(f"A host has at least 1 vCPU, got {command.vcpus}")
    if command.memory < SMALLEST_MEMORY:
        raise Refusal(f"A host has at least {SMALLEST_MEMORY} MiB of memory, got {command.memory}")
    if command.gpus < 0:
        raise Refusal(f"The number of GPUs must not be negative, got {command.gpus}")


def _machine_with(state: State, size: Resources, now: int) -> Instance | None:
    for machine in state.machines.values():
        if size.fits(machine.room):
            return machine
    return next((machine for machine in state.machines.values() if make_room(state, machine, size, now)), None)


def _largest_room(state: State) -> str:
    machines = state.machines.values()
    if not machines:
        return "this server has no machine"
    freest = max(machines, key=lambda each: (each.room.milli_vcpus, each.room.memory))
    return f"machine {freest.id} has {freest.room} free of {freest.capacity}"


def _find(state: State, name_or_id: str) -> tuple[Instance, InstanceDetail]:
    instance = state.instances.get(name_or_id) or _named(state, name_or_id)
    if instance is None or instance.detail is None or instance.detail.purchase != PURCHASE:
        raise Refusal(f"Host {name_or_id[:200]} not found.", wrapped=False)
    return instance, instance.detail


def _named(state: State, name: str) -> Instance | None:
    return next(
        (each for each in state.instances.values() if each.detail is not None and each.detail.name == name), None
    )
