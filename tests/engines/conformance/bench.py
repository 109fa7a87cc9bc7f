"""What the tests of the suite work with: a runtime to be tested, an open engine, and everything that it posts."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from batchyard.engines.base import Capacity, Engine, TaskSpec
from batchyard.kernel.messages import (
    Observation,
    TaskExited,
    TaskLost,
    TaskStarted,
)
from batchyard.logs.lines import decode_event, stream_path
from batchyard.shapes.batch import ContainerDetail

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
PATIENCE = 60.0
"""Seconds until a test gives up waiting. Nothing is ever expected to take that long."""


@dataclass
class Rig:
    """What the suite needs to know of a runtime."""

    factory: Callable[[], Engine]
    """Makes an engine object over the same data each time. Must be picklable: one test uses it in another process."""
    log_root: Path
    image: str | None = None
    """Has a POSIX shell and the usual small programs."""
    limits_memory: bool = True
    """False only where the host can't limit memory at all; the test of the limit is then skipped, visibly."""
    shows_files: bool = os.geteuid() == 0
    """False where the runtime can't show files to a task; those tests are then skipped, visibly."""
    flood: tuple[int, str] = (1_500_000, "")
    """The test of much output: how many lines, and what each ends with behind its number. Ten megabytes and more."""
    crowd: int = 500
    """How many tasks the test of many tasks at once starts."""
    base_environment: frozenset[str] = frozenset({"HOME", "HOSTNAME", "LANG", "PATH", "PWD", "SHLVL", "TMPDIR", "_"})
    """Variables that a program may find without having been given them (by the runtime or by the shell itself)."""


class Story:
    """Everything that an engine posted, in order, and ways to wait for more."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self._changed = asyncio.Event()

    def post(self, observation: Observation) -> None:
        self.observations.append(observation)
        self._changed.set()

    def of(self, task_id: str) -> list[Observation]:
        return [observation for observation in self.observations if observation.task_id == task_id]

    def kinds(self, task_id: str) -> list[str]:
        return [type(observation).__name__ for observation in self.of(task_id)]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition over the observations holds."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"nothing more came after {self.observations[-20:]}") from None

    async def first(self, kind: type[Observation], task_id: str) -> Any:
        """The first observation of this kind about a task, as soon as there is one."""
        found: list[Observation] = []

        def look() -> bool:
            found[:] = [observation for observation in self.of(task_id) if isinstance(observation, kind)]
            return bool(found)

        await self.until(look)
        return found[0]

    async def ended(self, *task_ids: str) -> None:
        wanted = set(task_ids)
        await self.until(
            lambda: wanted <= {o.task_id for o in self.observations if isinstance(o, TaskExited | TaskLost)}
        )


@dataclass
class Bench:
    """An open engine, its story, and short ways to say what a test does with it."""

    rig: Rig
    engine: Engine
    story: Story
    capacity: Capacity
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def task(self, *command: str, environment: dict[str, str] | None = None, **changes: Any) -> TaskSpec:
        """A small task. One string is a script for the shell; several are a command."""
        argv = ["/bin/sh", "-c", command[0]] if len(command) == 1 else list(command)
        task_id = changes.pop("task_id", None) or secrets.token_hex(16)
        container = ContainerDetail(image=self.rig.image, command=argv or None, **changes.pop("container", {}))
        values: dict[str, Any] = {
            "task_id": task_id,
            "job_id": f"job-{next(self._numbers)}",
            "container": container,
            "environment": environment or {},
            "vcpus": 0.01,
            "memory": 32,
            "gpus": 0,
            "log_group": "/aws/batch/job",
            "log_stream": f"conformance/default/{task_id}",
        }
        return TaskSpec(**(values | changes))

    async def run(self, *command: str, **changes: Any) -> TaskExited:
        task = self.task(*command, **changes)
        self.engine.start([task])
        exited: TaskExited = await self.story.first(TaskExited, task.task_id)
        return exited

    def log(self, task: TaskSpec) -> list[bytes]:
        return read_log(self.rig.log_root, task.log_group, task.log_stream)

    async def logged(self, task: TaskSpec, line: bytes, times: int = 1) -> None:
        """Wait until a line stands in the task's log."""
        await eventually(lambda: self.log(task).count(line) >= times, f"{line!r} in the log")

    async def restart(self) -> Bench:
        """Close the engine and open another over the same data, as a restarted server does."""
        await self.engine.close()
        return await open_bench(self.rig)


async def open_bench(rig: Rig) -> Bench:
    engine, story = rig.factory(), Story()
    return Bench(rig, engine, story, await engine.open(story.post))


def read_log(root: Path, group: str, stream: str) -> list[bytes]:
    """The messages of a log stream, and a check that its times never decrease."""
    path = stream_path(root, group, stream)
    if not path.exists():
        return []
    events = [decode_event(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert None not in events
    times = [event[0] for event in events if event]
    assert times == sorted(times)
    return [event[1] for event in events if event]


async def eventually(condition: Callable[[], Any], what: str) -> None:
    """For facts that nobody announces (files, processes): look again and again."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


def processes_with(token: str) -> list[int]:
    """Living processes of the host whose command line has this argument."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                arguments = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if token.encode() in arguments:
                found.append(int(entry))
    return found


def sleep_token() -> str:
    """A number of seconds that no one else sleeps, so that the process that does can be found by it."""
    return f"9{secrets.randbelow(10**6):06}.{secrets.randbelow(10**6):06}"


def run_doomed_server(factory: Callable[[], Engine], tasks: Sequence[TaskSpec], ready: Connection) -> None:
    """A server that starts tasks and then hangs until it is killed. It says `ready` when all have started."""

    async def serve() -> None:
        engine, story = factory(), Story()
        await engine.open(story.post)
        await engine.reconcile([])
        engine.start(tasks)
        for task in tasks:
            await story.first(TaskStarted, task.task_id)
        ready.send("ready")
        await asyncio.Event().wait()

    asyncio.run(serve())


async def start_in_killed_server(rig: Rig, tasks: Sequence[TaskSpec]) -> None:
    """Start tasks from another process and kill -9 that process once they run."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    server = context.Process(target=run_doomed_server, args=(rig.factory, tasks, sender))
    server.start()
    sender.close()
    try:
        assert await asyncio.to_thread(receiver.poll, PATIENCE), "the server never started the tasks"
        assert receiver.recv() == "ready"
    finally:
        server.kill()
        await asyncio.to_thread(server.join)
        receiver.close()
