"""CancelJobs and TerminateJobs: many jobs ended by one request."""

from __future__ import annotations

from typing import Any

from server_process import ServerProcess
from work import (
    UNKNOWN_JOB,
    Gate,
    describe,
    ended,
    new_environment,
    new_queue,
    reached,
    refused,
    register,
    submit,
)


def test_cancel_jobs_ends_what_waits_and_leaves_what_runs(batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, new_environment(batch, vcpus=1))
    definition = register(batch, gate.script)
    running = submit(batch, definition, queue=queue)
    reached(batch, running, "RUNNING")
    waiting = [submit(batch, definition, queue=queue) for _ in range(3)]
    array = submit(batch, definition, queue=queue, arrayProperties={"size": 5})

    answer = batch.cancel_jobs(jobs=[running, *waiting, array], reason="no need")

    assert answer["successful"] == [running, *waiting, array]
    assert answer["errors"] == []
    for job_id in waiting:
        job = describe(batch, job_id)
        assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", "no need", True)
    assert ended(batch, array)["arrayProperties"]["statusSummary"]["FAILED"] == 5
    assert describe(batch, running)["status"] == "RUNNING"
    gate.open()
    assert ended(batch, running)["status"] == "SUCCEEDED"


def test_terminate_jobs_stops_what_runs(batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, new_environment(batch, vcpus=1))
    definition = register(batch, gate.script)
    jobs = [submit(batch, definition, queue=queue) for _ in range(2)]
    reached(batch, jobs[0], "RUNNING")

    answer = batch.terminate_jobs(jobs=jobs, reason="enough")

    assert (answer["successful"], answer["errors"]) == (jobs, [])
    for job_id in jobs:
        job = ended(batch, job_id)
        assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "enough", True)


def test_one_child_of_an_array_can_be_ended(batch: Any, gate: Gate) -> None:
    queue = new_queue(batch, new_environment(batch, vcpus=1))
    array = submit(batch, register(batch, gate.script), queue=queue, arrayProperties={"size": 3})
    reached(batch, f"{array}:0", "RUNNING")
    batch.cancel_jobs(jobs=[f"{array}:2"], reason="not this one")
    assert describe(batch, f"{array}:2")["statusReason"] == "not this one"
    assert describe(batch, f"{array}:1")["status"] == "RUNNABLE"
    batch.terminate_jobs(jobs=[array], reason="over")
    ended(batch, array)


def test_jobs_that_are_unknown_or_over_count_as_ended(server: ServerProcess, batch: Any) -> None:
    over = submit(batch, register(batch))
    ended(batch, over)
    ids = [UNKNOWN_JOB, over, "no id at all", server.arn(f"job/{over}")]
    for operation in (batch.cancel_jobs, batch.terminate_jobs):
        answer = operation(jobs=ids, reason="whatever")
        assert (answer["successful"], answer["errors"]) == (ids, [])
    assert describe(batch, over)["status"] == "SUCCEEDED"


def test_an_id_that_is_given_twice_is_answered_once(batch: Any) -> None:
    answer = batch.cancel_jobs(jobs=[UNKNOWN_JOB, UNKNOWN_JOB], reason="twice")
    assert answer["successful"] == [UNKNOWN_JOB]


def test_refusals(batch: Any) -> None:
    for operation in (batch.cancel_jobs, batch.terminate_jobs):
        assert "jobs must have 1 to 50 entries, got 51" in refused(operation, jobs=[UNKNOWN_JOB] * 51, reason="many")
        assert "jobs must have 1 to 50 entries, got 0" in refused(operation, jobs=[], reason="none")
        assert "reason must not be empty" in refused(operation, jobs=[UNKNOWN_JOB], reason="")
        text = refused(operation, jobs=[UNKNOWN_JOB], reason="x" * 1025)
        assert "reason must have at most 1024 characters, got 1025" in text
