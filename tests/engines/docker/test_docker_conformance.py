"""The docker runtime does what every runtime must do."""

from __future__ import annotations

import functools
import secrets
from pathlib import Path

import pytest
from conformance import Bench, EngineConformance, Rig
from dockerd import IMAGE, DockerDaemon

from batchyard.engines.local.docker.engine import DockerEngine
from batchyard.kernel.messages import TaskExited

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
        # A container takes about a third of a second to start.
        return Rig(factory=factory, log_root=tmp_path / "logs", image=IMAGE, crowd=30)

    async def test_output_and_errors_stand_in_one_stream_in_order(self, bench: Bench) -> None:
        """Docker reads a program's two outputs apart, so only the order within each is certain."""
        task = bench.task("echo one; echo two >&2; echo; echo three; echo four >&2")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        lines = bench.log(task)
        assert [line for line in lines if line not in (b"two", b"four")] == [b"one", b"", b"three"]
        assert [line for line in lines if line in (b"two", b"four")] == [b"two", b"four"]

    async def test_an_unfinished_line_arrives_while_the_task_runs(self, bench: Bench) -> None:
        """Docker keeps an unfinished line back until it ends, the program does, or it is 16 KiB long."""
        task = bench.task("printf 'password? '")
        bench.engine.start([task])
        await bench.story.first(TaskExited, task.task_id)
        assert bench.log(task) == [b"password? "]
