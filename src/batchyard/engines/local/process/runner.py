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
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from batchyard.engines.local.process import tree
from batchyard.engines.local.process.cgroups import Cells
from batchyard.engines.local.process.journal import Begun, Journal, Past, Record
from batchyard.engines.local.process.link import Link
from batchyard.engines.local.process.loop import Loop, ended_children, open_child_signal
from batchyard.engines.local.process.output import PARTIAL_LINE_SECONDS, Output
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

RECHECK_SECONDS = 0.02
"""How often killed processes are looked for that are not children of the runner."""

GIVE_UP_SECONDS = 10.0
"""A killed process that is still there after so long hangs in the kernel; the task's end is reported without it."""


@dataclass(eq=False)
class Task:
    """A task that has begun."""

    order: Order
    slot: Slot
    output: Output
    gpus: list[int]
    process_id: int
    started_at: int
    output_open: bool = True
    flush_scheduled: bool = False
    exit_code: int | None = None
    ended_at: int = 0
    """When the program itself ended; what it left behind may still be dying."""
    give_up_at: float = 0.0
    is_out_of_memory: bool = False
    is_weighed: bool = False
    is_expected: bool = True
    """False: the server does not know it, and it is being ended without a report."""


@dataclass
class Resources:
    """What may be used, or is in use, at the same time."""

    vcpus: int = 0
    """Thousandths."""
    memory: int = 0
    """MiB."""
    gpus: int = 0

    def fits(self, order: Order, used: Resources) -> bool:
        return (
            used.vcpus + order.vcpus <= self.vcpus
            and used.memory + order.memory <= self.memory
            and used.gpus + order.gpus <= self.gpus
        )

    def add(self, order: Order, sign: int) -> None:
        self.vcpus += sign * order.vcpus
        self.memory += sign * order.memory
        self.gpus += sign * order.gpus


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
        self._own_id = os.getpid()
        self._null = os.open(os.devnull, os.O_RDWR)
        self._capacity = Resources()
        self._used = Resources()
        self._free_gpus: list[int] = []
        self._streams = Streams(Path("/"))
        self._queue: OrderedDict[str, Order] = OrderedDict()
        self._tasks: dict[str, Task] = {}
        self._by_process: dict[int, Task] = {}
        self._dying: list[Task] = []
        self._recheck_scheduled = False
        self._weighing_scheduled = False
        self._ended: dict[str, TaskExited | TaskLost] = dict(host.past.ended)
        self._is_past_complete = host.past.complete
        self._remover = 0
        self._idle_until = float("inf")
        self._is_told_to_end = False
        self._loop = Loop()
        self._children_changed = open_child_signal()
        self._loop.watch(self._children_changed, self._on_children_changed)
        welcome = Welcome(process_id=self._own_id, limits_memory=host.cells is not None, notes=host.notes)
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
            self._link.send(may_wait=bool(self._queue))
        self._end_all_tasks()
        self._host.slots.close()
        if self._host.cells is not None:
            self._host.cells.close()
        if not self._tasks and not self._ended:
            self._host.journal.remove()

    def _on_sigterm(self, *_: object) -> None:
        self._is_told_to_end = True

    def _end_all_tasks(self) -> None:
        """The host goes down, or its operator wants everything to end: no task outlives its runner. Nothing is written
        about it, so they are lost, as they would be if the host had failed."""
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        left = [*self._tasks.values()]
        while left and time.monotonic() < give_up_at:
            for task in left:
                self._kill(task)
            for process_id, _ in ended_children():
                self._by_process.pop(process_id, None)
            left = [task for task in left if task.process_id in self._by_process or self._processes_of(task)]
            if left:
                time.sleep(RECHECK_SECONDS)

    def _is_idle_for_long(self) -> bool:
        if self._tasks or self._queue or self._ended or self._remover or self._link.is_connected:
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
                    if self._queue.pop(task_id, None) is not None:
                        self._link.report(TaskRecalled(task_id))
            case Reconcile():
                self._reconcile(message.expected)
            case Hello():
                self._capacity = Resources(message.vcpus, message.memory, message.gpus)
                in_use = {gpu for task in self._tasks.values() for gpu in task.gpus}
                self._free_gpus = [gpu for gpu in range(message.gpus) if gpu not in in_use]
                self._streams = Streams(Path(message.log_root))

    def _accept(self, order: Order) -> None:
        task_id = order.task_id
        if task_id not in self._queue and task_id not in self._tasks and task_id not in self._ended:
            self._queue[task_id] = order

    def _reconcile(self, expected: list[str]) -> None:
        """Exactly one answer for each expected task; the others are ended and forgotten."""
        for task_id in expected:
            self._link.tell(self._answer(task_id))
        self._is_past_complete = True  # What could have been lost with the past is recorded as lost by now.
        known = set(expected)
        self._queue.clear()
        for task_id in self._ended.keys() - known:
            del self._ended[task_id]
        for task in [task for task in self._tasks.values() if task.order.task_id not in known]:
            task.is_expected = False
            self._kill(task)
        self._link.tell(Reconciled())

    def _answer(self, task_id: str) -> Observation:
        task = self._tasks.get(task_id)
        if task is not None:
            return TaskStarted(task_id, task.started_at)
        if task_id in self._ended:
            return self._ended[task_id]
        if task_id in self._queue or self._is_past_complete:
            return TaskUnknown(task_id)
        lost = TaskLost(task_id, _now())
        self._remember(lost)
        return lost

    # --- beginning ----------------------------------------------------------------------------------------------------

    def _begin_what_fits(self) -> None:
        """Begin queued tasks in the order given. The first that does not fit holds up those behind it."""
        while self._queue:
            order = next(iter(self._queue.values()))
            if not self._capacity.fits(order, self._used):
                if self._capacity.fits(order, Resources()):
                    return
                text = f"{order.vcpus / 1000:g} vCPUs, {order.memory} MiB and {order.gpus} GPUs are more than there is"
                self._fail(order, CannotStart(text))
                continue
            self._used.add(order, 1)
            if not self._begin(order):
                self._used.add(order, -1)

    def _begin(self, order: Order) -> bool:
        try:
            writer = self._streams.open(order)
        except CannotStart as failure:
            self._fail(order, failure)
            return False
        try:
            slot = self._host.slots.take()
            readable, writable = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            writer.close(_now())
            self._fail(order, _no_resources(error))
            return False
        os.set_blocking(readable, False)
        output = Output(readable, writer)
        gpus = [self._free_gpus.pop() for _ in range(order.gpus)] if order.gpus else []
        try:
            self._host.journal.append(Begun(order.task_id, _now()))
            process_id, is_within_limit = self._spawn(order, slot, writable, gpus)
        except (CannotStart, OSError) as error:
            output.close()
            self._free_gpus += gpus
            self._host.slots.give_back(slot, is_empty=order.files is None)
            self._fail(order, error if isinstance(error, CannotStart) else _no_resources(error))
            return False
        finally:
            os.close(writable)
        del self._queue[order.task_id]
        task = Task(order, slot, output, gpus, process_id, _now())
        self._tasks[order.task_id] = task
        self._by_process[process_id] = task
        self._loop.watch(readable, lambda _: self._on_output(task))
        self._link.report(TaskStarted(order.task_id, task.started_at))
        if not is_within_limit:
            task.is_out_of_memory = True
            self._kill(task)
        if not self._weighing_scheduled:
            self._weighing_scheduled = True
            self._loop.after(WEIGH_SECONDS, self._weigh)
        return True

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

    def _fail(self, order: Order, failure: CannotStart) -> None:
        del self._queue[order.task_id]
        exited = TaskExited(order.task_id, _now(), exit_code=failure.exit_code, reason=failure.reason)
        self._remember(exited)
        self._link.report(exited)

    # --- running ------------------------------------------------------------------------------------------------------

    def _on_output(self, task: Task) -> None:
        if not task.output.read():
            # Readable and nothing to read is the end: all who could write are gone, or have closed it.
            self._close_output(task)
        elif task.output.is_partial and not task.flush_scheduled:
            task.flush_scheduled = True
            self._loop.after(PARTIAL_LINE_SECONDS, lambda: self._flush_partial_line(task))

    def _flush_partial_line(self, task: Task) -> None:
        task.flush_scheduled = False
        if not task.output_open or not task.output.is_partial:
            return
        waited = time.monotonic() - task.output.last_read
        if waited >= PARTIAL_LINE_SECONDS:
            task.output.flush_partial()
        else:
            task.flush_scheduled = True
            self._loop.after(PARTIAL_LINE_SECONDS - waited, lambda: self._flush_partial_line(task))

    def _close_output(self, task: Task) -> None:
        if task.output_open:
            task.output_open = False
            self._loop.unwatch(task.output.descriptor)
            task.output.close()

    def _stop(self, task_id: str, grace_seconds: float) -> None:
        if self._queue.pop(task_id, None) is not None:
            exited = TaskExited(task_id, _now(), reason=NEVER_BEGAN)
            self._remember(exited)
            self._link.report(exited)
            return
        task = self._tasks.get(task_id)
        if task is None or task.exit_code is not None:
            return
        if grace_seconds <= 0:
            self._kill(task)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(task.process_id, signal.SIGTERM)
        self._loop.after(grace_seconds, lambda: self._kill(task))

    def _kill(self, task: Task) -> None:
        """SIGKILL to everything of a task, unless it has ended."""
        if task.exit_code is None:
            tree.kill(self._processes_of(task))

    def _processes_of(self, task: Task) -> list[int]:
        if task.slot.cell is not None:
            return task.slot.cell.processes()
        return tree.processes_of((task.order.task_id,), session=task.process_id)

    # --- ending -------------------------------------------------------------------------------------------------------

    def _on_children_changed(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._children_changed, 4096)
        is_other_gone = False
        for process_id, exit_code in ended_children():
            task = self._by_process.pop(process_id, None)
            if task is not None:
                self._on_program_ended(task, exit_code)
            else:
                is_other_gone = True
                if process_id == self._remover:
                    self._remover = 0
                    self._remove_rubbish()
        if is_other_gone:
            self._look_after_the_dying()

    def _on_program_ended(self, task: Task, exit_code: int) -> None:
        """Kill what the program left behind. The task ends when all of it is gone."""
        task.exit_code, task.ended_at = exit_code, _now()
        left = self._left_behind(task)
        if not left:
            self._finish(task, is_empty=True)
            return
        tree.kill(left)
        task.give_up_at = time.monotonic() + GIVE_UP_SECONDS
        self._dying.append(task)
        self._schedule_recheck()

    def _left_behind(self, task: Task) -> list[int]:
        """Living processes of a task whose program has ended."""
        if task.slot.cell is not None:
            return task.slot.cell.processes()
        # All that it started and that lost its parent has become a child of the runner.
        strays = set(tree.children(self._own_id)) - self._by_process.keys() - {self._remover}
        if not strays:
            return []
        left = set(tree.processes_of((task.order.task_id,), session=task.process_id))
        if not self._by_process:
            left |= {process_id for process_id in strays if tree.is_alive(process_id)}  # Whose else could they be?
        return list(left)

    def _look_after_the_dying(self) -> None:
        """Finish the ended tasks of which nothing is left."""
        dying, self._dying = self._dying, []
        for task in dying:
            left = self._left_behind(task)
            if not left or time.monotonic() >= task.give_up_at:
                self._finish(task, is_empty=not left)
            else:
                tree.kill(left)
                self._dying.append(task)
        self._schedule_recheck()

    def _schedule_recheck(self) -> None:
        if self._dying and not self._recheck_scheduled:
            self._recheck_scheduled = True
            self._loop.after(RECHECK_SECONDS, self._recheck)

    def _recheck(self) -> None:
        self._recheck_scheduled = False
        self._look_after_the_dying()

    def _finish(self, task: Task, *, is_empty: bool) -> None:
        order, cell = task.order, task.slot.cell
        self._close_output(task)
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
        self._used.add(order, -1)
        self._free_gpus += task.gpus
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
        if self._remover:
            return
        rubbish = self._host.slots.take_rubbish()
        command = removal_command(rubbish) if rubbish else None
        if command is not None:
            with contextlib.suppress(OSError):
                self._remover = os.posix_spawn(command[0], command, {})


def _now() -> int:
    return time.time_ns() // 1_000_000


def _no_resources(error: OSError) -> CannotStart:
    return CannotStart((error.strerror or str(error))[:MAX_REASON], kind="ResourceInitializationError")
