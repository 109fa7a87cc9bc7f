"""Service jobs through the API, on the process runtime: SageMaker training jobs that really run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_why import ask
from training import (
    new_service_environment,
    new_training_queue,
    payload,
    settled_service_environment,
    submit_training,
    trained,
    training_log,
    training_reached,
)

from server_process import ServerProcess
from waiting import until
from work import Gate, new_name, refused, register, settled_queue, submit

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the process runtime shows files only as root")

TRAIN = """
import json, os, pathlib, sys
root = pathlib.Path("/opt/ml")
parameters = json.loads((root / "input/config/hyperparameters.json").read_text())
resources = json.loads((root / "input/config/resourceconfig.json").read_text())
channels = json.loads((root / "input/config/inputdataconfig.json").read_text())
lines = {name: (root / "input/data" / name / "lines.txt").read_text().split() for name in channels}
print(json.dumps([parameters, resources, channels, lines, os.environ["STAGE"], os.environ["TRAINING_JOB_NAME"]]))
(root / "output/data/metrics").write_text("unused")
if "fail" in parameters:
    (root / "output/failure").write_text(parameters["fail"])
    sys.exit(int(parameters["code"]))
(root / "model" / resources["current_host"]).write_text(parameters["epochs"])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(TRAIN)
    return path


def test_a_training_job_has_what_sagemaker_gives_it(
    batch: Any, logs: Any, server: ServerProcess, tmp_path: Path, script: Path
) -> None:
    (tmp_path / "lines.txt").write_text("a b c")
    queue = new_training_queue(batch)
    given = payload(
        f"python3 {script}",
        HyperParameters={"epochs": "3", "rate": "0.1"},
        Environment={"STAGE": "test"},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": "text/plain",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"file://{tmp_path}"}},
            }
        ],
    )
    job_id = submit_training(batch, queue, given, jobName="fit_all", tags={"team": "vision"}, schedulingPriority=7)
    job = trained(batch, job_id)
    assert (job["status"], job["statusReason"]) == ("SUCCEEDED", "Received status from SageMaker: Completed")
    assert job["jobName"] == "fit_all"
    assert job["jobQueue"].endswith(f":job-queue/{queue}")
    assert job["serviceRequestPayload"] == given
    assert (job["serviceJobType"], job["schedulingPriority"], job["isTerminated"]) == ("SAGEMAKER_TRAINING", 7, False)
    assert job["tags"] == {"team": "vision"}
    assert job["capacityUsage"] == [{"capacityUnit": "NUM_INSTANCES", "quantity": 1}]
    assert job["createdAt"] <= job["scheduledAt"] <= job["startedAt"] <= job["stoppedAt"]
    [attempt] = job["attempts"]
    resource = attempt["serviceResourceId"]
    assert resource["name"] == "TrainingJobArn"
    assert job["latestAttempt"] == {"serviceResourceId": resource}
    account = server.connection["account_id"]
    name = resource["value"].removeprefix(f"arn:aws:sagemaker:us-east-1:{account}:training-job/")
    assert name.startswith("AWSBatchtraining")
    assert (attempt["startedAt"], attempt["stoppedAt"]) == (job["startedAt"], job["stoppedAt"])
    assert attempt["statusReason"] == job["statusReason"]

    [line] = training_log(logs, name)
    parameters, resources, channels, lines, stage, training_job = json.loads(line)
    assert parameters == {"epochs": "3", "rate": "0.1"}
    assert (resources["current_host"], resources["hosts"]) == ("algo-1", ["algo-1"])
    assert resources["current_instance_type"] == "ml.m5.large"
    assert channels["train"]["ContentType"] == "text/plain"
    assert lines == {"train": ["a", "b", "c"]}
    assert (stage, training_job) == ("test", name)
    assert (server.data_dir / "training" / job_id / "1" / "model" / "algo-1").read_text() == "3"


def test_a_failure_file_becomes_the_reason_and_retries_go_by_it(batch: Any, script: Path) -> None:
    queue = new_training_queue(batch)
    given = payload(
        f"python3 {script}", HyperParameters={"fail": "loss is nan", "code": "4"}, Environment={"STAGE": "test"}
    )
    text = "Received status from SageMaker: AlgorithmError: loss is nan, exit code: 4"

    def attempts(*entries: dict[str, str]) -> list[Any]:
        strategy = {"attempts": 3, **({"evaluateOnExit": [*entries]} if entries else {})}
        job = trained(batch, submit_training(batch, queue, given, retryStrategy=strategy))
        assert (job["status"], job["statusReason"]) == ("FAILED", text)
        assert job["retryStrategy"] == strategy
        assert {attempt["statusReason"] for attempt in job["attempts"]} == {text}
        return [attempt["serviceResourceId"]["value"] for attempt in job["attempts"]]

    names = attempts()
    assert len(set(names)) == 3
    assert len(attempts({"action": "EXIT", "onStatusReason": "Received status from SageMaker: AlgorithmError*"})) == 1
    assert len(attempts({"action": "EXIT", "onStatusReason": "*loss is nan*"})) == 1
    assert len(attempts({"action": "EXIT", "onStatusReason": "Something else"})) == 3


def test_a_retry_that_succeeds(batch: Any, tmp_path: Path) -> None:
    queue = new_training_queue(batch)
    once = f"test -e {tmp_path}/flag || {{ touch {tmp_path}/flag; exit 1; }}"
    job_id = submit_training(batch, queue, payload(once), retryStrategy={"attempts": 2})
    job = trained(batch, job_id)
    assert (job["status"], len(job["attempts"])) == ("SUCCEEDED", 2)
    assert job["latestAttempt"]["serviceResourceId"] == job["attempts"][1]["serviceResourceId"]
    assert job["attempts"][0]["statusReason"] == "Received status from SageMaker: AlgorithmError: , exit code: 1"


def test_two_instances_start_together_and_keep_one_model(
    batch: Any, logs: Any, server: ServerProcess, tmp_path: Path
) -> None:
    """Each waits for the other, so both must run at the same time."""
    queue = new_training_queue(batch)
    program = tmp_path / "meet.sh"
    program.write_text(
        f"""
        for me in algo-1 algo-2; do
            grep -q "current_host.: .$me" /opt/ml/input/config/resourceconfig.json && break
        done
        touch {tmp_path}/$me /opt/ml/model/$me
        until [ -e {tmp_path}/algo-1 ] && [ -e {tmp_path}/algo-2 ]; do sleep 0.02; done
        echo $me
        """
    )
    job = trained(batch, submit_training(batch, queue, payload(f"sh {program}", instances=2)))
    assert job["status"] == "SUCCEEDED"
    assert job["capacityUsage"] == [{"capacityUnit": "NUM_INSTANCES", "quantity": 2}]
    name = job["attempts"][0]["serviceResourceId"]["value"].rpartition("/")[2]
    assert [training_log(logs, name, node) for node in (1, 2)] == [["algo-1"], ["algo-2"]]
    model = server.data_dir / "training" / job["jobId"] / "1" / "model"
    assert sorted(os.listdir(model)) == ["algo-1", "algo-2"]


def test_one_instance_that_fails_ends_the_others(batch: Any) -> None:
    queue = new_training_queue(batch)
    script = "grep -q 'current_host\": \"algo-2' /opt/ml/input/config/resourceconfig.json && exit 9; sleep 1000 & wait"
    job = trained(batch, submit_training(batch, queue, payload(script, instances=2)))
    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)
    assert job["statusReason"] == "Received status from SageMaker: AlgorithmError: , exit code: 9"


def test_jobs_wait_for_the_capacity_of_their_environment(batch: Any, server: ServerProcess, gate: Gate) -> None:
    environment = new_service_environment(batch, 1)
    queue = new_training_queue(batch, environment)
    first = submit_training(batch, queue, payload(gate.script))
    training_reached(batch, first, "RUNNING")
    second = submit_training(batch, queue, payload())
    too_large = submit_training(batch, queue, payload(instances=2))
    assert batch.describe_service_job(jobId=second)["status"] == "RUNNABLE"
    status, why = ask(server, {"jobId": second})
    assert status == 200
    assert "1 of its 1 instances" in why["reason"]
    assert [line["status"] for line in why["history"]][:2] == ["SUBMITTED", "RUNNABLE"]
    gate.open()
    assert trained(batch, second)["status"] == "SUCCEEDED"
    waiting = training_reached(batch, too_large, "RUNNABLE")
    until(
        lambda: (
            "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE - "
            in batch.describe_service_job(jobId=too_large).get("statusReason", "")
        ),
        lambda: f"a reason: {waiting}",
    )
    batch.update_service_environment(
        serviceEnvironment=environment, capacityLimits=[{"maxCapacity": 2, "capacityUnit": "NUM_INSTANCES"}]
    )
    assert trained(batch, too_large)["status"] == "SUCCEEDED"


def test_capacity_by_instance_type(batch: Any) -> None:
    queue = new_training_queue(batch, new_service_environment(batch, 1, "ml.m5.large"))
    job = trained(batch, submit_training(batch, queue, payload()))
    assert job["capacityUsage"] == [{"capacityUnit": "ml.m5.large", "quantity": 1}]
    other = submit_training(batch, queue, payload(instance_type="ml.c5.xlarge"))
    until(
        lambda: (
            batch.describe_service_job(jobId=other)
            .get("statusReason", "")
            .endswith("has 0 instances of type ml.c5.xlarge.")
        ),
        "a reason",
    )
    batch.terminate_service_job(jobId=other, reason="never")


def test_terminated_while_it_runs_and_while_it_waits(batch: Any, gate: Gate) -> None:
    queue = new_training_queue(batch, instances=1)
    first = submit_training(batch, queue, payload(f"trap 'exit 0' TERM; {gate.script}"))
    training_reached(batch, first, "RUNNING")
    second, third = (submit_training(batch, queue, payload()) for _ in range(2))
    answer = batch.terminate_service_jobs(jobs=[third, "00000000-0000-4000-8000-000000000000"], reason="both")
    assert (answer["successful"], answer["errors"]) == ([third, "00000000-0000-4000-8000-000000000000"], [])
    batch.terminate_service_job(jobId=second, reason="not wanted")
    batch.terminate_service_job(
        jobId=f"arn:aws:batch:us-east-1:{_account(batch, first)}:service-job/{first}", reason="enough"
    )
    for job_id, reason, attempts in ((first, "enough", 1), (second, "not wanted", 0), (third, "both", 0)):
        job = trained(batch, job_id)
        assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", reason, True)
        assert len(job["attempts"]) == attempts
    batch.terminate_service_job(jobId=first, reason="again")
    assert trained(batch, first)["statusReason"] == "enough"


def _account(batch: Any, job_id: str) -> str:
    return str(batch.describe_service_job(jobId=job_id)["jobArn"].split(":")[4])


def test_the_maximum_run_time(batch: Any) -> None:
    queue = new_training_queue(batch)
    given = payload("sleep 1000 & wait", StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = trained(batch, submit_training(batch, queue, given, retryStrategy={"attempts": 2}))
    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)
    assert job["statusReason"] == (
        "Received status from SageMaker: MaxRuntimeExceeded: Training job runtime exceeded MaxRuntimeInSeconds provided"
    )


def test_a_program_that_is_not_there(batch: Any) -> None:
    queue = new_training_queue(batch)
    algorithm = {"TrainingImage": "trainer:1", "TrainingInputMode": "File"}
    job = trained(batch, submit_training(batch, queue, payload(AlgorithmSpecification=algorithm)))
    assert job["status"] == "FAILED"
    assert job["statusReason"].startswith("Received status from SageMaker: ClientError: CannotStartContainerError: ")
    assert '"train"' in job["statusReason"]
    assert "startedAt" not in job


def test_listing(batch: Any, gate: Gate) -> None:
    queue = new_training_queue(batch, instances=1)
    names = [new_name("Listed") for _ in range(3)]
    before = batch.describe_service_environments()["serviceEnvironments"]
    assert before
    ids = [submit_training(batch, queue, payload(gate.script), jobName=name) for name in names]
    training_reached(batch, ids[0], "RUNNING")

    def listed(**request: Any) -> list[str]:
        pages = batch.get_paginator("list_service_jobs").paginate(
            jobQueue=queue, **request, PaginationConfig={"PageSize": 1}
        )
        return [job["jobId"] for page in pages for job in page["jobSummaryList"]]

    assert listed() == [ids[0]]
    assert listed(jobStatus="RUNNABLE") == [ids[2], ids[1]]
    assert listed(jobStatus="SCHEDULED") == []
    assert listed(filters=[{"name": "JOB_NAME", "values": ["listed*"]}]) == ids[::-1]
    assert listed(filters=[{"name": "JOB_NAME", "values": [names[1].lower()]}]) == [ids[1]]
    assert listed(filters=[{"name": "AFTER_CREATED_AT", "values": ["0"]}]) == ids[::-1]
    assert listed(filters=[{"name": "BEFORE_CREATED_AT", "values": ["0"]}]) == []
    assert listed(filters=[{"name": "SHARE_IDENTIFIER", "values": ["a"]}], jobStatus="RUNNABLE") == []
    assert listed(filters=[{"name": "QUOTA_SHARE_NAME", "values": ["a"]}]) == []
    page = batch.list_service_jobs(jobQueue=queue, jobStatus="RUNNABLE", maxResults=1)
    assert [job["jobId"] for job in page["jobSummaryList"]] == [ids[2]]
    rest = batch.list_service_jobs(jobQueue=queue, jobStatus="RUNNABLE", nextToken=page["nextToken"])
    assert [job["jobId"] for job in rest["jobSummaryList"]] == [ids[1]]
    [summary] = batch.list_service_jobs(jobQueue=queue)["jobSummaryList"]
    detail = batch.describe_service_job(jobId=ids[0])
    shared = ("jobArn", "jobName", "createdAt", "scheduledAt", "startedAt", "status", "capacityUsage", "latestAttempt")
    assert {name: summary[name] for name in shared} == {name: detail[name] for name in shared}
    assert summary["serviceJobType"] == "SAGEMAKER_TRAINING"
    assert "isTerminated" not in summary

    assert batch.list_jobs(jobQueue=queue)["jobSummaryList"] == []
    assert batch.describe_jobs(jobs=ids)["jobs"] == []
    batch.terminate_job(jobId=ids[0], reason="no such job")
    assert batch.describe_service_job(jobId=ids[0])["status"] == "RUNNING"
    for text, request in [
        ("Only one filter can be used at a time", {"filters": [{"name": "JOB_NAME", "values": ["a"]}] * 2}),
        ("Filter JOB_DEFINITION cannot be used", {"filters": [{"name": "JOB_DEFINITION", "values": ["a"]}]}),
        ("Filter QUOTA_SHARE_NAME must have exactly", {"filters": [{"name": "QUOTA_SHARE_NAME", "values": []}]}),
        ("nextToken is not valid", {"nextToken": "forged"}),
        ("JobQueue none not found.", {"jobQueue": "none"}),
    ]:
        assert text in refused(batch.list_service_jobs, **{"jobQueue": queue, **request})
    assert "jobQueue must be given" in refused(batch.list_service_jobs)


def test_the_priority_can_be_changed_until_the_end(batch: Any, gate: Gate) -> None:
    queue = new_training_queue(batch)
    job_id = submit_training(batch, queue, payload(gate.script), schedulingPriority=1)
    training_reached(batch, job_id, "RUNNING")
    answer = batch.update_service_job(jobId=job_id, schedulingPriority=9)
    assert (answer["jobId"], answer["jobArn"]) == (job_id, batch.describe_service_job(jobId=job_id)["jobArn"])
    assert batch.describe_service_job(jobId=job_id)["schedulingPriority"] == 9
    refused(batch.update_service_job, jobId=job_id, schedulingPriority=10_000)
    gate.open()
    trained(batch, job_id)
    assert "has ended" in refused(batch.update_service_job, jobId=job_id, schedulingPriority=2)


def test_tags_of_service_jobs(batch: Any) -> None:
    queue = new_training_queue(batch)
    job_id = submit_training(batch, queue, payload(), tags={"a": "1", "b": "2"})
    arn = batch.describe_service_job(jobId=job_id)["jobArn"]
    batch.tag_resource(resourceArn=arn, tags={"c": "3"})
    batch.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2", "c": "3"}
    assert batch.describe_service_job(jobId=job_id)["tags"] == {"b": "2", "c": "3"}
    assert "not found" in refused(batch.list_tags_for_resource, resourceArn=f"{arn}0")


def test_refused_submissions(batch: Any) -> None:
    queue = new_training_queue(batch)
    good = {
        "jobName": "x",
        "jobQueue": queue,
        "serviceRequestPayload": payload(),
        "serviceJobType": "SAGEMAKER_TRAINING",
    }
    for text, changes in [
        ("JobQueue none not found.", {"jobQueue": "none"}),
        ("is of type ECS; service jobs need one of type SAGEMAKER_TRAINING", {"jobQueue": "default"}),
        ("Job name should match valid pattern", {"jobName": "a b"}),
        ("serviceRequestPayload is not valid JSON", {"serviceRequestPayload": "{"}),
        ("missing required field `AlgorithmSpecification`", {"serviceRequestPayload": "{}"}),
        ("$.ResourceConfig.InstanceCount", {"serviceRequestPayload": payload(instances=0)}),
        (
            "must be a SageMaker instance type such as ml.m5.large",
            {"serviceRequestPayload": payload(instance_type="m5")},
        ),
        ("$.HyperParameters", {"serviceRequestPayload": payload(HyperParameters={"epochs": 3})}),
        ("$.StoppingCondition", {"serviceRequestPayload": payload(StoppingCondition={"MaxRuntimeInSeconds": 0})}),
        ("$.AlgorithmSpecification", {"serviceRequestPayload": payload(image="")}),
        (
            "the data of channel train cannot be used",
            {
                "serviceRequestPayload": payload(
                    InputDataConfig=[
                        {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/train"}}}
                    ]
                )
            },
        ),
        ("serviceRequestPayload must be at most 10 KiB, got 11 KiB", {"serviceRequestPayload": payload("#" * 10_300)}),
        (
            "Job size must be less than 30 KiB",
            {"tags": {f"k{n:040}": "v" * 250 for n in range(50)}, "serviceRequestPayload": payload("#" * 20_000)},
        ),
        ("RetryAttempts must be between 1 and 10, got 11", {"retryStrategy": {"attempts": 11}}),
        (
            "Evaluate on exit needs onStatusReason",
            {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "RETRY"}]}},
        ),
        (
            "Evaluate on exit condition contains restricted characters",
            {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onStatusReason": "a*b"}]}},
        ),
        ("attemptDurationSeconds must be at least 60, got 59", {"timeoutConfig": {"attemptDurationSeconds": 59}}),
        ("shareIdentifier cannot be used", {"shareIdentifier": "a"}),
        ("quotaShareName cannot be used", {"quotaShareName": "a"}),
        (
            "preemptionRetriesBeforeTermination must not be negative",
            {"preemptionConfiguration": {"preemptionRetriesBeforeTermination": -1}},
        ),
        ("cheduling", {"schedulingPriority": 10_000}),
    ]:
        assert text in refused(batch.submit_service_job, **{**good, **changes})
    assert "takes service jobs only" in refused(
        batch.submit_job, jobName="x", jobQueue=queue, jobDefinition=register(batch)
    )
    batch.update_job_queue(jobQueue=queue, state="DISABLED")
    settled_queue(batch, queue)
    assert "is not enabled" in refused(batch.submit_service_job, **good)
    assert "not found" in refused(batch.describe_service_job, jobId="none")
    assert batch.list_service_jobs(jobQueue=queue, jobStatus="FAILED")["jobSummaryList"] == []


def test_a_service_job_is_no_dependency(batch: Any) -> None:
    job_id = submit_training(batch, new_training_queue(batch), payload())
    assert job_id in refused(
        batch.submit_job,
        jobName="x",
        jobQueue="default",
        jobDefinition=register(batch),
        dependsOn=[{"jobId": job_id}],
    )


def test_deleting_the_queue_ends_its_service_jobs(batch: Any, gate: Gate) -> None:
    environment = new_service_environment(batch)
    queue = new_training_queue(batch, environment)
    job_id = submit_training(batch, queue, payload(gate.script))
    training_reached(batch, job_id, "RUNNING")
    batch.update_job_queue(jobQueue=queue, state="DISABLED")
    settled_queue(batch, queue)
    batch.update_service_environment(serviceEnvironment=environment, state="DISABLED")
    settled_service_environment(batch, environment)
    batch.delete_job_queue(jobQueue=queue)
    assert trained(batch, job_id)["statusReason"] == "JobQueue deleted"
    until(lambda: batch.describe_job_queues(jobQueues=[queue])["jobQueues"] == [], "the queue is gone")
    batch.delete_service_environment(serviceEnvironment=environment)
    until(
        lambda: batch.describe_service_environments(serviceEnvironments=[environment])["serviceEnvironments"] == [],
        "the environment is gone",
    )
    assert trained(batch, job_id)["capacityUsage"] == [{"capacityUnit": "NUM_INSTANCES", "quantity": 1}]


def test_service_jobs_and_their_tokens_survive_a_restart(new_server: Callable[..., ServerProcess], gate: Gate) -> None:
    server = new_server().start()
    batch = server.client("batch")
    queue = new_training_queue(batch)
    request = {
        "jobName": "once",
        "jobQueue": queue,
        "serviceRequestPayload": payload(f"{gate.script}; echo why > /opt/ml/output/failure; exit 2", instances=2),
        "serviceJobType": "SAGEMAKER_TRAINING",
        "clientToken": "token-1",
        "schedulingPriority": 4,
    }
    first = batch.submit_service_job(**request)
    job_id = first["jobId"]
    training_reached(batch, job_id, "RUNNING")
    waiting = submit_training(batch, queue, payload())
    assert batch.submit_service_job(**request)["jobId"] == job_id
    batch.update_service_job(jobId=job_id, schedulingPriority=5)
    before = [batch.describe_service_job(jobId=each) for each in (job_id, waiting)]
    server.kill()
    server.start()
    after = [batch.describe_service_job(jobId=each) for each in (job_id, waiting)]
    for answer in (*before, *after):
        del answer["ResponseMetadata"]
    assert after == before
    again = batch.submit_service_job(**request)
    assert {name: again[name] for name in ("jobId", "jobArn", "jobName")} == {
        name: first[name] for name in ("jobId", "jobArn", "jobName")
    }
    assert "clientToken token-1 was used before" in refused(
        batch.submit_service_job, **{**request, "serviceRequestPayload": payload("false")}
    )
    gate.open()
    job = trained(batch, job_id)
    assert job["statusReason"] == "Received status from SageMaker: AlgorithmError: why, exit code: 2"
    assert trained(batch, waiting)["status"] == "SUCCEEDED"
    assert batch.submit_service_job(**request)["jobId"] == job_id


def test_container_jobs_go_on_beside_training_jobs(batch: Any) -> None:
    queue = new_training_queue(batch)
    training = submit_training(batch, queue, payload("ls -A /opt/ml | sort"))
    container = submit(batch, register(batch, "test ! -e /opt/ml/input"))
    assert trained(batch, training)["status"] == "SUCCEEDED"
    until(lambda: batch.describe_jobs(jobs=[container])["jobs"][0]["status"] == "SUCCEEDED", "the container job")
