"""Following a job from its submission to its end: its states, why it waits, its log."""

from __future__ import annotations

import time

from batchyard.cli.client import Client, Json
from batchyard.cli.failures import ExitCode, Failure, not_found
from batchyard.cli.job_log import JobLog
from batchyard.cli.job_texts import TERMINAL, array_counts, array_size, result_of
from batchyard.cli.progress import Progress

PATIENCE_SECONDS = 1.0
"""How long a job may wait before it is asked why."""
ASK_AGAIN_SECONDS = 2.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.03, 0.5
SERVER_AWAY_SECONDS = 60.0
"""For how long a server may be away (it is being restarted, and jobs go on) before following ends."""


class Pace:
    """How long to pause between two looks: short after news, longer the longer there are none."""

    def __init__(self) -> None:
        self._pause = SHORTEST_PAUSE

    def pause(self, news: bool) -> None:
        self._pause = SHORTEST_PAUSE if news else min(self._pause * 1.5, LONGEST_PAUSE)
        time.sleep(self._pause)


def follow(client: Client, job_id: str, progress: Progress, *, with_log: bool) -> Json:
    """Returns the job as it ended. Raises `Failure` when the server stays away or has forgotten the job."""
    log, pace = JobLog(client), Pace()
    status: str | None = None
    attempts = 0
    ask_why_at = time.monotonic() + PATIENCE_SECONDS
    away_since: float | None = None
    while True:
        news = False
        try:
            job = client.describe_job(job_id)
            if job is None:
                raise not_found(f"The server does not know job {job_id} any more.")
            if away_since is not None:
                progress.note("the server is back")
                away_since = None
            progress.saw(job)
            news, status = job["status"] != status, job["status"]
            if with_log and array_size(job) is None:
                news |= print_new_lines(log, job, progress)
            if status in TERMINAL:
                return job
            for attempt in (job.get("attempts") or [])[attempts:]:
                attempts += 1
                progress.note(f"attempt {attempts} failed, trying again: {result_of(attempt)}")
            if _has_not_begun(job) and time.monotonic() >= ask_why_at:
                ask_why_at = time.monotonic() + ASK_AGAIN_SECONDS
                _say_why(client, job, progress)
        except Failure as failure:
            if failure.exit_code is not ExitCode.UNREACHABLE:
                raise
            now = time.monotonic()
            if away_since is None:
                away_since = now
                progress.note(f"{failure.message} The job does not need it to go on; trying again for a minute.")
            elif now - away_since > SERVER_AWAY_SECONDS:
                raise
        pace.pause(news)


def _has_not_begun(job: Json) -> bool:
    """An array has begun with its first child."""
    waiting = ("SUBMITTED", "PENDING", "RUNNABLE")
    return job["status"] in waiting and all(status in waiting for status in array_counts(job))


def print_new_lines(log: JobLog, job: Json, progress: Progress) -> bool:
    """Prints what has been logged since the last call; whether there was anything."""
    any_event = False
    for page in log.new_pages(job):
        progress.logged("".join(f"{event['message']}\n" for event in page))
        any_event = True
    return any_event


def _say_why(client: Client, job: Json, progress: Progress) -> None:
    answer = client.why(job["jobId"])
    if answer.get("reason") and answer.get("status") == job["status"]:
        progress.waits(answer["reason"])
