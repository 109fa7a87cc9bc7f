"""The log of a job, read while it grows: attempt after attempt, each line once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batchyard.cli.client import Client, Json
from batchyard.cli.failures import Failure

JOB_LOG_GROUP = "/aws/batch/job"


def log_group(job: Json) -> str:
    """The log group of a job: AWS's own unless its log configuration names another."""
    configuration: dict[str, Any] = (job.get("container") or {}).get("logConfiguration") or {}
    group: str = (configuration.get("options") or {}).get("awslogs-group") or JOB_LOG_GROUP
    return group


def log_streams(job: Json) -> list[str]:
    """The log streams of the attempts so far, the present one included."""
    ended = [(attempt.get("container") or {}).get("logStreamName") for attempt in job.get("attempts") or ()]
    present = (job.get("container") or {}).get("logStreamName")
    return list(dict.fromkeys(name for name in [*ended, present] if name))


class StreamReader:
    """One log stream, from its beginning; goes on where it was when read again."""

    def __init__(self, client: Client, group: str, stream: str) -> None:
        self._client = client
        self._where = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        self._token: str | None = None

    def new_pages(self) -> Iterator[list[Json]]:
        """The events that have come since the last call, in pages. A stream that does not exist yet has none."""
        while True:
            position = {"nextToken": self._token} if self._token else {}
            try:
                page = self._client.logs("GetLogEvents", **self._where, **position)
            except Failure as failure:
                if failure.code == "ResourceNotFoundException":
                    return
                raise
            if not page["events"]:
                return
            yield page["events"]
            self._token = page["nextForwardToken"]


class JobLog:
    """The log of all attempts of a job, in the order of the attempts."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._finished: set[str] = set()
        self._reader: tuple[str, StreamReader] | None = None

    def new_pages(self, job: Json) -> Iterator[list[Json]]:
        """The events that have come since the last call, in pages. `job` is as DescribeJobs gave it just before."""
        for stream in log_streams(job):
            if stream in self._finished:
                continue
            if self._reader is None or self._reader[0] != stream:
                if self._reader is not None:
                    self._finished.add(self._reader[0])
                self._reader = (stream, StreamReader(self._client, log_group(job), stream))
            yield from self._reader[1].new_pages()
