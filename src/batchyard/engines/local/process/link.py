"""The runner's end of the connection to the server: one server at a time, and none for as long as it takes."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

import msgspec

from batchyard.engines.local.process.loop import Loop
from batchyard.engines.local.process.protocol import (
    Order,
    Reconcile,
    ToEngine,
    ToRunner,
    Welcome,
    encode_frame,
    runner_frame_reader,
)

SEND_DELAY_SECONDS = 0.02
"""How long news may wait for company while there is other work: one message a task would cost the server a lot.
No start waits for it, since tasks that were handed over ahead are there."""

SEND_AT_ONCE = 64
"""So many news do not wait."""

_RECEIVE_BYTES = 256 * 1024


class Link:
    def __init__(self, loop: Loop, listener: socket.socket, welcome: Welcome, obey: Callable[[ToRunner], None]) -> None:
        self._loop = loop
        self._listener = listener
        self._welcome = welcome
        self._obey = obey
        self._socket: socket.socket | None = None
        self.has_met_server = False
        self._is_awake = False
        """The server has said what it knows (`Reconcile`) or ordered something: from now on it hears all news."""
        self._reader = runner_frame_reader()
        self._news: list[ToEngine] = []
        self._send_by = 0.0
        self._unsent = bytearray()
        loop.watch(listener.fileno(), self._on_connection)

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    @property
    def due(self) -> float:
        """The moment until which news may wait (monotonic seconds)."""
        return self._send_by if self._news else float("inf")

    def tell(self, message: ToEngine) -> None:
        """To the server, soon. Without a server it is lost: ends are remembered elsewhere, and the rest is found out by
        `Reconcile`."""
        if self._socket is None:
            return
        if not self._news:
            self._send_by = time.monotonic() + SEND_DELAY_SECONDS
        self._news.append(message)

    def report(self, message: ToEngine) -> None:
        """To a server that knows where it stands."""
        if self._is_awake:
            self.tell(message)

    def send(self, *, may_wait: bool) -> None:
        """Send the news, unless they may wait for more and need not be sent yet."""
        if not self._news or (may_wait and len(self._news) < SEND_AT_ONCE and time.monotonic() < self._send_by):
            return
        self._unsent += encode_frame(self._news)
        self._news.clear()
        self._push()

    def _push(self) -> None:
        if self._socket is None:
            return
        was_full = bool(self._unsent)
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
            return
        if was_full:
            self._loop.watch_writing(self._socket.fileno(), bool(self._unsent))

    def _on_connection(self, _: int) -> None:
        """A server comes; the one before it, if any, is gone or has been replaced."""
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        self._hang_up()
        connection.setblocking(False)
        self._socket, self.has_met_server = connection, True
        self._reader = runner_frame_reader()
        self._loop.watch(connection.fileno(), self._on_event)
        self.tell(self._welcome)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
        self._socket, self._is_awake = None, False
        self._news.clear()
        self._unsent.clear()

    def _on_event(self, event: int) -> None:
        connection = self._socket
        if event & select.EPOLLOUT:
            self._push()
        if connection is None or connection is not self._socket or event == select.EPOLLOUT:
            return
        try:
            data = connection.recv(_RECEIVE_BYTES)
            messages = self._reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, msgspec.MsgspecError):  # A server that died in the middle, or one that speaks nonsense.
            data, messages = b"", []
        for message in messages:
            if isinstance(message, Order | Reconcile):
                self._is_awake = True
            self._obey(message)
        if not data:
            self._hang_up()
