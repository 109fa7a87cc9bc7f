"""From bytes or text to the generated input shapes, and from the decoder's complaints to sentences for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

_PATH_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")
_EXPECTED_TYPE = re.compile(r"Expected `([a-z| ]+)`, got `([a-z]+)`")
_EXPECTED_LENGTH = re.compile(r"Expected `(str|array|object)` of length (<=|>=) (\d+)")
_EXPECTED_RANGE = re.compile(r"Expected `(?:int|float)` (<=|>=) (\S+)")
_MISSING_FIELD = re.compile(r"Object missing required field `(.+)`")

_LONGEST_MESSAGE = 512

_TYPE_WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_UNITS = {"str": "characters", "array": "elements", "object": "entries"}
_BOUNDS = {"<=": "at most", ">=": "at least"}


class InvalidInputError(Exception):
    """The input doesn't fit the service model. `well_formed` is False when it is not even JSON of the right types,
    True when a value breaks a rule of the model (length, pattern, range, enumeration, required)."""

    def __init__(self, message: str, *, well_formed: bool) -> None:
        super().__init__(message[:_LONGEST_MESSAGE])
        self.message = message[:_LONGEST_MESSAGE]
        self.well_formed = well_formed


def decode_json(body: bytes, shape: type[msgspec.Struct]) -> msgspec.Struct:
    """An input shape from a JSON body; an empty body stands for `{}`. Raises `InvalidInputError`."""
    try:
        return _decoder(shape).decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise _explained(str(error), shape) from None
    except RecursionError:
        raise InvalidInputError("The request body is nested too deeply", well_formed=False) from None
    except ValueError as error:
        raise _malformed(error) from None


def decode_members(members: Mapping[str, Any], shape: type[msgspec.Struct], *, text: bool) -> msgspec.Struct:
    """An input shape from members by wire name; with `text` all values are strings as a path or a query gives them.
    Raises `InvalidInputError`."""
    try:
        return msgspec.convert(members, shape, strict=not text)
    except msgspec.ValidationError as error:
        raise _explained(str(error), shape) from None
    except RecursionError:
        raise InvalidInputError("The request is nested too deeply", well_formed=False) from None


def decode_object(body: bytes) -> dict[str, Any]:
    """A JSON object of any members; an empty body stands for `{}`. Raises `InvalidInputError`."""
    try:
        return _any_object.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise _explained(str(error), None) from None
    except RecursionError:
        raise InvalidInputError("The request body is nested too deeply", well_formed=False) from None
    except ValueError as error:
        raise _malformed(error) from None


_any_object = msgspec.json.Decoder(dict[str, Any])


@cache
def _decoder(shape: type[msgspec.Struct]) -> msgspec.json.Decoder[msgspec.Struct]:
    return msgspec.json.Decoder(shape)


def _malformed(error: ValueError) -> InvalidInputError:
    if isinstance(error, UnicodeDecodeError):
        return InvalidInputError("The request body is not valid UTF-8", well_formed=False)
    detail = str(error).removeprefix("JSON is malformed: ")
    return InvalidInputError(f"The request body is not valid JSON: {detail}", well_formed=False)


def _explained(complaint: str, shape: type[msgspec.Struct] | None) -> InvalidInputError:
    """msgspec's complaint (`Expected `int`, got `str` - at `$.a.b``) as a sentence that begins with the member."""
    what, _, where = complaint.rpartition(" - at ")
    if not where.startswith("`"):
        what, where = complaint, ""
    is_key = where.startswith("`key` in ")
    path = where.removeprefix("`key` in ").strip("`").removeprefix("$")
    member = path.removeprefix(".")

    if missing := _MISSING_FIELD.fullmatch(what):
        name = f"{member}.{missing[1]}" if member else missing[1]
        return InvalidInputError(f"{name}: this member is required", well_formed=True)

    subject = f"a key of {member or 'the request'}" if is_key else member or "The request body"
    if mismatch := _EXPECTED_TYPE.fullmatch(what):
        expected = [_TYPE_WORDS.get(name, name) for name in mismatch[1].split(" | ") if name != "null"]
        found = _TYPE_WORDS.get(mismatch[2], mismatch[2])
        return InvalidInputError(f"{subject}: expected {' or '.join(expected)}, got {found}", well_formed=False)
    if length := _EXPECTED_LENGTH.fullmatch(what):
        return InvalidInputError(
            f"{subject}: must have {_BOUNDS[length[2]]} {length[3]} {_UNITS[length[1]]}", well_formed=True
        )
    if bound := _EXPECTED_RANGE.fullmatch(what):
        return InvalidInputError(f"{subject}: must be {_BOUNDS[bound[1]]} {bound[2]}", well_formed=True)
    if what.startswith("Expected `str` matching regex "):
        pattern = what.removeprefix("Expected `str` matching regex ")
        return InvalidInputError(f"{subject}: does not match the pattern {pattern}", well_formed=True)
    if what.startswith("Invalid enum value "):
        value = what.removeprefix("Invalid enum value ")[:100]
        allowed = ", ".join(_allowed_values(shape, path)) if shape is not None else ""
        return InvalidInputError(f"{subject}: {value} is not one of {allowed}", well_formed=True)
    return InvalidInputError(f"{subject}: {what[:1].lower()}{what[1:]}", well_formed=False)


def _allowed_values(shape: type[msgspec.Struct], path: str) -> list[str]:
    """The values of the enumeration that stands at a path such as `.dependsOn[0].type`."""
    types = [_type_info(shape)]
    for step in _PATH_STEP.finditer(path):
        types = [inner for outer in types for inner in _step_into(outer, step[1])]
    return [str(value) for kind in types if isinstance(kind, inspect.LiteralType) for value in kind.values]


def _step_into(outer: inspect.Type, member: str | None) -> Iterator[inspect.Type]:
    inner: list[inspect.Type] = []
    if isinstance(outer, inspect.StructType):
        inner = [field.type for field in outer.fields if field.encode_name == member]
    elif isinstance(outer, inspect.ListType):
        inner = [outer.item_type]
    elif isinstance(outer, inspect.DictType):
        inner = [outer.value_type]
    for kind in inner:
        yield from kind.types if isinstance(kind, inspect.UnionType) else (kind,)


@cache
def _type_info(shape: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(shape)
