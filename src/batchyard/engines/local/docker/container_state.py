"""What `docker inspect` says of a container, and what follows from it for the task."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from batchyard.kernel.messages import TaskExited

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
LONGEST_REASON = 255
"""Characters of `container.reason`."""

EXIT_CODE_UNKNOWN = 255
"""What the daemon writes down for a container whose end it has not seen (the host or containerd failed); a program may
also exit with it."""

# What Docker reports, as a shell does, when the command can't be executed or isn't there. Its other code for a
# container that could not be started, 128, is no exit code of anything.
_EXIT_CODES_OF_FAILED_STARTS = (126, 127)


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """The part of Docker's `State` that matters. Times are milliseconds since the epoch."""

    running: bool
    exit_code: int
    out_of_memory: bool
    error: str
    """Why the container could not be started."""
    started_at: int | None
    finished_at: int | None

    @property
    def begun(self) -> bool:
        """The program has run, or runs."""
        return self.started_at is not None


def container_state(inspected: dict[str, Any]) -> ContainerState:
    """Read the answer of `GET /containers/{id}/json`."""
    state = inspected["State"]
    return ContainerState(
        running=state["Running"],
        exit_code=state["ExitCode"],
        out_of_memory=state["OOMKilled"],
        error=" ".join(state["Error"].split()),
        started_at=milliseconds(state["StartedAt"]),
        finished_at=milliseconds(state["FinishedAt"]),
    )


def milliseconds(timestamp: str) -> int | None:
    """A time of Docker's (RFC 3339, up to nanoseconds) since the epoch; None for Go's zero time."""
    if timestamp.startswith("0001-"):
        return None
    return int(datetime.fromisoformat(timestamp).timestamp() * 1000)


def exited(task_id: str, state: ContainerState, now: int, message: str | None = None) -> TaskExited:
    """The end of a container that has run."""
    return TaskExited(
        task_id=task_id,
        # The daemon notes the start a moment after it and takes the end from elsewhere: a short life may end before it.
        at=max(state.finished_at or now, state.started_at or 0),
        exit_code=state.exit_code,
        reason=OUT_OF_MEMORY if state.out_of_memory else None,
        started_at=state.started_at,
        message=message,
    )


def failed_to_start(task_id: str, state: ContainerState, now: int) -> TaskExited:
    """The end of a container whose program never ran."""
    exit_code = state.exit_code if state.exit_code in _EXIT_CODES_OF_FAILED_STARTS else None
    return TaskExited(
        task_id=task_id, at=now, exit_code=exit_code, reason=reason("CannotStartContainerError", state.error)
    )


def reason(error: str, text: str) -> str:
    """ECS's form of `container.reason`, cut to its length."""
    return f"{error}: {text}"[:LONGEST_REASON]
