"""`batchyard …`: finds the command, runs it, and turns every way to end into a message and an exit code."""

# ruff: noqa: ARG002  (methods that click calls)
from __future__ import annotations

import importlib
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence

import click

from batchyard.cli.failures import ExitCode, Failure
from batchyard.cli.invocation import Invocation, shared_options
from batchyard.cli.terminal import one_line, painted

_COMPLETE_VARIABLE = "_BATCHYARD_COMPLETE"
_COMMANDS = {
    "serve": ("serve", "Run a server."),
    "run": ("run", "Run a command as a job, and follow it."),
    "jobs": ("jobs", "List jobs."),
    "show": ("show", "Show all about a job."),
    "logs": ("logs", "Print the log of a job."),
    "why": ("why", "Say why a job is not running."),
    "shares": ("shares", "Show how the shares of a job queue stand."),
    "instances": ("instances", "List the instances of compute environments."),
    "interrupt": ("interrupt", "Take a Spot instance away, with two minutes' notice."),
    "hosts": ("hosts", "Add, drain and remove hosts of UNMANAGED compute environments."),
    "cancel": ("stop", "Cancel jobs that have not begun."),
    "terminate": ("stop", "End jobs, whether they run or wait."),
    "hold": ("waiting", "Keep jobs from starting."),
    "release": ("waiting", "Let jobs start that are held."),
    "priority": ("waiting", "Give a job that waits another priority."),
    "simulate": ("simulate", "Say what a workload would do on given compute environments."),
    "profile": ("profile", "Write a profile for the AWS CLI and SDKs."),
    "completion": ("completion", "Print the completion script of a shell."),
    "version": ("version", "Print the version."),
}


class _Commands(click.Group):
    """Each command is imported when it is called: a start that takes long is felt with every use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"batchyard.cli.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("The server"):
            formatter.write_text(
                "The first that names an address is used: --endpoint; AWS_ENDPOINT_URL_BATCH or AWS_ENDPOINT_URL;"
                " endpoint_url of the profile in AWS_PROFILE; connection.json in the data directory"
                " (BATCHYARD_DATA_DIR, by default ~/.local/share/batchyard)."
            )
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [
                    ("0", "done"),
                    (
                        "1",
                        "a job failed (run gives the exit code of the job itself where there is one), or something unforeseen",
                    ),
                    ("2", "the command line is wrong, or there is no such job"),
                    ("3", "no server answers"),
                    ("4", "the server refuses"),
                    ("130", "interrupted"),
                ]
            )
        with formatter.section("Examples"):
            formatter.write("  batchyard run -- python3 $PWD/train.py --epochs 3\n")
            formatter.write("  batchyard logs -f last\n")
            formatter.write("  batchyard jobs --status failed\n")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@shared_options
@click.version_option(package_name="batchyard", message="%(prog)s %(version)s")
def cli() -> None:
    """AWS Batch on machines you own: a server, and a command line for the people who use it.

    JOB is a job id, its first characters (4 or more), a job ARN, or "last" for the newest job; a child of an array is
    JOB:INDEX.
    """


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carries out one command line. Returns its exit code."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    invocation = Invocation()
    if instruction := os.environ.get(_COMPLETE_VARIABLE):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {"obj": invocation}, "batchyard", _COMPLETE_VARIABLE, instruction)
    try:
        code = _carried_out(arguments, invocation)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_output()
        return ExitCode.BROKEN_PIPE
    except OSError as error:
        _silence_output()
        what = f"{error.filename} cannot be used" if error.filename else "The output cannot be written"
        _report(Failure(f"{what}: {error.strerror or error}.", ExitCode.FAILED, "OutputError"), _wants_json(arguments))
        return ExitCode.FAILED


def _open_closed_streams() -> None:
    """Python has None for a stream that the caller has closed (`>&-`)."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _carried_out(arguments: Sequence[str], invocation: Invocation) -> int:
    try:
        with cli.make_context("batchyard", list(arguments), obj=invocation) as context:
            code = cli.invoke(context)
        return code if isinstance(code, int) else ExitCode.FINE
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.ctx.get_help() if error.ctx else error.format_message()}\n")
        return ExitCode.USAGE
    except click.ClickException as error:
        context_of = getattr(error, "ctx", None)
        hint = f"Help: {context_of.command_path} --help" if context_of else None
        failure = Failure(error.format_message(), ExitCode.USAGE, "UsageError", hint)
    except Failure as error:
        failure = error
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except OSError:
        raise
    except Exception as error:
        failure = Failure(
            f"{type(error).__name__}: {error}",
            ExitCode.FAILED,
            "InternalError",
            "This is a defect of batchyard; the same command with --debug shows where.",
        )
        failure.__cause__ = error
    if invocation.debug:
        traceback.print_exception(failure.__cause__ or failure)
    _report(failure, _wants_json(arguments))
    return failure.exit_code


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether errors are to be JSON, too: also when the command line could not be understood."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _report(failure: Failure, as_json: bool) -> None:
    sys.stdout.flush()
    if as_json:
        error = {"code": failure.code, "message": failure.message, "exitCode": int(failure.exit_code)}
        sys.stderr.write(json.dumps({"error": error}) + "\n")
        return
    sys.stderr.write(f"{painted('error:', 'red', sys.stderr)} {one_line(failure.message)}\n")
    if failure.hint:
        sys.stderr.write(f"{failure.hint}\n")


def _silence_output() -> None:
    """Nobody reads any more. What is still buffered must not fail a second time when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
