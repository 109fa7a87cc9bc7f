"""What UpdateComputeEnvironment may change, and what comes of it.

Sources: User Guide "Update a compute environment", "Perform scaling updates", "Perform infrastructure updates"; model
`ComputeResourceUpdate`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from batchyard.kernel.compute_resources import is_fargate, wire_name
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

StructT = TypeVar("StructT", bound=msgspec.Struct)

_LINKED = "/aws-service-role/"
_TYPES = (("EC2", "SPOT"), ("FARGATE", "FARGATE_SPOT"), ("ECS_MANAGED_INSTANCES",))
"""Types that can take each other's place."""
_SCALING = ("min_vcpus", "max_vcpus", "desired_vcpus", "scaling_policy")


def changed_environment(
    detail: shapes.ComputeEnvironmentDetail, request: shapes.UpdateComputeEnvironmentRequest
) -> shapes.ComputeEnvironmentDetail:
    """The environment as the update makes it. Raises `Refusal`."""
    if request.unmanaged_vcpus is not None and detail.type != "UNMANAGED":
        raise Refusal("unmanagedvCpus is not applicable for a MANAGED compute environment")
    if request.compute_resources is not None and detail.compute_resources is None:
        raise Refusal("computeResources is not applicable for an UNMANAGED compute environment")
    given = {
        member: value
        for member in ("state", "unmanaged_vcpus", "service_role", "update_policy", "context", "ecs_settings")
        if (value := getattr(request, member)) is not None
    }
    if request.service_role is not None:
        _check_role(detail.service_role or "", request.service_role)
    changed = msgspec.structs.replace(detail, **given)
    if request.compute_resources is not None and detail.compute_resources is not None:
        if detail.eks_configuration is not None and request.compute_resources.desired_vcpus is not None:
            raise Refusal("desiredvCpus cannot be updated for a compute environment on Amazon EKS")
        changed.compute_resources = _changed_resources(detail.compute_resources, request.compute_resources)
    if request.eks_configuration is not None:
        if detail.eks_configuration is None:
            raise Refusal("eksConfiguration is not applicable for a compute environment without a Kubernetes cluster")
        changed.eks_configuration = _replaced(detail.eks_configuration, request.eks_configuration)
    return changed


def replaces_instances(before: shapes.ComputeEnvironmentDetail, after: shapes.ComputeEnvironmentDetail) -> bool:
    """Whether the update is one of the infrastructure, which replaces all instances (User Guide "Perform infrastructure
    updates"): anything but numbers of vCPUs, the scaling policy and what is not of the compute resources."""
    old, new = before.compute_resources, after.compute_resources
    if old is None or new is None or old.type not in ("EC2", "SPOT"):
        return False
    members = [member for member in old.__struct_fields__ if member not in _SCALING]
    return any(getattr(old, member) != getattr(new, member) for member in members)


def _replaced(present: StructT, update: msgspec.Struct) -> StructT:
    """The members that the update gives, over those that are there."""
    given = {name: value for name in update.__struct_fields__ if (value := getattr(update, name)) is not None}
    return msgspec.structs.replace(present, **given)


def _check_role(present: str, role: str) -> None:
    """The service-linked role and an ordinary one cannot take each other's place."""
    if not role:
        raise Refusal("ServiceRole is required.")
    if (_LINKED in present) != (_LINKED in role):
        raise Refusal("The service role cannot be changed between the service-linked role and another role")


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
    _check_type(resources, update)
    _remove_what_is_empty(resources, given)
    _check_strategy(resources, given)
    changed = msgspec.structs.replace(resources, **given, managed_instances_provider=provider)
    least, most = changed.min_vcpus or 0, changed.max_vcpus
    if changed.desired_vcpus is not None and update.desired_vcpus is None:
        changed.desired_vcpus = min(max(changed.desired_vcpus, least), most)
    return changed


def _check_type(resources: shapes.ComputeResource, update: shapes.ComputeResourceUpdate) -> None:
    kinds = next(kinds for kinds in _TYPES if resources.type in kinds)
    if update.type is not None and update.type not in kinds:
        raise Refusal(f"The type of the compute resources cannot be changed from {resources.type} to {update.type}")


def _remove_what_is_empty(resources: shapes.ComputeResource, given: dict[str, Any]) -> None:
    """An empty text removes what is there, and so does an empty list, which on Fargate is ignored."""
    for member in ("image_id", "ec2_key_pair", "placement_group"):
        if given.get(member) == "":
            given[member] = None
    template = given.get("launch_template")
    if template is not None and "" in (template.launch_template_id, template.launch_template_name):
        given["launch_template"] = None
    for member in ("subnets", "security_group_ids"):
        if given.get(member) == [] and is_fargate(resources):
            del given[member]


def _check_strategy(resources: shapes.ComputeResource, given: dict[str, Any]) -> None:
    """With BEST_FIT only the numbers of vCPUs can be updated; anything else would replace instances."""
    if resources.type not in ("EC2", "SPOT") or resources.allocation_strategy not in (None, "BEST_FIT"):
        return
    for member, value in given.items():
        if member not in _SCALING and value != getattr(resources, member):
            raise Refusal(
                "A compute environment with the allocation strategy BEST_FIT can only be updated in its numbers of vCPUs and"
                f" its scaling policy, not in {wire_name(member)}"
            )


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
