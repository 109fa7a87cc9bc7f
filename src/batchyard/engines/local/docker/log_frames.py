"""From the Docker Engine's log stream to lines: pure, and the same bytes always give the same lines.

The stream is a sequence of frames, each `[source, 0, 0, 0, length (4 bytes, big endian)]` and the payload. With
`timestamps=1` a frame is one entry of the container's log: time, space, text, and a line feed unless the entry is a
part of a line longer than 16 KiB. Both outputs of a program are in it, so such parts are put together by source. All
parts of a line carry the time of the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from batchyard.engines.local.docker.container_state import milliseconds
from batchyard.logs.lines import MAX_EVENT_BYTES

Line = tuple[int, bytes]
"""Time (ms since the epoch) and text, without line feed. A line longer than an event may be comes as several."""

ENTRY_BYTES = 16 * 1024
"""A part of a line is as long as this unless it is the last one."""

_HEADER_BYTES = 8


class LogFrames:
    """Reads one container's log, in as many streams as it takes.

    `short_entries_end_lines`: for the log driver `local`, with which some daemons leave out the line feed of the last
    part of a long line.
    """

    def __init__(self, *, short_entries_end_lines: bool) -> None:
        self.entries = 0
        """How many have been read."""
        self._short_entries_end_lines = short_entries_end_lines
        self._buffer = b""
        self._to_skip = 0
        self._unfinished: dict[int, Line] = {}
        self._entries_by_second: Counter[int] = Counter()

    def resume(self) -> int:
        """A new stream begins: its `since` (seconds since the epoch), from which on every entry that is not read yet is
        given, and some again, which are passed over.

        Entries that are still to come are as old as a line that is unfinished, or as the last ones read, give or take
        the disorder between the two outputs.
        """
        self._buffer = b""
        if not self._entries_by_second:
            return 0
        since = self._oldest_second_to_come()
        self._to_skip = sum(count for second, count in self._entries_by_second.items() if second >= since)
        return since

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Take a chunk of the stream; the lines that it completes."""
        buffer = self._buffer + chunk if self._buffer else chunk
        position, size = 0, len(buffer)
        while size - position >= _HEADER_BYTES:
            begin = position + _HEADER_BYTES
            end = begin + int.from_bytes(buffer[position + 4 : begin], "big")
            if end > size:
                break
            if self._to_skip:
                self._to_skip -= 1
            else:
                yield from self._entry(buffer[position], buffer[begin:end])
            position = end
        self._buffer = buffer[position:]

    def finish(self) -> Iterator[Line]:
        """The log is complete: what is left of it without a line feed."""
        yield from self._unfinished.values()
        self._unfinished.clear()

    def _entry(self, source: int, payload: bytes) -> Iterator[Line]:
        timestamp, _, text = payload.partition(b" ")
        at = _at(timestamp[:23], timestamp[-1:]) if timestamp[-1:] == b"Z" else milliseconds(timestamp.decode()) or 0
        self._count(at)
        *lines, rest = text.split(b"\n")
        if rest and self._short_entries_end_lines and len(rest) < ENTRY_BYTES:
            lines, rest = [*lines, rest], b""
        elif not text and self._short_entries_end_lines:
            lines = [b""]  # The end of a line that is as long as several entries exactly.
        for line in lines:
            for piece in _pieces(self._taken_up(source) + line):
                yield at, piece
        if rest:
            *pieces, last = _pieces(self._taken_up(source) + rest)
            for piece in pieces:
                yield at, piece
            self._unfinished[source] = at, last

    def _taken_up(self, source: int) -> bytes:
        return self._unfinished.pop(source, (0, b""))[1]

    def _count(self, at: int) -> None:
        self.entries += 1
        second = at // 1000
        if second not in self._entries_by_second:
            oldest = self._oldest_second_to_come() if self._entries_by_second else 0
            for forgotten in [known for known in self._entries_by_second if known < oldest]:
                del self._entries_by_second[forgotten]
        self._entries_by_second[second] += 1

    def _oldest_second_to_come(self) -> int:
        seconds = [at // 1000 for at, _ in self._unfinished.values()]
        return min(max(self._entries_by_second), *seconds) - 1 if seconds else max(self._entries_by_second) - 1


def _pieces(line: bytes) -> list[bytes]:
    """A line, cut between characters into pieces that an event can hold."""
    pieces = []
    while len(line) > MAX_EVENT_BYTES:
        end = MAX_EVENT_BYTES
        while end > MAX_EVENT_BYTES - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


@lru_cache(maxsize=1024)
def _at(to_the_millisecond: bytes, zone: bytes) -> int:
    """Lines come many to the millisecond."""
    return milliseconds((to_the_millisecond + zone).decode()) or 0
