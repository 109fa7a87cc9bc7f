from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from toy_endpoint import KEY, REGION, SECRET, TEMPORARY_KEY, TOKEN, Answer, Toy, call, client

SUBMIT = {"jobName": "a", "jobQueue": "default", "jobDefinition": "d"}
BODY = b'{"jobName":"a","jobQueue":"default","jobDefinition":"d"}'
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


def signed_headers(
    body: bytes = BODY,
    *,
    region: str = REGION,
    service: str = "batch",
    path: str = "/v1/submitjob",
    extra: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a POST signed by botocore."""
    headers = {"Content-Type": "application/json", **(extra or {})}
    request = AWSRequest("POST", f"http://127.0.0.1{path}", data=body, headers=headers)
    SigV4Auth(Credentials(KEY, SECRET), service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def failure(answer: Answer) -> tuple[int, str, str]:
    assert answer.headers["x-amzn-errortype"] == answer.json()["__type"]
    return answer.status, answer.json()["__type"], answer.json()["message"]


def refused(client_: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        client_.submit_job(**SUBMIT)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_a_signed_request_reaches_the_handler_with_its_caller_and_size(toy: Toy, port: int) -> None:
    answer = client(port, "batch").submit_job(**SUBMIT)
    assert answer["jobName"] == "a"
    [(request, context)] = toy.requests
    assert request.job_definition == "d"
    assert context.caller.access_key_id == KEY
    assert context.body_size == len(b'{"jobName": "a", "jobQueue": "default", "jobDefinition": "d"}')
    assert context.request_id == answer["ResponseMetadata"]["RequestId"]


def test_wrong_secret(port: int) -> None:
    assert refused(client(port, "batch", aws_secret_access_key="no")) == (403, "InvalidSignatureException", MISMATCH)


def test_unknown_access_key(port: int) -> None:
    expected = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    assert refused(client(port, "batch", aws_access_key_id="AKIDNOBODY")) == expected


def test_temporary_credentials_need_their_token(port: int) -> None:
    expected = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    assert refused(client(port, "batch", aws_access_key_id=TEMPORARY_KEY)) == expected
    assert refused(client(port, "batch", aws_access_key_id=TEMPORARY_KEY, aws_session_token="x")) == expected
    assert refused(client(port, "batch", aws_session_token=TOKEN)) == expected
    good = client(port, "batch", aws_access_key_id=TEMPORARY_KEY, aws_session_token=TOKEN)
    assert good.submit_job(**SUBMIT)["jobId"] == "id"


def test_wrong_region(port: int) -> None:
    message = "Credential should be scoped to a valid region, not 'eu-west-3'."
    assert refused(client(port, "batch", region_name="eu-west-3")) == (403, "InvalidSignatureException", message)


def test_wrong_service(toy: Toy) -> None:
    message = "Credential should be scoped to correct service: 'batch'."
    answer = call(toy, "POST", "/v1/submitjob", BODY, signed_headers(service="logs"))
    assert failure(answer) == (403, "InvalidSignatureException", message)


@pytest.mark.parametrize(("skew", "pattern"), [
    (301, r"Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 5 min\.\)"),
    (-302, r"Signature not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z \(\d{8}T\d{6}Z \+ 5 min\.\)"),
])  # fmt: skip
def test_a_clock_off_by_more_than_five_minutes(toy: Toy, port: int, skew: float, pattern: str) -> None:
    toy.skew = skew
    status, code, message = refused(client(port, "batch"))
    assert (status, code) == (403, "InvalidSignatureException")
    assert re.fullmatch(pattern, message)


@pytest.mark.parametrize("skew", [290, -290])
def test_a_clock_off_by_less_than_five_minutes_is_fine(toy: Toy, port: int, skew: float) -> None:
    toy.skew = skew
    assert client(port, "batch").submit_job(**SUBMIT)["jobId"] == "id"


def test_no_signature(toy: Toy) -> None:
    answer = call(toy, "POST", "/v1/submitjob", BODY)
    assert failure(answer) == (403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    assert toy.requests == []


@pytest.mark.parametrize(("authorization", "fragment"), [
    ("", "Unsupported AWS 'algorithm': ''"),
    ("Bearer abc", "Unsupported AWS 'algorithm': 'Bearer'"),
    ("AWS4-HMAC-SHA256", "'' not a valid key=value pair"),
    ("AWS4-HMAC-SHA256 nonsense", "'nonsense' not a valid key=value pair"),
    ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e", "Authorization header requires 'Signature' parameter."),
    ("AWS4-HMAC-SHA256 Signature=x, SignedHeaders=host", "Authorization header requires 'Credential' parameter."),
    ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=x", "exactly 5 slash-delimited elements"),
])  # fmt: skip
def test_incomplete_signatures(toy: Toy, authorization: str, fragment: str) -> None:
    headers = {"authorization": authorization, "x-amz-date": "20260101T000000Z"}
    status, code, message = failure(call(toy, "POST", "/v1/submitjob", BODY, headers))
    assert (status, code) == (400, "IncompleteSignatureException")
    assert fragment in message


@pytest.mark.parametrize("date", ["now", "20261301T000000Z", "00000101T000000Z", "Thu, 99 Foo 2026 00:00:00 GMT", ""])
def test_dates_that_are_none(toy: Toy, date: str) -> None:
    headers = {**signed_headers(), "x-amz-date": date}
    status, code, message = failure(call(toy, "POST", "/v1/submitjob", BODY, headers))
    assert (status, code) == (400, "IncompleteSignatureException")
    assert "Date" in message


def test_the_date_header_serves_as_well(toy: Toy) -> None:
    headers = signed_headers(extra={"Date": "to be set by the signer"})
    assert "x-amz-date" not in headers
    assert call(toy, "POST", "/v1/submitjob", BODY, headers).status == 200


def test_day_and_terminator_of_the_scope(toy: Toy) -> None:
    headers = signed_headers()
    wrong_day = {**headers, "authorization": re.sub(r"/\d{8}/", "/20200101/", headers["authorization"])}
    assert "does not match YYYYMMDD" in failure(call(toy, "POST", "/v1/submitjob", BODY, wrong_day))[2]
    wrong_end = {**headers, "authorization": headers["authorization"].replace("aws4_request", "aws5")}
    assert "valid terminator: 'aws4_request'" in failure(call(toy, "POST", "/v1/submitjob", BODY, wrong_end))[2]


def test_what_was_changed_on_the_way_does_not_verify(toy: Toy) -> None:
    headers = signed_headers()
    changed = BODY.replace(b"default", b"urgency")
    for answer in (
        call(toy, "POST", "/v1/submitjob", changed, headers),
        call(toy, "POST", "/v1/canceljob", BODY, headers),
        call(toy, "POST", "/v1/submitjob", BODY, headers, query="a=b"),
        call(toy, "POST", "/v1/submitjob", BODY, {**headers, "content-type": "text/plain"}),
        call(toy, "POST", "/v1/submitjob", BODY, {**headers, "host": "elsewhere"}),
    ):
        assert failure(answer) == (403, "InvalidSignatureException", MISMATCH)
    assert call(toy, "POST", "/v1/submitjob", BODY, headers).status == 200


@pytest.mark.parametrize("payload_hash", ["UNSIGNED-PAYLOAD", hashlib.sha256(BODY).hexdigest()])
def test_the_announced_hash_of_the_body_is_never_trusted(toy: Toy, payload_hash: str) -> None:
    headers = signed_headers(extra={"X-Amz-Content-SHA256": payload_hash})
    changed = BODY.replace(b"default", b"urgency")
    assert failure(call(toy, "POST", "/v1/submitjob", changed, headers))[2] == MISMATCH


def test_an_announced_hash_that_is_right_verifies(toy: Toy) -> None:
    headers = signed_headers(extra={"X-Amz-Content-SHA256": hashlib.sha256(BODY).hexdigest()})
    assert call(toy, "POST", "/v1/submitjob", BODY, headers).status == 200


def test_host_and_target_have_to_be_signed(toy: Toy) -> None:
    headers = signed_headers()
    no_host = headers["authorization"].replace(";host;", ";")
    answer = call(toy, "POST", "/v1/submitjob", BODY, {**headers, "authorization": no_host})
    assert "'Host'" in failure(answer)[2]
    added_target = {**signed_headers(b"{}", service="logs", path="/"), "x-amz-target": "Logs_20140328.GetLogEvents"}
    assert "'X-Amz-Target'" in failure(call(toy, "POST", "/", b"{}", added_target))[2]


def test_queries_are_signed_in_any_order_and_encoding(toy: Toy) -> None:
    path = "/v1/tags/arn%3Aaws%3Abatch"
    url = f"http://127.0.0.1{path}?tagKeys=b&tagKeys=a%20c&tagKeys=a%3Ad"
    request = AWSRequest("DELETE", url)
    SigV4Auth(Credentials(KEY, SECRET), "batch", REGION).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    answer = call(toy, "DELETE", path, b"", headers, query="tagKeys=b&tagKeys=a%20c&tagKeys=a:d")
    assert answer.status == 200
    assert toy.requests[0][0].tag_keys == ["b", "a c", "a:d"]


@pytest.mark.parametrize("arn", ["arn:aws:batch:us-east-1:1:job/x", "arn%3Aaws%3Abatch%3Aus-east-1%3A1%3Ajob%2Fx"])
def test_paths_are_signed_as_they_are_sent(toy: Toy, arn: str) -> None:
    path = f"/v1/tags/{arn}"
    headers = signed_headers(b'{"tags":{}}', path=path)
    assert call(toy, "POST", path, b'{"tags":{}}', headers).status == 200
    assert toy.requests[0][0].resource_arn == "arn:aws:batch:us-east-1:1:job/x"


def test_presigned_urls(toy: Toy, port: int) -> None:
    arn = "arn:aws:batch:us-east-1:123456789012:job-queue/x y"
    url = client(port, "batch").generate_presigned_url(
        "list_tags_for_resource", Params={"resourceArn": arn}, ExpiresIn=60
    )
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b'{"tags":{"of":"' + arn.encode() + b'"}}'

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("job-queue", "job-queus"))
    assert caught.value.code == 403
    assert MISMATCH.encode() in caught.value.read()

    toy.skew = 62
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    assert b"Signature expired" in caught.value.read()


def test_presigned_urls_with_a_token(port: int) -> None:
    temporary = client(port, "batch", aws_access_key_id=TEMPORARY_KEY, aws_session_token=TOKEN)
    url = temporary.generate_presigned_url("list_tags_for_resource", Params={"resourceArn": "arn:x"})
    with urllib.request.urlopen(url) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(("query", "fragment"), [
    ("X-Amz-Signature=x", "must include 'X-Amz-Credential'"),
    ("X-Amz-Algorithm=AWS4-X&X-Amz-Credential=a&X-Amz-Date=b&X-Amz-SignedHeaders=c&X-Amz-Signature=d", "algorithm"),
    ("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/b/c/d/e&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host"
     "&X-Amz-Signature=d&X-Amz-Expires=604801", "X-Amz-Expires must be between 1 and 604800 seconds"),
])  # fmt: skip
def test_incomplete_presigned_urls(toy: Toy, query: str, fragment: str) -> None:
    status, code, message = failure(call(toy, "GET", "/v1/tags/arn", query=query))
    assert (status, code) == (400, "IncompleteSignatureException")
    assert fragment in message


def test_a_changed_secret_takes_effect_at_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = signed_headers()
    assert call(toy, "POST", "/v1/submitjob", BODY, headers).status == 200
    import toy_endpoint

    rotated = toy_endpoint.Credential(secret_access_key="another", caller=toy_endpoint.ADMINISTRATOR)
    monkeypatch.setitem(toy_endpoint.CREDENTIALS, KEY, rotated)
    assert failure(call(toy, "POST", "/v1/submitjob", BODY, headers))[1] == "InvalidSignatureException"


def test_without_authentication_any_signature_or_none_is_taken(open_toy: Toy) -> None:
    assert call(open_toy, "POST", "/v1/submitjob", BODY).status == 200
    assert call(open_toy, "POST", "/v1/submitjob", BODY, {"authorization": "Bearer abc"}).status == 200
    assert open_toy.requests[0][1].caller.access_key_id == KEY
