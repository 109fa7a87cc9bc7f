"""Opens the log streams of tasks."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from batchyard.engines.local.process.protocol import Order
from batchyard.engines.local.process.spawn import CannotStart
from batchyard.logs.lines import (
    GROUP_FILE,
    STREAM_SUFFIX,
    LineWriter,
    create_group,
    group_path,
    is_group,
    stream_path,
)

_TASK_ID_LENGTH = 32
_MAX_FOLDERS = 1024


class Streams:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._group_files: dict[str, str] = {}
        self._folders: dict[tuple[str, str], str] = {}

    def open(self, order: Order) -> LineWriter:
        """The stream of a task, empty and visible from now on. `CannotStart` when its group should exist and does
        not."""
        group_file = self._group_files.get(order.log_group)
        if group_file is None:
            group_file = str(group_path(self._root, order.log_group) / GROUP_FILE)
            self._group_files[order.log_group] = group_file
        if not os.path.exists(group_file):
            if order.create_log_group:
                with contextlib.suppress(OSError):  # The disk is full: the log is lost, the task runs.
                    create_group(self._root, order.log_group)
            elif not is_group(self._root, order.log_group):
                raise CannotStart(
                    "failed to validate logger args: The specified log group does not exist.",
                    exit_code=1,
                    kind="ResourceInitializationError",
                )
        return LineWriter(self._path(order.log_group, order.log_stream))

    def _path(self, group: str, stream: str) -> Path | str:
        """The streams of one definition lie in one folder, which is worked out once."""
        prefix, _, last = stream.rpartition("/")
        if not (prefix and len(last) == _TASK_ID_LENGTH and last.isalnum() and last.isascii()):
            return stream_path(self._root, group, stream)
        folder = self._folders.get((group, prefix))
        if folder is None:
            if len(self._folders) >= _MAX_FOLDERS:
                self._folders.clear()
            folder = self._folders[group, prefix] = str(stream_path(self._root, group, stream).parent)
        return f"{folder}/{last}{STREAM_SUFFIX}"
