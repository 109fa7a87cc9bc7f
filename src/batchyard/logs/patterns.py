"""Filter patterns of FilterLogEvents: which messages are wanted.

The syntax is that of "Filter pattern syntax for metric filters, subscription filters, filter log events, and Live Tail"
(Amazon CloudWatch Logs User Guide): terms, `"quoted phrases"`, `?optional`, `-excluded`, `%regular expressions%`, and
JSON selectors (see `json_patterns.py`). Patterns for space-delimited events (`[ip, user, …]`) are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from batchyard.logs.expressions import UnsupportedExpressionError, compile_expression
from batchyard.logs.json_patterns import UnsupportedSelectionError, compile_json_pattern

Predicate = Callable[[str], bool]

_TERM = re.compile(
    r"""\s*(?P<sign>[?-]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|%(?P<expression>(?:[^%\\]|\\.)*)%|(?P<word>[^\s"%]+))(?=\s|$)""",
    re.DOTALL,
)


class UnsupportedPatternError(ValueError):
    """The pattern is wrong, or of a kind that is not understood here. The text says which."""


def compile_pattern(pattern: str) -> Predicate:
    """What decides whether a message is wanted; the empty pattern wants every one. Raises UnsupportedPatternError."""
    pattern = pattern.strip()
    if pattern.startswith("{"):
        try:
            return compile_json_pattern(pattern)
        except UnsupportedSelectionError as error:
            raise UnsupportedPatternError(str(error)) from None
    if pattern.startswith("["):
        raise UnsupportedPatternError("patterns for space-delimited log events ([…]) are not supported.")
    required: list[Predicate] = []
    optional: list[Predicate] = []
    excluded: list[Predicate] = []
    position = 0
    while position < len(pattern):
        term = _TERM.match(pattern, position)
        if term is None:
            raise UnsupportedPatternError(f"can't read it from {pattern[position : position + 40].strip()!r} on.")
        {"": required, "?": optional, "-": excluded}[term["sign"]].append(_term_predicate(term))
        position = term.end()

    if required or excluded:  # AWS ignores optional terms beside others.
        return lambda message: (
            all(wanted(message) for wanted in required) and not any(unwanted(message) for unwanted in excluded)
        )
    if optional:
        return lambda message: any(wanted(message) for wanted in optional)
    return lambda _message: True


def _term_predicate(term: re.Match[str]) -> Predicate:
    if term["expression"] is not None:
        try:
            return compile_expression(term["expression"])
        except UnsupportedExpressionError as error:
            raise UnsupportedPatternError(str(error)) from None
    text = term["word"] if term["phrase"] is None else re.sub(r"\\(.)", r"\1", term["phrase"], flags=re.DOTALL)
    return lambda message: text in message
