"""The life of single jobs: how they start, what they are told, how they end, and what DescribeJobs says at each point."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from server_process import ServerProcess
from waiting import until
from work import (
    UNKNOWN_JOB,
    Gate,
    container,
    describe,
    ended,
    log_lines,
    new_environment,
    new_name,
    new_queue,
    reached,
    register,
    run,
    submit,
    update_queue,
)

EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
SECOND = 1000


def test_a_job_from_submission_to_its_end(server: ServerProcess, batch: Any, logs: Any, gate: Gate) -> None:
    begun_at = int(time.time() * 1000)
    definition = register(batch, f"echo begun; {gate.script}; echo over >&2; exit 0")
    answer = batch.submit_job(jobName="one", jobQueue="default", jobDefinition=definition)
    assert answer["jobName"] == "one"
    assert answer["jobArn"] == server.arn(f"job/{answer['jobId']}")

    running = reached(batch, answer["jobId"], "RUNNING")
    assert running["jobQueue"] == server.arn("job-queue/default")
    assert running["jobDefinition"] == definition
    assert running["attempts"] == []
    assert begun_at <= running["createdAt"] <= running["startedAt"] <= time.time() * 1000
    assert "stoppedAt" not in running
    assert running["container"]["taskArn"].startswith(f"arn:aws:ecs:{server.region}:{server.account_id}:task/")
    assert running["container"]["logStreamName"].split("/")[1] == "default"
    assert "exitCode" not in running["container"]

    gate.open()
    job = ended(batch, answer["jobId"])
    assert (job["status"], job["statusReason"], job["container"]["exitCode"]) == ("SUCCEEDED", EXITED, 0)
    assert job["startedAt"] == running["startedAt"] <= job["stoppedAt"]
    [attempt] = job["attempts"]
    assert attempt["startedAt"] == job["startedAt"]
    assert attempt["stoppedAt"] == job["stoppedAt"]
    assert attempt["statusReason"] == EXITED
    assert attempt["container"]["exitCode"] == 0
    for member in ("taskArn", "logStreamName", "containerInstanceArn"):
        assert attempt["container"][member] == job["container"][member] == running["container"][member]
    assert log_lines(logs, job) == ["begun", "over"]


def test_everything_that_the_model_promises_of_a_job_is_there(batch: Any) -> None:
    job = run(batch, "true")
    assert job["dependsOn"] == []
    assert job["parameters"] == {}
    assert job["tags"] == {}
    assert job["propagateTags"] is False
    assert job["platformCapabilities"] == ["EC2"]
    assert job["eksAttempts"] == []
    assert job["isCancelled"] is False
    assert job["isTerminated"] is False
    assert "retryStrategy" not in job
    assert "timeout" not in job
    for member in ("volumes", "environment", "mountPoints", "ulimits", "secrets", "networkInterfaces"):
        assert job["container"][member] == []


@pytest.mark.parametrize("code", [1, 3, 137, 255])
def test_a_failure_has_its_exit_code(batch: Any, code: int) -> None:
    job = run(batch, f"exit {code}")
    assert (job["status"], job["statusReason"], job["container"]["exitCode"]) == ("FAILED", EXITED, code)
    assert job["attempts"][0]["container"]["exitCode"] == code


def test_a_program_ended_by_a_signal_has_the_shell_s_exit_code(batch: Any) -> None:
    assert run(batch, "kill -SEGV $$")["container"]["exitCode"] == 128 + 11


def test_a_program_that_does_not_exist(batch: Any) -> None:
    definition = register(batch, container_command=["/no/such/program"])
    job = ended(batch, submit(batch, definition, retryStrategy={"attempts": 2}))
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Task failed to start"
    assert "CannotStartContainerError" in job["container"]["reason"]
    assert len(job["attempts"]) == 2


def test_a_log_has_a_stream_for_each_attempt(batch: Any, logs: Any) -> None:
    job = run(batch, "echo attempt $AWS_BATCH_JOB_ATTEMPT; exit 1", retryStrategy={"attempts": 3})
    streams = [attempt["container"]["logStreamName"] for attempt in job["attempts"]]
    assert len(set(streams)) == 3
    assert job["container"]["logStreamName"] == streams[-1]
    messages = [
        [
            event["message"]
            for event in logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
        ]
        for stream in streams
    ]
    assert messages == [["attempt 1"], ["attempt 2"], ["attempt 3"]]


class TestEnvironment:
    def test_what_the_service_sets(self, batch: Any, logs: Any) -> None:
        job = run(batch, "env | grep ^AWS_ | sort")
        variables = dict(line.split("=", 1) for line in log_lines(logs, job))
        assert variables["AWS_BATCH_JOB_ID"] == job["jobId"]
        assert variables["AWS_BATCH_JOB_ATTEMPT"] == "1"
        assert variables["AWS_BATCH_CE_NAME"] == "default"
        assert variables["AWS_BATCH_JQ_NAME"] == "default"
        assert variables["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
        assert "AWS_BATCH_JOB_ARRAY_INDEX" not in variables
        assert "AWS_SECRET_ACCESS_KEY" not in variables, "the server's own environment must not reach a job"

    def test_overrides_are_merged_by_name(self, batch: Any, logs: Any) -> None:
        given = [{"name": "KEPT", "value": "kept"}, {"name": "CHANGED", "value": "old"}]
        definition = register(batch, 'echo "$KEPT|$CHANGED|$ADDED|$EMPTY|"', container_environment=given)
        changes = [
            {"name": "CHANGED", "value": "new"},
            {"name": "ADDED", "value": "ünï \t'\""},
            {"name": "EMPTY", "value": ""},
        ]
        job = ended(batch, submit(batch, definition, containerOverrides={"environment": changes}))
        assert log_lines(logs, job) == ["kept|new|ünï \t'\"||"]
        shown = {pair["name"]: pair.get("value") for pair in job["container"]["environment"]}
        assert shown == {"KEPT": "kept", "CHANGED": "new", "ADDED": "ünï \t'\"", "EMPTY": ""}


class TestCommands:
    def test_references_take_their_values_from_job_and_definition(self, batch: Any, logs: Any) -> None:
        definition = register(
            batch,
            container_command=["echo", "Ref::a", "--b=Ref::b", "Ref::c"],
            parameters={"a": "definition's", "b": "definition's", "c": "Ref::a", "nf-token": "unused"},
        )
        job = ended(batch, submit(batch, definition, parameters={"b": "job's"}))
        assert log_lines(logs, job) == ["definition's --b=job's Ref::a"]
        assert job["container"]["command"] == ["echo", "definition's", "--b=job's", "Ref::a"]
        assert job["parameters"] == {"a": "definition's", "b": "job's", "c": "Ref::a", "nf-token": "unused"}

    def test_an_override_replaces_the_command_and_may_have_references(self, batch: Any, logs: Any) -> None:
        definition = register(batch, "echo no", parameters={"word": "yes"})
        job = ended(batch, submit(batch, definition, containerOverrides={"command": ["echo", "Ref::word"]}))
        assert log_lines(logs, job) == ["yes"]

    def test_requirements_are_overridden_by_type(self, batch: Any) -> None:
        definition = register(batch, container_vcpus="1")
        override = {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}
        job = describe(batch, submit(batch, definition, containerOverrides=override))
        assert sorted((r["type"], r["value"]) for r in job["container"]["resourceRequirements"]) == [
            ("MEMORY", "16"),
            ("VCPU", "2"),
        ]

    def test_the_old_spelling_is_echoed_where_it_was_used(self, batch: Any) -> None:
        name = new_name("old-spelling")
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={"image": "busybox", "command": ["true"], "vcpus": 1, "memory": 32},
        )
        job = ended(batch, submit(batch, name, containerOverrides={"vcpus": 2, "memory": 64}))
        assert job["status"] == "SUCCEEDED"
        assert (job["container"]["vcpus"], job["container"]["memory"]) == (2, 64)
        assert sorted((r["type"], r["value"]) for r in job["container"]["resourceRequirements"]) == [
            ("MEMORY", "64"),
            ("VCPU", "2"),
        ]


class TestRetries:
    def test_until_it_succeeds(self, batch: Any) -> None:
        job = run(batch, '[ "$AWS_BATCH_JOB_ATTEMPT" = 3 ]', retryStrategy={"attempts": 5})
        assert job["status"] == "SUCCEEDED"
        assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [1, 1, 0]
        assert job["retryStrategy"]["attempts"] == 5

    def test_the_job_s_strategy_replaces_the_definition_s(self, batch: Any) -> None:
        definition = register(batch, "exit 1", retryStrategy={"attempts": 5})
        assert len(ended(batch, submit(batch, definition, retryStrategy={"attempts": 2}))["attempts"]) == 2
        assert len(ended(batch, submit(batch, definition))["attempts"]) == 5

    def test_between_two_attempts_a_job_is_not_stopped(self, batch: Any, gate: Gate) -> None:
        """Metaflow takes `stoppedAt` for the end of a job."""
        queue = new_queue(batch, new_environment(batch, vcpus=1))
        definition = register(batch, f"{gate.script}; exit 1")
        job_id = submit(batch, definition, queue=queue, retryStrategy={"attempts": 2})
        reached(batch, job_id, "RUNNING")
        update_environment_to_zero(batch, queue)
        gate.open()
        job = until(lambda: (job := describe(batch, job_id))["attempts"] and job, "the end of the first attempt")
        assert job["status"] == "RUNNABLE"
        assert "stoppedAt" not in job
        assert job["container"]["exitCode"] == 1

    @pytest.mark.parametrize(
        ("rules", "attempts"),
        [
            pytest.param([{"onExitCode": "7", "action": "EXIT"}], 1, id="exit code says exit"),
            pytest.param([{"onExitCode": "8", "action": "EXIT"}], 3, id="no match is a retry"),
            pytest.param([{"onExitCode": "7", "action": "retry"}, {"onReason": "*", "action": "EXIT"}], 3, id="first"),
            pytest.param([{"onExitCode": "7*", "action": "exit"}], 1, id="prefix, lower case"),
            pytest.param([{"onReason": "*", "action": "EXIT"}], 1, id="star matches an absent reason"),
            pytest.param([{"onStatusReason": "Essential*", "action": "EXIT"}], 1, id="status reason"),
            pytest.param([{"onStatusReason": "essential*", "action": "EXIT"}], 3, id="case counts"),
            pytest.param([{"onStatusReason": "Host EC2*", "action": "EXIT"}], 3, id="another status reason"),
            pytest.param(
                [{"onExitCode": "7", "onStatusReason": "Host EC2*", "action": "EXIT"}], 3, id="all conditions"
            ),
        ],
    )
    def test_exit_rules(self, batch: Any, rules: list[dict[str, str]], attempts: int) -> None:
        job = run(batch, "exit 7", retryStrategy={"attempts": 3, "evaluateOnExit": rules})
        assert job["status"] == "FAILED"
        assert len(job["attempts"]) == attempts


def update_environment_to_zero(batch: Any, queue: str) -> None:
    """Nothing more starts in this queue."""
    [found] = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    environment = found["computeEnvironmentOrder"][0]["computeEnvironment"]
    batch.update_compute_environment(computeEnvironment=environment, state="DISABLED")


class TestTimeouts:
    def test_the_definition_s_and_the_job_s(self, batch: Any, gate: Gate) -> None:
        definition = register(batch, gate.script, timeout={"attemptDurationSeconds": 600})
        ours = submit(batch, definition, timeout={"attemptDurationSeconds": 300})
        theirs = submit(batch, definition, timeout={})
        assert describe(batch, ours)["timeout"] == {"attemptDurationSeconds": 300}
        assert describe(batch, theirs)["timeout"] == {"attemptDurationSeconds": 600}


class TestEndedByRequest:
    def test_terminating_a_running_job(self, batch: Any, logs: Any, gate: Gate) -> None:
        definition = register(batch, f"trap 'echo told; exit 9' TERM; echo up; {gate.script}")
        job_id = submit(batch, definition, retryStrategy={"attempts": 5})
        job = reached(batch, job_id, "RUNNING")
        until(lambda: log_lines(logs, job), "its first line")
        batch.terminate_job(jobId=job_id, reason="enough: é")
        job = ended(batch, job_id)
        assert (job["status"], job["statusReason"]) == ("FAILED", "enough: é")
        assert job["isTerminated"] is True
        assert job["isCancelled"] is False
        assert job["container"]["exitCode"] == 9
        assert len(job["attempts"]) == 1
        lines = log_lines(logs, job)
        assert (lines[0], lines[-1]) == ("up", "told")

    def test_cancelling_a_running_job_changes_nothing(self, batch: Any, gate: Gate) -> None:
        job_id = submit(batch, register(batch, gate.script))
        reached(batch, job_id, "RUNNING")
        batch.cancel_job(jobId=job_id, reason="too late")
        assert describe(batch, job_id)["status"] == "RUNNING"
        gate.open()
        job = ended(batch, job_id)
        assert (job["status"], job["isCancelled"]) == ("SUCCEEDED", False)

    @pytest.mark.parametrize("operation", ["cancel_job", "terminate_job"])
    def test_a_job_that_waits(self, batch: Any, gate: Gate, operation: str) -> None:
        blocker = submit(batch, register(batch, gate.script))
        pending = submit(batch, register(batch), dependsOn=[{"jobId": blocker}])
        queue = new_queue(batch, new_environment(batch, state="DISABLED"))
        runnable = submit(batch, register(batch), queue=queue)
        assert describe(batch, pending)["status"] == "PENDING"
        assert describe(batch, runnable)["status"] == "RUNNABLE"
        for job_id in (pending, runnable):
            getattr(batch, operation)(jobId=job_id, reason="not needed")
            job = ended(batch, job_id)
            assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "not needed", [])
            assert job["isCancelled"] is (operation == "cancel_job")
            assert job["isTerminated"] is (operation == "terminate_job")
            assert "stoppedAt" in job
            assert "startedAt" not in job

    @pytest.mark.parametrize("operation", ["cancel_job", "terminate_job"])
    def test_a_job_that_has_ended_or_never_was(self, batch: Any, operation: str) -> None:
        job = run(batch, "true")
        for job_id in (
            job["jobId"],
            job["jobArn"],
            UNKNOWN_JOB,
            "no id at all",
            f"{UNKNOWN_JOB}:3",
            f"{UNKNOWN_JOB}#0",
        ):
            getattr(batch, operation)(jobId=job_id, reason="x")
        assert describe(batch, job["jobId"]) == job

    def test_by_arn(self, server: ServerProcess, batch: Any, gate: Gate) -> None:
        job_id = submit(batch, register(batch, gate.script))
        batch.terminate_job(jobId=server.arn(f"job/{job_id}"), reason="by ARN")
        assert ended(batch, job_id)["statusReason"] == "by ARN"


class TestQueues:
    def test_a_disabled_queue_still_runs_what_it_has(self, batch: Any, gate: Gate) -> None:
        queue = new_queue(batch)
        blocker = submit(batch, register(batch, gate.script), queue=queue)
        waiting = submit(batch, register(batch), queue=queue, dependsOn=[{"jobId": blocker}])
        update_queue(batch, queue, state="DISABLED")
        gate.open()
        assert ended(batch, waiting)["status"] == "SUCCEEDED"

    def test_a_deleted_queue_ends_its_jobs(self, batch: Any, gate: Gate) -> None:
        queue = new_queue(batch)
        running = submit(batch, register(batch, gate.script), queue=queue, retryStrategy={"attempts": 3})
        waiting = submit(batch, register(batch), queue=queue, dependsOn=[{"jobId": running}])
        array = submit(batch, register(batch), queue=queue, dependsOn=[{"jobId": running}], arrayProperties={"size": 3})
        reached(batch, running, "RUNNING")
        update_queue(batch, queue, state="DISABLED")
        batch.delete_job_queue(jobQueue=queue)
        for job_id in (running, waiting, array, f"{array}:1"):
            job = ended(batch, job_id)
            assert (job["status"], job["statusReason"]) == ("FAILED", "JobQueue deleted")
        until(lambda: not batch.describe_job_queues(jobQueues=[queue])["jobQueues"], "the queue's end")
        assert describe(batch, running)["jobQueue"].endswith(f"job-queue/{queue}")

    def test_order_is_by_submission(self, batch: Any, gate: Gate) -> None:
        queue = new_queue(batch, new_environment(batch, vcpus=1))
        blocker = submit(batch, register(batch, gate.script), queue=queue)
        definition = register(batch)
        jobs = [submit(batch, definition, queue=queue) for _ in range(5)]
        gate.open()
        starts = [ended(batch, job_id)["startedAt"] for job_id in [blocker, *jobs]]
        assert starts == sorted(starts)

    def test_a_job_that_can_never_fit_says_so_at_once(self, batch: Any) -> None:
        job_id = submit(batch, register(batch, container_vcpus="1000"))
        follower = run(batch, "true")
        assert follower["status"] == "SUCCEEDED", "it must not hold up the others"
        job = describe(batch, job_id)
        assert job["status"] == "RUNNABLE"
        assert job["statusReason"].startswith(
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement"
        )
        assert "1000 vCPU" in job["statusReason"]
        batch.terminate_job(jobId=job_id, reason="cleared away")

    def test_a_compute_environment_that_is_too_small_by_its_setting(self, batch: Any) -> None:
        queue = new_queue(batch, new_environment(batch, vcpus=1))
        job_id = submit(batch, register(batch, container_vcpus="2"), queue=queue)
        reason = until(lambda: describe(batch, job_id).get("statusReason"), "a reason")
        assert reason.startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - ")
        environment = batch.describe_job_queues(jobQueues=[queue])["jobQueues"][0]["computeEnvironmentOrder"][0]
        batch.update_compute_environment(
            computeEnvironment=environment["computeEnvironment"], computeResources={"maxvCpus": 4}
        )
        assert ended(batch, job_id)["status"] == "SUCCEEDED"


def test_deregistering_a_definition_leaves_its_jobs_alone(batch: Any, gate: Gate) -> None:
    definition = register(batch, gate.script)
    blocker = submit(batch, definition)
    waiting = submit(batch, definition, dependsOn=[{"jobId": blocker}])
    batch.deregister_job_definition(jobDefinition=definition)
    gate.open()
    assert ended(batch, waiting)["status"] == "SUCCEEDED"
    assert describe(batch, waiting)["jobDefinition"] == definition


def test_a_job_is_described_right_after_its_submission(batch: Any) -> None:
    definition = register(batch)
    for _ in range(20):
        job_id = submit(batch, definition)
        assert describe(batch, job_id)["jobId"] == job_id


def test_unknown_ids_are_left_out(server: ServerProcess, batch: Any) -> None:
    job_id = submit(batch, register(batch))
    asked = [
        UNKNOWN_JOB,
        job_id,
        server.arn(f"job/{job_id}"),
        "nonsense",
        f"{job_id}:0",
        f"{job_id}#0",
        "\ud7ff",
        "a:b:c",
    ]
    assert {job["jobId"] for job in batch.describe_jobs(jobs=asked)["jobs"]} == {job_id}
    assert batch.describe_jobs(jobs=[])["jobs"] == []


def test_a_hundred_jobs_in_one_question(batch: Any) -> None:
    definition = register(batch)
    ids = [submit(batch, definition) for _ in range(100)]
    assert {job["jobId"] for job in batch.describe_jobs(jobs=ids)["jobs"]} == set(ids)


def test_what_a_job_was_asked_stays_when_its_definition_moves_on(batch: Any, logs: Any) -> None:
    name = new_name("moving")
    register(batch, "echo first", name=name)
    queue = new_queue(batch, new_environment(batch, vcpus=1))
    first = submit(batch, name, queue=queue)
    register(batch, "echo second", name=name)
    second = submit(batch, name, queue=queue)
    old = submit(batch, f"{name}:1", queue=queue)
    jobs = [ended(batch, job_id) for job_id in (first, second, old)]
    assert [job["jobDefinition"].rpartition(":")[2] for job in jobs] == ["1", "2", "1"]
    assert [log_lines(logs, job) for job in jobs] == [["first"], ["second"], ["first"]]


def test_the_largest_request_that_is_allowed_runs(batch: Any, logs: Any) -> None:
    definition = register(batch, 'printf %s "$LONG" | wc -c')
    value = "x" * (30 * 1024 - 400)
    override = {"environment": [{"name": "LONG", "value": value}]}
    assert len(json.dumps(override)) < 30 * 1024
    job = ended(batch, submit(batch, definition, containerOverrides=override))
    assert log_lines(logs, job) == [str(len(value))]


def test_container_as_registered(batch: Any) -> None:
    """What the process runtime cannot give is kept and shown all the same."""
    given = container("true", user="0", readonlyRootFilesystem=False, privileged=True)
    name = new_name("full")
    batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=given)
    job = ended(batch, submit(batch, name))
    assert {member: job["container"][member] for member in given} == given
