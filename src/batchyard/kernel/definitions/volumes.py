"""Volumes and where containers mount them.

Sources: model `Volume`, `EFSVolumeConfiguration`, `EFSAuthorizationConfig`, `S3FilesVolumeConfiguration`, `MountPoint`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from batchyard.kernel.definitions.platforms import Platforms
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")


def check_volumes(
    volumes: Sequence[shapes.Volume] | None,
    platforms: Platforms,
    *,
    job_role: str | None,
    platform_version: str | None,
) -> set[str]:
    """The names of the volumes, checked. `platform_version` is that of Fargate. Raises `Refusal`."""
    names: set[str] = set()
    for volume in volumes or ():
        name = volume.name or ""
        if not _NAME.match(name):
            raise Refusal(f"Volume name {name[:300]!r} must be 1 to 255 letters, numbers, hyphens and underscores")
        if name in names:
            raise Refusal(f"Volume name {name} is given twice")
        names.add(name)
        kinds = (volume.host, volume.efs_volume_configuration, volume.s3files_volume_configuration)
        if sum(kind is not None for kind in kinds) > 1:
            raise Refusal(
                f"Volume {name} can only have one of host, efsVolumeConfiguration and s3filesVolumeConfiguration"
            )
        if "FARGATE" in platforms and volume.host is not None and volume.host.source_path:
            raise Refusal("host.sourcePath is not applicable for Fargate.")
        if volume.efs_volume_configuration is not None:
            if "FARGATE" in platforms and platform_version == "1.3.0":
                raise Refusal("EFS is supported for Fargate platform version 1.4.0")
            _check_efs(name, volume.efs_volume_configuration, job_role)
        if volume.s3files_volume_configuration is not None:
            _check_s3_files(name, volume.s3files_volume_configuration)
    return names


def _check_efs(name: str, efs: shapes.EFSVolumeConfiguration, job_role: str | None) -> None:
    if not efs.file_system_id:
        raise Refusal(f"Volume {name}: efsVolumeConfiguration must have a fileSystemId")
    if len(efs.root_directory or "") > 4096:
        raise Refusal(f"Volume {name}: rootDirectory can have at most 4096 characters")
    _check_port(name, efs.transit_encryption_port)
    authorization = efs.authorization_config
    if authorization is None:
        return
    encrypted = efs.transit_encryption == "ENABLED"
    if authorization.iam == "ENABLED":
        if not encrypted:
            raise Refusal(f"Volume {name}: transitEncryption must be ENABLED when IAM authorization is used")
        if not job_role:
            raise Refusal(f"Volume {name}: IAM authorization needs a job role")
    if authorization.access_point_id:
        if not encrypted:
            raise Refusal(f"Volume {name}: transitEncryption must be ENABLED when an access point is used")
        if efs.root_directory not in (None, "/"):
            raise Refusal(f"Volume {name}: rootDirectory must be omitted or / when an access point is used")


def _check_s3_files(name: str, files: shapes.S3FilesVolumeConfiguration) -> None:
    if not files.file_system_arn.startswith("arn:"):
        raise Refusal(f"Volume {name}: fileSystemArn must be an ARN, got {files.file_system_arn[:300]!r}")
    if files.access_point_arn is not None and not files.access_point_arn.startswith("arn:"):
        raise Refusal(f"Volume {name}: accessPointArn must be an ARN, got {files.access_point_arn[:300]!r}")
    _check_port(name, files.transit_encryption_port)


def _check_port(name: str, port: int | None) -> None:
    if port is not None and not 0 <= port <= 65535:
        raise Refusal(f"Volume {name}: transitEncryptionPort must be between 0 and 65535, got {port}")


def check_mount_points(mount_points: Sequence[shapes.MountPoint] | None, volumes: Collection[str]) -> None:
    """Raises `Refusal` for a mount point without a path, or of no volume."""
    for mount in mount_points or ():
        if not mount.container_path:
            raise Refusal("Mount point must have a containerPath")
        if mount.source_volume not in volumes:
            raise Refusal(f"Mount point {mount.container_path} refers to unknown volume {mount.source_volume}")
