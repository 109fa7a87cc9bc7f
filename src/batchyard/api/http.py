"""Requests and responses as the rest of the front sees them, read from and written to a raw ASGI connection.

No framework stands between: at a thousand requests a second its objects would cost more than the work itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from batchyard.api.errors import request_too_large

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Request(msgspec.Struct, frozen=True):
    """One HTTP request, read completely."""

    method: str
    path: str
    """As sent, percent-encoding and all: signatures are made over this form."""
    query: str
    """As sent, without the question mark."""
    headers: dict[str, str]
    """Names in lower case; the values of a repeated header are joined by commas, as signatures do."""
    body: bytes


class Response(msgspec.Struct, frozen=True):
    status: int
    content_type: str
    body: bytes | AsyncIterator[bytes]
    error_type: str | None = None
    """Sent as `x-amzn-errortype`, where the SDKs look first."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers."""


class ClientDisconnectedError(Exception):
    """The client went away before its request was complete."""


def read_head(scope: Scope) -> Request:
    """Everything of a request but its body."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    raw_path: bytes | None = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path is not None else scope["path"]
    return Request(scope["method"], path.partition("?")[0], scope["query_string"].decode("latin-1"), headers, b"")


async def read_body(head: Request, receive: Receive, limit: int) -> Request:
    """The request with its body. Raises `ApiError` (HTTP 413) above `limit` bytes, without reading what is announced
    as too long: a client that waits for `100 Continue` then never sends it."""
    announced = head.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise request_too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        chunks = [body]
        size = len(body)
        while message.get("more_body"):
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise request_too_large(limit)
        body = b"".join(chunks)
    if message["type"] == "http.disconnect":
        raise ClientDisconnectedError
    if len(body) > limit:
        raise request_too_large(limit)
    return msgspec.structs.replace(head, body=body) if body else head


_CROSS_ORIGIN_HEADERS = (
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"X-amzn-errortype,X-amzn-requestid,X-amzn-errormessage,X-amzn-trace-id,X-amz-apigw-id,date",
    ),
)


async def send_response(response: Response, request_id: str, send: Send) -> None:
    """Answer with `response`; a streamed body is sent chunk by chunk and is the caller's to close."""
    headers = [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"x-amzn-requestid", request_id.encode("latin-1")),
        *_CROSS_ORIGIN_HEADERS,
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers),
    ]
    if response.error_type is not None:
        headers.append((b"x-amzn-errortype", response.error_type.encode("latin-1", "replace")))
    if isinstance(response.body, bytes):
        headers.append((b"content-length", str(len(response.body)).encode("latin-1")))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    async for chunk in response.body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def send_preflight(request: Request, request_id: str, send: Send) -> None:
    """Answer a browser's question (OPTIONS) whether it may send a signed request from a page of another origin."""
    wanted = request.headers.get("access-control-request-headers", "*")
    headers = [
        *_CROSS_ORIGIN_HEADERS,
        (b"access-control-allow-methods", b"GET,POST,DELETE"),
        (b"access-control-allow-headers", wanted.encode("latin-1")),
        (b"access-control-max-age", b"86400"),
        (b"x-amzn-requestid", request_id.encode("latin-1")),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
