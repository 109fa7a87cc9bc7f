"""Times as people say them. Inputs are AWS's: milliseconds since the epoch."""

from __future__ import annotations

import time


def duration(milliseconds: float) -> str:
    """The two units that matter: `0.4 s`, `12 s`, `1 m 12 s`, `3 h 5 m`, `2 d 4 h`."""
    seconds = max(0.0, milliseconds / 1000)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for big, small, size, part in (("m", "s", 60, 1), ("h", "m", 3600, 60), ("d", "h", 86400, 3600)):
        if whole < size * {"m": 60, "h": 24, "d": 1_000_000}[big]:
            return f"{whole // size} {big} {whole % size // part} {small}"
    raise AssertionError(milliseconds)


def moment(milliseconds: int) -> str:
    """Local time, to the second: `2026-11-22 12:01:03`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def exact_moment(milliseconds: int) -> str:
    """Local time, to the millisecond."""
    return f"{moment(milliseconds)}.{milliseconds % 1000:03d}"


def now_milliseconds() -> int:
    return time.time_ns() // 1_000_000
