"""What acceptance tests say over and over: register a shell script, submit it, wait for its end, read its log."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from waiting import until

TERMINAL = ("SUCCEEDED", "FAILED")
UNKNOWN_JOB = "00000000-0000-4000-8000-000000000000"

_numbers = itertools.count(1)


def new_name(stem: str) -> str:
    """A name that no other test uses."""
    return f"{stem}-{next(_numbers)}"


def container(script: str = "true", vcpus: str = "1", memory: str = "16", **more: Any) -> dict[str, Any]:
    """Container properties that run a shell script."""
    requirements = [{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": memory}]
    return {"image": "busybox", "command": ["sh", "-c", script], "resourceRequirements": requirements, **more}


def register(batch: Any, script: str = "true", *, name: str | None = None, **more: Any) -> str:
    """Registers a job definition that runs a shell script; returns its ARN. `more` are members of the request, and with
    `container_` before them members of the container."""
    inside = {
        member.removeprefix("container_"): more.pop(member) for member in [*more] if member.startswith("container_")
    }
    answer = batch.register_job_definition(
        jobDefinitionName=name or new_name("definition"),
        type="container",
        containerProperties=container(script, **inside),
        **more,
    )
    return answer["jobDefinitionArn"]


def submit(batch: Any, definition: str, *, queue: str = "default", name: str | None = None, **more: Any) -> str:
    """Submits a job; returns its id."""
    answer = batch.submit_job(jobName=name or new_name("job"), jobQueue=queue, jobDefinition=definition, **more)
    return answer["jobId"]


def run(batch: Any, script: str, **more: Any) -> dict[str, Any]:
    """Registers, submits and waits; returns the job."""
    definition = register(batch, script)
    return ended(batch, submit(batch, definition, **more))


def describe(batch: Any, job_id: str) -> dict[str, Any]:
    [job] = batch.describe_jobs(jobs=[job_id])["jobs"]
    return job


def ended(batch: Any, job_id: str) -> dict[str, Any]:
    """The job, once it has ended."""
    return reached(batch, job_id, *TERMINAL)


def reached(batch: Any, job_id: str, *statuses: str) -> dict[str, Any]:
    """The job, once it has one of these statuses."""
    seen: list[dict[str, Any]] = [{}]

    def there() -> bool:
        seen[0] = describe(batch, job_id)
        return seen[0]["status"] in statuses

    until(there, lambda: f"{' or '.join(statuses)}; the job is {seen[0]}")
    return seen[0]


def log_lines(logs: Any, job: dict[str, Any], group: str = "/aws/batch/job") -> list[str]:
    """The log of a job that has ended."""
    stream = job["container"]["logStreamName"]
    answer = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in answer["events"]]


class Gate:
    """Jobs wait at it until the test opens it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.script = f"until [ -e '{path}' ]; do sleep 0.02; done"
        """Put this into a job's script."""

    def open(self) -> None:
        self._path.touch()


def new_environment(batch: Any, name: str | None = None, *, vcpus: int = 8, **more: Any) -> str:
    """A compute environment that is VALID; returns its name."""
    name = name or new_name("environment")
    resources = {"type": "EC2", "minvCpus": 0, "maxvCpus": vcpus, "instanceTypes": ["optimal"], "subnets": ["subnet-1"]}
    batch.create_compute_environment(
        computeEnvironmentName=name,
        type="MANAGED",
        computeResources={**resources, "instanceRole": "ecsInstanceRole", "securityGroupIds": ["sg-1"]},
        **more,
    )
    settled_environment(batch, name)
    return name


def settled_environment(batch: Any, name: str, status: str = "VALID") -> dict[str, Any]:
    """The compute environment, once it has this status."""

    def there() -> Any:
        found = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
        return found if found and found[0]["status"] == status else None

    return until(there, f"compute environment {name} {status}")[0]


def new_queue(batch: Any, *environments: str, name: str | None = None, **more: Any) -> str:
    """A job queue that is VALID; returns its name."""
    name = name or new_name("queue")
    order = [{"order": n, "computeEnvironment": each} for n, each in enumerate(environments or ("default",), 1)]
    batch.create_job_queue(**{"jobQueueName": name, "priority": 1, "computeEnvironmentOrder": order, **more})
    settled_queue(batch, name)
    return name


def settled_queue(batch: Any, name: str, status: str = "VALID") -> dict[str, Any]:
    """The job queue, once it has this status."""

    def there() -> Any:
        found = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
        return found if found and found[0]["status"] == status else None

    return until(there, f"job queue {name} {status}")[0]


def update_queue(batch: Any, name: str, **changes: Any) -> None:
    """Changes a queue and waits until the change is complete."""
    batch.update_job_queue(jobQueue=name, **changes)
    settled_queue(batch, name)


def update_environment(batch: Any, name: str, **changes: Any) -> None:
    batch.update_compute_environment(computeEnvironment=name, **changes)
    settled_environment(batch, name)


def refused(call: Any, /, **request: Any) -> str:
    """The message of the ClientException (HTTP 400) that a call gets."""
    with pytest.raises(ClientError) as refusal:
        call(**request)
    response = refusal.value.response
    assert response["Error"]["Code"] == "ClientException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["ResponseMetadata"]["RequestId"]
    return str(response["Error"]["Message"])
