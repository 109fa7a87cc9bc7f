"""What a compute environment could ever give one job: the line between waiting and a misconfiguration.

A job for which capacity could still come, by a launch or by the end of other jobs, waits; one for which none could come is set
aside and told so, with the numbers. Sources: User Guide "Jobs stuck in a RUNNABLE status"; "Compute resource memory
management" (a job never gets the whole nominal memory of an instance type).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import msgspec

from batchyard.catalogue import InstanceType
from batchyard.kernel.compute_resources import known_types
from batchyard.kernel.instances import capacity_of, footprint_of, takes_tasks
from batchyard.kernel.placement import Capacity, slices_of
from batchyard.kernel.placement import capacity_of as capacity_kind_of
from batchyard.kernel.records import ComputeEnvironment, Instance
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.scaling.allocation import hostable
from batchyard.kernel.state import State

DEFAULT_TYPES = ("optimal",)


class Obstacle(enum.IntEnum):
    """Why an environment could never run a job, the mildest last."""

    TOO_SMALL = 1
    """Nothing that it has, or may launch, is large enough."""
    MAX_VCPUS = 2
    """Something would be, but for `maxvCpus`."""
    NO_MACHINE = 3
    """An instance type would be, and no machine of this installation is large enough for one."""


class Verdict(msgspec.Struct, frozen=True):
    """See the module's text."""

    obstacle: Obstacle | None
    """None: it could."""
    text: str = ""
    """The numbers, as a part of a sentence."""
    type_name: str | None = None
    """The instance type that no machine is large enough for."""


def types_of(state: State, environment: ComputeEnvironment) -> Sequence[InstanceType]:
    """The instance types that an environment may launch, bundles and families expanded, in the order of its list."""
    if environment.types is None:
        resources = environment.detail.compute_resources
        catalogue = state.settings.catalogue
        environment.types = known_types(resources, catalogue) or catalogue.expand(DEFAULT_TYPES)
    return environment.types


def hostable_types(state: State, environment: ComputeEnvironment) -> Sequence[InstanceType]:
    """Those of which an instance fits on one of the machines, when that is empty."""
    return hostable(types_of(state, environment), [machine.capacity for machine in state.machines.values()])


def verdict(state: State, environment: ComputeEnvironment, wanted: Resources) -> Verdict:
    """Whether the environment could ever run a job that asks for this. Remembered for each shape."""
    known = environment.verdicts.get(wanted)
    if known is None:
        known = environment.verdicts[wanted] = _verdict(state, environment, wanted)
    return known


def forget_verdicts(state: State) -> None:
    """An environment, or a machine, has changed."""
    for environment in state.environments.values():
        environment.verdicts.clear()


def _verdict(state: State, environment: ComputeEnvironment, wanted: Resources) -> Verdict:
    kind = capacity_kind_of(state, environment)
    most = environment.max_milli_vcpus
    if kind is Capacity.INSTANCES:
        return _of_types(state, environment, wanted)
    if kind is Capacity.HOSTS:
        hosts = [each for each in environment.instances.values() if takes_tasks(each)]
        if not hosts or any(wanted.fits(host.capacity) for host in hosts):
            return Verdict(None)
        return Verdict(
            Obstacle.TOO_SMALL, f"the largest host of compute environment {environment.name} has {_largest(hosts)}"
        )
    machines = slices_of(state, environment)
    if any(wanted.fits(machine.capacity) for machine in machines) and wanted.milli_vcpus <= most:
        return Verdict(None)
    largest = _largest(machines)
    limit = Resources(min(most, largest.milli_vcpus), largest.memory, largest.gpus)
    text = f"the most that compute environment {environment.name} can give one job is {limit}"
    fits_machine = any(wanted.fits(machine.capacity) for machine in machines)
    return Verdict(Obstacle.MAX_VCPUS if fits_machine else Obstacle.TOO_SMALL, text)


def _of_types(state: State, environment: ComputeEnvironment, wanted: Resources) -> Verdict:
    types = types_of(state, environment)
    suitable = [each for each in types if wanted.fits(capacity_of(each))]
    name = environment.name
    if not suitable:
        largest = max(types, key=lambda each: (each.schedulable_memory, each.vcpus))
        return Verdict(
            Obstacle.TOO_SMALL,
            f"no instance type of compute environment {name} is large enough: {largest.name} has {capacity_of(largest)} for jobs",
        )
    most = environment.max_milli_vcpus
    if wanted.milli_vcpus > most or (_keeps_within(environment) and all(1000 * each.vcpus > most for each in suitable)):
        return Verdict(Obstacle.MAX_VCPUS, f"compute environment {name} may have at most {most / 1000:g} vCPU")
    machines = state.machines.values()
    if not any(footprint_of(each).fits(machine.capacity) for each in suitable for machine in machines):
        smallest = min(suitable, key=lambda each: (each.vcpus, each.memory))
        return Verdict(
            Obstacle.NO_MACHINE,
            f"compute environment {name} would need an instance of type {smallest.name}, which takes {footprint_of(smallest)},"
            f" and the largest machine has {_largest(machines)}{_what_would_fit(types, machines)}",
            smallest.name,
        )
    return Verdict(None)


def _keeps_within(environment: ComputeEnvironment) -> bool:
    """Whether `maxvCpus` is never exceeded: all strategies but BEST_FIT may exceed it by one instance."""
    resources = environment.detail.compute_resources
    return resources is not None and resources.allocation_strategy in (None, "BEST_FIT")


def _what_would_fit(types: Iterable[InstanceType], machines: Iterable[Instance]) -> str:
    machines = list(machines)
    fitting = [each for each in types if any(footprint_of(each).fits(machine.capacity) for machine in machines)]
    if not fitting:
        return "; none of its instance types fits"
    largest = max(fitting, key=lambda each: (each.schedulable_memory, each.vcpus, each.name))
    return f"; the largest of its instance types that fits is {largest.name} with {capacity_of(largest)} for jobs"


def _largest(instances: Iterable[Instance]) -> Resources:
    return max((each.capacity for each in instances), key=lambda each: (each.milli_vcpus, each.memory), default=NOTHING)
