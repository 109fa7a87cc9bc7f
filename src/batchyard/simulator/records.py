"""Files for programs: a line for each job that has ended, and what there was over time."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

from batchyard.simulator.statistics import EndedJob
from batchyard.simulator.timeline import Timeline

JOB_COLUMNS = (
    "line",
    "name",
    "index",
    "queue",
    "share",
    "status",
    "submitted",
    "started",
    "ended",
    "attempts",
    "exit_code",
    "environment",
    "instance",
    "instance_type",
    "reason",
)


class JobFile:
    """A CSV file of jobs, and children of arrays, in the order in which they ended. Times are seconds after the first
    submission."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(JOB_COLUMNS)

    def ended(self, job: EndedJob) -> None:
        self._writer.writerow(
            (
                job.line,
                job.name,
                "" if job.index < 0 else job.index,
                job.queue,
                job.share,
                job.status.name,
                _seconds(job.submitted_at),
                _seconds(job.started_at),
                _seconds(job.ended_at),
                job.attempts,
                job.exit_code,
                job.environment,
                job.instance,
                job.instance_type,
                job.status_reason,
            )
        )


def _seconds(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03d}" if rest else str(whole)


def write_samples(timeline: Timeline, path: Path) -> None:
    """CSV: means over spans of equal width, each beginning at `seconds`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("seconds", "instances", "vcpus_offered", "vcpus_used", "jobs_running", "jobs_waiting"))
        for begins, (instances, offered, used, running, waiting) in timeline.points():
            row = (instances, offered / 1000, used / 1000, running, waiting)
            writer.writerow((_seconds(begins), *(f"{value:.6g}" for value in row)))
