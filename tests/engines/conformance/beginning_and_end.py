"""Tasks begin, end with their exit codes, and are each reported once."""

from __future__ import annotations

import pytest

from batchyard.kernel.messages import TaskExited, TaskStarted
from conformance.bench import Bench


class BeginningAndEnd:
    async def test_capacity_is_what_was_offered(self, bench: Bench) -> None:
        assert bench.capacity.vcpus > 0
        assert bench.capacity.memory > 0
        assert bench.capacity.lead >= 0

    async def test_success(self, bench: Bench) -> None:
        task = bench.task("exit 0")
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        started = await bench.story.first(TaskStarted, task.task_id)
        assert (exited.exit_code, exited.reason) == (0, None)
        assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
        assert exited.started_at == started.at
        assert 1_600_000_000_000 < started.at <= exited.at

    @pytest.mark.parametrize("code", [1, 42, 255])
    async def test_exit_code(self, bench: Bench, code: int) -> None:
        exited = await bench.run(f"exit {code}")
        assert (exited.exit_code, exited.reason) == (code, None)

    @pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("ABRT", 6)])
    async def test_death_by_signal(self, bench: Bench, name: str, number: int) -> None:
        # A child of the shell, because the first process of a container is deaf to signals from inside.
        exited = await bench.run(f"sh -c 'kill -{name} $$'; exit $?")
        assert exited.exit_code == 128 + number
        assert exited.reason is None

    async def test_missing_command(self, bench: Bench) -> None:
        exited = await bench.run("/no/such/program", "x")
        assert exited.exit_code == 127
        assert exited.reason is not None
        assert exited.reason.startswith("CannotStartContainerError: ")
        assert "/no/such/program" in exited.reason
        assert len(exited.reason) <= 255
        assert exited.started_at is None

    async def test_command_that_is_not_executable(self, bench: Bench) -> None:
        exited = await bench.run("/etc/passwd", "x")
        assert exited.exit_code == 126
        assert exited.reason is not None
        assert exited.reason.startswith("CannotStartContainerError: ")

    async def test_command_is_looked_up_in_path(self, bench: Bench) -> None:
        assert (await bench.run("sh", "-c", "exit 7")).exit_code == 7

    async def test_starting_twice_is_starting_once(self, bench: Bench) -> None:
        task = bench.task("echo ran; sleep 0.2")
        bench.engine.start([task, task])
        bench.engine.start([task])
        await bench.story.first(TaskStarted, task.task_id)
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        bench.engine.start([task])
        await bench.run("true")  # Whatever the second order could have caused would be seen by now.
        assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
        assert bench.log(task) == [b"ran"]

    async def test_many_at_once_are_each_reported_exactly_once(self, bench: Bench) -> None:
        tasks = [bench.task(f"exit {number % 7}") for number in range(bench.rig.crowd)]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        for number, task in enumerate(tasks):
            assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
            assert (await bench.story.first(TaskExited, task.task_id)).exit_code == number % 7
