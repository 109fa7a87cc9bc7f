"""Requests to services that this server doesn't speak, refused in the protocol that each came in.

A client that points `AWS_ENDPOINT_URL` here sends everything here. Its SDK has to understand the refusal, or the user
sees a parser's complaint. The protocol shows in the request itself, except for the few REST services that speak XML.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

import msgspec

from batchyard.api import sts
from batchyard.api.errors import ApiError, unknown_operation
from batchyard.api.http import Request, Response

_REST_XML_SERVICES = frozenset({"s3", "s3express", "s3-outposts", "route53", "cloudfront"})
_XML = "application/xml"


def answer(request: Request, service: str | None, request_id: str) -> Response:
    """The refusal. `service` is the one that the request is signed for."""
    target = request.headers.get("x-amz-target")
    name = service or (target or "").partition(".")[0] or "this service"
    message = (
        f"This server does not speak {name[:100]!r}. It speaks AWS Batch, CloudWatch Logs and sts GetCallerIdentity; "
        "set AWS_ENDPOINT_URL_<SERVICE> for each of the services that are elsewhere."
    )
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        body = (
            b"\xbf" + b"".join(map(_cbor_text, ("__type", "UnknownOperationException", "message", message))) + b"\xff"
        )
        return Response(400, "application/cbor", body)
    if target is not None:
        content_type = request.headers.get("content-type", "")
        version = "1.0" if content_type.startswith("application/x-amz-json-1.0") else "1.1"
        return _json(unknown_operation(message, 400), f"application/x-amz-json-{version}")
    if service == "ec2":
        return _ec2(ApiError("InvalidAction", message), request_id)
    if sts.is_query_protocol(request):
        return sts.error_answer(ApiError("InvalidAction", message), request_id)
    if service in _REST_XML_SERVICES:
        return _rest_xml(ApiError("MethodNotAllowed", message, 405), request_id, is_s3=service.startswith("s3"))
    return _json(unknown_operation(message), "application/json")


def _json(error: ApiError, content_type: str) -> Response:
    body = msgspec.json.encode({"__type": error.code, "message": error.message})
    return Response(error.status, content_type, body, error_type=error.code)


def _ec2(error: ApiError, request_id: str) -> Response:
    body = (
        f"<Response><Errors><Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error></Errors>"
        f"<RequestID>{request_id}</RequestID></Response>"
    )
    return Response(error.status, _XML, body.encode())


def _rest_xml(error: ApiError, request_id: str, *, is_s3: bool) -> Response:
    """S3's document is the bare error, that of the others wraps it."""
    inner = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    identifier = f"<RequestId>{request_id}</RequestId>"
    body = (
        f"<Error>{inner}{identifier}</Error>"
        if is_s3
        else f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error>{identifier}</ErrorResponse>"
    )
    return Response(error.status, _XML, body.encode())


def _cbor_text(text: str) -> bytes:
    """A text string of CBOR (RFC 8949, major type 3) with its length in two bytes."""
    encoded = text.encode()
    return b"\x79" + len(encoded).to_bytes(2, "big") + encoded
