"""Finds the processes of a task where no control group lists them, and after a runner's sudden death.

Every program gets its task id in the environment, which its children inherit. A process that hides it is still found
by its session, by its parents, or because it became a child of the runner when its own parent ended (the runner is the
"subreaper" of all that it starts).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from typing import NamedTuple

MARKER = "BATCHYARD_TASK_ID"


class Process(NamedTuple):
    process_id: int
    parent: int
    session: int
    is_zombie: bool


def children(process_id: int) -> list[int]:
    """Direct children of a process (which has one thread)."""
    try:
        with open(f"/proc/{process_id}/task/{process_id}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:  # A kernel without CONFIG_PROC_CHILDREN.
        return [process.process_id for process in all_processes() if process.parent == process_id]


def all_processes() -> list[Process]:
    return [process for name in os.listdir("/proc") if name.isdigit() and (process := read_process(int(name)))]


def read_process(process_id: int) -> Process | None:
    """What the kernel says about a process; None when it is gone."""
    try:
        with open(f"/proc/{process_id}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name in brackets may contain anything, so the fields are counted from the last bracket.
    state, parent, _, session, *_ = text[text.rindex(b")") + 2 :].split(b" ", 5)
    return Process(process_id, int(parent), int(session), state in (b"Z", b"X"))


def is_alive(process_id: int) -> bool:
    process = read_process(process_id)
    return process is not None and not process.is_zombie


def marked_task(process_id: int) -> str | None:
    """The task id in a process's environment, as it was when its program began."""
    try:
        with open(f"/proc/{process_id}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return None
    prefix = MARKER.encode() + b"="
    for entry in entries:
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("ascii", "replace")
    return None


def processes_of(task_ids: Collection[str], session: int | None = None) -> list[int]:
    """All living processes of these tasks: those that are marked, the sessions they are in, and all their descendants.

    `session` is one that is known to belong to them.
    """
    processes = all_processes()
    own = os.getpid()
    marked = {process.process_id for process in processes if marked_task(process.process_id) in task_ids}
    sessions = {process.session for process in processes if process.process_id in marked} | {session}
    # A session that was not begun by a task (its leader is not marked) may hold others' processes too.
    sessions = {leader for leader in sessions if leader is not None and (leader in marked or leader == session)}
    found = marked | {process.process_id for process in processes if process.session in sessions}
    growing = True
    while growing:
        more = {process.process_id for process in processes if process.parent in found} - found
        found |= more
        growing = bool(more)
    found.discard(own)
    return [process.process_id for process in processes if process.process_id in found and not process.is_zombie]


def kill(process_ids: Collection[int]) -> None:
    for process_id in process_ids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process_id, signal.SIGKILL)
