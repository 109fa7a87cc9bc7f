"""Sets up a runner as a daemon: `python -P -m batchyard.engines.local.process.daemon FOLDER`.

The command ends with success as soon as a runner listens on FOLDER/runner.sock, be it the new one or one that was there
before: however many are started at once, a lock lets one of them be the runner.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from batchyard.engines.local.process import tree
from batchyard.engines.local.process.cgroups import folders_like, open_cells, remove_leftovers
from batchyard.engines.local.process.journal import Journal, Opened, Past, boot_id, read_past
from batchyard.engines.local.process.protocol import connect, short_socket_path
from batchyard.engines.local.process.runner import Host, Runner
from batchyard.engines.local.process.slots import Slots
from batchyard.kernel.messages import TaskLost

SOCKET, LOCK, JOURNAL, LOG = "runner.sock", "runner.lock", "runner.journal", "runner.log"

LOCK_PATIENCE_SECONDS = 20.0
"""How long to wait for a runner that holds the lock but does not listen: it comes up, or goes."""

LEFTOVERS_PATIENCE_SECONDS = 10.0

_MAX_OPEN_FILES = 65_536
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    parser = argparse.ArgumentParser(description="The process that runs the tasks of the process runtime.")
    parser.add_argument("folder", type=Path, help="where the runner keeps its files")
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="end after so long without any work or server")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    os.umask(0o022)
    lock = wait_for_lock(folder)
    if lock is None:
        return 0
    return detach(lambda ready: serve(folder, arguments.idle_seconds, ready), folder / LOG)


def wait_for_lock(folder: Path) -> int | None:
    """The descriptor that holds the lock, or None when another runner listens. `TimeoutError` when neither happens."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            pass
        with contextlib.suppress(OSError):
            connect(folder / SOCKET).close()
            os.close(lock)
            return None
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"another process holds {folder / LOCK} and does not listen")
        time.sleep(0.005)


def detach(work: Callable[[Callable[[], None]], None], log: Path) -> int:
    """Do `work(ready)` in a process of its own, without a terminal or a parent; return when it has called `ready`."""
    readable, writable = os.pipe2(os.O_CLOEXEC)
    if os.fork():
        os.close(writable)
        return 0 if os.read(readable, 1) else 1
    os.close(readable)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    text = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, descriptor in enumerate((null, text, text)):
        os.dup2(descriptor, number)
    os.close(null)
    os.close(text)

    def ready() -> None:
        os.write(writable, b"1")
        os.close(writable)

    try:
        work(ready)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def serve(folder: Path, idle_seconds: float, ready: Callable[[], None]) -> None:
    """Clear up after an earlier runner, then be the runner until there is nothing to do."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    soft_files = _allow_more_files()
    past = read_past(folder / JOURNAL)
    cells_prefix = f"batchyard-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:10]}-"
    past.cgroups += folders_like(cells_prefix)
    end_leftovers(past)
    cells, notes = open_cells(cells_prefix + str(os.getpid()))
    journal = Journal(
        folder / JOURNAL,
        Opened(boot_id=boot_id(), cgroups=cells.folders if cells else []),
        past.ended.values(),
    )
    slots = Slots(folder / "scratch", cells)
    listener = listen(folder / SOCKET)
    ready()
    host = Host(
        listener=listener,
        journal=journal,
        slots=slots,
        cells=cells,
        past=past,
        notes=notes,
        soft_files=soft_files,
        idle_seconds=idle_seconds,
    )
    Runner(host).run()
    (folder / SOCKET).unlink(missing_ok=True)
    listener.close()  # A server that has just connected sees the end of it and starts another runner.


def end_leftovers(past: Past) -> None:
    """Kill what an earlier runner's tasks left running; those without an end are lost from now on."""
    give_up_at = time.monotonic() + LEFTOVERS_PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        left = [process_id for folder in past.cgroups for process_id in remove_leftovers(folder)]
        if past.begun:
            left += tree.processes_of(past.begun.keys())
        if not left:
            break
        tree.kill(left)
        time.sleep(0.005)
    now = time.time_ns() // 1_000_000
    past.ended |= {task_id: TaskLost(task_id, now) for task_id in past.begun}
    past.begun.clear()


def listen(path: Path) -> socket.socket:
    """A socket that only this user can connect to."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with short_socket_path(path) as name:
            listener.bind(name)
    finally:
        os.umask(mask)
    listener.listen(8)
    listener.setblocking(False)
    return listener


def _allow_more_files() -> int | None:
    """Every running task takes some descriptors. The limit that programs are to have is returned, if it was another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft


if __name__ == "__main__":
    sys.exit(main())
