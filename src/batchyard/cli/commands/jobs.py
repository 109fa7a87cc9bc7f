"""`batchyard jobs`: a table of jobs, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import click

from batchyard.cli.client import JOB_PAGE, Client, Json
from batchyard.cli.failures import usage_failure
from batchyard.cli.invocation import Command, Invocation, complete_jobs, complete_queues, json_option, shared_options
from batchyard.cli.job_texts import STATUSES, array_counts, array_size, reason_of, run_time, short_id
from batchyard.cli.lookup import newest_jobs, queue_names, whole_id
from batchyard.cli.terminal import Cell, print_json, print_note, print_table, status_colour
from batchyard.cli.times import duration, now_milliseconds

USUAL_LIMIT = 25


@click.command(
    cls=Command,
    examples=[
        ("batchyard jobs", f"the {USUAL_LIMIT} newest jobs"),
        ("batchyard jobs --status running --status runnable", "what is under way"),
        ("batchyard jobs --array last --status failed", "the failed children of an array"),
        ("batchyard jobs --all --json | jq -r '.jobSummaryList[].jobId'", "every id, for a script"),
    ],
)
@click.option("--queue", metavar="QUEUE", shell_complete=complete_queues, help="Only jobs of this queue.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES, case_sensitive=False),
    metavar="STATUS",
    help="Only jobs with this status, such as running or failed; may be given more than once.",
)
@click.option("--array", shell_complete=complete_jobs, metavar="JOB", help="The children of this array instead.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"How many at most. Default: {USUAL_LIMIT}.")
@click.option("--all", "everything", is_flag=True, help="No limit.")
@json_option
@shared_options
@click.pass_obj
def jobs(
    invocation: Invocation,
    queue: str | None,
    statuses: Sequence[str],
    array: str | None,
    limit: int | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List jobs, newest first."""
    if everything and limit is not None:
        raise usage_failure("--all and --limit exclude each other.")
    if array is not None and queue is not None:
        raise usage_failure("--array and --queue exclude each other.")
    client = invocation.client()
    most = None if everything else limit or USUAL_LIMIT
    if array is not None:
        found = _children(client, array, statuses or STATUSES)
    else:
        found = _in_queues(client, [queue] if queue else queue_names(client), statuses, most)
    shown = list(islice(found, None if most is None else most + 1))
    more = most is not None and len(shown) > most
    shown = shown[:most]
    if as_json:
        print_json({"jobSummaryList": shown})
        return
    if not shown:
        print_note("There are no such jobs." if statuses or array or queue else "There are no jobs yet.")
        return
    _print(shown)
    if more:
        print_note(f"The newest {most}; --all or --limit shows more.")


def _in_queues(client: Client, queues: Sequence[str], statuses: Sequence[str], most: int | None) -> Iterator[Json]:
    """The jobs of these queues, newest first."""
    enough = None if most is None else most + 1
    lists = [newest_jobs(client, queue, enough) for queue in queues if not statuses]
    lists += [_with_status(client, queue, status, enough) for queue in queues for status in statuses]
    found = [job for jobs in lists for job in jobs]
    yield from sorted(found, key=lambda job: job["createdAt"], reverse=True) if len(lists) != 1 else found


def _with_status(client: Client, queue: str, status: str, most: int | None) -> Iterator[Json]:
    page = min(most or JOB_PAGE, JOB_PAGE)
    pages = client.pages("ListJobs", "jobSummaryList", jobQueue=queue, jobStatus=status, maxResults=page)
    return islice((job for jobs in pages for job in jobs), most)


def _children(client: Client, named: str, statuses: Iterable[str]) -> Iterator[Json]:
    """The children of an array, by status and index."""
    parent = whole_id(client, named)
    for status in statuses:
        for page in client.pages("ListJobs", "jobSummaryList", arrayJobId=parent, jobStatus=status):
            yield from page


def _print(shown: Sequence[Json]) -> None:
    now = now_milliseconds()
    rows = [
        (
            Cell(short_id(job["jobId"]), "bold"),
            Cell(_name(job)),
            Cell(_status(job), status_colour(job["status"])),
            Cell(duration(now - job["createdAt"])),
            Cell(run_time(job)),
            Cell(reason_of(job), "dim"),
        )
        for job in shown
    ]
    print_table(("JOB", "NAME", "STATUS", "AGE", "RAN", "REASON"), rows, right=frozenset(("AGE", "RAN")))


def _name(job: Json) -> str:
    size = array_size(job)
    return f"{job['jobName']}{f' [{size}]' if size is not None else ''}"


def _status(job: Json) -> str:
    size = array_size(job)
    if size is None or job["status"] == "SUCCEEDED":
        return str(job["status"])
    counts = array_counts(job)
    return f"{job['status']} {counts.get('SUCCEEDED', 0)}/{size}"
