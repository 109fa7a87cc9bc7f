"""Which runtime runs the jobs of this machine, and what the machine has to offer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

RESERVE_MIB = 32
"""Kept back from the machine's memory, as the ECS agent does (User Guide "Compute resource memory management")."""
PING_SECONDS = 5.0

_NO_LIMIT = 1 << 60


class RuntimeUnavailableError(Exception):
    """The runtime that was asked for cannot be used here; says why and what to do."""


async def choose_runtime(
    wanted: Literal["auto", "docker", "process"], docker_host: str | None
) -> Literal["docker", "process"]:
    """The runtime to use: `auto` takes Docker where it answers. Raises `RuntimeUnavailableError` when `docker` is wanted and
    does not answer."""
    if wanted == "process":
        return "process"
    address = docker_address(docker_host)
    problem = await _ask_docker(address)
    if problem is None:
        return "docker"
    if wanted == "docker":
        raise RuntimeUnavailableError(
            f"the Docker Engine does not answer at {address} ({problem}). Start it, name another one with DOCKER_HOST, or run"
            " jobs directly on this machine with --runtime process."
        )
    return "process"


def docker_address(docker_host: str | None) -> str:
    """The address of the Docker Engine: the one given, else `DOCKER_HOST`, else Docker's own default."""
    address = docker_host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return f"unix://{address}" if address.startswith("/") else address


async def _ask_docker(address: str) -> str | None:
    """What is wrong with the Docker Engine at an address; None when it answers."""
    try:
        async with asyncio.timeout(PING_SECONDS):
            reader, writer = await _connect(address)
            writer.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
            await writer.drain()
            status = await reader.readline()
            writer.close()
    except TimeoutError:
        return f"no answer within {PING_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None if b" 200 " in status else f"it said {status.decode(errors='replace').strip() or 'nothing'}"


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path)
    if parts.scheme in ("tcp", "http") and parts.hostname:
        return await asyncio.open_connection(parts.hostname, parts.port or 2375)
    raise ValueError("the address must start with unix:// or tcp://")


def machine_capacity(overcommit: float) -> tuple[float, int]:
    """The vCPUs and the memory (MiB) that jobs may use: this process's cores within its cgroup's quota, times `overcommit`,
    and the memory within its cgroup's limit, less a small reserve."""
    cores = float(len(os.sched_getaffinity(0)))
    quota = _cpu_quota()
    if quota is not None:
        cores = min(cores, quota)
    return cores * overcommit, max(4, _memory_bytes() // 2**20 - RESERVE_MIB)


def _memory_bytes() -> int:
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        _number(path)
        for controller, file in (("memory", "memory.limit_in_bytes"), ("", "memory.max"))
        for path in _cgroup_files(controller, file)
    ]
    return min([installed, *(limit for limit in limits if limit is not None and limit < _NO_LIMIT)])


def _cpu_quota() -> float | None:
    """Cores by the quota of the process's cgroup; None without one."""
    for path in _cgroup_files("", "cpu.max"):
        quota, _, period = _text(path).partition(" ")
        if quota.isdigit() and period.isdigit():
            return int(quota) / int(period)
    for path in _cgroup_files("cpu", "cpu.cfs_quota_us"):
        limit, length = _number(path), _number(path.with_name("cpu.cfs_period_us"))
        if limit is not None and limit > 0 and length:
            return limit / length
    return None


def _cgroup_files(controller: str, file: str) -> list[Path]:
    """The file of this process's own cgroup, where it can be seen; `controller` is empty for version 2."""
    found = []
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, group = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        roots = [Path("/sys/fs/cgroup") / controller] if controller else [Path("/sys/fs/cgroup")]
        found += [root / group.strip("/") / file for root in roots]
    return [path for path in found if path.is_file()]


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
