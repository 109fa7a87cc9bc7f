"""The one way in which tests wait for something: ask again and again, until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""Long, because it is only ever used up by a test that fails, and the machine may be busy."""


def until(
    ask: Callable[[], T | None], what: object = "what the test waits for", seconds: float = PATIENCE_SECONDS
) -> T:
    """The first answer that is true. Raises `AssertionError`, naming `what` (called, where it can be), after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
