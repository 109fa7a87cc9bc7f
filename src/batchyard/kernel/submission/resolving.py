"""The request merged into the definition.

The result is the static part of the job's `JobDetail`, exactly as DescribeJobs will show it; nothing of the definition
is looked at again later. Sources: model `SubmitJob`, `JobDetail`; User Guide "Job definition parameters".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from batchyard.kernel.records import Kind
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.submission.ecs import ecs_detail, merged_ecs
from batchyard.kernel.submission.eks import eks_detail, merged_eks
from batchyard.kernel.submission.merging import check_kind_of_overrides
from batchyard.kernel.submission.nodes import merged_nodes
from batchyard.kernel.submission.single_container import container_detail
from batchyard.shapes import batch as shapes


class Submission(msgspec.Struct, frozen=True):
    """A checked submission."""

    kind: Kind
    detail: shapes.JobDetail
    resources: Resources
    """Of the whole job: all containers of a task, all nodes."""
    size: int | None
    """Array size; None for a job that is no array."""


class _Block(NamedTuple):
    """How a kind of job is called in a definition, and the overrides that are for it."""

    properties: str
    overrides: str


_BLOCKS: Mapping[Kind, _Block] = {
    Kind.CONTAINER: _Block("containerProperties", "containerOverrides"),
    Kind.ECS: _Block("ecsProperties", "ecsPropertiesOverride"),
    Kind.EKS: _Block("eksProperties", "eksPropertiesOverride"),
    Kind.MULTI_NODE: _Block("nodeProperties", "nodeOverrides"),
}


def resolved(request: shapes.SubmitJobRequest, definition: shapes.JobDefinition, queue_arn: str) -> Submission:
    """The request merged into the definition. Raises `Refusal`."""
    kind = kind_of(definition)
    check_kind_of_overrides(
        *_BLOCKS[kind],
        nodeOverrides=request.node_overrides,
        containerOverrides=request.container_overrides,
        ecsPropertiesOverride=request.ecs_properties_override,
        eksPropertiesOverride=request.eks_properties_override,
    )
    size = request.array_properties.size if request.array_properties else None
    if size is not None and kind is Kind.MULTI_NODE:
        raise Refusal("arrayProperties cannot be used with a job definition that has nodeProperties")
    detail = _common_detail(request, definition, queue_arn)
    resources = _merge(detail, request, definition)
    return Submission(kind, detail, resources, size)


def kind_of(definition: shapes.JobDefinition) -> Kind:
    """What the jobs of a definition are made of."""
    if definition.node_properties is not None:
        return Kind.MULTI_NODE
    if definition.eks_properties is not None:
        return Kind.EKS
    return Kind.CONTAINER if definition.ecs_properties is None else Kind.ECS


def _merge(detail: shapes.JobDetail, request: shapes.SubmitJobRequest, definition: shapes.JobDefinition) -> Resources:
    """Puts what the job is made of into its detail, and gives what it needs."""
    parameters = detail.parameters or {}
    fargate = "FARGATE" in (definition.platform_capabilities or ())
    if definition.node_properties is not None:
        detail.node_properties, resources = merged_nodes(definition.node_properties, request.node_overrides, parameters)
    elif definition.eks_properties is not None:
        pod, resources = merged_eks(definition.eks_properties, request.eks_properties_override)
        detail.eks_properties = eks_detail(pod)
    elif definition.ecs_properties is not None:
        task, resources = merged_ecs(
            definition.ecs_properties, request.ecs_properties_override, parameters, fargate=fargate
        )
        detail.ecs_properties = ecs_detail(task)
    else:
        assert definition.container_properties is not None
        detail.container, resources = container_detail(
            definition.container_properties, request.container_overrides, parameters, fargate=fargate
        )
    return resources


def _common_detail(
    request: shapes.SubmitJobRequest, definition: shapes.JobDefinition, queue_arn: str
) -> shapes.JobDetail:
    """What every kind of job has."""
    priority = request.scheduling_priority_override
    on_eks = definition.container_orchestration_type == "EKS"
    return shapes.JobDetail(
        job_name=request.job_name,
        job_queue=queue_arn,
        share_identifier=request.share_identifier,
        scheduling_priority=definition.scheduling_priority if priority is None else priority,
        retry_strategy=request.retry_strategy or definition.retry_strategy,
        depends_on=request.depends_on or [],
        job_definition=definition.job_definition_arn,
        parameters={**(definition.parameters or {}), **(request.parameters or {})},
        timeout=request.timeout if request.timeout and request.timeout.attempt_duration_seconds else definition.timeout,
        tags=request.tags or {},
        propagate_tags=bool(definition.propagate_tags if request.propagate_tags is None else request.propagate_tags),
        platform_capabilities=[] if on_eks else list(definition.platform_capabilities or ["EC2"]),
        consumable_resource_properties=request.consumable_resource_properties_override
        or definition.consumable_resource_properties,
    )
