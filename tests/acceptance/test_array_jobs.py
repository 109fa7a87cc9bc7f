"""Array jobs and dependencies: expansion, summaries, single children, SEQUENTIAL and N_TO_N, across queues."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from server_process import ServerProcess
from waiting import until
from work import (
    UNKNOWN_JOB,
    Gate,
    describe,
    ended,
    log_lines,
    new_environment,
    new_queue,
    reached,
    refused,
    register,
    run,
    submit,
)

STATES = {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"}


def children(batch: Any, parent: str, status: str, **page: Any) -> list[dict[str, Any]]:
    pages = batch.get_paginator("list_jobs").paginate(arrayJobId=parent, jobStatus=status, **page)
    return [child for page in pages for child in page["jobSummaryList"]]


def indices(batch: Any, parent: str, status: str) -> list[int]:
    return [child["arrayProperties"]["index"] for child in children(batch, parent, status)]


class TestArrays:
    def test_every_child_runs_once_and_knows_its_index(self, server: ServerProcess, batch: Any, logs: Any) -> None:
        definition = register(batch, "echo $AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ARRAY_INDEX $AWS_BATCH_JOB_ARRAY_SIZE")
        parent = submit(batch, definition, name="sweep", arrayProperties={"size": 12})
        job = ended(batch, parent)
        assert job["status"] == "SUCCEEDED"
        assert job["attempts"] == []
        assert job["arrayProperties"]["size"] == 12
        assert job["arrayProperties"]["statusSummary"] == dict.fromkeys(STATES, 0) | {"SUCCEEDED": 12}
        assert job["createdAt"] <= job["arrayProperties"]["statusSummaryLastUpdatedAt"] <= time.time() * 1000
        ids = [f"{parent}:{index}" for index in range(12)]
        described = {child["jobId"]: child for child in batch.describe_jobs(jobs=ids)["jobs"]}
        for index, child_id in enumerate(ids):
            child = described[child_id]
            assert child["arrayProperties"] == {"index": index, "statusSummary": {}}
            assert child["jobArn"] == server.arn(f"job/{child_id}")
            assert (child["jobName"], child["status"]) == ("sweep", "SUCCEEDED")
            assert log_lines(logs, child) == [f"{child_id} {index} 12"]

    def test_one_failure_fails_the_parent_when_all_have_ended(self, batch: Any, gate: Gate) -> None:
        script = f"case $AWS_BATCH_JOB_ARRAY_INDEX in 1) exit 3;; 2) {gate.script};; esac"
        parent = submit(batch, register(batch, script), arrayProperties={"size": 4})
        failed = ended(batch, f"{parent}:1")
        assert failed["container"]["exitCode"] == 3
        job = describe(batch, parent)
        assert job["status"] == "PENDING"
        assert job["arrayProperties"]["statusSummary"]["FAILED"] == 1
        gate.open()
        job = ended(batch, parent)
        assert (job["status"], job["statusReason"]) == ("FAILED", "Array Child Job failed")
        assert job["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3

    def test_retries_are_each_child_s_own(self, batch: Any) -> None:
        script = '[ "$AWS_BATCH_JOB_ATTEMPT" -gt "$AWS_BATCH_JOB_ARRAY_INDEX" ]'
        parent = submit(batch, register(batch, script), arrayProperties={"size": 3}, retryStrategy={"attempts": 3})
        assert ended(batch, parent)["status"] == "SUCCEEDED"
        assert [len(describe(batch, f"{parent}:{index}")["attempts"]) for index in range(3)] == [1, 2, 3]

    def test_ten_thousand_children_are_one_request(self, batch: Any) -> None:
        queue = new_queue(batch, new_environment(batch, state="DISABLED"))
        parent = submit(batch, register(batch), queue=queue, arrayProperties={"size": 10_000})
        job = describe(batch, parent)
        assert job["status"] == "PENDING"
        assert job["arrayProperties"]["statusSummary"] == dict.fromkeys(STATES, 0) | {"RUNNABLE": 10_000}
        assert describe(batch, f"{parent}:9999")["status"] == "RUNNABLE"
        assert batch.describe_jobs(jobs=[f"{parent}:10000", f"{parent}:-1", f"{parent}:01"])["jobs"] == []
        listed = children(batch, parent, "RUNNABLE")
        assert [child["arrayProperties"]["index"] for child in listed] == list(range(10_000))
        batch.terminate_job(jobId=parent, reason="seen enough")
        job = ended(batch, parent)
        assert (job["status"], job["statusReason"]) == ("FAILED", "seen enough")
        assert job["arrayProperties"]["statusSummary"]["FAILED"] == 10_000
        child = describe(batch, f"{parent}:777")
        assert (child["status"], child["statusReason"]) == ("FAILED", "seen enough")

    def test_ending_one_child(self, batch: Any, gate: Gate) -> None:
        queue = new_queue(batch, new_environment(batch, vcpus=1))
        parent = submit(batch, register(batch, gate.script), queue=queue, arrayProperties={"size": 3})
        reached(batch, f"{parent}:0", "RUNNING")
        batch.cancel_job(jobId=f"{parent}:2", reason="not this one")
        child = ended(batch, f"{parent}:2")
        assert (child["status"], child["statusReason"], child["isCancelled"]) == ("FAILED", "not this one", True)
        assert describe(batch, f"{parent}:1")["status"] == "RUNNABLE"
        gate.open()
        job = ended(batch, parent)
        assert (job["status"], job["statusReason"]) == ("FAILED", "Array Child Job failed")
        assert indices(batch, parent, "SUCCEEDED") == [0, 1]
        assert indices(batch, parent, "FAILED") == [2]

    @pytest.mark.parametrize("operation", ["cancel_job", "terminate_job"])
    def test_ending_the_parent(self, batch: Any, gate: Gate, operation: str) -> None:
        queue = new_queue(batch, new_environment(batch, vcpus=1))
        definition = register(batch, gate.script)
        parent = submit(batch, definition, queue=queue, arrayProperties={"size": 3}, retryStrategy={"attempts": 4})
        reached(batch, f"{parent}:0", "RUNNING")
        getattr(batch, operation)(jobId=parent, reason="that's it")
        gate.open()
        job = ended(batch, parent)
        assert (job["status"], job["statusReason"]) == ("FAILED", "that's it")
        expected = [0] if operation == "cancel_job" else []
        assert indices(batch, parent, "SUCCEEDED") == expected
        for index in (1, 2):
            child = describe(batch, f"{parent}:{index}")
            assert (child["status"], child["statusReason"], child["attempts"]) == ("FAILED", "that's it", [])
        assert ended(batch, f"{parent}:0")["isTerminated"] is (operation == "terminate_job")

    def test_a_child_id_that_is_no_index_is_unknown(self, batch: Any, gate: Gate) -> None:
        parent = submit(batch, register(batch, gate.script), arrayProperties={"size": 2})
        for suffix in ("²", "٣", "1" * 5000, "-0", "", "0:0", "1e0", "+1"):
            batch.cancel_job(jobId=f"{parent}:{suffix}", reason="x")
            batch.terminate_job(jobId=f"{parent}:{suffix}", reason="x")
            assert batch.describe_jobs(jobs=[f"{parent}:{suffix}"])["jobs"] == []
            dependency = [{"jobId": f"{parent}:{suffix}"}]
            refused(
                batch.submit_job, jobName="x", jobQueue="default", jobDefinition=register(batch), dependsOn=dependency
            )
        gate.open()
        assert ended(batch, parent)["status"] == "SUCCEEDED"


class TestDependencies:
    def test_on_success(self, batch: Any, gate: Gate) -> None:
        first = submit(batch, register(batch, gate.script))
        second = submit(batch, register(batch), dependsOn=[{"jobId": first}])
        third = submit(batch, register(batch), dependsOn=[{"jobId": first}, {"jobId": second}, {"jobId": first}])
        job = describe(batch, third)
        assert job["status"] == "PENDING"
        assert [dependency["jobId"] for dependency in job["dependsOn"]] == [first, second, first]
        gate.open()
        jobs = [ended(batch, job_id) for job_id in (first, second, third)]
        assert [job["status"] for job in jobs] == ["SUCCEEDED"] * 3
        assert jobs[0]["stoppedAt"] <= jobs[1]["startedAt"]
        assert jobs[1]["stoppedAt"] <= jobs[2]["startedAt"]

    def test_a_failure_runs_down_the_chain(self, batch: Any, gate: Gate) -> None:
        jobs = [submit(batch, register(batch, f"{gate.script}; exit 1"))]
        for _ in range(5):
            jobs.append(submit(batch, register(batch), dependsOn=[{"jobId": jobs[-1]}]))
        array = submit(batch, register(batch), dependsOn=[{"jobId": jobs[-1]}], arrayProperties={"size": 3})
        gate.open()
        for job_id in [*jobs[1:], array, f"{array}:2"]:
            job = ended(batch, job_id)
            assert (job["status"], job["statusReason"]) == ("FAILED", "Dependent Job failed")
            assert job["attempts"] == []

    def test_on_jobs_that_have_ended(self, batch: Any) -> None:
        good, bad = run(batch, "true")["jobId"], run(batch, "false")["jobId"]
        array = submit(batch, register(batch, "exit $AWS_BATCH_JOB_ARRAY_INDEX"), arrayProperties={"size": 2})
        ended(batch, array)
        definition = register(batch)
        outcomes = {
            good: "SUCCEEDED",
            bad: "FAILED",
            array: "FAILED",
            f"{array}:0": "SUCCEEDED",
            f"{array}:1": "FAILED",
        }
        for dependency, status in outcomes.items():
            job = ended(batch, submit(batch, definition, dependsOn=[{"jobId": dependency}]))
            assert job["status"] == status, dependency
        partner = submit(batch, definition, dependsOn=[{"jobId": array, "type": "N_TO_N"}], arrayProperties={"size": 2})
        ended(batch, partner)
        assert indices(batch, partner, "SUCCEEDED") == [0]
        assert indices(batch, partner, "FAILED") == [1]

    def test_across_queues(self, batch: Any, gate: Gate) -> None:
        first = submit(batch, register(batch, gate.script), queue=new_queue(batch))
        second = submit(batch, register(batch), queue=new_queue(batch), dependsOn=[{"jobId": first}])
        gate.open()
        assert ended(batch, second)["status"] == "SUCCEEDED"

    def test_on_one_child_and_on_a_whole_array(self, batch: Any, gate: Gate) -> None:
        script = f"if [ $AWS_BATCH_JOB_ARRAY_INDEX = 1 ]; then {gate.script}; fi"
        array = submit(batch, register(batch, script), arrayProperties={"size": 3})
        definition = register(batch)
        on_child = submit(batch, definition, dependsOn=[{"jobId": f"{array}:2"}])
        on_all = submit(batch, definition, dependsOn=[{"jobId": array}])
        assert ended(batch, on_child)["status"] == "SUCCEEDED"
        assert describe(batch, on_all)["status"] == "PENDING"
        gate.open()
        assert ended(batch, on_all)["startedAt"] >= ended(batch, array)["stoppedAt"]

    def test_sequential(self, batch: Any) -> None:
        parent = submit(batch, register(batch), dependsOn=[{"type": "SEQUENTIAL"}], arrayProperties={"size": 5})
        assert ended(batch, parent)["status"] == "SUCCEEDED"
        children = [describe(batch, f"{parent}:{index}") for index in range(5)]
        for before, after in pairwise(children):
            assert before["stoppedAt"] <= after["startedAt"]

    def test_sequential_ends_at_a_failure(self, batch: Any) -> None:
        script = "[ $AWS_BATCH_JOB_ARRAY_INDEX != 2 ]"
        parent = submit(batch, register(batch, script), dependsOn=[{"type": "SEQUENTIAL"}], arrayProperties={"size": 5})
        assert ended(batch, parent)["statusReason"] == "Array Child Job failed"
        children = [describe(batch, f"{parent}:{index}") for index in range(5)]
        assert [child["status"] for child in children] == ["SUCCEEDED"] * 2 + ["FAILED"] * 3
        assert [child["statusReason"] for child in children[3:]] == ["Dependent Job failed"] * 2

    def test_n_to_n(self, batch: Any, gate: Gate) -> None:
        script = f"if [ $AWS_BATCH_JOB_ARRAY_INDEX = 1 ]; then {gate.script}; fi; [ $AWS_BATCH_JOB_ARRAY_INDEX != 3 ]"
        first = submit(batch, register(batch, script), arrayProperties={"size": 4})
        second = submit(
            batch, register(batch), dependsOn=[{"jobId": first, "type": "N_TO_N"}], arrayProperties={"size": 4}
        )
        for index, status in ((0, "SUCCEEDED"), (2, "SUCCEEDED"), (3, "FAILED")):
            assert ended(batch, f"{second}:{index}")["status"] == status
        assert describe(batch, f"{second}:1")["status"] == "PENDING"
        gate.open()
        assert ended(batch, f"{second}:1")["status"] == "SUCCEEDED"
        assert ended(batch, f"{second}:3")["statusReason"] == "Dependent Job failed"
        assert ended(batch, second)["status"] == "FAILED"

    def test_n_to_n_with_sequential(self, batch: Any) -> None:
        """The User Guide's example: A, then B child by child, then C child by child and in order."""
        a = submit(batch, register(batch), arrayProperties={"size": 4})
        b = submit(batch, register(batch), dependsOn=[{"jobId": a, "type": "N_TO_N"}], arrayProperties={"size": 4})
        order = [{"jobId": b, "type": "N_TO_N"}, {"type": "SEQUENTIAL"}]
        c = submit(batch, register(batch), dependsOn=order, arrayProperties={"size": 4})
        assert ended(batch, c)["status"] == "SUCCEEDED"
        for index in range(4):
            assert describe(batch, f"{b}:{index}")["stoppedAt"] <= describe(batch, f"{c}:{index}")["startedAt"]
        starts = [describe(batch, f"{c}:{index}")["startedAt"] for index in range(4)]
        assert starts == sorted(starts)

    def test_twenty_dependencies_are_allowed(self, batch: Any) -> None:
        definition = register(batch)
        before = [submit(batch, definition) for _ in range(20)]
        job = ended(batch, submit(batch, definition, dependsOn=[{"jobId": job_id} for job_id in before]))
        assert job["status"] == "SUCCEEDED"
        assert len(job["dependsOn"]) == 20

    @pytest.mark.parametrize(
        ("dependencies", "size", "words"),
        [
            pytest.param([{"jobId": UNKNOWN_JOB}], None, "does not exist", id="unknown"),
            pytest.param([{"jobId": "a job"}], None, "not a valid job id", id="no id"),
            pytest.param([{}], None, "must have a jobId", id="empty"),
            pytest.param([{"type": "SEQUENTIAL"}], None, "array", id="sequential on a single job"),
            pytest.param([{"jobId": UNKNOWN_JOB, "type": "N_TO_N"}], None, "array", id="n to n on a single job"),
            pytest.param([{"type": "N_TO_N"}], 2, "jobId", id="n to n with nobody"),
        ],
    )
    def test_refusals(self, batch: Any, dependencies: list[dict[str, str]], size: int | None, words: str) -> None:
        array = {"arrayProperties": {"size": size}} if size else {}
        message = refused(
            batch.submit_job,
            jobName="x",
            jobQueue="default",
            jobDefinition=register(batch),
            dependsOn=dependencies,
            **array,
        )
        assert words in message

    def test_unequal_sizes_are_refused(self, batch: Any, gate: Gate) -> None:
        definition = register(batch, gate.script)
        array, single = submit(batch, definition, arrayProperties={"size": 3}), submit(batch, definition)
        for other in (array, single):
            message = refused(
                batch.submit_job,
                jobName="x",
                jobQueue="default",
                jobDefinition=definition,
                arrayProperties={"size": 2},
                dependsOn=[{"jobId": other, "type": "N_TO_N"}],
            )
            assert "same size" in message

    def test_a_dependency_that_ends_while_the_next_is_submitted(self, batch: Any) -> None:
        """Races between the end of a job and submissions that depend on it leave nobody waiting."""
        definition = register(batch)
        waiting = []
        for _ in range(60):
            first = submit(batch, definition)
            waiting += [submit(batch, definition, dependsOn=[{"jobId": first}]) for _ in range(2)]
        until(
            lambda: all(
                job["status"] == "SUCCEEDED"
                for start in (0, 100)
                for job in batch.describe_jobs(jobs=waiting[start : start + 100])["jobs"]
            ),
            "all of them",
        )
