"""Tasks with files of their own, and the messages that they leave."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.engines.files import Files, Mount
from batchyard.kernel.messages import TaskExited, TaskStarted
from conformance.bench import Bench, Rig


class OwnFiles:
    @pytest.fixture
    def tree(self, rig: Rig, tmp_path: Path) -> Iterator[Files]:
        if not rig.shows_files:
            pytest.skip("this runtime shows files only when it runs as root")
        (tmp_path / "given").mkdir()
        (tmp_path / "given" / "data").write_text("from the host\n")
        root = f"/opt/conformance-{secrets.token_hex(4)}"  # Of this test alone: others may run at the same time.
        yield Files(
            root=root,
            contents={"input/greeting": "grüß Gott\n".encode(), "bytes": bytes(range(256))},
            folders=["scratch"],
            mounts={"kept": Mount(str(tmp_path / "deep" / "kept")), "given": Mount(str(tmp_path / "given"), True)},
            message="scratch/message",
        )
        with contextlib.suppress(OSError):
            os.rmdir(root)  # A runtime without containers had to make it.

    async def test_files_are_found_and_what_is_to_stay_stays(self, bench: Bench, tree: Files) -> None:
        script = f"cd {tree.root}; cat input/greeting given/data; wc -c < bytes; touch scratch/x && echo out > kept/out"
        task = bench.task(f"set -e; {script}; (echo no > given/data) 2>&- || echo refused", files=tree)
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        assert bench.log(task) == ["grüß Gott".encode(), b"from the host", b"256", b"refused"]
        assert (exited.exit_code, exited.message) == (0, None)
        assert (Path(tree.mounts["kept"].folder) / "out").read_text() == "out\n"
        assert (Path(tree.mounts["given"].folder) / "data").read_text() == "from the host\n"

    async def test_files_are_their_own_task_s_alone(self, bench: Bench, tree: Files) -> None:
        other = Files(root=tree.root, contents={"input/greeting": b"another\n"})
        script = f"cat {tree.root}/input/greeting; sleep 0.2; ls -A {tree.root}"
        tasks = [bench.task(script, files=other), bench.task(f"ls -A {tree.root}/* 2>/dev/null | wc -l")]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        assert bench.log(tasks[0]) == [b"another", b"input"]
        assert bench.log(tasks[1]) == [b"0"]

    async def test_a_message_comes_with_the_end(self, bench: Bench, tree: Files) -> None:
        exited = await bench.run(f"echo ' out of luck ' > {tree.root}/scratch/message; exit 3", files=tree)
        assert (exited.exit_code, exited.message) == (3, "out of luck")

    async def test_only_the_beginning_of_a_message_is_taken(self, bench: Bench, tree: Files) -> None:
        script = f"head -c 3000000 /dev/zero | tr '\\0' x > {tree.root}/scratch/message"
        assert (await bench.run(script, files=tree)).message == "x" * 1024

    @pytest.mark.parametrize("trick", ["ln -s /etc/passwd", "mkdir", "mkfifo"])
    async def test_a_message_is_a_plain_file(self, bench: Bench, tree: Files, trick: str) -> None:
        exited = await bench.run(f"{trick} {tree.root}/scratch/message", files=tree)
        assert (exited.exit_code, exited.message) == (0, None)

    async def test_a_message_is_found_after_a_restart(self, bench: Bench, tree: Files) -> None:
        task = bench.task(
            f"until [ -e {tree.root}/kept/go ]; do sleep 0.02; done; echo late > {tree.root}/scratch/message; exit 1",
            files=tree,
        )
        bench.engine.start([task])
        await bench.story.first(TaskStarted, task.task_id)
        again = await bench.restart()
        try:
            await again.engine.reconcile([task.task_id])
            (Path(tree.mounts["kept"].folder) / "go").touch()
            assert (await again.story.first(TaskExited, task.task_id)).message == "late"
        finally:
            await again.engine.close()

    async def test_files_that_cannot_be_shown_fail_the_task(self, bench: Bench, tree: Files, tmp_path: Path) -> None:
        (tmp_path / "no-folder").touch()
        files = Files(root=tree.root, mounts={"kept": Mount(str(tmp_path / "no-folder" / "kept"))})
        exited = await bench.run("true", files=files)
        assert (exited.exit_code, exited.started_at) == (None, None)
        assert "no-folder" in str(exited.reason)
