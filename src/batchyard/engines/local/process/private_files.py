"""Files for one task, visible to it alone at a place of their own: a private mount namespace.

The tree is laid out in the task's place, and the task's process, before it becomes the program, binds it to where the
program expects it. Nobody else on the host sees that. It needs root; mounting is done through the C library, since this
Python has no function for it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from batchyard.engines.files import LONGEST_MESSAGE, Files, Mount, message_text

_CLONE_NEWNS = 0x00020000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
_FOR_ALL = 0o777


class CannotShow(Exception):
    """The files can't be shown to the task; the text says why."""


def lay_out(files: Files, tree: str, owner: tuple[int, int] | None) -> None:
    """Make the tree in a new folder, and the places of its mounts. `owner`: user and group, when not the runner's own.

    Raises :class:`CannotShow`.
    """
    if os.geteuid() != 0:
        raise CannotShow(f"the process runtime can show files at {files.root} only when the server runs as root")
    if not _is_plain(files.root.removeprefix("/")):
        raise CannotShow(f"no files can be shown at {files.root!r}")
    try:
        os.mkdir(tree)
        for path in (*files.folders, *files.mounts):
            os.makedirs(_inside(tree, path), exist_ok=True)
        for path in files.folders:
            os.chmod(_inside(tree, path), _FOR_ALL)
        for path, content in files.contents.items():
            os.makedirs(os.path.dirname(_inside(tree, path)), exist_ok=True)
            with open(_inside(tree, path), "xb") as file:
                file.write(content)
        for mount in files.mounts.values():
            _prepare(mount, owner)
        if owner is not None:
            for folder, names, others in os.walk(tree):
                for name in (".", *names, *others):
                    os.chown(f"{folder}/{name}", *owner, follow_symlinks=False)
        os.makedirs(files.root, exist_ok=True)
    except OSError as error:
        raise CannotShow(f"{error.filename or files.root}: {error.strerror}") from None


def _prepare(mount: Mount, owner: tuple[int, int] | None) -> None:
    if mount.read_only:
        os.stat(mount.folder)
        return
    os.makedirs(mount.folder, exist_ok=True)
    if owner is not None:
        os.chown(mount.folder, *owner)


def _inside(tree: str, path: str) -> str:
    if not _is_plain(path):
        raise CannotShow(f"{path!r} is no path inside a tree of files")
    return f"{tree}/{path}"


def _is_plain(path: str) -> bool:
    return all(part not in ("", ".", "..") for part in path.split("/"))


def bind(files: Files, tree: str) -> Callable[[], None]:
    """What the task's process calls to see the tree in its place. All that can be is done before, in the runner."""
    import ctypes  # Only here: few tasks have files, and it would add to the start of every runner.

    library = ctypes.CDLL(None, use_errno=True)
    steps: list[tuple[bytes | None, bytes, int]] = [
        (None, b"/", _MS_REC | _MS_PRIVATE),
        (os.fsencode(tree), os.fsencode(files.root), _MS_BIND),
    ]
    for path, mount in files.mounts.items():
        target = os.fsencode(f"{files.root}/{path}")
        steps.append((os.fsencode(mount.folder), target, _MS_BIND))
        if mount.read_only:
            steps.append((None, target, _MS_REMOUNT | _MS_BIND | _MS_RDONLY))

    def work() -> None:
        if library.unshare(_CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        for source, target, flags in steps:
            if library.mount(source, target, None, ctypes.c_ulong(flags), None) != 0:
                raise OSError(ctypes.get_errno(), "mount")

    return work


def read_message(files: Files, tree: str) -> str | None:
    """The beginning of the message that a task has left, if it has. Links that it may have made are not followed."""
    if files.message is None:
        return None
    *folders, name = files.message.split("/")
    descriptor = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    try:
        for folder in folders:
            outer = descriptor
            descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=outer)
            os.close(outer)
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        return message_text(os.read(file, LONGEST_MESSAGE))
    except OSError:
        return None
    finally:
        os.close(file)
