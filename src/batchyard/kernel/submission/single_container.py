"""`containerOverrides` over `containerProperties`. Source: model `ContainerOverrides`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from batchyard.kernel.container_resources import as_requirements, overridden, requirements_of, resources_of
from batchyard.kernel.definitions.programs import check_command
from batchyard.kernel.parameters import substituted
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.submission.merging import merged_environment, overriding_command, shown_as
from batchyard.shapes import batch as shapes


def merged_container(
    definition: shapes.ContainerProperties,
    overrides: shapes.ContainerOverrides | None,
    parameters: Mapping[str, str],
    *,
    fargate: bool,
) -> tuple[shapes.ContainerProperties, Resources]:
    """The container with its overrides, and what it needs. Raises `Refusal`."""
    overrides = overrides or shapes.ContainerOverrides()
    requirements = _requirements(definition, overrides, fargate=fargate)
    resources = resources_of(requirements, fargate=fargate)
    environment = merged_environment(definition.environment, overrides.environment)
    command = substituted(overriding_command(overrides.command) or definition.command or [], parameters)
    check_command(command)
    container = msgspec.structs.replace(
        definition,
        command=command,
        environment=environment,
        resource_requirements=as_requirements(requirements),
        instance_type=overrides.instance_type or definition.instance_type,
    )
    if definition.vcpus:
        container.vcpus = int(requirements["VCPU"])
    if definition.memory:
        container.memory = int(requirements["MEMORY"])
    return container, resources


def _requirements(
    definition: shapes.ContainerProperties, overrides: shapes.ContainerOverrides, *, fargate: bool
) -> dict[str, str]:
    """Entries replace by type; the deprecated keys take effect only where the definition used them too."""
    requirements = requirements_of(definition)
    in_new_spelling = {requirement.type for requirement in definition.resource_requirements or ()}
    for name, type_, old in (("vcpus", "VCPU", overrides.vcpus), ("memory", "MEMORY", overrides.memory)):
        if old and fargate:
            raise Refusal(f"{name} is not applicable for Fargate. Use resource requirements instead.")
        if old and type_ not in in_new_spelling:
            requirements[type_] = str(old)
    return overridden(requirements, overrides.resource_requirements)


def container_detail(
    definition: shapes.ContainerProperties,
    overrides: shapes.ContainerOverrides | None,
    parameters: Mapping[str, str],
    *,
    fargate: bool,
) -> tuple[shapes.ContainerDetail, Resources]:
    """The container of a single job as DescribeJobs shows it, and what it needs. Raises `Refusal`."""
    if overrides is not None and overrides.instance_type:
        raise Refusal("Container override instanceType can only be used with multi-node parallel jobs")
    container, resources = merged_container(definition, overrides, parameters, fargate=fargate)
    return shown_as(shapes.ContainerDetail, container, network_interfaces=[]), resources
