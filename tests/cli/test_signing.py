"""The signer of the command line against botocore's."""

from __future__ import annotations

from datetime import UTC, datetime

import botocore.auth
import botocore.compat
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from batchyard.cli.signing import Keys, signed_headers

NOW = datetime(2026, 11, 22, 12, 1, 3, tzinfo=UTC)


def botocore_authorization(
    keys: Keys,
    region: str,
    service: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None))
    request = AWSRequest("POST", url, headers=headers, data=body)
    SigV4Auth(Credentials(*keys), service, region).add_auth(request)
    return str(request.headers["Authorization"])


@given(
    body=st.binary(max_size=200),
    token=st.sampled_from([None, "a token/with+signs="]),
    service=st.sampled_from(["batch", "logs"]),
)
def test_it_signs_as_botocore_does(body: bytes, token: str | None, service: str) -> None:
    keys = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.GetLogEvents"}
    signed = signed_headers(keys, "eu-west-1", service, "127.0.0.1:8324", "/v1/listjobs", headers, body, NOW)
    with pytest.MonkeyPatch.context() as patch:
        expected = botocore_authorization(
            keys, "eu-west-1", service, "http://127.0.0.1:8324/v1/listjobs", headers, body, patch
        )
    assert signed["authorization"] == expected
    assert signed.get("x-amz-security-token") == token
