"""`nodeOverrides` over `nodeProperties`, range by range.

Sources: model `NodeOverrides`, `NodePropertyOverride`; User Guide "Multi-node parallel jobs".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from batchyard.kernel.definitions.job_settings import check_consumable_resources
from batchyard.kernel.definitions.node_ranges import NodeRange, parse_range, range_of_each
from batchyard.kernel.definitions.nodes import check_groups_agree, check_number_of_nodes
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.submission.ecs import merged_ecs
from batchyard.kernel.submission.eks import merged_eks
from batchyard.kernel.submission.merging import check_kind_of_overrides
from batchyard.kernel.submission.single_container import merged_container
from batchyard.shapes import batch as shapes


def merged_nodes(
    definition: shapes.NodeProperties, overrides: shapes.NodeOverrides | None, parameters: Mapping[str, str]
) -> tuple[shapes.NodeProperties, Resources]:
    """The nodes with their overrides, and what all of them need together. Raises `Refusal`."""
    overrides = overrides or shapes.NodeOverrides()
    ranges = [parse_range(group.target_nodes) for group in definition.node_range_properties]
    nodes = definition.num_nodes
    if overrides.num_nodes is not None:
        nodes = overrides.num_nodes
        _check_new_number(nodes, definition, ranges)
    chosen = _overrides_by_range(overrides.node_property_overrides, ranges)
    merged = [
        _merged_group(group, chosen.get(each), parameters)
        for group, each in zip(definition.node_range_properties, ranges, strict=True)
    ]
    groups = [group for group, _ in merged]
    check_groups_agree(groups)
    resources = sum((merged[position][1] for position in range_of_each(ranges, nodes)), start=NOTHING)
    return msgspec.structs.replace(definition, num_nodes=nodes, node_range_properties=groups), resources


def _check_new_number(nodes: int, definition: shapes.NodeProperties, ranges: Sequence[NodeRange]) -> None:
    """The three conditions of the model's text. Where they hold, every node is still in some range."""
    check_number_of_nodes(nodes, definition.main_node)
    if nodes == definition.num_nodes:
        return
    if all(each.last is not None for each in ranges):
        raise Refusal(
            "numNodes can only be overridden when a node range of the job definition has an open upper boundary, such as"
            " : or n:"
        )
    for each in ranges:
        if each.first >= nodes:
            raise Refusal(
                f"numNodes {nodes} cannot be used: node range {each.text} of the job definition begins at {each.first}"
            )


def _overrides_by_range(
    overrides: Sequence[shapes.NodePropertyOverride] | None, ranges: Sequence[NodeRange]
) -> dict[NodeRange, shapes.NodePropertyOverride]:
    """Overrides by the range of the definition that has the same bounds."""
    known = {(each.first, each.last): each for each in ranges}
    found: dict[NodeRange, shapes.NodePropertyOverride] = {}
    for override in overrides or ():
        wanted = parse_range(override.target_nodes)
        target = known.get((wanted.first, wanted.last))
        if target is None:
            raise Refusal(
                f"NodeOverride targets should match job definition. Non matching targets - {override.target_nodes}"
            )
        if target in found:
            raise Refusal(f"nodeOverrides names targetNodes {override.target_nodes} more than once")
        found[target] = override
    return found


def _merged_group(
    group: shapes.NodeRangeProperty, override: shapes.NodePropertyOverride | None, parameters: Mapping[str, str]
) -> tuple[shapes.NodeRangeProperty, Resources]:
    """One range with its overrides, and what one node of it needs."""
    given = override or shapes.NodePropertyOverride(target_nodes=group.target_nodes)
    if len(given.instance_types or ()) > 1:
        raise Refusal(f"nodeOverrides for {group.target_nodes} can have only 1 of instanceTypes")
    check_consumable_resources(given.consumable_resource_properties_override)
    block, allowed = _blocks(group)
    check_kind_of_overrides(
        block,
        allowed,
        containerOverrides=given.container_overrides,
        ecsPropertiesOverride=given.ecs_properties_override,
        eksPropertiesOverride=given.eks_properties_override,
    )
    merged = msgspec.structs.replace(
        group,
        instance_types=given.instance_types or group.instance_types,
        consumable_resource_properties=given.consumable_resource_properties_override
        or group.consumable_resource_properties,
    )
    if group.ecs_properties is not None:
        merged.ecs_properties, resources = merged_ecs(
            group.ecs_properties, given.ecs_properties_override, parameters, fargate=False
        )
    elif group.eks_properties is not None:
        merged.eks_properties, resources = merged_eks(group.eks_properties, given.eks_properties_override)
    else:
        assert group.container is not None
        merged.container, resources = merged_container(
            group.container, given.container_overrides, parameters, fargate=False
        )
        if given.instance_types and merged.container.instance_type and not _names_type(given):
            merged.container.instance_type = given.instance_types[0]
    return merged, resources


def _names_type(override: shapes.NodePropertyOverride) -> bool:
    return bool(override.container_overrides and override.container_overrides.instance_type)


def _blocks(group: shapes.NodeRangeProperty) -> tuple[str, str]:
    """The member that a range has, and the overrides that are for it."""
    if group.ecs_properties is not None:
        return "ecsProperties", "ecsPropertiesOverride"
    if group.eks_properties is not None:
        return "eksProperties", "eksPropertiesOverride"
    return "container", "containerOverrides"
