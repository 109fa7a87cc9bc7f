"""Copying a container's output into its log stream, so that every line stands there exactly once.

The daemon keeps the whole output until the container is removed, always in the same order, so two counts are enough to
go on anywhere. Within the life of the server: how many entries have been read, so that reading is taken up behind them
after the daemon's absence, and when the container has ended. (That last reading is needed always: daemons are known to
end a followed log before its last lines.) After a restart of the server: how many events the stream has. Then the output
is read from its beginning, and as many lines are passed over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from batchyard.engines.local.docker.daemon import (
    CONNECTION_ERRORS,
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    Daemon,
    patiently,
    unreachable,
)
from batchyard.engines.local.docker.log_frames import Line, LogFrames
from batchyard.logs.lines import LineWriter, timestamp_of

log = logging.getLogger(__name__)


async def copy_log(daemon: Daemon, container_id: str, log_driver: str, path: Path, ended: asyncio.Event) -> None:
    """Copy until the container has ended (the caller sets `ended`) and all of its output is in the stream at `path`.

    Outlives the daemon's absence. A container that is gone has nothing more to read.
    """
    copy = _LogCopy(daemon, container_id, log_driver, path, await asyncio.to_thread(events_written, path))
    try:
        if not ended.is_set():
            following = asyncio.create_task(copy.follow())
            try:
                await ended.wait()
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
        await copy.read_to_end()
    finally:
        copy.close()


class _LogCopy:
    """How far the copy of one container's log has come."""

    def __init__(self, daemon: Daemon, container_id: str, log_driver: str, path: Path, events_to_skip: int) -> None:
        self._daemon = daemon
        self._container_id = container_id
        self._frames = LogFrames(short_entries_end_lines=log_driver == "local")
        self._writer = LineWriter(path)
        self._events_to_skip = events_to_skip

    async def follow(self) -> None:
        """Copy lines as they appear, for ever."""
        delay = FIRST_RETRY_SECONDS
        while True:
            before = self._frames.entries
            try:
                await self._read(follow=True)
            except CONNECTION_ERRORS as error:
                if not unreachable(error):
                    log.warning("container %s: its log can't be followed: %s", self._container_id, error)
                    return  # It is read when the container has ended.
            delay = min(delay * 2, LONGEST_RETRY_SECONDS) if self._frames.entries == before else FIRST_RETRY_SECONDS
            await asyncio.sleep(delay)

    async def read_to_end(self) -> None:
        """Copy what is left of an ended container's log."""
        try:
            await patiently(lambda: self._read(follow=False))
        except CONNECTION_ERRORS as error:
            log.warning("container %s: its log can't be read: %s", self._container_id, error)
        self._write(self._frames.finish())

    def close(self) -> None:
        self._writer.close(time.time_ns() // 1_000_000)

    async def _read(self, *, follow: bool) -> None:
        since = self._frames.resume()
        async with self._daemon.logs(self._container_id, follow=follow, since=since) as chunks:
            async for chunk in chunks:
                self._write(self._frames.feed(chunk))

    def _write(self, lines: Iterable[Line]) -> None:
        for at, together in groupby(lines, key=lambda line: line[0]):
            texts = [text for _, text in together]
            if self._events_to_skip:
                skipped = min(self._events_to_skip, len(texts))
                self._events_to_skip -= skipped
                del texts[:skipped]
            if texts:
                self._writer.write(b"\n".join([*texts, b""]), at)


def events_written(path: Path) -> int:
    """How many events a stream has. A torn last line, which is no event, is cut off to be written anew."""
    try:
        with path.open("r+b") as stream:
            count, end = 0, 0
            for line in stream:
                if not line.endswith(b"\n"):
                    os.ftruncate(stream.fileno(), end)
                    break
                end += len(line)
                count += timestamp_of(line) is not None
            return count
    except FileNotFoundError:
        return 0
    except OSError as error:
        log.warning("the log stream %s can't be read, so it may get lines twice: %s", path, error)
        return 0
