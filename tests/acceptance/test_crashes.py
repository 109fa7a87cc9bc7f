"""kill -9, over and over, under load: no accepted job is lost and no attempt runs twice.

The program of every job appends a line with its job id and attempt to a file outside of the server's reach, before
anything else. Whatever the server believes afterwards is held against that file.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from forked_server import ForkedServer
from response_shapes import watch

from server_process import CLIENT_CONFIG
from waiting import until
from work import TERMINAL, ended, register, submit

RESTARTS = int(os.environ.get("BATCHYARD_TEST_RESTARTS", "200"))
RUNNER_KILLS = 10
FIRST_STARTS = 8
SEED = int(os.environ.get("BATCHYARD_TEST_SEED", "1"))
SUBMITTERS = 3
ARRAY_SIZE = 12
UNFINISHED_AT_MOST = 150
"""A submitter holds back while more jobs than this are open: the load is steady, and its end comes soon."""

HOST_FAILED = "Host EC2 (instance "


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkedServer]:
    server = ForkedServer(tmp_path / "data", log_level="error")
    server.configure_client = watch
    with server:
        yield server


class Ledger:
    """What has been acknowledged, and what has been asked of it since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.submitted: dict[str, dict[str, Any]] = {}
        """By job id: the request."""
        self.to_be_ended: set[str] = set()
        """Jobs that somebody has, perhaps in vain, tried to cancel or to terminate."""
        self.unanswered = 0

    def add(self, job_id: str, request: dict[str, Any]) -> None:
        with self._lock:
            self.submitted[job_id] = request

    def end(self, job_id: str) -> None:
        with self._lock:
            self.to_be_ended.add(job_id)

    def some_job(self, chance: random.Random) -> str | None:
        with self._lock:
            recent = list(self.submitted)[-30:]
        return chance.choice(recent) if recent else None


class Load:
    """Threads that submit, cancel and terminate, whether the server is up or not."""

    def __init__(self, server: ForkedServer, definition: str, ledger: Ledger) -> None:
        self._server = server
        self._definition = definition
        self._ledger = ledger
        self._stopping = threading.Event()
        self.open_jobs = 0
        self._pool = ThreadPoolExecutor(SUBMITTERS)
        self._threads = [self._pool.submit(self._work, SEED + n) for n in range(SUBMITTERS)]

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.result()
        self._pool.shutdown()

    def _work(self, seed: int) -> None:
        chance = random.Random(seed)
        client = self._server.session().client("batch", endpoint_url=self._server.endpoint, config=CLIENT_CONFIG)
        watch(client)
        while not self._stopping.wait(0.05 if self.open_jobs > UNFINISHED_AT_MOST else 0.003):
            if self.open_jobs > UNFINISHED_AT_MOST:
                continue
            try:
                self._act(client, chance)
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                if isinstance(error, ClientError) and error.response["Error"]["Code"] != "ServerException":
                    raise
                self._ledger.unanswered += 1

    def _act(self, client: Any, chance: random.Random) -> None:
        kind = chance.choices(["single", "retried", "array", "dependent", "cancel", "terminate"], [6, 3, 1, 3, 1, 1])[0]
        other = self._ledger.some_job(chance)
        if kind in ("cancel", "terminate"):
            if other is not None:
                self._ledger.end(other)
                getattr(client, f"{kind}_job")(jobId=other, reason=kind)
            return
        request: dict[str, Any] = {"jobName": kind, "jobQueue": "default", "jobDefinition": self._definition}
        if kind == "retried":
            request["retryStrategy"] = {"attempts": 3}
            request["parameters"] = {"succeeds_at": str(chance.randint(2, 4))}
        elif kind == "array":
            request["arrayProperties"] = {"size": ARRAY_SIZE}
            if chance.random() < 0.5:
                request["dependsOn"] = [{"type": "SEQUENTIAL"}]
        elif kind == "dependent" and other is not None:
            request["dependsOn"] = [{"jobId": other}]
        answer = client.submit_job(**request)
        if "jobId" in answer:  # It is not where the server was killed between head and body of its answer.
            self._ledger.add(answer["jobId"], request)


def registered(batch: Any, ran: Path) -> str:
    """A definition whose program notes that it runs, says so, and fails until the attempt `succeeds_at`."""
    script = (
        f'echo "$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT" >> "{ran}"; echo "$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT";'
        ' [ "$AWS_BATCH_JOB_ATTEMPT" -ge "$0" ] || exit 17'
    )
    return register(batch, container_command=["sh", "-c", script, "Ref::succeeds_at"], parameters={"succeeds_at": "1"})


@pytest.mark.long
def test_many_kills_of_the_server(server: ForkedServer, tmp_path: Path, record_property: Any) -> None:
    ran = tmp_path / "ran"
    ran.touch()
    chance = random.Random(SEED)
    ledger = Ledger()
    load = Load(server, registered(server.client("batch"), ran), ledger)
    start_times: list[float] = []
    for _ in range(RESTARTS):
        threading.Event().wait(chance.uniform(0.02, 0.4))
        server.kill()
        if chance.random() < 0.1:  # Some die before they are ready.
            process = server.spawn()
            threading.Event().wait(chance.uniform(0.0, 0.2))
            process.kill()
            process.wait()
        began = time.monotonic()
        server.start()
        start_times.append(time.monotonic() - began)
        load.open_jobs = open_jobs(server)
    load.stop()
    ended_at = time.monotonic()
    verdict = settle_and_check(server, ledger, ran)
    record_property("restart_seconds_median", sorted(start_times)[len(start_times) // 2])
    record_property("restart_seconds_most", max(start_times))
    print(
        f"\n{RESTARTS} restarts, ready again after {sorted(start_times)[len(start_times) // 2]:.3f} s (median), at most"
        f" {max(start_times):.3f} s; {len(ledger.submitted)} submissions acknowledged, {ledger.unanswered} requests not"
        f" answered, {verdict} attempts run, all settled after {time.monotonic() - ended_at:.1f} s"
    )
    assert len(ledger.submitted) > RESTARTS, "there was no load to speak of"
    assert ledger.unanswered > 0, "no kill hit a request"


def open_jobs(server: ForkedServer) -> int:
    batch = server.client("batch")
    states = ("PENDING", "RUNNABLE", "STARTING", "RUNNING")
    return sum(len(batch.list_jobs(jobQueue="default", jobStatus=state)["jobSummaryList"]) for state in states)


def settle_and_check(server: ForkedServer, ledger: Ledger, ran: Path, *, may_lose: bool = False) -> int:
    """Waits for the end of everything, then compares the server's tale with the jobs' own. Returns the attempts run."""
    batch = server.client("batch")
    until(lambda: open_jobs(server) == 0, lambda: f"the end of {open_jobs(server)} jobs", 180)
    jobs = described(batch, every_id(batch))
    by_id = {job["jobId"]: job for job in jobs}
    assert ledger.submitted.keys() <= by_id.keys(), "an acknowledged job is gone"

    lines = ran.read_text().splitlines()
    twice = [line for line, count in Counter(lines).items() if count > 1]
    assert not twice, f"attempts that ran twice: {twice}"
    logged = every_log_line(server.client("logs"))
    told = set()
    for job in jobs:
        assert job["status"] in TERMINAL, job
        if "size" not in job.get("arrayProperties", {}):
            told |= check_job(job, set(lines), logged, may_lose=may_lose)
            check_outcome(job, by_id, ledger, may_lose=may_lose)
    assert set(lines) <= told, f"ran, but the server does not know: {set(lines) - told}"
    return len(lines)


def check_job(job: dict[str, Any], ran: set[str], logged: dict[str, list[str]], *, may_lose: bool) -> set[str]:
    """Exit codes and logs of each attempt. Returns the lines that its attempts may have written."""
    lines = set()
    for number, attempt in enumerate(job["attempts"], 1):
        line = f"{job['jobId']} {number}"
        lines.add(line)
        container = attempt["container"]
        lost = attempt["statusReason"].startswith(HOST_FAILED)
        assert may_lose or not lost, job
        if "exitCode" in container and container["exitCode"] < 128:
            assert line in ran, f"has an exit code and never ran: {job}"
            assert container["exitCode"] == (0 if number >= int(job["parameters"]["succeeds_at"]) else 17), job
            assert logged.get(container["logStreamName"]) == [line], job
        else:
            assert lost or job["isTerminated"], job
    return lines


def check_outcome(job: dict[str, Any], by_id: dict[str, Any], ledger: Ledger, *, may_lose: bool) -> None:
    """What nobody has interfered with has come out as it must."""
    parent = job["jobId"].partition(":")[0]
    if may_lose or parent in ledger.to_be_ended or job["jobId"] in ledger.to_be_ended:
        return
    if any(
        "jobId" in dependency and by_id[dependency["jobId"]]["status"] == "FAILED" for dependency in job["dependsOn"]
    ):
        assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "Dependent Job failed", []), job
        return
    succeeds_at = int(job["parameters"]["succeeds_at"])
    attempts = job.get("retryStrategy", {"attempts": 1})["attempts"]
    assert job["status"] == ("SUCCEEDED" if succeeds_at <= attempts else "FAILED"), job
    assert len(job["attempts"]) == min(succeeds_at, attempts), job


def every_id(batch: Any) -> list[str]:
    """Single jobs, parents and children, also of submissions whose answer was lost."""
    pages = batch.get_paginator("list_jobs").paginate(
        jobQueue="default", filters=[{"name": "AFTER_CREATED_AT", "values": ["0"]}]
    )
    ids = []
    for page in pages:
        for job in page["jobSummaryList"]:
            ids.append(job["jobId"])
            ids += [f"{job['jobId']}:{index}" for index in range(job.get("arrayProperties", {}).get("size", 0))]
    return ids


def described(batch: Any, ids: list[str]) -> list[dict[str, Any]]:
    jobs = [
        job for start in range(0, len(ids), 100) for job in batch.describe_jobs(jobs=ids[start : start + 100])["jobs"]
    ]
    assert len(jobs) == len(ids)
    return jobs


def every_log_line(logs: Any) -> dict[str, list[str]]:
    """All lines by log stream."""
    found: dict[str, list[str]] = {}
    for page in logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/batch/job"):
        for event in page["events"]:
            found.setdefault(event["logStreamName"], []).append(event["message"])
    return found


def test_a_first_start_that_is_killed_anywhere(tmp_path: Path) -> None:
    """However far it came, the next start completes what a first start does."""
    chance = random.Random(SEED)
    for number in range(FIRST_STARTS):
        server = ForkedServer(tmp_path / f"first{number}" / "data", log_level="error")
        try:
            process = server.spawn()
            if number:
                threading.Event().wait(chance.uniform(0.0, 0.3))
            process.kill()
            process.wait()
            server.start()
            batch = server.client("batch")
            assert ended(batch, submit(batch, register(batch)))["status"] == "SUCCEEDED"
        finally:
            server.close()


def test_kills_of_the_runner(server: ForkedServer, tmp_path: Path) -> None:
    """The runner takes its tasks with it: their attempts are lost, are never run again under the same number, and are
    retried where the job says so."""
    ran = tmp_path / "ran"
    ran.touch()
    chance = random.Random(SEED)
    ledger = Ledger()
    batch = server.client("batch")
    definition = registered(batch, ran)
    slow = register(batch, f'echo "$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT" >> "{ran}"; exec sleep 3600')
    load = Load(server, definition, ledger)
    victims: list[str] = []
    for _ in range(RUNNER_KILLS):
        job = batch.submit_job(
            jobName="slow",
            jobQueue="default",
            jobDefinition=slow,
            parameters={"succeeds_at": "1"},
            retryStrategy={"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}]},
        )
        victims.append(job["jobId"])
        until(lambda: job["jobId"] in ran.read_text(), "the slow job's start")  # noqa: B023
        threading.Event().wait(chance.uniform(0.0, 0.2))
        [runner] = until(lambda: found if len(found := server.runners()) == 1 else None, "one runner")
        os.kill(runner, signal.SIGKILL)
        until(lambda: f"{job['jobId']} 2" in ran.read_text(), "the second attempt")  # noqa: B023
        ledger.end(job["jobId"])
        batch.terminate_job(jobId=job["jobId"], reason="seen enough")
    load.stop()
    settle_and_check(server, ledger, ran, may_lose=True)
    for job in described(batch, victims):
        reasons = [attempt["statusReason"] for attempt in job["attempts"]]
        assert len(reasons) == 2, job
        assert reasons[0].startswith(HOST_FAILED)
        assert reasons[1] == "seen enough"
