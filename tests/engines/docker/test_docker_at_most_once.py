"""No task runs twice and none is forgotten, whenever the server is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from conformance import Story, open_bench, read_log
from dockerd import DockerDaemon
from test_docker_engine import rig_on

from batchyard.engines.base import Engine, TaskSpec
from batchyard.kernel.messages import Observation, TaskExited, TaskLost, TaskStarted, TaskUnknown
from batchyard.shapes import batch as shapes

pytestmark = pytest.mark.docker

ROUNDS = 10
TASKS = 24


async def take_over(engine: Engine, story: Story, tasks: Sequence[TaskSpec]) -> None:
    """What a server does after a restart: ask about all tasks, and order again those that never began."""
    await engine.open(story.post)
    await engine.reconcile([task.task_id for task in tasks])
    engine.start([task for task in tasks if TaskUnknown(task.task_id) in story.observations])


class TellingStory(Story):
    """Tells another process of each task that starts."""

    def __init__(self, listener: Connection) -> None:
        super().__init__()
        self._listener = listener

    def post(self, observation: Observation) -> None:
        super().post(observation)
        if isinstance(observation, TaskStarted):
            self._listener.send("started")


def serve_until_killed(factory: Callable[[], Engine], tasks: Sequence[TaskSpec], listener: Connection) -> None:
    async def serve() -> None:
        listener.send("ready")
        await take_over(factory(), TellingStory(listener), tasks)
        await asyncio.Event().wait()

    asyncio.run(serve())


async def test_killed_again_and_again(daemon: DockerDaemon, tmp_path: Path) -> None:
    rig = rig_on(daemon, tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    mount = {
        "volumes": [shapes.Volume(name="shared", host=shapes.Host(source_path=str(shared)))],
        "mount_points": [shapes.MountPoint(source_volume="shared", container_path="/shared")],
    }
    bench = await open_bench(rig)
    tasks = [
        bench.task(f"echo {number} >> /shared/runs; echo said {number}; exit {number}", container=mount)
        for number in range(TASKS)
    ]
    await bench.engine.close()
    context = multiprocessing.get_context("spawn")
    moments = random.Random(7)
    for _ in range(ROUNDS):
        receiver, sender = context.Pipe(duplex=False)
        server = context.Process(target=serve_until_killed, args=(rig.factory, tasks, sender))
        server.start()
        for _ in range(1 + moments.randrange(3)):
            if await asyncio.to_thread(receiver.poll, 30):  # Not so when all have been started already.
                receiver.recv()
        await asyncio.to_thread(server.join, moments.uniform(0.0, 0.4))  # Anywhere in the beginning of the next task.
        assert server.exitcode is None
        server.kill()
        await asyncio.to_thread(server.join)
    assert (shared / "runs").exists(), "no server lived long enough to run anything"
    engine, story = rig.factory(), Story()
    await take_over(engine, story, tasks)
    await story.ended(*(task.task_id for task in tasks))
    runs = Counter((shared / "runs").read_text().split())
    for number, task in enumerate(tasks):
        end = story.of(task.task_id)[-1]
        if isinstance(end, TaskLost):
            assert runs[str(number)] <= 1
        else:
            assert isinstance(end, TaskExited)
            assert end.exit_code == number
            assert runs[str(number)] == 1
            assert read_log(rig.log_root, task.log_group, task.log_stream) == [b"said %d" % number]
    await engine.close()
    last = rig.factory()
    await last.open(Story().post)
    await last.reconcile([])
    await last.close()
    assert not [name for name in daemon.containers() if name.removeprefix("batchyard-") in {t.task_id for t in tasks}]
