"""Consumable resources: licences, tokens, anything counted that jobs need besides vCPUs and memory.

A job takes all that it needs at once when it starts, or waits in RUNNABLE holding nothing. What it took of a REPLENISHABLE
resource comes back when the attempt ends; a NON_REPLENISHABLE one is used up. Sources: User Guide "Resource-aware
scheduling"; model `CreateConsumableResource`, `UpdateConsumableResource`. Resources are synchronous: they have no status.

`total` is what the resource was set to. Where more than that is in use, because the total was reduced under the jobs that
run, callers are shown what is in use as the total until those jobs have ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from batchyard.kernel.commands import (
    CreateConsumableResource,
    DeleteConsumableResource,
    UpdateConsumableResource,
)
from batchyard.kernel.identifiers import Account
from batchyard.kernel.named_resources import check_new_name, find
from batchyard.kernel.records import (
    AppliedUpdate,
    ConsumableResource,
    ConsumableResourceDetail,
    Hold,
    Job,
    Requirement,
    Task,
)
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State
from batchyard.kernel.tags import check_tags
from batchyard.shapes import batch as shapes

KIND = "consumable-resource"
UPDATE_KIND = "consumable-resource-update"
"""Under this kind the updates that carried a client token are kept, by resource and token."""
TOKEN_MILLISECONDS = 8 * 3600 * 1000
"""For how long an update with the same client token counts as the same update."""
LARGEST_QUANTITY = 2**63 - 1

_TYPES = ("REPLENISHABLE", "NON_REPLENISHABLE")


def find_resource(state: State, name_or_arn: str) -> ConsumableResource | None:
    return find(state, state.consumable_resources, KIND, name_or_arn)


def create_resource(
    state: State, command: CreateConsumableResource, now: int
) -> shapes.CreateConsumableResourceResponse:
    """CreateConsumableResource. Jobs that wait for a resource of this name become eligible."""
    request = command.request
    name = request.consumable_resource_name
    check_new_name("consumableResourceName", name, state.consumable_resources)
    check_tags(request.tags)
    kind = request.resource_type or "REPLENISHABLE"
    if kind not in _TYPES:
        raise Refusal(f"resourceType must be REPLENISHABLE or NON_REPLENISHABLE, got {kind}")
    total = request.total_quantity or 0
    if total < 0:
        raise Refusal(f"totalQuantity must not be negative, got {total}")
    resource = ConsumableResource(
        detail=ConsumableResourceDetail(
            name=name,
            uuid=command.uuid,
            resource_type=kind,
            total=total,
            created_at=now,
            tags=request.tags or {},
        )
    )
    state.consumable_resources[name] = resource
    state.freed.add(name)
    save_resource(state, resource)
    return shapes.CreateConsumableResourceResponse(
        consumable_resource_name=name, consumable_resource_arn=arn_of(state.settings.account, name)
    )


def update_resource(
    state: State, command: UpdateConsumableResource, now: int
) -> shapes.UpdateConsumableResourceResponse:
    """UpdateConsumableResource: SET, ADD or REMOVE; once only for the same client token."""
    request = command.request
    resource = find_resource(state, request.consumable_resource)
    if resource is None:
        raise Refusal(f"ConsumableResource {request.consumable_resource} not found.", wrapped=False)
    operation, quantity = request.operation or "SET", request.quantity
    if quantity is None or quantity < 0:
        raise Refusal(f"quantity must be given and not be negative, got {quantity}")
    if not _is_repetition(resource, request.client_token, operation, quantity, now):
        resource.detail.total = _changed_total(resource, operation, quantity)
        _remember(state, resource, request.client_token, now, operation, quantity)
        state.freed.add(resource.name)
        save_resource(state, resource)
    return shapes.UpdateConsumableResourceResponse(
        consumable_resource_name=resource.name,
        consumable_resource_arn=arn_of(state.settings.account, resource.name),
        total_quantity=resource.shown_total,
    )


def _changed_total(resource: ConsumableResource, operation: str, quantity: int) -> int:
    total = resource.detail.total
    match operation:
        case "SET":
            return quantity
        case "ADD":
            if total + quantity > LARGEST_QUANTITY:
                raise Refusal(f"The total quantity cannot be more than {LARGEST_QUANTITY}, got {total + quantity}")
            return total + quantity
        case "REMOVE":
            if quantity > total:
                raise Refusal(
                    f"Cannot remove {quantity} from consumable resource {resource.name}: its total quantity is {total}"
                )
            return total - quantity
    raise Refusal(f"operation must be SET, ADD or REMOVE, got {operation}")


def _is_repetition(resource: ConsumableResource, token: str | None, operation: str, quantity: int, now: int) -> bool:
    before = resource.updates.get(token) if token is not None else None
    if before is None or before.at <= now - TOKEN_MILLISECONDS:
        return False
    if (before.operation, before.quantity) != (operation, quantity):
        raise Refusal(f"clientToken {token} was used for another update within the last 8 hours")
    return True


def _remember(
    state: State, resource: ConsumableResource, token: str | None, now: int, operation: str, quantity: int
) -> None:
    """Keeps the update under its token, and forgets those whose 8 hours are over."""
    for old, applied in list(resource.updates.items()):
        if applied.at > now - TOKEN_MILLISECONDS:
            break
        _forget(state, resource, old)
    if token is not None:
        update = resource.updates[token] = AppliedUpdate(resource.name, token, now, operation, quantity)
        state.effects.resources[UPDATE_KIND, f"{resource.name}/{token}"] = update


def _forget(state: State, resource: ConsumableResource, token: str) -> None:
    del resource.updates[token]
    state.effects.resources[UPDATE_KIND, f"{resource.name}/{token}"] = None


def delete_resource(state: State, command: DeleteConsumableResource, _now: int) -> None:
    """DeleteConsumableResource: any time. Jobs that hold some of it run on; those that need it wait until the name is there
    again. One that is gone already is no error."""
    resource = find_resource(state, command.resource)
    if resource is None:
        return
    for token in list(resource.updates):
        _forget(state, resource, token)
    del state.consumable_resources[resource.name]
    state.effects.resources[KIND, resource.name] = None


def save_resource(state: State, resource: ConsumableResource) -> None:
    state.effects.resources[KIND, resource.name] = resource.detail


def arn_of(account: Account, name: str) -> str:
    return account.arn(f"{KIND}/{name}")


def requirements_of(account: Account, detail: shapes.JobDetail) -> tuple[Requirement, ...] | None:
    """What an attempt of the job (of each child) takes, by the resource's name; None for nothing. For a multi-node parallel job
    what its groups of nodes ask for is added up: it starts as a whole. Raises `Refusal`."""
    groups = (detail.node_properties.node_range_properties if detail.node_properties else None) or ()
    asked = [detail.consumable_resource_properties, *(group.consumable_resource_properties for group in groups)]
    found: Counter[str] = Counter()
    for entry in (entry for properties in asked if properties for entry in properties.consumable_resource_list or ()):
        name = account.name_of(KIND, entry.consumable_resource or "")
        if name is None:
            raise Refusal(f"Consumable resource {entry.consumable_resource} is of another account or Region")
        found[name] += entry.quantity or 0
    return tuple(sorted(found.items())) or None


def lacks(state: State, requirement: Requirement) -> bool:
    """Whether this much is not there now. A resource that does not exist has nothing."""
    name, quantity = requirement
    resource = state.consumable_resources.get(name)
    return resource is None or resource.available < quantity


def lock(state: State, job: Job, task: Task) -> None:
    """The attempt takes all that its job needs; it has been found to be there."""
    for name, quantity in job.consumables or ():
        resource = state.consumable_resources[name]
        if resource.replenishable:
            resource.in_use += quantity
        else:
            resource.detail.total -= quantity
            save_resource(state, resource)
        task.holds = [*(task.holds or ()), Hold(name, resource.detail.uuid, quantity)]


def release(state: State, task: Task) -> None:
    """The attempt has ended. What it took of a resource that has been deleted since is nobody's."""
    for hold, resource in _held(state, task.holds):
        if resource.replenishable:
            resource.in_use -= hold.quantity
            state.freed.add(resource.name)


def give_back(state: State, task: Task) -> None:
    """The attempt has not begun and does not count: nothing was used up."""
    release(state, task)
    for hold, resource in _held(state, task.holds):
        if not resource.replenishable:
            resource.detail.total += hold.quantity
            state.freed.add(resource.name)
            save_resource(state, resource)


def book(state: State, task: Task) -> None:
    """After a restart: what an attempt in force has taken is in use."""
    for hold, resource in _held(state, task.holds):
        if resource.replenishable:
            resource.in_use += hold.quantity


def _held(state: State, holds: Sequence[Hold] | None) -> Iterable[tuple[Hold, ConsumableResource]]:
    for hold in holds or ():
        resource = state.consumable_resources.get(hold.resource)
        if resource is not None and resource.detail.uuid == hold.uuid:
            yield hold, resource
