"""What the next attempt asks for after one that failed for want of it, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from instance_work import FLEET, HOST_LOST, fleet_environment, instance_of, said

from batchyard.engines.local.process.cgroups import find_mount
from server_process import ServerProcess
from work import Gate, describe, ended, new_queue, reached, refused, register, run, submit


def test_more_memory_after_an_attempt_that_ran_out_of_it(batch: Any) -> None:
    if find_mount("memory") is None:
        pytest.skip("this host offers no memory limit")
    job = run(
        batch,
        "exec dd if=/dev/zero of=/dev/null bs=40M count=1",
        retryStrategy={"attempts": 3},
        tags={"batchyard:onOutOfMemory": "x4", "batchyard:maxMemory": "100"},
    )
    assert job["status"] == "SUCCEEDED"
    first, second = job["attempts"]
    assert first["container"]["reason"].startswith("OutOfMemoryError")
    assert second["container"]["exitCode"] == 0
    requirements = {each["type"]: each["value"] for each in job["container"]["resourceRequirements"]}
    assert requirements == {"VCPU": "1", "MEMORY": "64"}


def test_on_demand_after_a_spot_reclaim(new_server: Callable[..., ServerProcess], gate: Gate) -> None:
    with new_server(**FLEET) as server:
        batch = server.client("batch")
        on_demand, spot = fleet_environment(batch, most=2), fleet_environment(batch, "SPOT")
        queue = new_queue(batch, on_demand, spot)
        busy = submit(batch, register(batch, gate.script, container_resourceRequirements=TWO), queue=queue)
        reached(batch, busy, "RUNNING")
        job_id = submit(
            batch,
            register(batch, "[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || exec sleep 60"),
            queue=queue,
            retryStrategy={"attempts": 2, "evaluateOnExit": HOST_LOST},
            tags={"batchyard:onSpotReclaim": "on-demand"},
        )
        first = instance_of(reached(batch, job_id, "RUNNING"))
        said(server, "interrupt", first)
        reached(batch, job_id, "RUNNABLE")
        assert f"compute environment {on_demand} has 1 instance with 2 of at most 2 vCPU" in said(server, "why", job_id)
        gate.open()
        assert ended(batch, job_id)["status"] == "SUCCEEDED"
        assert on_demand in describe(batch, job_id)["attempts"][1]["container"]["taskArn"]


def test_bad_values_are_refused(batch: Any) -> None:
    request = {"jobName": "x", "jobQueue": "default", "jobDefinition": register(batch)}
    message = refused(batch.submit_job, **request, tags={"batchyard:onOutOfMemory": "double"})
    assert "The tag batchyard:onOutOfMemory must be x and a factor above 1" in message
    assert describe(batch, submit(batch, request["jobDefinition"]))["jobName"]


TWO = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "16"}]
