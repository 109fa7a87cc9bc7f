"""What a program finds: its environment, arguments, signals and an empty directory."""

from __future__ import annotations

import pytest

from batchyard.kernel.messages import TaskExited
from conformance.bench import Bench


class Surroundings:
    async def test_environment_is_exact(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SERVER_SECRET", "hunter2")
        given = {
            "AWS_BATCH_JOB_ID": "4c4a2b5e",
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "EMPTY": "",
            "GREETING": "grüß Gott = $HOME 'quoted' \"double\" \\ ",
            "ABC": "line one\nline two",
        }
        task = bench.task("tr '\\0' '\\1' < /proc/self/environ; echo", environment=given)
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        text = b"\n".join(bench.log(task)).decode()
        found = dict(entry.split("=", 1) for entry in text.rstrip("\n").split("\1") if entry)
        assert {name: value for name, value in found.items() if name in given} == given
        assert set(found) - set(given) <= bench.rig.base_environment

    async def test_environment_of_the_task_wins(self, bench: Bench) -> None:
        task = bench.task("echo $HOME $PATH", environment={"HOME": "/somewhere", "PATH": "/bin:/usr/bin:/opt/x"})
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"/somewhere /bin:/usr/bin:/opt/x"]

    async def test_arguments_arrive_as_given(self, bench: Bench) -> None:
        task = bench.task("/bin/sh", "-c", 'printf "<%s>\\n" "$@"', "name", "a b", "", "*", "$HOME", "ü\n'\"")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert b"\n".join(bench.log(task)).decode() == "<a b>\n<>\n<*>\n<$HOME>\n<ü\n'\">"

    async def test_standard_input_is_empty(self, bench: Bench) -> None:
        task = bench.task("wc -c")
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        assert exited.exit_code == 0
        assert bench.log(task) == [b"0"]

    async def test_signals_are_at_their_defaults(self, bench: Bench) -> None:
        task = bench.task("grep -E 'Sig(Blk|Ign)' /proc/self/status")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        blocked, ignored = (int(line.split()[1], 16) for line in bench.log(task))
        standard_signals = 2**31 - 1  # The C library itself may ignore its two internal ones when it starts a program.
        assert (blocked & standard_signals, ignored & standard_signals) == (0, 0)

    async def test_files_of_one_task_are_not_seen_by_the_next(self, bench: Bench) -> None:
        script = "ls -A . $TMPDIR | grep made; touch made-here $TMPDIR/made-there; mkdir -p d/e; chmod 000 d"
        first, second = bench.task(script), bench.task(script)
        bench.engine.start([first])
        await bench.story.ended(first.task_id)
        bench.engine.start([second])
        await bench.story.ended(second.task_id)
        assert bench.log(first) == []
        assert bench.log(second) == []

    async def test_an_entry_point_comes_before_the_arguments(self, bench: Bench) -> None:
        task = bench.task("name", "a b", entrypoint=["/bin/sh", "-c", 'echo "$0/$1"'])
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"name/a b"]
