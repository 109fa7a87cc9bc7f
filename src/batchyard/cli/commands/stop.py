"""`batchyard cancel` and `batchyard terminate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from batchyard.cli.client import Client, Json
from batchyard.cli.failures import ExitCode, Failure, refused
from batchyard.cli.invocation import Command, Invocation, complete_jobs, shared_options
from batchyard.cli.job_texts import TERMINAL, short_id
from batchyard.cli.lookup import find_job
from batchyard.cli.terminal import painted, print_line, print_note


@click.command(
    cls=Command,
    examples=[
        ("batchyard cancel last", "the newest job"),
        ("batchyard cancel 3f2a1b4c 9d01 --reason 'wrong input'", "two jobs, with a reason"),
    ],
)
@click.argument("jobs", shell_complete=complete_jobs, nargs=-1, required=True, metavar="JOB…")
@click.option("--reason", default="Cancelled by the user", show_default=True, help="Kept with the job.")
@shared_options
@click.pass_obj
def cancel(invocation: Invocation, jobs: Sequence[str], reason: str) -> int:
    """Cancel jobs that have not begun. A job that has begun is left alone: see terminate."""
    client = invocation.client()

    def cancel_one(job: Json) -> str:
        if job["status"] in ("STARTING", "RUNNING"):
            raise refused(
                f"Job {short_id(job['jobId'])} is {job['status']}; only jobs that have not begun can be cancelled.",
                "JobHasBegun",
                f"End it with: batchyard terminate {short_id(job['jobId'])}",
            )
        client.batch("CancelJob", jobId=job["jobId"], reason=reason)
        return "cancelled"

    return for_each(client, jobs, cancel_one)


@click.command(
    cls=Command,
    examples=[
        ("batchyard terminate last", "the newest job"),
        ("batchyard terminate 3f2a1b4c:7", "child 7 of an array"),
    ],
)
@click.argument("jobs", shell_complete=complete_jobs, nargs=-1, required=True, metavar="JOB…")
@click.option("--reason", default="Terminated by the user", show_default=True, help="Kept with the job.")
@shared_options
@click.pass_obj
def terminate(invocation: Invocation, jobs: Sequence[str], reason: str) -> int:
    """End jobs, whether they run or wait. A program gets SIGTERM, and SIGKILL 30 seconds later."""
    client = invocation.client()

    def terminate_one(job: Json) -> str:
        client.batch("TerminateJob", jobId=job["jobId"], reason=reason)
        return "is being terminated" if job["status"] in ("STARTING", "RUNNING") else "terminated"

    return for_each(client, jobs, terminate_one)


def for_each(client: Client, jobs: Sequence[str], change: Callable[[Json], str]) -> int:
    """Does what can be done; one bad name among many does not keep the others from it. The last failure, with its exit
    code, is the command's."""
    failures: list[Failure] = []
    for named in jobs:
        try:
            job = find_job(client, named)
            said = f"had ended: {job['status']}" if job["status"] in TERMINAL else change(job)
            print_line(f"{painted(short_id(job['jobId']), 'bold')}  {job['jobName']}  {said}")
        except Failure as failure:
            if failure.exit_code is ExitCode.UNREACHABLE or named == jobs[-1]:
                raise
            failures.append(failure)
            print_note(f"{painted('error:', 'red')} {failure.message}")
    return failures[-1].exit_code if failures else ExitCode.FINE
