"""SubmitJob, CancelJob and TerminateJob with bad input: AWS's texts, HTTP 400, and nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from server_process import ServerProcess
from work import (
    UNKNOWN_JOB,
    new_environment,
    new_name,
    new_queue,
    refused,
    register,
    settled_environment,
    submit,
    update_queue,
)


@pytest.fixture(scope="module")
def queue(server: ServerProcess) -> str:
    """A queue of this module's own: what it holds, a test has put there."""
    return new_queue(server.client("batch"))


@pytest.fixture(scope="module")
def definition(server: ServerProcess) -> str:
    return register(server.client("batch"), name="refusals")


@pytest.fixture(autouse=True)
def nothing_is_submitted(batch: Any, queue: str) -> Iterator[None]:
    yield
    later = [{"name": "AFTER_CREATED_AT", "values": ["0"]}]
    assert batch.list_jobs(jobQueue=queue, filters=later)["jobSummaryList"] == []


def wrapped(text: str, message: str) -> bool:
    """Is this AWS's form of a failed validation?"""
    return message.startswith(f"Error executing request, Exception : {text}, RequestId: ")


def test_unknown_queue(server: ServerProcess, batch: Any, definition: str) -> None:
    for queue in (
        "no-such-queue",
        server.arn("job-queue/no-such-queue"),
        "arn:aws:batch:eu-west-1:1:job-queue/default",
    ):
        message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition)
        assert wrapped(f"JobQueue {queue} not found.", message)


def test_unknown_definition(server: ServerProcess, batch: Any, queue: str, definition: str) -> None:
    for name in ("no-such-definition", "no-such-definition:1", "refusals:99"):
        message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=name)
        assert wrapped(f"JobDefinition name {name} does not exist or is not in ACTIVE status", message)
    for arn in (server.arn("job-definition/none:1"), server.arn("job-definition/none"), f"{definition}9"):
        message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=arn)
        assert wrapped(f"JobDefinition {arn} not found.", message)


def test_an_inactive_definition(batch: Any, queue: str) -> None:
    name = new_name("inactive")
    arn = register(batch, name=name)
    batch.deregister_job_definition(jobDefinition=f"{name}:1")
    for text in (name, f"{name}:1"):
        message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=text)
        assert f"JobDefinition name {text} does not exist or is not in ACTIVE status" in message
    assert "not found" in refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=arn)


@pytest.mark.parametrize("text", ["", "has a space", "x" * 129, "name:one", "name:", "name:²", "a:1:2", "ü", "name:-1"])
def test_a_definition_that_is_no_name(batch: Any, queue: str, text: str) -> None:
    refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=text)


def test_a_queue_s_arn_as_the_definition(batch: Any, server: ServerProcess, queue: str) -> None:
    arn = server.arn(f"job-queue/{queue}")
    message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=arn)
    assert f"Provided name {arn} is not supported pattern[a-zA-Z_0-9-]{{1,128}}" in message


@pytest.mark.parametrize("name", ["", "-begins-with-a-dash", "_x", "has space", "x" * 129, "ünï", "a.b", "x\n"])
def test_job_names(batch: Any, queue: str, definition: str, name: str) -> None:
    message = refused(batch.submit_job, jobName=name, jobQueue=queue, jobDefinition=definition)
    assert wrapped("Job name should match valid pattern", message)


@pytest.mark.parametrize("size", [-1, 0, 1, 10_001, 2**31 - 1])
def test_array_sizes(batch: Any, queue: str, definition: str, size: int) -> None:
    message = refused(
        batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition, arrayProperties={"size": size}
    )
    assert "between 2 and 10000" in message


def test_twenty_one_dependencies(batch: Any, queue: str, definition: str) -> None:
    message = refused(
        batch.submit_job,
        jobName="x",
        jobQueue=queue,
        jobDefinition=definition,
        dependsOn=[{"jobId": UNKNOWN_JOB}] * 21,
    )
    assert wrapped("Job cannot have more than 20 dependencies", message)


def test_a_request_that_is_too_long(batch: Any, queue: str, definition: str) -> None:
    request = {"jobName": "x", "jobQueue": queue, "jobDefinition": definition, "parameters": {"long": ""}}
    request["parameters"]["long"] = "x" * (47 * 1024 - len(json.dumps(request)))
    assert wrapped("Job size must be less than 30 KiB, got 47 KiB", refused(batch.submit_job, **request))


def test_a_reference_without_a_value(batch: Any, queue: str) -> None:
    definition = register(batch, container_command=["echo", "Ref::here", "Ref::not-here"], parameters={"here": "x"})
    message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition)
    assert wrapped("Unable to substitute value. No parameter found for reference not-here", message)


@pytest.mark.parametrize("text", ["a(b)", "*x", "a*b", "Host EC2 (instance i-1) terminated.", "x" * 513, "ä", ""])
def test_exit_rules_with_restricted_characters(batch: Any, queue: str, definition: str, text: str) -> None:
    for member in ("onReason", "onStatusReason"):
        strategy = {"attempts": 2, "evaluateOnExit": [{member: text, "action": "RETRY"}]}
        message = refused(
            batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition, retryStrategy=strategy
        )
        assert "Evaluate on exit condition" in message
        if len(text) < 513:
            assert wrapped("Evaluate on exit condition contains restricted characters", message)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({}, "RetryAttempts must be provided with retry strategy"),
        ({"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}]}, "RetryAttempts must be provided"),
        ({"attempts": 0}, "between 1 and 10"),
        ({"attempts": 11}, "between 1 and 10"),
        ({"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}] * 6}, "5"),
        ({"attempts": 2, "evaluateOnExit": [{"onExitCode": "1x", "action": "EXIT"}]}, "restricted characters"),
        ({"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "STOP"}]}, "action"),
        ({"attempts": 2, "evaluateOnExit": [{"action": "EXIT"}]}, "at least one"),
    ],
)
def test_retry_strategies(batch: Any, queue: str, definition: str, strategy: dict[str, Any], words: str) -> None:
    assert words in refused(
        batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition, retryStrategy=strategy
    )


@pytest.mark.parametrize("seconds", [-1, 0, 59])
def test_short_timeouts(batch: Any, queue: str, definition: str, seconds: int) -> None:
    message = refused(
        batch.submit_job,
        jobName="x",
        jobQueue=queue,
        jobDefinition=definition,
        timeout={"attemptDurationSeconds": seconds},
    )
    assert "60" in message


@pytest.mark.parametrize(
    "overrides",
    [
        {"resourceRequirements": [{"type": "VCPU", "value": "many"}]},
        {"resourceRequirements": [{"type": "VCPU", "value": "0"}]},
        {"resourceRequirements": [{"type": "VCPU", "value": "0.5"}]},
        {"resourceRequirements": [{"type": "MEMORY", "value": "3"}]},
        {"resourceRequirements": [{"type": "GPU", "value": "0"}]},
        {"resourceRequirements": [{"type": "MEMORY", "value": "16"}, {"type": "MEMORY", "value": "32"}]},
        {"environment": [{"name": "AWS_BATCH_JOB_ID", "value": "mine"}]},
        {"environment": [{"name": "", "value": "x"}]},
        {"environment": [{"value": "x"}]},
        {"environment": [{"name": "A=B", "value": "x"}]},
        {"environment": [{"name": "A", "value": "x\0y"}]},
        {"command": ["a\0b"]},
        {"instanceType": "m5.large"},
    ],
    ids=str,
)
def test_overrides(batch: Any, queue: str, definition: str, overrides: dict[str, Any]) -> None:
    refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition, containerOverrides=overrides)


@pytest.mark.parametrize(
    "other",
    [
        {"nodeOverrides": {"numNodes": 2}},
        {"eksPropertiesOverride": {"podProperties": {"metadata": {"labels": {"a": "b"}}}}},
        {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "a"}]}]}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_overrides_of_another_kind(batch: Any, queue: str, definition: str, other: dict[str, Any]) -> None:
    message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition, **other)
    assert next(iter(other)) in message


def test_a_disabled_queue(batch: Any, definition: str) -> None:
    name = new_queue(batch, state="DISABLED")
    message = refused(batch.submit_job, jobName="x", jobQueue=name, jobDefinition=definition)
    assert "is not enabled" in message
    update_queue(batch, name, state="ENABLED")
    assert submit(batch, definition, queue=name)


@pytest.mark.parametrize("member", [{"shareIdentifier": "team"}, {"schedulingPriorityOverride": 5}])
def test_shares_on_a_queue_without_a_policy(batch: Any, queue: str, definition: str, member: dict[str, Any]) -> None:
    message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition, **member)
    assert wrapped(
        "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share"
        " scheduling policy.",
        message,
    )


def test_a_platform_that_the_queue_does_not_have(batch: Any, queue: str) -> None:
    fargate = register(
        batch,
        platformCapabilities=["FARGATE"],
        container_vcpus="0.25",
        container_memory="512",
        container_executionRoleArn="arn:aws:iam::123456789012:role/run",
    )
    message = refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=fargate)
    assert wrapped(
        "Job Queue is attached to Compute Environment that can not run Jobs with capability FARGATE", message
    )
    environment = new_name("fargate")
    batch.create_compute_environment(
        computeEnvironmentName=environment,
        type="MANAGED",
        computeResources={"type": "FARGATE", "maxvCpus": 4, "subnets": ["s"], "securityGroupIds": ["g"]},
    )
    settled_environment(batch, environment)
    on_fargate = new_queue(batch, environment)
    message = refused(batch.submit_job, jobName="x", jobQueue=on_fargate, jobDefinition=register(batch))
    assert "that can not run Jobs with capability EC2" in message
    assert submit(batch, fargate, queue=on_fargate)


BAD_TAGS = [
    {"aws:mine": "x"},
    {"AWS:mine": "x"},
    {"x" * 129: "x"},
    {"x": "y" * 257},
    {"quote'": "x"},
    {"x": "semi;colon"},
    {f"k{n}": "v" for n in range(51)},
]


@pytest.mark.parametrize("tags", BAD_TAGS, ids=lambda tags: str(tags)[:20])
def test_tags(batch: Any, queue: str, definition: str, tags: dict[str, str]) -> None:
    refused(batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=definition, tags=tags)


@pytest.mark.parametrize("operation", ["cancel_job", "terminate_job"])
def test_reasons(batch: Any, operation: str) -> None:
    end = getattr(batch, operation)
    assert "1024" in refused(end, jobId=UNKNOWN_JOB, reason="x" * 1025)
    end(jobId=UNKNOWN_JOB, reason="ü" * 1024)


def test_a_job_name_may_be_used_again(batch: Any, definition: str) -> None:
    queue = new_queue(batch, new_environment(batch, state="DISABLED"))
    assert submit(batch, definition, queue=queue, name="same") != submit(batch, definition, queue=queue, name="same")
