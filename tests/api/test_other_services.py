from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from toy_endpoint import Toy, call, client


@pytest.mark.parametrize(("service", "operation", "members", "code"), [
    ("s3", "list_buckets", {}, "MethodNotAllowed"),
    ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x" * 3_000_000}, "MethodNotAllowed"),
    ("s3", "get_object", {"Bucket": "v1", "Key": "submitjob"}, "MethodNotAllowed"),
    ("ec2", "describe_instances", {}, "InvalidAction"),
    ("iam", "list_users", {}, "InvalidAction"),
    ("sns", "list_topics", {}, "InvalidAction"),
    ("ecs", "list_container_instances", {}, "UnknownOperationException"),
    ("dynamodb", "list_tables", {}, "UnknownOperationException"),
    ("sqs", "list_queues", {}, "UnknownOperationException"),
    ("lambda", "list_functions", {}, "UnknownOperationException"),
    ("events", "list_rules", {}, "UnknownOperationException"),
    ("cloudwatch", "list_metrics", {}, "UnknownOperationException"),
    ("route53", "list_hosted_zones", {}, "MethodNotAllowed"),
])  # fmt: skip
def test_every_sdk_understands_the_refusal(
    port: int, service: str, operation: str, members: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(client(port, service), operation)(**members)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert "It speaks AWS Batch, CloudWatch Logs and sts GetCallerIdentity" in error["Message"]
    assert 400 <= caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500


def test_an_answer_without_a_body(port: int) -> None:
    with pytest.raises(ClientError) as caught:
        client(port, "s3").head_object(Bucket="b", Key="k")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 405


def test_an_unsigned_request_for_a_target_of_others(open_toy: Toy) -> None:
    answer = call(open_toy, "POST", "/", b"{}", {"x-amz-target": "AmazonSQS.ListQueues"})
    assert (answer.status, answer.json()["__type"]) == (400, "UnknownOperationException")
    assert "'AmazonSQS'" in answer.json()["message"]
