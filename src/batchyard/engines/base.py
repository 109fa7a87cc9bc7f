"""What every engine does: start a task, stop a task, report what happened, list what still runs.

An engine decides nothing. It is told to start a task that has already been committed to the store, and from then on it
reports facts. Every outcome, bad ones included, is an observation: no method below raises because of a task.

The promise that everything rests on is *at most once*: a task id is started at most one time, whatever crashes. After
a restart the control loop calls :meth:`Engine.reconcile` with the tasks that ought to exist, and the engine answers for
each with exactly one of `TaskStarted` (it still runs, or has begun), `TaskExited` (it ended meanwhile), `TaskLost` (it
may have run and can't be accounted for) or `TaskUnknown` (it was certainly never begun, so it is safe to order again).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from batchyard.engines.files import Files
from batchyard.kernel.messages import Observation
from batchyard.shapes import batch as shapes


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of one job (or array child, or node): all that an engine needs to run it."""

    task_id: str
    """32 hexadecimal digits, derived from job id and attempt: the same attempt always has the same id."""
    job_id: str
    container: shapes.ContainerDetail
    """The container as resolved at submission: command substituted, overrides merged."""
    environment: dict[str, str]
    """The whole environment of the program: the user's variables and those that the service sets."""
    vcpus: float
    memory: int
    """Hard limit in MiB."""
    gpus: int
    log_group: str
    log_stream: str
    create_log_group: bool = True
    """False when the definition names a log group of its own that must exist already (`awslogs-group`)."""
    entrypoint: list[str] | None = None
    """What is run in place of the image's own entry point, with `container.command` as its arguments."""
    files: Files | None = None
    """Files to be found by the program. A runtime that can't show them reports that the task could not begin."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine offers, and how far ahead it may be fed."""

    vcpus: float
    memory: int
    """MiB."""
    gpus: int = 0
    lead: int = 0
    """How many tasks may be handed over beyond what fits now. The engine begins them by itself, in the order given, the
    moment that resources are free, which hides the round trip to the control loop. 0: the engine is never fed ahead."""


class Engine(Protocol):
    """The contract. All methods are called from the event loop's thread; none blocks it."""

    async def open(self, post: Callable[[Observation], None]) -> Capacity:
        """Connect, and from now on hand every observation to `post` (called on the event loop's thread)."""
        ...

    async def reconcile(self, expected: Sequence[str]) -> None:
        """After a restart: post one observation for each task id in `expected` (see the module's text), and end and
        forget tasks of ours that are not expected. Tasks of others are never touched."""
        ...

    def start(self, tasks: Sequence[TaskSpec]) -> None:
        """Begin these tasks, each as soon as its resources are free. Starting a known task id again does nothing."""
        ...

    def stop(self, task_id: str, grace_seconds: float) -> None:
        """End a task: SIGTERM to its program, SIGKILL to everything of it after the grace. The engine itself sees to the
        second step, even when the server is gone by then. A task handed over but not begun is dropped and reported as
        `TaskExited` without an exit code. Unknown ids are ignored."""
        ...

    def recall(self, task_ids: Sequence[str]) -> None:
        """Give back tasks that were handed over ahead and have not begun: each is dropped and answered by
        `TaskRecalled`. One that has begun goes on, and nothing is posted for it."""
        ...

    def acknowledge(self, task_ids: Sequence[str]) -> None:
        """The end of these tasks is committed to the store: the engine may forget them."""
        ...

    async def close(self) -> None:
        """Let go of the engine. Tasks go on running and are found again by the next :meth:`reconcile`."""
        ...
