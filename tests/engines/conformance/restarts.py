"""The server goes and comes again; tasks go on."""

from __future__ import annotations

import secrets

from batchyard.kernel.messages import TaskExited, TaskStarted, TaskUnknown
from conformance.bench import Bench, Rig, eventually, open_bench, processes_with, sleep_token, start_in_killed_server


class Restarts:
    async def test_reconcile_gives_each_expected_task_one_answer(self, bench: Bench) -> None:
        token = sleep_token()
        running, unexpected = bench.task("echo up; sleep 600"), bench.task(f"echo up; sleep {token}")
        ended = bench.task("exit 9")
        bench.engine.start([running, unexpected, ended])
        await bench.logged(running, b"up")
        await bench.logged(unexpected, b"up")
        await bench.story.ended(ended.task_id)
        again = await bench.restart()
        never = secrets.token_hex(16)
        try:
            await again.engine.reconcile([running.task_id, ended.task_id, never])
            await again.story.until(lambda: len(again.story.observations) >= 3)
            assert again.story.kinds(running.task_id) == ["TaskStarted"]
            assert again.story.kinds(ended.task_id) == ["TaskExited"]
            assert again.story.of(never) == [TaskUnknown(never)]
            assert (await again.story.first(TaskExited, ended.task_id)).exit_code == 9
            await eventually(lambda: not processes_with(token), "the unexpected task is ended")
            assert again.story.of(unexpected.task_id) == []
            again.engine.stop(running.task_id, 0)
            await again.story.ended(running.task_id)
            assert len(again.story.observations) == 4
        finally:
            await again.engine.close()

    async def test_tasks_outlive_a_restart_and_report_once(self, bench: Bench) -> None:
        tasks = [bench.task(f"sleep 0.{number:02}; echo said; exit {number}") for number in range(0, 60, 3)]
        bench.engine.start(tasks)
        await bench.story.first(TaskStarted, tasks[0].task_id)
        again = await bench.restart()
        heard = {o.task_id for o in bench.story.observations if isinstance(o, TaskExited)}
        try:
            expected = [task.task_id for task in tasks if task.task_id not in heard]
            await again.engine.reconcile(expected)
            await again.story.until(
                lambda: (
                    set(expected)
                    <= {o.task_id for o in again.story.observations if isinstance(o, TaskExited | TaskUnknown)}
                )
            )
            for number, task in zip(range(0, 60, 3), tasks, strict=True):
                exits = [o for o in bench.story.of(task.task_id) + again.story.of(task.task_id) if o]
                if TaskUnknown(task.task_id) in exits:
                    assert bench.log(task) == []  # It had never begun, so nothing of it may be seen.
                    continue
                ends = [o for o in exits if isinstance(o, TaskExited)]
                assert [end.exit_code for end in ends] == [number]
                assert bench.log(task) == [b"said"]
        finally:
            await again.engine.close()

    async def test_tasks_outlive_a_killed_server(self, rig: Rig, bench: Bench) -> None:
        token = sleep_token()
        quick = bench.task("sleep 0.3; echo after; exit 4")
        slow = bench.task(f"echo before; sleep {token}")
        await bench.engine.close()
        await start_in_killed_server(rig, [quick, slow])
        await bench.logged(quick, b"after")
        again = await open_bench(rig)
        try:
            await again.engine.reconcile([quick.task_id, slow.task_id])
            assert (await again.story.first(TaskExited, quick.task_id)).exit_code == 4
            await again.story.first(TaskStarted, slow.task_id)
            assert processes_with(token)
            again.engine.stop(slow.task_id, 0)
            assert (await again.story.first(TaskExited, slow.task_id)).exit_code == 137
            assert again.log(quick) == [b"after"]
            assert again.log(slow) == [b"before"]
        finally:
            await again.engine.close()

    async def test_an_end_is_told_again_until_it_is_acknowledged(self, bench: Bench) -> None:
        exited = await bench.run("exit 6")
        second = await bench.restart()
        await second.engine.reconcile([exited.task_id])
        assert await second.story.first(TaskExited, exited.task_id) == exited
        second.engine.acknowledge([exited.task_id])
        await second.run("true")
        third = await second.restart()
        await third.engine.reconcile([])
        await third.run("true")
        await third.engine.close()
        assert third.story.of(exited.task_id) == []

    async def test_a_stop_ends_its_task_even_when_the_server_goes(self, bench: Bench) -> None:
        task = bench.task("trap '' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, 0.5)
        again = await bench.restart()
        try:
            await again.engine.reconcile([task.task_id])
            assert (await again.story.first(TaskExited, task.task_id)).exit_code == 137
        finally:
            await again.engine.close()
