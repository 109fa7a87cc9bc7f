"""A disk that is full: callers get a clean error, nothing is half done, and when there is room again it all goes on
without anybody's help."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from response_shapes import watch

from server_process import ServerProcess
from waiting import until
from work import Gate, describe, ended, log_lines, reached, register, submit

SIZE_MIB = 24


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    yield mounted
    subprocess.run(["umount", "-l", mounted], check=True)


@pytest.fixture
def server(disk: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(disk / "data", log_level="error")
    server.ready_file = tmp_path / "ready"
    server.log_file = tmp_path / "log"
    server.configure_client = watch
    with server:
        yield server


class Ballast:
    """Takes what is left of the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)


def fails_until_full(batch: Any, definition: str, accepted: list[str]) -> ClientError:
    """Submits until the disk has no room for one more; returns the error."""
    for _ in range(10_000):
        try:
            accepted.append(submit(batch, definition, parameters={"x": "y" * 20_000}, tags={"accepted": "yes"}))
        except ClientError as error:
            return error
    raise AssertionError("the disk is never full")


def test_submissions_on_a_full_disk(server: ServerProcess, disk: Path, gate: Gate) -> None:
    batch = server.client("batch")
    definition = register(batch, f"{gate.script}; echo done")
    running = submit(batch, definition)
    reached(batch, running, "RUNNING")
    ballast = Ballast(disk / "ballast")
    ballast.fill()
    accepted: list[str] = []
    error = fails_until_full(batch, definition, accepted)
    assert error.response["Error"]["Code"] == "ServerException"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    for _ in range(5):
        with pytest.raises(ClientError) as again:
            submit(batch, definition, parameters={"x": "y" * 20_000})
        assert again.value.response["Error"]["Code"] == "ServerException"
    assert server.process is not None
    assert server.process.poll() is None

    ballast.drop()
    after = until(lambda: submitted(batch, definition), "a submission that is accepted again")
    known = {
        job["jobId"]
        for page in batch.get_paginator("list_jobs").paginate(
            jobQueue="default", filters=[{"name": "AFTER_CREATED_AT", "values": ["0"]}]
        )
        for job in page["jobSummaryList"]
    }
    assert known == {running, after, *accepted}, "what was refused has not happened"
    gate.open()
    for job_id in known:
        assert ended(batch, job_id)["status"] == "SUCCEEDED"
    assert log_lines(server.client("logs"), describe(batch, after)) == ["done"]


def submitted(batch: Any, definition: str) -> str | None:
    try:
        return submit(batch, definition)
    except ClientError:
        return None


def test_jobs_that_end_while_the_disk_is_full(server: ServerProcess, disk: Path, gate: Gate) -> None:
    """Their end cannot be noted then. It is when there is room, with the right exit code."""
    batch = server.client("batch")
    definition = register(batch, f"{gate.script}; exit 7")
    jobs = [submit(batch, definition) for _ in range(3)]
    for job_id in jobs:
        reached(batch, job_id, "RUNNING")
    ballast = Ballast(disk / "ballast")
    ballast.fill()
    fails_until_full(batch, definition, [])
    gate.open()
    ballast_is_noticed = "a round failed"
    until(lambda: ballast_is_noticed in server.log(), "the server's complaint")
    ballast.drop()
    for job_id in jobs:
        job = ended(batch, job_id)
        assert (job["status"], job["container"].get("exitCode")) == ("FAILED", 7), job
        assert len(job["attempts"]) == 1


def test_a_server_that_is_killed_on_a_full_disk(server: ServerProcess, disk: Path, gate: Gate) -> None:
    batch = server.client("batch")
    definition = register(batch, gate.script)
    job_id = submit(batch, definition)
    reached(batch, job_id, "RUNNING")
    ballast = Ballast(disk / "ballast")
    ballast.fill()
    accepted: list[str] = []
    fails_until_full(batch, definition, accepted)
    server.kill()
    ballast.drop()
    server.start()
    gate.open()
    for each in (job_id, *accepted):
        assert ended(batch, each)["status"] == "SUCCEEDED"
