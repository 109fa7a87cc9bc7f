"""Compute environments: what may be created, changed and deleted, and how their status moves.

Sources: User Guide "Compute environments", "Update a compute environment"; model `ComputeResource`. Creation, update and
deletion are asynchronous as on AWS: CREATING, UPDATING and DELETING are committed, and completed by a later step.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    DeleteComputeEnvironment,
    UpdateComputeEnvironment,
)
from batchyard.kernel.identifiers import NAME, cluster_arn
from batchyard.kernel.placement import used_in
from batchyard.kernel.records import ComputeEnvironment
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State
from batchyard.kernel.tags import check_tags
from batchyard.shapes import batch as shapes

KIND = "compute-environment"
StructT = TypeVar("StructT", bound=msgspec.Struct)

_NOT_ON_FARGATE = (
    "allocation_strategy",
    "bid_percentage",
    "desired_vcpus",
    "min_vcpus",
    "image_id",
    "instance_types",
    "instance_role",
    "ec2_configuration",
    "ec2_key_pair",
    "launch_template",
    "placement_group",
    "spot_iam_fleet_role",
    "tags",
)


def find_environment(state: State, name_or_arn: str) -> ComputeEnvironment | None:
    name = state.settings.account.name_of(KIND, name_or_arn)
    return state.environments.get(name) if name else None


def create_environment(
    state: State, command: CreateComputeEnvironment, now: int
) -> shapes.CreateComputeEnvironmentResponse:
    """CreateComputeEnvironment."""
    request, uuid = command.request, command.uuid
    name = request.compute_environment_name
    if not NAME.match(name):
        raise Refusal("computeEnvironmentName should match valid pattern", wrapped=False)
    if name in state.environments:
        raise Refusal("Object already exists", wrapped=False)
    check_tags(request.tags)
    _check_kind(request)
    if request.compute_resources is not None:
        _check_resources(request.compute_resources, eks=request.eks_configuration is not None)
    account = state.settings.account
    resources = request.compute_resources
    if resources is not None and not is_fargate(resources):
        resources = msgspec.structs.replace(
            resources,
            desired_vcpus=resources.desired_vcpus if resources.desired_vcpus is not None else resources.min_vcpus,
        )
    detail = shapes.ComputeEnvironmentDetail(
        compute_environment_name=name,
        compute_environment_arn=account.arn(f"{KIND}/{name}"),
        unmanaged_vcpus=request.unmanaged_vcpus,
        ecs_cluster_arn=cluster_arn(account, name),
        tags=request.tags or {},
        type=request.type,
        state=request.state or "ENABLED",
        status="CREATING",
        status_reason="ComputeEnvironment Creating",
        compute_resources=resources,
        service_role=request.service_role
        or f"arn:{account.partition}:iam::{account.account_id}:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
        eks_configuration=request.eks_configuration,
        container_orchestration_type="EKS" if request.eks_configuration else "ECS",
        uuid=uuid,
        context=request.context,
        ecs_settings=request.ecs_settings,
    )
    if request.eks_configuration is None and request.type == "MANAGED":
        detail.update_policy = shapes.UpdatePolicy(terminate_jobs_on_update=False, job_execution_timeout_minutes=30)
    state.environments[name] = ComputeEnvironment(detail=detail, due=now + 1, used=used_in(state, name))
    save_environment(state, detail)
    return shapes.CreateComputeEnvironmentResponse(
        compute_environment_name=name, compute_environment_arn=detail.compute_environment_arn
    )


def _check_kind(request: shapes.CreateComputeEnvironmentRequest) -> None:
    if request.type == "MANAGED" and request.compute_resources is None:
        raise Refusal("computeResources must be provided for a MANAGED compute environment")
    if request.type == "UNMANAGED" and request.compute_resources is not None:
        raise Refusal("computeResources is not applicable for an UNMANAGED compute environment")
    if request.type == "MANAGED" and request.unmanaged_vcpus is not None:
        raise Refusal("unmanagedvCpus is not applicable for a MANAGED compute environment")
    if request.type == "UNMANAGED" and not request.service_role:
        raise Refusal("ServiceRole is required.")
    if request.unmanaged_vcpus is not None and request.unmanaged_vcpus < 0:
        raise Refusal(f"unmanagedvCpus must not be negative, got {request.unmanaged_vcpus}")


def is_fargate(resources: shapes.ComputeResource | None) -> bool:
    return resources is not None and resources.type in ("FARGATE", "FARGATE_SPOT")


def _check_resources(resources: shapes.ComputeResource, *, eks: bool) -> None:
    if resources.max_vcpus < 0 or (resources.max_vcpus == 0 and is_fargate(resources)):
        raise Refusal(f"Resource maxvCpus must be at least 1, got {resources.max_vcpus}")
    if is_fargate(resources):
        for member in _NOT_ON_FARGATE:
            if getattr(resources, member) is not None:
                raise Refusal(f"{_wire_name(member)} is not applicable for Fargate.")
    elif resources.type in ("EC2", "SPOT"):
        if resources.min_vcpus is None:
            raise Refusal("Resource minvCpus is required.")
        if not resources.instance_role:
            raise Refusal("Instance role is required.")
        strategy = resources.allocation_strategy
        if (
            resources.type == "SPOT"
            and not eks
            and strategy in (None, "BEST_FIT")
            and not resources.spot_iam_fleet_role
        ):
            raise Refusal("ComputeResources.spotIamFleetRole cannot not be null or empty")
    _check_vcpus(resources.min_vcpus or 0, resources.desired_vcpus, resources.max_vcpus)


def _check_vcpus(least: int, desired: int | None, most: int) -> None:
    if least < 0 or least > most:
        raise Refusal(f"Resource minvCpus must be between 0 and maxvCpus ({most}), got {least}")
    if desired is not None and not least <= desired <= most:
        raise Refusal(f"Resource desiredvCpus must be between minvCpus ({least}) and maxvCpus ({most}), got {desired}")


def _wire_name(member: str) -> str:
    special = {"min_vcpus": "minvCpus", "desired_vcpus": "desiredvCpus"}
    first, *rest = member.split("_")
    return special.get(member) or first + "".join(part.capitalize() for part in rest)


def update_environment(
    state: State, command: UpdateComputeEnvironment, now: int
) -> shapes.UpdateComputeEnvironmentResponse:
    """UpdateComputeEnvironment."""
    request = command.request
    environment = find_environment(state, request.compute_environment)
    if environment is None:
        raise Refusal(f"ComputeEnvironment {request.compute_environment} not found.", wrapped=False)
    detail = environment.detail
    if environment.due is not None:
        raise Refusal("Cannot update, resource is being modified", wrapped=False)
    changed = _changed(detail, request)
    if changed.compute_resources is not None:
        _check_resources(changed.compute_resources, eks=detail.eks_configuration is not None)
    changed.status, changed.status_reason = "UPDATING", "ComputeEnvironment Updating"
    environment.detail = changed
    environment.due = now + 1
    save_environment(state, changed)
    return shapes.UpdateComputeEnvironmentResponse(
        compute_environment_name=changed.compute_environment_name,
        compute_environment_arn=changed.compute_environment_arn,
    )


def _changed(
    detail: shapes.ComputeEnvironmentDetail, request: shapes.UpdateComputeEnvironmentRequest
) -> shapes.ComputeEnvironmentDetail:
    if request.unmanaged_vcpus is not None and detail.type != "UNMANAGED":
        raise Refusal("unmanagedvCpus is not applicable for a MANAGED compute environment")
    if request.compute_resources is not None and detail.compute_resources is None:
        raise Refusal("computeResources is not applicable for an UNMANAGED compute environment")
    given = {
        member: value
        for member in ("state", "unmanaged_vcpus", "service_role", "update_policy", "context", "ecs_settings")
        if (value := getattr(request, member)) is not None
    }
    changed = msgspec.structs.replace(detail, **given)
    if request.compute_resources is not None and detail.compute_resources is not None:
        changed.compute_resources = _changed_resources(detail.compute_resources, request.compute_resources)
    if request.eks_configuration is not None:
        if detail.eks_configuration is None:
            raise Refusal("eksConfiguration is not applicable for a compute environment without a Kubernetes cluster")
        changed.eks_configuration = _replaced(detail.eks_configuration, request.eks_configuration)
    return changed


def _replaced(present: StructT, update: msgspec.Struct) -> StructT:
    """The members that the update gives, over those that are there."""
    given = {name: value for name in update.__struct_fields__ if (value := getattr(update, name)) is not None}
    return msgspec.structs.replace(present, **given)


def _changed_resources(
    resources: shapes.ComputeResource, update: shapes.ComputeResourceUpdate
) -> shapes.ComputeResource:
    if update.desired_vcpus is not None and update.desired_vcpus < (resources.desired_vcpus or 0):
        raise Refusal(
            "Manually scaling down compute environment is not supported. Disconnecting job queues from compute"
            " environment will cause it to scale-down to minvCpus"
        )
    provider = _changed_provider(resources.managed_instances_provider, update.managed_instances_provider)
    members = [
        member
        for member in update.__struct_fields__
        if member in resources.__struct_fields__ and member != "managed_instances_provider"
    ]
    given = {member: value for member in members if (value := getattr(update, member)) is not None}
    changed = msgspec.structs.replace(resources, **given, managed_instances_provider=provider)
    least, most = changed.min_vcpus or 0, changed.max_vcpus
    if changed.desired_vcpus is not None and update.desired_vcpus is None:
        changed.desired_vcpus = min(max(changed.desired_vcpus, least), most)
    return changed


def _changed_provider(
    present: shapes.ManagedInstancesProvider | None, update: shapes.UpdateManagedInstancesProviderConfiguration | None
) -> shapes.ManagedInstancesProvider | None:
    if update is None:
        return present
    if present is None:
        raise Refusal("managedInstancesProvider is only applicable for ECS_MANAGED_INSTANCES")
    template = update.instance_launch_template
    changed = _replaced(present, msgspec.structs.replace(update, instance_launch_template=None))
    if template is not None:
        changed.instance_launch_template = _replaced(present.instance_launch_template, template)
    return changed


def delete_environment(state: State, command: DeleteComputeEnvironment, now: int) -> None:
    """DeleteComputeEnvironment. One that is gone already is no error."""
    environment = find_environment(state, command.environment)
    if environment is None:
        return
    if environment.due is not None:
        raise Refusal("Cannot delete, resource is being modified", wrapped=False)
    if environment.detail.state != "DISABLED":
        raise Refusal("Cannot delete, state must be DISABLED", wrapped=False)
    arn = environment.detail.compute_environment_arn
    for queue in state.queues.values():
        if any(entry.compute_environment == arn for entry in queue.detail.compute_environment_order or ()):
            raise Refusal("Cannot delete, found existing JobQueue relationship", wrapped=False)
    environment.detail.status, environment.detail.status_reason = "DELETING", "ComputeEnvironment Deleting"
    environment.due = now + 1
    save_environment(state, environment.detail)


def environments_due(state: State) -> list[int]:
    """When changes that are under way are to be completed."""
    return [environment.due for environment in state.environments.values() if environment.due is not None]


def complete_environments(state: State, now: int) -> None:
    """Completes the changes whose time has come."""
    for environment in list(state.environments.values()):
        if environment.due is None or environment.due > now:
            continue
        environment.due = None
        detail = environment.detail
        if detail.status == "DELETING":
            del state.environments[environment.name]
            state.effects.resources[KIND, environment.name] = None
            continue
        detail.status, detail.status_reason = _settled_status(detail)
        save_environment(state, detail)
        for queue in state.queues.values():
            lifecycle.reconsider(state, queue)


def _settled_status(detail: shapes.ComputeEnvironmentDetail) -> tuple[str, str]:
    if detail.eks_configuration is not None:
        return "INVALID", "CLIENT_ERROR - No Kubernetes cluster is connected to this server."
    return "VALID", "ComputeEnvironment Healthy"


def save_environment(state: State, detail: shapes.ComputeEnvironmentDetail) -> None:
    state.effects.resources[KIND, detail.compute_environment_name or ""] = detail
