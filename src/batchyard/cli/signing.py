"""AWS Signature Version 4 for the one form of request that the command line sends: a POST without a query.

Rule: "Create a signed AWS API request" (AWS IAM User Guide). botocore has a signer, but importing it takes several
times as long as a whole command does; the tests compare the two.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote


class Keys(NamedTuple):
    """An access key. `session_token` belongs to temporary ones."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def signed_headers(
    keys: Keys, region: str, service: str, host: str, path: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> dict[str, str]:
    """`headers` and the ones that sign the request, all in lower case. `path` is as it is sent."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = {name.lower(): value for name, value in headers.items()} | {"host": host, "x-amz-date": stamp}
    if keys.session_token:
        signed["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            "POST",
            quote(path, safe="/-_.~"),
            "",
            *(f"{name}:{signed[name].strip()}" for name in sorted(signed)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed | {"authorization": authorization}
