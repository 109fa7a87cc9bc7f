"""Requests for any operation of AWS Batch, drawn from the service model and from the requests of the CLI's scenario, some of
them sound and most of them broken in one place or many. The same seed gives the same requests."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

ODD_TEXTS = [
    "",
    " ",
    "\0",
    "\ud7ff",
    "²",
    "ﬀ",
    "a" * 129,
    "x" * 5000,
    "../../etc/passwd",
    "%s%n",
    "'; --",
    "*",
    "arn:",
    "arn:aws:batch:::",
    "Ref::x",
    "00000000-0000-4000-8000-000000000000:²",
    "00000000-0000-4000-8000-000000000000#0",
    "{}",
    "-1",
    "1e999",
    "AWS_BATCH_JOB_ID",
    "aws:reserved",
]
ODD_NUMBERS = [-1, 0, 1, 2, 59, 60, 9999, 10_000, 10_001, 2**31, 2**63, -(2**63) - 1, 0.5, -0.0, 1e308, 10**40]
JUNK = [None, True, [], {}, [None], [[]], {"": None}, {"x": {"y": [1]}}, "x", 1.5]
DEEPEST = 6
_NAMED = re.compile(r"\{[a-z-]+\}")


class RandomRequests:
    """Draws requests. `known` holds the names, ids and ARNs of what is there, so that some requests get further than "not
    found"; `examples` are sound requests by operation, to be changed here and there."""

    def __init__(self, random: Random, known: list[str], examples: dict[str, list[dict[str, Any]]]) -> None:
        self._random = random
        self._known = known
        self._examples = examples

    def draw(self, operation: OperationModel) -> Any:
        """The members of a request."""
        shape = operation.input_shape
        chance = self._random.random()
        if chance < 0.02:
            return self._random.choice(JUNK)
        examples = self._examples.get(operation.name)
        if examples and chance < 0.6:
            request = self._filled_in(self._random.choice(examples))
            for _ in range(self._random.choice((0, 1, 1, 2, 5))):
                self._change(shape, request)
            return request
        return self._structure(shape, 0)

    def _filled_in(self, value: Any) -> Any:
        """A copy, in which what has a `{name}` in it is replaced by something known."""
        if isinstance(value, dict):
            return {name: self._filled_in(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._filled_in(element) for element in value]
        return self._random.choice(self._known) if isinstance(value, str) and _NAMED.search(value) else value

    def _change(self, shape: Shape, value: Any) -> None:
        """Changes a member somewhere in a structure or a list."""
        places = list(_places(shape, value))
        if not places:
            return
        container, key, inner = self._random.choice(places)
        if isinstance(container, dict) and self._random.random() < 0.3:
            del container[key]
        elif isinstance(container, list) and self._random.random() < 0.3:
            container.append(copy.deepcopy(container[key]))
        else:
            container[key] = self._value(inner, 2)

    def _value(self, shape: Shape, depth: int) -> Any:
        if self._random.random() < 0.03:
            return self._random.choice(JUNK)
        if isinstance(shape, StructureShape):
            return self._structure(shape, depth)
        if isinstance(shape, ListShape):
            size = 0 if depth > DEEPEST else self._random.choice((0, 1, 1, 2, 3))
            return [self._value(shape.member, depth + 1) for _ in range(size)]
        if isinstance(shape, MapShape):
            keys = self._random.sample(["Name", "team", "awslogs-group", *ODD_TEXTS], self._random.choice((0, 1, 2)))
            return {key: self._value(shape.value, depth + 1) for key in keys}
        return self._scalar(shape)

    def _structure(self, shape: StructureShape, depth: int) -> dict[str, Any]:
        chance = self._random.choice((0.0, 0.1, 0.3, 0.7)) if depth < DEEPEST else 0.0
        omits = self._random.random() < 0.1
        return {
            name: self._value(member, depth + 1)
            for name, member in shape.members.items()
            if (name in shape.required_members and not omits) or self._random.random() < chance
        }

    def _scalar(self, shape: Shape) -> Any:
        odd = self._random.random() < 0.15
        if shape.type_name == "string":
            choices: Sequence[str] = getattr(shape, "enum", None) or self._known
            return self._random.choice(ODD_TEXTS if odd else choices)
        if shape.type_name == "boolean":
            return self._random.random() < 0.5
        return self._random.choice(ODD_NUMBERS) if odd else self._random.randint(0, 100)


def _places(shape: Shape, value: Any) -> Any:
    """Every value inside a structure or list: its container, its key or index, its shape."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        inner = [(value, name, shape.members[name]) for name in value if name in shape.members]
    elif isinstance(shape, ListShape) and isinstance(value, list):
        inner = [(value, index, shape.member) for index in range(len(value))]
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        inner = [(value, key, shape.value) for key in value]
    else:
        return
    for container, key, each in inner:
        yield container, key, each
        yield from _places(each, container[key])
