"""What a program prints, in its log stream."""

from __future__ import annotations

from batchyard.kernel.messages import TaskExited
from batchyard.logs.lines import create_group, stream_path
from conformance.bench import Bench


class OutputOfTasks:
    async def test_output_and_errors_stand_in_one_stream_in_order(self, bench: Bench) -> None:
        task = bench.task("echo one; echo two >&2; echo; echo three")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"one", b"two", b"", b"three"]

    async def test_output_is_there_when_the_end_is_reported(self, bench: Bench) -> None:
        tasks = [bench.task(f"echo line {number}; printf end") for number in range(20)]
        bench.engine.start(tasks)
        for number, task in enumerate(tasks):
            await bench.story.first(TaskExited, task.task_id)
            assert bench.log(task) == [b"line %d" % number, b"end"]

    async def test_a_task_without_output_has_an_empty_stream(self, bench: Bench) -> None:
        task = bench.task("true")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert stream_path(bench.rig.log_root, task.log_group, task.log_stream).exists()

    async def test_lines_arrive_while_the_task_runs(self, bench: Bench) -> None:
        task = bench.task("echo first; sleep 600")
        bench.engine.start([task])
        await bench.logged(task, b"first")
        assert bench.story.kinds(task.task_id) == ["TaskStarted"]

    async def test_an_unfinished_line_arrives_while_the_task_runs(self, bench: Bench) -> None:
        task = bench.task("printf 'password? '; sleep 600")
        bench.engine.start([task])
        await bench.logged(task, b"password? ")

    async def test_binary_output(self, bench: Bench) -> None:
        task = bench.task("printf 'a\\000b\\377c\\020d\\n\\033[31mred\\n'")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"a\0b\xffc\x10d", b"\x1b[31mred"]

    async def test_a_very_long_line_is_cut_and_nothing_is_lost(self, bench: Bench) -> None:
        task = bench.task("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        *parts, last = bench.log(task)
        assert b"".join(parts) == b"x" * 1_000_000
        assert max(map(len, parts)) <= 256 * 1024
        assert last == b"after"

    async def test_megabytes_of_output(self, bench: Bench) -> None:
        count, line_end = bench.rig.flood
        task = bench.task(f"seq 1 {count}" + (f" | sed 's/$/{line_end}/'" if line_end else ""))
        bench.engine.start([task])
        assert (await bench.story.first(TaskExited, task.task_id)).exit_code == 0
        assert bench.log(task) == [f"{number}{line_end}".encode() for number in range(1, count + 1)]

    async def test_a_log_group_is_made(self, bench: Bench) -> None:
        task = bench.task("echo here", log_group="my/own.group", log_stream="a/b/c")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"here"]

    async def test_a_log_group_that_must_exist_already(self, bench: Bench) -> None:
        exited = await bench.run("true", log_group="absent", create_log_group=False)
        assert exited.exit_code == 1
        assert exited.reason == (
            "ResourceInitializationError: failed to validate logger args: The specified log group does not exist."
        )
        assert exited.started_at is None
        create_group(bench.rig.log_root, "present")
        exited = await bench.run("true", log_group="present", create_log_group=False)
        assert (exited.exit_code, exited.reason) == (0, None)
