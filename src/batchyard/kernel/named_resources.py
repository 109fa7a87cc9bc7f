"""What holds for every kind of resource that has a name: how it is found, and what stands in the way of a change."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Protocol, TypeVar

from batchyard.kernel.identifiers import NAME
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State

T = TypeVar("T")


class Detail(Protocol):
    """What callers see of a resource with a status machine."""

    state: str | None
    status: str | None


class Changing(Protocol):
    """A resource whose changes take a moment, as those of AWS do."""

    @property
    def detail(self) -> Detail: ...


Resource = TypeVar("Resource", bound=Changing)


def find(state: State, resources: Mapping[str, T], kind: str, name_or_arn: str) -> T | None:
    """The resource of a name or of an ARN of this kind."""
    name = state.settings.account.name_of(kind, name_or_arn)
    return resources.get(name) if name else None


def check_name(member: str, name: str) -> None:
    """`member` is the one that holds the name."""
    if not NAME.match(name):
        raise Refusal(f"{member} should match valid pattern", wrapped=False)


def check_new_name(member: str, name: str, taken: Container[str]) -> None:
    check_name(member, name)
    if name in taken:
        raise Refusal("Object already exists", wrapped=False)


def to_be_changed(found: Resource | None, kind: str, named: str) -> Resource:
    """The resource, if it is there and no change of it is under way. `kind` as in "JobQueue x not found."."""
    if found is None:
        raise Refusal(f"{kind} {named} not found.", wrapped=False)
    if _is_being_modified(found):
        raise Refusal("Cannot update, resource is being modified", wrapped=False)
    return found


def check_deletable(resource: Changing) -> None:
    if _is_being_modified(resource):
        raise Refusal("Cannot delete, resource is being modified", wrapped=False)
    if resource.detail.state != "DISABLED":
        raise Refusal("Cannot delete, state must be DISABLED", wrapped=False)


def _is_being_modified(resource: Changing) -> bool:
    return resource.detail.status in ("CREATING", "UPDATING", "DELETING")
