"""What Fargate, and Fargate alone, has: platform versions, ephemeral storage, operating systems.

Sources: model `FargatePlatformConfiguration`, `EphemeralStorage`, `RuntimePlatform`; User Guide "AWS Batch on Fargate".
"""

from __future__ import annotations

from typing import Any

from batchyard.kernel.definitions.platforms import Platforms, not_applicable
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

LATEST = "LATEST"
_VERSIONS = ("1.3.0", "1.4.0", LATEST)
_WINDOWS = (
    "WINDOWS_SERVER_2019_CORE",
    "WINDOWS_SERVER_2019_FULL",
    "WINDOWS_SERVER_2022_CORE",
    "WINDOWS_SERVER_2022_FULL",
)


def check_platform_version(version: str | None) -> None:
    if version is not None and version not in _VERSIONS:
        raise Refusal(f"Fargate platform version must be one of {', '.join(_VERSIONS)}, got {version[:100]!r}")


def check_ephemeral_storage(storage: shapes.EphemeralStorage | None, version: str | None) -> None:
    if storage is None:
        return
    if not 21 <= storage.size_in_gib <= 200:
        raise Refusal(f"ephemeralStorage sizeInGiB must be between 21 and 200, got {storage.size_in_gib}")
    if version == "1.3.0":
        raise Refusal("ephemeralStorage is supported for Fargate platform version 1.4.0")


def check_runtime_platform(runtime: shapes.RuntimePlatform | None, platforms: Platforms) -> bool:
    """Whether containers run on Windows. Raises `Refusal`."""
    if runtime is None:
        return False
    system, architecture = runtime.operating_system_family or "LINUX", runtime.cpu_architecture or "X86_64"
    if system not in ("LINUX", *_WINDOWS):
        raise Refusal(f"operatingSystemFamily must be one of LINUX, {', '.join(_WINDOWS)}, got {system[:100]!r}")
    if architecture not in ("X86_64", "ARM64"):
        raise Refusal(f"cpuArchitecture must be X86_64 or ARM64, got {architecture[:100]!r}")
    if system == "LINUX":
        return False
    if platforms != {"FARGATE"}:
        raise Refusal(f"operatingSystemFamily {system} is only applicable for Fargate.")
    if architecture != "X86_64":
        raise Refusal("cpuArchitecture must be X86_64 for Windows containers")
    return True


def check_windows_container(container: shapes.ContainerProperties | shapes.TaskContainerProperties) -> None:
    """Raises `Refusal` for a member that Windows containers do not have."""
    not_applicable(
        "Windows containers",
        linuxParameters=container.linux_parameters,
        privileged=container.privileged,
        user=container.user,
        ulimits=container.ulimits,
        readonlyRootFilesystem=container.readonly_root_filesystem,
    )


def check_windows_volumes(volumes: list[shapes.Volume] | None) -> None:
    efs: list[Any] = [volume for volume in volumes or () if volume.efs_volume_configuration is not None]
    not_applicable("Windows containers", efsVolumeConfiguration=efs)
