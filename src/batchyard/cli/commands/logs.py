"""`batchyard logs`: what a job has written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from batchyard.cli.client import Client, Json
from batchyard.cli.failures import not_found, usage_failure
from batchyard.cli.following import Pace
from batchyard.cli.invocation import Command, Invocation, complete_jobs, json_option, shared_options
from batchyard.cli.job_log import JobLog, StreamReader, log_group, log_streams
from batchyard.cli.job_texts import TERMINAL, array_size, short_id
from batchyard.cli.lookup import find_job
from batchyard.cli.terminal import painted, print_note
from batchyard.cli.times import exact_moment


@click.command(
    cls=Command,
    examples=[
        ("batchyard logs last", "of the newest job"),
        ("batchyard logs -f 3f2a1b4c", "and what comes, until the job ends"),
        ("batchyard logs 3f2a1b4c:7 --attempt 1", "of the first attempt of child 7"),
        ("batchyard logs last --json | jq -r .message", "one JSON object for each line"),
    ],
)
@click.argument("job", shell_complete=complete_jobs)
@click.option("-f", "--follow", is_flag=True, help="Print what comes, until the job ends.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only attempt N, from 1. Default: all.")
@click.option("-t", "--timestamps", is_flag=True, help="Start each line with its time.")
@json_option
@shared_options
@click.pass_obj
def logs(invocation: Invocation, job: str, follow: bool, attempt: int | None, timestamps: bool, as_json: bool) -> None:
    """Print the log of JOB, of all its attempts in order.

    With --json each event is one line of JSON: {"timestamp", "message", "ingestionTime"}.
    """
    if follow and attempt is not None:
        raise usage_failure("--follow and --attempt exclude each other.")
    client = invocation.client()
    found = find_job(client, job)
    size = array_size(found)
    if size is not None:
        raise usage_failure(
            f"Job {short_id(found['jobId'])} is an array of {size}: each of its children has a log.",
            f"For example: batchyard logs {short_id(found['jobId'])}:0",
        )
    if attempt is not None:
        reader = StreamReader(client, log_group(found), _stream_of(found, attempt))
        for page in reader.new_pages():
            _print(page, timestamps, as_json)
    elif follow:
        _follow(client, found, timestamps, as_json)
    else:
        for page in JobLog(client).new_pages(found):
            _print(page, timestamps, as_json)
        if not log_streams(found) and not as_json:
            print_note(f"Job {short_id(found['jobId'])} is {found['status']} and has no log.")


def _stream_of(job: Json, attempt: int) -> str:
    streams = log_streams(job)
    if attempt > len(streams):
        count = "no attempt has a log" if not streams else f"{len(streams)} of its attempts have one"
        raise not_found(f"There is no log of attempt {attempt} of job {short_id(job['jobId'])}: {count}.")
    return streams[attempt - 1]


def _follow(client: Client, job: Json, timestamps: bool, as_json: bool) -> None:
    log, pace = JobLog(client), Pace()
    while True:
        news = False
        for page in log.new_pages(job):
            _print(page, timestamps, as_json)
            news = True
        if job["status"] in TERMINAL:
            return
        pace.pause(news)
        latest = client.describe_job(job["jobId"])
        if latest is None:
            raise not_found(f"The server does not know job {job['jobId']} any more.")
        job = latest


def _print(page: Sequence[Json], timestamps: bool, as_json: bool) -> None:
    if as_json:
        lines = [json.dumps(event) for event in page]
    elif timestamps:
        lines = [f"{painted(exact_moment(event['timestamp']), 'dim')}  {event['message']}" for event in page]
    else:
        lines = [event["message"] for event in page]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
