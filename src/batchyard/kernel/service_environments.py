"""Service environments: where service jobs run, and how many instances they may have there at the same time.

Sources: User Guide "Service environments for AWS Batch", "Service environment states"; model `CapacityLimit`. Changes are
asynchronous, as those of compute environments are.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.commands import CreateServiceEnvironment, DeleteServiceEnvironment, UpdateServiceEnvironment
from batchyard.kernel.named_resources import check_deletable, check_new_name, find, to_be_changed
from batchyard.kernel.records import JobQueue, ServiceEnvironment
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.scheduling_policies import policy_of
from batchyard.kernel.service_placement import NUM_INSTANCES, used_in
from batchyard.kernel.state import State
from batchyard.kernel.tags import check_tags
from batchyard.kernel.training import INSTANCE_TYPE
from batchyard.shapes import batch as shapes

KIND = "service-environment"
MAXIMUM_LIMITS = 5


def find_environment(state: State, name_or_arn: str) -> ServiceEnvironment | None:
    return find(state, state.service_environments, KIND, name_or_arn)


def create_environment(
    state: State, command: CreateServiceEnvironment, now: int
) -> shapes.CreateServiceEnvironmentResponse:
    """CreateServiceEnvironment."""
    request = command.request
    name = request.service_environment_name
    check_new_name("serviceEnvironmentName", name, state.service_environments)
    check_tags(request.tags)
    _check_limits(request.capacity_limits)
    detail = shapes.ServiceEnvironmentDetail(
        service_environment_name=name,
        service_environment_arn=state.settings.account.arn(f"{KIND}/{name}"),
        service_environment_type=request.service_environment_type,
        state=request.state or "ENABLED",
        status="CREATING",
        capacity_limits=request.capacity_limits,
        tags=request.tags or {},
    )
    state.service_environments[name] = ServiceEnvironment(detail=detail, due=now + 1, used=used_in(state, name))
    save_environment(state, detail)
    return shapes.CreateServiceEnvironmentResponse(
        service_environment_name=name, service_environment_arn=detail.service_environment_arn
    )


def _check_limits(limits: Sequence[shapes.CapacityLimit]) -> None:
    """One limit for all instances together, or one for each of some instance types."""
    if not 1 <= len(limits) <= MAXIMUM_LIMITS:
        raise Refusal(f"capacityLimits must have 1 to {MAXIMUM_LIMITS} entries, got {len(limits)}")
    units = [limit.capacity_unit or "" for limit in limits]
    if NUM_INSTANCES in units and len(units) > 1:
        raise Refusal(f"capacityLimits with the capacityUnit {NUM_INSTANCES} cannot have another entry")
    if len(set(units)) != len(units):
        raise Refusal("capacityLimits cannot name a capacityUnit twice")
    for limit, unit in zip(limits, units, strict=True):
        if unit != NUM_INSTANCES and not INSTANCE_TYPE.match(unit):
            raise Refusal(
                f"capacityUnit must be {NUM_INSTANCES} or a SageMaker instance type such as ml.m5.large, got {unit!r}"
            )
        if limit.max_capacity is None or limit.max_capacity < 1:
            raise Refusal(f"maxCapacity must be at least 1, got {limit.max_capacity}")


def update_environment(
    state: State, command: UpdateServiceEnvironment, now: int
) -> shapes.UpdateServiceEnvironmentResponse:
    """UpdateServiceEnvironment. Lower limits take nothing from jobs that run; new ones wait until there is room."""
    request = command.request
    environment = to_be_changed(
        find_environment(state, request.service_environment), "ServiceEnvironment", request.service_environment
    )
    given = {
        member: value for member in ("state", "capacity_limits") if (value := getattr(request, member)) is not None
    }
    if request.capacity_limits is not None:
        _check_limits(request.capacity_limits)
        _check_change_of_units(state, environment, request.capacity_limits)
    environment.detail = msgspec.structs.replace(environment.detail, **given, status="UPDATING")
    environment.due = now + 1
    save_environment(state, environment.detail)
    lifecycle.reconsider_all(state)
    return shapes.UpdateServiceEnvironmentResponse(
        service_environment_name=environment.name,
        service_environment_arn=environment.detail.service_environment_arn,
    )


def _check_change_of_units(
    state: State, environment: ServiceEnvironment, limits: Sequence[shapes.CapacityLimit]
) -> None:
    for queue in _queues_on(state, environment):
        if _has_quota_shares(state, queue) and limits[0].capacity_unit == NUM_INSTANCES:
            raise Refusal(
                f"Job queue {queue.name} has a quota share policy, and needs limits for instance types, not for"
                f" {NUM_INSTANCES}"
            )


def delete_environment(state: State, command: DeleteServiceEnvironment, now: int) -> None:
    """DeleteServiceEnvironment. One that is gone already is no error."""
    environment = find_environment(state, command.environment)
    if environment is None:
        return
    check_deletable(environment)
    if _queues_on(state, environment):
        raise Refusal("Cannot delete, found existing JobQueue relationship", wrapped=False)
    environment.detail.status = "DELETING"
    environment.due = now + 1
    save_environment(state, environment.detail)


def checked_order(
    state: State, order: Sequence[shapes.ServiceEnvironmentOrder], queue: str, *, quota: bool
) -> list[shapes.ServiceEnvironmentOrder]:
    """The `serviceEnvironmentOrder` of the queue of this name, with the ARN. `quota`: it has quota shares. Raises `Refusal`."""
    if len(order) != 1:
        raise Refusal(f"A job queue must have exactly 1 service environment, got {len(order)}")
    named = order[0].service_environment
    environment = find_environment(state, named)
    if environment is None:
        raise Refusal(f"Service Environment {named} does not exist", wrapped=False)
    if environment.detail.status not in ("VALID", "UPDATING"):
        raise Refusal(f"Service Environment {named} is not valid", wrapped=False)
    _check_quota_management(state, environment, queue, quota)
    arn = environment.detail.service_environment_arn or ""
    return [shapes.ServiceEnvironmentOrder(order=order[0].order, service_environment=arn)]


def _check_quota_management(state: State, environment: ServiceEnvironment, queue: str, quota: bool) -> None:
    """Quota shares divide an environment by instance type, and have it for themselves (User Guide "Create quota management
    resources")."""
    name = environment.name
    if quota and any(limit.capacity_unit == NUM_INSTANCES for limit in environment.detail.capacity_limits or ()):
        raise Refusal(
            f"A job queue with a quota share policy needs a service environment with limits for instance types; {name} has"
            f" one for {NUM_INSTANCES}"
        )
    for other in _queues_on(state, environment):
        if other.name != queue and (quota or _has_quota_shares(state, other)):
            raise Refusal(
                f"Service environment {name} serves job queue {other.name}; one that serves a job queue with a quota share"
                " policy cannot serve another"
            )


def _queues_on(state: State, environment: ServiceEnvironment) -> list[JobQueue]:
    arn = environment.detail.service_environment_arn
    return [
        queue
        for queue in state.queues.values()
        if any(entry.service_environment == arn for entry in queue.detail.service_environment_order or ())
    ]


def _has_quota_shares(state: State, queue: JobQueue) -> bool:
    policy = policy_of(state, queue)
    return policy is not None and policy.quota_share_policy is not None


def service_environments_due(state: State) -> list[int]:
    """When changes that are under way are to be completed."""
    return [environment.due for environment in state.service_environments.values() if environment.due is not None]


def complete_service_environments(state: State, now: int) -> None:
    """Completes the changes whose time has come."""
    for environment in list(state.service_environments.values()):
        if environment.due is None or environment.due > now:
            continue
        environment.due = None
        if environment.detail.status == "DELETING":
            del state.service_environments[environment.name]
            state.effects.resources[KIND, environment.name] = None
            continue
        environment.detail.status = "VALID"
        save_environment(state, environment.detail)
        lifecycle.reconsider_all(state)


def save_environment(state: State, detail: shapes.ServiceEnvironmentDetail) -> None:
    state.effects.resources[KIND, detail.service_environment_name or ""] = detail
