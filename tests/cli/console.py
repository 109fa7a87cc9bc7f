"""The console script as a user runs it: with its output in pipes, and on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(sys.executable).with_name("batchyard")
NOWHERE = "http://127.0.0.1:1"
"""An address where no server is: port 1 is for root, and nothing of ours."""


class Shell:
    """Runs `batchyard …` as a user would, on one server."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """With its output in pipes."""
        return subprocess.run(
            [str(SCRIPT), *arguments],
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        done = self(arguments[0], "--json", *arguments[1:])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit(self, *arguments: str) -> str:
        """The id of a job that is not waited for."""
        done = self("run", "--detach", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In the background, with its output in pipes. SIGINT is delivered even if this process ignores it."""
        return subprocess.Popen(
            [str(SCRIPT), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def on_terminal(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """On a terminal 100 columns wide: the exit code, and all that appeared."""
        master, slave = pty.openpty()
        environment = self.environment | {"TERM": "xterm", "COLUMNS": "100"} | variables
        process = subprocess.Popen([str(SCRIPT), *arguments], env=environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # Linux says EIO when the last user of the terminal has gone.
            while chunk := os.read(master, 65536):
                shown += chunk
        os.close(master)
        return process.wait(60), shown.decode().replace("\r\n", "\n")
