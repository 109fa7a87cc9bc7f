"""Why a job is not running: our extension `POST /batchyard/v1/whyjob`, in each situation, and what it remembers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from server_process import ServerProcess
from waiting import until
from work import (
    UNKNOWN_JOB,
    Gate,
    container,
    ended,
    new_environment,
    new_name,
    new_queue,
    reached,
    register,
    run,
    submit,
    update_environment,
)


def ask(server: ServerProcess, body: Any, *, signed: bool = True) -> tuple[int, Any]:
    """Status and answer of a question."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"{server.endpoint}/batchyard/v1/whyjob"
    request = AWSRequest("POST", url, data=data, headers={"Content-Type": "application/json"})
    if signed:
        key = Credentials(server.connection["access_key_id"], server.connection["secret_access_key"])
        SigV4Auth(key, "batch", server.region).add_auth(request)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, dict(request.headers.items()))) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def why(server: ServerProcess) -> Any:
    def answer(job_id: str) -> dict[str, Any]:
        status, answer = ask(server, {"jobId": job_id})
        assert status == 200, answer
        assert answer["jobId"] == job_id
        assert answer["reason"].strip()
        times = [line["at"] for line in answer["history"]]
        assert times == sorted(times)
        answer["reasons"] = [line.get("reason", "") for line in answer["history"]]
        return answer  # type: ignore[no-any-return]

    return answer


def test_a_job_that_runs_and_one_that_has_ended(batch: Any, why: Any, gate: Gate) -> None:
    job_id = submit(batch, register(batch, f"{gate.script}; exit 3"))
    reached(batch, job_id, "RUNNING")
    answer = why(job_id)
    assert answer["status"] == "RUNNING"
    assert "default" in answer["reason"]
    gate.open()
    ended(batch, job_id)
    answer = why(job_id)
    assert answer["status"] == "FAILED"
    assert "3" in answer["reason"]
    states = [line["status"] for line in answer["history"]]
    assert states == ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "FAILED"]


def test_dependencies(batch: Any, why: Any, gate: Gate) -> None:
    first = submit(batch, register(batch, gate.script))
    second = submit(batch, register(batch), dependsOn=[{"jobId": first}])
    answer = why(second)
    assert answer["status"] == "PENDING"
    assert first in answer["reason"]


def test_a_sequence_and_partners(batch: Any, why: Any, gate: Gate) -> None:
    sequence = submit(
        batch, register(batch, gate.script), arrayProperties={"size": 3}, dependsOn=[{"type": "SEQUENTIAL"}]
    )
    reached(batch, f"{sequence}:0", "RUNNING")
    assert "1" in why(f"{sequence}:2")["reason"]
    assert "SEQUENTIAL" in why(f"{sequence}:2")["reason"]
    partner = submit(
        batch, register(batch), arrayProperties={"size": 3}, dependsOn=[{"jobId": sequence, "type": "N_TO_N"}]
    )
    assert f"{sequence}:1" in why(f"{partner}:1")["reason"]
    assert "3" in why(sequence)["reason"]


def test_no_room_with_the_numbers(batch: Any, why: Any, gate: Gate) -> None:
    environment = new_environment(batch, vcpus=2)
    queue = new_queue(batch, environment)
    running = submit(batch, register(batch, gate.script, container_vcpus="2"), queue=queue)
    reached(batch, running, "RUNNING")
    first = submit(batch, register(batch), queue=queue)
    second = submit(batch, register(batch), queue=queue)
    assert "1 vCPU" in why(first)["reason"]
    assert "2 of its 2 vCPU" in why(first)["reason"]
    assert "1 job is ahead" in why(second)["reason"]
    assert first in why(second)["reason"]
    assert "code" not in why(first), "it needs nobody's help"


def test_never(batch: Any, why: Any) -> None:
    job_id = submit(batch, register(batch, container_memory="999999999"))
    answer = why(job_id)
    assert answer["code"] == "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    assert "999999999 MiB" in answer["reason"]
    batch.terminate_job(jobId=job_id, reason="cleared away")


def test_a_disabled_environment(batch: Any, why: Any) -> None:
    environment = new_environment(batch, state="DISABLED")
    answer = why(submit(batch, register(batch), queue=new_queue(batch, environment)))
    assert environment in answer["reason"]
    assert "DISABLED" in answer["reason"]
    assert answer["code"] == "ACTION_REQUIRED"


def test_a_later_reason_does_not_erase_an_earlier_one(batch: Any, why: Any, gate: Gate) -> None:
    environment = new_environment(batch, vcpus=1, state="DISABLED")
    queue = new_queue(batch, environment)
    blocker = submit(batch, register(batch, gate.script, container_vcpus="1"), queue=queue)
    job_id = submit(batch, register(batch, "exit 1"), queue=queue, retryStrategy={"attempts": 2})
    assert "DISABLED" in why(job_id)["reason"]
    update_environment(batch, environment, state="ENABLED")
    reached(batch, blocker, "RUNNING")
    until(
        lambda: any("uses 1 of its 1 vCPU" in reason for reason in why(job_id)["reasons"]),
        lambda: f"the second reason in {why(job_id)}",
    )
    gate.open()
    ended(batch, job_id)
    reasons = why(job_id)["reasons"]
    assert any("DISABLED" in reason for reason in reasons)
    assert any("uses 1 of its 1 vCPU" in reason for reason in reasons)
    assert any("Essential container in task exited" in reason for reason in reasons)


def test_a_cancelled_job_keeps_its_story(batch: Any, why: Any) -> None:
    job_id = submit(batch, register(batch), queue=new_queue(batch, new_environment(batch, state="DISABLED")))
    batch.cancel_job(jobId=job_id, reason="no longer wanted")
    answer = why(job_id)
    assert answer["status"] == "FAILED"
    assert "no longer wanted" in answer["reason"]
    assert any("DISABLED" in reason for reason in answer["reasons"])


def test_by_arn(server: ServerProcess, batch: Any) -> None:
    job = run(batch, "true")
    status, answer = ask(server, {"jobId": job["jobArn"]})
    assert status == 200
    assert answer["status"] == "SUCCEEDED"


def test_refusals(server: ServerProcess) -> None:
    for body in ({"jobId": UNKNOWN_JOB}, {"jobId": "²"}, {}, {"jobId": None}, {"jobId": 3}, b"{", b"[]"):
        status, answer = ask(server, body)
        assert (status, answer["__type"]) == (400, "ClientException")
        assert answer["message"]
    status, answer = ask(server, {"jobId": UNKNOWN_JOB}, signed=False)
    assert (status, answer["__type"]) == (403, "MissingAuthenticationTokenException")


def test_a_node_waits_as_its_job_does(batch: Any, why: Any) -> None:
    name = new_name("gang")
    groups = [{"targetNodes": ":", "container": container()}]
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": groups}
    batch.register_job_definition(jobDefinitionName=name, type="multinode", nodeProperties=nodes)
    job_id = submit(batch, name)
    answer = why(f"{job_id}#1")
    assert (answer["jobId"], answer["status"]) == (f"{job_id}#1", "RUNNABLE")
    assert "multi-node parallel jobs" in answer["reason"]
