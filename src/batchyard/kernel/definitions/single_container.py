"""`containerProperties`: one container, for EC2 or Fargate, by itself or as a node of a multi-node parallel job.

Sources: model `ContainerProperties`; User Guide "Job definition parameters for ContainerProperties".
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.container_resources import requirements_of, resources_of
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

_LISTS = ("command", "volumes", "environment", "mount_points", "ulimits", "resource_requirements", "secrets")


def check_container(container: shapes.ContainerProperties, platforms: Platforms) -> None:
    """Raises `Refusal` for container properties that cannot be run."""
    fargate = "FARGATE" in platforms
    configuration = container.fargate_platform_configuration
    version = configuration.platform_version if configuration else None
    if fargate:
        _check_fargate(container)
    only_on_fargate(
        platforms,
        networkConfiguration=container.network_configuration,
        fargatePlatformConfiguration=configuration,
        ephemeralStorage=container.ephemeral_storage,
    )
    check_platform_version(version)
    check_ephemeral_storage(container.ephemeral_storage, version)
    windows = check_runtime_platform(container.runtime_platform, platforms)
    if windows:
        check_windows_volumes(container.volumes)
    volumes = check_volumes(container.volumes, platforms, job_role=container.job_role_arn, platform_version=version)
    check_container_members(container, platforms, volumes=volumes, windows=windows)
    resources_of(requirements_of(container), fargate=fargate)


def _check_fargate(container: shapes.ContainerProperties) -> None:
    if not container.execution_role_arn:
        raise Refusal("executionRoleArn is required for Fargate.")
    for name, value in (("vcpus", container.vcpus), ("memory", container.memory)):
        if value:
            raise Refusal(f"{name} is not applicable for Fargate. Use resource requirements instead.")
    not_applicable("Fargate", instanceType=container.instance_type)


def container_with_defaults(container: shapes.ContainerProperties, platforms: Platforms) -> shapes.ContainerProperties:
    """With what AWS fills in. What the caller sent stays as it is."""
    filled = msgspec.structs.replace(container, **{member: getattr(container, member) or [] for member in _LISTS})
    if "FARGATE" in platforms and filled.fargate_platform_configuration is None:
        filled.fargate_platform_configuration = shapes.FargatePlatformConfiguration(platform_version=LATEST)
    return filled
