"""A job in words: what the tables and the progress say about its status, its reason and its times."""

from __future__ import annotations

from batchyard.cli.client import Json
from batchyard.cli.times import duration, now_milliseconds

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
TERMINAL = ("SUCCEEDED", "FAILED")
_EXITED = "Essential container in task exited"
_NOT_STARTED = "Task failed to start"
_CHILD_FAILED = "Array Child Job failed"


def short_id(job_id: str) -> str:
    """Enough of an id to find the job again: its first eight characters, and the index of a child."""
    parent, colon, index = job_id.partition(":")
    return parent[:8] + colon + index


def exit_code_of(job: Json) -> int | None:
    code: int | None = (job.get("container") or {}).get("exitCode")
    return code


def reason_of(job: Json) -> str:
    """Why the job is as it is, without what says nothing: `exit code 3`, `OutOfMemoryError: …`, `2 of 8 children failed`,
    or AWS's own text."""
    if job["status"] == "SUCCEEDED":
        return ""
    if job.get("statusReason") == _CHILD_FAILED and (failed := array_counts(job).get("FAILED")):
        return f"{failed} of {array_size(job)} children failed"
    return result_of(job)


def result_of(ended: Json) -> str:
    """How a job or an attempt that has failed came out."""
    code, texts = exit_code_of(ended), _telling(ended)
    if code:
        return "; ".join([*texts, f"exit code {code}"])
    return "; ".join(texts) or ended.get("statusReason") or ""


def attempt_reason(attempt: Json) -> str:
    """What there is to say about the end of an attempt beside its exit code."""
    return "; ".join(_telling(attempt))


def _telling(ended: Json) -> list[str]:
    """What the container and AWS say about the end of a job or an attempt, but for the texts that every such end has."""
    said, status_reason = (ended.get("container") or {}).get("reason"), ended.get("statusReason")
    known = (said, _EXITED, _NOT_STARTED) if said else (said, _EXITED)
    return [text for text in (said, status_reason if status_reason not in known else None) if text]


def array_size(job: Json) -> int | None:
    """The number of children of an array's parent; None for every other job."""
    size: int | None = (job.get("arrayProperties") or {}).get("size")
    return size


def array_counts(job: Json) -> dict[str, int]:
    """How many children are in each status, those that none is in left out."""
    summary = (job.get("arrayProperties") or {}).get("statusSummary") or {}
    return {status: summary[status] for status in STATUSES if summary.get(status)}


def counts_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def run_time(job: Json) -> str:
    """For how long it ran, or has been running; empty when it never began."""
    if not job.get("startedAt"):
        return ""
    return duration((job.get("stoppedAt") or now_milliseconds()) - job["startedAt"])


def array_time(job: Json) -> str:
    """From the submission of an array to its end; empty until then."""
    return duration(job["stoppedAt"] - job["createdAt"]) if job.get("stoppedAt") else ""


def wait_time(job: Json) -> str:
    """From submission to the first start."""
    first = next((attempt["startedAt"] for attempt in job.get("attempts") or () if attempt.get("startedAt")), None)
    started = first or job.get("startedAt")
    return duration(started - job["createdAt"]) if started else ""
