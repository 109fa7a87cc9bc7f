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

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MEBIBYTE = 1024 * 1024
SHARES_PER_VCPU = 1024
"""As in `resourceRequirements` of AWS Batch: a vCPU is 1,024 CPU shares."""

REUSABLE_BYTES = 2 * MEBIBYTE
"""A cell that still holds more memory than this (files in /dev/shm that a task left, page cache) is not used again."""

_UNLIMITED_V1 = b"-1"


class Cell(Protocol):
    def enter(self) -> None:
        """Move the runner in. `OSError` when that is not possible."""

    def leave(self) -> None:
        """Move the runner back to where it was."""

    def limit(self, memory: int, swap: int) -> bool:
        """Set the limits, in MiB. False: the task already uses more than that."""

    def weigh(self, vcpus: int) -> None:
        """Give what runs inside its share of CPU time (thousandths of a vCPU), where the host allows that."""

    def out_of_memory(self) -> bool:
        """Has a process been killed for memory here since the last time this was asked?"""

    def processes(self) -> list[int]:
        """Ids of the processes inside, zombies aside."""

    def reset(self) -> bool:
        """Lift the limits. False: this cell can't be used again."""

    def close(self) -> None:
        """Remove the cell. One that still has processes in it stays until :func:`remove_leftovers`."""


class Cells(Protocol):
    """Makes cells, all in folders of the runner's own."""

    @property
    def folders(self) -> list[str]:
        """Every control group below these belongs to tasks of this runner."""

    def make(self, number: int) -> Cell: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Mount:
    """Where a hierarchy is mounted, and this process's group in it."""

    top: Path
    own: Path


def open_cells(name: str) -> tuple[Cells | None, list[str]]:
    """The best that this host allows, and what the operator should know about it. `name` is that of the folder made."""
    notes: list[str] = []
    memory = find_mount("memory")
    if memory is not None:
        # On a hybrid host (both versions mounted) the memory controller belongs to version 1 only.
        for parent in dict.fromkeys((memory.own, memory.top)):
            try:
                cells = V1Cells(parent / name, memory.own, _make_cpu_folder(name))
            except OSError as error:
                notes.append(_refusal(parent, error))
            else:
                return cells, []
    unified = find_mount(None)
    if unified is not None and memory is None:
        for parent in dict.fromkeys((unified.own, unified.top)):
            try:
                return V2Cells(parent, name), []
            except OSError as error:
                notes.append(_refusal(parent, error))
    reason = "; ".join(notes) or "no memory controller is mounted"
    return None, [f"Memory limits are not enforced: control groups can't be used on this host ({reason})."]


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
            left += [int(word) for word in _words(Path(path) / "cgroup.procs")]
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return left


# --- version 1 --------------------------------------------------------------------------------------------------------


class V1Cells:
    """Memory is limited from the first moment. CPU time has a hierarchy of its own, and to be moved there costs the
    mover its turn on a busy machine, more than a short task takes: it is done for tasks that have run for a while."""

    def __init__(self, memory: Path, home: Path, cpu: Path | None) -> None:
        self._memory, self._home, self._cpu = memory, home, cpu
        _make_folder(memory)
        try:
            self.make(0).close()  # Shows whether this host allows all that is needed.
        except OSError:
            self.close()
            raise

    @property
    def folders(self) -> list[str]:
        return [str(folder) for folder in (self._memory, self._cpu) if folder]

    def make(self, number: int) -> V1Cell:
        return V1Cell(self._memory / str(number), self._home, self._cpu / str(number) if self._cpu else None)

    def close(self) -> None:
        for folder in self.folders:
            remove_leftovers(folder)


class V1Cell:
    def __init__(self, memory: Path, home: Path, cpu: Path | None) -> None:
        self._memory, self._cpu = memory, cpu
        self._members = str(memory / "cgroup.procs")
        self._is_weighed = False
        self._files: list[int] = []
        _make_folder(memory)
        try:
            self._enter = self._open(memory / "tasks", os.O_WRONLY)
            self._leave = self._open(home / "tasks", os.O_WRONLY)
            self._limit = self._open(memory / "memory.limit_in_bytes", os.O_WRONLY)
            with_swap = memory / "memory.memsw.limit_in_bytes"
            self._limit_with_swap = self._open(with_swap, os.O_WRONLY) if with_swap.exists() else None
            self._usage = self._open(memory / "memory.usage_in_bytes", os.O_RDONLY)
            self._control = self._open(memory / "memory.oom_control", os.O_RDONLY)
        except OSError:
            self.close()
            raise
        self._kills = self._count_kills()

    def _open(self, path: Path, flags: int) -> int:
        descriptor = os.open(path, flags)
        self._files.append(descriptor)
        return descriptor

    def enter(self) -> None:
        os.write(self._enter, b"0")

    def leave(self) -> None:
        os.write(self._leave, b"0")

    def limit(self, memory: int, swap: int) -> bool:
        try:
            os.write(self._limit, b"%d" % (memory * MEBIBYTE))
            if self._limit_with_swap is not None:
                os.write(self._limit_with_swap, b"%d" % ((memory + swap) * MEBIBYTE))
        except OSError:
            return False  # EBUSY: not even reclaiming brings it below the limit.
        return True

    def weigh(self, vcpus: int) -> None:
        if self._cpu is None:
            return
        with contextlib.suppress(OSError):
            _make_folder(self._cpu)
            self._is_weighed = True
            (self._cpu / "cpu.shares").write_text(str(max(2, vcpus * SHARES_PER_VCPU // 1000)))
            moved: set[int] = set()
            while new := set(self.processes()) - moved:  # They may start others meanwhile.
                for process_id in new:
                    with contextlib.suppress(ProcessLookupError):
                        (self._cpu / "cgroup.procs").write_text(str(process_id))
                moved |= new

    def out_of_memory(self) -> bool:
        before, self._kills = self._kills, self._count_kills()
        return self._kills > before

    def _count_kills(self) -> int:
        return _field(os.pread(self._control, 4096, 0), b"oom_kill ")

    def processes(self) -> list[int]:
        # Opened each time: the kernel answers a second reading of an open file from a list that it made for the first.
        members = os.open(self._members, os.O_RDONLY)
        try:
            return _read_ids(members)
        finally:
            os.close(members)

    def reset(self) -> bool:
        try:
            if self._is_weighed and self._cpu is not None:
                self._is_weighed = False
                self._cpu.rmdir()
            if self._limit_with_swap is not None:
                os.write(self._limit_with_swap, _UNLIMITED_V1)
            os.write(self._limit, _UNLIMITED_V1)
            return int(os.pread(self._usage, 64, 0)) <= REUSABLE_BYTES
        except OSError:
            return False

    def close(self) -> None:
        _close_all(self._files, [folder for folder in (self._memory, self._cpu) if folder])


def _make_cpu_folder(name: str) -> Path | None:
    """A folder for CPU weights. Best effort: without it all tasks weigh the same for each process they have."""
    mount = find_mount("cpu")
    if mount is None:
        return None
    for parent in dict.fromkeys((mount.own, mount.top)):
        with contextlib.suppress(OSError):
            _make_folder(parent / name)
            return parent / name
    return None


# --- version 2 --------------------------------------------------------------------------------------------------------


class V2Cells:
    """A folder with one group for the runner itself (processes may live in leaves only) and one for each cell."""

    def __init__(self, parent: Path, name: str) -> None:
        if "memory" not in _words(parent / "cgroup.controllers"):
            raise OSError("the memory controller is not handed down to it")
        self._folder = parent / name
        self._home = self._folder / "runner"
        controllers = [name for name in ("memory", "cpu") if name in _words(parent / "cgroup.controllers")]
        enable = " ".join(f"+{name}" for name in controllers)
        if not set(controllers) <= set(_words(parent / "cgroup.subtree_control")):
            (parent / "cgroup.subtree_control").write_text(enable)
        try:
            _make_folder(self._folder)
            (self._folder / "cgroup.subtree_control").write_text(enable)
            _make_folder(self._home)
            (self._home / "cgroup.procs").write_text("0")
            self.make(0).close()
        except OSError:
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text("0")
            self.close()
            raise

    @property
    def folders(self) -> list[str]:
        return [str(self._folder)]

    def make(self, number: int) -> V2Cell:
        return V2Cell(self._folder / str(number), self._home)

    def close(self) -> None:
        remove_leftovers(str(self._folder))


class V2Cell:
    def __init__(self, folder: Path, home: Path) -> None:
        self._folder = folder
        self._files: list[int] = []
        try:
            _make_folder(folder)
            self._members = self._open(folder / "cgroup.procs", os.O_RDWR)
            self._home = self._open(home / "cgroup.procs", os.O_WRONLY)
            self._limit = self._open(folder / "memory.max", os.O_WRONLY)
            swap = folder / "memory.swap.max"
            self._swap = self._open(swap, os.O_WRONLY) if swap.exists() else None
            self._usage = self._open(folder / "memory.current", os.O_RDONLY)
            self._events = self._open(folder / "memory.events", os.O_RDONLY)
            weight = folder / "cpu.weight"
            self._weight = self._open(weight, os.O_WRONLY) if weight.exists() else None
        except OSError:
            self.close()
            raise
        self._kills = self._count_kills()

    def _open(self, path: Path, flags: int) -> int:
        descriptor = os.open(path, flags)
        self._files.append(descriptor)
        return descriptor

    def enter(self) -> None:
        os.write(self._members, b"0")

    def leave(self) -> None:
        os.write(self._home, b"0")

    def weigh(self, vcpus: int) -> None:
        if self._weight is not None:
            shares = min(262_144, max(2, vcpus * SHARES_PER_VCPU // 1000))
            os.write(self._weight, b"%d" % (1 + (shares - 2) * 9999 // 262_142))

    def limit(self, memory: int, swap: int) -> bool:
        if self._swap is not None:
            os.write(self._swap, b"%d" % (swap * MEBIBYTE))
        os.write(self._limit, b"%d" % (memory * MEBIBYTE))  # Kills at once what uses more.
        return True

    def out_of_memory(self) -> bool:
        before, self._kills = self._kills, self._count_kills()
        return self._kills > before

    def _count_kills(self) -> int:
        return _field(os.pread(self._events, 4096, 0), b"oom_kill ")

    def processes(self) -> list[int]:
        return _read_ids(self._members)

    def reset(self) -> bool:
        try:
            os.write(self._limit, b"max")
            return int(os.pread(self._usage, 64, 0)) <= REUSABLE_BYTES
        except OSError:
            return False

    def close(self) -> None:
        _close_all(self._files, [self._folder])


# --- small parts ------------------------------------------------------------------------------------------------------


def _own_groups() -> dict[str, str]:
    """This process's group by controller; version 2 under the empty name."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _make_folder(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        path.mkdir()


def _close_all(files: list[int], folders: list[Path]) -> None:
    for descriptor in files:
        os.close(descriptor)
    files.clear()
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _read_ids(descriptor: int) -> list[int]:
    text = os.pread(descriptor, 65_536, 0)
    return [int(word) for word in text.split()] if text else []


def _field(text: bytes, name: bytes) -> int:
    """The number behind a name in a file of lines; 0 on kernels that don't have it."""
    for line in text.split(b"\n"):
        if line.startswith(name):
            return int(line[len(name) :])
    return 0


def _unescape(word: str) -> str:
    """A path of /proc/self/mountinfo, where blanks are octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _refusal(folder: Path, error: OSError) -> str:
    return f"{folder}: {error.strerror or error}"
