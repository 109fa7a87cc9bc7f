"""A real server in a process of its own: started on a free port, stopped, killed, started again, and cleared away.

    with ServerProcess(tmp_path / "data") as server:
        batch = server.client("batch")

The server always checks its invariants after each round. Its port stays the same over restarts, so clients stay good.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from waiting import until

CLIENT_CONFIG = Config(
    retries={"total_max_attempts": 1},
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=50,
    parameter_validation=True,
)
"""Every request is sent once: what the server answers is what the test sees."""

SERVE = (sys.executable, "-m", "batchyard", "serve")


class ServerProcess:
    """One data directory and the server on it. `settings` are those of the settings file (`overcommit=8`)."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.ready_file = data_dir.with_name(f"{data_dir.name}.ready")
        self.log_file = data_dir.with_name(f"{data_dir.name}.log")
        """Everything that the server has printed, over all its starts."""
        self.settings: dict[str, object] = {
            "runtime": "process",
            "overcommit": 4,
            "capacity": "slices",
            "port": 0,
            "check_invariants": True,
            "log_level": "warning",
            **settings,
        }
        self.flags: tuple[str, ...] = ()
        """Further flags of `batchyard serve`."""
        self.connection: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.configure_client: Callable[[Any], None] = _as_it_is
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the process

    def environment(self) -> dict[str, str]:
        """The environment to start a server in: the settings, and none of the machine's AWS configuration."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
        settings = {"data_dir": self.data_dir, "ready_file": self.ready_file, **self.settings}
        return kept | {f"BATCHYARD_{name.upper()}": str(value) for name, value in settings.items()}

    def spawn(self) -> subprocess.Popen[bytes]:
        """Starts the server, ready or not."""
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.ready_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*SERVE, *self.flags], env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.process

    def start(self) -> Self:
        """Starts the server and returns when it accepts requests."""
        process = self.spawn()
        until(lambda: self.ready_file.exists() or process.poll() is not None, lambda: f"a server\n{self.log()}")
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}:\n{self.log()}")
        self.connection = json.loads(self.ready_file.read_text())
        self.settings["port"] = self.endpoint.rpartition(":")[2]
        return self

    def stop(self) -> int:
        """SIGTERM. Returns the exit code when the server has ended; jobs go on running."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def close(self) -> None:
        """Ends the server, its runner and every job that still runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for runner in self.runners():
            kill_tree(runner)
        for client in self._clients.values():
            client.close()

    def runners(self) -> list[int]:
        """The process ids of the runner: none, or one."""
        folder = os.fsencode(self.data_dir.absolute() / "process")
        return [
            process_id
            for process_id, command in _commands()
            if b"batchyard.engines.local.process.daemon" in command and folder in command
        ]

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    # --- clients

    @property
    def endpoint(self) -> str:
        return self.connection["endpoint"]

    @property
    def region(self) -> str:
        return self.connection["region"]

    @property
    def account_id(self) -> str:
        return self.connection["account_id"]

    def arn(self, resource: str) -> str:
        """The ARN of one of this server's Batch resources, such as `job-queue/default`."""
        return f"arn:aws:batch:{self.region}:{self.account_id}:{resource}"

    def session(self) -> boto3.Session:
        return boto3.Session(
            self.connection["access_key_id"], self.connection["secret_access_key"], region_name=self.region
        )

    def client(self, service: str) -> Any:
        """A boto3 client; the same one each time."""
        if service not in self._clients:
            client = self.session().client(service, endpoint_url=self.endpoint, config=CLIENT_CONFIG)
            self.configure_client(client)
            self._clients[service] = client
        return self._clients[service]

    def client_environment(self, **more: str) -> Mapping[str, str]:
        """The environment for a client program: endpoint, Region and keys, and a home without configuration."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
        return {
            **kept,
            "HOME": str(self.data_dir.parent),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.connection["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.connection["secret_access_key"],
            **more,
        }


def _as_it_is(client: Any) -> None:
    """Leaves a client alone."""


def kill_tree(root: int) -> None:
    """Kills a process and all that descend from it. They are stopped first, so that none forks away."""
    doomed: list[int] = []
    following = [root]
    while following:
        for process_id in following:
            _signal(process_id, signal.SIGSTOP)
        doomed += following
        parents = _parents()
        following = [child for child, parent in parents.items() if parent in doomed and child not in doomed]
    for process_id in doomed:
        _signal(process_id, signal.SIGKILL)
    until(lambda: not any(is_alive(process_id) for process_id in doomed), f"the end of {doomed}")


def _signal(process_id: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, number)


def is_alive(process_id: int) -> bool:
    """One that has ended and that its parent has not asked about is not: init may take seconds to do so."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(fields[1])
    return found


def _commands() -> Iterator[tuple[int, bytes]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry.name), Path(entry.path, "cmdline").read_bytes()
