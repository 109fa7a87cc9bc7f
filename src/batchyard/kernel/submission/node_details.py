"""What one node of a multi-node parallel job is asked to run. Source: model `NodeRangeProperty`, `NodeDetails`."""

from __future__ import annotations

import msgspec

from batchyard.kernel.container_resources import named_requirements, resources_of, task_resources
from batchyard.kernel.definitions.eks_resources import pod_resources
from batchyard.kernel.definitions.node_ranges import parse_range, range_of_each
from batchyard.kernel.resources import Resources
from batchyard.kernel.submission.ecs import ecs_detail
from batchyard.kernel.submission.eks import eks_detail
from batchyard.kernel.submission.merging import shown_as
from batchyard.shapes import batch as shapes


def node_group(properties: shapes.NodeProperties, index: int) -> shapes.NodeRangeProperty:
    """The range that decides for a node: the innermost of those that hold it."""
    ranges = [parse_range(group.target_nodes) for group in properties.node_range_properties]
    return properties.node_range_properties[range_of_each(ranges, properties.num_nodes)[index]]


def node_detail(detail: shapes.JobDetail, index: int) -> shapes.JobDetail:
    """The detail of a node, out of that of its job: `nodeDetails`, and what its range has, in place of `nodeProperties`."""
    properties = detail.node_properties
    assert properties is not None
    group = node_group(properties, index)
    return msgspec.structs.replace(
        detail,
        node_properties=None,
        node_details=shapes.NodeDetails(node_index=index, is_main_node=index == properties.main_node),
        container=group.container and shown_as(shapes.ContainerDetail, group.container, network_interfaces=[]),
        ecs_properties=group.ecs_properties and ecs_detail(group.ecs_properties),
        eks_properties=group.eks_properties and eks_detail(group.eks_properties),
        consumable_resource_properties=group.consumable_resource_properties,
    )


def node_resources(group: shapes.NodeRangeProperty) -> Resources:
    """What one node of a range needs. The range has its overrides."""
    if group.container is not None:
        return resources_of(named_requirements(group.container.resource_requirements), fargate=False)
    if group.ecs_properties is not None:
        return task_resources(group.ecs_properties.task_properties[0].containers, fargate=False)
    pod = group.eks_properties and group.eks_properties.pod_properties
    assert pod
    return pod_resources(pod.containers or [], pod.init_containers or [])
