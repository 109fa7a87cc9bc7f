"""Which jobs of a queue with quota shares run: worked examples (User Guide "Quota shares", "Preemption")."""

from __future__ import annotations

from typing import Any

import pytest
from quota_story import LARGE, QuotaStory, limits, sharing

from batchyard.kernel.ordering.quota_share import (
    ABOVE_BORROWING,
    ABOVE_LENDING,
    ABOVE_LIMITS,
    Claim,
    Share,
    too_large,
)
from batchyard.kernel.waiting import explain

CODE = "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED"


def lend(name: str, own: int) -> Share:
    return Share(name=name, limits={LARGE: own}, lends=True)


def reserve(name: str, own: int) -> Share:
    return Share(name=name, limits={LARGE: own})


def borrow(name: str, own: int, limit: int = -1) -> Share:
    return Share(name=name, limits={LARGE: own}, lends=True, borrows=True, borrow_limit=limit)


@pytest.mark.parametrize(
    ("shares", "largest", "above"),
    [
        ([reserve("a", 4), lend("b", 4)], 4, ABOVE_LIMITS),
        ([lend("a", 4), lend("b", 4)], 4, ABOVE_LIMITS),
        ([borrow("a", 2, 100), lend("b", 6)], 4, ABOVE_BORROWING),
        ([borrow("a", 4, 200), borrow("b", 4, 200)], 8, ABOVE_LENDING),
        ([borrow("a", 2), lend("b", 3), reserve("c", 9)], 5, ABOVE_LENDING),
        ([borrow("a", 3, 50), lend("b", 9)], 4, ABOVE_BORROWING),
        ([borrow("a", 0), lend("b", 2)], 2, ABOVE_LENDING),
        ([borrow("a", 4, 0), lend("b", 4)], 4, ABOVE_BORROWING),
    ],
)
def test_the_largest_job_that_a_share_can_ever_run(shares: list[Share], largest: int, above: str) -> None:
    rules = {share.name: share for share in shares}
    found = [too_large(rules, Claim(job_id="x", share="a", counts={LARGE: count})) for count in range(1, 20)]
    assert found[:largest] == [None] * largest
    assert found[largest] == (above, LARGE)
    assert None not in found[largest:]


@pytest.mark.parametrize(
    ("strategy", "count", "sentence", "numbers"),
    [
        (sharing("LEND"), 3, ABOVE_LIMITS, "quota share a has 2."),
        (sharing("RESERVE"), 3, ABOVE_LIMITS, "quota share a has 2."),
        (
            sharing("LEND_AND_BORROW", 100),
            5,
            ABOVE_BORROWING,
            "quota share a has 2 and may borrow 2; the others can lend 4.",
        ),
        (
            sharing("LEND_AND_BORROW"),
            7,
            ABOVE_LENDING,
            "quota share a has 2 and may borrow without limit; the others can lend 4.",
        ),
    ],
)
def test_a_job_that_can_never_run_says_so_and_blocks_nobody(
    strategy: Any, count: int, sentence: str, numbers: str
) -> None:
    story = QuotaStory()
    story.share("a", strategy, large=2)
    story.share("b", sharing("LEND"), large=4)
    story.train("huge", "a", count)
    story.train("small", "a")
    assert story.running() == ["small"]
    assert story.reason("huge") == f"{CODE} - {sentence} It needs {count} instances of type {LARGE}; {numbers}"
    story.change_share("a", capacity_limits=limits(large=8))
    assert story.running() == (["small"] if count > 7 else ["huge", "small"])


class TestOwnCapacity:
    def test_each_share_has_its_own(self) -> None:
        story = QuotaStory()
        story.share("a", sharing("RESERVE"))
        story.share("b", sharing("LEND"))
        for label in ("a1", "a2", "a3"):
            story.train(label, "a", 2)
        story.train("b1", "b", 4)
        assert story.running() == ["a1", "a2", "b1"]
        story.end("a1")
        assert story.running() == ["a2", "a3", "b1"]

    def test_higher_priorities_first_then_by_submission(self) -> None:
        story = QuotaStory()
        story.share("a", large=1)
        story.train("first", "a")
        for label, priority in (("none", None), ("low", 1), ("high", 9), ("high too", 9)):
            story.train(label.replace(" ", "-"), "a", priority=priority)
        story.prioritise("low", 10)
        for label in ("low", "high", "high-too", "none"):
            story.end(story.running()[0])
            assert story.running() == [label]

    def test_the_head_blocks_its_share_and_no_other(self) -> None:
        story = QuotaStory()
        for name in ("a", "b"):
            story.share(name, sharing("RESERVE"))
        story.train("a1", "a", 3)
        story.train("large", "a", 2)
        story.train("small", "a", 1)
        story.train("b1", "b", 1)
        assert story.running() == ["a1", "b1"]


class TestBorrowing:
    @pytest.mark.parametrize(
        ("lender", "borrower", "running"),
        [
            (sharing("LEND"), sharing("LEND_AND_BORROW"), 8),
            (sharing("LEND_AND_BORROW"), sharing("LEND_AND_BORROW", 50), 6),
            (sharing("LEND"), sharing("LEND_AND_BORROW", 0), 4),
            (sharing("RESERVE"), sharing("LEND_AND_BORROW"), 4),
            (sharing("LEND"), sharing("LEND"), 4),
            (sharing("LEND"), sharing("RESERVE"), 4),
        ],
    )
    def test_idle_capacity_is_lent(self, lender: Any, borrower: Any, running: int) -> None:
        story = QuotaStory()
        story.share("a", lender)
        story.share("b", borrower)
        for number in range(9):
            story.train(f"b{number}", "b")
        assert len(story.running()) == running

    def test_borrowers_are_served_by_submission(self) -> None:
        story = QuotaStory()
        story.share("a", sharing("LEND"), large=2)
        for name in ("b", "c"):
            story.share(name, sharing("LEND_AND_BORROW"), large=1)
            story.train(f"{name}-own", name)
        story.train("a-own", "a", 2)
        for label in ("c1", "b1", "c2", "b2"):
            story.train(label, label[0])
        story.end("a-own")
        assert story.running() == ["b-own", "c-own", "c1", "b1"]

    def test_a_large_borrower_is_not_passed_by_later_ones(self) -> None:
        story = QuotaStory()
        story.share("a", sharing("LEND"), large=2)
        for name in ("b", "c"):
            story.share(name, sharing("LEND_AND_BORROW"), large=1)
            story.train(f"{name}-own", name)
        story.train("a1", "a")
        story.train("large", "b", 2)
        story.train("small", "c")
        assert story.running() == ["b-own", "c-own", "a1"]
        story.end("a1")
        assert story.running() == ["b-own", "c-own", "large"]

    def test_why_a_job_waits(self) -> None:
        story = QuotaStory()
        story.share("a", sharing("LEND"))
        story.share("b", sharing("LEND_AND_BORROW", 50))
        story.train("b1", "b", 6)
        story.train("b2", "b")
        assert story.history("b2")[-1][1] == (
            f"It needs 1 instance of type {LARGE}; quota share b uses 6 of its own 4 instances of type {LARGE}, and may"
            " use 6."
        )
        story.train("a1", "a", 2)
        story.train("a2", "a", 2)
        story.train("a3", "a", 1)
        assert "quota share a uses 2 of its own 4" in story.history("a2")[-1][1].lower()

    def test_why_it_waits_is_explained_by_its_share(self) -> None:
        story = QuotaStory()
        story.share("a", sharing("LEND"))
        story.share("b", sharing("LEND_AND_BORROW"))
        story.train("b1", "b", 8)
        story.train("a1", "a", 2)
        story.train("a2", "a")

        def why(label: str) -> str:
            return explain(story.kernel.state, story.jobs[label], None).text

        assert why("a1") == (
            "Is next in quota share a of job queue q. It needs 2 instances of type ml.m5.large, and that many are not free:"
            " service environment se uses 8 of its 8 instances of type ml.m5.large. Quota share a uses 0 of its own 4"
            " instances of type ml.m5.large, and what others have borrowed is taken back."
        )
        first = story.id("a1")
        assert why("a2").startswith(
            f"1 job is ahead of it in quota share a of job queue q; the first of them is {first}. That job needs 2 instances"
        )
        story.end("b1", 137)
        assert why("b1").endswith(
            "It needs 8 instances of type ml.m5.large; quota share b uses 0 of its own 4 instances of type ml.m5.large, and"
            " 1 more can be borrowed now."
        )


class TestTheEnvironment:
    def test_its_limit_holds_though_the_shares_have_more(self) -> None:
        story = QuotaStory(**{LARGE: 4})
        for name in ("a", "b"):
            story.share(name, sharing("RESERVE"))
            story.train(f"{name}1", name, 3)
        assert story.running() == ["a1"]
        story.end("a1")
        assert story.running() == ["b1"]
