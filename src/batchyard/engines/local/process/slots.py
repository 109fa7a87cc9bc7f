"""Places where tasks run: a scratch directory of their own and, where the host lets us, a control group.

Making a place costs more than running a short task in it, so a place that is found clean afterwards is used again. One
that is not (the task left files) is put aside, removed by a process of its own, and replaced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from pathlib import Path

from batchyard.engines.local.process.cgroups import Cell, Cells, mount_points

_PRIVATE = 0o700
_CLOCK_TICK_NANOSECONDS = 100_000_000
"""Much longer than the clock that file systems stamp their changes with stands still."""
_MAX_FREE = 64
"""How many unused places are kept."""


class Slot:
    """One place. `work` is the working directory, `temporary` the one for TMPDIR."""

    def __init__(self, folder: str, cell: Cell | None) -> None:
        self.folder = folder
        self.work = folder + "/work"
        self.temporary = folder + "/tmp"
        self.tree = folder + "/tree"
        """The files of a task that has some; where they are, the place is not used again."""
        self.cell = cell

        self._changed_at = (0, 0)
        """When the directories last changed, as of the last time that they were seen to be clean (nanoseconds)."""
        self._is_settled = False
        """That was long before the task: a change by it can't have left the same times."""

    def occupy(self) -> None:
        """A task is about to begin here."""
        self._is_settled = 0 < max(self._changed_at) < time.time_ns() - _CLOCK_TICK_NANOSECONDS

    def is_clean(self) -> bool:
        """Is it as it was made: empty, private, ours?"""
        try:
            changed_at = (os.lstat(self.work).st_ctime_ns, os.lstat(self.temporary).st_ctime_ns)
        except OSError:
            return False
        if self._is_settled and changed_at == self._changed_at:
            return True
        self._changed_at = changed_at
        return _is_untouched(self.work) and _is_untouched(self.temporary)


class Slots:
    """Hands out places. `OSError` when the disk or the control groups refuse a new one."""

    def __init__(self, folder: Path, cells: Cells | None) -> None:
        self._folder = folder
        self._trash = folder / "trash"
        self._cells = cells
        self._free: list[Slot] = []
        self._number = 0
        self._rubbish: list[str] = []
        self._trash.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # A task that runs as another user must find the way to its own directory.
        for name in os.listdir(folder):
            if name != "trash":
                self._discard(str(folder / name))  # An earlier runner's.
        self._rubbish = [str(self._trash / name) for name in os.listdir(self._trash)]

    def take(self) -> Slot:
        if self._free:
            slot = self._free.pop()
            slot.occupy()
            return slot
        self._number += 1
        folder = f"{self._folder}/{self._number}"
        os.mkdir(folder, 0o711)
        os.mkdir(folder + "/work", _PRIVATE)
        os.mkdir(folder + "/tmp", _PRIVATE)
        return Slot(folder, self._cells.make(self._number) if self._cells else None)

    def give_back(self, slot: Slot, *, is_empty: bool) -> None:
        """`is_empty`: no process of the task is left, nor files of its own. A place that still has some is never used again."""
        if is_empty and (slot.cell is None or slot.cell.reset()) and slot.is_clean() and len(self._free) < _MAX_FREE:
            self._free.append(slot)
            return
        if slot.cell is not None:
            slot.cell.close()
        self._discard(slot.folder)

    def _discard(self, folder: str) -> None:
        self._number += 1
        place = f"{self._trash}/{os.getpid()}-{self._number}"
        with contextlib.suppress(OSError):
            os.rename(folder, place)
            self._rubbish.append(place)

    def take_rubbish(self) -> list[str]:
        """Directories to be removed by someone who has the time; each is named once."""
        rubbish, self._rubbish = self._rubbish, []
        return rubbish

    def close(self) -> None:
        """Remove all unused places."""
        for slot in self._free:
            if slot.cell is not None:
                slot.cell.close()
            for path in (slot.work, slot.temporary, slot.folder):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        self._free.clear()
        for folder in (self._trash, self._folder):
            with contextlib.suppress(OSError):
                folder.rmdir()


def removal_command(folders: list[str]) -> list[str] | None:
    """The command that removes these directories, or None when it would be dangerous.

    A task that ran as root may have left a mount behind: what is mounted there must not be deleted with it.
    """
    mounts = mount_points()
    safe = [folder for folder in folders if not any(f"{mount}/".startswith(f"{folder}/") for mount in mounts)]
    program = shutil.which("rm", path=os.defpath)
    return [program, "-rf", "--", *safe] if program and safe else None


def _is_untouched(directory: str) -> bool:
    try:
        status = os.lstat(directory)
        if status.st_mode != stat.S_IFDIR | _PRIVATE or status.st_uid != os.geteuid():
            return False
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except OSError:
        return False
