"""The members that a container of `containerProperties` and one of `ecsProperties` have in common."""

from __future__ import annotations

from collections.abc import Collection

from batchyard.kernel.definitions.fargate import check_windows_container
from batchyard.kernel.definitions.linux import check_linux_parameters, check_ulimits
from batchyard.kernel.definitions.log_configuration import check_log_configuration
from batchyard.kernel.definitions.platforms import Platforms, not_applicable
from batchyard.kernel.definitions.programs import (
    check_command,
    check_environment,
    check_image,
    check_repository_credentials,
    check_secrets,
    check_user,
)
from batchyard.kernel.definitions.volumes import check_mount_points
from batchyard.shapes import batch as shapes


def check_container_members(
    container: shapes.ContainerProperties | shapes.TaskContainerProperties,
    platforms: Platforms,
    *,
    volumes: Collection[str],
    windows: bool,
    subject: str = "Container properties",
) -> None:
    """All but the resources. `volumes`: the names of those that can be mounted. Raises `Refusal`."""
    check_image(container.image, subject)
    check_command(container.command)
    check_environment(container.environment)
    check_secrets(container.secrets, container.environment)
    check_user(container.user)
    check_mount_points(container.mount_points, volumes)
    check_repository_credentials(container.repository_credentials)
    if "FARGATE" in platforms:
        not_applicable("Fargate", privileged=container.privileged, ulimits=container.ulimits)
    if windows:
        check_windows_container(container)
    check_ulimits(container.ulimits)
    check_linux_parameters(container.linux_parameters, platforms)
    check_log_configuration(container.log_configuration, platforms)
