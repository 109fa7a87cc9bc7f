"""Stops and starts: jobs go on running and are found again, and what keeps a server from starting is said in one line."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server_process import SERVE, ServerProcess
from waiting import until
from work import Gate, describe, ended, log_lines, new_environment, new_queue, reached, register, submit

Servers = Callable[..., ServerProcess]


class TestStops:
    def test_jobs_go_on_and_are_found_again(self, new_server: Servers, gate: Gate, tmp_path: Path) -> None:
        server = new_server().start()
        batch = server.client("batch")
        ran = tmp_path / "ran"
        script = f"echo one; echo x >> {ran}; {gate.script}; echo two >&2; exit $AWS_BATCH_JOB_ARRAY_INDEX"
        array = submit(batch, register(batch, script), arrayProperties={"size": 2})
        after = submit(batch, register(batch), dependsOn=[{"jobId": f"{array}:0"}])
        running = [reached(batch, f"{array}:{index}", "RUNNING") for index in range(2)]
        until(lambda: ran.exists() and len(ran.read_text().splitlines()) == 2, "both children")

        assert server.stop() == 0
        assert "Traceback" not in server.log()
        gate.open()
        server.start()
        children = [ended(batch, f"{array}:{index}") for index in range(2)]
        assert [child["container"]["exitCode"] for child in children] == [0, 1]
        assert [child["startedAt"] for child in children] == [child["startedAt"] for child in running]
        assert [log_lines(server.client("logs"), child) for child in children] == [["one", "two"]] * 2
        assert len(ran.read_text().splitlines()) == 2, "a job has run twice"
        assert ended(batch, after)["status"] == "SUCCEEDED"
        assert ended(batch, array)["statusReason"] == "Array Child Job failed"

    def test_what_ended_meanwhile_is_told(self, new_server: Servers, gate: Gate, tmp_path: Path) -> None:
        server = new_server().start()
        batch = server.client("batch")
        over = tmp_path / "over"
        job_id = submit(batch, register(batch, f"{gate.script}; touch {over}; exit 5"))
        reached(batch, job_id, "RUNNING")
        server.stop()
        gate.open()
        until(over.exists, "the job's end")
        server.start()
        job = ended(batch, job_id)
        assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 5)
        assert job["stoppedAt"] <= int(over.stat().st_mtime * 1000) + 5000

    def test_time_outs_are_still_enforced(self, new_server: Servers, gate: Gate) -> None:
        """The limit is a minute at least, so the clock of the store is turned back instead of waiting for it."""
        server = new_server().start()
        batch = server.client("batch")
        definition = register(batch, gate.script, timeout={"attemptDurationSeconds": 60})
        job_id = submit(batch, definition, retryStrategy={"attempts": 3})
        reached(batch, job_id, "RUNNING")
        server.stop()
        make_older(server, job_id, 61_000)
        server.start()
        job = ended(batch, job_id)
        assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
        assert len(job["attempts"]) == 1, "a time-out is not retried"

    def test_everything_else_is_as_it_was(self, new_server: Servers) -> None:
        server = new_server().start()
        batch = server.client("batch")
        queue = new_queue(batch, new_environment(batch, state="DISABLED"), tags={"a": "b"})
        definition = register(batch, tags={"c": "d"}, retryStrategy={"attempts": 2})
        register(batch, name=definition.split("/")[1].split(":")[0])
        batch.deregister_job_definition(jobDefinition=definition)
        jobs = [submit(batch, register(batch), queue=queue, tags={"e": "f"})]
        jobs.append(submit(batch, register(batch), queue=queue, arrayProperties={"size": 5}))
        jobs.append(submit(batch, register(batch), queue=queue, dependsOn=[{"jobId": jobs[0]}]))
        batch.terminate_job(jobId=f"{jobs[1]}:3", reason="this one")
        before = everything(batch, jobs)
        server.restart()
        assert everything(batch, jobs) == before
        server.kill()
        server.start()
        assert everything(batch, jobs) == before

    def test_a_stop_in_the_middle_of_requests(self, new_server: Servers) -> None:
        """Open connections that say nothing do not hold the server up."""
        server = new_server().start()
        host, port = server.endpoint.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as idle, socket.create_connection((host, int(port))) as half:
            half.sendall(b"POST /v1/submitjob HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            idle.sendall(b"")
            assert server.stop() == 0

    def test_keys_stay_the_same_and_are_shown_once(self, new_server: Servers) -> None:
        server = new_server().start()
        first = server.connection
        assert server.log().count(first["secret_access_key"]) == 1
        server.restart()
        assert server.connection == first
        assert server.log().count(first["secret_access_key"]) == 1


def make_older(server: ServerProcess, job_id: str, milliseconds: int) -> None:
    """Moves the start of a running job into the past, in the store of a server that is stopped."""
    import sqlite3

    with sqlite3.connect(server.data_dir / "batchyard.db") as connection:
        changed = connection.execute(
            "UPDATE jobs SET started_at = started_at - ? WHERE id = ?", (milliseconds, job_id)
        ).rowcount
        assert changed == 1


def everything(batch: Any, jobs: list[str]) -> list[Any]:
    ids = [*jobs, *(f"{jobs[1]}:{index}" for index in range(5))]
    described = sorted(batch.describe_jobs(jobs=ids)["jobs"], key=lambda job: str(job["jobId"]))
    return [
        described,
        batch.describe_job_queues()["jobQueues"],
        batch.describe_compute_environments()["computeEnvironments"],
        batch.describe_job_definitions()["jobDefinitions"],
        batch.list_jobs(arrayJobId=jobs[1], jobStatus="RUNNABLE")["jobSummaryList"],
    ]


class TestReadyFile:
    def test_what_it_says(self, new_server: Servers) -> None:
        server = new_server(region="eu-central-1", account_id="123456789012").start()
        connection = json.loads(server.ready_file.read_text())
        assert set(connection) == {"endpoint", "region", "account_id", "access_key_id", "secret_access_key"}
        assert connection["region"] == "eu-central-1"
        assert connection["account_id"] == "123456789012"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", connection["endpoint"])
        assert re.fullmatch(r"AKIA[A-Z2-7]{16}", connection["access_key_id"])
        identity = server.client("sts").get_caller_identity()
        assert identity["Account"] == "123456789012"

    def test_only_its_owner_can_read_it(self, new_server: Servers) -> None:
        server = new_server().start()
        for path in (server.ready_file, server.data_dir / "connection.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((server.data_dir / "batchyard.db").stat().st_mode) & 0o077 == 0, "it holds the keys"
        assert not stat.S_IMODE(server.data_dir.stat().st_mode) & 0o066, "others may pass, not look"


def failing(server: ServerProcess, *flags: str, **environment: str) -> str:
    """What a server that cannot start says; it ends by itself, with a code, and without a traceback."""
    ran = subprocess.run(
        [*SERVE, *flags],
        env={**server.environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode in (1, 2), ran.stderr
    assert "Traceback" not in ran.stderr
    assert "defect" not in ran.stderr
    assert ran.stdout == ""
    return ran.stderr


class TestRefusedStarts:
    def test_a_second_server_on_the_same_data(self, new_server: Servers) -> None:
        server = new_server().start()
        other = new_server(data_dir=server.data_dir)
        said = failing(other)
        assert "another server is using the data directory" in said
        assert str(server.data_dir) in said
        assert server.client("sts").get_caller_identity(), "the first is not disturbed"

    def test_a_port_in_use(self, new_server: Servers) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert f"127.0.0.1:{port}: Address already in use" in failing(new_server(port=port))

    def test_an_address_that_is_not_ours(self, new_server: Servers) -> None:
        assert "cannot listen on 192.0.2.1:" in failing(new_server(host="192.0.2.1"))

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
    def test_no_authentication_beyond_loopback(self, new_server: Servers, host: str) -> None:
        assert "auth none is only for loopback addresses" in failing(new_server(host=host, auth="none"))

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (["--port", "70000"], "port"),
            (["--port", "many"], "port"),
            (["--overcommit", "0"], "overcommit"),
            (["--overcommit", "nan"], "overcommit"),
            (["--runtime", "vm"], "runtime"),
            (["--auth", "trust"], "auth"),
            (["--region", "Mars"], "region"),
            (["--no-such-flag"], "--no-such-flag"),
            (["surplus"], "surplus"),
            (["--config", "/no/such/file.toml"], "/no/such/file.toml"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_bad_flags(self, new_server: Servers, flags: list[str], words: str) -> None:
        assert words in failing(new_server(), *flags)

    @pytest.mark.parametrize("text", ["port = ", "port = 'x'", "no_such_setting = 1", "account_id = '12'", "\udcff"])
    def test_bad_settings_files(self, new_server: Servers, tmp_path: Path, text: str) -> None:
        path = tmp_path / "settings.toml"
        path.write_text(text, errors="surrogateescape")
        server = new_server()
        del server.settings["port"]
        said = failing(server, "--config", str(path))
        assert "settings" in said or "account_id" in said

    def test_an_unreadable_settings_file(self, new_server: Servers, tmp_path: Path) -> None:
        assert str(tmp_path) in failing(new_server(), "--config", str(tmp_path))

    def test_a_data_directory_that_cannot_be(self, new_server: Servers, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.touch()
        for data_dir in (file, file / "below", Path("/proc/batchyard")):
            assert str(data_dir.parent) in failing(new_server(data_dir=data_dir))

    @pytest.mark.skipif(os.geteuid() != 0, reason="makes a read-only file system, as root only can")
    def test_a_data_directory_that_is_read_only(self, new_server: Servers, tmp_path: Path) -> None:
        mounted = tmp_path / "mounted"
        mounted.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", mounted], capture_output=True).returncode:
            pytest.skip("may not mount")
        try:
            assert "Read-only file system" in failing(new_server(data_dir=mounted / "data"))
        finally:
            subprocess.run(["umount", "-l", mounted], check=True)

    def test_a_store_that_is_no_store(self, new_server: Servers) -> None:
        server = new_server()
        server.data_dir.mkdir(parents=True)
        (server.data_dir / "batchyard.db").write_bytes(b"this is no database at all" * 100)
        assert "batchyard.db" in failing(server)

    def test_a_ready_file_that_cannot_be_written(self, new_server: Servers, tmp_path: Path) -> None:
        assert "no-such-folder" in failing(new_server(), "--ready-file", str(tmp_path / "no-such-folder" / "ready"))


def test_jobs_started_before_a_step_of_the_clock(new_server: Servers, gate: Gate) -> None:
    """A clock that has been set back while the server was away: nothing ends early, nothing is lost."""
    server = new_server().start()
    batch = server.client("batch")
    job_id = submit(batch, register(batch, gate.script, timeout={"attemptDurationSeconds": 60}))
    reached(batch, job_id, "RUNNING")
    server.stop()
    make_older(server, job_id, -3_600_000)
    server.start()
    assert describe(batch, job_id)["startedAt"] > time.time() * 1000
    gate.open()
    assert ended(batch, job_id)["status"] == "SUCCEEDED"
