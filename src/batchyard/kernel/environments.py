"""Compute environments: what may be created, changed and deleted, and how their status moves.

Sources: User Guide "Compute environments", "Update a compute environment"; model `ComputeResource`. Creation, update and
deletion are asynchronous as on AWS: CREATING, UPDATING and DELETING are committed, and completed by a later step.
"""

from __future__ import annotations

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    DeleteComputeEnvironment,
    UpdateComputeEnvironment,
)
from batchyard.kernel.compute_resources import check_resources, is_fargate
from batchyard.kernel.draining import drain, replace_instances
from batchyard.kernel.environment_updates import changed_environment, replaces_instances
from batchyard.kernel.identifiers import cluster_arn
from batchyard.kernel.instances import ENVIRONMENT_DELETED, is_replacing, look_after_idle, show_vcpus
from batchyard.kernel.named_resources import check_deletable, check_new_name, find, to_be_changed
from batchyard.kernel.placement import used_in
from batchyard.kernel.records import ComputeEnvironment
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State
from batchyard.kernel.tags import check_tags
from batchyard.kernel.terms import ENVIRONMENT_TAGS
from batchyard.shapes import batch as shapes

KIND = "compute-environment"


def find_environment(state: State, name_or_arn: str) -> ComputeEnvironment | None:
    return find(state, state.environments, KIND, name_or_arn)


def create_environment(
    state: State, command: CreateComputeEnvironment, now: int
) -> shapes.CreateComputeEnvironmentResponse:
    """CreateComputeEnvironment."""
    request, uuid = command.request, command.uuid
    name = request.compute_environment_name
    check_new_name("computeEnvironmentName", name, state.environments)
    check_tags(request.tags, ENVIRONMENT_TAGS)
    _check_kind(request)
    if request.compute_resources is not None:
        check_resources(request.compute_resources, state.settings.catalogue, eks=request.eks_configuration is not None)
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
    environment = ComputeEnvironment(detail=detail, due=now + 1, used=used_in(state, name))
    if resources is not None:
        environment.wanted_vcpus = resources.desired_vcpus or 0
    state.environments[name] = environment
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


def update_environment(
    state: State, command: UpdateComputeEnvironment, now: int
) -> shapes.UpdateComputeEnvironmentResponse:
    """UpdateComputeEnvironment."""
    request = command.request
    environment = to_be_changed(
        find_environment(state, request.compute_environment), "ComputeEnvironment", request.compute_environment
    )
    detail = environment.detail
    changed = changed_environment(detail, request)
    if changed.compute_resources is not None:
        check_resources(changed.compute_resources, state.settings.catalogue, eks=detail.eks_configuration is not None)
    changed.status, changed.status_reason = "UPDATING", "ComputeEnvironment Updating"
    replaces = replaces_instances(detail, changed)
    environment.detail = changed
    environment.types = None
    if request.compute_resources is not None and request.compute_resources.desired_vcpus is not None:
        environment.wanted_vcpus = request.compute_resources.desired_vcpus
    if replaces:
        replace_instances(state, environment, now)
    look_after_idle(state, environment, now)
    show_vcpus(state, environment)
    environment.due = now + 1
    save_environment(state, changed)
    lifecycle.reconsider_all(state)  # The new limits hold from now on, for those that were set aside too.
    return shapes.UpdateComputeEnvironmentResponse(
        compute_environment_name=changed.compute_environment_name,
        compute_environment_arn=changed.compute_environment_arn,
    )


def delete_environment(state: State, command: DeleteComputeEnvironment, now: int) -> None:
    """DeleteComputeEnvironment. One that is gone already is no error."""
    environment = find_environment(state, command.environment)
    if environment is None:
        return
    check_deletable(environment)
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
        if detail.status == "UPDATING" and is_replacing(environment):
            continue  # The end of the last of them completes the update.
        if detail.status == "DELETING":
            for instance in list(environment.instances.values()):
                drain(state, instance, ENVIRONMENT_DELETED, now)
            del state.environments[environment.name]
            state.effects.resources[KIND, environment.name] = None
            continue
        detail.status, detail.status_reason = _settled_status(detail)
        save_environment(state, detail)
        lifecycle.reconsider_all(state)


def _settled_status(detail: shapes.ComputeEnvironmentDetail) -> tuple[str, str]:
    if detail.eks_configuration is not None:
        return "INVALID", "CLIENT_ERROR - No Kubernetes cluster is connected to this server."
    return "VALID", "ComputeEnvironment Healthy"


def save_environment(state: State, detail: shapes.ComputeEnvironmentDetail) -> None:
    state.effects.resources[KIND, detail.compute_environment_name or ""] = detail
