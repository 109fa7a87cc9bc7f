"""`sts GetCallerIdentity`, which many tools call first. The query protocol: a form in, XML out."""

from __future__ import annotations

from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from batchyard.api.errors import ApiError, internal_failure
from batchyard.api.http import Request, Response
from batchyard.api.service import Caller

SIGNING_NAMES = ("sts",)
CONTENT_TYPE = "text/xml"
INTERNAL_FAILURE = internal_failure("InternalFailure")

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"

_QUERY_CODES = {
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "AccessDeniedException": "AccessDenied",
}
"""The query protocol names the errors of the signature layer otherwise ("Common Errors", AWS STS API Reference)."""


def is_query_protocol(request: Request) -> bool:
    """Whether a request is of the query protocol, which has its members in a form or, seldom, in the query."""
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return form or "Action=" in request.query


def action(request: Request) -> str:
    """The action that a request of the query protocol asks for; empty when it names none."""
    members = {**dict(parse_qsl(request.query)), **dict(parse_qsl(request.body.decode("utf-8", "replace")))}
    return members.get("Action", "")


def answer(caller: Caller, request_id: str) -> Response:
    body = (
        f'<GetCallerIdentityResponse xmlns="{_NAMESPACE}"><GetCallerIdentityResult>'
        f"<Arn>{escape(caller.arn)}</Arn><UserId>{escape(caller.user_id)}</UserId>"
        f"<Account>{escape(caller.account_id)}</Account></GetCallerIdentityResult>"
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    return Response(200, CONTENT_TYPE, body.encode())


def error_answer(error: ApiError, request_id: str) -> Response:
    body = (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{"Sender" if error.status < 500 else "Receiver"}</Type>'
        f"<Code>{_QUERY_CODES.get(error.code, error.code)}</Code>"
        f"<Message>{escape(error.text(request_id))}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Response(error.status, CONTENT_TYPE, body.encode("utf-8", "replace"))


def no_such_action(name: str) -> ApiError:
    return ApiError("InvalidAction", f"Could not find operation {name[:100]} for version 2011-06-15")
