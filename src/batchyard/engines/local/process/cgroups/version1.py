"""Version 1. Memory is limited from the first moment. CPU time has a hierarchy of its own, and to be moved there costs
the mover its turn on a busy machine, more than a short task takes: it is done for tasks that have run for a while."""

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
from batchyard.engines.local.process.cgroups.mounts import find_mount, remove_leftovers

_FILES = FileNames(
    entrance="tasks",
    limit="memory.limit_in_bytes",
    swap_limit="memory.memsw.limit_in_bytes",
    usage="memory.usage_in_bytes",
    kills="memory.oom_control",
)
_UNLIMITED = b"-1"


class Version1Cells:
    def __init__(self, parent: Path, name: str, home: Path) -> None:
        self._memory, self._home = parent / name, home
        self._cpu = _make_cpu_folder(name)
        try:
            make_folder(self._memory)
            self.make(0).close()  # Shows whether this host allows all that is needed.
        except OSError:
            self.close()
            raise

    @property
    def folders(self) -> list[str]:
        return [str(folder) for folder in (self._memory, self._cpu) if folder]

    def make(self, number: int) -> Cell:
        return _Cell(self._memory / str(number), self._home, self._cpu / str(number) if self._cpu else None)

    def close(self) -> None:
        for folder in self.folders:
            remove_leftovers(folder)


class _Cell(Cell):
    def __init__(self, memory: Path, home: Path, cpu: Path | None) -> None:
        self._cpu = cpu
        self._is_weighed = False
        super().__init__(memory, home, _FILES)

    def limit(self, memory: int, swap: int) -> bool:
        try:
            os.write(self._limit, b"%d" % (memory * MEBIBYTE))
            if self._swap_limit is not None:
                os.write(self._swap_limit, b"%d" % ((memory + swap) * MEBIBYTE))
        except OSError:
            return False  # EBUSY: not even reclaiming brings it below the limit.
        return True

    def weigh(self, vcpus: int) -> None:
        if self._cpu is None:
            return
        with contextlib.suppress(OSError):
            make_folder(self._cpu)
            self._is_weighed = True
            (self._cpu / "cpu.shares").write_text(str(max(FEWEST_SHARES, vcpus * SHARES_PER_VCPU // 1000)))
            moved: set[int] = set()
            while new := set(self.processes()) - moved:  # They may start others meanwhile.
                for process_id in new:
                    with contextlib.suppress(ProcessLookupError):
                        (self._cpu / "cgroup.procs").write_text(str(process_id))
                moved |= new

    def close(self) -> None:
        super().close()
        if self._cpu is not None:
            with contextlib.suppress(OSError):
                self._cpu.rmdir()

    def _lift(self) -> None:
        if self._is_weighed and self._cpu is not None:
            self._is_weighed = False
            self._cpu.rmdir()
        if self._swap_limit is not None:  # Never below the other one.
            os.write(self._swap_limit, _UNLIMITED)
        os.write(self._limit, _UNLIMITED)


def _make_cpu_folder(name: str) -> Path | None:
    """A folder for CPU weights. Best effort: without it all tasks weigh the same for each process they have."""
    mount = find_mount("cpu")
    if mount is None:
        return None
    for parent in dict.fromkeys((mount.own, mount.top)):
        with contextlib.suppress(OSError):
            make_folder(parent / name)
            return parent / name
    return None
