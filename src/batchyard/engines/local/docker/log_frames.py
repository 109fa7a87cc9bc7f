"""From the Docker Engine's log stream to lines: pure, and the same bytes always give the same lines.

The stream is a sequence of frames, each `[source, 0, 0, 0, length (4 bytes, big endian)]` and the payload. With
`timestamps=1` a frame is one entry of the container's log: time, space, text, and a line feed unless the entry is a
part of a line longer than 16 KiB. Both outputs of a program are in it, so such parts are put together by source.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from batchyard.engines.local.docker.container_state import milliseconds
from batchyard.logs.lines import MAX_EVENT_BYTES

_HEADER_BYTES = 8


class LogFrames:
    """Takes the stream in chunks, gives complete lines. A line longer than an event may be is given in pieces."""

    def __init__(self) -> None:
        self._buffer = b""
        self._parts: dict[int, bytes] = {}

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Time (ms since the epoch) and text, without line feed, of each line that the chunk completes."""
        buffer = self._buffer + chunk if self._buffer else chunk
        position, size = 0, len(buffer)
        while size - position >= _HEADER_BYTES:
            begin = position + _HEADER_BYTES
            end = begin + int.from_bytes(buffer[position + 4 : begin], "big")
            if end > size:
                break
            yield from self._entry(buffer[position], buffer[begin:end])
            position = end
        self._buffer = buffer[position:]

    def _entry(self, source: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
        timestamp, _, text = payload.partition(b" ")
        at = _at(timestamp[:23], timestamp[-1:]) if timestamp[-1:] == b"Z" else milliseconds(timestamp.decode()) or 0
        *lines, rest = text.split(b"\n")
        for line in lines:
            for piece in _pieces(self._parts.pop(source, b"") + line):
                yield at, piece
        if rest:
            *pieces, self._parts[source] = _pieces(self._parts.pop(source, b"") + rest)
            for piece in pieces:
                yield at, piece


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
