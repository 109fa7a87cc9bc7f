"""`batchyard hold`, `batchyard release` and `batchyard priority`: what waits may be changed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from batchyard.cli.client import Json
from batchyard.cli.commands.stop import for_each
from batchyard.cli.invocation import Command, Invocation, complete_jobs, shared_options


@click.command(
    cls=Command,
    examples=[
        ("batchyard hold last", "the newest job"),
        ("batchyard hold 3f2a1b4c 9d01 --reason 'licence server is down'", "two jobs, with a reason"),
        ("batchyard hold 3f2a1b4c:7", "child 7 of an array"),
    ],
)
@click.argument("jobs", shell_complete=complete_jobs, nargs=-1, required=True, metavar="JOB…")
@click.option("--reason", default="by the user", show_default=True, help="Shown with the job.")
@shared_options
@click.pass_obj
def hold(invocation: Invocation, jobs: Sequence[str], reason: str) -> int:
    """Keep jobs from starting until they are released.

    A job that is held stays PENDING or RUNNABLE, and holds nobody up. Of an array all children that wait are held; those
    that run go on.
    """
    client = invocation.client()

    def hold_one(job: Json) -> str:
        client.batchyard("HoldJob", jobId=job["jobId"], reason=reason)
        return "held"

    return for_each(client, jobs, hold_one)


@click.command(
    cls=Command,
    examples=[("batchyard release last", "the newest job"), ("batchyard release 3f2a1b4c 9d01", "two jobs")],
)
@click.argument("jobs", shell_complete=complete_jobs, nargs=-1, required=True, metavar="JOB…")
@shared_options
@click.pass_obj
def release(invocation: Invocation, jobs: Sequence[str]) -> int:
    """Let jobs start that are held. Each has the place again that it had."""
    client = invocation.client()

    def release_one(job: Json) -> str:
        client.batchyard("ReleaseJob", jobId=job["jobId"])
        return "released"

    return for_each(client, jobs, release_one)


@click.command(
    cls=Command,
    examples=[("batchyard priority last 10", "the newest job"), ("batchyard priority 3f2a1b4c 0", "as all others")],
)
@click.argument("job", shell_complete=complete_jobs, metavar="JOB")
@click.argument("number", type=click.IntRange(0, 9999), metavar="NUMBER")
@shared_options
@click.pass_obj
def priority(invocation: Invocation, job: str, number: int) -> int:
    """Give a job that waits another scheduling priority, 0 to 9999.

    The highest is first: in its share, or in a queue without shares, where a job has 0 until this command gives it another.
    """
    client = invocation.client()

    def change(found: Json) -> str:
        client.batchyard("ChangeJobPriority", jobId=found["jobId"], schedulingPriority=number)
        return f"has priority {number}"

    return for_each(client, [job], change)
