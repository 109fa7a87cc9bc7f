"""Log groups and log streams in one folder: listing, reading, appending, deleting.

The folder is the whole state. Engines append to the files directly (see `lines.py`), from other processes too, so
nothing is cached here, and every method may be called from any thread. All of them do blocking I/O.
"""

from __future__ import annotations

import heapq
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from batchyard.logs.events import Event, end_of_events, events_backward, events_forward, find_time, time_bounds
from batchyard.logs.lines import (
    GROUP_FILE,
    STREAM_SUFFIX,
    create_group,
    encode_event,
    extend_name,
    group_path,
    is_group,
    last_timestamp,
    stream_path,
    write_group_file,
)

PAGE_BYTES = 1024 * 1024
"""A page holds no more than this, counting `EVENT_OVERHEAD` bytes an event beside its message."""
EVENT_OVERHEAD = 26
PAGE_EVENTS = 10_000

_SEARCH_BYTES = 4 * PAGE_BYTES
"""A search looks at no more than this before it answers with what it found, perhaps nothing, and a place to go on."""
_CLOCK_MARGIN = 60_000
"""Milliseconds. An event is not dated later than this after its file was last changed."""


class NoSuchGroupError(LookupError):
    """There is no log group of this name."""


class NoSuchStreamError(LookupError):
    """There is no log stream of this name in the group."""


class Group(NamedTuple):
    name: str
    creation_time: int
    """Milliseconds since the epoch, as all times here."""
    retention_in_days: int | None


class Stream(NamedTuple):
    name: str
    path: Path
    size: int
    modified: int


class StreamTimes(NamedTuple):
    creation_time: int
    """The time of the first event, or when the file was created if there is none yet."""
    first_event: int | None
    last_event: int | None


class Page(NamedTuple):
    """Neighbouring events of one stream, oldest first."""

    events: list[Event]
    before: int
    """The position to read on from backwards."""
    after: int
    """The position to read on from forwards."""


class Place(NamedTuple):
    """A place in the order of all events of a group: by time, then by stream, then as written."""

    timestamp: int
    stream: str
    position: int


class Found(NamedTuple):
    stream: str
    event: Event
    text: str


class LogStore:
    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    # --- groups ---

    def create_group(self, group: str) -> bool:
        """False when it exists already; then it stays as it is."""
        exists = is_group(self.root, group)
        create_group(self.root, group)
        return not exists

    def is_group(self, group: str) -> bool:
        return is_group(self.root, group)

    def group(self, name: str) -> Group:
        """Raises NoSuchGroupError."""
        folder = self._group_folder(name)
        settings = _group_settings(folder)
        return Group(name, settings["creationTime"], settings.get("retentionInDays"))

    def group_names(self) -> list[str]:
        """All of them, sorted."""
        return sorted(_group_names(self.root, ""))

    def stored_bytes(self, group: str) -> int:
        """The size of all streams of a group."""
        return sum(stream.size for stream in self.streams(group))

    def set_retention(self, group: str, days: int) -> None:
        """Raises NoSuchGroupError."""
        folder = self._group_folder(group)
        write_group_file(folder, _group_settings(folder) | {"retentionInDays": days})

    def delete_group(self, group: str) -> None:
        """With all its streams, at once for every reader. Raises NoSuchGroupError."""
        folder = self._group_folder(group)
        grave = self.root / f".deleted-{secrets.token_hex(8)}"
        folder.rename(grave)
        shutil.rmtree(grave)

    def expire(self, now: int) -> int:
        """Delete the streams whose last event is older than their group's retention; answers how many."""
        deleted = 0
        for name in self.group_names():
            days = self.group(name).retention_in_days
            if days is None:
                continue
            oldest = now - days * 86_400_000
            for stream in self.streams(name):
                times = self.times(stream) if stream.modified < oldest else None
                if times is not None and (times.last_event or 0) < oldest:
                    stream.path.unlink(missing_ok=True)
                    deleted += 1
        return deleted

    def _group_folder(self, group: str) -> Path:
        if not is_group(self.root, group):
            raise NoSuchGroupError(group)
        return group_path(self.root, group)

    # --- streams ---

    def streams(self, group: str, prefix: str = "") -> Iterator[Stream]:
        """The streams whose names begin with `prefix`, in no order. Raises NoSuchGroupError."""
        return _streams(self._group_folder(group), "", prefix)

    def stream(self, group: str, name: str) -> Stream:
        """Raises NoSuchGroupError or NoSuchStreamError."""
        path = self._stream_file(group, name)
        try:
            status = path.stat()
        except FileNotFoundError:
            raise NoSuchStreamError(name) from None
        return Stream(name, path, status.st_size, status.st_mtime_ns // 1_000_000)

    def times(self, stream: Stream) -> StreamTimes | None:
        """None when the stream has been deleted meanwhile."""
        try:
            bounds = time_bounds(stream.path, stream.size)
        except FileNotFoundError:
            return None
        if bounds is None:
            return StreamTimes(stream.modified, None, None)
        return StreamTimes(min(bounds[0], stream.modified), *bounds)

    def create_stream(self, group: str, name: str) -> bool:
        """False when it exists already; then it stays as it is. Raises NoSuchGroupError."""
        path = self._stream_file(group, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def delete_stream(self, group: str, name: str) -> None:
        """Raises NoSuchGroupError or NoSuchStreamError."""
        try:
            self._stream_file(group, name).unlink()
        except FileNotFoundError:
            raise NoSuchStreamError(name) from None

    def append(self, group: str, name: str, events: Iterable[tuple[int, bytes]]) -> None:
        """Append events, in order of time. One that is older than the stream's last event gets that event's time.

        Raises NoSuchGroupError, NoSuchStreamError, and OSError when they can't be written.
        """
        stream = self.stream(group, name)
        descriptor = os.open(stream.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size

            def read(length: int, position: int) -> bytes:
                return os.pread(descriptor, length, position)

            at = last_timestamp(read, size)
            lines = [b"\n"] if size and read(1, size - 1) != b"\n" else []
            for timestamp, message in events:
                at = max(at, timestamp)
                lines.append(encode_event(at, message))
            rest = b"".join(lines)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            now = time.time_ns()
            if at * 1_000_000 > now:  # Keep the promise behind _CLOCK_MARGIN.
                os.utime(descriptor, ns=(now, at * 1_000_000))
        finally:
            os.close(descriptor)

    def _stream_file(self, group: str, name: str) -> Path:
        if not is_group(self.root, group):
            raise NoSuchGroupError(group)
        return stream_path(self.root, group, name)

    # --- reading one stream ---

    def page_forward(
        self, stream: Stream, position: int = 0, start: int = 0, end: int | None = None, limit: int = PAGE_EVENTS
    ) -> Page:
        """Up to `limit` events and 1 MiB from `position` on, with `start` <= timestamp < `end`."""
        if start > 0:
            position = max(position, find_time(stream.path, start))
        events = _page(events_forward(stream.path, position, 0, end), limit)
        return Page(events, events[0].position, events[-1].end) if events else Page([], position, position)

    def page_backward(
        self,
        stream: Stream,
        position: int | None = None,
        start: int = 0,
        end: int | None = None,
        limit: int = PAGE_EVENTS,
    ) -> Page:
        """Up to `limit` events and 1 MiB that end at `position` (None: the last ones), with `start` <= timestamp <
        `end`."""
        if position is None:
            position = end_of_events(stream.path)
        if end is not None:
            position = min(position, find_time(stream.path, end))
        events = _page(events_backward(stream.path, position, start), limit)[::-1]
        return Page(events, events[0].position, events[-1].end) if events else Page([], position, position)

    # --- reading many ---

    def search(
        self,
        streams: Iterable[Stream],
        *,
        matches: Callable[[str], bool] = lambda _: True,
        start: int = 0,
        end: int | None = None,
        limit: int = PAGE_EVENTS,
        behind: Place | None = None,
        newest_first: bool = False,
    ) -> tuple[list[Found], Place | None]:
        """Events of many streams, merged by time, with `start` <= timestamp < `end`, whose messages match.

        `behind` is where the previous page ended; the second part of the answer is where this one does, None at the
        end. A page may be empty and not be the last.
        """
        read = _events_before if newest_first else _events_behind
        earliest = start if behind is None or newest_first else max(start, behind.timestamp)
        sources = [
            read(stream, start, end, behind) for stream in streams if stream.modified + _CLOCK_MARGIN >= earliest
        ]
        merged = heapq.merge(*sources, key=lambda found: found[0], reverse=newest_first)
        found: list[Found] = []
        place = behind
        searched = page = 0
        for here, event in merged:
            size = len(event.message) + EVENT_OVERHEAD
            if searched >= _SEARCH_BYTES or len(found) >= limit:
                return found, place
            text = event.message.decode("utf-8", "replace")
            if matches(text):
                if found and page + size > PAGE_BYTES:
                    return found, place
                found.append(Found(here.stream, event, text))
                page += size
            searched += size
            place = here
        return found, None


def _events_behind(stream: Stream, start: int, end: int | None, behind: Place | None) -> Iterator[tuple[Place, Event]]:
    """The events of one stream that come behind a place, in order."""
    position = 0
    if behind is not None:
        if stream.name == behind.stream:
            position = behind.position
        start = max(start, behind.timestamp + (stream.name < behind.stream))
    try:
        for event in events_forward(stream.path, position, start, end):
            place = Place(event.timestamp, stream.name, event.position)
            if place != behind:
                yield place, event
    except FileNotFoundError:
        return


def _events_before(stream: Stream, start: int, end: int | None, before: Place | None) -> Iterator[tuple[Place, Event]]:
    """The events of one stream that come before a place, in reverse order."""
    position = None
    if before is not None:
        if stream.name == before.stream:
            position = before.position
        latest = before.timestamp + (stream.name <= before.stream)
        end = latest if end is None else min(end, latest)
    try:
        for event in events_backward(stream.path, position, start, end):
            yield Place(event.timestamp, stream.name, event.position), event
    except FileNotFoundError:
        return


def _page(events: Iterator[Event], limit: int) -> list[Event]:
    page: list[Event] = []
    size = 0
    for event in events:
        size += len(event.message) + EVENT_OVERHEAD
        if page and size > PAGE_BYTES:
            break
        page.append(event)
        if len(page) >= limit:
            break
    return page


def _group_settings(folder: Path) -> dict[str, int]:
    try:
        settings: dict[str, int] = json.loads((folder / GROUP_FILE).read_text())
    except FileNotFoundError:
        return {"creationTime": folder.stat().st_mtime_ns // 1_000_000}
    return settings


def _group_names(folder: Path, name: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            longer = extend_name(name, entry.name)
            if entry.name.endswith("%"):
                yield from _group_names(Path(entry.path), longer)
            else:
                yield longer[:-1]


def _streams(folder: Path, name: str, prefix: str) -> Iterator[Stream]:
    """Walk through the folders that can hold names which begin with `prefix`."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.endswith(STREAM_SUFFIX):
                    stream = extend_name(name, entry.name.removesuffix(STREAM_SUFFIX))[:-1]
                    if stream.startswith(prefix):
                        status = entry.stat()
                        yield Stream(stream, Path(entry.path), status.st_size, status.st_mtime_ns // 1_000_000)
                    continue
                longer = extend_name(name, entry.name)
                if longer.startswith(prefix) or prefix.startswith(longer):
                    yield from _streams(Path(entry.path), longer, prefix)
    except FileNotFoundError:
        return
