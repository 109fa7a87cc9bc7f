"""The AWS CLI in a process of its own that carries out one command after the other: starting it anew for each would take
longer than everything else. Run as a script, this module is that process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, Self


class Outcome(NamedTuple):
    """What a command of the AWS CLI came to."""

    status: int
    """Its exit status."""
    output: str
    errors: str


class AwsCli:
    """`aws …`, with the environment given."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**environment, "AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def run(self, *arguments: str) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return Outcome(*json.loads(self._process.stdout.readline()))

    def batch(self, command: str, request: Any) -> Any:
        """The output of `aws batch COMMAND --cli-input-json REQUEST`. Raises `AssertionError` when it fails."""
        outcome = self.run("batch", command, "--no-paginate", "--cli-input-json", json.dumps(request))
        assert outcome.status == 0, f"aws batch {command}: {outcome.errors}"
        return json.loads(outcome.output) if outcome.output.strip() else {}

    def skeleton(self, command: str) -> Any:
        """The output of `aws batch COMMAND --generate-cli-skeleton`: empty when the CLI has no such command."""
        outcome = self.run("batch", command, "--generate-cli-skeleton")
        return json.loads(outcome.output) if outcome.status == 0 else {}


def _serve() -> None:
    """Commands come in as lines of JSON, outcomes go out the same way. Each is carried out in a fork: the CLI keeps state
    that a second command would trip over."""
    from awscli.clidriver import create_clidriver

    driver = create_clidriver()
    driver.session.get_service_model("batch")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _carry_out(driver, json.loads(line))
            os._exit(0)
        os.waitpid(child, 0)


def _carry_out(driver: Any, arguments: list[str]) -> None:
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = driver.main(arguments)
        except SystemExit as end:
            status = end.code
    texts = [stream.buffer.getvalue().decode() for stream in (output, errors)]  # type: ignore[attr-defined]
    print(json.dumps([status, *texts]), flush=True)


if __name__ == "__main__":
    _serve()
