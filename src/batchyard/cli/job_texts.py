"""A job in words: what the tables and the progress say about its status, its reason and its times."""

from __future__ import annotations

from typing import Any

from batchyard.cli.client import Json
from batchyard.cli.times import duration, now_milliseconds

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
TERMINAL = ("SUCCEEDED", "FAILED")
_EXITED = "Essential container in task exited"


def short_id(job_id: str) -> str:
    """Enough of an id to find the job again: its first eight characters, and the index of a child."""
    parent, colon, index = job_id.partition(":")
    return parent[:8] + colon + index


def exit_code_of(job: Json) -> int | None:
    code: int | None = (job.get("container") or {}).get("exitCode")
    return code


def reason_of(job: Json) -> str:
    """Why the job is as it is, without what says nothing: `exit code 3`, `OutOfMemoryError: …`, AWS's own text."""
    container: dict[str, Any] = job.get("container") or {}
    code, said, status_reason = container.get("exitCode"), container.get("reason"), job.get("statusReason") or ""
    if job["status"] == "SUCCEEDED":
        return ""
    parts = []
    if said:
        parts.append(said)
    if code:
        parts.append(f"exit code {code}")
    if status_reason and status_reason != said and not (parts and status_reason == _EXITED):
        parts.append(status_reason)
    return "; ".join(parts)


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


def wait_time(job: Json) -> str:
    """From submission to the first start."""
    first = next((attempt["startedAt"] for attempt in job.get("attempts") or () if attempt.get("startedAt")), None)
    started = first or job.get("startedAt")
    return duration(started - job["createdAt"]) if started else ""
