"""`batchyard why`: why a job is not running, and why it was not before."""

from __future__ import annotations

import click

from batchyard.cli.invocation import Command, Invocation, complete_jobs, json_option, shared_options
from batchyard.cli.lookup import find_job
from batchyard.cli.terminal import Cell, one_line, painted, print_json, print_line, print_table, status_colour
from batchyard.cli.times import exact_moment


@click.command(
    cls=Command,
    examples=[("batchyard why last", "the newest job"), ("batchyard why 3f2a1b4c:7", "child 7 of an array")],
)
@click.argument("job", shell_complete=complete_jobs)
@json_option
@shared_options
@click.pass_obj
def why(invocation: Invocation, job: str, as_json: bool) -> None:
    """Say why JOB is not running, in one sentence, and every reason there has been so far."""
    client = invocation.client()
    answer = client.why(find_job(client, job)["jobId"])
    if as_json:
        print_json(answer)
        return
    status = answer["status"]
    print_line(f"{painted(status, status_colour(status))}  {one_line(answer['reason'])}")
    if answer.get("code"):
        print_line(painted(f"AWS reason code: {answer['code']}", "dim"))
    if preempted := answer.get("preemptedAttemptCount"):
        print_line(painted(f"Preempted {preempted} time{'' if preempted == 1 else 's'}", "dim"))
    if answer["history"]:
        print_line()
        rows = [
            (
                Cell(exact_moment(line["at"]), "dim"),
                Cell(line["status"], status_colour(line["status"])),
                Cell(line.get("reason") or ""),
            )
            for line in answer["history"]
        ]
        print_table(("SINCE", "STATUS", "REASON"), rows)
