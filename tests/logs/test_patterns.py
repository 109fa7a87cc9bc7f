"""Filter patterns: the examples of AWS's documentation, and regular expressions beside Python's own."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchyard.logs.expressions import UnsupportedExpressionError, compile_expression
from batchyard.logs.patterns import UnsupportedPatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "wanted", "unwanted"),
    [
        ("", ["anything", ""], []),
        ("   ", ["anything"], []),
        ("ERROR", ["[ERROR 400] BAD REQUEST", "ERROR"], ["error", "fine"]),
        ("ERROR ARGUMENTS", ["[ERROR 419] MISSING ARGUMENTS", "ARGUMENTS ERROR"], ["[ERROR 400] BAD REQUEST"]),
        ("?ERROR ?ARGUMENTS", ["[ERROR 400] BAD REQUEST", "FEW ARGUMENTS"], ["fine"]),
        ('"INTERNAL SERVER ERROR"', ["[ERROR 500] INTERNAL SERVER ERROR"], ["INTERNAL ERROR"]),
        (r'"say \"no\""', ['they say "no" again'], ["say no"]),
        ("ERROR -ARGUMENTS", ["[ERROR 400] BAD REQUEST"], ["[ERROR 419] MISSING ARGUMENTS", "fine"]),
        ("-ARGUMENTS", ["fine"], ["MISSING ARGUMENTS"]),
        ('-"a b"', ["b a"], ["a b"]),
        ("?ERROR INFO", ["INFO"], ["ERROR"]),
        ("%AUTHORIZED%", ["UNAUTHORIZED 401"], ["authorized"]),
        ("%^2014/05/%", ["2014/05/01 x"], ["on 2014/05/01"]),
        ("?%a+b$% ?c", ["xaab", "c"], ["aabx"]),
        ("-%[0-9]{3}%", ["12"], ["1234"]),
        ("naïve", ["naïve"], ["naive"]),
    ],
)
def test_patterns(pattern: str, wanted: list[str], unwanted: list[str]) -> None:
    matches = compile_pattern(pattern)
    assert [message for message in wanted if not matches(message)] == []
    assert [message for message in unwanted if matches(message)] == []


@pytest.mark.parametrize("pattern", ["[ip, user]", '"open', "%open", 'a"b"', "%(a)%", "%a{3,1}%", r"%\q%", "%a**%"])
def test_what_is_not_understood_is_refused_in_words(pattern: str) -> None:
    with pytest.raises(UnsupportedPatternError) as refused:
        compile_pattern(pattern)
    assert len(str(refused.value)) > 20


_atoms = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", r"\.", r"\x61", "[a-c1]", r"[\]b]", "é", r"\$", r"\|"]
)
_counts = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,1}", "{1,}", "{0,}", "{0}"])
_sequences = st.tuples(
    st.sampled_from(["", "", "^"]),
    st.lists(st.tuples(_atoms, _counts).map("".join), max_size=4).map("".join),
    st.sampled_from(["", "", "$"]),
).map("".join)
_expressions = st.lists(_sequences, min_size=1, max_size=3).map("|".join)


@given(expression=_expressions, text=st.text("ab1c.]é$|\n", max_size=8))
@example(expression="a$|b", text="a\n")
def test_expressions_match_as_pythons_do(expression: str, text: str) -> None:
    # Python's `$` also matches before a line feed at the end.
    as_python = re.sub(r"(?<!\\)\$(?=\||$)", r"\\Z", expression)
    wanted = re.compile(as_python, re.DOTALL | re.ASCII).search(text) is not None
    assert compile_expression(expression)(text) is wanted


@given(expression=st.text(string.printable, max_size=20))
def test_any_text_is_an_expression_or_refused(expression: str) -> None:
    try:
        compile_expression(expression)("some text")
    except UnsupportedExpressionError:
        pass


def test_no_expression_makes_matching_slow() -> None:
    # A backtracking matcher would need more than the age of the universe for this.
    assert not compile_expression(".*" * 30 + "x")("a" * 20_000)
