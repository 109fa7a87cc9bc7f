from __future__ import annotations

import urllib.request

import pytest
from botocore.exceptions import ClientError
from toy_endpoint import ACCOUNT, ADMINISTRATOR, Toy, call, client

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def test_who_am_i(port: int) -> None:
    answer = client(port, "sts").get_caller_identity()
    assert (answer["Account"], answer["Arn"], answer["UserId"]) == (ACCOUNT, ADMINISTRATOR.arn, ACCOUNT)
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36


def test_any_region_will_do(port: int) -> None:
    assert client(port, "sts", region_name="eu-west-3").get_caller_identity()["Account"] == ACCOUNT


def test_presigned(port: int) -> None:
    url = client(port, "sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    with urllib.request.urlopen(url) as answer:
        assert f"<Account>{ACCOUNT}</Account>" in answer.read().decode()


@pytest.mark.parametrize(("credentials", "code"), [
    ({"aws_secret_access_key": "no"}, "SignatureDoesNotMatch"),
    ({"aws_access_key_id": "AKIDNOBODY"}, "InvalidClientTokenId"),
])  # fmt: skip
def test_wrong_credentials(port: int, credentials: dict[str, str], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        client(port, "sts", **credentials).get_caller_identity()
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_other_actions(port: int) -> None:
    with pytest.raises(ClientError, match="Could not find operation GetSessionToken for version 2011-06-15") as caught:
        client(port, "sts").get_session_token()
    assert caught.value.response["Error"]["Code"] == "InvalidAction"


def test_unsigned(toy: Toy) -> None:
    answer = call(toy, "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15", FORM)
    assert answer.status == 403
    assert b"<Code>MissingAuthenticationToken</Code>" in answer.body


def test_hostile_forms(open_toy: Toy) -> None:
    for body in (b"", b"\xff\xfe", b"Action=%ff<&>", b"Action=" + b"x" * 1000):
        answer = call(open_toy, "POST", "/", body, FORM)
        assert answer.status == 400
        assert b"<Code>InvalidAction</Code>" in answer.body
        assert b"<&" not in answer.body
