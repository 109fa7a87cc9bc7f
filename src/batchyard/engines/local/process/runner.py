"""The runner: begins tasks as their resources are free, sees to their output and their end, and outlives the server.

It is one thread over one epoll. What it must not forget stands in its journal *before* it happens: a task is begun only
after the journal says so, and its end is told to the server only after it has been written. So whoever reads the
journal after the runner's sudden death knows for every task whether it ended, was lost, or was never begun.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import os
import select
import signal
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from batchyard.engines.local.process import tree
from batchyard.engines.local.process.cgroups import Cells
from batchyard.engines.local.process.journal import Begun, Journal, Past, Record
from batchyard.engines.local.process.output import PARTIAL_LINE_SECONDS, Output
from batchyard.engines.local.process.protocol import (
    Acknowledge,
    Hello,
    Note,
    Order,
    Recall,
    Reconcile,
    Reconciled,
    Stop,
    ToEngine,
    ToRunner,
    Welcome,
    encode_frame,
    runner_frame_reader,
)
from batchyard.engines.local.process.slots import Slot, Slots, removal_command
from batchyard.engines.local.process.spawn import MAX_REASON, CannotStart, spawn
from batchyard.kernel.messages import (
    Observation,
    TaskExited,
    TaskLost,
    TaskRecalled,
    TaskStarted,
    TaskUnknown,
)
from batchyard.logs.lines import GROUP_FILE, LineWriter, create_group, group_path, is_group, stream_path

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
KILLED = 128 + signal.SIGKILL

SEND_DELAY_SECONDS = 0.004
"""How long news may wait for company while there is other work: one message a task would cost the server a lot."""

SEND_AT_ONCE = 64
"""So many news do not wait."""

RECHECK_SECONDS = 0.02
"""How often killed processes are looked for that are not children of the runner."""

GIVE_UP_SECONDS = 10.0
"""A killed process that is still there after so long hangs in the kernel; the task's end is reported without it."""

_RECEIVE_BYTES = 256 * 1024


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
    soft_files: int
    """The soft limit on open files that programs get."""
    idle_seconds: float


@dataclass
class Link:
    """The connection to the server."""

    socket: socket.socket
    outgoing: list[ToEngine] = field(default_factory=list)
    send_by: float = 0.0
    """Monotonic seconds; the moment until which `outgoing` may wait."""
    unsent: bytearray = field(default_factory=bytearray)
    is_awake: bool = False
    """The server has said what it knows (`Reconcile`) or ordered something: from now on it hears all news."""


class Runner:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._own_id = os.getpid()
        self._null = os.open(os.devnull, os.O_RDWR)
        self._capacity = Resources()
        self._used = Resources()
        self._free_gpus: list[int] = []
        self._log_root = Path("/")
        self._group_files: dict[str, str] = {}
        self._queue: OrderedDict[str, Order] = OrderedDict()
        self._tasks: dict[str, Task] = {}
        self._by_process: dict[int, Task] = {}
        self._dying: list[Task] = []
        self._recheck_scheduled = False
        self._ended: dict[str, TaskExited | TaskLost] = dict(host.past.ended)
        self._is_past_complete = host.past.complete
        self._remover = 0
        self._link: Link | None = None
        self._reader = runner_frame_reader()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._poll = select.epoll()
        self._idle_since: float | None = None
        self._children_changed = _wakeup_on_child()
        self._watch(self._children_changed, self._on_children_changed)
        self._watch(host.listener.fileno(), self._on_connection)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until there has been nothing to do, and nobody to do it for, for a while."""
        self._remove_rubbish()
        gc.freeze()
        while not self._is_idle_for_long():
            for descriptor, event in self._poll.poll(self._patience(), 64):
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    handler(event)
            self._run_timers()
            self._begin_what_fits()
            self._send()
        self._host.slots.close()
        if self._host.cells is not None:
            self._host.cells.close()
        self._host.journal.remove()

    def _patience(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        due = [now + 3600]
        if self._timers:
            due.append(self._timers[0][0])
        if self._link is not None and self._link.outgoing:
            due.append(self._link.send_by)
        if self._idle_since is not None:
            due.append(self._idle_since + self._host.idle_seconds)
        return max(0.0, min(due) - now)

    def _is_idle_for_long(self) -> bool:
        if self._tasks or self._queue or self._ended or self._link is not None or self._remover:
            self._idle_since = None
            return False
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        return now >= self._idle_since + self._host.idle_seconds

    def _watch(self, descriptor: int, handler: Callable[[int], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def _unwatch(self, descriptor: int) -> None:
        del self._handlers[descriptor]
        self._poll.unregister(descriptor)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._timer_numbers), action))

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    # --- the server ---------------------------------------------------------------------------------------------------

    def _on_connection(self, _: int) -> None:
        """A server comes; the one before it, if any, is gone or has been replaced."""
        try:
            connection, _address = self._host.listener.accept()
        except OSError:
            return
        self._hang_up()
        connection.setblocking(False)
        self._link = Link(connection)
        self._reader = runner_frame_reader()
        self._watch(connection.fileno(), self._on_link)
        self._tell(Welcome(process_id=self._own_id, limits_memory=self._host.cells is not None, notes=self._host.notes))

    def _hang_up(self) -> None:
        if self._link is not None:
            self._unwatch(self._link.socket.fileno())
            self._link.socket.close()
            self._link = None

    def _on_link(self, event: int) -> None:
        link = self._link
        if link is None:
            return
        if event & select.EPOLLOUT:
            self._push(link)
        if not event & ~select.EPOLLOUT or self._link is not link:
            return
        try:
            data = link.socket.recv(_RECEIVE_BYTES)
            messages = self._reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, msgspec.MsgspecError):
            data, messages = b"", []
        for message in messages:
            self._obey(message)
        if not data:
            self._hang_up()

    def _tell(self, message: ToEngine) -> None:
        """To the server, soon. Without a server it is nothing: ends are kept, the rest is found out by `Reconcile`."""
        link = self._link
        if link is None:
            return
        if not link.outgoing:
            link.send_by = time.monotonic() + SEND_DELAY_SECONDS
        link.outgoing.append(message)

    def _report(self, observation: Observation) -> None:
        if self._link is not None and self._link.is_awake:
            self._tell(observation)

    def _send(self) -> None:
        link = self._link
        if link is None or not link.outgoing:
            return
        if self._queue and len(link.outgoing) < SEND_AT_ONCE and time.monotonic() < link.send_by:
            return
        link.unsent += encode_frame(link.outgoing)
        link.outgoing.clear()
        self._push(link)

    def _push(self, link: Link) -> None:
        try:
            while link.unsent:
                del link.unsent[: link.socket.send(link.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
            return
        waiting = select.EPOLLOUT if link.unsent else 0
        self._poll.modify(link.socket.fileno(), select.EPOLLIN | waiting)

    def _obey(self, message: ToRunner) -> None:
        match message:
            case Order():
                self._awaken()
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
                        self._report(TaskRecalled(task_id))
            case Reconcile():
                self._awaken()
                self._reconcile(message.expected)
            case Hello():
                self._capacity = Resources(message.vcpus, message.memory, message.gpus)
                in_use = {gpu for task in self._tasks.values() for gpu in task.gpus}
                self._free_gpus = [gpu for gpu in range(message.gpus) if gpu not in in_use]
                self._log_root = Path(message.log_root)
                self._group_files.clear()

    def _awaken(self) -> None:
        if self._link is not None:
            self._link.is_awake = True

    def _reconcile(self, expected: list[str]) -> None:
        """Exactly one answer for each expected task; the others are ended and forgotten."""
        for task_id in expected:
            self._tell(self._answer(task_id))
        self._is_past_complete = True  # What could have been lost with the past is recorded as lost by now.
        known = set(expected)
        self._queue.clear()
        for task_id in self._ended.keys() - known:
            del self._ended[task_id]
        for task in [task for task in self._tasks.values() if task.order.task_id not in known]:
            task.is_expected = False
            self._kill(task)
        self._tell(Reconciled())

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

    def _accept(self, order: Order) -> None:
        task_id = order.task_id
        if task_id not in self._queue and task_id not in self._tasks and task_id not in self._ended:
            self._queue[task_id] = order

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
            writer = self._open_log(order)
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
            self._host.slots.give_back(slot, is_empty=True)
            self._fail(order, error if isinstance(error, CannotStart) else _no_resources(error))
            return False
        finally:
            os.close(writable)
        del self._queue[order.task_id]
        task = Task(order, slot, output, gpus, process_id, _now())
        self._tasks[order.task_id] = task
        self._by_process[process_id] = task
        self._watch(readable, lambda _: self._on_output(task))
        self._report(TaskStarted(order.task_id, task.started_at))
        if not is_within_limit:
            task.is_out_of_memory = True
            self._kill(task)
        return True

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
        return process_id, cell.limit(order.memory, order.swap, order.vcpus)

    def _open_log(self, order: Order) -> LineWriter:
        group_file = self._group_files.get(order.log_group)
        if group_file is None:
            group_file = self._group_files[order.log_group] = str(
                group_path(self._log_root, order.log_group) / GROUP_FILE
            )
        if not os.path.exists(group_file):
            if order.create_log_group:
                with contextlib.suppress(OSError):  # The disk is full: the log is lost, the task runs.
                    create_group(self._log_root, order.log_group)
            elif not is_group(self._log_root, order.log_group):
                raise CannotStart(
                    "failed to validate logger args: The specified log group does not exist.",
                    exit_code=1,
                    kind="ResourceInitializationError",
                )
        return LineWriter(stream_path(self._log_root, order.log_group, order.log_stream))

    def _fail(self, order: Order, failure: CannotStart) -> None:
        del self._queue[order.task_id]
        exited = TaskExited(order.task_id, _now(), exit_code=failure.exit_code, reason=failure.reason)
        self._remember(exited)
        self._report(exited)

    # --- running ------------------------------------------------------------------------------------------------------

    def _on_output(self, task: Task) -> None:
        if not task.output.read():
            # Readable and nothing to read is the end: all who could write are gone, or have closed it.
            self._close_output(task)
        elif task.output.is_partial and not task.flush_scheduled:
            task.flush_scheduled = True
            self._after(PARTIAL_LINE_SECONDS, lambda: self._flush_partial_line(task))

    def _flush_partial_line(self, task: Task) -> None:
        task.flush_scheduled = False
        if not task.output_open or not task.output.is_partial:
            return
        waited = time.monotonic() - task.output.last_read
        if waited >= PARTIAL_LINE_SECONDS:
            task.output.flush_partial()
        else:
            task.flush_scheduled = True
            self._after(PARTIAL_LINE_SECONDS - waited, lambda: self._flush_partial_line(task))

    def _close_output(self, task: Task) -> None:
        if task.output_open:
            task.output_open = False
            self._unwatch(task.output.descriptor)
            task.output.close()

    def _stop(self, task_id: str, grace_seconds: float) -> None:
        if self._queue.pop(task_id, None) is not None:
            exited = TaskExited(task_id, _now(), reason="Stopped before it began")
            self._remember(exited)
            self._report(exited)
            return
        task = self._tasks.get(task_id)
        if task is None or task.exit_code is not None:
            return
        if grace_seconds <= 0:
            self._kill(task)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(task.process_id, signal.SIGTERM)
        self._after(grace_seconds, lambda: self._kill(task))

    def _kill(self, task: Task) -> None:
        """SIGKILL to everything of a task, unless it has ended."""
        if task.exit_code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(task.process_id, signal.SIGKILL)
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
        for process_id, exit_code in _ended_children():
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
            self._after(RECHECK_SECONDS, self._recheck)

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
        )
        del self._tasks[order.task_id]
        self._used.add(order, -1)
        self._free_gpus += task.gpus
        if task.is_expected:
            self._remember(exited)
            self._report(exited)
        else:
            self._write(exited)
        self._host.slots.give_back(task.slot, is_empty=is_empty)
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
            self._tell(Note(f"The journal of the process runner can't be written: {error.strerror or error}."))

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


def _wakeup_on_child() -> int:
    """A descriptor that becomes readable when a child has ended."""
    readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _ended_children() -> Iterator[tuple[int, int]]:
    """Process id and exit code of each child that has ended, and SIGKILL to the process group that it led.

    The group is signalled before the process is waited for, while its id can't have been given to anyone else.
    """
    while True:
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if info is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(info.si_pid, signal.SIGKILL)
        os.waitpid(info.si_pid, 0)
        yield info.si_pid, info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status
