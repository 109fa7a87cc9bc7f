"""Filter patterns over JSON messages: `{ $.level = "error" && ($.code >= 500 || $.user.name != guest*) }`.

"Filter pattern syntax …", Amazon CloudWatch Logs User Guide. A condition compares one value of the message, named by a
selector (`$.a.b`, `$.list[0]`, `$.list[*]`, `$['any name']`), by `=`, `!=`, `<`, `<=`, `>`, `>=` with a number, a string (in
which `*` stands for anything) or a `%regular expression%`; or by `IS NULL`, `IS TRUE`, `IS FALSE`, `EXISTS`, `NOT EXISTS`.
`&&` binds closer than `||`. A message that is no JSON object or array is not wanted; a selector that leads nowhere makes
every condition but `NOT EXISTS` false.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from batchyard.logs.expressions import UnsupportedExpressionError, compile_expression

Predicate = Callable[[str], bool]
_Condition = Callable[[Any], bool]

_MAX_NESTING = 50

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<selector>\$(?:\.[\w-]+|\[(?:\d+|\*|'(?:[^'\\]|\\.)*')\])+)
    | (?P<operator>&&|\|\||!=|<=|>=|[=<>(){}])
    | "(?P<string>(?:[^"\\]|\\.)*)"
    | %(?P<expression>(?:[^%\\]|\\.)*)%
    | (?P<word>[^\s=!<>(){}&|"%$]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_STEP = re.compile(r"\.(?P<name>[\w-]+)|\[(?:(?P<index>\d+)|(?P<any>\*)|'(?P<quoted>(?:[^'\\]|\\.)*)')\]")
_ORDERINGS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class UnsupportedSelectionError(ValueError):
    """The pattern is wrong or not understood. The text says where."""


class _Token(NamedTuple):
    kind: str
    text: str


def compile_json_pattern(pattern: str) -> Predicate:
    """What decides whether a message is wanted. `pattern` has its braces. Raises UnsupportedSelectionError."""
    reader = _Reader(_tokens(pattern))
    reader.take("operator", "{")
    condition = reader.alternatives(0)
    reader.take("operator", "}")
    reader.take("end")

    def matches(message: str) -> bool:
        if not message.lstrip().startswith(("{", "[")):
            return False
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return False
        return condition(value)

    return matches


def _tokens(pattern: str) -> list[_Token]:
    tokens = []
    pattern = pattern.rstrip()
    position = 0
    while position < len(pattern):
        match = _TOKEN.match(pattern, position)
        if match is None or match.lastgroup is None:
            raise UnsupportedSelectionError(f"can't read it from {pattern[position : position + 40].strip()!r} on.")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return [*tokens, _Token("end", "the end of the pattern")]


class _Reader:
    """Goes through the tokens once, from left to right."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._position = 0

    def take(self, kind: str, text: str | None = None) -> str:
        """The next token, which has to be of this kind."""
        if not self._next_is(kind, text):
            found = self._tokens[self._position].text
            raise UnsupportedSelectionError(f"expected {text or f'a {kind}'!r} instead of {found[:40]!r}.")
        self._position += 1
        return self._tokens[self._position - 1].text

    def _next_is(self, kind: str, text: str | None = None) -> bool:
        token = self._tokens[self._position]
        return token.kind == kind and (text is None or token.text.upper() == text)

    def _skip(self, kind: str, text: str) -> bool:
        if found := self._next_is(kind, text):
            self._position += 1
        return found

    def alternatives(self, depth: int) -> _Condition:
        choices = [self._conjunction(depth)]
        while self._skip("operator", "||"):
            choices.append(self._conjunction(depth))
        return lambda value: any(choice(value) for choice in choices)

    def _conjunction(self, depth: int) -> _Condition:
        parts = [self._condition(depth)]
        while self._skip("operator", "&&"):
            parts.append(self._condition(depth))
        return lambda value: all(part(value) for part in parts)

    def _condition(self, depth: int) -> _Condition:
        if depth > _MAX_NESTING:
            raise UnsupportedSelectionError("the parentheses are nested too deeply.")
        if self._skip("operator", "("):
            inner = self.alternatives(depth + 1)
            self.take("operator", ")")
            return inner
        select = _selector(self.take("selector"))
        if self._skip("word", "EXISTS"):
            return lambda value: bool(select(value))
        if self._skip("word", "NOT"):
            self.take("word", "EXISTS")
            return lambda value: not select(value)
        if self._skip("word", "IS"):
            constants = {"NULL": None, "TRUE": True, "FALSE": False}
            name = self.take("word").upper()
            if name not in constants:
                raise UnsupportedSelectionError(f"expected NULL, TRUE or FALSE instead of {name[:40]!r}.")
            wanted = constants[name]
            return lambda value: any(found is wanted for found in select(value))
        compare = self._comparison()
        return lambda value: any(compare(found) for found in select(value))

    def _comparison(self) -> _Condition:
        sign = self.take("operator")
        token = self._tokens[self._position]
        self._position += 1
        if sign in _ORDERINGS:
            bound = _number(token.text) if token.kind == "word" else None
            if bound is None:
                raise UnsupportedSelectionError(f"{sign} needs a number instead of {token.text[:40]!r}.")
            order = _ORDERINGS[sign]
            return lambda found: (number := _number(found)) is not None and order(number, bound)
        if sign not in ("=", "!="):
            raise UnsupportedSelectionError(f"expected a comparison instead of {sign!r}.")
        equals = _equality(token)
        return equals if sign == "=" else lambda found: not equals(found)


def _equality(token: _Token) -> _Condition:
    if token.kind == "expression":
        try:
            matches = compile_expression(token.text)
        except UnsupportedExpressionError as error:
            raise UnsupportedSelectionError(str(error)) from None
        return lambda found: _is_scalar(found) and matches(_text(found))
    if token.kind not in ("string", "word"):
        raise UnsupportedSelectionError(f"expected a value instead of {token.text[:40]!r}.")
    wanted = re.sub(r"\\(.)", r"\1", token.text, flags=re.DOTALL) if token.kind == "string" else token.text
    number = _number(wanted) if token.kind == "word" else None
    parts = wanted.split("*")

    def equals(found: Any) -> bool:
        if not _is_scalar(found):
            return False
        if number is not None and not isinstance(found, str):
            return _number(found) == number
        return _has_parts(_text(found), parts)

    return equals


def _has_parts(text: str, parts: list[str]) -> bool:
    """Whether a text is the parts in this order, with anything between them."""
    first, *middle = parts
    if not middle:
        return text == first
    *middle, last = middle
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: Any) -> float | None:
    """A JSON number, or one written as a pattern writes it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", value, re.ASCII):
        return float(value)
    return None


def _selector(text: str) -> Callable[[Any], list[Any]]:
    """What finds the values that a selector leads to: none, one, or with `[*]` any number."""
    steps: list[str | int | None] = []
    for step in _STEP.finditer(text):
        if step["index"] is not None:
            steps.append(int(step["index"]))
        elif step["any"] is not None:
            steps.append(None)
        else:
            steps.append(step["name"] or re.sub(r"\\(.)", r"\1", step["quoted"] or "", flags=re.DOTALL))

    def select(value: Any) -> list[Any]:
        values = [value]
        for step in steps:
            if step is None:
                values = [element for value in values if isinstance(value, list) for element in value]
            elif isinstance(step, int):
                values = [value[step] for value in values if isinstance(value, list) and step < len(value)]
            else:
                values = [value[step] for value in values if isinstance(value, dict) and step in value]
        return values

    return select
