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


EVENT = """{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "arrayKey": ["value", "another value"],
 "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "ThisFlag": true,
 "cluster.name": "c", "bandwidth": 20, "code": "500", "pi": 3.5}"""


@pytest.mark.parametrize(
    "pattern",
    [
        '{ $.eventType = "UpdateTrail" }',
        "{$.eventType=UpdateTrail}",
        "{ $.sourceIPAddress != 123.123.* }",
        "{ $.sourceIPAddress = 111.*.111 }",
        '{ $.arrayKey[0] = "value" }',
        '{ $.arrayKey[*] = "another value" }',
        "{ $.objectList[1].id = 2 }",
        "{ $.objectList[*].id >= 2 }",
        "{ $.SomeObject IS NULL }",
        "{ $.SomeOtherObject NOT EXISTS }",
        "{ $.SomeObject EXISTS }",
        "{ $.ThisFlag is true }",
        "{ $.['cluster.name'] = \"c\" }".replace(".[", "["),
        "{ $.bandwidth > 1e1 && $.bandwidth <= 20.0 }",
        "{ $.bandwidth = 20 }",
        "{ $.code = 500 }",
        "{ $.code >= 500 }",
        "{ $.pi < 4 && ($.pi = 1 || $.pi != 2) }",
        "{ $.pi = 1 && $.pi = 2 || $.pi = 3.5 }",
        "{ $.eventType = %^Up[a-z]+T% }",
    ],
)
def test_selections_of_json_that_hold(pattern: str) -> None:
    assert compile_pattern(pattern)(EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        '{ $.eventType = "updatetrail" }',
        "{ $.eventType = Update }",
        "{ $.missing != 1 }",
        "{ $.arrayKey = value }",
        "{ $.arrayKey[9] = value }",
        "{ $.eventType.deeper = 1 }",
        "{ $.SomeObject IS FALSE }",
        "{ $.SomeObject = 0 }",
        "{ $.SomeObject NOT EXISTS }",
        "{ $.ThisFlag = 1 }",
        "{ $.ThisFlag > 0 }",
        "{ $.eventType < 5 }",
        "{ $.bandwidth < 20 || $.bandwidth > 20 }",
        "{ $.pi = 3.5 && ($.pi = 1 || $.pi = 2) }",
        '{ $.eventType = "U*pdateTrail*l" }',
        "{ $.eventType = %^a% }",
    ],
)
def test_selections_of_json_that_do_not_hold(pattern: str) -> None:
    assert not compile_pattern(pattern)(EVENT)


@pytest.mark.parametrize("message", ["", "text", "{", "[" * 100_000, "7", '"x"', "{} {}", "[]", "{}"])
def test_messages_that_are_no_json_are_not_selected(message: str) -> None:
    assert not compile_pattern("{ $.a = 1 }")(message)


@given(pattern=st.text("{}$.a=1 &|()<!%\"'[]*\\", max_size=20).map(lambda text: "{" + text + "}"))
@example(pattern="{" + "(" * 500 + "$.a=1" + ")" * 500 + "}")
def test_any_selection_is_understood_or_refused(pattern: str) -> None:
    try:
        compile_pattern(pattern)('{"a": [1, "1"]}')
    except UnsupportedPatternError:
        pass


@pytest.mark.parametrize(
    "pattern",
    [
        "{",
        "{}",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a < b }",
        "{ $.a IS 7 }",
        "{ ($.a = 1 }",
        "[ip, user]",
        '"open',
        "%open",
        'a"b"',
        "%(a)%",
        "%a{3,1}%",
        r"%\q%",
        "%a**%",
    ],
)
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
