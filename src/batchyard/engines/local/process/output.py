"""A task's output on its way from its pipe to its log stream."""

from __future__ import annotations

import os
import time

from batchyard.logs.lines import LineWriter

CHUNK_BYTES = 64 * 1024
"""Read in one turn of the runner at most, so that a noisy task does not starve the others."""

PARTIAL_LINE_SECONDS = 1.0
"""How long an unfinished line is kept back (a prompt, a progress bar)."""

_LAST_CHUNKS = 32
"""Read at the end at most: twice what a pipe can hold (/proc/sys/fs/pipe-max-size)."""


class Output:
    """The pipe is always read, whatever becomes of what is read: a task never waits because of its log."""

    def __init__(self, descriptor: int, writer: LineWriter) -> None:
        self.descriptor = descriptor
        self.last_read = 0.0
        """Monotonic seconds."""
        self.is_partial = False
        """The last chunk ended within a line."""
        self._writer = writer

    def read(self) -> bool:
        """Take over one chunk. False when there is none: nothing at the moment, or the end."""
        try:
            data = os.read(self.descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return False
        self.last_read = time.monotonic()
        self.is_partial = not data.endswith(b"\n")
        self._writer.write(data, time.time_ns() // 1_000_000)
        return True

    def flush_partial(self) -> None:
        self.is_partial = False
        self._writer.flush_partial(time.time_ns() // 1_000_000)

    def close(self) -> None:
        """Take over what still stands in the pipe, without waiting for whoever else may hold it open."""
        for _ in range(_LAST_CHUNKS):
            if not self.read():
                break
        os.close(self.descriptor)
        self._writer.close(time.time_ns() // 1_000_000)
