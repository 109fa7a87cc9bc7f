"""What a submission comes to: the definition with the request's overrides merged in.

The result is the static part of the job's `JobDetail`, exactly as DescribeJobs will show it; nothing of the definition
is looked at again later. Sources: model `SubmitJob`, `ContainerOverrides`; User Guide "Job definition parameters".
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.container_resources import as_requirements, overridden, requirements_of, resources_of
from batchyard.kernel.definitions import (
    check_command,
    check_environment,
    check_scheduling_priority,
    check_timeout,
)
from batchyard.kernel.identifiers import JOB_NAME
from batchyard.kernel.parameters import substituted
from batchyard.kernel.records import Resources
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.retries import check_retry_strategy
from batchyard.kernel.tags import check_tags
from batchyard.shapes import batch as shapes

MAXIMUM_SIZE = 30 * 1024
MAXIMUM_DEPENDENCIES = 20

_SHARED_MEMBERS = tuple(
    member
    for member in shapes.ContainerDetail.__struct_fields__
    if member in shapes.ContainerProperties.__struct_fields__ and member not in ("command", "environment")
)


class Submission(msgspec.Struct, frozen=True):
    """A checked submission."""

    detail: shapes.JobDetail
    resources: Resources
    size: int | None
    """Array size; None for a single job."""


def check_request(request: shapes.SubmitJobRequest, size: int, maximum_array_size: int) -> None:
    """The rules that need no other resource. `size` is the request's length in bytes. Raises `Refusal`."""
    if not JOB_NAME.match(request.job_name):
        raise Refusal("Job name should match valid pattern")
    if size > MAXIMUM_SIZE:
        raise Refusal(f"Job size must be less than 30 KiB, got {-(-size // 1024)} KiB")
    if len(request.depends_on or ()) > MAXIMUM_DEPENDENCIES:
        raise Refusal(f"Job cannot have more than {MAXIMUM_DEPENDENCIES} dependencies")
    array_size = request.array_properties.size if request.array_properties else None
    if array_size is not None and not 2 <= array_size <= maximum_array_size:
        raise Refusal(f"Array size must be between 2 and {maximum_array_size}, got {array_size}")
    check_tags(request.tags)
    check_retry_strategy(request.retry_strategy)
    check_timeout(request.timeout)
    check_scheduling_priority(request.scheduling_priority_override)


def resolved(request: shapes.SubmitJobRequest, definition: shapes.JobDefinition, queue_arn: str) -> Submission:
    """The request merged into the definition. Raises `Refusal`."""
    _check_kind_of_overrides(request)
    assert definition.container_properties is not None
    parameters = {**(definition.parameters or {}), **(request.parameters or {})}
    fargate = "FARGATE" in (definition.platform_capabilities or ())
    container, resources = _container(definition.container_properties, request.container_overrides, parameters, fargate)
    priority = request.scheduling_priority_override
    detail = shapes.JobDetail(
        job_name=request.job_name,
        job_queue=queue_arn,
        share_identifier=request.share_identifier,
        scheduling_priority=definition.scheduling_priority if priority is None else priority,
        retry_strategy=request.retry_strategy or definition.retry_strategy,
        depends_on=request.depends_on or [],
        job_definition=definition.job_definition_arn,
        parameters=parameters,
        container=container,
        timeout=request.timeout if request.timeout and request.timeout.attempt_duration_seconds else definition.timeout,
        tags=request.tags or {},
        propagate_tags=bool(definition.propagate_tags if request.propagate_tags is None else request.propagate_tags),
        platform_capabilities=list(definition.platform_capabilities or ["EC2"]),
        consumable_resource_properties=request.consumable_resource_properties_override
        or definition.consumable_resource_properties,
    )
    return Submission(detail, resources, request.array_properties.size if request.array_properties else None)


def _check_kind_of_overrides(request: shapes.SubmitJobRequest) -> None:
    others = {
        "nodeOverrides": request.node_overrides,
        "ecsPropertiesOverride": request.ecs_properties_override,
        "eksPropertiesOverride": request.eks_properties_override,
    }
    for name, value in others.items():
        if value is not None and any(getattr(value, member) for member in value.__struct_fields__):
            raise Refusal(f"{name} cannot be used with a job definition that has containerProperties")


def _container(
    definition: shapes.ContainerProperties,
    overrides: shapes.ContainerOverrides | None,
    parameters: dict[str, str],
    fargate: bool,
) -> tuple[shapes.ContainerDetail, Resources]:
    overrides = overrides or shapes.ContainerOverrides()
    if overrides.instance_type:
        raise Refusal("Container override instanceType can only be used with multi-node parallel jobs")
    check_environment(overrides.environment)
    check_command(overrides.command)
    requirements = overridden(requirements_of(definition), definition, overrides)
    resources = resources_of(requirements, fargate=fargate)
    command = substituted(overrides.command or definition.command or [], parameters)
    check_command(command)
    container = shapes.ContainerDetail(
        **{member: getattr(definition, member) for member in _SHARED_MEMBERS},
        command=command,
        environment=_merged_environment(definition.environment, overrides.environment),
        network_interfaces=[],
    )
    container.resource_requirements = as_requirements(requirements)
    if definition.vcpus:
        container.vcpus = int(requirements["VCPU"])
    if definition.memory:
        container.memory = int(requirements["MEMORY"])
    return container, resources


def _merged_environment(
    given: list[shapes.KeyValuePair] | None, overrides: list[shapes.KeyValuePair] | None
) -> list[shapes.KeyValuePair]:
    merged = {pair.name: pair for pair in given or ()}
    merged.update((pair.name, pair) for pair in overrides or ())
    return list(merged.values())
