"""Linux's own settings of a container: devices, swap, shared memory, tmpfs, ulimits.

Sources: model `LinuxParameters`, `Tmpfs`, `Device`, `Ulimit`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from batchyard.kernel.definitions.platforms import Platforms, not_applicable
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

_ULIMITS = (
    "core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack"
)
_TMPFS_OPTION = re.compile(
    r"(defaults|r[ow]|(no)?(suid|dev|exec|mand|atime|diratime)|a?sync|dirsync|remount|r?bind|r?unbindable|r?private"
    r"|r?shared|r?slave|(no)?(relatime|strictatime)|mode|uid|gid|nr_inodes|nr_blocks|mpol)(=.*)?\Z"
)


def check_linux_parameters(parameters: shapes.LinuxParameters | None, platforms: Platforms) -> None:
    """Raises `Refusal` for a value out of its range, or that Fargate does not know."""
    if parameters is None:
        return
    if "FARGATE" in platforms:
        not_applicable(
            "Fargate",
            **{
                "linuxParameters.devices": parameters.devices,
                "linuxParameters.sharedMemorySize": parameters.shared_memory_size,
                "linuxParameters.tmpfs": parameters.tmpfs,
                "linuxParameters.maxSwap": parameters.max_swap,
                "linuxParameters.swappiness": parameters.swappiness,
            },
        )
    if parameters.swappiness is not None and not 0 <= parameters.swappiness <= 100:
        raise Refusal(f"linuxParameters swappiness must be between 0 and 100, got {parameters.swappiness}")
    if parameters.max_swap is not None and parameters.max_swap < 0:
        raise Refusal(f"linuxParameters maxSwap must be at least 0 MiB, got {parameters.max_swap}")
    if parameters.shared_memory_size is not None and parameters.shared_memory_size < 1:
        raise Refusal(f"linuxParameters sharedMemorySize must be at least 1 MiB, got {parameters.shared_memory_size}")
    for device in parameters.devices or ():
        if not device.host_path:
            raise Refusal("linuxParameters device must have a hostPath")
    for tmpfs in parameters.tmpfs or ():
        _check_tmpfs(tmpfs)


def _check_tmpfs(tmpfs: shapes.Tmpfs) -> None:
    if not tmpfs.container_path.startswith("/"):
        raise Refusal(f"linuxParameters tmpfs containerPath must be an absolute path, got {tmpfs.container_path!r}")
    if tmpfs.size < 1:
        raise Refusal(f"linuxParameters tmpfs {tmpfs.container_path} must have a size of at least 1 MiB")
    for option in tmpfs.mount_options or ():
        if not _TMPFS_OPTION.match(option):
            raise Refusal(f"linuxParameters tmpfs {tmpfs.container_path} has an unknown mount option {option[:100]!r}")


def check_ulimits(ulimits: Sequence[shapes.Ulimit] | None) -> None:
    """Raises `Refusal` for an unknown name, one given twice, and limits that contradict each other (-1: no limit)."""
    names: set[str] = set()
    for ulimit in ulimits or ():
        if ulimit.name not in _ULIMITS.split(", "):
            raise Refusal(f"Ulimit {ulimit.name[:100]!r} is not one of {_ULIMITS}")
        if ulimit.name in names:
            raise Refusal(f"Ulimit {ulimit.name} is given twice")
        names.add(ulimit.name)
        if ulimit.soft_limit < -1 or ulimit.hard_limit < -1:
            raise Refusal(f"Ulimit {ulimit.name}: a limit cannot be less than -1")
        if ulimit.hard_limit >= 0 and not 0 <= ulimit.soft_limit <= ulimit.hard_limit:
            raise Refusal(f"Ulimit {ulimit.name}: softLimit {ulimit.soft_limit} is above hardLimit {ulimit.hard_limit}")
