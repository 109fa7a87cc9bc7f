"""Where control groups are mounted, and what an earlier runner has left in them."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mount:
    """Where a hierarchy is mounted, and this process's group in it."""

    top: Path
    own: Path


def find_mount(controller: str | None) -> Mount | None:
    """The version 1 hierarchy of a controller, or version 2 (None)."""
    own = _own_groups().get(controller or "")
    if own is None:
        return None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        wanted = kind == "cgroup2" if controller is None else kind == "cgroup" and controller in options.split(",")
        if not wanted:
            continue
        root, top = (_unescape(word) for word in left.split(" ")[3:5])
        inside = own.removeprefix(root) if root != "/" else own
        return Mount(Path(top), Path(top) / inside.strip("/"))
    return None


def folders_like(prefix: str) -> list[str]:
    """Folders that :func:`open_cells` made under names with this prefix."""
    found = []
    for mount in filter(None, (find_mount("memory"), find_mount("cpu"), find_mount(None))):
        for parent in dict.fromkeys((mount.own, mount.top)):
            found += [str(folder) for folder in parent.glob(prefix + "*")]
    return found


def mount_points() -> list[str]:
    """Where anything is mounted, as this process sees it."""
    return [_unescape(line.split(" ")[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def remove_leftovers(folder: str) -> list[int]:
    """Remove the groups below a folder and the folder itself. Processes that are still inside are returned, and their
    groups stay."""
    left: list[int] = []
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            left += [int(word) for word in (Path(path) / "cgroup.procs").read_text().split()]
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return left


def _own_groups() -> dict[str, str]:
    """This process's group by controller; version 2 under the empty name."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _unescape(word: str) -> str:
    """A path of /proc/self/mountinfo, where blanks are octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
