"""The runner's children: programs that end, what they leave behind, and the runner's own helpers."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable

from batchyard.engines.local.process import tree
from batchyard.engines.local.process.loop import Loop, ended_children, open_child_signal
from batchyard.engines.local.process.task import Task

RECHECK_SECONDS = 0.02
"""How often killed processes are looked for that are not children of the runner."""

GIVE_UP_SECONDS = 10.0
"""A killed process that is still there after so long hangs in the kernel; the task's end is reported without it."""


class Endings:
    """A task ends when its program has ended and everything that it left behind is killed and gone. Then
    `finish(task, is_empty)` is called; `is_empty` is False where something could not be killed."""

    def __init__(self, loop: Loop, finish: Callable[[Task, bool], None]) -> None:
        self._loop, self._finish = loop, finish
        self._own_id = os.getpid()
        self._programs: dict[int, Task] = {}
        self._helpers: dict[int, Callable[[], None]] = {}
        self._dying: list[Task] = []
        self._recheck_scheduled = False
        self._children_changed = open_child_signal()
        loop.watch(self._children_changed, self._on_children_changed)

    def await_program(self, task: Task) -> None:
        self._programs[task.process_id] = task

    def await_helper(self, process_id: int, ended: Callable[[], None]) -> None:
        """A child that is no task's."""
        self._helpers[process_id] = ended

    def end_all(self, tasks: Iterable[Task]) -> None:
        """Kill these tasks and wait until they are gone. Nobody is told."""
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        left = [*tasks]
        while left and time.monotonic() < give_up_at:
            for task in left:
                task.kill()
            for process_id, _ in ended_children():
                self._programs.pop(process_id, None)
            left = [task for task in left if task.process_id in self._programs or task.processes()]
            if left:
                time.sleep(RECHECK_SECONDS)

    def _on_children_changed(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._children_changed, 4096)
        is_other_gone = False
        for process_id, exit_code in ended_children():
            task = self._programs.pop(process_id, None)
            if task is not None:
                self._on_program_ended(task, exit_code)
                continue
            is_other_gone = True
            helper_ended = self._helpers.pop(process_id, None)
            if helper_ended is not None:
                helper_ended()
        if is_other_gone:
            self._look_after_the_dying()

    def _on_program_ended(self, task: Task, exit_code: int) -> None:
        task.exit_code, task.ended_at = exit_code, time.time_ns() // 1_000_000
        left = self._left_behind(task)
        if not left:
            self._finish(task, True)
            return
        tree.kill(left)
        task.give_up_at = time.monotonic() + GIVE_UP_SECONDS
        self._dying.append(task)
        self._schedule_recheck()

    def _left_behind(self, task: Task) -> list[int]:
        """Living processes of a task whose program has ended."""
        if task.slot.cell is not None:
            return task.slot.cell.processes()
        # All that it started and that lost its parent has become a child of the runner.
        strays = set(tree.children(self._own_id)) - self._programs.keys() - self._helpers.keys()
        if not strays:
            return []
        left = set(task.processes())
        if not self._programs:
            left |= {process_id for process_id in strays if tree.is_alive(process_id)}  # Whose else could they be?
        return list(left)

    def _look_after_the_dying(self) -> None:
        """Finish the ended tasks of which nothing is left."""
        dying, self._dying = self._dying, []
        for task in dying:
            left = self._left_behind(task)
            if not left or time.monotonic() >= task.give_up_at:
                self._finish(task, not left)
            else:
                tree.kill(left)
                self._dying.append(task)
        self._schedule_recheck()

    def _schedule_recheck(self) -> None:
        if self._dying and not self._recheck_scheduled:
            self._recheck_scheduled = True
            self._loop.after(RECHECK_SECONDS, self._recheck)

    def _recheck(self) -> None:
        self._recheck_scheduled = False
        self._look_after_the_dying()
