"""Holding, releasing and reordering what waits; caps and back-off by tags: as clients see them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from server_process import ServerProcess
from waiting import until
from work import UNKNOWN_JOB, Gate, describe, ended, new_environment, new_queue, reached, refused, register, submit


def call(server: ServerProcess, operation: str, **body: Any) -> tuple[int, Any]:
    """Status and answer of an operation that AWS does not have."""
    url = f"{server.endpoint}/batchyard/v1/{operation.lower()}"
    data = json.dumps(body).encode()
    request = AWSRequest("POST", url, data=data, headers={"Content-Type": "application/json"})
    key = Credentials(server.connection["access_key_id"], server.connection["secret_access_key"])
    SigV4Auth(key, "batch", server.region).add_auth(request)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, dict(request.headers.items()))) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["message"]


def test_a_held_job_waits_until_it_is_released(server: ServerProcess, batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, tags={"batchyard:maxRunning": "1"})
    busy = submit(batch, register(batch, gate.script), queue=queue)
    definition = register(batch)
    held, other = submit(batch, definition, queue=queue), submit(batch, definition, queue=queue)
    assert call(server, "HoldJob", jobId=held, reason="not yet")[0] == 200
    assert describe(batch, held)["statusReason"] == "Held: not yet"
    gate.open()
    ended(batch, busy)
    assert ended(batch, other)["status"] == "SUCCEEDED"
    assert describe(batch, held)["status"] == "RUNNABLE"
    assert call(server, "WhyJob", jobId=held)[1]["reason"] == "Is held: not yet"
    assert call(server, "ReleaseJob", jobId=held)[0] == 200
    assert ended(batch, held)["status"] == "SUCCEEDED"
    status, message = call(server, "HoldJob", jobId=held, reason="too late")
    assert status == 400
    assert f"Job {held} has ended SUCCEEDED: only a job that waits can be changed." in message
    assert "not found" in call(server, "HoldJob", jobId=UNKNOWN_JOB, reason="who?")[1]
    assert "reason" in call(server, "HoldJob", jobId=held)[1]


def test_holds_survive_a_restart(new_server: Callable[..., ServerProcess]) -> None:
    server = new_server()
    with server:
        batch = server.client("batch")
        first = submit(batch, register(batch, "sleep 0.2"))
        held = submit(batch, register(batch), dependsOn=[{"jobId": first}], arrayProperties={"size": 2})
        assert call(server, "HoldJob", jobId=held, reason="not yet")[0] == 200
        server.restart()
        batch = server.client("batch")
        ended(batch, first)
        until(lambda: describe(batch, f"{held}:0")["status"] == "RUNNABLE", "the children are RUNNABLE")
        assert describe(batch, f"{held}:0")["statusReason"] == "Held: not yet"
        assert call(server, "ReleaseJob", jobId=held)[0] == 200
        assert ended(batch, held)["status"] == "SUCCEEDED"


def test_a_priority_is_changed(server: ServerProcess, batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, tags={"batchyard:maxRunning": "1"})
    busy = submit(batch, register(batch, gate.script), queue=queue)
    definition = register(batch)
    first, second = submit(batch, definition, queue=queue), submit(batch, definition, queue=queue)
    assert call(server, "ChangeJobPriority", jobId=second, schedulingPriority=7)[0] == 200
    assert describe(batch, second)["schedulingPriority"] == 7
    assert "only a job that waits" in call(server, "ChangeJobPriority", jobId=busy, schedulingPriority=7)[1]
    gate.open()
    assert ended(batch, second)["startedAt"] <= ended(batch, first)["startedAt"]


def test_caps_by_tags(server: ServerProcess, batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, new_environment(batch), tags={"batchyard:maxRunningPerGroup": "1"})
    definition = register(batch, gate.script)
    one = submit(batch, definition, queue=queue, tags={"batchyard:group": "licence"})
    reached(batch, one, "RUNNING")
    two = submit(batch, definition, queue=queue, tags={"batchyard:group": "licence"})
    reason = call(server, "WhyJob", jobId=two)[1]["reason"]
    assert reason.startswith(f"Job queue {queue} runs 1 of at most 1 jobs of group licence")
    gate.open()
    assert ended(batch, one)["status"] == ended(batch, two)["status"] == "SUCCEEDED"


def test_a_failed_job_waits_before_it_is_tried_again(batch: Any) -> None:
    definition = register(batch, "exit $((2 - AWS_BATCH_JOB_ATTEMPT))")
    job = submit(batch, definition, retryStrategy={"attempts": 2}, tags={"batchyard:retryBackoff": "1s"})
    until(lambda: "retry back-off" in describe(batch, job).get("statusReason", ""), "the back-off shows")
    found = ended(batch, job)
    assert found["status"] == "SUCCEEDED"
    first, second = found["attempts"]
    assert second["startedAt"] - first["stoppedAt"] >= 1000


def test_bad_tags_are_refused(batch: Any) -> None:
    definition = register(batch)
    request = {"jobName": "x", "jobQueue": "default", "jobDefinition": definition}
    assert "The tag batchyard:retryBackoff must be a delay" in refused(
        batch.submit_job, **request, tags={"batchyard:retryBackoff": "soon"}
    )
    assert "The tag batchyard:grup has no meaning here" in refused(
        batch.submit_job, **request, tags={"batchyard:grup": "a"}
    )
    [queue] = batch.describe_job_queues(jobQueues=["default"])["jobQueues"]
    assert "The tag batchyard:maxRunning must be" in refused(
        batch.tag_resource, resourceArn=queue["jobQueueArn"], tags={"batchyard:maxRunning": "none"}
    )
