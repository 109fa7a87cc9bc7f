"""The file behind one log stream: where it lies, what stands in it, and how a program's output is appended to it.

A stream is a plain text file that is only ever appended to, one event a line::

    <milliseconds since the epoch> <message>\\n

Times never decrease within a file, so a time is found by binary search over byte offsets, and the file is read
backwards as easily as forwards: there is no index to keep or to repair. A message that contains a line feed itself
(only callers of PutLogEvents can make one) has it written as DLE n, and DLE as DLE DLE; output without the control
character DLE, which is all ordinary output, is stored byte for byte.

A line that does not begin with digits and a space, and whatever stands behind the last line feed, is no event: that is
what a crash in the middle of a write leaves, and readers pass over it.

This module is imported by the small process that runs jobs: standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

MAX_EVENT_BYTES = 256 * 1024
"""A longer line of output is cut into events of this size."""

GROUP_FILE = ".group.json"
"""What is known of a group, in its folder. No quoted name begins with a dot, so no stream can take its place."""

STREAM_SUFFIX = ".log"

Reader = Callable[[int, int], bytes]
"""Reads from a file: how many bytes at most, from which position."""

_ESCAPE = b"\x10"
_ESCAPED = re.compile(rb"\x10(.?)", re.DOTALL)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_PLAIN_CHARACTER = re.compile(r"[A-Za-z0-9_-]|[^\x00-\x7f]")
_MAX_NAME_BYTES = 200


# --- where a stream lies ----------------------------------------------------------------------------------------------


def group_path(root: Path, group: str) -> Path:
    """The folder of a log group."""
    return root.joinpath(*_quote(group))


def stream_path(root: Path, group: str, stream: str) -> Path:
    """The file of a log stream: `root/<group>/<each part of the stream's name>.log`.

    Different names always give different paths, none of which leaves `root`; :func:`extend_name` finds the name again.
    """
    *folders, last = [piece for part in stream.split("/") for piece in _quote(part)]
    return group_path(root, group).joinpath(*folders, last + STREAM_SUFFIX)


@lru_cache(maxsize=4096)
def _quote(name: str) -> tuple[str, ...]:
    """A name as one file name, or as several when it is too long for one: all but the last then end with `%`.

    ASCII other than letters, digits, `_` and `-` becomes `%XX`; nothing at all becomes `%`.
    """
    if _PLAIN_NAME.fullmatch(name):
        return (name,)
    if not name:
        return ("%",)
    pieces: list[str] = []
    piece, size = "", 0
    for character in name:
        token = character if _PLAIN_CHARACTER.fullmatch(character) else f"%{ord(character):02X}"
        width = len(os.fsencode(token))
        if size + width > _MAX_NAME_BYTES:
            pieces.append(piece + "%")
            piece, size = "", 0
        piece, size = piece + token, size + width
    return (*pieces, piece)


def extend_name(name: str, piece: str) -> str:
    """The name that stands behind one more piece of a path: quoting undone, step by step.

    Begin with the empty string. The result ends with `/` unless the piece is one of several of a long name.
    """
    if "%" not in piece:
        return f"{name}{piece}/"
    if piece == "%":
        return name + "/"
    more = piece.endswith("%")
    text = re.sub("%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), piece.removesuffix("%"))
    return name + text if more else f"{name}{text}/"


def is_group(root: Path, group: str) -> bool:
    return group_path(root, group).is_dir()


def create_group(root: Path, group: str) -> None:
    """Make a log group. A group that exists already stays as it is."""
    folder = group_path(root, group)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / GROUP_FILE).exists():
        write_group_file(folder, {"creationTime": int(time.time() * 1000)})


def write_group_file(folder: Path, settings: dict[str, int]) -> None:
    """Replace what is known of a group, all or nothing: a reader never sees half of it."""
    draft = folder / f"{GROUP_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(settings))
    draft.replace(folder / GROUP_FILE)


# --- what stands in it ------------------------------------------------------------------------------------------------


def encode_event(at: int, message: bytes) -> bytes:
    """The line of one event, whatever its message contains."""
    return b"%d %b\n" % (at, message.replace(_ESCAPE, b"\x10\x10").replace(b"\n", b"\x10n"))


def decode_event(line: bytes) -> tuple[int, bytes] | None:
    """Time and message of a line (without its line feed), or None when the line is no event."""
    at = timestamp_of(line)
    if at is None:
        return None
    message = line[line.index(b" ") + 1 :]
    if _ESCAPE in message:
        message = _ESCAPED.sub(lambda match: b"\n" if match[1] == b"n" else match[1], message)
    return at, message


def timestamp_of(line: bytes) -> int | None:
    """Milliseconds since the epoch of a line, or of its first bytes; None when the line is no event."""
    space = line.find(b" ", 0, 20)
    digits = line[:space] if space > 0 else b""
    return int(digits) if digits.isdigit() else None


def last_timestamp(read: Reader, size: int) -> int:
    """The time of the last event in the first `size` bytes of a file, 0 when there is none."""
    for line in lines_backward(read, size):
        at = timestamp_of(line)
        if at is not None:
            return at
    return 0


def lines_backward(read: Reader, end: int) -> Iterator[bytes]:
    """The lines before byte `end`, last first, without their line feeds. What follows the last line feed comes first
    (empty when `end` is where a line ends)."""
    block = 4 * 1024
    rest: list[bytes] = []  # Parts of a line whose beginning is not read yet, last first.
    while end > 0:
        start = max(0, end - block)
        first, *others = read(end - start, start).split(b"\n")
        if others:
            yield others.pop() + b"".join(reversed(rest))
            yield from reversed(others)
            rest = []
        rest.append(first)
        end = start
        block = min(block * 4, 1024 * 1024)
    yield b"".join(reversed(rest))


# --- appending to it --------------------------------------------------------------------------------------------------


class LineWriter:
    """Appends a program's output to one log stream, line by line with the time of arrival.

    A carriage return before the line feed is dropped, others stay (progress bars). Nothing here raises because of the
    disk: what could not be written is dropped and counted, and a line says so as soon as writing works again.
    Readers may read all the while; another writer may append in between (PutLogEvents of a caller).
    """

    def __init__(self, path: Path | str) -> None:
        """Creates the file and its folders at once, so that an empty stream exists. Reopening continues the file."""
        self._path = path
        self._descriptor = -1
        self._closed = False
        self._end = 0  # Size of the file when it was last looked at.
        self._last = 0
        self._torn = False  # The file does not end with a line feed.
        self._pending = bytearray()  # An incomplete last line.
        self._cut = False  # The beginning of that line has been written as an event of its own.
        self._lost_bytes = 0
        self._lost_because = ""
        self._open()

    @property
    def last_timestamp(self) -> int:
        """The time of the last event in the file, 0 when there is none."""
        return self._last

    def write(self, data: bytes, at: int) -> None:
        """Append a chunk of output that arrived at `at` (ms since the epoch).

        An incomplete last line is kept back until its end arrives or it grows beyond 256 KiB.
        """
        if self._cut:
            data = self._after_cut(data)
        if len(self._pending) + len(data) > MAX_EVENT_BYTES:
            self._write_long(bytes(self._pending) + data, at)
            return
        end = data.rfind(b"\n")
        if end < 0:
            self._pending += data
            return
        lines = data[:end]
        if self._pending:
            lines = bytes(self._pending) + lines
            self._pending.clear()
        self._pending += data[end + 1 :]
        self._append(lines, at)

    def flush_partial(self, at: int) -> None:
        """Write an incomplete line that has waited (a prompt, a progress bar) as an event of its own."""
        if not self._pending or (self._cut and self._pending == b"\r"):
            return
        self._append(bytes(self._pending), at)
        self._pending.clear()
        self._cut = True

    def close(self, at: int) -> None:
        """Write what is kept back and let go of the file. Closing again does nothing."""
        if self._closed:
            return
        self.flush_partial(at)
        if self._lost_bytes and self._open():
            self._put(b"", max(at, self._last))
        self._closed = True
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _after_cut(self, data: bytes) -> bytes:
        """The line's beginning is written already: a line end that comes right behind it ends it, and adds no event."""
        data = bytes(self._pending) + data
        self._pending.clear()
        if data not in (b"", b"\r"):
            self._cut = False
        return data[1:] if data.startswith(b"\n") else data[2:] if data.startswith(b"\r\n") else data

    def _write_long(self, data: bytes, at: int) -> None:
        """More than an event may hold: go through it in steps of that size, and cut the lines that are longer."""
        pieces = []
        start = 0
        while len(data) - start > MAX_EVENT_BYTES:
            end = data.rfind(b"\n", start, start + MAX_EVENT_BYTES + 1)
            if end >= 0:
                pieces.append(data[start:end])
                start = end + 1
            else:
                end = _character_boundary(data, start + MAX_EVENT_BYTES)
                pieces.append(data[start:end])
                start = end
                if data.startswith(b"\n", start):
                    start += 1
                elif data.startswith(b"\r\n", start):
                    start += 2
                else:
                    self._cut = data[start : start + 2] == b"\r"
        self._pending.clear()
        self._append(b"\n".join(pieces), at)
        self.write(data[start:], at)

    def _append(self, lines: bytes, at: int) -> None:
        """Append complete lines, given without the last line feed: one write for everything."""
        if _ESCAPE in lines:
            lines = lines.replace(_ESCAPE, b"\x10\x10")
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n").removesuffix(b"\r")
        if self._closed or not self._open():
            self._lost_bytes += len(lines) + 1
            return
        at = max(at, self._last)
        stamp = b"%d " % at
        self._put(stamp + lines.replace(b"\n", b"\n" + stamp) + b"\n", at)

    def _put(self, text: bytes, at: int) -> None:
        """What does not get into the file is counted as lost, and a line says so before whatever is written next."""
        head = b"\n" if self._torn else b""
        if self._lost_bytes:
            lost = f"{at} [batchyard] {self._lost_bytes} bytes of this log were lost here: {self._lost_because}\n"
            head += lost.encode()
        try:
            written = os.write(self._descriptor, head + text)
        except OSError as error:
            self._lost_bytes += len(text)
            self._lost_because = error.strerror or str(error)
            return
        if written:
            self._end += written
            self._last = at
            self._torn = (head + text)[written - 1] != 0x0A
        if written >= len(head):
            self._lost_bytes = 0
        if written < len(head) + len(text):
            # The disk filled up in the middle: the next write would say so, and may never come.
            self._lost_bytes += len(head) + len(text) - max(written, len(head))
            self._lost_because = os.strerror(errno.ENOSPC)

    def _open(self) -> bool:
        """Open the file if need be, and look at its end unless it is as this writer left it."""
        try:
            if self._descriptor < 0:
                try:
                    self._descriptor = _open_for_append(self._path)
                except FileNotFoundError:
                    Path(self._path).parent.mkdir(parents=True, exist_ok=True)
                    self._descriptor = _open_for_append(self._path)
            size = os.lseek(self._descriptor, 0, os.SEEK_END)
            if size != self._end:
                read = partial(os.pread, self._descriptor)
                self._torn = size > 0 and read(1, size - 1) != b"\n"
                self._last = last_timestamp(read, size)
                self._end = size
        except OSError as error:
            self._lost_because = error.strerror or str(error)
            return False
        return True


def _open_for_append(path: Path | str) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _character_boundary(data: bytes, position: int) -> int:
    """The nearest position at or before this one that does not split a UTF-8 character."""
    for candidate in range(position, position - 4, -1):
        if data[candidate] & 0xC0 != 0x80:
            return candidate
    return position
