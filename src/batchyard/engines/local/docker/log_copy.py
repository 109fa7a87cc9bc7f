"""Copying a container's output into its log stream, so that every line stands there exactly once.

The daemon keeps the whole output until the container is removed, always in the same order. So nothing needs to be
remembered but the stream itself: to go on after a restart of the server or of the daemon, the output is read from its
beginning again and as many lines are passed over as the stream has events.
"""

from __future__ import annotations

import asyncio
import logging
import os
from itertools import groupby
from pathlib import Path

from batchyard.engines.local.docker.daemon import CONNECTION_ERRORS, Daemon, patiently, unreachable
from batchyard.engines.local.docker.log_frames import LogFrames
from batchyard.logs.lines import LineWriter, timestamp_of

log = logging.getLogger(__name__)

END_SEEN_SECONDS = 2.0
"""A log ends when its container does; if that isn't known this long after, it was the daemon that went away."""

LAST_LINES_SECONDS = 10.0
"""How long a followed log may stay open after its container has ended. Some daemons forget to close it."""


async def copy_log(daemon: Daemon, container_id: str, path: Path, ended: asyncio.Event) -> None:
    """Copy until the container has ended (the caller sets `ended`) and all of its output is in the stream at `path`.

    Outlives the daemon's absence. A container that is gone ends the copy: there is nothing more to read.
    """
    while True:
        copy = asyncio.create_task(patiently(lambda: _copy_to_end(daemon, container_id, path, not ended.is_set())))
        try:
            if await _complete(copy, ended):
                return
        finally:
            copy.cancel()
            await asyncio.gather(copy, return_exceptions=True)


async def _complete(copy: asyncio.Task[None], ended: asyncio.Event) -> bool:
    """Wait for a pass over the log. False when another one is needed."""
    ending = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({copy, ending}, return_when=asyncio.FIRST_COMPLETED)
        if copy.done():
            copy.result()
            await asyncio.wait({ending}, timeout=END_SEEN_SECONDS)
            return ended.is_set()
        await asyncio.wait({copy}, timeout=LAST_LINES_SECONDS)
        if copy.done():
            copy.result()
        return copy.done()
    finally:
        ending.cancel()


async def _copy_to_end(daemon: Daemon, container_id: str, path: Path, follow: bool) -> None:
    try:
        to_skip = await asyncio.to_thread(events_written, path)
    except OSError as error:
        log.warning("the log stream %s can't be read, so it may get lines twice: %s", path, error)
        to_skip = 0
    writer = LineWriter(path)
    frames = LogFrames()
    at = 0
    try:
        async with daemon.logs(container_id, follow=follow) as chunks:
            async for chunk in chunks:
                for at, lines in groupby(frames.feed(chunk), key=lambda line: line[0]):
                    texts = [text for _, text in lines]
                    skipped = min(to_skip, len(texts))
                    to_skip -= skipped
                    if len(texts) > skipped:
                        writer.write(b"\n".join([*texts[skipped:], b""]), at)
    except CONNECTION_ERRORS as error:
        if unreachable(error):
            raise  # To be tried again.
    finally:
        writer.close(at)


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
