"""What all commands share: the options that say where the server is, help with examples, completion of job ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from batchyard.cli.client import Client

F = TypeVar("F", bound=Callable[..., Any])

COMPLETION_SECONDS = 0.7


class Invocation:
    """One call of the command line."""

    def __init__(self) -> None:
        self.endpoint: str | None = None
        self.debug = False

    def client(self, timeout: float | None = None) -> Client:
        """The server to talk to. Raises `Failure` when none is known."""
        from batchyard.cli.client import Client
        from batchyard.cli.connection import find_connection

        connection = find_connection(self.endpoint, os.environ)
        return Client(connection) if timeout is None else Client(connection, timeout)


class Command(click.Command):
    """A command whose help ends with examples: pairs of a command line and what it does."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                width = max(len(line) for line, _ in self.examples)
                for line, meaning in self.examples:
                    formatter.write(f"  {line.ljust(width)}   {meaning}\n")


def debug_option(function: F) -> F:
    """`--debug`, which may stand before and after the name of the command."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_keep_debug,
        help="Show the traceback of an error.",
    )(function)


def shared_options(function: F) -> F:
    """`--endpoint` and `--debug`, which may stand before and after the name of the command."""
    return click.option(
        "--endpoint",
        metavar="URL",
        expose_value=False,
        callback=_keep_endpoint,
        help="Address of the server. Default: AWS_ENDPOINT_URL, the AWS profile, or the server of this machine.",
    )(debug_option(function))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON in the form of AWS's answers.")


def _keep_endpoint(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).endpoint = value


def _keep_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Invocation).debug = True


def complete_jobs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Never a word on the terminal and never long: what goes wrong gives no completions."""
    try:
        return _job_completions(ctx.ensure_object(Invocation), incomplete)
    except Exception:
        return []


def complete_queues(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As :func:`complete_jobs`."""
    from batchyard.cli.lookup import queue_names

    try:
        client = ctx.ensure_object(Invocation).client(COMPLETION_SECONDS)
        return [CompletionItem(name) for name in queue_names(client) if name.startswith(incomplete)]
    except Exception:
        return []


def _job_completions(invocation: Invocation, incomplete: str) -> list[CompletionItem]:
    from batchyard.cli.lookup import newest_jobs, queue_names

    client = invocation.client(COMPLETION_SECONDS)
    jobs = [job for queue in queue_names(client) for job in newest_jobs(client, queue, 100)]
    jobs.sort(key=lambda job: job["createdAt"], reverse=True)
    items = [
        CompletionItem(job["jobId"], help=f"{job['jobName']} {job['status']}")
        for job in jobs
        if job["jobId"].startswith(incomplete)
    ]
    return [*items, *([CompletionItem("last", help="the newest job")] if "last".startswith(incomplete) else [])]


def complete_environments(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As :func:`complete_jobs`."""
    try:
        client = ctx.ensure_object(Invocation).client(COMPLETION_SECONDS)
        pages = client.pages("DescribeComputeEnvironments", "computeEnvironments")
        names = [each["computeEnvironmentName"] for page in pages for each in page]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    except Exception:
        return []


def complete_instances(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As :func:`complete_jobs`."""
    try:
        found = list(ctx.ensure_object(Invocation).client(COMPLETION_SECONDS).instances())
        return [
            CompletionItem(each["instanceId"], help=f"{each.get('instanceType') or each.get('name')} {each['state']}")
            for each in found
            if each["instanceId"].startswith(incomplete)
        ]
    except Exception:
        return []


def complete_hosts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As :func:`complete_jobs`."""
    try:
        found = ctx.ensure_object(Invocation).client(COMPLETION_SECONDS).instances(purchase="REGISTERED")
        return [CompletionItem(each["name"]) for each in found if each["name"].startswith(incomplete)]
    except Exception:
        return []
