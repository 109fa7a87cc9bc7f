"""`ecsPropertiesOverride` over `ecsProperties`, container by container.

Sources: model `EcsPropertiesOverride`, `TaskContainerOverrides`, `EcsTaskDetails`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from batchyard.kernel.container_resources import as_requirements, named_requirements, overridden, task_resources
from batchyard.kernel.definitions.programs import check_command
from batchyard.kernel.parameters import substituted
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.submission.merging import by_name, merged_environment, overriding_command, shown_as
from batchyard.shapes import batch as shapes


def merged_ecs(
    definition: shapes.EcsProperties,
    override: shapes.EcsPropertiesOverride | None,
    parameters: Mapping[str, str],
    *,
    fargate: bool,
) -> tuple[shapes.EcsProperties, Resources]:
    """The task with its overrides, and what all its containers need together. Raises `Refusal`."""
    tasks = (override.task_properties if override else None) or []
    if len(tasks) > 1:
        raise Refusal(f"ecsPropertiesOverride can have only 1 of taskProperties, got {len(tasks)}")
    [task] = definition.task_properties
    names = [container.name for container in task.containers]
    overrides = by_name(tasks[0].containers if tasks else None, names, "ecsPropertiesOverride")
    containers = [_merged(container, overrides.get(container.name), parameters) for container in task.containers]
    resources = task_resources(containers, fargate=fargate)
    merged = msgspec.structs.replace(task, containers=containers)
    return shapes.EcsProperties(task_properties=[merged]), resources


def _merged(
    container: shapes.TaskContainerProperties,
    override: shapes.TaskContainerOverrides | None,
    parameters: Mapping[str, str],
) -> shapes.TaskContainerProperties:
    override = override or shapes.TaskContainerOverrides()
    command = substituted(overriding_command(override.command) or container.command or [], parameters)
    check_command(command)
    requirements = overridden(named_requirements(container.resource_requirements), override.resource_requirements)
    return msgspec.structs.replace(
        container,
        command=command,
        environment=merged_environment(container.environment, override.environment),
        resource_requirements=as_requirements(requirements),
    )


def ecs_detail(properties: shapes.EcsProperties) -> shapes.EcsPropertiesDetail:
    """As DescribeJobs shows it."""
    tasks = [
        shown_as(
            shapes.EcsTaskDetails,
            task,
            containers=[
                shown_as(shapes.TaskContainerDetails, container, network_interfaces=[]) for container in task.containers
            ],
        )
        for task in properties.task_properties
    ]
    return shapes.EcsPropertiesDetail(task_properties=tasks)
