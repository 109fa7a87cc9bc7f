"""Tasks that are stopped, leave something behind, or use too much memory."""

from __future__ import annotations

import pytest

from batchyard.kernel.messages import TaskExited
from conformance.bench import OUT_OF_MEMORY, PATIENCE, Bench, eventually, processes_with, sleep_token


class Ending:
    async def test_stop_lets_the_program_clean_up(self, bench: Bench) -> None:
        task = bench.task("trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, PATIENCE)
        exited = await bench.story.first(TaskExited, task.task_id)
        assert (exited.exit_code, exited.reason) == (0, None)
        assert bench.log(task)[-1] == b"cleaned"

    async def test_stop_without_a_handler(self, bench: Bench) -> None:
        token = sleep_token()
        # `exec sleep` as the first process of a container would be deaf to SIGTERM.
        task = bench.task(f"trap 'exit 143' TERM; echo up; sleep {token} & wait")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, PATIENCE)
        exited = await bench.story.first(TaskExited, task.task_id)
        assert exited.exit_code == 143
        await eventually(lambda: not processes_with(token), "the sleeping child is gone")

    async def test_stop_kills_what_ignores_it(self, bench: Bench) -> None:
        task = bench.task("trap '' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, 0.2)
        exited = await bench.story.first(TaskExited, task.task_id)
        assert (exited.exit_code, exited.reason) == (137, None)

    async def test_stop_with_a_shorter_grace_hurries(self, bench: Bench) -> None:
        task = bench.task("trap '' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, 3600)
        bench.engine.stop(task.task_id, 0)
        assert (await bench.story.first(TaskExited, task.task_id)).exit_code == 137

    async def test_stop_of_unknown_and_ended_tasks_does_nothing(self, bench: Bench) -> None:
        exited = await bench.run("exit 3")
        bench.engine.stop(exited.task_id, 0)
        bench.engine.stop("0" * 32, 0)
        await bench.run("true")
        assert len(bench.story.of(exited.task_id)) == 2
        assert bench.story.of("0" * 32) == []

    async def test_the_whole_tree_is_killed_by_stop(self, bench: Bench) -> None:
        token = sleep_token()
        task = bench.task(
            f"trap '' TERM; (setsid sh -c 'sleep {token} & sleep {token}' &); sleep {token} & echo up; wait; wait"
        )
        bench.engine.start([task])
        await eventually(lambda: len(processes_with(token)) == 3, "three sleepers")
        bench.engine.stop(task.task_id, 0)
        await bench.story.ended(task.task_id)
        await eventually(lambda: not processes_with(token), "all sleepers are gone")

    async def test_what_a_task_leaves_behind_is_killed_and_holds_nothing_up(self, bench: Bench) -> None:
        token = sleep_token()
        task = bench.task(f"(setsid sh -c 'sleep {token} & sleep {token}' &); sleep {token} & sleep 0.3; echo done")
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        assert (exited.exit_code, exited.reason) == (0, None)
        assert bench.log(task) == [b"done"]
        await eventually(lambda: not processes_with(token), "all sleepers are gone")

    async def test_memory_limit(self, bench: Bench) -> None:
        if not bench.rig.limits_memory:
            pytest.skip("this host offers no memory limit")
        exited = await bench.run("exec dd if=/dev/zero of=/dev/null bs=300M count=1", memory=32)
        assert (exited.exit_code, exited.reason) == (137, OUT_OF_MEMORY)

    async def test_memory_limit_on_a_child(self, bench: Bench) -> None:
        if not bench.rig.limits_memory:
            pytest.skip("this host offers no memory limit")
        exited = await bench.run("dd if=/dev/zero of=/dev/null bs=300M count=1; echo survived; exit 5", memory=32)
        assert (exited.exit_code, exited.reason) == (5, OUT_OF_MEMORY)
        exited = await bench.run("exit 5", memory=32)
        assert (exited.exit_code, exited.reason) == (5, None)

    async def test_memory_within_the_limit(self, bench: Bench) -> None:
        exited = await bench.run("exec dd if=/dev/zero of=/dev/null bs=100M count=1", memory=160)
        assert (exited.exit_code, exited.reason) == (0, None)
