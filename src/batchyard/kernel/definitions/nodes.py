"""`nodeProperties`: a multi-node parallel job.

Sources: model `NodeProperties`, `NodeRangeProperty`; User Guide "Multi-node parallel jobs" (and "Running MNP jobs" for
Amazon EKS).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from batchyard.kernel.definitions.ecs import check_ecs, ecs_with_defaults
from batchyard.kernel.definitions.eks import check_eks, eks_with_defaults
from batchyard.kernel.definitions.job_settings import check_consumable_resources
from batchyard.kernel.definitions.node_ranges import check_ranges, parse_range
from batchyard.kernel.definitions.platforms import EC2
from batchyard.kernel.definitions.single_container import check_container, container_with_defaults
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

MAXIMUM_NODES = 1000
MAXIMUM_RANGES = 5
MAXIMUM_IMAGES = 10


def check_nodes(properties: shapes.NodeProperties) -> None:
    """Raises `Refusal` for nodes that cannot be run."""
    groups = properties.node_range_properties
    check_number_of_nodes(properties.num_nodes, properties.main_node)
    if not 1 <= len(groups) <= MAXIMUM_RANGES:
        raise Refusal(f"nodeProperties must have 1 to {MAXIMUM_RANGES} nodeRangeProperties, got {len(groups)}")
    check_ranges([parse_range(group.target_nodes) for group in groups], properties.num_nodes)
    for group in groups:
        _check_group(group)
    check_groups_agree(groups)


def check_number_of_nodes(nodes: int, main_node: int) -> None:
    """Raises `Refusal` for too many nodes or none, and for a main node that is none of them."""
    if not 1 <= nodes <= MAXIMUM_NODES:
        raise Refusal(f"numNodes must be between 1 and {MAXIMUM_NODES}, got {nodes}")
    if not 0 <= main_node < nodes:
        raise Refusal(f"mainNode must be between 0 and {nodes - 1}, got {main_node}")


def _check_group(group: shapes.NodeRangeProperty) -> None:
    blocks = {
        "container": group.container,
        "ecsProperties": group.ecs_properties,
        "eksProperties": group.eks_properties,
    }
    given = [name for name, value in blocks.items() if value is not None]
    if len(given) != 1:
        raise Refusal(
            f"Node range {group.target_nodes} must have exactly one of {', '.join(blocks)}; got"
            f" {', '.join(given) or 'none'}"
        )
    if len(group.instance_types or ()) > 1:
        raise Refusal(f"Node range {group.target_nodes} can have only 1 of instanceTypes")
    check_consumable_resources(group.consumable_resource_properties)
    if group.container is not None:
        check_container(group.container, EC2)
    if group.ecs_properties is not None:
        check_ecs(group.ecs_properties, EC2)
    if group.eks_properties is not None:
        check_eks(group.eks_properties)
        _check_images(group)


def _check_images(group: shapes.NodeRangeProperty) -> None:
    pod = group.eks_properties and group.eks_properties.pod_properties
    containers = [*(pod.containers or ()), *(pod.init_containers or ())] if pod else []
    images = {container.image for container in containers}
    if len(images) > MAXIMUM_IMAGES:
        raise Refusal(
            f"Node range {group.target_nodes} can have at most {MAXIMUM_IMAGES} different images, got {len(images)}"
        )


def check_groups_agree(groups: Sequence[shapes.NodeRangeProperty]) -> None:
    """All nodes are of one orchestration and of one instance type, and all pods in one namespace. Raises `Refusal`."""
    if len({group.eks_properties is not None for group in groups}) > 1:
        raise Refusal("Node ranges with eksProperties and without cannot be mixed")
    types = {name for group in groups for name in _instance_types(group)}
    if len(types) > 1:
        raise Refusal(f"All node ranges must use the same instance type, got {', '.join(sorted(types))}")
    namespaces = {_namespace(group) for group in groups}
    if len(namespaces) > 1:
        raise Refusal("All node ranges must use the same namespace")


def _instance_types(group: shapes.NodeRangeProperty) -> list[str]:
    single = group.container.instance_type if group.container else None
    return [*(group.instance_types or ()), *([single] if single else [])]


def _namespace(group: shapes.NodeRangeProperty) -> str | None:
    pod = group.eks_properties and group.eks_properties.pod_properties
    return pod.metadata.namespace if pod and pod.metadata else None


def nodes_are_pods(properties: shapes.NodeProperties) -> bool:
    """Whether the nodes are pods on Amazon EKS."""
    return any(group.eks_properties is not None for group in properties.node_range_properties)


def nodes_with_defaults(properties: shapes.NodeProperties) -> shapes.NodeProperties:
    """With what AWS fills in. What the caller sent stays as it is."""
    return msgspec.structs.replace(
        properties,
        node_range_properties=[
            msgspec.structs.replace(
                group,
                container=group.container and container_with_defaults(group.container, EC2),
                ecs_properties=group.ecs_properties and ecs_with_defaults(group.ecs_properties, EC2),
                eks_properties=group.eks_properties and eks_with_defaults(group.eks_properties),
            )
            for group in properties.node_range_properties
        ],
    )
