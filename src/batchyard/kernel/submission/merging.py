"""What the merging of overrides has in common, whatever the kind of job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

import msgspec

from batchyard.kernel.definitions.programs import check_command, check_environment
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

DetailT = TypeVar("DetailT", bound=msgspec.Struct)
PairT = TypeVar("PairT", shapes.KeyValuePair, shapes.EksContainerEnvironmentVariable)


class Named(Protocol):
    """A container, or the overrides of one."""

    name: str | None


NamedT = TypeVar("NamedT", bound=Named)


def shown_as(shape: type[DetailT], source: msgspec.Struct, **members: Any) -> DetailT:
    """What DescribeJobs shows of a part of a definition: the members that both shapes have, and those given."""
    return shape(**{member: getattr(source, member) for member in _common_members(shape, type(source))} | members)


@cache
def _common_members(one: type[msgspec.Struct], other: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(member for member in one.__struct_fields__ if member in other.__struct_fields__)


def merged_environment(given: Iterable[PairT] | None, overrides: Sequence[PairT] | None) -> list[PairT]:
    """The variables, those of the submission over those of the same name. Raises `Refusal`."""
    check_environment(overrides)
    merged = {pair.name: pair for pair in given or ()}
    merged.update((pair.name, pair) for pair in overrides or ())
    return list(merged.values())


def overriding_command(command: list[str] | None) -> list[str]:
    """The command of a submission, checked; empty when it gives none (model `ContainerOverrides$command`)."""
    check_command(command)
    if command and "" in command:
        raise Refusal("Container override command cannot contain an empty string")
    return command or []


def by_name(overrides: Sequence[NamedT] | None, names: Sequence[str | None], kind: str) -> dict[str | None, NamedT]:
    """Overrides by the name of the container (of `names`) that they are for; a container that is alone need not be named.
    Raises `Refusal`."""
    found: dict[str | None, NamedT] = {}
    for override in overrides or ():
        name = names[0] if override.name is None and len(names) == 1 else override.name
        if name not in names:
            raise Refusal(f"{kind} names container {(name or '')[:300]!r}, which the job definition does not have")
        if name in found:
            raise Refusal(f"{kind} names container {name} more than once")
        found[name] = override
    return found


def check_kind_of_overrides(block: str, allowed: str, **overrides: msgspec.Struct | None) -> None:
    """Refuses overrides that are not for this block of properties (`containerProperties`…); empty ones are let pass."""
    for name, value in overrides.items():
        if name == allowed or value is None:
            continue
        if any(getattr(value, member) for member in value.__struct_fields__):
            raise Refusal(f"{name} cannot be used with a job definition that has {block}")
