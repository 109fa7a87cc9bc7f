from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from toy_endpoint import Answer, Toy, call, client


def ask(toy: Toy, body: bytes, operation: str = "GetLogEvents") -> Answer:
    headers = {"x-amz-target": f"Logs_20140328.{operation}", "content-type": "application/x-amz-json-1.1"}
    return call(toy, "POST", "/", body, headers)


def test_log_events_by_boto3(port: int) -> None:
    answer = client(port, "logs").get_log_events(logGroupName="/aws/batch/job", logStreamName="s")
    assert answer["events"] == [{"timestamp": 1, "message": "s"}]
    assert answer["nextForwardToken"] == "f/1"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"


@pytest.mark.parametrize(("body", "code", "message"), [
    (b"{", "SerializationException", "The request body is not valid JSON: Input data was truncated"),
    (b'{"logStreamName":1}', "SerializationException", "logStreamName: expected a string, got an integer"),
    (b'{"logGroupName":"g"}', "InvalidParameterException", "logStreamName: this member is required"),
    (b'{"logGroupName":"","logStreamName":"s"}', "InvalidParameterException",
     "logGroupName: must have at least 1 characters"),
    (b'{"logGroupName":" ","logStreamName":"s"}', "InvalidParameterException",
     "logGroupName: does not match the pattern '^(?:[\\\\.\\\\-_/#A-Za-z0-9]+)$'"),
    (b'{"logGroupName":"g","logStreamName":"s","limit":10001}', "InvalidParameterException",
     "limit: must be at most 10000"),
])  # fmt: skip
def test_bad_input(open_toy: Toy, body: bytes, code: str, message: str) -> None:
    answer = ask(open_toy, body)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, code)
    assert answer.json() == {"__type": code, "message": message}


def test_boto3_raises_the_modelled_exceptions(port: int) -> None:
    logs = client(port, "logs")
    with pytest.raises(logs.exceptions.InvalidParameterException, match="logGroupName: does not match the pattern"):
        logs.get_log_events(logGroupName="not a name", logStreamName="s")


@pytest.mark.parametrize("operation", ["NoSuchOperation", "DescribeLogGroups", ""])
def test_operations_that_are_not_served(open_toy: Toy, operation: str) -> None:
    answer = ask(open_toy, b"{}", operation)
    assert (answer.status, answer.json()["__type"]) == (400, "UnknownOperationException")
    assert repr(operation) in answer.json()["message"]


def test_a_defect_of_ours_is_not_shown(port: int) -> None:
    with pytest.raises(ClientError) as caught:
        client(port, "logs").create_log_group(logGroupName="g")
    error = caught.value.response["Error"]
    assert error["Code"] == "InternalFailure"
    assert "secret" not in error["Message"]


def test_signatures_are_checked(toy: Toy, port: int) -> None:
    assert ask(toy, b"{}").json()["__type"] == "MissingAuthenticationTokenException"
    with pytest.raises(ClientError) as caught:
        client(port, "logs", aws_secret_access_key="no").get_log_events(logGroupName="g", logStreamName="s")
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
