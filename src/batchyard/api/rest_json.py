"""The REST JSON protocol of AWS Batch, and of our own extensions: routes, inputs and answers.

An operation is a method and a path of the service model. A path may end in a label (`/v1/tags/{resourceArn}`), which
takes everything that follows: an ARN percent-encoded into one segment, as SDKs send it, or as it stands, over several.
GET and DELETE read their other members from the query, where a list is a repeated parameter (`tagKeys`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import inspect

from batchyard.api.decoding import InvalidInputError, decode_json, decode_members, decode_object
from batchyard.api.errors import ApiError, client_exception, internal_failure, unknown_operation
from batchyard.api.http import Request, Response
from batchyard.api.service import Result, Service
from batchyard.shapes.operation import Operation

CONTENT_TYPE = "application/json"
STREAM_CONTENT_TYPE = "application/x-ndjson"
INTERNAL_FAILURE = internal_failure("ServerException")

_encode = msgspec.json.Encoder().encode


class Route(NamedTuple):
    """An operation that a request has reached."""

    service: Service
    operation: Operation
    label: tuple[str, str] | None
    """Wire name and decoded value of the member that the path gives."""


class Routes:
    """The operations of some services by method and path."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._literal: dict[tuple[str, str], Route] = {}
        self._labelled: list[tuple[str, str, str, Service, Operation]] = []
        for service in services:
            for operation in service.operations.values():
                prefix, _, label = operation.uri.partition("{")
                if label:
                    self._labelled.append((operation.method, prefix, label.rstrip("+}"), service, operation))
                else:
                    self._literal[operation.method, operation.uri] = Route(service, operation, None)

    def find(self, request: Request) -> Route | None:
        """The operation that a request is for; None when no path matches."""
        if route := self._literal.get((request.method, request.path)):
            return route
        for method, prefix, label, service, operation in self._labelled:
            if method == request.method and request.path.startswith(prefix) and len(request.path) > len(prefix):
                return Route(service, operation, (label, unquote(request.path[len(prefix) :])))
        return None


def decode(route: Route, request: Request) -> msgspec.Struct | None:
    """The input of the route's operation. Raises `ApiError` (ClientException) naming the member at fault."""
    shape = route.operation.input
    if shape is None:
        return None
    try:
        if request.method in ("GET", "DELETE"):
            members = _query_members(request.query, shape)
            return decode_members({**members, **_label_member(route)}, shape, text=True)
        if route.label is not None:
            return decode_members({**decode_object(request.body), **_label_member(route)}, shape, text=False)
        return decode_json(request.body, shape)
    except InvalidInputError as error:
        raise client_exception(error.message) from None


def answer(result: Result) -> Response:
    if result is None:
        return Response(200, CONTENT_TYPE, b"{}")
    if isinstance(result, msgspec.Struct):
        return Response(200, CONTENT_TYPE, _encode(result))
    return Response(200, STREAM_CONTENT_TYPE, result)


def error_answer(error: ApiError, request_id: str) -> Response:
    """The type goes into header and body: botocore reads the header first, others `__type`."""
    body = _encode({"message": error.text(request_id), "__type": error.code})
    return Response(error.status, CONTENT_TYPE, body, error_type=error.code)


def not_supported(route: Route) -> ApiError:
    return client_exception(f"{route.operation.name} is not supported by this server.")


def no_such_path(request: Request) -> ApiError:
    return unknown_operation(f"There is no operation at {request.method} {request.path[:200]}.")


def _label_member(route: Route) -> dict[str, str]:
    return dict([route.label]) if route.label is not None else {}


def _query_members(query: str, shape: type[msgspec.Struct]) -> dict[str, str | list[str]]:
    lists = _list_members(shape)
    members: dict[str, str | list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        known = members.get(name)
        if isinstance(known, list):
            known.append(value)
        else:
            members[name] = [value] if name in lists else value
    return members


@cache
def _list_members(shape: type[msgspec.Struct]) -> frozenset[str]:
    """Wire names of the members that are lists."""
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    return frozenset(field.encode_name for field in info.fields if _is_list(field.type))


def _is_list(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_is_list(member) for member in kind.types)
    return isinstance(kind, inspect.ListType)
