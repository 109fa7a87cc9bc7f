"""`ecsProperties`: several containers that run together as one ECS task.

Sources: model `EcsTaskProperties`, `TaskContainerProperties`, `TaskContainerDependency`; User Guide "Create job
definitions using EcsProperties".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from batchyard.kernel.container_resources import task_resources
from batchyard.kernel.definitions.container_members import check_container_members
from batchyard.kernel.definitions.fargate import (
    LATEST,
    check_ephemeral_storage,
    check_platform_version,
    check_runtime_platform,
    check_windows_volumes,
)
from batchyard.kernel.definitions.platforms import Platforms, not_applicable, only_on_fargate
from batchyard.kernel.definitions.volumes import check_volumes
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

MAXIMUM_CONTAINERS = 10
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")
_LISTS = ("command", "depends_on", "environment", "mount_points", "secrets", "ulimits")


def check_ecs(properties: shapes.EcsProperties, platforms: Platforms) -> None:
    """Raises `Refusal` for a task that cannot be run."""
    if len(properties.task_properties) != 1:
        raise Refusal(f"ecsProperties must have exactly 1 taskProperties, got {len(properties.task_properties)}")
    task = properties.task_properties[0]
    _check_task(task, platforms)
    windows = check_runtime_platform(task.runtime_platform, platforms)
    if windows:
        check_windows_volumes(task.volumes)
    volumes = check_volumes(
        task.volumes, platforms, job_role=task.task_role_arn, platform_version=task.platform_version
    )
    containers = _containers_by_name(task)
    for name, container in containers.items():
        check_container_members(
            container, platforms, volumes=volumes, windows=windows, subject=f"Container {name}".rstrip()
        )
        _check_timeouts(container, platforms)
    _check_essentials(containers)
    _check_dependencies(containers)
    if sum(container.firelens_configuration is not None for container in containers.values()) > 1:
        raise Refusal("ecsProperties can have only one container with a firelensConfiguration")
    task_resources(task.containers, fargate="FARGATE" in platforms)


def _check_task(task: shapes.EcsTaskProperties, platforms: Platforms) -> None:
    only_on_fargate(
        platforms,
        networkConfiguration=task.network_configuration,
        platformVersion=task.platform_version,
        ephemeralStorage=task.ephemeral_storage,
    )
    if task.ipc_mode not in (None, "host", "task", "none"):
        raise Refusal(f"ipcMode must be host, task or none, got {task.ipc_mode[:100]!r}")
    if task.pid_mode not in (None, "host", "task"):
        raise Refusal(f"pidMode must be host or task, got {task.pid_mode[:100]!r}")
    if "FARGATE" in platforms:
        if not task.execution_role_arn:
            raise Refusal("executionRoleArn is required for Fargate.")
        not_applicable("Fargate", ipcMode=task.ipc_mode, networkMode=task.network_mode)
        if task.pid_mode == "host":
            raise Refusal("pidMode host is not applicable for Fargate.")
        check_platform_version(task.platform_version)
        check_ephemeral_storage(task.ephemeral_storage, task.platform_version)
    if task.network_mode is not None:
        if "EC2" in platforms:
            raise Refusal("networkMode not applicable for EC2.")
        if task.network_mode != "host":
            raise Refusal(f"networkMode must be host, got {task.network_mode[:100]!r}")


def _containers_by_name(task: shapes.EcsTaskProperties) -> dict[str, shapes.TaskContainerProperties]:
    """The containers by name; a container that is alone may have none."""
    if not 1 <= len(task.containers) <= MAXIMUM_CONTAINERS:
        raise Refusal(f"taskProperties must have 1 to {MAXIMUM_CONTAINERS} containers, got {len(task.containers)}")
    named: dict[str, shapes.TaskContainerProperties] = {}
    for container in task.containers:
        name = container.name or ""
        if not _NAME.match(name) and (container.name is not None or len(task.containers) > 1):
            raise Refusal(f"Container name {name[:300]!r} must be 1 to 255 letters, numbers, hyphens and underscores")
        if name in named:
            raise Refusal(f"Container name {name} is given twice")
        named[name] = container
    return named


def _check_timeouts(container: shapes.TaskContainerProperties, platforms: Platforms) -> None:
    for member, seconds in (("startTimeout", container.start_timeout), ("stopTimeout", container.stop_timeout)):
        if seconds is not None and seconds < 2:
            raise Refusal(f"{member} must be at least 2 seconds, got {seconds}")
        if seconds is not None and seconds > 120 and "FARGATE" in platforms:
            raise Refusal(f"{member} must be at most 120 seconds for Fargate, got {seconds}")


def is_essential(container: shapes.TaskContainerProperties) -> bool:
    """Whether the task ends with this container: so it does unless the definition says otherwise."""
    return container.essential is not False


def _check_essentials(containers: Mapping[str, shapes.TaskContainerProperties]) -> None:
    if not any(is_essential(container) for container in containers.values()):
        raise Refusal("ecsProperties must have at least one essential container")


def _check_dependencies(containers: Mapping[str, shapes.TaskContainerProperties]) -> None:
    waits_for: dict[str, set[str]] = {}
    for name, container in containers.items():
        waits_for[name] = set()
        for dependency in container.depends_on or ():
            other = dependency.container_name or ""
            if other not in containers or other == name:
                raise Refusal(f"Container {name} depends on {other[:300]!r}, which is no other container of the task")
            if dependency.condition not in ("START", "COMPLETE", "SUCCESS"):
                raise Refusal(
                    f"Container {name}: the condition of a dependency must be START, COMPLETE or SUCCESS, got"
                    f" {(dependency.condition or '')[:100]!r}"
                )
            if dependency.condition != "START" and is_essential(containers[other]):
                raise Refusal(
                    f"Container {name} cannot depend on {other} with condition {dependency.condition}: that container is"
                    " essential"
                )
            waits_for[name].add(other)
    _check_no_cycle(waits_for)


def _check_no_cycle(waits_for: dict[str, set[str]]) -> None:
    """Takes away, again and again, what waits for nothing that is left."""
    left = dict(waits_for)
    while left:
        free = [name for name, others in left.items() if not others & left.keys()]
        if not free:
            raise Refusal(f"Containers depend on each other in a circle: {', '.join(sorted(left))}")
        for name in free:
            del left[name]


def ecs_with_defaults(properties: shapes.EcsProperties, platforms: Platforms) -> shapes.EcsProperties:
    """With what AWS fills in. What the caller sent stays as it is."""
    return shapes.EcsProperties(
        task_properties=[_task_with_defaults(task, platforms) for task in properties.task_properties]
    )


def _task_with_defaults(task: shapes.EcsTaskProperties, platforms: Platforms) -> shapes.EcsTaskProperties:
    containers = [
        msgspec.structs.replace(
            container,
            essential=is_essential(container),
            **{member: getattr(container, member) or [] for member in _LISTS},
        )
        for container in task.containers
    ]
    version = task.platform_version or (LATEST if "FARGATE" in platforms else None)
    return msgspec.structs.replace(task, containers=containers, volumes=task.volumes or [], platform_version=version)
