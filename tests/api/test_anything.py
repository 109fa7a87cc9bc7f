"""Whatever is sent, the answer is the client's fault or a success, never a defect of the server."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_endpoint import Toy, call

SIGNED = Toy()
OPEN = Toy(mode="none")

anything = st.text(st.characters(max_codepoint=255), max_size=60)
header_names = st.sampled_from(
    ["authorization", "x-amz-target", "x-amz-date", "date", "content-type", "content-length", "host", "origin",
     "x-amz-content-sha256", "x-amz-security-token", "smithy-protocol", "access-control-request-headers"]
)  # fmt: skip
header_values = st.one_of(
    anything,
    st.sampled_from(["Logs_20140328.GetLogEvents", "application/x-www-form-urlencoded", "rpc-v2-cbor"]),
    st.builds(
        "AWS4-HMAC-SHA256 Credential={}/{}/us-east-1/{}/aws4_request, SignedHeaders=host;{}, Signature={}".format,
        st.sampled_from(["AKIDEXAMPLE", "x"]), st.dates().map("{:%Y%m%d}".format), anything, anything, anything,
    ),
    st.datetimes().map("{:%Y%m%dT%H%M%SZ}".format),
    st.datetimes().map("{:%a, %d %b %Y %H:%M:%S} -0000".format),
)  # fmt: skip
paths = st.one_of(
    anything.map("/{}".format),
    anything.map("/v1/tags/{}".format),
    st.sampled_from(["/v1/submitjob", "/v1/canceljob", "/", "/healthz", "/batchyard/v1/count"]),
)
queries = st.one_of(
    anything,
    st.lists(
        st.tuples(
            st.sampled_from(["X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-Expires", "Action", "tagKeys"]),
            anything,
        ).map("=".join)
    ).map("&".join),
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_letters, max_size=8), inner),
    max_leaves=10,
)
members = st.dictionaries(
    st.sampled_from(["jobName", "jobQueue", "jobDefinition", "arrayProperties", "dependsOn", "tags", "jobId", "reason",
                     "parameters", "containerOverrides", "logGroupName", "logStreamName", "startTime"]),
    json_values,
)  # fmt: skip
bodies = st.one_of(st.binary(max_size=200), members.map(json.dumps).map(str.encode))


@pytest.mark.parametrize("toy", [SIGNED, OPEN], ids=["signed", "open"])
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"]),
    path=paths,
    query=queries,
    headers=st.dictionaries(header_names, header_values, max_size=5),
    body=bodies,
)
def test_no_request_is_our_fault(
    toy: Toy, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    answer = call(toy, method, path, body, headers, query)
    assert 200 <= answer.status < 500
    assert answer.headers["x-amzn-requestid"]


@given(body=bodies, operation=st.sampled_from(["submitjob", "canceljob", "terminatejob", "tags/arn"]))
def test_no_input_is_our_fault(body: bytes, operation: str) -> None:
    answer = call(OPEN, "POST", f"/v1/{operation}", body)
    assert answer.status in (200, 400)
    if answer.status == 400:
        assert answer.json()["__type"] == "ClientException"
        assert answer.json()["message"]
