"""The Docker Engine API as the engine uses it: one typed function for each call, and what to make of its errors.

Beneath is aiodocker. Each request has a connection of its own: a request sent over a kept connection that the daemon has
just closed may or may not have been carried out, while a refused connection certainly carried nothing. And there is no
limit of connections that the followed logs of many containers could use up.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import aiodocker
import aiohttp
import msgspec

from batchyard.engines.local.docker.container_state import milliseconds

DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 5.0

Result = TypeVar("Result")

CONNECTION_ERRORS = (aiodocker.DockerError, aiohttp.ClientError, OSError, TimeoutError)
"""What a call may raise. :func:`unreachable` tells the daemon's absence from its refusals."""

_NO_ANSWER = 900  # aiodocker's status for errors of the connection.
_NOT_MODIFIED = 304


def resolve_docker_host(docker_host: str | None) -> str:
    """The daemon's address: the one given, else `DOCKER_HOST`, else Docker's own default. A bare path is a socket."""
    address = docker_host or os.environ.get("DOCKER_HOST") or DEFAULT_DOCKER_HOST
    return f"unix://{address}" if address.startswith("/") else address


def unreachable(error: BaseException) -> bool:
    """Whether the daemon could not be asked, or went away in the middle (as opposed to having refused)."""
    if isinstance(error, aiodocker.DockerError):
        return error.status == _NO_ANSWER
    return isinstance(error, (aiohttp.ClientError, OSError, TimeoutError))


def never_sent(error: BaseException) -> bool:
    """Whether the daemon certainly saw nothing of the request: there was no connection to send it over."""
    return isinstance(error, aiohttp.ClientConnectorError) or isinstance(
        error.__context__, aiohttp.ClientConnectorError
    )


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the daemon's refusal."""
    return error.status if isinstance(error, aiodocker.DockerError) and error.status != _NO_ANSWER else None


def message_of(error: BaseException) -> str:
    """The daemon's words, on one line."""
    text = error.message if isinstance(error, aiodocker.DockerError) else str(error)
    return " ".join(text.split())


async def patiently(call: Callable[[], Awaitable[Result]]) -> Result:
    """Make a call that may safely be repeated until the daemon answers it. Refusals are raised."""
    delay = FIRST_RETRY_SECONDS
    while True:
        try:
            return await call()
        except CONNECTION_ERRORS as error:
            if not unreachable(error):
                raise
        await asyncio.sleep(delay)
        delay = min(delay * 2, LONGEST_RETRY_SECONDS)


_sent: ContextVar[asyncio.Event | None] = ContextVar("sent", default=None)


async def _note_sent(_session: object, _context: object, _parameters: object) -> None:
    sent = _sent.get()
    if sent is not None:
        sent.set()


class Event(msgspec.Struct, frozen=True):
    """One event of a container."""

    action: str
    container_id: str
    attributes: dict[str, str]
    at: int
    """Milliseconds since the epoch."""


class Daemon:
    """A connection to the Docker Engine at `docker_host` (`unix:///path` or `tcp://host:port`).

    To be made while an event loop runs. Calls raise one of `CONNECTION_ERRORS`.
    """

    def __init__(self, docker_host: str) -> None:
        self.docker_host = docker_host
        self._connector: aiohttp.BaseConnector
        if docker_host.startswith("unix://"):
            self._connector = aiohttp.UnixConnector(docker_host.removeprefix("unix://"), limit=0, force_close=True)
            url = "unix://localhost"
        elif docker_host.startswith(("tcp://", "http://")):
            self._connector = aiohttp.TCPConnector(limit=0, force_close=True)
            url = docker_host
        else:
            raise ValueError(f"the Docker Engine's address {docker_host!r} is neither unix:///path nor tcp://host:port")
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_sent)
        self._session = aiohttp.ClientSession(
            connector=self._connector, timeout=aiohttp.ClientTimeout(), trace_configs=[trace]
        )
        self._docker = aiodocker.Docker(url=url, connector=self._connector, session=self._session)

    async def close(self) -> None:
        await self._docker.close()
        await self._session.close()

    async def ping(self) -> None:
        async with self._docker._query("_ping", versioned_api=False) as response:
            await response.read()

    async def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container; its id. 404: no such image; 409: the name is taken."""
        created = await self._docker._query_json("containers/create", "POST", params={"name": name}, data=body)
        return str(created["Id"])

    async def start(self, container: str) -> None:
        await self._post(f"containers/{container}/start")

    async def stop(self, container: str, grace_seconds: int, sent: asyncio.Event) -> None:
        """TERM, and KILL after the grace. Returns when the container has ended.

        `sent` is set as soon as the daemon has been told: from then on it carries on by itself, even when we are gone.
        """
        _sent.set(sent)
        await self._post(f"containers/{container}/stop", t=str(grace_seconds))

    async def remove(self, container: str, *, force: bool) -> None:
        """Remove a container with its anonymous volumes. One that runs is killed first; without `force`: refused (409)."""
        params = {"v": "1", "force": "1" if force else "0"}
        async with self._docker._query(f"containers/{container}", "DELETE", params=params) as response:
            await response.read()

    async def put_files(self, container: str, archive: bytes) -> None:
        """Unpack a tar archive at `/` in a container."""
        headers = {"Content-Type": "application/x-tar"}
        async with self._docker._query(
            f"containers/{container}/archive", "PUT", params={"path": "/"}, data=archive, headers=headers
        ) as response:
            await response.read()

    async def get_file(self, container: str, path: str, at_most: int) -> bytes | None:
        """The beginning of the tar archive of a file in a container; None when there is no such file."""
        try:
            async with self._stream(f"containers/{container}/archive", path=path) as response:
                data = b""
                while len(data) < at_most and (more := await response.content.read(at_most - len(data))):
                    data += more
                return data
        except aiodocker.DockerError as error:
            if error.status == 404:
                return None
            raise

    async def inspect(self, container: str) -> dict[str, Any] | None:
        """All about a container; None when there is no such one."""
        try:
            found: dict[str, Any] = await self._docker._query_json(f"containers/{container}/json")
        except aiodocker.DockerError as error:
            if error.status == 404:
                return None
            raise
        return found

    async def containers(self, label: str) -> list[dict[str, Any]]:
        """All containers that carry a label (`key=value`), ended ones too."""
        params = {"all": "1", "filters": json.dumps({"label": [label]})}
        found: list[dict[str, Any]] = await self._docker._query_json("containers/json", params=params)
        return found

    async def pull(self, image: str) -> None:
        """Pull an image. The registry's refusal is raised."""
        await self._docker.images.pull(image)

    async def system_time(self) -> str:
        """The daemon's clock, in the form that :meth:`events` takes."""
        now = milliseconds((await self._docker._query_json("info"))["SystemTime"]) or 0
        return f"{now / 1000:.3f}"

    async def log_drivers(self) -> list[str]:
        """The names of the log drivers that the daemon has."""
        return list((await self._docker._query_json("info"))["Plugins"].get("Log") or [])

    @asynccontextmanager
    async def events(self, label: str, since: str) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of containers that carry a label, from a time on and without end."""
        filters = {"type": ["container"], "label": [label]}
        async with self._stream("events", since=since, filters=json.dumps(filters)) as response:
            yield _events(response)

    async def history(self, container_id: str) -> list[str]:
        """What this very daemon process remembers to have done with a container, as `create`, `start`, `die`."""
        params = {
            "since": "0",
            "until": f"{time.time():.6f}",
            "filters": json.dumps({"type": ["container"], "container": [container_id]}),
        }
        async with self._stream("events", **params) as response:
            return [event.action async for event in _events(response)]

    @asynccontextmanager
    async def logs(self, container: str, *, follow: bool, since: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """A container's output since a time (seconds since the epoch): chunks of the multiplexed stream, with times."""
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": str(since), "follow": str(int(follow))}
        async with self._stream(f"containers/{container}/logs", **params) as response:
            yield response.content.iter_any()

    @asynccontextmanager
    async def _stream(self, path: str, /, **params: str) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._docker._query(path, params=params, timeout=None) as response:
            try:
                yield response
            finally:
                response.close()  # Reading an endless answer to its end, as release() does, would take for ever.

    async def _post(self, path: str, **params: str) -> None:
        try:
            async with self._docker._query(path, "POST", params=params, timeout=None) as response:
                await response.read()
        except aiodocker.DockerError as error:
            if error.status != _NOT_MODIFIED:  # It is so already.
                raise


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    async for line in response.content:
        event = msgspec.json.decode(line)
        yield Event(
            action=event["Action"],
            container_id=event["Actor"]["ID"],
            attributes=event["Actor"]["Attributes"],
            at=event["timeNano"] // 1_000_000,
        )
