"""Holds every response against the service model that the client itself uses.

Types, unknown members, nulls, enumerations, required members: a client in another language, with strict types, breaks on
what boto3 lets pass. Timestamps of Batch and of Logs are integers in the model, so a float or a text is found too.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

NOT_ALWAYS_THERE = {
    ("JobDetail", "startedAt"),  # The model says required; AWS leaves it out before the start.
    ("DescribeServiceJobResponse", "startedAt"),  # Likewise.
}

IN_ANY_CASE = {"RetryAction"}
"""Comes back as it was sent, and may be sent in lower case."""

_INTEGERS = {"integer": 2**31, "long": 2**63}


def watch(client: Any) -> None:
    """From now on, a JSON response to this client that breaks its model raises `AssertionError` from the call."""
    service = client.meta.service_model
    if service.protocol not in ("rest-json", "json"):
        return

    def check(response_dict: Any = None, operation_name: str = "", **event: Any) -> None:
        name = operation_name or event["event_name"].rpartition(".")[2]
        if response_dict is None or response_dict["status_code"] >= 300:
            return
        if int(response_dict["headers"]["content-length"]) != len(response_dict["body"]):
            return  # The server was killed in the middle of it.
        complaints = complaints_about(service.operation_model(name), response_dict["body"])
        assert not complaints, f"{name} answered {response_dict['body'][:2000]!r}: {complaints}"

    client.meta.events.register(f"response-received.{service.service_id.hyphenize()}", check)


def complaints_about(operation: OperationModel, body: bytes) -> list[str]:
    """What is wrong with a JSON body as the output of an operation."""
    shape = operation.output_shape
    answer = json.loads(body) if body else None
    if shape is None:
        return [] if answer in (None, {}) else ["should be empty"]
    return list(_complaints(shape, answer, "$"))


def _complaints(shape: Shape, value: Any, path: str) -> list[str]:
    if value is None:
        return [f"{path} is null"]
    if isinstance(shape, StructureShape):
        return _structure(shape, value, path)
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [text for n, element in enumerate(value) for text in _complaints(shape.member, element, f"{path}[{n}]")]
    if isinstance(shape, MapShape):
        if not isinstance(value, dict):
            return [f"{path} is no map"]
        return [text for key, element in value.items() for text in _complaints(shape.value, element, f"{path}.{key}")]
    return _scalar(shape, value, path)


def _structure(shape: StructureShape, value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} is no structure"]
    names = {member.serialization.get("name", name): name for name, member in shape.members.items()}
    found = [f"{path}.{name} is not in {shape.name}" for name in value if name not in names]
    found += [
        f"{path}.{name} is missing"
        for name in shape.required_members
        if name not in value and (shape.name, name) not in NOT_ALWAYS_THERE
    ]
    for name, member in value.items():
        if name in names:
            found += _complaints(shape.members[names[name]], member, f"{path}.{name}")
    return found


def _scalar(shape: Shape, value: Any, path: str) -> list[str]:
    kind = shape.type_name
    if kind == "string":
        if not isinstance(value, str):
            return [f"{path} is no string"]
        allowed = getattr(shape, "enum", None)
        known = value.upper() if shape.name in IN_ANY_CASE else value
        return [f"{path}: {value!r} is not one of {allowed}"] if allowed and known not in allowed else []
    if kind in _INTEGERS:
        fits = isinstance(value, int) and not isinstance(value, bool) and -_INTEGERS[kind] <= value < _INTEGERS[kind]
        return [] if fits else [f"{path}: {value!r} is no {kind}"]
    if kind == "boolean":
        return [] if isinstance(value, bool) else [f"{path}: {value!r} is no boolean"]
    if kind in ("double", "float"):
        return [] if isinstance(value, int | float) and not isinstance(value, bool) else [f"{path} is no number"]
    return [f"{path} has the type {kind}, which these services do not use"]
