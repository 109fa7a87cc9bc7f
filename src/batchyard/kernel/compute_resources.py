"""The rules of `computeResources`, whether they are given when a compute environment is created or come out of an update.

Sources: model `ComputeResource`, `LaunchTemplateSpecification`; User Guide "Compute environments", "Instance type allocation
strategies", "AWS Batch on Fargate", "Amazon EC2 Graviton" (the naming of instance types).
"""

from __future__ import annotations

from batchyard.catalogue import Catalogue, InstanceType, UnknownInstanceType
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

MAXIMUM_TEMPLATE_OVERRIDES = 10
_SHORTEST_DELAY, _LONGEST_DELAY = 20, 10_080
"""Minutes of `minScaleDownDelayMinutes`."""

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


def is_fargate(resources: shapes.ComputeResource | None) -> bool:
    return resources is not None and resources.type in ("FARGATE", "FARGATE_SPOT")


def check_resources(resources: shapes.ComputeResource, catalogue: Catalogue, *, eks: bool) -> None:
    """Raises `Refusal` when a rule is broken."""
    if resources.max_vcpus < 0 or (resources.max_vcpus == 0 and is_fargate(resources)):
        raise Refusal(f"Resource maxvCpus must be at least 1, got {resources.max_vcpus}")
    if is_fargate(resources):
        for member in _NOT_ON_FARGATE:
            if getattr(resources, member) is not None:
                raise Refusal(f"{wire_name(member)} is not applicable for Fargate.")
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
    if eks and resources.allocation_strategy in (None, "BEST_FIT"):
        raise Refusal("A compute environment on Amazon EKS needs an allocationStrategy other than BEST_FIT")
    _check_types(resources, catalogue)
    _check_numbers(resources)
    _check_vcpus(resources.min_vcpus or 0, resources.desired_vcpus, resources.max_vcpus)


def _check_vcpus(least: int, desired: int | None, most: int) -> None:
    if least < 0 or least > most:
        raise Refusal(f"Resource minvCpus must be between 0 and maxvCpus ({most}), got {least}")
    if desired is not None and not least <= desired <= most:
        raise Refusal(f"Resource desiredvCpus must be between minvCpus ({least}) and maxvCpus ({most}), got {desired}")


def wire_name(member: str) -> str:
    """A member as callers write it."""
    special = {"min_vcpus": "minvCpus", "desired_vcpus": "desiredvCpus"}
    first, *rest = member.split("_")
    return special.get(member) or first + "".join(part.capitalize() for part in rest)


def _check_types(resources: shapes.ComputeResource, catalogue: Catalogue) -> None:
    try:
        types = catalogue.expand(resources.instance_types or ())
    except UnknownInstanceType as unknown:
        raise Refusal(str(unknown)) from None
    if len({each.architecture for each in types}) > 1:
        raise Refusal("instanceTypes must all have the same CPU architecture")


def known_types(resources: shapes.ComputeResource | None, catalogue: Catalogue) -> list[InstanceType]:
    """The instance types of an environment, bundles and families expanded, in the order of its list. A name that a former
    catalogue had is left out."""
    names = (resources.instance_types if resources else None) or ()
    return catalogue.expand([name for name in names if _is_known(name, catalogue)])


def _is_known(name: str, catalogue: Catalogue) -> bool:
    try:
        catalogue.expand([name])
    except UnknownInstanceType:
        return False
    return True


def architectures_of(resources: shapes.ComputeResource | None, catalogue: Catalogue) -> set[str]:
    """`x86_64` and `arm64`, as the instance types tell; empty where there are none."""
    return {each.architecture for each in known_types(resources, catalogue)}


def _check_numbers(resources: shapes.ComputeResource) -> None:
    template = resources.launch_template
    overrides = len(template.overrides or ()) if template else 0
    if overrides > MAXIMUM_TEMPLATE_OVERRIDES:
        raise Refusal(f"A launch template can have at most {MAXIMUM_TEMPLATE_OVERRIDES} overrides, got {overrides}")
    delay = resources.scaling_policy.min_scale_down_delay_minutes if resources.scaling_policy else None
    if delay and not _SHORTEST_DELAY <= delay <= _LONGEST_DELAY:
        raise Refusal(
            f"minScaleDownDelayMinutes must be between {_SHORTEST_DELAY} and {_LONGEST_DELAY}, or 0 for none, got {delay}"
        )
