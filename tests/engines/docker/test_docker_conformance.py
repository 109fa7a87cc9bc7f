"""The docker runtime does what every runtime must do."""

from __future__ import annotations

import asyncio
import functools
import secrets
from pathlib import Path

import pytest
from conformance import (
    Bench,
    EngineConformance,
    Rig,
    open_bench,
    processes_with,
    sleep_token,
    start_in_killed_server,
)
from dockerd import IMAGE, DockerDaemon

from batchyard.engines.local.docker.engine import DockerEngine
from batchyard.kernel.messages import TaskExited, TaskStarted

pytestmark = pytest.mark.docker


class TestDocker(EngineConformance):
    @pytest.fixture
    def rig(self, tmp_path: Path, daemon: DockerDaemon) -> Rig:
        factory = functools.partial(
            DockerEngine,
            data_dir=tmp_path / "engine",
            log_root=tmp_path / "logs",
            installation_id=secrets.token_hex(4),
            vcpus=2.0,
            memory=4096,
            docker_host=daemon.url,
        )
        # A container takes about a third of a second to start, and Docker writes its own log line by line: fewer and
        # longer lines are enough for it to go on to its next file (after 20 MB).
        flood = (300_000, "." * 80)
        return Rig(factory=factory, log_root=tmp_path / "logs", image=IMAGE, flood=flood, crowd=30)

    async def test_output_and_errors_stand_in_one_stream_in_order(self, bench: Bench) -> None:
        """Docker reads a program's two outputs apart, so only the order within each is certain."""
        task = bench.task("echo one; echo two >&2; echo; echo three; echo four >&2")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        lines = bench.log(task)
        assert [line for line in lines if line not in (b"two", b"four")] == [b"one", b"", b"three"]
        assert [line for line in lines if line in (b"two", b"four")] == [b"two", b"four"]

    async def test_signals_are_at_their_defaults(self, bench: Bench) -> None:
        """Without the shell of busybox, which ignores SIGQUIT itself."""
        task = bench.task("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        own = (
            0b11 << 31
        )  # Signals 32 and 33 are the C library's: `make` hands them down ignored, and nobody can change that.
        masks = {line.split()[0]: int(line.split()[1], 16) & ~own for line in bench.log(task)}
        assert masks == {b"SigBlk:": 0, b"SigIgn:": 0}

    async def test_an_unfinished_line_arrives_while_the_task_runs(self, bench: Bench) -> None:
        """Docker keeps an unfinished line back until it ends, the program does, or it is 16 KiB long."""
        task = bench.task("printf 'password? '")
        bench.engine.start([task])
        await bench.story.first(TaskExited, task.task_id)
        assert bench.log(task) == [b"password? "]

    async def test_tasks_outlive_a_killed_server(self, rig: Rig, bench: Bench, daemon: DockerDaemon) -> None:
        """As in the suite, but while no server runs a log stands still, for it is the server that copies it."""
        token = sleep_token()
        quick = bench.task("sleep 0.3; echo after; exit 4")
        slow = bench.task(f"echo before; sleep {token}")
        await bench.engine.close()
        await start_in_killed_server(rig, [quick, slow])
        await asyncio.to_thread(daemon.request, "POST", f"/containers/batchyard-{quick.task_id}/wait")
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
