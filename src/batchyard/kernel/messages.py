"""What engines tell the kernel. (Commands of callers stand in `commands.py`.)

Times are integer milliseconds since the epoch, UTC, as everywhere in the kernel.
"""

from __future__ import annotations

import msgspec


class TaskStarted(msgspec.Struct, frozen=True, tag=True):
    """The task's program runs."""

    task_id: str
    at: int


class TaskExited(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """The task has ended, or could not begin (then `exit_code` is None and `reason` says why)."""

    task_id: str
    at: int
    exit_code: int | None = None
    """As a shell would report it: 128 + n for a program ended by signal n."""
    reason: str | None = None
    """ECS's `container.reason`, as `OutOfMemoryError: Container killed due to memory usage`; at most 255 characters."""
    started_at: int | None = None
    """When the program began; None when it never did."""
    message: str | None = None
    """The first KiB of the file that the task was to leave one in, where it has."""


class TaskLost(msgspec.Struct, frozen=True, tag=True):
    """The task was or may have been running and is gone without a result: its host failed."""

    task_id: str
    at: int


class TaskUnknown(msgspec.Struct, frozen=True, tag=True):
    """The engine has certainly never begun this task: it is safe to order it again."""

    task_id: str


class TaskRecalled(msgspec.Struct, frozen=True, tag=True):
    """A task handed over ahead of its resources was given back before it began."""

    task_id: str


Observation = TaskStarted | TaskExited | TaskLost | TaskUnknown | TaskRecalled
