"""Pulling images that are missing: each once at a time, however many tasks wait for it."""

from __future__ import annotations

import asyncio

from batchyard.engines.local.docker.daemon import CONNECTION_ERRORS, Daemon, message_of, patiently


class CannotPullError(Exception):
    """The registry's text."""


class ImagePuller:
    """Pulls through one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._pulls: dict[str, asyncio.Task[None]] = {}

    async def pull(self, image: str) -> None:
        """Pull an image, or join a pull of it that is under way. Raises :class:`CannotPullError`.

        A caller that is cancelled leaves the pull to the others.
        """
        pull = self._pulls.get(image)
        if pull is None:
            pull = asyncio.create_task(self._pull(image))
            self._pulls[image] = pull
            pull.add_done_callback(lambda done: self._finished(image, done))
        await asyncio.shield(pull)

    async def close(self) -> None:
        pulls = list(self._pulls.values())
        for pull in pulls:
            pull.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)

    async def _pull(self, image: str) -> None:
        try:
            await patiently(lambda: self._daemon.pull(image))
        except CONNECTION_ERRORS as error:
            raise CannotPullError(message_of(error)) from error

    def _finished(self, image: str, pull: asyncio.Task[None]) -> None:
        del self._pulls[image]
        if not pull.cancelled():
            pull.exception()  # Taken note of, also when nobody waits any more.
