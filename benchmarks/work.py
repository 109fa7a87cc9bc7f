"""What the benchmarks ask the server for: definitions, a queue that is blocked, jobs, and their end."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.client import Connection

BLOCKED = "blocked"
"""A queue whose compute environment has one vCPU, which its first job keeps."""


class Unsuccessful(Exception):
    """A job of a benchmark has failed: its numbers would mean nothing."""


def register(connection: Connection, name: str, command: list[str]) -> str:
    """A definition of 1 vCPU and 4 MiB, the least that there is. Returns its name."""
    connection.batch(
        "RegisterJobDefinition",
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": "busybox",
            "command": command,
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "4"}],
        },
    )
    return name


def block_a_queue(connection: Connection) -> str:
    """Makes the queue `BLOCKED` and its first job, and returns the id of that job, which runs until it is terminated."""
    connection.batch(
        "CreateComputeEnvironment",
        computeEnvironmentName=BLOCKED,
        type="MANAGED",
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 1,
            "desiredvCpus": 0,
            "instanceTypes": ["optimal"],
            "instanceRole": "ecsInstanceRole",
            "subnets": ["subnet-1"],
            "securityGroupIds": ["sg-1"],
        },
        tags={"batchyard:capacity": "slices"},
    )
    _until_valid(connection, "DescribeComputeEnvironments", "computeEnvironments", BLOCKED)
    order = [{"order": 1, "computeEnvironment": BLOCKED}]
    connection.batch("CreateJobQueue", jobQueueName=BLOCKED, priority=1, computeEnvironmentOrder=order)
    _until_valid(connection, "DescribeJobQueues", "jobQueues", BLOCKED)
    register(connection, "sleep", ["sleep", "86400"])
    head: str = connection.batch("SubmitJob", jobName="head", jobQueue=BLOCKED, jobDefinition="sleep")["jobId"]
    while connection.describe_job(head)["status"] != "RUNNING":
        time.sleep(0.01)
    return head


def _until_valid(connection: Connection, operation: str, member: str, name: str) -> None:
    while connection.batch(operation, **{member: [name]})[member][0]["status"] != "VALID":
        time.sleep(0.01)


def wait_for_array(connection: Connection, job_id: str) -> None:
    """Returns when the array has SUCCEEDED. It is asked for seldom while much is left: ten times in all, then every 10 ms.
    Raises `Unsuccessful`."""
    began = time.perf_counter()
    while True:
        job = connection.describe_job(job_id)
        if _has_succeeded(job):
            return
        done = job["arrayProperties"]["statusSummary"].get("SUCCEEDED", 0)
        share = done / job["arrayProperties"]["size"]
        elapsed = time.perf_counter() - began
        left = elapsed * (1 - share) / share if share > 0 else 0.2
        time.sleep(min(1.0, max(0.01, 0.5 * left)))


def wait_for_job(connection: Connection, job_id: str, interval: float) -> dict[str, Any]:
    """The job's detail when it has SUCCEEDED. Raises `Unsuccessful`."""
    while not _has_succeeded(job := connection.describe_job(job_id)):
        time.sleep(interval)
    return job


def _has_succeeded(job: dict[str, Any]) -> bool:
    if job["status"] == "FAILED":
        raise Unsuccessful(f"job {job['jobId']} has failed: {job.get('statusReason')}")
    return bool(job["status"] == "SUCCEEDED")
