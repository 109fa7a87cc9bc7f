"""Workloads in the Standard Workload Format (SWF) of the Parallel Workloads Archive: 18 numbers a line, -1 for what is not known.

Source: D. Feitelson, "The Standard Workload Format" (www.cs.huji.ac.il/labs/parallel/workload/swf.html).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from batchyard.simulator.inputs import InputError
from batchyard.simulator.workload import Shape, Work, opened

FIELDS = 18
UNKNOWN = -1
_SUBMIT, _RUN, _ALLOCATED, _USED_MEMORY, _REQUESTED, _REQUESTED_MEMORY, _STATUS = 1, 3, 4, 6, 7, 9, 10
_MAPPED = {"user": 11, "group": 12, "executable": 13, "queue": 14, "partition": 15}
_PARTIAL = (2, 3, 4)
"""Status of the parts of a job that was checkpointed: it has a line of its own as a whole, too."""

MappedField = Literal["user", "group", "executable", "queue", "partition"]


class SwfOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the format leaves open."""

    queues: Mapping[str, str] = {}
    """Job queues by the number of the log's queue; `*` for all others."""
    share_by: MappedField | None = None
    """The field whose number becomes the share identifier, as `user17`."""
    memory_per_processor: int = 1024
    """MiB, of jobs that don't say."""


class Skipped(msgspec.Struct):
    """Lines that are no job to run, by reason."""

    counts: dict[str, int] = {}

    def add(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1


def read_swf(path: Path, options: SwfOptions, skipped: Skipped) -> Iterator[Work]:
    """The jobs of a log, in its order. Raises `InputError` with the line's number."""
    reader = _Reader(path, options, skipped)
    try:
        with opened(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not line.lstrip().startswith(";"):
                    work = reader.work(line, number)
                    if work is not None:
                        yield work
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    except EOFError as error:
        raise InputError(f"{path}: {error}") from None


class _Reader:
    def __init__(self, path: Path, options: SwfOptions, skipped: Skipped) -> None:
        self._path, self._options, self._skipped = path, options, skipped
        self._shapes: dict[tuple[int, int, str | None, str | None], Shape] = {}
        self._first: int | None = None
        self._latest = 0

    def work(self, line: str, number: int) -> Work | None:
        """None for a line that is skipped."""
        fields = self._numbers(line, number)
        reason = _why_not(fields)
        if reason is not None:
            self._skipped.add(reason)
            return None
        submitted = round(1000 * fields[_SUBMIT])
        if self._first is None:
            self._first = submitted
        at = submitted - self._first
        if at < self._latest:
            raise self._error(number, "it was submitted before the line above; sort the log by its second field")
        self._latest = at
        return Work(
            line=number,
            at=at,
            run=round(1000 * fields[_RUN]),
            shape=self._shape(fields),
            exit_code=1,
            failure_probability=1.0 if fields[_STATUS] == 0 else 0.0,
            name=str(int(fields[0])),
        )

    def _numbers(self, line: str, number: int) -> list[float]:
        words = line.split()
        if len(words) != FIELDS:
            raise self._error(number, f"it has {len(words)} fields, and the format {FIELDS}")
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = [math.nan]
        if not math.isfinite(sum(numbers)):
            wrong = next(word for word in words if not _is_number(word))
            raise self._error(number, f"{wrong[:40]!r} is no number")
        return numbers

    def _shape(self, fields: list[float]) -> Shape:
        """Requested processors and memory, or what was used where nothing is known of a request."""
        processors = int(_known(fields[_REQUESTED], fields[_ALLOCATED]))
        kibibytes = _known(fields[_REQUESTED_MEMORY], fields[_USED_MEMORY])
        each = kibibytes / 1024 if kibibytes > 0 else self._options.memory_per_processor
        memory = max(1, -int(-each * processors // 1))
        key = processors, memory, self._queue(fields), self._share(fields)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = Shape(vcpus=str(processors), memory=memory, queue=key[2], share=key[3])
        return shape

    def _queue(self, fields: list[float]) -> str | None:
        queues = self._options.queues
        return queues.get(str(int(fields[_MAPPED["queue"]]))) or queues.get("*")

    def _share(self, fields: list[float]) -> str | None:
        by = self._options.share_by
        if by is None:
            return None
        value = int(fields[_MAPPED[by]])
        return f"{by}{value}" if value != UNKNOWN else f"{by}unknown"

    def _error(self, number: int, text: str) -> InputError:
        return InputError(f"{self._path}, line {number}: {text}")


def _why_not(fields: list[float]) -> str | None:
    if fields[_STATUS] in _PARTIAL:
        return "parts of checkpointed jobs"
    if fields[_RUN] < 0:
        return "run time unknown"
    if fields[_STATUS] == 5 and fields[_RUN] == 0:
        return "cancelled before they began"
    if _known(fields[_REQUESTED], fields[_ALLOCATED]) <= 0:
        return "number of processors unknown"
    if fields[_SUBMIT] < 0:
        return "submit time unknown"
    return None


def _known(first: float, second: float) -> float:
    return first if first > 0 else second


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
