"""The runner: begins tasks as their resources are free, sees to their output and their end, and outlives the server.

It is one thread over one epoll. What it must not forget stands in its journal *before* it happens: a task is begun only
after the journal says so, and its end is told to the server only after it has been written. So whoever reads the
journal after the runner's sudden death knows for every task whether it ended, was lost, or was never begun.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from batchyard.engines.local.process.admission import Line, Resources
from batchyard.engines.local.process.cgroups import Cells
from batchyard.engines.local.process.endings import Endings
from batchyard.engines.local.process.journal import Begun, Journal, Past, Record
from batchyard.engines.local.process.link import Link
from batchyard.engines.local.process.loop import Loop
from batchyard.engines.local.process.output import Output
from batchyard.engines.local.process.private_files import read_message
from batchyard.engines.local.process.protocol import (
    NEVER_BEGAN,
    Acknowledge,
    Hello,
    Note,
    Order,
    Recall,
    Reconcile,
    Reconciled,
    Stop,
    ToRunner,
    Welcome,
)
from batchyard.engines.local.process.slots import Slot, Slots, removal_command
from batchyard.engines.local.process.spawn import MAX_REASON, CannotStart, spawn
from batchyard.engines.local.process.streams import Streams
from batchyard.engines.local.process.task import Task
from batchyard.kernel.messages import (
    Observation,
    TaskExited,
    TaskLost,
    TaskRecalled,
    TaskStarted,
    TaskUnknown,
)

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"

FIRST_SERVER_SECONDS = 15.0
"""How long a new runner waits for the server that started it."""

WEIGH_SECONDS = 1.0
"""How long a task runs before its share of CPU time is enforced."""


@dataclass
class Host:
    """What the runner found on its host and was given when it was set up."""

    listener: socket.socket
    journal: Journal
    slots: Slots
    cells: Cells | None
    past: Past
    notes: list[str]
    soft_files: int | None
    """The soft limit on open files that programs get, when the runner has raised its own."""
    idle_seconds: float


class Runner:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._null = os.open(os.devnull, os.O_RDWR)
        self._line = Line()
        self._streams = Streams(Path("/"))
        self._tasks: dict[str, Task] = {}
        self._weighing_scheduled = False
        self._ended: dict[str, TaskExited | TaskLost] = dict(host.past.ended)
        self._is_past_complete = host.past.complete
        self._is_removing = False
        self._idle_until = float("inf")
        self._is_told_to_end = False
        self._loop = Loop()
        self._endings = Endings(self._loop, self._finish)
        welcome = Welcome(process_id=os.getpid(), limits_memory=host.cells is not None, notes=host.notes)
        self._link = Link(self._loop, host.listener, welcome, self._obey)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until there has been nothing to do, and nobody to do it for, for a while; or until SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self._remove_rubbish()
        gc.freeze()
        while not self._is_told_to_end and not self._is_idle_for_long():
            self._loop.turn(until=min(self._link.due, self._idle_until))
            self._begin_what_fits()
            self._link.send(may_wait=bool(self._line))
        # The host goes down, or its operator wants everything to end: no task outlives its runner. Nothing is written about
        # it, so they are lost, as they would be if the host had failed.
        self._endings.end_all(self._tasks.values())
        self._host.slots.close()
        if self._host.cells is not None:
            self._host.cells.close()
        if not self._tasks and not self._ended:
            self._host.journal.remove()

    def _on_sigterm(self, *_: object) -> None:
        self._is_told_to_end = True

    def _is_idle_for_long(self) -> bool:
        if self._tasks or self._line or self._ended or self._is_removing or self._link.is_connected:
            self._idle_until = float("inf")
            return False
        now = time.monotonic()
        patience = self._host.idle_seconds if self._link.has_met_server else FIRST_SERVER_SECONDS
        self._idle_until = min(self._idle_until, now + patience)
        return now >= self._idle_until

    # --- what the server wants ----------------------------------------------------------------------------------------

    def _obey(self, message: ToRunner) -> None:
        match message:
            case Order():
                self._accept(message)
            case Acknowledge():
                for task_id in message.task_ids:
                    self._ended.pop(task_id, None)
                self._compact_journal()
            case Stop():
                self._stop(message.task_id, message.grace_seconds)
            case Recall():
                for task_id in message.task_ids:
                    if self._line.leave(task_id):
                        self._link.report(TaskRecalled(task_id))
            case Reconcile():
                self._reconcile(message.expected)
            case Hello():
                gpus_in_use = {gpu for task in self._tasks.values() for gpu in task.gpus}
                self._line.resize(Resources(message.vcpus, message.memory, message.gpus), gpus_in_use)
                self._streams = Streams(Path(message.log_root))

    def _accept(self, order: Order) -> None:
        task_id = order.task_id
        if task_id not in self._line and task_id not in self._tasks and task_id not in self._ended:
            self._line.join(order)

    def _reconcile(self, expected: list[str]) -> None:
        """Exactly one answer for each expected task; the others are ended and forgotten."""
        for task_id in expected:
            self._link.tell(self._answer(task_id))
        self._is_past_complete = True  # What could have been lost with the past is recorded as lost by now.
        known = set(expected)
        self._line.clear()
        for task_id in self._ended.keys() - known:
            del self._ended[task_id]
        for task in [task for task in self._tasks.values() if task.order.task_id not in known]:
            task.is_expected = False
            task.kill()
        self._link.tell(Reconciled())

    def _answer(self, task_id: str) -> Observation:
        task = self._tasks.get(task_id)
        if task is not None:
            return TaskStarted(task_id, task.started_at)
        if task_id in self._ended:
            return self._ended[task_id]
        if task_id in self._line or self._is_past_complete:
            return TaskUnknown(task_id)
        lost = TaskLost(task_id, _now())
        self._remember(lost)
        return lost

    # --- beginning ----------------------------------------------------------------------------------------------------

    def _begin_what_fits(self) -> None:
        while (order := self._line.first()) is not None:
            try:
                self._begin(order, self._line.admit(order))
            except CannotStart as failure:
                self._never_began(order.task_id, failure.reason, failure.exit_code)

    def _begin(self, order: Order, gpus: list[int]) -> None:
        """Start an admitted task, or release what it was given: `CannotStart`."""
        try:
            task, is_within_limit = self._start(order, gpus)
        except CannotStart:
            self._line.release(order, gpus)
            raise
        self._tasks[order.task_id] = task
        self._endings.await_program(task)
        task.output.follow()
        self._link.report(TaskStarted(order.task_id, task.started_at))
        if not is_within_limit:
            task.is_out_of_memory = True
            task.kill()
        if not self._weighing_scheduled:
            self._weighing_scheduled = True
            self._loop.after(WEIGH_SECONDS, self._weigh)

    def _start(self, order: Order, gpus: list[int]) -> tuple[Task, bool]:
        """The task, with its program running. The second value: it has kept to its memory limit so far."""
        writer = self._streams.open(order)
        try:
            slot = self._host.slots.take()
            readable, writable = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            writer.close(_now())
            raise _no_resources(error) from None
        os.set_blocking(readable, False)
        output = Output(self._loop, readable, writer)
        try:
            self._host.journal.append(Begun(order.task_id, _now()))
            process_id, is_within_limit = self._spawn(order, slot, writable, gpus)
        except (CannotStart, OSError) as error:
            output.close()
            self._host.slots.give_back(slot, is_empty=order.files is None)
            raise error if isinstance(error, CannotStart) else _no_resources(error) from None
        finally:
            os.close(writable)
        return Task(order, slot, output, gpus, process_id, _now()), is_within_limit

    def _weigh(self) -> None:
        """Give the tasks that have run for a while their shares of CPU time."""
        long_ago = _now() - WEIGH_SECONDS * 1000
        waiting = [task for task in self._tasks.values() if not task.is_weighed]
        for task in waiting:
            if task.started_at <= long_ago and task.slot.cell is not None:
                task.is_weighed = True
                task.slot.cell.weigh(task.order.vcpus)
        self._weighing_scheduled = bool(waiting)
        if waiting:
            self._loop.after(WEIGH_SECONDS / 2, self._weigh)

    def _spawn(self, order: Order, slot: Slot, output: int, gpus: list[int]) -> tuple[int, bool]:
        """Start the program inside its control group. The second value: it has kept to its limit so far."""
        cell = slot.cell
        if cell is None:
            return spawn(order, slot, output, self._null, gpus, self._host.soft_files), True
        try:
            cell.enter()
            process_id = spawn(order, slot, output, self._null, gpus, self._host.soft_files)
        finally:
            cell.leave()
        return process_id, cell.limit(order.memory, order.swap)

    def _never_began(self, task_id: str, reason: str, exit_code: int | None = None) -> None:
        exited = TaskExited(task_id, _now(), exit_code=exit_code, reason=reason)
        self._remember(exited)
        self._link.report(exited)

    # --- ending -------------------------------------------------------------------------------------------------------

    def _stop(self, task_id: str, grace_seconds: float) -> None:
        if self._line.leave(task_id):
            self._never_began(task_id, NEVER_BEGAN)
            return
        task = self._tasks.get(task_id)
        if task is None or task.exit_code is not None:
            return
        if grace_seconds <= 0:
            task.kill()
            return
        task.ask_to_end()
        self._loop.after(grace_seconds, task.kill)

    def _finish(self, task: Task, is_empty: bool) -> None:
        order, cell = task.order, task.slot.cell
        task.output.close()
        if cell is not None and cell.out_of_memory():
            task.is_out_of_memory = True
        exited = TaskExited(
            order.task_id,
            task.ended_at,
            exit_code=task.exit_code,
            reason=OUT_OF_MEMORY if task.is_out_of_memory and task.exit_code else None,
            started_at=task.started_at,
            message=read_message(order.files, task.slot.tree) if order.files is not None else None,
        )
        del self._tasks[order.task_id]
        self._line.release(order, task.gpus)
        if task.is_expected:
            self._remember(exited)
            self._link.report(exited)
        else:
            self._write(exited)
        self._host.slots.give_back(task.slot, is_empty=is_empty and order.files is None)
        self._remove_rubbish()

    # --- remembering --------------------------------------------------------------------------------------------------

    def _remember(self, end: TaskExited | TaskLost) -> None:
        """Keep the end of a task until the server has acknowledged it."""
        self._ended[end.task_id] = end
        self._write(end)

    def _write(self, record: Record) -> None:
        try:
            self._host.journal.append(record)
        except OSError as error:
            # It is still known as long as the runner lives, and the next rewriting of the journal includes it.
            self._link.tell(Note(f"The journal of the process runner can't be written: {error.strerror or error}."))

    def _compact_journal(self) -> None:
        if self._host.journal.is_long:
            begun = [Begun(task.order.task_id, task.started_at) for task in self._tasks.values()]
            with contextlib.suppress(OSError):  # The old one goes on.
                self._host.journal.rewrite([*begun, *self._ended.values()])

    def _remove_rubbish(self) -> None:
        """Remove, by a process of its own, what tasks left in their directories."""
        if self._is_removing:
            return
        rubbish = self._host.slots.take_rubbish()
        command = removal_command(rubbish) if rubbish else None
        if command is not None:
            with contextlib.suppress(OSError):
                self._endings.await_helper(os.posix_spawn(command[0], command, {}), self._on_rubbish_removed)
                self._is_removing = True

    def _on_rubbish_removed(self) -> None:
        self._is_removing = False
        self._remove_rubbish()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _no_resources(error: OSError) -> CannotStart:
    return CannotStart((error.strerror or str(error))[:MAX_REASON], kind="ResourceInitializationError")
