from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from toy_endpoint import ACCOUNT, BODY_LIMIT, REGION, Toy, call, client

ARN = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/a b/é%"


def submission(**members: Any) -> bytes:
    return json.dumps({"jobName": "a", "jobQueue": "q", "jobDefinition": "d", **members}).encode()


def test_tags_by_boto3(toy: Toy, port: int) -> None:
    batch = client(port, "batch")
    assert batch.list_tags_for_resource(resourceArn=ARN)["tags"] == {"of": ARN}
    batch.tag_resource(resourceArn=ARN, tags={"k": "v"})
    batch.untag_resource(resourceArn=ARN, tagKeys=["a b", "c+d", "é&="])
    tagged, untagged = (request for request, _ in toy.requests)
    assert (tagged.resource_arn, tagged.tags) == (ARN, {"k": "v"})
    assert (untagged.resource_arn, untagged.tag_keys) == (ARN, ["a b", "c+d", "é&="])


@pytest.mark.parametrize("safe", ["", ":", ":/"])
def test_the_arn_in_the_path_encoded_or_not(open_toy: Toy, safe: str) -> None:
    assert call(open_toy, "GET", f"/v1/tags/{quote(ARN, safe=safe)}").json() == {"tags": {"of": ARN}}


def test_untagging_needs_keys(open_toy: Toy) -> None:
    answer = call(open_toy, "DELETE", "/v1/tags/arn")
    assert (answer.status, answer.json()["message"]) == (400, "tagKeys: this member is required")


def test_the_path_decides_over_the_body(open_toy: Toy) -> None:
    answer = call(open_toy, "POST", "/v1/tags/arn%3A1", b'{"resourceArn":"other","tags":{"a":"b"}}')
    assert answer.status == 200
    assert open_toy.requests[0][0].resource_arn == "arn:1"


def test_operations_without_an_answer_say_so(open_toy: Toy) -> None:
    answer = call(open_toy, "POST", "/v1/terminatejob", b'{"jobId":"1","reason":"r"}')
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"{}", "application/json")


def test_absent_null_empty_and_unknown_members(open_toy: Toy) -> None:
    body = submission(arrayProperties={}, dependsOn=[], timeout=None, tags={}, fromTheFuture={"a": [1]})
    assert call(open_toy, "POST", "/v1/submitjob", body).status == 200
    request = open_toy.requests[0][0]
    assert request.array_properties.size is None
    assert (request.depends_on, request.timeout, request.tags) == ([], None, {})


def test_an_empty_body_is_an_empty_object(open_toy: Toy) -> None:
    answer = call(open_toy, "POST", "/v1/submitjob", b"")
    assert answer.json() == {"message": "jobName: this member is required", "__type": "ClientException"}


@pytest.mark.parametrize(("body", "message"), [
    (submission(arrayProperties={"size": "3"}), "arrayProperties.size: expected an integer, got a string"),
    (submission(arrayProperties={"size": 2.5}), "arrayProperties.size: expected an integer, got a number"),
    (submission(arrayProperties=[]), "arrayProperties: expected an object, got a list"),
    (submission(jobName=None), "jobName: expected a string, got null"),
    (submission(jobName=True), "jobName: expected a string, got a boolean"),
    (submission(dependsOn=[{"type": "ALL"}]), "dependsOn[0].type: 'ALL' is not one of N_TO_N, SEQUENTIAL"),
    (submission(retryStrategy={"evaluateOnExit": [{}]}), "retryStrategy.evaluateOnExit[0].action: this member is required"),
    (submission(containerOverrides={"command": [1]}), "containerOverrides.command[0]: expected a string, got an integer"),
    (submission(tags={"a": 1}), "tags[...]: expected a string, got an integer"),
    (submission(tags={"k" * 129: "v"}), "a key of tags: must have at most 128 characters"),
    (submission(tags={"k": "v" * 257}), "tags[...]: must have at most 256 characters"),
    (submission(tags={str(n): "" for n in range(51)}), "tags: must have at most 50 entries"),
    (submission(arrayProperties={"size": 2**63}), "arrayProperties.size: must be at most 2147483647"),
    (submission(arrayProperties={"size": 10**30}), "arrayProperties.size: must be at most 2147483647"),
    (b"[]", "The request body: expected an object, got a list"),
    (b"null", "The request body: expected an object, got null"),
    (b'{"jobName"', "The request body is not valid JSON: Input data was truncated"),
    (b'{"jobName": NaN}', "The request body is not valid JSON: invalid character (byte 12)"),
    (b'{"jobName": "\xff"}', "The request body is not valid UTF-8"),
    (b'{"a":' * 20_000, "The request body is nested too deeply"),
])  # fmt: skip
def test_bad_input_is_named(open_toy: Toy, body: bytes, message: str) -> None:
    answer = call(open_toy, "POST", "/v1/submitjob", body[: BODY_LIMIT - 1])
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ClientException")
    assert answer.json() == {"message": message, "__type": "ClientException"}
    assert open_toy.requests == []


@pytest.mark.parametrize("body", [
    submission().replace(b'"a"', b'"\\ud800"'),
    submission().replace(b'"a"', b'"\\udc00x"'),
    submission().replace(b'"a"', b'"\xed\xa0\x80"'),
    submission(arrayProperties={"size": 0}).replace(b'"size": 0', b'"size": ' + b"1" * 5000),
    submission(arrayProperties={"size": 0}).replace(b'"size": 0', b'"size": 1e999'),
    b"\xef\xbb\xbf{}",
    b"{}{}",
])  # fmt: skip
def test_hostile_bodies_are_the_clients_fault(open_toy: Toy, body: bytes) -> None:
    answer = call(open_toy, "POST", "/v1/submitjob", body)
    assert (answer.status, answer.json()["__type"]) == (400, "ClientException")


def test_long_digits_in_texts_are_no_integers(open_toy: Toy) -> None:
    assert call(open_toy, "POST", "/v1/submitjob", submission(parameters={"n": "1" * 40})).status == 200
    assert open_toy.requests[0][0].parameters == {"n": "1" * 40}


def test_boto3_raises_the_modelled_exceptions(port: int) -> None:
    batch = client(port, "batch")
    with pytest.raises(batch.exceptions.ClientException) as bare:
        batch.submit_job(jobName="a", jobQueue="missing", jobDefinition="d")
    assert bare.value.response["Error"]["Message"] == "JobQueue missing not found."

    with pytest.raises(batch.exceptions.ClientException) as wrapped:
        batch.submit_job(jobName="!", jobQueue="q", jobDefinition="d")
    request_id = wrapped.value.response["ResponseMetadata"]["RequestId"]
    assert wrapped.value.response["Error"]["Message"] == (
        f"Error executing request, Exception : Job name should match valid pattern, RequestId: {request_id}"
    )

    with pytest.raises(batch.exceptions.ClientException, match="ListJobs is not supported by this server"):
        batch.list_jobs(jobQueue="q")


def test_a_defect_of_ours_is_logged_and_not_shown(port: int, caplog: pytest.LogCaptureFixture) -> None:
    batch = client(port, "batch")
    with pytest.raises(batch.exceptions.ServerException) as caught:
        batch.describe_jobs(jobs=["1"])
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "secret" not in str(response)
    [record] = [record for record in caplog.records if record.name == "batchyard.api.app"]
    assert response["ResponseMetadata"]["RequestId"] in record.getMessage()
    assert record.exc_info is not None
    assert "a secret of ours" in str(record.exc_info[1])


@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/v1/nosuchoperation"), ("GET", "/v1/submitjob"), ("POST", "/v1/tags/"), ("GET", "/"), ("PUT", "/v1/tags/x"),
])  # fmt: skip
def test_unknown_paths(toy: Toy, method: str, path: str) -> None:
    answer = call(toy, method, path)
    assert (answer.status, answer.json()["__type"]) == (404, "UnknownOperationException")
    assert f"{method} {path}" in answer.json()["message"]


def test_the_headers_of_every_answer(open_toy: Toy) -> None:
    for path in ("/v1/submitjob", "/v1/nosuchoperation"):
        headers = call(open_toy, "POST", path, submission()).headers
        assert len(headers["x-amzn-requestid"]) == 36
        assert headers["access-control-allow-origin"] == "*"
        assert "X-amzn-errortype" in headers["access-control-expose-headers"]


def test_client_errors_are_client_errors(port: int) -> None:
    """boto3 checks before it sends; with its checks off the server's own answer shows."""
    from botocore.config import Config

    batch = client(port, "batch", config=Config(parameter_validation=False, retries={"max_attempts": 0}))
    with pytest.raises(ClientError) as caught:
        batch.submit_job(jobName="a", jobQueue="q", jobDefinition="d", arrayProperties={"size": "many"})
    assert caught.value.response["Error"] == {
        "Code": "ClientException",
        "Message": "arrayProperties.size: expected an integer, got a string",
    }
