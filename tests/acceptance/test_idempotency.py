"""What may be asked for twice: a repetition with the same client token, or of a request that ends or removes something, succeeds
and has no further effect. (SubmitJob and RegisterJobDefinition have no such thing: each call makes another.)"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from training import new_service_environment, new_training_queue, payload, submit_training, trained

from waiting import until
from work import (
    Gate,
    container,
    describe,
    ended,
    new_environment,
    new_name,
    new_queue,
    reached,
    refused,
    register,
    submit,
)


class TestClientTokens:
    def test_a_service_job_is_submitted_once(self, batch: Any) -> None:
        request = {
            "jobName": new_name("once"),
            "jobQueue": new_training_queue(batch),
            "serviceRequestPayload": payload(),
            "serviceJobType": "SAGEMAKER_TRAINING",
            "clientToken": new_name("token"),
        }
        with ThreadPoolExecutor(8) as pool:
            answers = [*pool.map(lambda _: batch.submit_service_job(**request), range(16))]
        [job_id] = {answer["jobId"] for answer in answers}
        assert {(answer["jobName"], answer["jobArn"]) for answer in answers} == {
            (request["jobName"], answers[0]["jobArn"])
        }
        trained(batch, job_id)
        assert batch.submit_service_job(**request)["jobId"] == job_id, "also when the job is over"
        filters = [{"name": "JOB_NAME", "values": [request["jobName"]]}]
        listed = batch.list_service_jobs(jobQueue=request["jobQueue"], filters=filters)["jobSummaryList"]
        assert [job["jobId"] for job in listed] == [job_id]
        for change in ({"jobName": "other"}, {"serviceRequestPayload": payload("false")}, {"tags": {"a": "b"}}):
            assert "was used before, for a different request" in refused(
                batch.submit_service_job, **{**request, **change}
            )
        assert batch.submit_service_job(**{**request, "clientToken": new_name("token")})["jobId"] != job_id

    def test_a_quantity_is_changed_once(self, batch: Any) -> None:
        names = [new_name("licence") for _ in range(2)]
        for name in names:
            batch.create_consumable_resource(consumableResourceName=name, totalQuantity=5)
        request = {"consumableResource": names[0], "operation": "ADD", "quantity": 2, "clientToken": "twice"}
        with ThreadPoolExecutor(8) as pool:
            answers = [*pool.map(lambda _: batch.update_consumable_resource(**request), range(16))]
        assert {answer["totalQuantity"] for answer in answers} == {7}
        text = "clientToken twice was used for another update within the last 8 hours"
        for change in ({"quantity": 3}, {"operation": "REMOVE"}):
            assert text in refused(batch.update_consumable_resource, **{**request, **change})
        assert batch.describe_consumable_resource(consumableResource=names[0])["totalQuantity"] == 7
        other = batch.update_consumable_resource(**{**request, "consumableResource": names[1]})
        assert other["totalQuantity"] == 7, "a token belongs to its resource"


def test_every_submission_and_every_registration_counts(batch: Any) -> None:
    definition = {"jobDefinitionName": new_name("again"), "type": "container", "containerProperties": container()}
    assert [batch.register_job_definition(**definition)["revision"] for _ in range(2)] == [1, 2]
    name = new_name("again")
    assert len({submit(batch, definition["jobDefinitionName"], name=name) for _ in range(2)}) == 2


def a_queue(batch: Any) -> str:
    return new_queue(batch, state="DISABLED")


def an_environment(batch: Any) -> str:
    return new_environment(batch, state="DISABLED")


def a_service_environment(batch: Any) -> str:
    return new_service_environment(batch, state="DISABLED")


def a_policy(batch: Any) -> str:
    return str(batch.create_scheduling_policy(name=new_name("policy"))["arn"])


def a_resource(batch: Any) -> str:
    return str(batch.create_consumable_resource(consumableResourceName=new_name("resource"))["consumableResourceArn"])


REMOVALS: list[tuple[str, str, str, str, Callable[[Any], str]]] = [
    ("delete_job_queue", "jobQueue", "describe_job_queues", "jobQueues", a_queue),
    (
        "delete_compute_environment",
        "computeEnvironment",
        "describe_compute_environments",
        "computeEnvironments",
        an_environment,
    ),
    (
        "delete_service_environment",
        "serviceEnvironment",
        "describe_service_environments",
        "serviceEnvironments",
        a_service_environment,
    ),
    ("delete_scheduling_policy", "arn", "describe_scheduling_policies", "arns", a_policy),
]


@pytest.mark.parametrize(
    ("delete", "member", "describing", "named", "make"), REMOVALS, ids=[row[0] for row in REMOVALS]
)
def test_what_is_gone_may_be_deleted_again(
    batch: Any, delete: str, member: str, describing: str, named: str, make: Callable[[Any], str]
) -> None:
    found = make(batch)

    def is_gone() -> bool:
        answer = getattr(batch, describing)(**{named: [found]})
        del answer["ResponseMetadata"]
        return list(answer.values()) == [[]]

    assert not is_gone()
    getattr(batch, delete)(**{member: found})
    until(is_gone, found)
    getattr(batch, delete)(**{member: found})


def test_a_consumable_resource_that_is_gone_may_be_deleted_again(batch: Any) -> None:
    arn = a_resource(batch)
    for _ in range(2):
        batch.delete_consumable_resource(consumableResource=arn)
    assert "not found" in refused(batch.describe_consumable_resource, consumableResource=arn)


def test_a_definition_may_be_deregistered_again(batch: Any) -> None:
    arn = register(batch)
    for _ in range(2):
        batch.deregister_job_definition(jobDefinition=arn)
    [definition] = batch.describe_job_definitions(jobDefinitions=[arn])["jobDefinitions"]
    assert definition["status"] == "INACTIVE"


def test_a_job_is_ended_once(batch: Any, gate: Gate) -> None:
    running = submit(batch, register(batch, gate.script))
    reached(batch, running, "RUNNING")
    waiting = submit(batch, register(batch), dependsOn=[{"jobId": running}])
    batch.cancel_job(jobId=waiting, reason="first")
    batch.cancel_job(jobId=waiting, reason="second")
    batch.cancel_jobs(jobs=[waiting], reason="third")
    batch.terminate_job(jobId=running, reason="first")
    batch.terminate_job(jobId=running, reason="second")
    batch.terminate_jobs(jobs=[running, waiting], reason="third")
    assert ended(batch, running)["statusReason"] == "first"
    batch.terminate_job(jobId=running, reason="fourth")
    batch.cancel_job(jobId=running, reason="fifth")
    for job_id, cancelled in ((running, False), (waiting, True)):
        job = describe(batch, job_id)
        assert (job["status"], job["statusReason"]) == ("FAILED", "first")
        assert (job["isCancelled"], job["isTerminated"]) == (cancelled, not cancelled)


def test_a_service_job_is_ended_once(batch: Any) -> None:
    queue = new_training_queue(batch, new_service_environment(batch, state="DISABLED"))
    job_id = submit_training(batch, queue, payload())
    batch.terminate_service_job(jobId=job_id, reason="first")
    batch.terminate_service_job(jobId=job_id, reason="second")
    assert batch.terminate_service_jobs(jobs=[job_id], reason="third")["successful"] == [job_id]
    assert trained(batch, job_id)["statusReason"] == "first"


def test_tags_may_be_set_and_removed_again(batch: Any) -> None:
    arn = a_resource(batch)
    for _ in range(2):
        batch.tag_resource(resourceArn=arn, tags={"a": "1"})
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "1"}
    for _ in range(2):
        batch.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {}
