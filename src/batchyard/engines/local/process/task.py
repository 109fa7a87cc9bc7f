"""A task that has begun, and the processes that are its."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass

from batchyard.engines.local.process import tree
from batchyard.engines.local.process.output import Output
from batchyard.engines.local.process.protocol import Order
from batchyard.engines.local.process.slots import Slot


@dataclass(eq=False)
class Task:
    order: Order
    slot: Slot
    output: Output
    gpus: list[int]
    process_id: int
    started_at: int
    exit_code: int | None = None
    ended_at: int = 0
    """When the program itself ended; what it left behind may still be dying."""
    give_up_at: float = 0.0
    is_out_of_memory: bool = False
    is_weighed: bool = False
    is_expected: bool = True
    """False: the server does not know it, and it is being ended without a report."""

    def processes(self) -> list[int]:
        if self.slot.cell is not None:
            return self.slot.cell.processes()
        return tree.processes_of((self.order.task_id,), session=self.process_id)

    def ask_to_end(self) -> None:
        """SIGTERM to its first process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process_id, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything of a task, unless its program has ended."""
        if self.exit_code is None:
            tree.kill(self.processes())
