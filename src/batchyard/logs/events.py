"""Reading the events of one log stream: forwards or backwards, from a position or within a time range.

Positions are byte offsets at which a line begins or ends. No function reads more of a file than its answer needs and a
block or two beside it, and no file stays open between two blocks, so thousands of streams can be read side by side.
The last line may be in the making while it is read: what stands behind the last line feed does not exist yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from batchyard.logs.lines import decode_event, last_timestamp, lines_backward, timestamp_of

_FIRST_BLOCK = 4 * 1024
_LARGEST_BLOCK = 256 * 1024


class Event(NamedTuple):
    position: int
    """Of its first byte in the file."""
    end: int
    """Behind its line feed."""
    timestamp: int
    """Milliseconds since the epoch."""
    message: bytes


def events_forward(path: Path, position: int = 0, start: int = 0, end: int | None = None) -> Iterator[Event]:
    """The events at or behind `position` with `start` <= timestamp < `end`, oldest first.

    Raises FileNotFoundError when there is no such stream; one that is deleted meanwhile just ends.
    """
    if start > 0:
        position = max(position, find_time(path, start))
    block = _FIRST_BLOCK
    data = _read(path, block, position)
    while True:
        complete = data.rfind(b"\n")
        if complete >= 0:
            for line in data[:complete].split(b"\n"):
                begin, position = position, position + len(line) + 1
                event = decode_event(line)
                if event is not None:
                    if end is not None and event[0] >= end:
                        return
                    yield Event(begin, position, *event)
        elif len(data) < block:
            return
        block = block * 4 if complete < 0 else min(block * 4, _LARGEST_BLOCK)
        try:
            data = _read(path, block, position)
        except FileNotFoundError:
            return


def events_backward(path: Path, position: int | None = None, start: int = 0, end: int | None = None) -> Iterator[Event]:
    """The events before `position` (None: all) with `start` <= timestamp < `end`, newest first.

    Raises FileNotFoundError when there is no such stream; one that is deleted meanwhile just ends.
    """
    if position is None:
        position = end_of_events(path)
    if end is not None:
        position = min(position, find_time(path, end))
    try:
        lines = lines_backward(partial(_read, path), position)
        next(lines)
        for line in lines:
            behind, position = position, position - len(line) - 1
            event = decode_event(line)
            if event is not None:
                if event[0] < start:
                    return
                yield Event(position, behind, *event)
    except FileNotFoundError:
        return


def end_of_events(path: Path) -> int:
    """The position behind the last complete line: where the next event will begin."""
    size = path.stat().st_size
    return size - len(next(lines_backward(partial(_read, path), size)))


def find_time(path: Path, at: int) -> int:
    """The position of the first event with timestamp >= `at`, else the end of the last line: about 30 small reads for
    a gigabyte."""
    low, high = 0, end_of_events(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while low < high:
            middle = (low + high) // 2
            found = _timestamp_behind(descriptor, middle, high)
            if found is None or found[1] >= at:
                high = middle
            else:
                low = found[0] + 1
        return _line_start(descriptor, low)
    finally:
        os.close(descriptor)


def time_bounds(path: Path, size: int) -> tuple[int, int] | None:
    """Timestamps of the first and the last event, or None when there is none."""
    first = next(events_forward(path), None)
    if first is None:
        return None
    return first.timestamp, last_timestamp(partial(_read, path), size)


def _timestamp_behind(descriptor: int, position: int, limit: int) -> tuple[int, int] | None:
    """Position and time of the first event whose line begins at or behind `position` and before `limit`."""
    while True:
        position = _line_start(descriptor, position)
        if position >= limit:
            return None
        at = timestamp_of(os.pread(descriptor, 20, position))
        if at is not None:
            return position, at
        position += 1


def _line_start(descriptor: int, position: int) -> int:
    """The first position at or behind this one where a line begins or the last one ends."""
    if position == 0:
        return 0
    position -= 1
    block = 512
    while True:
        data = os.pread(descriptor, block, position)
        line_feed = data.find(b"\n")
        if line_feed >= 0:
            return position + line_feed + 1
        if len(data) < block:
            return position + len(data)
        position += block
        block = min(block * 4, _LARGEST_BLOCK)


def _read(path: Path, length: int, position: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, position)
    finally:
        os.close(descriptor)
