"""How many SubmitJob requests a second: eight clients, each of which sends the next when the last has been answered.

An answer means that the job is on the disk. The queue is blocked, so that nothing runs meanwhile. Requests are signed
beforehand and the clients are one loop over raw sockets, so that what is measured is the server (which checks every
signature). The floor is the disk: transactions a second when each is one row and waits for the disk by itself.
"""

from __future__ import annotations

import selectors
import sqlite3
import time
from pathlib import Path

from benchmarks.client import Connection, batch_request
from benchmarks.measures import Result, at_least, at_most, median_row
from benchmarks.server import Server, serve
from benchmarks.sizes import Sizes
from benchmarks.work import BLOCKED, block_a_queue, register

CLIENTS = 8


def measure(folder: Path, sizes: Sizes) -> Result:
    rates, commits, cpu, arrays, ratios = [], [], [], [], []
    with serve(folder / "server") as server:
        with server.connect() as connection:
            block_a_queue(connection)
            register(connection, "true", ["/bin/true"])
        _submit(server, _requests(server, 200))
        for _ in range(sizes.submission_rounds):
            commits.append(_commits_per_second(folder / "floor.db", sizes.commits))
            requests = _requests(server, sizes.submissions)
            before = server.cpu()
            rates.append(_submit(server, requests))
            cpu.append(1e6 * (server.cpu() - before).own / len(requests))
            ratios.append(rates[-1] / commits[-1])
        arrays = _submit_arrays(server, sizes)
    rows = [
        median_row("submission.rate", f"SubmitJob, {CLIENTS} clients", rates, "requests/s", at_least(1000)),
        median_row("submission.commits", "floor: SQLite, one row a commit, full sync", commits, "commits/s"),
        median_row("submission.of_commits", "requests / single commits", ratios, "×"),
        median_row("submission.server_cpu", "CPU of the server", cpu, "µs/request"),
        median_row("submission.array", f"an array of {sizes.array_size:,} accepted", arrays, "ms", at_most(20)),
    ]
    notes = [f"Rounds of {sizes.submissions:,} requests; {sizes.array_submissions} arrays, one after another. Medians."]
    return Result("Submission", rows, notes)


def _requests(server: Server, count: int) -> list[bytes]:
    payloads = ({"jobName": f"job-{number}", "jobQueue": BLOCKED, "jobDefinition": "true"} for number in range(count))
    return [batch_request(server.endpoint, "SubmitJob", payload) for payload in payloads]


def _submit(server: Server, requests: list[bytes]) -> float:
    """Requests per second."""
    left = iter(requests)
    connections = [Connection(server.endpoint) for _ in range(CLIENTS)]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        began = time.perf_counter()
        for connection in connections:
            connection.socket.sendall(next(left))
        answered = 0
        while answered < len(requests):
            for key, _ in selector.select():
                key.data.receive()
                answered += 1
                request = next(left, None)
                if request is not None:
                    key.data.socket.sendall(request)
        seconds = time.perf_counter() - began
    for connection in connections:
        connection.socket.close()
    return len(requests) / seconds


def _submit_arrays(server: Server, sizes: Sizes) -> list[float]:
    """Milliseconds from SubmitJob sent to answered, for each of some arrays."""
    payload = {
        "jobName": "array",
        "jobQueue": BLOCKED,
        "jobDefinition": "true",
        "arrayProperties": {"size": sizes.array_size},
    }
    times = []
    with server.connect() as connection:
        for _ in range(sizes.array_submissions):
            request = batch_request(server.endpoint, "SubmitJob", payload)
            began = time.perf_counter()
            connection.exchange(request)
            times.append(1e3 * (time.perf_counter() - began))
    return times


def _commits_per_second(path: Path, commits: int) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS jobs (seq INTEGER PRIMARY KEY, document BLOB)")
    began = time.perf_counter()
    for _ in range(commits):
        connection.execute("INSERT INTO jobs (document) VALUES (?)", (b"x" * 400,))
    seconds = time.perf_counter() - began
    connection.close()
    return commits / seconds
