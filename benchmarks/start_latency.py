"""How soon a job starts on an idle server: from SubmitJob answered to the first line of the job's program.

The program is `date +%s%N`: the first thing that it does of its own is to read the clock, and the line in the job's log
is the reading. On the same kernel clock the client notes when the answer to SubmitJob has come in. The floor is the same
program started by `posix_spawn` from an idle process, from just before that call to the reading.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from benchmarks.client import Connection, batch_request
from benchmarks.measures import Result, Row, at_most, percentile
from benchmarks.server import Server, serve
from benchmarks.sizes import Sizes
from benchmarks.work import register, wait_for_job

PROGRAM = ["/bin/date", "+%s%N"]
SETTLE_SECONDS = 0.03
"""Between a job and the next, and between a submission and the first question about it: the server is idle meanwhile."""
LOG_GROUP = "/aws/batch/job"


def measure(folder: Path, sizes: Sizes) -> Result:
    floor: list[float] = []
    starts: list[float] = []
    answers: list[float] = []
    with serve(folder / "server") as server, server.connect() as connection:
        register(connection, "date", PROGRAM)
        _start(server, connection)
        for _ in range(sizes.starts):
            floor.append(_floor())
            answer, start = _start(server, connection)
            answers.append(answer)
            starts.append(start)
    rows = [
        _row("p50", "answer → first line of the program, p50", starts, 0.5, 20),
        _row("p99", "answer → first line of the program, p99", starts, 0.99, 50),
        _row("floor_p50", "floor: posix_spawn → first line, p50", floor, 0.5),
        _row("floor_p99", "floor: posix_spawn → first line, p99", floor, 0.99),
        _row("answer_p50", "SubmitJob sent → answered, p50", answers, 0.5),
        _row("answer_p99", "SubmitJob sent → answered, p99", answers, 0.99),
    ]
    return Result("Start latency", rows, [f"{sizes.starts} jobs, one after another, each of them `date +%s%N`."])


def _row(key: str, label: str, samples: list[float], share: float, aim: float | None = None) -> Row:
    return Row(
        key=f"start_latency.{key}",
        label=label,
        value=percentile(samples, share),
        unit="ms",
        aim=at_most(aim) if aim is not None else None,
        samples=samples if share == 0.5 else [],
    )


def _start(server: Server, connection: Connection) -> tuple[float, float]:
    """Milliseconds from the request to the answer, and from the answer to the program."""
    payload = {"jobName": "date", "jobQueue": "default", "jobDefinition": "date"}
    request = batch_request(server.endpoint, "SubmitJob", payload)
    time.sleep(SETTLE_SECONDS)
    sent = time.time_ns()
    answer = connection.exchange(request)
    answered = time.time_ns()
    time.sleep(SETTLE_SECONDS)
    job = wait_for_job(connection, json.loads(answer)["jobId"], SETTLE_SECONDS)
    stream = job["container"]["logStreamName"]
    events = connection.logs("GetLogEvents", logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)["events"]
    return (answered - sent) / 1e6, (int(events[0]["message"]) - answered) / 1e6


def _floor() -> float:
    """Milliseconds from `posix_spawn` to the first line of the same program."""
    readable, writable = os.pipe()
    time.sleep(SETTLE_SECONDS)
    began = time.time_ns()
    process = os.posix_spawn(PROGRAM[0], PROGRAM, {}, file_actions=[(os.POSIX_SPAWN_DUP2, writable, 1)])
    os.close(writable)
    os.waitpid(process, 0)
    line = os.read(readable, 64)
    os.close(readable)
    return (int(line) - began) / 1e6
