"""What cells of both versions are: a folder whose control files stay open while the cell is in use."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MEBIBYTE = 1024 * 1024
SHARES_PER_VCPU = 1024
"""As in `resourceRequirements` of AWS Batch: a vCPU is 1,024 CPU shares."""
FEWEST_SHARES = 2

REUSABLE_BYTES = 2 * MEBIBYTE
"""A cell that still holds more memory than this (files in /dev/shm that a task left, page cache) is not used again."""


@dataclass(frozen=True)
class FileNames:
    """What a version calls the files of a group."""

    entrance: str
    """Who writes 0 here has moved in."""
    limit: str
    swap_limit: str
    usage: str
    kills: str
    """Has a line `oom_kill`, on most kernels."""


class Cell(ABC):
    """`home` is the group that the runner leaves to. `OSError` when the host does not allow all that is needed."""

    def __init__(self, folder: Path, home: Path, names: FileNames) -> None:
        self._folder = folder
        self._members = str(folder / "cgroup.procs")
        self._files: list[int] = []
        make_folder(folder)
        try:
            self._entrance = self._open(folder / names.entrance, os.O_WRONLY)
            self._exit = self._open(home / names.entrance, os.O_WRONLY)
            self._limit = self._open(folder / names.limit, os.O_WRONLY)
            self._swap_limit = self._open_if_there(folder / names.swap_limit)
            self._usage = self._open(folder / names.usage, os.O_RDONLY)
            self._kill_counts = self._open(folder / names.kills, os.O_RDONLY)
            self._kills = self._count_kills()
        except OSError:
            self.close()
            raise

    def enter(self) -> None:
        """Move the runner in. `OSError` when that is not possible."""
        os.write(self._entrance, b"0")

    def leave(self) -> None:
        """Move the runner back to where it was."""
        os.write(self._exit, b"0")

    @abstractmethod
    def limit(self, memory: int, swap: int) -> bool:
        """Set the limits, in MiB. False: the task already uses more than that."""

    @abstractmethod
    def weigh(self, vcpus: int) -> None:
        """Give what runs inside its share of CPU time (thousandths of a vCPU), where the host allows that."""

    def out_of_memory(self) -> bool:
        """Has a process been killed for memory here since the last time this was asked?"""
        before, self._kills = self._kills, self._count_kills()
        return self._kills > before

    def processes(self) -> list[int]:
        """Ids of the processes inside, zombies aside."""
        # Opened each time: version 1 answers a second reading of an open file from a list that it made for the first.
        members = os.open(self._members, os.O_RDONLY)
        try:
            return [int(word) for word in os.pread(members, 65_536, 0).split()]
        finally:
            os.close(members)

    def reset(self) -> bool:
        """Lift the limits. False: this cell can't be used again."""
        try:
            self._lift()
            return int(os.pread(self._usage, 64, 0)) <= REUSABLE_BYTES
        except OSError:
            return False

    def close(self) -> None:
        """Remove the cell. One that still has processes in it stays until it is found among the leftovers."""
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    @abstractmethod
    def _lift(self) -> None: ...

    def _open(self, path: Path, flags: int) -> int:
        descriptor = os.open(path, flags)
        self._files.append(descriptor)
        return descriptor

    def _open_if_there(self, path: Path) -> int | None:
        return self._open(path, os.O_WRONLY) if path.exists() else None

    def _count_kills(self) -> int:
        for line in os.pread(self._kill_counts, 4096, 0).split(b"\n"):
            if line.startswith(b"oom_kill "):
                return int(line.removeprefix(b"oom_kill "))
        return 0


class Cells(Protocol):
    """Makes cells, all in folders of the runner's own."""

    @property
    def folders(self) -> list[str]:
        """Every control group below these belongs to tasks of this runner."""

    def make(self, number: int) -> Cell: ...

    def close(self) -> None: ...


def make_folder(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        path.mkdir()
