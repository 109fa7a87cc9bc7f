"""From the command line of `batchyard run` to a submitted job: the job definition that it needs, and the request."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from batchyard.cli.client import Client, Json
from batchyard.cli.failures import usage_failure

HOST_IMAGE = "batchyard/host"
"""Stands for "no image": the process runtime runs commands on the host and looks at no image."""
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?\Z", re.IGNORECASE)
_MEBIBYTES = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class Submission(NamedTuple):
    """What the user asks for. `memory` is in MiB, `timeout` in seconds for each attempt."""

    command: Sequence[str]
    name: str
    queue: str
    image: str | None
    vcpus: int
    memory: int
    environment: Mapping[str, str]
    depends_on: Sequence[str]
    array: int | None
    attempts: int | None
    timeout: int | None


def memory_of(text: str) -> int:
    """MiB in `512`, `512m`, `2g` or `1.5GiB`. Raises `Failure`."""
    match = _MEMORY.match(text.strip())
    mebibytes = round(float(match[1]) * _MEBIBYTES[match[2].lower()]) if match else 0
    if mebibytes < 1:
        raise usage_failure(f"--memory {text!r} is not an amount such as 512 (MiB), 512m or 2g.")
    return mebibytes


def environment_of(entries: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables in `K=V` and `K` (then the value is the caller's own). Raises `Failure`."""
    variables: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name:
            raise usage_failure(f"--env {entry!r} is neither NAME=VALUE nor NAME.")
        if not equals:
            if name not in environ:
                raise usage_failure(f"--env {name}: there is no variable {name} in the environment to take over.")
            value = environ[name]
        variables[name] = value
    return variables


def name_of(command: Sequence[str], image: str | None) -> str:
    """A job name made from the program: `python3` for `/usr/bin/python3 train.py`."""
    program = command[0] if command else image or ""
    name = _NOT_IN_A_NAME.sub("-", program.rpartition("/")[2]).strip("-_")
    return name[:128] or "run"


def submit(client: Client, wanted: Submission) -> Json:
    """Submits the job. Returns SubmitJob's answer; raises `Failure`."""
    try:
        "\0".join([*wanted.command, *wanted.environment.values()]).encode()
    except UnicodeEncodeError:
        raise usage_failure("The command and the environment of a job must be UTF-8.") from None
    request: dict[str, Any] = {
        "jobName": wanted.name,
        "jobQueue": wanted.queue,
        "jobDefinition": _definition(client, wanted),
        "containerOverrides": {
            "command": list(wanted.command),
            "environment": [{"name": name, "value": value} for name, value in wanted.environment.items()],
        },
        "dependsOn": [{"jobId": job_id} for job_id in wanted.depends_on],
    }
    if wanted.array is not None:
        request["arrayProperties"] = {"size": wanted.array}
    if wanted.attempts is not None:
        request["retryStrategy"] = {"attempts": wanted.attempts}
    if wanted.timeout is not None:
        request["timeout"] = {"attemptDurationSeconds": wanted.timeout}
    return client.batch("SubmitJob", **request)


def _definition(client: Client, wanted: Submission) -> str:
    """The ARN of a definition for this image and these resources: the one registered by an earlier run, or a new one.
    The rest of a job is said when it is submitted, so a few definitions serve for ever."""
    container = {
        "image": wanted.image or HOST_IMAGE,
        "resourceRequirements": [
            {"type": "VCPU", "value": str(wanted.vcpus)},
            {"type": "MEMORY", "value": str(wanted.memory)},
        ],
    }
    digest = hashlib.sha256(json.dumps(container, sort_keys=True).encode()).hexdigest()
    name = f"run-{digest[:12]}"
    answer = client.batch("DescribeJobDefinitions", jobDefinitionName=name, status="ACTIVE")
    for definition in answer["jobDefinitions"]:
        if _says_just(definition, container):
            known: str = definition["jobDefinitionArn"]
            return known
    registered: str = client.batch(
        "RegisterJobDefinition", jobDefinitionName=name, type="container", containerProperties=container
    )["jobDefinitionArn"]
    return registered


def _says_just(definition: Json, container: Mapping[str, Any]) -> bool:
    """Whether nobody has registered something else under the same name."""
    properties = {key: value for key, value in (definition.get("containerProperties") or {}).items() if value}
    more = (definition.get(member) for member in ("parameters", "retryStrategy", "timeout", "propagateTags"))
    return definition.get("type") == "container" and properties == container and not any(more)
