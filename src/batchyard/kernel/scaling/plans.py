"""The vocabulary of allocation: what waits, what to launch for it, and what stays unmet and why."""

from __future__ import annotations

import enum

import msgspec

from batchyard.catalogue import InstanceType
from batchyard.kernel.resources import Resources


class Demand(msgspec.Struct, frozen=True):
    """Jobs of one shape that wait for capacity."""

    resources: Resources
    count: int
    """Jobs; of multi-node jobs, nodes."""
    exclusive: bool = False
    """Single tenant: a node of a multi-node parallel job has an instance to itself."""
    together: int = 1
    """So many must be had at once or none is launched: the nodes of one multi-node job."""


class Launch(msgspec.Struct, frozen=True):
    """Instances of one type that should be launched."""

    type: InstanceType
    count: int


class Obstacle(enum.Enum):
    """Why nothing is launched for a demand."""

    TOO_LARGE = "TOO_LARGE"
    """No instance type of the environment is large enough: waiting will not help."""
    MAX_VCPUS = "MAX_VCPUS"
    """An instance would exceed maxvCpus."""
    UNAVAILABLE = "UNAVAILABLE"
    """All suitable types, or the one that BEST_FIT has chosen, lately had insufficient capacity."""
    NO_ROOM = "NO_ROOM"
    """No machine has room for another instance of a suitable type."""


class Unmet(msgspec.Struct, frozen=True):
    """A demand, or a part of it, that nothing is launched for."""

    demand: Demand
    count: int
    obstacle: Obstacle
    types: tuple[str, ...]
    """The instance types that the obstacle is about: those unavailable, the smallest that is suitable, or the one that is
    nearest to large enough. Empty only when the environment has no types."""
    vcpus: int
    """Of the smallest suitable type; 0 when there is none. Above maxvCpus, on-demand BEST_FIT can never launch it."""
    text: str
    """A sentence with the numbers."""


class Plan(msgspec.Struct, frozen=True):
    """What to launch now."""

    launches: list[Launch]
    """One entry a type, in the order in which the types were chosen."""
    unmet: list[Unmet]
    """In the order of the demands. What is in neither list has room on instances that run or boot."""

    @property
    def vcpus(self) -> int:
        return sum(launch.type.vcpus * launch.count for launch in self.launches)
