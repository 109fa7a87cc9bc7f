"""How many jobs a second: an array of `/bin/true`, from SubmitJob sent to its SUCCEEDED seen.

Everything is on: signed requests, durable state, a log stream for each child. The floor is `xargs -P`, which does nothing
but start programs; the peer is HyperQueue. They take turns, round by round, on the same cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmarks.client import batch_request
from benchmarks.measures import Result, Row, at_least, median_row
from benchmarks.server import CpuTime, Server, cpu_of, serve
from benchmarks.sizes import Sizes
from benchmarks.work import register, wait_for_array

WARM_UP = 50


def measure(folder: Path, sizes: Sizes) -> Result:
    jobs, cores = sizes.throughput_jobs, len(os.sched_getaffinity(0))
    xargs, hyperqueue, batchyard, loads = [], [], [], []
    costs: list[CpuTime] = []
    runner_costs: list[CpuTime] = []
    xargs_costs: list[CpuTime] = []
    hyperqueue_costs: list[CpuTime] = []
    with serve(folder / "server") as server, _hyperqueue(folder, cores) as peer:
        with server.connect() as connection:
            register(connection, "true", ["/bin/true"])
        _batchyard_rate(server, WARM_UP)
        _hyperqueue_rate(peer, WARM_UP)
        for _ in range(sizes.throughput_rounds):
            before = cpu_of(os.getpid())
            xargs.append(_xargs_rate(jobs, cores))
            xargs_costs.append(cpu_of(os.getpid()) - before)
            before = cpu_of(peer.pid)
            hyperqueue.append(_hyperqueue_rate(peer, jobs))
            hyperqueue_costs.append(cpu_of(peer.pid) - before)
            before, runner_before = server.cpu(), server.runner_cpu()
            batchyard.append(_batchyard_rate(server, jobs))
            costs.append(server.cpu() - before)
            runner_costs.append(server.runner_cpu() - runner_before)
            loads.append(os.getloadavg()[0])
    of_xargs = [ours / floor for ours, floor in zip(batchyard, xargs, strict=True)]
    of_hyperqueue = [ours / theirs for ours, theirs in zip(batchyard, hyperqueue, strict=True)]
    rows = [
        median_row("throughput.batchyard", f"Batchyard, array of {jobs:,} /bin/true", batchyard, "jobs/s"),
        median_row("throughput.xargs", f"floor: xargs -P{cores} -n1 /bin/true", xargs, "/s"),
        median_row("throughput.hyperqueue", f"peer: HyperQueue, {cores} cores, {jobs:,} tasks", hyperqueue, "tasks/s"),
        median_row("throughput.of_xargs", "Batchyard / xargs", of_xargs, "×", at_least(0.7)),
        median_row("throughput.of_hyperqueue", "Batchyard / HyperQueue", of_hyperqueue, "×", at_least(1.4)),
        _cpu_row("throughput.server_cpu", "CPU of the server", [c.own for c in costs], jobs),
        _cpu_row("throughput.runner_cpu", "CPU of the runner", [c.own for c in runner_costs], jobs),
        _cpu_row("throughput.programs_cpu", "CPU of the programs", [c.children for c in runner_costs], jobs),
        _cpu_row("throughput.xargs_cpu", "CPU of xargs and its programs", [c.children for c in xargs_costs], jobs),
        _cpu_row(
            "throughput.hyperqueue_cpu",
            "CPU of HyperQueue and its programs",
            [c.own + c.children for c in hyperqueue_costs],
            jobs,
        ),
        median_row("throughput.load", "load average after a round", loads, ""),
    ]
    notes = [
        "Medians of the rounds; ratios are taken within each round. HyperQueue runs without output files and without a"
        " journal; its rate is read where that favours it (benchmarks/hyperqueue_peer.py). What else the machine does"
        " changes the rates, but hardly the CPU time."
    ]
    return Result("Throughput", rows, notes)


def _cpu_row(key: str, label: str, seconds: list[float], jobs: int) -> Row:
    return median_row(key, label, [1e6 * each / jobs for each in seconds], "µs/job")


def _batchyard_rate(server: Server, jobs: int) -> float:
    payload = {
        "jobName": "array",
        "jobQueue": "default",
        "jobDefinition": "true",
        "arrayProperties": {"size": jobs},
    }
    request = batch_request(server.endpoint, "SubmitJob", payload)
    with server.connect() as connection:
        began = time.perf_counter()
        answer = connection.exchange(request)
        wait_for_array(connection, json.loads(answer)["jobId"])
        return jobs / (time.perf_counter() - began)


def _xargs_rate(jobs: int, cores: int) -> float:
    numbers = "\n".join(map(str, range(jobs))).encode()
    began = time.perf_counter()
    subprocess.run(["xargs", f"-P{cores}", "-n1", "/bin/true"], input=numbers, check=True)
    return jobs / (time.perf_counter() - began)


@contextlib.contextmanager
def _hyperqueue(folder: Path, cores: int) -> Iterator[subprocess.Popen[str]]:
    directory = folder / "hyperqueue"
    directory.mkdir()
    command = [sys.executable, "-m", "benchmarks.hyperqueue_peer", str(directory), str(cores)]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    with process:
        try:
            yield process
        finally:
            _pipe(process.stdin).close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _hyperqueue_rate(peer: subprocess.Popen[str], tasks: int) -> float:
    print(tasks, file=_pipe(peer.stdin), flush=True)
    return float(_pipe(peer.stdout).readline())


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
