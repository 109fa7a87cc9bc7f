"""Tasks that are given to the engine before their resources are free."""

from __future__ import annotations

import pytest

from batchyard.kernel.messages import TaskExited, TaskRecalled, TaskStarted
from conformance.bench import Bench


class HandedOverAhead:
    async def test_tasks_handed_over_ahead_begin_in_order(self, bench: Bench) -> None:
        if not bench.capacity.lead:
            pytest.skip("this engine is never fed ahead")
        count = min(bench.capacity.lead, 20)
        whole = bench.capacity.vcpus
        tasks = [bench.task(f"exit {number}", vcpus=whole) for number in range(count)]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        begun = [o.task_id for o in bench.story.observations if isinstance(o, TaskStarted)]
        ended = [o.task_id for o in bench.story.observations if isinstance(o, TaskExited)]
        assert begun == [task.task_id for task in tasks] == ended

    async def test_recall(self, bench: Bench) -> None:
        if not bench.capacity.lead:
            pytest.skip("this engine is never fed ahead")
        whole = bench.capacity.vcpus
        running = bench.task("echo up; sleep 600", vcpus=whole)
        first, second = bench.task("echo no", vcpus=whole), bench.task("echo yes", vcpus=whole)
        bench.engine.start([running, first, second])
        await bench.logged(running, b"up")
        bench.engine.recall([first.task_id, running.task_id, "0" * 32])
        await bench.story.first(TaskRecalled, first.task_id)
        bench.engine.stop(running.task_id, 0)
        await bench.story.ended(second.task_id)
        assert bench.story.kinds(first.task_id) == ["TaskRecalled"]
        assert bench.story.kinds(running.task_id) == ["TaskStarted", "TaskExited"]
        assert bench.log(first) == []
        bench.engine.start([first])  # What was given back may be ordered again.
        await bench.story.ended(first.task_id)
        assert bench.log(first) == [b"no"]

    async def test_stop_of_a_task_that_has_not_begun(self, bench: Bench) -> None:
        if not bench.capacity.lead:
            pytest.skip("this engine is never fed ahead")
        whole = bench.capacity.vcpus
        running, waiting = bench.task("echo up; sleep 600", vcpus=whole), bench.task("echo no", vcpus=whole)
        bench.engine.start([running, waiting])
        await bench.logged(running, b"up")
        bench.engine.stop(waiting.task_id, 30)
        exited = await bench.story.first(TaskExited, waiting.task_id)
        assert (exited.exit_code, exited.started_at) == (None, None)
        assert bench.story.kinds(waiting.task_id) == ["TaskExited"]
        assert bench.log(waiting) == []
