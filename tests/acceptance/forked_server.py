"""A `ServerProcess` whose starts are forks of a process that has imported everything (see `fork_server.py`)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from server_process import ServerProcess


class ForkedServer(ServerProcess):
    """Restarts in a fraction of the time; everything else is as with a `ServerProcess`."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        super().__init__(data_dir, port=_free_port(), **settings)
        self._parent: subprocess.Popen[str] | None = None

    def spawn(self) -> Any:
        self.ready_file.unlink(missing_ok=True)
        if self._parent is None:
            self.data_dir.parent.mkdir(parents=True, exist_ok=True)
            with self.log_file.open("ab") as log:
                self._parent = subprocess.Popen(
                    [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
                    env=self.environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        assert self._parent.stdin is not None
        self._parent.stdin.write("start\n")
        self._parent.stdin.flush()
        self.process = _Child(self._parent)  # type: ignore[assignment]
        return self.process

    def close(self) -> None:
        super().close()
        if self._parent is not None:
            self._parent.kill()
            self._parent.wait()


def _free_port() -> int:
    """The forks all have the environment of the first start, the port with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Child:
    """The part of `Popen` that a `ServerProcess` uses."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        assert parent.stdout is not None
        self._answers = parent.stdout
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        self.returncode = int(self._answers.readline() or -signal.SIGKILL)
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("a forked server", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
