"""Which tasks have been begun: one small file for each, on disk before the daemon is told to start the container.

A container can vanish: somebody removes it, or the daemon's data are wiped. Only this record tells a task that has
vanished (it may have run: lost) from one that never began (safe to order again).
"""

from __future__ import annotations

import os
from pathlib import Path


class BegunRecords:
    """The records in one folder, which is made when missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, task_id: str) -> None:
        """Record that a task is being begun. On return the record survives a power cut."""
        descriptor = os.open(self._folder / task_id, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.close(descriptor)
        self._synchronise()

    def remove(self, task_id: str) -> None:
        """Forget a task. Losing the removal in a power cut does no harm: the next reconciliation forgets it again."""
        (self._folder / task_id).unlink(missing_ok=True)

    def has(self, task_id: str) -> bool:
        return (self._folder / task_id).exists()

    def task_ids(self) -> list[str]:
        return os.listdir(self._folder)

    def _synchronise(self) -> None:
        """An empty file is nothing but its entry in the folder."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
