"""Version 2: one folder with a group for the runner itself (processes may live in leaves only) and one for each cell."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from batchyard.engines.local.process.cgroups.cell import (
    FEWEST_SHARES,
    MEBIBYTE,
    SHARES_PER_VCPU,
    Cell,
    FileNames,
    make_folder,
)
from batchyard.engines.local.process.cgroups.mounts import remove_leftovers

_FILES = FileNames(
    entrance="cgroup.procs",
    limit="memory.max",
    swap_limit="memory.swap.max",
    usage="memory.current",
    kills="memory.events",
)
_MOST_SHARES = 262_144
_MOST_WEIGHT = 10_000


class Version2Cells:
    def __init__(self, parent: Path, name: str) -> None:
        available = _words(parent / "cgroup.controllers")
        if "memory" not in available:
            raise OSError("the memory controller is not handed down to it")
        self._folder = parent / name
        self._home = self._folder / "runner"
        controllers = [controller for controller in ("memory", "cpu") if controller in available]
        enable = " ".join(f"+{controller}" for controller in controllers)
        if not set(controllers) <= set(_words(parent / "cgroup.subtree_control")):
            (parent / "cgroup.subtree_control").write_text(enable)
        try:
            make_folder(self._folder)
            (self._folder / "cgroup.subtree_control").write_text(enable)
            make_folder(self._home)
            (self._home / "cgroup.procs").write_text("0")
            self.make(0).close()  # Shows whether this host allows all that is needed.
        except OSError:
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text("0")
            self.close()
            raise

    @property
    def folders(self) -> list[str]:
        return [str(self._folder)]

    def make(self, number: int) -> Cell:
        return _Cell(self._folder / str(number), self._home)

    def close(self) -> None:
        remove_leftovers(str(self._folder))


class _Cell(Cell):
    def __init__(self, folder: Path, home: Path) -> None:
        super().__init__(folder, home, _FILES)
        self._weight = self._open_if_there(folder / "cpu.weight")

    def limit(self, memory: int, swap: int) -> bool:
        if self._swap_limit is not None:
            os.write(self._swap_limit, b"%d" % (swap * MEBIBYTE))
        os.write(self._limit, b"%d" % (memory * MEBIBYTE))  # Kills at once what uses more.
        return True

    def weigh(self, vcpus: int) -> None:
        """By the kernel's own line from shares (2 to 262,144) to weights (1 to 10,000)."""
        if self._weight is not None:
            shares = min(_MOST_SHARES, max(FEWEST_SHARES, vcpus * SHARES_PER_VCPU // 1000))
            weight = 1 + (shares - FEWEST_SHARES) * (_MOST_WEIGHT - 1) // (_MOST_SHARES - FEWEST_SHARES)
            os.write(self._weight, b"%d" % weight)

    def _lift(self) -> None:
        os.write(self._limit, b"max")


def _words(path: Path) -> list[str]:
    return path.read_text().split()
