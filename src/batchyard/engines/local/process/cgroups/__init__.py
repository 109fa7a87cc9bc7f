"""Control groups for tasks: a limit on memory, a weight on CPU, and a sure list of everything that a task has started.

A `Cell` is the control group of one task at a time; making one costs more than most short tasks, so cells are used
again. The runner starts a program inside a cell by *moving itself in, starting it, and moving out again*: the child is
born inside, so nothing it does escapes the limit. Moving another process would be a race against its children, and far
slower (the kernel takes a global lock then, but not for a thread that moves itself on version 1).

The runner must never be the victim of a cell's limit, so a cell has no limit while the runner is inside: it is set on
leaving and lifted before the next entry.

Version 1 (a `memory` hierarchy of its own) has been tried in practice; version 2 is written by its documentation
(Documentation/admin-guide/cgroup-v2.rst of the Linux kernel).
"""

from __future__ import annotations

from pathlib import Path

from batchyard.engines.local.process.cgroups.cell import Cell, Cells
from batchyard.engines.local.process.cgroups.mounts import find_mount, folders_like, mount_points, remove_leftovers
from batchyard.engines.local.process.cgroups.version1 import Version1Cells
from batchyard.engines.local.process.cgroups.version2 import Version2Cells

__all__ = ["Cell", "Cells", "find_mount", "folders_like", "mount_points", "open_cells", "remove_leftovers"]


def open_cells(name: str) -> tuple[Cells | None, list[str]]:
    """The best that this host allows, and what the operator should know about it. `name` is that of the folder made."""
    notes: list[str] = []
    memory = find_mount("memory")
    if memory is not None:
        # On a hybrid host (both versions mounted) the memory controller belongs to version 1 only.
        for parent in dict.fromkeys((memory.own, memory.top)):
            try:
                cells = Version1Cells(parent, name, memory.own)
            except OSError as error:
                notes.append(_refusal(parent, error))
            else:
                return cells, []
    unified = find_mount(None)
    if unified is not None and memory is None:
        for parent in dict.fromkeys((unified.own, unified.top)):
            try:
                return Version2Cells(parent, name), []
            except OSError as error:
                notes.append(_refusal(parent, error))
    reason = "; ".join(notes) or "no memory controller is mounted"
    return None, [f"Memory limits are not enforced: control groups can't be used on this host ({reason})."]


def _refusal(folder: Path, error: OSError) -> str:
    return f"{folder}: {error.strerror or error}"
