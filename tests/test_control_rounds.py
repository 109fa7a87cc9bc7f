"""The control loop: what comes in together is decided together, and commits before anything follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from batchyard.control import ControlLoop
from batchyard.defaults import create_defaults
from batchyard.engines.base import Capacity, TaskSpec
from batchyard.kernel import commands
from batchyard.kernel.effects import Effects
from batchyard.kernel.identifiers import Account
from batchyard.kernel.messages import Observation, TaskExited, TaskStarted
from batchyard.kernel.state import Settings
from batchyard.shapes import batch as shapes
from batchyard.store.store import Store

FIRST, SECOND, THIRD = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))


class RecordingEngine:
    """An engine that starts nothing and remembers what it was told to start."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[TaskSpec] = asyncio.Queue()

    async def open(self, post: Callable[[Observation], None]) -> Capacity:
        self.post = post
        return Capacity(vcpus=4, memory=4096)

    async def reconcile(self, expected: Sequence[str]) -> None: ...

    def start(self, tasks: Sequence[TaskSpec]) -> None:
        for task in tasks:
            self.started.put_nowait(task)

    def stop(self, task_id: str, grace_seconds: float) -> None: ...

    def recall(self, task_ids: Sequence[str]) -> None: ...

    def acknowledge(self, task_ids: Sequence[str]) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine()


class SlowStore(Store):
    """A store whose commits can be held up: what comes in meanwhile is the next round."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_save = asyncio.Event()
        self.may_save.set()
        self.saving = asyncio.Event()

    async def save(self, effects: Effects) -> None:
        self.saving.set()
        await self.may_save.wait()
        await super().save(effects)


@pytest.fixture
def store(tmp_path: Path) -> SlowStore:
    return SlowStore(tmp_path / "batchyard.db")


@pytest.fixture
async def control(tmp_path: Path, store: SlowStore, engine: RecordingEngine) -> AsyncIterator[ControlLoop]:
    store.open()
    settings = Settings(account=Account("us-east-1", "123456789012"))
    control = ControlLoop(settings, store, {"local-process": engine}, training_root=tmp_path, check=True)
    await control.open()
    working = asyncio.create_task(control.run())
    await create_defaults(control, 4)
    await control.command(commands.RegisterJobDefinition(definition(), 100))
    yield control
    control.stop()
    await working
    store.close()


def definition() -> shapes.RegisterJobDefinitionRequest:
    requirements = [
        shapes.ResourceRequirement(type="VCPU", value="1"),
        shapes.ResourceRequirement(type="MEMORY", value="16"),
    ]
    return shapes.RegisterJobDefinitionRequest(
        job_definition_name="work",
        type="container",
        container_properties=shapes.ContainerProperties(image="busybox", resource_requirements=requirements),
    )


def submission(job_id: str, *dependencies: str) -> commands.SubmitJob:
    request = shapes.SubmitJobRequest(
        job_name="job",
        job_queue="default",
        job_definition="work",
        depends_on=[shapes.JobDependency(job_id=each) for each in dependencies],
    )
    return commands.SubmitJob(request=request, job_id=job_id, size=100)


async def test_a_dependency_that_ends_in_the_same_round(
    control: ControlLoop, engine: RecordingEngine, store: SlowStore
) -> None:
    """The end of a job and a submission that depends on it may come in together, and the end first: the kernel has let
    go of the job by then, and the store does not yet know that it has ended."""
    await control.command(submission(FIRST))
    task = await engine.started.get()
    store.may_save.clear()
    store.saving.clear()
    engine.post(TaskStarted(task.task_id, 1))
    await store.saving.wait()
    engine.post(TaskExited(task.task_id, 2, exit_code=0))
    second = asyncio.create_task(control.command(submission(SECOND, FIRST)))
    third = asyncio.create_task(control.command(submission(THIRD, SECOND)))
    await asyncio.sleep(0)
    store.may_save.set()
    await second
    assert (await engine.started.get()).job_id == SECOND
    await third
    assert await control.query(lambda kernel: kernel.state.jobs[THIRD].open_dependencies) == 1
