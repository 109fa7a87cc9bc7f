"""Files that a program finds at a fixed place, and what is wanted from there when it has ended.

Both runtimes and the runner of the process runtime speak of them; this module knows nothing else, so that the runner stays
small.
"""

from __future__ import annotations

import msgspec

LONGEST_MESSAGE = 1024
"""Bytes of `TaskExited.message`."""


class Mount(msgspec.Struct, frozen=True):
    """A folder of this machine that the program sees."""

    folder: str
    """Made when it is missing, unless it is read-only."""
    read_only: bool = False


class Files(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tree of files for one task. All paths but `root` are relative to it, without `..`."""

    root: str
    """Where the program finds the tree, as `/opt/ml`. Nothing else is to be found there."""
    contents: dict[str, bytes] = {}
    folders: list[str] = []
    """Empty ones, which the program may write to; what it leaves there is removed with the task."""
    mounts: dict[str, Mount] = {}
    """By path; what the program writes there stays."""
    message: str | None = None
    """A file in which the program may leave a message: its beginning comes with `TaskExited`."""


def message_text(beginning: bytes) -> str:
    """What stands at the beginning of a message file, as text."""
    return beginning[:LONGEST_MESSAGE].decode(errors="replace").strip()
