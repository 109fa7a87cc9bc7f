"""A server on a data directory of its own, and what it costs: CPU time and memory, of itself and of its runner."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.client import Connection, Endpoint

PATIENCE_SECONDS = 600.0
"""For a start with a million jobs, on a busy machine."""

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """The server ended, or did not become ready in time."""


class CpuTime(msgspec.Struct, frozen=True):
    """Seconds that a process, and its children that have ended, have computed for."""

    own: float
    children: float

    def __sub__(self, other: CpuTime) -> CpuTime:
        return CpuTime(self.own - other.own, self.children - other.children)


class Server:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path, endpoint: Endpoint, start: float) -> None:
        self.process = process
        self.data_dir = data_dir
        self.endpoint = endpoint
        self.start_seconds = start
        """From the start of the process to the first request that it would have answered."""

    def connect(self) -> Connection:
        return Connection(self.endpoint)

    def cpu(self) -> CpuTime:
        return cpu_of(self.process.pid)

    def runner_cpu(self) -> CpuTime:
        """That of the runner itself, and of the programs that it has run."""
        return cpu_of(_runners(self.data_dir)[0])

    def resident_bytes(self) -> int:
        """VmRSS."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise NotStarted("the server is gone")


@contextlib.contextmanager
def serve(data_dir: Path, *, end_runner: bool = True) -> Iterator[Server]:
    """Runs a server (process runtime, a free port of 127.0.0.1). Jobs that still run at the end are ended with their
    runner, unless the next server is to adopt them."""
    data_dir.mkdir(parents=True, exist_ok=True)
    server = _start(data_dir)
    try:
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(60)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        if end_runner:
            _end_runners(data_dir)


def _start(data_dir: Path) -> Server:
    ready_file = data_dir / "ready.json"
    log_file = data_dir / "server.log"
    ready_file.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
    command = [sys.executable, "-c", "from batchyard.cli.main import main; main()", "serve", "--runtime=process"]
    command += [f"--data-dir={data_dir}", "--port=0", f"--ready-file={ready_file}"]
    began = time.perf_counter()
    with log_file.open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    while not ready_file.exists():
        if process.poll() is not None or time.perf_counter() > began + PATIENCE_SECONDS:
            process.kill()
            raise NotStarted(f"the server did not start:\n{log_file.read_text(errors='replace')}")
        time.sleep(0.002)
    seconds = time.perf_counter() - began
    return Server(process, data_dir, msgspec.json.decode(ready_file.read_bytes(), type=Endpoint), seconds)


def cpu_of(process_id: int) -> CpuTime:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = (int(field) / _TICKS_A_SECOND for field in fields[11:15])
    return CpuTime(user + system, children_user + children_system)


def _runners(data_dir: Path) -> list[int]:
    """Process ids of the runner: none, or one."""
    folder = os.fsencode(data_dir.absolute() / "process")
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = Path(entry.path, "cmdline").read_bytes().split(b"\0")
                if folder in command and b"batchyard.engines.local.process.daemon" in command:
                    found.append(int(entry.name))
    return found


def _end_runners(data_dir: Path) -> None:
    """A runner ends by itself when it is idle for a while; a benchmark's need not wait for that."""
    for runner in _runners(data_dir):
        for child in Path(f"/proc/{runner}/task/{runner}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner, signal.SIGKILL)
