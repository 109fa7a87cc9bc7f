"""GetJobQueueSnapshot: the front of a queue, and what its jobs use."""

from __future__ import annotations

from typing import Any

from server_process import ServerProcess
from work import Gate, describe, ended, new_environment, new_name, new_queue, reached, refused, register, submit


def front(batch: Any, queue: str) -> list[str]:
    jobs = batch.get_job_queue_snapshot(jobQueue=queue)["frontOfQueue"]["jobs"]
    return [job["jobArn"].rpartition("/")[2] for job in jobs]


def test_the_front_in_the_order_of_dispatch(server: ServerProcess, batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, new_environment(batch, vcpus=1))
    definition = register(batch, gate.script)
    running = submit(batch, definition, queue=queue)
    reached(batch, running, "RUNNING")
    single = submit(batch, definition, queue=queue)
    array = submit(batch, definition, queue=queue, arrayProperties={"size": 3})
    last = submit(batch, definition, queue=queue)
    assert front(batch, server.arn(f"job-queue/{queue}")) == [single, f"{array}:0", f"{array}:1", f"{array}:2", last]
    batch.cancel_job(jobId=f"{array}:1", reason="gone")
    assert front(batch, queue) == [single, f"{array}:0", f"{array}:2", last]

    snapshot = batch.get_job_queue_snapshot(jobQueue=queue)
    times = [job["earliestTimeAtPosition"] for job in snapshot["frontOfQueue"]["jobs"]]
    started = describe(batch, running)["createdAt"]
    assert all(started <= at <= snapshot["frontOfQueue"]["lastUpdatedAt"] for at in times)
    assert times == sorted(times)
    gate.open()
    ended(batch, last)
    assert front(batch, queue) == []


def test_no_more_than_a_hundred(batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, new_environment(batch, vcpus=1))
    definition = register(batch, gate.script)
    reached(batch, submit(batch, definition, queue=queue), "RUNNING")
    array = submit(batch, definition, queue=queue, arrayProperties={"size": 150})
    assert front(batch, queue) == [f"{array}:{index}" for index in range(100)]
    batch.terminate_job(jobId=array, reason="over")


def test_jobs_that_wait_for_a_resource_or_could_never_run_keep_their_place(batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, new_environment(batch, vcpus=1))
    definition = register(batch, gate.script)
    reached(batch, submit(batch, definition, queue=queue), "RUNNING")
    needy = {"consumableResourceList": [{"consumableResource": new_name("nobody"), "quantity": 1}]}
    huge = [{"type": "VCPU", "value": "64"}]
    jobs = [
        submit(batch, definition, queue=queue, consumableResourcePropertiesOverride=needy),
        submit(batch, definition, queue=queue, containerOverrides={"resourceRequirements": huge}),
        submit(batch, definition, queue=queue),
    ]
    assert front(batch, queue) == jobs
    batch.cancel_jobs(jobs=jobs, reason="over")
    assert front(batch, queue) == []


def test_what_the_jobs_use(batch: Any, gate: Gate) -> None:
    policy = batch.create_scheduling_policy(name=new_name("fair"))["arn"]
    environment = new_environment(batch)
    queue, fifo = new_queue(batch, environment, schedulingPolicyArn=policy), new_queue(batch, environment)
    idle = batch.get_job_queue_snapshot(jobQueue=queue)["queueUtilization"]
    assert idle["totalCapacityUsage"] == [{"capacityUnit": "VCPU", "quantity": 0.0}]
    assert idle["lastUpdatedAt"] > 1_700_000_000_000
    assert idle["fairshareUtilization"] == {"activeShareCount": 0, "topCapacityUtilization": []}
    definition = register(batch, gate.script)
    for share in ("red", "blue"):
        reached(batch, submit(batch, definition, queue=queue, shareIdentifier=share), "RUNNING")
    used = batch.get_job_queue_snapshot(jobQueue=queue)["queueUtilization"]
    assert used["totalCapacityUsage"] == [{"capacityUnit": "VCPU", "quantity": 2.0}]
    assert used["fairshareUtilization"] == {
        "activeShareCount": 2,
        "topCapacityUtilization": [
            {"shareIdentifier": share, "capacityUsage": [{"capacityUnit": "VCPU", "quantity": 1.0}]}
            for share in ("blue", "red")
        ],
    }
    assert "fairshareUtilization" not in batch.get_job_queue_snapshot(jobQueue=fifo)["queueUtilization"]


def test_an_unknown_queue(batch: Any) -> None:
    assert refused(batch.get_job_queue_snapshot, jobQueue="nobody") == "JobQueue nobody not found."
