"""The process runtime as an engine: starts the runner where there is none, gives it orders, and hands on its news.

The engine remembers what it has ordered until its end is reported. When the runner is gone (killed, or ended by itself
because it had nothing to do), another is started and asked about everything that was ordered: what had begun is lost or
has ended, what had not begun is ordered again. The control loop sees nothing of it but observations.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from batchyard.engines.base import Capacity, TaskSpec
from batchyard.engines.local.process import protocol
from batchyard.engines.local.process.daemon import LOG, SOCKET
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
    ToEngine,
    ToRunner,
    Welcome,
)
from batchyard.kernel.messages import Observation, TaskExited, TaskLost, TaskRecalled, TaskStarted, TaskUnknown

logger = logging.getLogger(__name__)

DEFAULT_LEAD = 256
"""Tasks handed over ahead: a sixth of a second's worth of the shortest ones."""

CONNECT_PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5
"""Between attempts to start a runner that does not start."""

_RECEIVE_BYTES = 256 * 1024

_PASSED_ON = ("LANG", "LC_ALL", "PYTHONPATH")
"""All that the runner gets of the server's environment: its tasks could read it in /proc."""


class RunnerError(Exception):
    """The runner can't be started; the text says why, for the operator."""


class ProcessEngine:
    """An :class:`~batchyard.engines.base.Engine` that runs commands on this host.

    `data_dir` is where the runner keeps its files and scratch directories (in `process/`); a task that runs as another
    user reaches its own directory only if others may pass through (mode 0711). `vcpus`, `memory` (MiB) and `gpus` are
    what tasks may use at the same time, and `lead` how many more may be handed over ahead.

    :attr:`notes` says, once open, what this host does not allow (memory limits, above all).
    """

    def __init__(
        self,
        data_dir: Path,
        log_root: Path,
        vcpus: float,
        memory: int,
        lead: int = DEFAULT_LEAD,
        *,
        gpus: int = 0,
        idle_seconds: float = 30.0,
    ) -> None:
        self._folder = data_dir.absolute() / "process"
        self._log_root = log_root.absolute()
        self._capacity = Capacity(vcpus=vcpus, memory=memory, gpus=gpus, lead=lead)
        self._idle_seconds = idle_seconds
        self.notes: list[str] = []
        self.limits_memory = False
        """Are memory limits enforced on this host?"""
        self.runner_process_id: int | None = None
        self._post: Callable[[Observation], None] = _nobody
        self._known: dict[str, Order | None] = {}
        """What the runner ought to know and has not ended: with the order, when this object gave it."""
        self._started: set[str] = set()
        """Those of them whose start has been reported."""
        self._unacknowledged: set[str] = set()
        """Ended and reported, but not yet committed: the runner has to keep these ends."""
        self._stopped: dict[str, float] = {}
        """Known tasks that are to end, with the grace."""
        self._recalled: set[str] = set()
        """Known tasks that are wanted back."""
        self._outgoing: list[ToRunner] = []
        self._lost_orders: list[ToRunner] = []
        """Orders that no runner has received, found out while getting in step."""
        self._flush_scheduled = False
        self._is_in_step = False
        """Connected, and all that was known has been answered for."""
        self._in_step_again: list[asyncio.Future[None]] = []
        self._writer: asyncio.StreamWriter | None = None
        self._keeper: asyncio.Task[None] | None = None

    # --- the contract -------------------------------------------------------------------------------------------------

    async def open(self, post: Callable[[Observation], None]) -> Capacity:
        """Raises `RunnerError` when the runner can't be started."""
        self._post = post
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o711)
        connection = await self._connect()
        self._is_in_step = True
        self._keeper = asyncio.create_task(self._keep(connection), name="process engine")
        return self._capacity

    async def reconcile(self, expected: Sequence[str]) -> None:
        """Returns when all answers have been posted."""
        self._known = {task_id: self._known.get(task_id) for task_id in expected}
        self._started.clear()
        self._unacknowledged.clear()
        self._stopped.clear()
        self._recalled.clear()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_step_again.append(done)
        if self._is_in_step:
            self._send(Reconcile(list(expected)))
        await done

    def start(self, tasks: Sequence[TaskSpec]) -> None:
        for task in tasks:
            if task.task_id not in self._known and task.task_id not in self._unacknowledged:
                order = order_of(task)
                self._known[task.task_id] = order
                self._send(order)

    def stop(self, task_id: str, grace_seconds: float) -> None:
        if task_id in self._known:
            self._stopped[task_id] = grace_seconds
            self._send(Stop(task_id, grace_seconds))

    def recall(self, task_ids: Sequence[str]) -> None:
        wanted = [task_id for task_id in task_ids if task_id in self._known]
        self._recalled.update(wanted)
        self._send(Recall(wanted))

    def acknowledge(self, task_ids: Sequence[str]) -> None:
        self._unacknowledged.difference_update(task_ids)
        self._send(Acknowledge(list(task_ids)))

    async def close(self) -> None:
        self._flush()
        if self._keeper is not None:
            writer = self._writer
            if writer is not None:
                with contextlib.suppress(OSError):
                    await writer.drain()
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        self._hang_up()
        self._post = _nobody

    # --- orders -------------------------------------------------------------------------------------------------------

    def _send(self, message: ToRunner) -> None:
        """To the runner, together with all else of this turn of the loop; or when there is a runner again."""
        self._outgoing.append(message)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if not self._outgoing or not self._is_in_step or self._writer is None:
            return
        messages, self._outgoing = self._outgoing, []
        try:
            frame = protocol.encode_frame(messages)
        except UnicodeEncodeError:
            frame = protocol.encode_frame([message for message in messages if not self._fails(message)])
        self._writer.write(frame)

    def _fails(self, message: ToRunner) -> bool:
        """Is this a task whose command or environment can't be passed to any program? Then it has ended."""
        try:
            protocol.encode_frame([message])
        except UnicodeEncodeError as error:
            if isinstance(message, Order):
                reason = f"CannotStartContainerError: the command or the environment is no valid text: {error.reason}"
                self._end(TaskExited(message.task_id, time.time_ns() // 1_000_000, reason=reason))
            return True
        return False

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _keep(self, connection: Connection) -> None:
        """Listen to the runner, and get another when it is gone."""
        while True:
            await self._listen(connection)
            self._is_in_step = False
            self._hang_up()
            logger.warning("The process runner is gone. Starting another.")
            connection = await self._connect_at_last()
            connection.writer.write(protocol.encode_frame([Reconcile([*self._known, *self._unacknowledged])]))

    async def _listen(self, connection: Connection) -> None:
        """Hand on the runner's news until the connection ends."""
        while messages := await connection.receive():
            for message in messages:
                self._hear(message)

    def _hear(self, message: ToEngine) -> None:
        match message:
            case TaskStarted():
                if message.task_id in self._known and message.task_id not in self._started:
                    self._started.add(message.task_id)
                    self._post(message)
            case TaskExited() | TaskLost():
                self._end(message)
            case TaskRecalled():
                self._forget(message)
            case TaskUnknown():
                self._order_again(message)
            case Reconciled():
                self._get_in_step()
            case Note():
                self._note(message.text)
            case Welcome():
                pass  # It came first, and was read by `_connect`.

    def _end(self, end: TaskExited | TaskLost) -> None:
        if end.task_id in self._known:
            self._unacknowledged.add(end.task_id)
            self._forget(end)

    def _forget(self, last: Observation) -> None:
        """The last that is to be said about a task. What is heard twice is handed on once."""
        if last.task_id in self._known:
            del self._known[last.task_id]
            self._started.discard(last.task_id)
            self._stopped.pop(last.task_id, None)
            self._recalled.discard(last.task_id)
            self._post(last)

    def _order_again(self, unknown: TaskUnknown) -> None:
        """A task that was ordered, by this object or by an earlier server, and that no runner has ever begun."""
        task_id = unknown.task_id
        order = self._known.get(task_id)
        if order is None:
            self._forget(unknown)
        elif task_id in self._stopped:
            self._forget(TaskExited(task_id, time.time_ns() // 1_000_000, reason=NEVER_BEGAN))
        elif task_id in self._recalled:
            self._forget(TaskRecalled(task_id))
        else:
            self._lost_orders.append(order)

    def _get_in_step(self) -> None:
        """All that was known has been answered for: catch up on what was asked for meanwhile."""
        stops = [Stop(task_id, grace) for task_id, grace in self._stopped.items()]
        self._outgoing = [*self._lost_orders, *self._outgoing, *stops]
        self._lost_orders.clear()
        self._is_in_step = True
        self._flush()
        for done in self._in_step_again:
            if not done.done():
                done.set_result(None)
        self._in_step_again.clear()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            logger.warning(text)

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _connect_at_last(self) -> Connection:
        while True:
            try:
                return await self._connect()
            except RunnerError as error:
                logger.error("%s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> Connection:
        """Connect to the runner, after starting one when there is none. It is there when its `Welcome` has come."""
        give_up_at = time.monotonic() + CONNECT_PATIENCE_SECONDS
        while True:
            try:
                connection = await Connection.open(self._folder / SOCKET)
                match await connection.receive():
                    case [Welcome() as welcome]:
                        connection.writer.write(protocol.encode_frame([self._hello()]))
                        self._writer = connection.writer
                        self.runner_process_id = welcome.process_id
                        self.limits_memory = welcome.limits_memory
                        for note in welcome.notes:
                            self._note(note)
                        return connection
                connection.writer.close()  # It was just about to end.
            except OSError as error:
                if time.monotonic() > give_up_at:
                    raise RunnerError(f"The process runner can't be reached: {error}") from error
            await self._launch()

    def _hello(self) -> Hello:
        return Hello(
            vcpus=round(self._capacity.vcpus * 1000),
            memory=self._capacity.memory,
            gpus=self._capacity.gpus,
            log_root=str(self._log_root),
        )

    async def _launch(self) -> None:
        """Start a runner. When several are started at once, one of them stays."""
        log = self._folder / LOG
        with open(log, "ab") as output:  # noqa: ASYNC230 — a local file, appended to once
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "batchyard.engines.local.process.daemon",
                str(self._folder),
                f"--idle-seconds={self._idle_seconds}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                start_new_session=True,
            )
        if await process.wait():
            last = log.read_text(errors="replace").splitlines()[-1:]
            raise RunnerError(f"The process runner can't be started: {''.join(last)} (more in {log})")


class Connection:
    """The engine's end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._frames = protocol.engine_frame_reader()

    @classmethod
    async def open(cls, path: Path) -> Connection:
        """`OSError` when no runner listens there."""
        connection = protocol.connect(path)
        connection.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=connection))

    async def receive(self) -> list[ToEngine]:
        """The next messages; none when the connection has ended."""
        while True:
            try:
                data = await self._reader.read(_RECEIVE_BYTES)
                messages = self._frames.feed(data)
            except (OSError, msgspec.MsgspecError):
                return []
            if messages or not data:
                return messages


def order_of(task: TaskSpec) -> Order:
    container = task.container
    linux = container.linux_parameters
    return Order(
        task_id=task.task_id,
        command=[*(task.entrypoint or ()), *(container.command or ())],
        environment=task.environment,
        vcpus=round(task.vcpus * 1000),
        memory=task.memory,
        swap=(linux.max_swap or 0) if linux else 0,
        gpus=task.gpus,
        user=container.user,
        ulimits=[(limit.name, limit.soft_limit, limit.hard_limit) for limit in container.ulimits or ()],
        log_group=task.log_group,
        log_stream=task.log_stream,
        create_log_group=task.create_log_group,
        files=task.files,
    )


def _nobody(_: Observation) -> None:
    """Nobody listens before `open` and after `close`."""
