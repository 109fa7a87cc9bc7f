"""A task's output on its way from its pipe to its log stream."""

from __future__ import annotations

import os
import time

from batchyard.engines.local.process.loop import Loop
from batchyard.logs.lines import LineWriter

CHUNK_BYTES = 64 * 1024
"""Read in one turn of the runner at most, so that a noisy task does not starve the others."""

PARTIAL_LINE_SECONDS = 1.0
"""How long an unfinished line is kept back (a prompt, a progress bar)."""

_LAST_CHUNKS = 32
"""Read at the end at most: twice what a pipe can hold (/proc/sys/fs/pipe-max-size)."""


class Output:
    """The pipe is always read, whatever becomes of what is read: a task never waits because of its log."""

    def __init__(self, loop: Loop, descriptor: int, writer: LineWriter) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._writer = writer
        self._is_open = True
        self._is_followed = False
        self._last_read = 0.0
        """Monotonic seconds."""
        self._is_partial = False
        """The last chunk ended within a line."""
        self._flush_scheduled = False

    def follow(self) -> None:
        """Take over what comes, from now on."""
        self._is_followed = True
        self._loop.watch(self._descriptor, self._on_readable)

    def close(self) -> None:
        """Take over what still stands in the pipe, without waiting for whoever else may hold it open."""
        if not self._is_open:
            return
        self._is_open = False
        if self._is_followed:
            self._loop.unwatch(self._descriptor)
        for _ in range(_LAST_CHUNKS):
            if not self._read():
                break
        os.close(self._descriptor)
        self._writer.close(_now())

    def _on_readable(self, _: int) -> None:
        if not self._read():
            # Readable and nothing to read is the end: all who could write are gone, or have closed it.
            self.close()
        elif self._is_partial and not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.after(PARTIAL_LINE_SECONDS, self._flush_partial_line)

    def _read(self) -> bool:
        """Take over one chunk. False when there is none: nothing at the moment, or the end."""
        try:
            data = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return False
        self._last_read = time.monotonic()
        self._is_partial = not data.endswith(b"\n")
        self._writer.write(data, _now())
        return True

    def _flush_partial_line(self) -> None:
        self._flush_scheduled = False
        if not self._is_open or not self._is_partial:
            return
        waited = time.monotonic() - self._last_read
        if waited >= PARTIAL_LINE_SECONDS:
            self._is_partial = False
            self._writer.flush_partial(_now())
        else:
            self._flush_scheduled = True
            self._loop.after(PARTIAL_LINE_SECONDS - waited, self._flush_partial_line)


def _now() -> int:
    return time.time_ns() // 1_000_000
