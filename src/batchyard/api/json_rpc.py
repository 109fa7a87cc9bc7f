"""The JSON 1.1 protocol of CloudWatch Logs: the header `X-Amz-Target` names service and operation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from batchyard.api.decoding import InvalidInputError, decode_json
from batchyard.api.errors import ApiError, internal_failure, unknown_operation
from batchyard.api.http import Request, Response
from batchyard.api.service import Result, Service
from batchyard.shapes.operation import Operation

CONTENT_TYPE = "application/x-amz-json-1.1"
INTERNAL_FAILURE = internal_failure("InternalFailure")

_encode = msgspec.json.Encoder().encode


class Target(NamedTuple):
    """What a request is for: a service, and the operation that it asks for, known or not."""

    service: Service
    operation_name: str
    operation: Operation | None


class Targets:
    """The services of this protocol by the prefix of their targets."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._services = {service.target_prefix: service for service in services}

    def find(self, request: Request) -> Target | None:
        """What the request is for; None when it names no service of ours."""
        header = request.headers.get("x-amz-target")
        if header is None:
            return None
        prefix, _, name = header.partition(".")
        service = self._services.get(prefix)
        if service is None:
            return None
        return Target(service, name, service.operations.get(name))


def decode(operation: Operation, request: Request) -> msgspec.Struct | None:
    """The operation's input. Raises `ApiError`: SerializationException for what is not JSON of the right types,
    InvalidParameterException for a value that breaks a rule of the model."""
    if operation.input is None:
        return None
    try:
        return decode_json(request.body, operation.input)
    except InvalidInputError as error:
        code = "InvalidParameterException" if error.well_formed else "SerializationException"
        raise ApiError(code, error.message) from None


def answer(result: Result) -> Response:
    if result is None:
        return Response(200, CONTENT_TYPE, b"{}")
    if isinstance(result, msgspec.Struct):
        return Response(200, CONTENT_TYPE, _encode(result))
    return Response(200, CONTENT_TYPE, result)


def error_answer(error: ApiError, request_id: str) -> Response:
    body = _encode({"__type": error.code, "message": error.text(request_id)})
    return Response(error.status, CONTENT_TYPE, body, error_type=error.code)


def not_supported(service: Service, operation_name: str) -> ApiError:
    return unknown_operation(f"{service.name} has no operation {operation_name[:100]!r} on this server.", 400)
