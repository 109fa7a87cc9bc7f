"""Starts a task's program: which file, which environment, which user, and what ECS says when it can't be started."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from batchyard.engines.files import Files
from batchyard.engines.local.process.private_files import CannotShow, bind, lay_out
from batchyard.engines.local.process.protocol import Order
from batchyard.engines.local.process.slots import Slot
from batchyard.engines.local.process.tree import MARKER

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes as of a shell or of `docker run`."""
MAX_REASON = 255
"""Characters of `ContainerDetail.reason`."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_LIMITS = {
    name.removeprefix("RLIMIT_").lower(): value for name, value in vars(resource).items() if name.startswith("RLIMIT_")
}


class CannotStart(Exception):
    """The program can't be started; `reason` and `exit_code` are what DescribeJobs shows."""

    def __init__(self, text: str, exit_code: int | None = None, kind: str = "CannotStartContainerError") -> None:
        super().__init__(text)
        self.reason = f"{kind}: {text}"[:MAX_REASON]
        self.exit_code = exit_code


@dataclass(frozen=True)
class Account:
    """Whom a task runs as, when that is someone else than the runner."""

    user: int
    group: int
    groups: list[int]
    home: str


def spawn(order: Order, slot: Slot, output: int, null: int, gpus: Sequence[int], soft_files: int | None) -> int:
    """Start the program in its own session, with the slot's directory as its working directory, and return its
    process id. `CannotStart` says why not. The caller has moved into the slot's control group.

    `output` receives what it prints; `null` is open on /dev/null; `soft_files` is its soft limit on open files
    when that is not the runner's own.
    """
    if not order.command:
        raise CannotStart("the process runtime has no image with a default command: the job must name one")
    account = find_account(order.user) if order.user else None
    environment = build_environment(order, slot, gpus, account.home if account else None)
    os.chdir(slot.work)
    try:
        path = find_program(order.command[0], environment)
        if account is None and not order.ulimits and order.files is None:
            return _posix_spawn(path, order.command, environment, output, null, soft_files)
        return _fork(path, order, environment, output, null, account, slot)
    except OSError as error:
        raise _explained(order.command[0], error) from None
    except ValueError as error:  # A NUL character, or a lone surrogate, somewhere in the command or the environment.
        raise CannotStart(f"the command or the environment can't be passed to a program: {error}") from None


def build_environment(
    order: Order, slot: Slot, gpus: Sequence[int] | None = None, home: str | None = None
) -> dict[str, str]:
    """The task's own environment over the little that every program expects."""
    environment = {
        "PATH": DEFAULT_PATH,
        "HOME": home or own_home(),
        "TMPDIR": slot.temporary,
        MARKER: order.task_id,
    }
    if gpus is not None and order.gpus:
        listed = ",".join(map(str, gpus))
        environment |= {"CUDA_VISIBLE_DEVICES": listed, "NVIDIA_VISIBLE_DEVICES": listed}
    return environment | order.environment


def own_home() -> str:
    global _own_home
    if _own_home is None:
        try:
            _own_home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            _own_home = "/"
    return _own_home


_own_home: str | None = None


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """The file to execute, looked up in the PATH of the task. `OSError` as execvp would fail."""
    if "/" in name:
        return name
    found = errno.ENOENT
    for folder in environment["PATH"].split(":") if name else ():
        path = f"{folder or '.'}/{name}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
        if os.path.isfile(path):
            found = errno.EACCES
    raise OSError(found, os.strerror(found) if found == errno.EACCES else "executable file not found in $PATH")


def find_account(user: str) -> Account | None:
    """Resolve `ContainerDetail.user`: a name or number, and optionally `:` and a group. None: the runner's own."""
    name, _, group_name = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        user_id, group_id, home = entry.pw_uid, entry.pw_gid, entry.pw_dir
        groups = os.getgrouplist(entry.pw_name, group_id)
    except KeyError:
        if not name.isdigit():
            raise CannotStart(f"unable to find user {name}: no matching entries in passwd file") from None
        user_id, group_id, home, groups = int(name), 0, "/", []
    if group_name:
        import grp

        try:
            group_id = int(group_name) if group_name.isdigit() else grp.getgrnam(group_name).gr_gid
        except KeyError:
            raise CannotStart(f"unable to find group {group_name}: no matching entries in group file") from None
        groups = [group_id]
    if (user_id, group_id) == (os.geteuid(), os.getegid()):
        return None
    if os.geteuid() != 0:
        raise CannotStart(f"the server does not run as root, so the job can't run as user {user}")
    return Account(user_id, group_id, groups, home)


def _posix_spawn(
    path: str, command: list[str], environment: Mapping[str, str], output: int, null: int, soft_files: int | None
) -> int:
    files = ((os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2))
    # The runner may open more files than a program should find allowed: many loop over all that could be open.
    if soft_files is not None:
        own_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft_files, own_limit[1]))
    try:
        return os.posix_spawn(
            path, command, environment, file_actions=files, setsid=True, setsigmask=(), setsigdef=_IGNORED_BY_PYTHON
        )
    finally:
        if soft_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, own_limit)


def _fork(
    path: str,
    order: Order,
    environment: Mapping[str, str],
    output: int,
    null: int,
    account: Account | None,
    slot: Slot,
) -> int:
    """The slower way, for what posix_spawn can't do: another user, resource limits, files of its own."""
    import subprocess  # Only here: it would be half of the runner's start.

    limits = [_limit(*ulimit) for ulimit in order.ulimits]

    show_files = _prepared_files(order.files, slot, account) if order.files is not None else None

    def prepare() -> None:
        if show_files is not None:
            show_files()
        for kind, values in limits:
            resource.setrlimit(kind, values)
        if account is not None:  # Not by Popen, which would do so first.
            os.setgroups(account.groups)
            os.setgid(account.group)
            os.setuid(account.user)

    if account is not None:
        for directory in (slot.work, slot.temporary):
            os.chown(directory, account.user, account.group)
    try:
        process = subprocess.Popen(
            list(order.command),
            executable=path,
            stdin=null,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            preexec_fn=prepare,
        )
    except subprocess.SubprocessError:
        if order.files is not None:
            raise CannotStart(f"this host does not let the process runtime show files at {order.files.root}") from None
        raise CannotStart("the limits of `ulimits` can't be set on this host") from None
    process.returncode = 0  # The runner itself waits for it.
    return process.pid


def _prepared_files(files: Files, slot: Slot, account: Account | None) -> Callable[[], None]:
    owner = (account.user, account.group) if account is not None else None
    try:
        lay_out(files, slot.tree, owner)
    except CannotShow as error:
        raise CannotStart(str(error)) from None
    return bind(files, slot.tree)


def _limit(name: str, soft: int, hard: int) -> tuple[int, tuple[int, int]]:
    kind = _LIMITS.get(name)
    if kind is None:
        raise CannotStart(f"the ulimit {name} is not known on this host")
    return kind, (soft, hard)


def _explained(name: str, error: OSError) -> CannotStart:
    text = f'exec: "{name[:120]}": {error.strerror or error}'
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return CannotStart(text, NOT_FOUND)
    if error.errno in (errno.EACCES, errno.ENOEXEC, errno.EPERM, errno.EISDIR, errno.ETXTBSY, errno.E2BIG):
        return CannotStart(text, NOT_EXECUTABLE)
    return CannotStart(text)
