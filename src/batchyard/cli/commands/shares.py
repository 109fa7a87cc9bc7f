"""`batchyard shares`: how the shares of a queue with a fair-share policy stand, and who of them is next."""

from __future__ import annotations

import click

from batchyard.cli.client import Json
from batchyard.cli.invocation import Command, Invocation, complete_queues, json_option, shared_options
from batchyard.cli.job_texts import short_id
from batchyard.cli.terminal import Cell, painted, print_json, print_line, print_table
from batchyard.cli.times import duration


@click.command(
    cls=Command,
    examples=[
        ("batchyard shares research", "who has had how much of job queue research"),
        ("batchyard shares research --json | jq '.shares[0]'", "the share that is next"),
    ],
)
@click.argument("queue", shell_complete=complete_queues)
@json_option
@shared_options
@click.pass_obj
def shares(invocation: Invocation, queue: str, as_json: bool) -> None:
    """Show how the shares of job queue QUEUE stand, which has a fair-share policy: what each has used of late, what it is
    entitled to, what runs and waits, and its next job. The share that is next comes first."""
    answer = invocation.client().batchyard("DescribeShares", jobQueue=queue)
    if as_json:
        print_json(answer)
        return
    unit = "instance" if answer["capacityUnit"] == "NUM_INSTANCES" else "vCPU"
    for line in _lines(answer, f"{unit}s"):
        print_line(painted(line, "dim"))
    if not answer["shares"]:
        print_line("No share is active.")
        return
    print_line()
    heads = ("SHARE", f"{unit.upper()}-HOURS", "HAD", "ENTITLED", "WEIGHT", "IN FLIGHT", "WAITING", "NEXT")
    numbers = frozenset({*heads} - {"SHARE", "NEXT"})
    print_table(heads, [_row(share) for share in answer["shares"]], right=numbers)


def _lines(answer: Json, units: str) -> list[str]:
    window = duration(1000 * answer["windowSeconds"])
    used = f"{answer['inFlight']:g} of {answer['capacity']:g} {units} in flight"
    lines = [f"{answer['jobQueueName']}: {used}; usage of the last {window} counts, the newer the more"]
    if answer["computeReservation"]:
        kept = f"{answer['reserved']:g} {units} kept for shares that are not active yet"
        lines.append(f"{kept} (computeReservation {answer['computeReservation']}, {len(answer['shares'])} active)")
    return lines


def _row(share: Json) -> tuple[Cell, ...]:
    return (
        Cell(share["shareIdentifier"], "bold"),
        Cell(f"{share['usageHours']:.3g}"),
        Cell(f"{share['part']:.1%}"),
        Cell(f"{share['entitlement']:.1%}"),
        Cell(f"{share['weightFactor']:g}"),
        Cell(f"{share['inFlight']:g}"),
        Cell(str(share["waitingJobs"])),
        Cell(_next(share["nextJob"])),
    )


def _next(job: Json | None) -> str:
    if job is None:
        return ""
    priority = job.get("schedulingPriority")
    return f"{short_id(job['jobId'])} {job['jobName']}" + (f" (priority {priority})" if priority else "")
