"""What a runner must still know after its own sudden death: which tasks it began, and how they ended.

One JSON object a line, appended without fsync: the file outlives the runner, not the machine. A machine that was
restarted is noticed by the kernel's boot id, and a file cut short by it is read as far as it goes.

A missing file means that no task has ever been begun and not been acknowledged: the file's creation is synced to disk
before the first task, and it is removed only by a runner with nothing left to remember.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from batchyard.kernel.messages import TaskExited, TaskLost

COMPACT_BYTES = 1024 * 1024
"""The file is rewritten with what still matters when it has grown by this much."""


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The first line."""

    boot_id: str
    cgroups: list[str]
    """Folders of the runner's control groups: whatever runs in them belongs to its tasks."""


class Begun(msgspec.Struct, frozen=True, tag=True):
    """Written before the program is started."""

    task_id: str
    at: int


Record = Opened | Begun | TaskExited | TaskLost


@dataclass
class Past:
    """What an earlier runner left on disk."""

    complete: bool = False
    """What does not stand in it was never begun. Not so when the machine was restarted since, or the file is damaged."""
    cgroups: list[str] = field(default_factory=list)
    begun: dict[str, Begun] = field(default_factory=dict)
    """Tasks without an end."""
    ended: dict[str, TaskExited | TaskLost] = field(default_factory=dict)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_past(path: Path) -> Past:
    """Read an earlier runner's journal, as far as it can be read."""
    past = Past()
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Past(complete=True)
    decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
    damaged = False
    for line in lines[:-1]:
        try:
            record = decoder.decode(line)
        except msgspec.MsgspecError:
            damaged = True
            continue
        match record:
            case Opened():
                past.complete = record.boot_id == boot_id()
                past.cgroups = record.cgroups
            case Begun():
                past.begun[record.task_id] = record
            case TaskExited() | TaskLost():
                past.begun.pop(record.task_id, None)
                past.ended[record.task_id] = record
    past.complete = past.complete and not damaged
    return past


class Journal:
    """Appends records. `OSError` when the disk refuses one: then the task in question must not be begun."""

    def __init__(self, path: Path, opened: Opened, records: Iterable[Record]) -> None:
        self._path = path
        self._opened = opened
        self._encoder = msgspec.json.Encoder()
        self._descriptor = -1
        self._torn = False
        self._room = 0
        self.rewrite(records)
        _sync(self._path)
        _sync(self._path.parent)

    @property
    def is_long(self) -> bool:
        return self._room <= 0

    def append(self, record: Record) -> None:
        line = self._encoder.encode(record) + b"\n"
        if self._torn:
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        self._room -= written
        self._torn = written != len(line)
        if self._torn:
            raise OSError("the disk is full")

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replace the file, all or nothing, by these records."""
        draft = self._path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            text = b"".join(self._encoder.encode(record) + b"\n" for record in (self._opened, *records))
            if os.write(descriptor, text) != len(text):
                raise OSError("the disk is full")
            draft.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._torn = False
        self._room = COMPACT_BYTES

    def remove(self) -> None:
        """Nothing is left to remember."""
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
