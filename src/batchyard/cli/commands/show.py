"""`batchyard show`: all that a person wants to know about a job."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import click

from batchyard.cli.client import Json
from batchyard.cli.invocation import Command, Invocation, complete_jobs, json_option, shared_options
from batchyard.cli.job_log import log_streams
from batchyard.cli.job_texts import (
    TERMINAL,
    array_counts,
    array_size,
    attempt_reason,
    counts_text,
    reason_of,
    run_time,
    short_id,
    wait_time,
)
from batchyard.cli.lookup import find_job
from batchyard.cli.terminal import one_line, painted, print_json, print_line, status_colour
from batchyard.cli.times import duration, moment, now_milliseconds

_LABEL_WIDTH = 13


@click.command(
    cls=Command,
    examples=[
        ("batchyard show last", "the newest job"),
        ("batchyard show 3f2a1b4c:7", "child 7 of an array"),
        ("batchyard show last --json | jq '.jobs[0].attempts'", "as DescribeJobs gives it"),
    ],
)
@click.argument("job", shell_complete=complete_jobs)
@json_option
@shared_options
@click.pass_obj
def show(invocation: Invocation, job: str, as_json: bool) -> None:
    """Show all about JOB: status, reason, times, attempts, command, resources."""
    found = find_job(invocation.client(), job)
    if as_json:
        print_json({"jobs": [found]})
        return
    for label, texts in _sections(found):
        for position, text in enumerate(texts):
            head = label.ljust(_LABEL_WIDTH) if position == 0 else " " * _LABEL_WIDTH
            print_line(f"{painted(head, 'dim')}{text}")


def _sections(job: Json) -> Iterator[tuple[str, list[str]]]:
    """What is shown, as a label and its lines; what the job does not have is left out."""
    yield "Job", [painted(job["jobId"], "bold")]
    yield "Name", [job["jobName"]]
    yield "Status", [_status(job)]
    if job["status"] not in TERMINAL and job.get("statusReason"):
        yield "Reason", [one_line(job["statusReason"])]
    yield "Queue", [_last_part(job["jobQueue"])]
    yield "Definition", [_last_part(job["jobDefinition"])]
    yield from _times(job)
    yield from _program(job)
    yield from _rules(job)
    if attempts := job.get("attempts"):
        yield "Attempts", [_attempt(number, attempt) for number, attempt in enumerate(attempts, 1)]
    if array_size(job) is not None:
        yield "Children", [f"{array_size(job)}: {counts_text(array_counts(job))}"]
    if tags := job.get("tags"):
        yield "Tags", [one_line(f"{name}={value}") for name, value in sorted(tags.items())]
    yield "More", _next_steps(job)


def _status(job: Json) -> str:
    reason = one_line(reason_of(job)) if job["status"] == "FAILED" else ""
    return painted(job["status"], status_colour(job["status"])) + (f"  {reason}" if reason else "")


def _times(job: Json) -> Iterator[tuple[str, list[str]]]:
    yield "Submitted", [f"{moment(job['createdAt'])}  {duration(now_milliseconds() - job['createdAt'])} ago"]
    if job.get("startedAt"):
        yield "Started", [f"{moment(job['startedAt'])}  waited {wait_time(job)}"]
    if job.get("stoppedAt"):
        ran = f"  ran {run_time(job)}" if job.get("startedAt") else ""
        yield "Ended", [f"{moment(job['stoppedAt'])}{ran}"]
    elif job.get("startedAt"):
        yield "Running", [f"for {run_time(job)}"]


def _program(job: Json) -> Iterator[tuple[str, list[str]]]:
    container: dict[str, Any] = job.get("container") or {}
    if container.get("command"):
        yield "Command", [one_line(shlex.join(container["command"]))]
    if container.get("image"):
        yield "Image", [container["image"]]
    if resources := _resources(container):
        yield "Resources", [resources]
    if variables := container.get("environment"):
        yield "Environment", [one_line(f"{pair.get('name')}={pair.get('value', '')}") for pair in variables]
    if parameters := job.get("parameters"):
        yield "Parameters", [one_line(f"{name}={value}") for name, value in sorted(parameters.items())]


def _resources(container: dict[str, Any]) -> str:
    wanted = {entry["type"]: entry["value"] for entry in container.get("resourceRequirements") or ()}
    for type_, old in (("VCPU", "vcpus"), ("MEMORY", "memory")):
        if container.get(old):
            wanted.setdefault(type_, str(container[old]))
    units = {"VCPU": "vCPU", "MEMORY": "MiB", "GPU": "GPU"}
    return ", ".join(f"{wanted[type_]} {unit}" for type_, unit in units.items() if type_ in wanted)


def _rules(job: Json) -> Iterator[tuple[str, list[str]]]:
    if job.get("dependsOn"):
        yield "Depends on", [_dependency(dependency) for dependency in job["dependsOn"]]
    if (attempts := (job.get("retryStrategy") or {}).get("attempts")) and attempts > 1:
        yield "Retries", [f"up to {attempts} attempts"]
    if seconds := (job.get("timeout") or {}).get("attemptDurationSeconds"):
        yield "Time-out", [f"{duration(seconds * 1000)} for each attempt"]


def _dependency(dependency: dict[str, str]) -> str:
    return " ".join(part for part in (dependency.get("jobId"), dependency.get("type")) if part)


def _attempt(number: int, attempt: dict[str, Any]) -> str:
    container = attempt.get("container") or {}
    code = container.get("exitCode")
    result = f"exit code {code}" if code is not None else "no exit code"
    parts = [f"{number}  {painted(result, 'green' if code == 0 else 'red')}"]
    if attempt.get("startedAt"):
        parts.append(f"{moment(attempt['startedAt'])}  ran {duration(attempt['stoppedAt'] - attempt['startedAt'])}")
    parts.append(one_line(attempt_reason(attempt)))
    return "  ".join(filter(None, parts))


def _next_steps(job: Json) -> list[str]:
    short = short_id(job["jobId"])
    if array_size(job) is not None:
        return [f"batchyard jobs --array {short}", f"batchyard logs {short}:0"]
    steps = [f"batchyard logs {'' if job['status'] in TERMINAL else '-f '}{short}"] if log_streams(job) else []
    return [*steps, f"batchyard why {short}"]


def _last_part(arn: str) -> str:
    return arn.rpartition("/")[2]
