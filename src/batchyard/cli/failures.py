"""How a command ends badly: in a sentence for people, with a code for programs and an exit code for scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    FINE = 0
    FAILED = 1
    """A job failed, or something unforeseen happened."""
    USAGE = 2
    """The command line is wrong, or names something that does not exist."""
    UNREACHABLE = 3
    """No server answers, or it cannot work."""
    REFUSED = 4
    """The server says no."""
    BROKEN_PIPE = 141
    """As a shell reports a program ended by SIGPIPE."""
    INTERRUPTED = 130


class Failure(Exception):
    """The command cannot do what it was asked. `hint` is what to do about it; `code` is AWS's where there is one."""

    def __init__(self, message: str, exit_code: ExitCode, code: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code
        self.hint = hint


def usage_failure(message: str, hint: str | None = None) -> Failure:
    return Failure(message, ExitCode.USAGE, "UsageError", hint)


def not_found(message: str, hint: str | None = None) -> Failure:
    return Failure(message, ExitCode.USAGE, "NotFound", hint)


def unreachable(message: str, hint: str | None = None) -> Failure:
    return Failure(message, ExitCode.UNREACHABLE, "ServerUnreachable", hint)


def refused(message: str, code: str, hint: str | None = None) -> Failure:
    return Failure(message, ExitCode.REFUSED, code, hint)
