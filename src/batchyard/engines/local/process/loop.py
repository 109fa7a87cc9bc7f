"""The runner's event loop: descriptors, timers, and children that ended. One thread, no framework: a runner is small
and starts in no time."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable, Iterator

_MAX_WAIT_SECONDS = 3600.0
_MAX_EVENTS = 64


class Loop:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def watch(self, descriptor: int, handler: Callable[[int], None]) -> None:
        """Call `handler(event)` whenever the descriptor is readable, has ended or failed."""
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        del self._handlers[descriptor]
        self._poll.unregister(descriptor)

    def watch_writing(self, descriptor: int, wanted: bool) -> None:
        """Of a descriptor that is watched: is its being writable an event too?"""
        self._poll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), action))

    def turn(self, until: float) -> None:
        """Wait for something to happen, at most until that moment (monotonic seconds), and see to all that has."""
        now = time.monotonic()
        due = min(until, now + _MAX_WAIT_SECONDS, self._timers[0][0] if self._timers else until)
        for descriptor, event in self._poll.poll(max(0.0, due - now), _MAX_EVENTS):
            handler = self._handlers.get(descriptor)
            if handler is not None:  # Else it was given up a moment ago, by another handler.
                handler(event)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


def open_child_signal() -> int:
    """A descriptor that becomes readable when a child has ended."""
    readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def ended_children() -> Iterator[tuple[int, int]]:
    """Process id and exit code of each child that has ended, and SIGKILL to the process group that it led.

    The group is signalled before the process is waited for, while its id can't have been given to anyone else.
    """
    while True:
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if info is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(info.si_pid, signal.SIGKILL)
        os.waitpid(info.si_pid, 0)
        yield info.si_pid, info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status
