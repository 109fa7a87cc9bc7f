"""Which job is meant: a whole id, the first characters of one, an ARN, `last`, and `…:3` for a child of an array."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from batchyard.cli.client import Client, Json
from batchyard.cli.failures import not_found, usage_failure

SHORTEST_PREFIX = 4
SEARCHED_JOBS = 5000
"""How many of the newest jobs of each queue are looked through for a prefix."""

_EVERY_STATUS = [{"name": "AFTER_CREATED_AT", "values": ["0"]}]
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_PREFIX = re.compile(r"[0-9a-f-]+\Z")


def find_job(client: Client, named: str) -> Json:
    """The job that `named` means, as DescribeJobs gives it. Raises `Failure`."""
    job_id = whole_id(client, named)
    job = client.describe_job(job_id)
    if job is not None:
        return job
    parent_id, colon, index = job_id.partition(":")
    parent = client.describe_job(parent_id) if colon else None
    if parent is None:
        raise not_found(f"There is no job {named}.", "List the jobs with: batchyard jobs")
    size = (parent.get("arrayProperties") or {}).get("size")
    if size is None:
        raise not_found(f"Job {parent_id} is not an array: it has no child {index}.")
    raise not_found(f"Array {parent_id} has no child {index}: its children are 0 to {size - 1}.")


def whole_id(client: Client, named: str) -> str:
    """The id that `named` stands for; whether a job has it is not checked when it is whole. Raises `Failure`."""
    text = named.rpartition(":job/")[2] if named.startswith("arn:") else named
    parent, colon, index = text.partition(":")
    if colon and not (index.isascii() and index.isdigit()):
        raise usage_failure(f"{named!r} is not a job: after the colon stands the index of a child, as in ID:3.")
    return _parent_id(client, parent) + colon + (str(int(index)) if colon else "")


def _parent_id(client: Client, text: str) -> str:
    if text == "last":
        return _newest(client)
    text = text.lower()
    if _ID.match(text):
        return text
    if not _PREFIX.match(text) or len(text) > 36:
        raise usage_failure(
            f"{text!r} is not a job: give a job id, its first {SHORTEST_PREFIX} characters or more, an ARN, or last."
        )
    if len(text) < SHORTEST_PREFIX:
        raise usage_failure(f"{text!r} is too short: give at least {SHORTEST_PREFIX} characters of the job id.")
    return only_match(text, _jobs_starting_with(client, text))


def only_match(prefix: str, matches: Sequence[Json]) -> str:
    """The id of the one job found for a prefix. Raises `Failure` when there are none or several."""
    if len(matches) == 1:
        found: str = matches[0]["jobId"]
        return found
    if not matches:
        raise not_found(f"There is no job whose id starts with {prefix}.", "List the jobs with: batchyard jobs")
    named = ", ".join(f"{job['jobId']} ({job['jobName']})" for job in matches[:3])
    more = f" and {len(matches) - 3} more" if len(matches) > 3 else ""
    raise usage_failure(f"{prefix} is the start of {len(matches)} job ids: {named}{more}.", "Give more characters.")


def _jobs_starting_with(client: Client, prefix: str) -> list[Json]:
    return [
        job
        for queue in queue_names(client)
        for job in newest_jobs(client, queue, SEARCHED_JOBS)
        if job["jobId"].startswith(prefix)
    ]


def _newest(client: Client) -> str:
    newest = [job for queue in queue_names(client) for job in newest_jobs(client, queue, 1)]
    if not newest:
        raise not_found("There are no jobs yet.", "Run one with: batchyard run -- echo hello")
    found: str = max(newest, key=lambda job: job["createdAt"])["jobId"]
    return found


def queue_names(client: Client) -> list[str]:
    """The names of all job queues."""
    return [queue["jobQueueName"] for page in client.pages("DescribeJobQueues", "jobQueues") for queue in page]


def newest_jobs(client: Client, queue: str, most: int | None) -> Iterator[Json]:
    """The jobs of a queue, whatever their status, newest first; at most `most`."""
    request = {"jobQueue": queue, "filters": _EVERY_STATUS, "maxResults": min(most or 100, 100)}
    given = 0
    for page in client.pages("ListJobs", "jobSummaryList", **request):
        for job in page:
            yield job
            given += 1
            if given == most:
                return
