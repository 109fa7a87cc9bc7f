"""From a task to the body of Docker's `POST /containers/create`: pure translation, nothing is asked or done.

The mapping is that of "Job definition parameters" in AWS's Batch User Guide (containerProperties, linuxParameters),
which states for each member the `docker run` option that ECS uses for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from batchyard.engines.base import TaskSpec
from batchyard.shapes import batch as shapes

LABEL_INSTALLATION = "batchyard.installation"
LABEL_TASK = "batchyard.task"
LABEL_JOB = "batchyard.job"
LABEL_LOG_GROUP = "batchyard.log-group"
LABEL_LOG_STREAM = "batchyard.log-stream"
LABEL_MESSAGE = "batchyard.message"
"""The path of the file in which the program may leave a message; absent without one."""

Privileges = Literal["default", "full", "reduced"]
"""What a container gets: Docker's default, `--privileged`, or all that a restricted host can give in its place."""

MEBIBYTE = 1024 * 1024
SMALLEST_MEMORY = 6
"""MiB. Batch accepts 4, Docker nothing below 6."""
SMALLEST_CPU_SHARES = 2

LOG_DRIVERS = ("local", "json-file")
"""Usable log drivers, the best first: `local` keeps every byte, `json-file` (all that Podman has) only valid UTF-8."""

# The container's own log file is what the log stream is copied from, also after a restart of the server, so nothing may
# be rotated out of it or dropped before the container is removed, whatever the daemon's own defaults are.
_LOG_OPTIONS = {"max-size": "1p", "mode": "blocking"}

_DEVICE_PERMISSIONS = {"READ": "r", "WRITE": "w", "MKNOD": "m"}


class UnsupportedSettingError(Exception):
    """The definition asks for something that this engine can't give; the text says what."""


def container_name(task_id: str) -> str:
    """The name of a task's container: the same task can't get two."""
    return f"batchyard-{task_id}"


def labels(spec: TaskSpec, installation_id: str) -> dict[str, str]:
    """How the container is found again: whose it is, which task it runs, and where its log goes."""
    found = {
        LABEL_INSTALLATION: installation_id,
        LABEL_TASK: spec.task_id,
        LABEL_JOB: spec.job_id,
        LABEL_LOG_GROUP: spec.log_group,
        LABEL_LOG_STREAM: spec.log_stream,
    }
    message = message_path(spec)
    return found | {LABEL_MESSAGE: message} if message else found


def message_path(spec: TaskSpec) -> str:
    """Where the program may leave a message, in the container; empty: nowhere."""
    return f"{spec.files.root}/{spec.files.message}" if spec.files is not None and spec.files.message else ""


def create_body(
    spec: TaskSpec,
    installation_id: str,
    *,
    network_mode: str,
    log_driver: str,
    privileges: Privileges,
    missing_capabilities: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The container as Docker's API wants it.

    `missing_capabilities` (as `SYS_RESOURCE`) are what the host can't give, for `privileges="reduced"`.
    Raises :class:`UnsupportedSettingError`.
    """
    container = spec.container
    body: dict[str, Any] = {
        "Image": container.image,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Labels": labels(spec, installation_id),
        "HostConfig": {
            **_host_config(spec),
            **_privilege_settings(privileges, missing_capabilities),
            "NetworkMode": network_mode,
            "LogConfig": {"Type": log_driver, "Config": _LOG_OPTIONS},
        },
    }
    if container.command:  # Absent or empty: the image's own CMD.
        body["Cmd"] = container.command
    if spec.entrypoint is not None:
        body["Entrypoint"] = spec.entrypoint
    if container.user:
        body["User"] = container.user
    return body


def _host_config(spec: TaskSpec) -> dict[str, Any]:
    container = spec.container
    memory = max(spec.memory, SMALLEST_MEMORY) * MEBIBYTE
    binds, mounts = _mounts(container.volumes or [], container.mount_points or [])
    if spec.files is not None:
        binds += [
            f"{mount.folder}:{spec.files.root}/{path}:{'ro' if mount.read_only else 'rw'}"
            for path, mount in spec.files.mounts.items()
        ]
    config: dict[str, Any] = {
        "CpuShares": max(round(spec.vcpus * 1024), SMALLEST_CPU_SHARES),
        "Memory": memory,
        "Binds": binds,
        "Mounts": mounts,
        "ReadonlyRootfs": bool(container.readonly_root_filesystem),
        "Ulimits": [
            {"Name": limit.name, "Soft": limit.soft_limit, "Hard": limit.hard_limit}
            for limit in container.ulimits or []
        ],
    }
    if container.linux_parameters is not None:
        config |= _linux_parameters(container.linux_parameters, memory)
    return config


def _linux_parameters(parameters: shapes.LinuxParameters, memory: int) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if parameters.init_process_enabled:
        config["Init"] = True
    if parameters.shared_memory_size:
        config["ShmSize"] = parameters.shared_memory_size * MEBIBYTE
    if parameters.max_swap is not None:
        # Without maxSwap Docker's own default holds, which is Batch's: as much swap again as memory.
        config["MemorySwap"] = memory + parameters.max_swap * MEBIBYTE
        if parameters.swappiness is not None:
            config["MemorySwappiness"] = parameters.swappiness
    if parameters.tmpfs:
        config["Tmpfs"] = {
            tmpfs.container_path: ",".join([f"size={tmpfs.size}m", *(tmpfs.mount_options or [])])
            for tmpfs in parameters.tmpfs
        }
    if parameters.devices:
        config["Devices"] = [_device(device) for device in parameters.devices]
    return config


def _device(device: shapes.Device) -> dict[str, str]:
    permissions = device.permissions or ["READ", "WRITE", "MKNOD"]
    return {
        "PathOnHost": device.host_path,
        "PathInContainer": device.container_path or device.host_path,
        "CgroupPermissions": "".join(_DEVICE_PERMISSIONS[permission] for permission in permissions),
    }


def _mounts(
    volumes: list[shapes.Volume], mount_points: list[shapes.MountPoint]
) -> tuple[list[str], list[dict[str, object]]]:
    """Docker's binds (host paths; missing ones are made, as on ECS) and mounts (empty volumes, gone with the task)."""
    by_name: Mapping[str | None, shapes.Volume] = {volume.name: volume for volume in volumes}
    binds: list[str] = []
    mounts: list[dict[str, object]] = []
    for point in mount_points:
        volume = by_name.get(point.source_volume)
        if volume is None:
            raise UnsupportedSettingError(
                f"mount point {point.container_path}: there is no volume {point.source_volume!r}"
            )
        if volume.efs_volume_configuration is not None or volume.s3files_volume_configuration is not None:
            raise UnsupportedSettingError(
                f"volume {volume.name!r} is an EFS or S3 Files volume; this engine mounts paths of its own machine "
                "(host.sourcePath) and empty volumes"
            )
        source = volume.host.source_path if volume.host is not None else None
        if source:
            binds.append(f"{source}:{point.container_path}:{'ro' if point.read_only else 'rw'}")
        else:
            mounts.append({"Type": "volume", "Target": point.container_path, "ReadOnly": bool(point.read_only)})
    return binds, mounts


def _privilege_settings(privileges: Privileges, missing_capabilities: tuple[str, ...]) -> dict[str, Any]:
    if privileges == "default":
        return {}
    if privileges == "full":
        return {"Privileged": True}
    return {
        "CapAdd": ["ALL"],
        "CapDrop": list(missing_capabilities),
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "DeviceCgroupRules": ["a *:* rwm"],
    }
