r"""Regular expressions of filter patterns, matched in time linear in the text, whatever the expression.

CloudWatch Logs allows only `^ $ ? [ ] { } | \ * + .`, `\d \D \s \S \w \W` and `\xhh`: no groups. So an expression is a
choice between sequences of single characters with a count each, and a set of states can be kept as the bits of one
integer: bit n says that item n may match the next character. The step from one such set to the next by a character is
remembered once it has been worked out. (A backtracking matcher would let a caller stop the server with one line.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_MAX_ITEMS = 1000
_ITEM = re.compile(
    r"(?P<one>\[(?P<set>\^?\]?(?:[^\]\\]|\\.)*)\]|\\x[0-9A-Fa-f]{2}|\\.|[^\\\[{}*+?|()])"
    r"(?P<count>[*+?]|\{(?P<least>\d{1,4})(?P<to>,(?P<most>\d{0,4}))?\})?",
    re.DOTALL,
)

_CharacterTest = Callable[[str], bool]


class UnsupportedExpressionError(ValueError):
    """The regular expression is wrong, or uses more than CloudWatch Logs allows. The text says which."""


class _Item(NamedTuple):
    """A single character to match, or (`test` is None) the end of a sequence."""

    test: _CharacterTest | None
    repeats: bool = False
    optional: bool = False
    at_end: bool = False
    """For the end of a sequence: the text must end there too."""


def compile_expression(expression: str) -> Callable[[str], bool]:
    """Whether the expression matches somewhere in a text. Raises UnsupportedExpressionError."""
    items: list[_Item] = []
    anywhere = only_at_start = 0
    for sequence in _split_choices(expression):
        first = 1 << len(items)
        if sequence.startswith("^"):
            only_at_start |= first
        else:
            anywhere |= first
        items += _parse_sequence(sequence.removeprefix("^"))
        if len(items) > _MAX_ITEMS:
            raise UnsupportedExpressionError("the regular expression is too long.")
    return _matcher(items, anywhere, only_at_start)


def _matcher(items: list[_Item], anywhere: int, only_at_start: int) -> Callable[[str], bool]:
    optional = _bits(items, lambda item: item.optional)
    repeats = _bits(items, lambda item: item.repeats)
    found = _bits(items, lambda item: item.test is None and not item.at_end)
    found_at_end = _bits(items, lambda item: item.test is None)

    def skip_optional(states: int) -> int:
        while (more := states | (states & optional) << 1) != states:
            states = more
        return states

    accepting: dict[str, int] = {}
    steps: dict[tuple[int, str], int] = {}
    anywhere = skip_optional(anywhere)
    initial = anywhere | skip_optional(only_at_start)

    def step(states: int, character: str) -> int:
        accepts = accepting.get(character)
        if accepts is None:
            accepts = _bits(items, lambda item: item.test is not None and item.test(character))
            if len(accepting) < 4096:
                accepting[character] = accepts
        taken = states & accepts
        # A repeated item may match again as well as be left.
        after = skip_optional(taken << 1 | taken & repeats) | anywhere
        if len(steps) < 16384:
            steps[states, character] = after
        return after

    def matches(text: str) -> bool:
        states = initial
        for character in text:
            if states & found:
                return True
            after = steps.get((states, character))
            states = step(states, character) if after is None else after
        return bool(states & found_at_end)

    return matches


def _bits(items: list[_Item], wanted: Callable[[_Item], bool]) -> int:
    return sum(1 << index for index, item in enumerate(items) if wanted(item))


def _split_choices(expression: str) -> list[str]:
    """Split at each `|` that stands neither in brackets nor behind a backslash."""
    choices = [""]
    for piece in re.findall(r"\\.|\[\^?\]?(?:[^\]\\]|\\.)*\]|\||.", expression, re.DOTALL):
        if piece == "|":
            choices.append("")
        else:
            choices[-1] += piece
    return choices


def _parse_sequence(sequence: str) -> list[_Item]:
    at_end = re.search(r"(?<!\\)(?:\\\\)*\$\Z", sequence) is not None
    if at_end:
        sequence = sequence[:-1]
    items: list[_Item] = []
    position = 0
    while position < len(sequence):
        match = _ITEM.match(sequence, position)
        if match is None or match["one"] in ("^", "$"):
            raise UnsupportedExpressionError(
                f"the regular expression is not understood from {sequence[position : position + 20]!r} on "
                "(groups are not supported)."
            )
        test = _character_test(match)
        least, most = _counts(match)
        if max(least, most or 0) > _MAX_ITEMS or (most is not None and most < least):
            raise UnsupportedExpressionError(f"the count {match['count']} is not possible.")
        if most is None:
            items += [_Item(test)] * (least - 1) + [_Item(test, repeats=True, optional=least == 0)]
        else:
            items += [_Item(test)] * least + [_Item(test, optional=True)] * (most - least)
        position = match.end()
    return [*items, _Item(None, at_end=at_end)]


def _counts(item: re.Match[str]) -> tuple[int, int | None]:
    """How often at least and at most (None: without bound) an item has to match."""
    if item["least"] is None:
        return {"": (1, 1), "*": (0, None), "+": (1, None), "?": (0, 1)}[item["count"] or ""]
    least = int(item["least"])
    if item["to"] is None:
        return least, least
    return least, int(item["most"]) if item["most"] else None


def _character_test(item: re.Match[str]) -> _CharacterTest:
    """Single characters only, so the matcher of the standard library can't be led astray by them."""
    one = item["one"]
    if item["set"] is None and re.fullmatch(r"\\[A-Za-z0-9]", one) and one[1] not in "dDsSwW":
        raise UnsupportedExpressionError(f"{one} is not supported in regular expressions.")
    if item["set"] is not None:  # Python means to give these a meaning within a set one day.
        one = "[" + re.sub(r"\\.|[\[&~|]", lambda found: found[0] if len(found[0]) > 1 else "\\" + found[0], one[1:])
    try:
        compiled = re.compile(one, re.DOTALL | re.ASCII)
    except re.error as error:
        raise UnsupportedExpressionError(f"{one} is not a character class: {error}.") from None
    return lambda character: compiled.fullmatch(character) is not None
