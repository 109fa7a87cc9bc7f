"""The seam that services plug into: what a service tells the HTTP front, and what the front hands to its handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal

import msgspec

from batchyard.shapes.operation import Operation


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request: the identity behind the access key that signed it."""

    account_id: str
    """Twelve digits."""
    arn: str
    user_id: str
    access_key_id: str


class RequestContext(msgspec.Struct, frozen=True):
    """What a handler may want to know of a request beside its members."""

    caller: Caller
    request_id: str
    """A UUID; the caller reads it in the header `x-amzn-requestid`."""
    body_size: int
    """Bytes of the HTTP body as received: AWS Batch limits the SubmitJob request by it."""


Result = msgspec.Struct | AsyncIterator[bytes] | None
"""A response shape; None for an operation that answers `{}`; or chunks of a body that is sent while it is made."""

Handler = Callable[[Any, RequestContext], Awaitable[Result]]
"""Called with the decoded input of its operation (None when the operation has no input). Raises `ApiError` for the
caller; anything else that it raises is logged and answered with an internal failure.

A handler that streams does its checks before it returns the iterator: from then on the status is sent. The iterator is
closed (`aclose`) when the caller goes away."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service that the endpoint speaks."""

    name: str
    """For people and for the log: `AWS Batch`."""
    signing_names: tuple[str, ...]
    """The services that a signature's credential scope may name; the first is the one told to a caller who errs."""
    protocol: Literal["rest-json", "json-1.1"]
    operations: Mapping[str, Operation]
    """The service model, from `batchyard.shapes`. A path of `rest-json` may hold one label, at its end: the tag
    operations' `/v1/tags/{resourceArn}`."""
    handlers: Mapping[str, Handler]
    """By operation name. An operation of the model without a handler is answered as not supported."""
    target_prefix: str = ""
    """For `json-1.1`: what stands before the dot of `X-Amz-Target`, such as `Logs_20140328`."""
