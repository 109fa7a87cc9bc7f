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

from batchyard.engines.base import Capacity, TaskSpec
from batchyard.engines.local.process import protocol
from batchyard.engines.local.process.daemon import LOG, SOCKET
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
)
from batchyard.kernel.messages import Observation, TaskExited, TaskLost, TaskRecalled, TaskStarted, TaskUnknown

logger = logging.getLogger(__name__)

DEFAULT_LEAD = 256
"""Tasks handed over ahead: a sixth of a second's worth of the shortest ones."""

CONNECT_PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5
"""Between attempts to start a runner that does not start."""

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
        self._outgoing: list[ToRunner] = []
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
        reader = await self._connect()
        self._is_in_step = True
        self._keeper = asyncio.create_task(self._keep(reader), name="process engine")
        return self._capacity

    async def reconcile(self, expected: Sequence[str]) -> None:
        """Returns when all answers have been posted."""
        self._known = {task_id: self._known.get(task_id) for task_id in expected}
        self._started.clear()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_step_again.append(done)
        if self._is_in_step:
            self._send(Reconcile(list(expected)))
        await done

    def start(self, tasks: Sequence[TaskSpec]) -> None:
        for task in tasks:
            if task.task_id not in self._known:
                order = order_of(task)
                self._known[task.task_id] = order
                self._send(order)

    def stop(self, task_id: str, grace_seconds: float) -> None:
        self._send(Stop(task_id, grace_seconds))

    def recall(self, task_ids: Sequence[str]) -> None:
        self._send(Recall(list(task_ids)))

    def acknowledge(self, task_ids: Sequence[str]) -> None:
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
        if self._outgoing and self._is_in_step and self._writer is not None:
            self._writer.write(protocol.encode_frame(self._outgoing))
            self._outgoing.clear()

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _keep(self, reader: asyncio.StreamReader) -> None:
        """Listen to the runner, and get another when it is gone."""
        while True:
            await self._listen(reader)
            self._is_in_step = False
            self._hang_up()
            logger.warning("The process runner is gone. Starting another.")
            reader = await self._connect_at_last()
            if self._writer is not None:
                self._writer.write(protocol.encode_frame([Reconcile(list(self._known))]))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Hand on the runner's news until the connection ends."""
        frames = protocol.engine_frame_reader()
        while True:
            try:
                data = await reader.read(256 * 1024)
            except OSError:
                return
            if not data:
                return
            for message in frames.feed(data):
                self._hear(message)

    def _hear(self, message: ToEngine) -> None:
        match message:
            case Welcome():
                self.runner_process_id = message.process_id
                self.limits_memory = message.limits_memory
                for note in message.notes:
                    self._note(note)
            case Note():
                self._note(message.text)
            case Reconciled():
                self._is_in_step = True
                self._flush()
                for done in self._in_step_again:
                    if not done.done():
                        done.set_result(None)
                self._in_step_again.clear()
            case TaskStarted():
                if message.task_id not in self._started and message.task_id in self._known:
                    self._started.add(message.task_id)
                    self._post(message)
            case TaskExited() | TaskLost() | TaskRecalled():
                self._forget(message)
            case TaskUnknown():
                order = self._known.get(message.task_id)
                if order is None:
                    self._forget(message)
                else:
                    self._outgoing.insert(0, order)  # Ahead of what came since, a stop of it for instance.

    def _forget(self, end: Observation) -> None:
        """The task is no longer the runner's business. What is heard twice is handed on once."""
        if end.task_id in self._known:
            del self._known[end.task_id]
            self._started.discard(end.task_id)
            self._post(end)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            logger.warning(text)

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _connect_at_last(self) -> asyncio.StreamReader:
        while True:
            try:
                return await self._connect()
            except RunnerError as error:
                logger.error("%s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> asyncio.StreamReader:
        """Connect to the runner, after starting one when there is none."""
        give_up_at = time.monotonic() + CONNECT_PATIENCE_SECONDS
        while True:
            try:
                connection = protocol.connect(self._folder / SOCKET)
                connection.setblocking(False)
                reader, self._writer = await asyncio.open_unix_connection(sock=connection)
                self._writer.write(protocol.encode_frame([self._hello()]))
                return reader
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


def order_of(task: TaskSpec) -> Order:
    container = task.container
    linux = container.linux_parameters
    return Order(
        task_id=task.task_id,
        command=container.command or [],
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
    )


def _nobody(_: Observation) -> None:
    """Nobody listens before `open` and after `close`."""
