"""Who sent a request: AWS Signature Version 4, checked with botocore's own canonicalisation.

The rules are those of "AWS Signature Version 4 for API requests" (AWS IAM User Guide); texts and statuses are what the
AWS services answer. Both forms are taken: the `Authorization` header, and the query of a presigned URL. The hash of the
body is always computed here, so a body that was changed on the way, or never signed (`UNSIGNED-PAYLOAD`, which among
the services of AWS only S3 takes), does not verify.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from botocore.auth import SigV4Auth

from batchyard.api.errors import (
    ApiError,
    incomplete_signature,
    invalid_signature,
    missing_authentication_token,
    signature_mismatch,
    unrecognized_client,
)
from batchyard.api.http import Request
from batchyard.api.local_pages import refuse_foreign_pages
from batchyard.api.service import Caller

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
ALLOWED_SKEW = 300
"""Seconds that a client's clock may be away from ours."""
LONGEST_PRESIGNED = 7 * 24 * 3600
"""Seconds that a presigned URL may be valid for."""

_CACHED_SIGNERS = 4096
_ISO_8601_BASIC = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SCOPE_IN_HEADER = re.compile(r"Credential=[^/,]*/[^/,]*/[^/,]*/([^/,]+)")


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """An access key: the secret, and who its holder is."""

    secret_access_key: str
    caller: Caller
    session_token: str | None = None
    """For temporary credentials, which have to be sent together with their token."""


class Authenticator:
    """Tells who sent a request.

    `credentials` looks up an access key id, `clock` gives seconds since the epoch. In mode `none` any signature, or
    none, is taken, and every caller is `administrator`; pages that a browser has open are still refused, since they
    reach a server on loopback, too.
    """

    def __init__(
        self,
        credentials: Callable[[str], Credential | None],
        *,
        region: str,
        administrator: Caller,
        mode: Literal["sigv4", "none"] = "sigv4",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._administrator = administrator
        self._mode = mode
        self._clock = clock
        self._signers: dict[tuple[str, str, str, str], _Signer] = {}

    def authenticate(self, request: Request, signing_names: tuple[str, ...], *, any_region: bool = False) -> Caller:
        """The caller of a request to a service that signs as one of `signing_names`. Raises `ApiError` (403, or 400
        when the signature isn't complete)."""
        if self._mode == "none":
            refuse_foreign_pages(request)
            return self._administrator
        signed = _read_signature(request)
        credential = self._credentials(signed.access_key_id)
        if credential is None or not _token_fits(credential, signed.token):
            raise unrecognized_client()
        self._check_scope(signed, signing_names, any_region)
        self._check_time(signed)
        _check_signed_headers(request, signed)
        if not hmac.compare_digest(self._signer(credential, signed).sign(request, signed), signed.signature.encode()):
            raise signature_mismatch()
        return credential.caller

    def _check_scope(self, signed: Signed, signing_names: tuple[str, ...], any_region: bool) -> None:
        if signed.terminator != TERMINATOR:
            raise invalid_signature(
                f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{signed.terminator}'."
            )
        if signed.region != self._region and not any_region:
            raise invalid_signature(f"Credential should be scoped to a valid region, not '{signed.region}'.")
        if signed.service not in signing_names:
            raise invalid_signature(f"Credential should be scoped to correct service: '{signing_names[0]}'.")
        if signed.date != signed.timestamp[:8]:
            raise invalid_signature(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{signed.date}' != '{signed.timestamp[:8]}', from '{signed.timestamp}'."
            )

    def _check_time(self, signed: Signed) -> None:
        now = self._clock()
        signed_at = _seconds(signed.timestamp)
        if signed_at > now + ALLOWED_SKEW:
            raise invalid_signature(
                f"Signature not yet current: {signed.timestamp} is still later than "
                f"{_stamp(now + ALLOWED_SKEW)} ({_stamp(now)} + 5 min.)"
            )
        validity = ALLOWED_SKEW if signed.expires is None else signed.expires
        if signed_at < now - validity:
            words = "5 min." if signed.expires is None else f"{validity} s."
            raise invalid_signature(
                f"Signature expired: {signed.timestamp} is now earlier than "
                f"{_stamp(now - validity)} ({_stamp(now)} - {words})"
            )

    def _signer(self, credential: Credential, signed: Signed) -> _Signer:
        """The signing key depends on secret, day, region and service only: it is derived once for all requests."""
        key = (credential.secret_access_key, signed.date, signed.region, signed.service)
        signer = self._signers.get(key)
        if signer is None:
            if len(self._signers) >= _CACHED_SIGNERS:
                self._signers.clear()
            signer = self._signers[key] = _Signer(*key)
        return signer


class Signed(NamedTuple):
    """What a request says of its own signature."""

    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    timestamp: str
    """`YYYYMMDDTHHMMSSZ`, as it went into the signature."""
    signed_headers: list[str]
    signature: str
    token: str | None
    expires: int | None
    """For a presigned URL: the seconds that it is valid for."""


class _SignedHeaders(dict[str, str]):
    """The headers that were signed, with the one method of an HTTP message that botocore asks for."""

    def get_all(self, name: str) -> tuple[str, ...]:
        return (self[name],)


class _SigningInput(msgspec.Struct, frozen=True):
    """A request in the form in which botocore reads it."""

    method: str
    url: str
    params: list[tuple[str, str]]
    headers: _SignedHeaders
    body: bytes
    context: dict[str, str]


class _Signer(SigV4Auth):  # type: ignore[misc]
    """botocore's signer for one signing key, over the headers that the client has chosen."""

    def __init__(self, secret_access_key: str, date: str, region: str, service: str) -> None:
        super().__init__(None, service, region)
        key = f"AWS4{secret_access_key}".encode()
        for part in (date, region, service, TERMINATOR):
            key = hmac.digest(key, part.encode(), "sha256")
        self._signing_key = key

    def sign(self, request: Request, signed: Signed) -> bytes:
        """The signature that the request ought to have: 64 hexadecimal digits."""
        signing_input = _SigningInput(
            request.method,
            f"http://host{request.path}",
            _signed_query(request.query),
            _SignedHeaders((name, request.headers[name]) for name in signed.signed_headers if name in request.headers),
            request.body,
            {"timestamp": signed.timestamp},
        )
        text = self.string_to_sign(signing_input, self.canonical_request(signing_input))
        return hmac.digest(self._signing_key, text.encode(), "sha256").hex().encode()

    def headers_to_sign(self, request: _SigningInput) -> _SignedHeaders:
        return request.headers


def _signed_query(query: str) -> list[tuple[str, str]]:
    if not query:
        return []
    return [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "X-Amz-Signature"]


def _token_fits(credential: Credential, token: str | None) -> bool:
    return hmac.compare_digest((credential.session_token or "").encode(), (token or "").encode())


def _check_signed_headers(request: Request, signed: Signed) -> None:
    """What decides where a request goes and what it means has to be under the signature."""
    if "host" not in signed.signed_headers:
        raise invalid_signature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if "x-amz-target" in request.headers and "x-amz-target" not in signed.signed_headers:
        raise invalid_signature("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.")


def _read_signature(request: Request) -> Signed:
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _from_header(authorization, request.headers)
    if "X-Amz-Signature=" in request.query or "X-Amz-Credential=" in request.query:
        return _from_query(dict(parse_qsl(request.query, keep_blank_values=True)))
    raise missing_authentication_token()


def _from_header(authorization: str, headers: dict[str, str]) -> Signed:
    algorithm, _, rest = authorization.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise _unsupported_algorithm(algorithm)
    parameters: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise incomplete_signature(
                f"'{name[:100]}' not a valid key=value pair (missing equal-sign) in Authorization header."
            )
        parameters[name] = value
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parameters.get(name)
    ]
    date = headers.get("x-amz-date") or headers.get("date")
    if date is None:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing or date is None:
        raise incomplete_signature(" ".join(missing))
    return Signed(
        *_scope(parameters["Credential"]),
        _timestamp(date),
        parameters["SignedHeaders"].split(";"),
        parameters["Signature"],
        headers.get("x-amz-security-token"),
        None,
    )


def _from_query(parameters: dict[str, str]) -> Signed:
    required = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature")
    missing = [f"AWS query-string parameters must include '{name}'." for name in required if not parameters.get(name)]
    if missing:
        raise incomplete_signature(" ".join(missing))
    if parameters["X-Amz-Algorithm"] != ALGORITHM:
        raise _unsupported_algorithm(parameters["X-Amz-Algorithm"])
    expires = parameters.get("X-Amz-Expires", str(ALLOWED_SKEW))
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 1 <= int(expires) <= LONGEST_PRESIGNED:
        raise incomplete_signature(f"X-Amz-Expires must be between 1 and {LONGEST_PRESIGNED} seconds.")
    return Signed(
        *_scope(parameters["X-Amz-Credential"]),
        _timestamp(parameters["X-Amz-Date"]),
        parameters["X-Amz-SignedHeaders"].split(";"),
        parameters["X-Amz-Signature"],
        parameters.get("X-Amz-Security-Token"),
        int(expires),
    )


def _unsupported_algorithm(algorithm: str) -> ApiError:
    return incomplete_signature(f"Unsupported AWS 'algorithm': '{algorithm[:100]}'. Use '{ALGORITHM}'.")


def _scope(credential: str) -> tuple[str, str, str, str, str]:
    parts = credential.split("/")
    if len(parts) != 5:
        raise incomplete_signature(
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{credential[:200]}'"
        )
    return parts[0], parts[1], parts[2], parts[3], parts[4]


@lru_cache(maxsize=1024)
def _timestamp(date: str) -> str:
    """A date as headers give it (ISO 8601 basic, or RFC 1123 in `Date`) in the form that signatures use."""
    try:
        if not _ISO_8601_BASIC.fullmatch(date):
            parsed = parsedate_to_datetime(date[:64])
            date = parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        _seconds(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        # The standard library's parser of e-mail dates lets more than ValueError escape for some broken dates.
        raise _not_a_date(date) from None
    return date


def _not_a_date(date: str) -> ApiError:
    return incomplete_signature(f"Date must be in ISO-8601 'basic format'. Got '{date[:100]}'.")


@lru_cache(maxsize=1024)
def _seconds(timestamp: str) -> float:
    return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def scope_service(request: Request) -> str | None:
    """The service that a request is signed for, as its credential scope says; unchecked, and None when unsigned."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        found = _SCOPE_IN_HEADER.search(authorization)
        return found[1] if found else None
    scope = dict(parse_qsl(request.query)).get("X-Amz-Credential", "").split("/")
    return scope[3] if len(scope) == 5 else None
