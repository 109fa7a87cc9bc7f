"""What `batchyard run` says on standard error while a job waits and runs.

On a terminal: one live line under the log, redrawn in place. Elsewhere: a plain line for every change.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from typing import Protocol

from batchyard.cli.client import Json
from batchyard.cli.job_texts import (
    array_counts,
    array_size,
    array_time,
    counts_text,
    reason_of,
    run_time,
    short_id,
    wait_time,
)
from batchyard.cli.terminal import cut, one_line, painted, status_colour
from batchyard.cli.times import duration

PLAIN_COUNT_SECONDS = 5.0
_NUMBERS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}(:[0-9]+)?|[0-9]+(\.[0-9]+)?")


class Progress(Protocol):
    """Where news of a job go."""

    def submitted(self, job_id: str, name: str, queue: str) -> None: ...
    def saw(self, job: Json) -> None:
        """The job as it is now; called again and again."""
        ...

    def waits(self, reason: str) -> None:
        """Why the job has not begun; called again and again."""
        ...

    def logged(self, text: str) -> None:
        """Lines of the job's log, for standard output."""
        ...

    def note(self, text: str) -> None: ...
    def ended(self, job: Json) -> None: ...
    def close(self) -> None:
        """Nothing more comes."""
        ...


def new_progress(quiet: bool) -> Progress:
    if quiet:
        return Silent()
    return Live() if sys.stderr.isatty() else Plain()


def same_kind(first: str | None, second: str | None) -> bool:
    """Whether two reasons differ in nothing but numbers and ids."""
    return (first and _NUMBERS.sub("", first)) == (second and _NUMBERS.sub("", second))


def outcome(job: Json) -> str:
    """How a job ended, in a line: `exit code 3 · waited 0.2 s · ran 1.4 s`, `2 of 8 children failed · took 9.1 s`."""
    if array_size(job) is not None:
        reason = reason_of(job) or f"{array_size(job)} children"
        times = [f"took {array_time(job)}"]
    else:
        reason = reason_of(job)
        waited, ran = wait_time(job), run_time(job)
        attempts = len(job.get("attempts") or ())
        times = [f"waited {waited}" if waited else "", f"ran {ran}" if ran else ""]
        times.append(f"{attempts} attempts" if attempts > 1 else "")
    return " · ".join(filter(None, [one_line(reason), *times]))


class Silent:
    """`--quiet`: only the log."""

    def submitted(self, job_id: str, name: str, queue: str) -> None: ...
    def saw(self, job: Json) -> None: ...
    def waits(self, reason: str) -> None: ...

    def logged(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        _to_stderr(f"batchyard: {text}\n")

    def ended(self, job: Json) -> None: ...
    def close(self) -> None: ...


class Plain(Silent):
    """A line for each change, for files and pipes."""

    def __init__(self) -> None:
        self._status: str | None = None
        self._counts: dict[str, int] = {}
        self._counted_at = 0.0
        self._reason: str | None = None

    def submitted(self, job_id: str, name: str, queue: str) -> None:
        self.note(f"submitted {name} to queue {queue}: {job_id}")

    def saw(self, job: Json) -> None:
        counts = array_counts(job) if array_size(job) is not None else {}
        if job["status"] != self._status and not job.get("stoppedAt"):
            self.note(job["status"])
            self._status = job["status"]
        if counts and counts != self._counts and time.monotonic() - self._counted_at >= PLAIN_COUNT_SECONDS:
            self.note(f"{counts_text(counts)} of {array_size(job)}")
            self._counts, self._counted_at = counts, time.monotonic()

    def waits(self, reason: str) -> None:
        if not same_kind(reason, self._reason):
            self.note(f"waiting: {one_line(reason)}")
            self._reason = reason

    def ended(self, job: Json) -> None:
        said = outcome(job)
        self.note(f"{job['status']}{f': {said}' if said else ''}")


class Live:
    """One line at the bottom of the terminal; what is said for good stands above it."""

    def __init__(self) -> None:
        self._line = ""
        self._since = time.monotonic()
        self._status: str | None = None
        self._reason: str | None = None
        self._said_reason: str | None = None

    def submitted(self, job_id: str, name: str, queue: str) -> None:
        self._say(
            f"{painted('▸', 'cyan', sys.stderr)} {name} {painted(f'{job_id} in queue {queue}', 'dim', sys.stderr)}"
        )

    def saw(self, job: Json) -> None:
        status = job["status"]
        if status != self._status:
            self._status, self._since = status, time.monotonic()
        if status not in ("SUBMITTED", "PENDING", "RUNNABLE"):
            self._reason = None
        size = array_size(job)
        doing = self._bar(job, size) if size is not None else self._changed_reason()
        elapsed = duration((time.monotonic() - self._since) * 1000)
        head = f"  {status} {elapsed}"
        room = shutil.get_terminal_size().columns - len(head) - 4
        tail = cut(one_line(doing), room) if doing else ""
        self._draw(painted(head, status_colour(status), sys.stderr) + (f"  {tail}" if tail else ""))

    def _changed_reason(self) -> str:
        """The reason where its numbers are no longer those that stand above."""
        return self._reason if self._reason and self._reason != self._said_reason else ""

    def _bar(self, job: Json, size: int) -> str:
        counts = array_counts(job)
        done = counts.get("SUCCEEDED", 0) + counts.get("FAILED", 0)
        filled = done * 20 // size
        others = {status: count for status, count in counts.items() if status in ("RUNNING", "FAILED")}
        return f"{'━' * filled}{'─' * (20 - filled)} {done}/{size}" + (f" · {counts_text(others)}" if others else "")

    def waits(self, reason: str) -> None:
        """The reason stays on the screen once; while only its numbers change they change in the live line."""
        self._reason = reason
        if not same_kind(reason, self._said_reason):
            self._said_reason = reason
            self._say(painted(f"  waiting: {one_line(reason)}", "yellow", sys.stderr))

    def logged(self, text: str) -> None:
        line = self._line
        self._draw("")
        sys.stdout.write(text)
        sys.stdout.flush()
        self._draw(line)

    def note(self, text: str) -> None:
        self._say(text)

    def ended(self, job: Json) -> None:
        good = job["status"] == "SUCCEEDED"
        mark = painted("✓" if good else "✗", status_colour(job["status"]), sys.stderr)
        said = outcome(job)
        self._draw("")
        _to_stderr(f"{mark} {painted(job['status'], status_colour(job['status']), sys.stderr)}")
        _to_stderr(f"{f' · {said}' if said else ''}  {painted(short_id(job['jobId']), 'dim', sys.stderr)}\n")

    def close(self) -> None:
        self._draw("")

    def _say(self, text: str) -> None:
        line = self._line
        self._draw("")
        _to_stderr(f"{text}\n")
        self._draw(line)

    def _draw(self, line: str) -> None:
        if line != self._line:
            _to_stderr(f"\r\x1b[K{line}")
            self._line = line


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
