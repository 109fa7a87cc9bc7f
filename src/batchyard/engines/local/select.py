"""Which runtime the local engine uses, and how much of this machine there is to offer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Literal

from batchyard.engines.local.docker.daemon import CONNECTION_ERRORS, Daemon, message_of, resolve_docker_host

Runtime = Literal["docker", "process"]

ANSWER_SECONDS = 5.0
"""How long a Docker Engine may take to answer."""

RESERVED_MEMORY = 32
"""MiB kept back for the system, as the ECS agent does (ECS_RESERVED_MEMORY in AWS's "compute resource memory")."""

MEBIBYTE = 1024 * 1024


class RuntimeUnavailableError(Exception):
    """The runtime that was asked for can't be used. The text is for people."""


async def choose_runtime(wanted: Literal["auto", "docker", "process"], docker_host: str | None = None) -> Runtime:
    """The runtime to use: with `auto`, `docker` where a Docker Engine answers and `process` where none does.

    docker_host: the daemon's address; default `DOCKER_HOST`, else `/var/run/docker.sock`.
    Raises :class:`RuntimeUnavailableError` when `docker` is wanted and does not answer.
    """
    if wanted == "process":
        return "process"
    address = resolve_docker_host(docker_host)
    obstacle = await _obstacle(address)
    if obstacle is None:
        return "docker"
    if wanted == "auto":
        return "process"
    raise RuntimeUnavailableError(
        f"no Docker Engine answers at {address}: {obstacle}. Start it, give its address in DOCKER_HOST, see to it that "
        "this user may open its socket (group docker), or use the runtime `process`, which runs jobs without containers."
    )


async def _obstacle(address: str) -> str | None:
    """Why the Docker Engine at an address can't be used; None when it can."""
    try:
        daemon = Daemon(address)
    except ValueError as error:
        return str(error)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await daemon.ping()
    except TimeoutError:
        return f"nothing was heard from it for {ANSWER_SECONDS:.0f} seconds"
    except CONNECTION_ERRORS as error:
        return message_of(error)
    finally:
        await daemon.close()
    return None


def machine_capacity(overcommit: float = 1.0, *, root: Path = Path("/")) -> tuple[float, int]:
    """vCPUs and MiB of memory that this process may use, times `overcommit`.

    What counts is the least of the machine, the CPUs that the process may run on, and the limits of its control groups
    (v1 or v2). `root` is where /proc and /sys are looked for.
    """
    vcpus = min([float(len(os.sched_getaffinity(0))), *_cpu_quotas(root)])
    memory = min([_total_memory(root), *_memory_limits(root)])
    return vcpus * overcommit, int(max(memory // MEBIBYTE - RESERVED_MEMORY, 0) * overcommit)


def _total_memory(root: Path) -> int:
    """Bytes."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemTotal")


def _cpu_quotas(root: Path) -> list[float]:
    quotas = []
    for folder in _control_groups(root, "cpu"):
        quota, period, *_ = [*_words(folder / "cpu.max"), "", ""]  # Version 2: "max 100000" or "50000 100000".
        if not quota:
            quota = next(iter(_words(folder / "cpu.cfs_quota_us")), "")  # Version 1: -1 without a limit.
            period = next(iter(_words(folder / "cpu.cfs_period_us")), "")
        if quota.isdigit() and period.isdigit():
            quotas.append(int(quota) / int(period))
    return quotas


def _memory_limits(root: Path) -> list[int]:
    """Bytes. Version 1 states a huge number for no limit, which never is the least."""
    files = [
        folder / name for folder in _control_groups(root, "memory") for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return [int(word) for file in files for word in _words(file) if word.isdigit()]


def _control_groups(root: Path, controller: str) -> list[Path]:
    """The folders of this process's control group for a controller and of those above it, whose limits hold too.

    Within a container the path in /proc/self/cgroup may be the host's while the folder mounted is the container's own, so
    paths that aren't there are passed over.
    """
    hierarchies = root / "sys/fs/cgroup"
    folders: list[Path] = []
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mounts = [hierarchies, hierarchies / "unified"]
        elif controller in controllers.split(","):
            mounts = [hierarchies / controllers, hierarchies / controller]
        else:
            continue
        for mount in mounts:
            own = mount / path.lstrip("/")
            folders += [folder for folder in (own, *own.parents) if folder.is_relative_to(mount) and folder.is_dir()]
    return folders


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
