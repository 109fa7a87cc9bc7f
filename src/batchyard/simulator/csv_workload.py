"""Workloads as CSV: a line a job, the columns by name in the first line. They are read as they are needed.

Lines have to be in the order of submission. Times are seconds, from any moment on, or ISO 8601 (UTC where no offset is
given): what counts is the time after the first line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from batchyard.simulator.inputs import InputError
from batchyard.simulator.workload import Shape, Work, opened

REQUIRED = ("submit", "run_seconds", "vcpus", "memory")
OPTIONAL = (
    "queue",
    "gpus",
    "count",
    "share",
    "priority",
    "timeout",
    "attempts",
    "exit_code",
    "failure_probability",
    "name",
)
_SHAPE = ("queue", "vcpus", "memory", "gpus", "count", "share", "priority", "timeout", "attempts")
_VCPUS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?\Z")
_LONGEST_RUN = 10 * 366 * 86_400
"""Seconds."""


class BadValue(ValueError):
    """A value of a line that can't be."""


def read_csv(path: Path) -> Iterator[Work]:
    """The jobs of a file. Raises `InputError` with the line's number."""
    try:
        with opened(path) as file:
            yield from _rows(csv.reader(file), path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    except EOFError as error:
        raise InputError(f"{path}: {error}") from None


def _rows(rows: Iterator[list[str]], path: Path) -> Iterator[Work]:
    head = next(rows, None)
    if head is None:
        raise InputError(f"{path} is empty: the first line names the columns ({', '.join(REQUIRED)}, …)")
    columns = _columns(head, path)
    reader = _Reader(columns)
    reader_line = getattr(rows, "line_num", 1)
    while True:
        try:
            row = next(rows)
            reader_line = getattr(rows, "line_num", reader_line + 1)
            if row:
                yield reader.work(row, reader_line)
        except StopIteration:
            return
        except BadValue as problem:
            raise InputError(f"{path}, line {reader_line}: {problem}") from None
        except csv.Error as problem:
            raise InputError(f"{path}, line {reader_line + 1}: {problem}") from None


def _columns(head: Sequence[str], path: Path) -> dict[str, int]:
    names = [name.strip().lower() for name in head]
    for name in names:
        if name not in REQUIRED and name not in OPTIONAL:
            known = ", ".join((*REQUIRED, *OPTIONAL))
            raise InputError(f"{path}, line 1: there is no column {name!r}; the columns are {known}")
        if names.count(name) > 1:
            raise InputError(f"{path}, line 1: column {name!r} is there twice")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise InputError(f"{path}, line 1: column {missing[0]!r} is missing; needed are {', '.join(REQUIRED)}")
    return {name: index for index, name in enumerate(names)}


class _Reader:
    """Makes jobs of lines. Shapes are made, and checked, once."""

    def __init__(self, columns: Mapping[str, int]) -> None:
        self._columns = columns
        self._shape_columns = [columns[name] for name in _SHAPE if name in columns]
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._first: int | None = None
        self._latest = 0
        self._iso: bool | None = None

    def work(self, row: list[str], line: int) -> Work:
        if len(row) != len(self._columns):
            raise BadValue(f"it has {len(row)} values for {len(self._columns)} columns")
        key = tuple(row[index] for index in self._shape_columns)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = self._shape(row)
        exit_code = self._integer(row, "exit_code", 0, 255)
        probability = self._number(row, "failure_probability", 1.0)
        if probability is None:
            probability = 1.0 if exit_code else 0.0
        run = self._number(row, "run_seconds", _LONGEST_RUN)
        if run is None:
            raise BadValue("run_seconds is empty")
        return Work(
            line=line,
            at=self._submitted(row),
            run=round(1000 * run),
            shape=shape,
            exit_code=exit_code or 1,
            failure_probability=probability,
            name=self._text(row, "name") or "",
        )

    def _submitted(self, row: list[str]) -> int:
        text = row[self._columns["submit"]].strip()
        at = self._moment(text)
        if self._first is None:
            self._first = at
        at -= self._first
        if at < self._latest:
            raise BadValue(f"submit is {text}, before the line above; sort the file by submit")
        self._latest = at
        return at

    def _moment(self, text: str) -> int:
        """Milliseconds, from any moment on."""
        try:
            moment, iso = round(1000 * float(text)), False
        except OverflowError:
            raise BadValue(f"submit: {text!r} is no time") from None
        except ValueError:
            try:
                parsed = datetime.fromisoformat(text)
            except ValueError:
                raise BadValue(f"submit: {text!r} is neither seconds nor a time as 2026-03-01T08:00:00Z") from None
            moment, iso = round(1000 * (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()), True
        if self._iso is not None and self._iso is not iso:
            raise BadValue(f"submit: {text!r} does not go with the lines above: seconds and dates can't be mixed")
        self._iso = iso
        return moment

    def _shape(self, row: list[str]) -> Shape:
        vcpus = self._text(row, "vcpus") or ""
        if not _VCPUS.match(vcpus) or not float(vcpus):
            raise BadValue(f"vcpus: {vcpus!r} is no number of vCPUs")
        memory = self._integer(row, "memory", 1, 2**31 - 1)
        if memory is None:
            raise BadValue("memory is empty")
        return Shape(
            queue=self._text(row, "queue"),
            vcpus=f"{float(vcpus):g}",
            memory=memory,
            gpus=self._integer(row, "gpus", 0, 1000) or 0,
            count=self._integer(row, "count", 1, 1_000_000) or 1,
            share=self._text(row, "share"),
            priority=self._integer(row, "priority", 0, 9999),
            timeout=self._integer(row, "timeout", 60, 2**31 - 1),
            attempts=self._integer(row, "attempts", 1, 10),
        )

    def _text(self, row: list[str], column: str) -> str | None:
        index = self._columns.get(column)
        return row[index].strip() or None if index is not None else None

    def _integer(self, row: list[str], column: str, least: int, most: int) -> int | None:
        text = self._text(row, column)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
            raise BadValue(f"{column}: {text!r} is no whole number from {least} to {most}")
        return int(text)

    def _number(self, row: list[str], column: str, most: float) -> float | None:
        text = self._text(row, column)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            raise BadValue(f"{column}: {text!r} is no number") from None
        if not 0 <= value <= most:
            raise BadValue(f"{column}: {text} is not from 0 to {most:g}")
        return value
