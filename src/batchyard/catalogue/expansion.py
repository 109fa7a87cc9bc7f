"""From the names in `instanceTypes` to instance types.

Sources: model `ComputeResource.instanceTypes`; User Guide "Compute environment parameters", "Instance type allocation
strategies" (BEST_FIT_PROGRESSIVE_ORDERED: an explicit type keeps its place and leaves its family's expansion).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby
from types import MappingProxyType

from batchyard.catalogue.instance_type import InstanceType

_DEFAULT_X86_64 = ("m6i", "c6i", "r6i", "c7i")

BUNDLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "default_x86_64": _DEFAULT_X86_64,
        "default_arm64": ("m6g", "c6g", "r6g", "c7g"),
        "optimal": _DEFAULT_X86_64,
    }
)
"""The families that each bundle stands for, in AWS's order."""


class UnknownInstanceType(ValueError):
    """A name that is no instance type, no family and no bundle."""

    def __init__(self, name: str, close_matches: Sequence[str] = ()) -> None:
        self.name = name
        self.close_matches = tuple(close_matches)
        hint = f" Did you mean {' or '.join(close_matches)}?" if close_matches else ""
        super().__init__(f"There is no instance type, family or bundle named {name!r}.{hint}")


class Catalogue:
    """Instance types by name. Never changes once made."""

    __slots__ = ("_families", "date", "source", "types")

    def __init__(self, types: Iterable[InstanceType], *, source: str, date: str) -> None:
        ordered = sorted(types, key=lambda each: (each.family, each.vcpus, each.memory, each.name))
        self.types: Mapping[str, InstanceType] = MappingProxyType({each.name: each for each in ordered})
        self.source = source
        """Where the figures come from, in words."""
        self.date = date
        """The day of the newest of them: `2026-10-27`."""
        self._families = {
            family: tuple(each for each in members if not each.bare_metal)
            for family, members in groupby(ordered, key=lambda each: each.family)
        }

    def expand(self, names: Sequence[str]) -> list[InstanceType]:
        """The instance types that the names of exact types, families and bundles stand for, each once.

        The order of the names is kept; the types of a family follow one another by vCPUs, then memory. A type that is
        named itself stands where it is named, not where its family is. A family has no bare-metal sizes: those are named
        themselves. Raises `UnknownInstanceType`.
        """
        exact = {name for name in names if name in self.types}
        found: dict[str, InstanceType] = {}
        for name in names:
            if name in exact:
                found.setdefault(name, self.types[name])
                continue
            for family in BUNDLES.get(name, (name,)):
                for each in self._family(family):
                    if each.name not in exact:
                        found.setdefault(each.name, each)
        return list(found.values())

    def _family(self, name: str) -> tuple[InstanceType, ...]:
        members = self._families.get(name)
        if not members:
            known = [*BUNDLES, *(family for family, each in self._families.items() if each), *self.types]
            raise UnknownInstanceType(name, get_close_matches(name, known))
        return members
