"""The decayed usage of a share, against the integral that defines it."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.kernel.ordering.usage import Interval, Usage

NOON = 1_700_000_000_000
SECOND = 1000
WINDOW = 600 * SECOND
VCPU = 1000


def decayed(intervals: list[Interval], window: int, now: int) -> Fraction:
    """Milli-vCPU-milliseconds by the definition: the integral of 1 - (now - t)/window over what lies in the window."""
    total = Fraction(0)
    for began, ended, milli_vcpus in intervals:
        first = max(began, now - window) - (now - window)
        last = max(first, (now if ended is None else min(ended, now)) - (now - window))
        total += milli_vcpus * Fraction(last * last - first * first, 2 * window)
    return total


def told(intervals: list[Interval], window: int, until: int) -> Usage:
    """A usage that has heard of each beginning and each end when it happened."""
    usage = Usage(window=window)
    changes = [(began, 0, milli_vcpus) for began, _, milli_vcpus in intervals]
    changes += [(ended, 1, milli_vcpus) for _, ended, milli_vcpus in intervals if ended is not None]
    for at, is_end, milli_vcpus in sorted(changes):
        if at <= until:
            (usage.ended if is_end else usage.started)(at, milli_vcpus)
            usage.value(at)
    return usage


@pytest.mark.parametrize(
    ("began", "ended", "vcpu_seconds"),
    [
        # seconds before now; 8 vCPUs; a window of 600 s
        (0, None, 0.0),
        (60, None, 8 * 60 * 0.95),
        (600, None, 8 * 300),
        (86_400, None, 8 * 300),
        (60, 0, 8 * 60 * 0.95),
        (310, 290, 8 * 20 * 0.5),
        (600, 300, 8 * 300 * 0.25),
        (900, 300, 8 * 300 * 0.25),
        (900, 600, 0.0),
        (900, 700, 0.0),
    ],
)
def test_the_newer_counts_for_more(began: int, ended: int | None, vcpu_seconds: float) -> None:
    usage = Usage(window=WINDOW)
    usage.started(NOON - began * SECOND, 8 * VCPU)
    if ended is not None:
        usage.ended(NOON - ended * SECOND, 8 * VCPU)
    assert usage.vcpu_seconds(NOON) == pytest.approx(vcpu_seconds)


def test_usage_from_half_a_window_ago_counts_half_and_after_the_window_nothing() -> None:
    """The worked example: decay 60 s; after 30 s it counts half, after 60 s nothing."""
    usage = Usage(window=60 * SECOND)
    usage.started(NOON, 1_000_000)
    usage.ended(NOON + 1, 1_000_000)
    at_first = usage.vcpu_seconds(NOON + 1)
    assert usage.vcpu_seconds(NOON + 30 * SECOND) == pytest.approx(at_first / 2, rel=1e-4)
    assert usage.vcpu_seconds(NOON + 60 * SECOND + 1) == 0


INTERVALS = st.lists(
    st.builds(
        lambda began, lasted, milli_vcpus: (
            NOON + began,
            None if lasted is None else NOON + began + lasted,
            milli_vcpus,
        ),
        st.integers(0, 3000),
        st.none() | st.integers(0, 3000),
        st.integers(1, 64_000),
    ),
    max_size=12,
)


@given(INTERVALS, st.integers(1, 4000), st.integers(0, 8000))
def test_it_is_the_integral_exactly(intervals: list[Interval], window: int, after: int) -> None:
    now = NOON + after
    known = [
        (began, ended if ended is not None and ended <= now else None, milli_vcpus)
        for began, ended, milli_vcpus in intervals
        if began <= now
    ]
    assert Fraction(told(known, window, now).value(now), 2 * window) == decayed(known, window, now)


@given(INTERVALS, st.integers(1, 4000), st.integers(0, 8000), st.randoms(use_true_random=False))
def test_the_order_of_the_reports_does_not_matter(
    intervals: list[Interval], window: int, after: int, random: Random
) -> None:
    now = NOON + 6000 + after
    usage, late = told(intervals, window, now), Usage(window=window)
    late.value(now)
    random.shuffle(intervals)
    for began, ended, milli_vcpus in intervals:
        if ended is not None:
            late.ended(ended, milli_vcpus)
        late.started(began, milli_vcpus)
    assert late.value(now) == usage.value(now)
    assert late.value(now + 100) == usage.value(now + 100)


@given(INTERVALS, st.integers(1, 4000), st.integers(0, 8000), st.integers(0, 12))
def test_what_is_learnt_after_a_restart_gives_the_same(
    intervals: list[Interval], window: int, after: int, told_before: int
) -> None:
    now = NOON + 6000 + after
    usage, restarted = told(intervals, window, now), Usage(window=window)
    for began, ended, milli_vcpus in intervals[:told_before]:
        restarted.started(began, milli_vcpus)
        if ended is not None:
            restarted.ended(ended, milli_vcpus)
    restarted.learn(intervals[told_before:], now)
    for later in (0, 1, window // 2, window):
        assert restarted.value(now + later) == usage.value(now + later)


@given(INTERVALS, st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 8000))
def test_another_window_shows_what_the_old_one_still_knew(
    intervals: list[Interval], window: int, other: int, after: int
) -> None:
    now = NOON + 6000 + after
    usage = told(intervals, window, now)
    usage.change_window(other, now)
    horizon = now - window
    known = [
        (max(began, horizon), ended, milli_vcpus)
        for began, ended, milli_vcpus in intervals
        if ended is None or ended > horizon
    ]
    for later in (0, 7, 2000):
        assert Fraction(usage.value(now + later), 2 * other) == decayed(known, other, now + later)


def test_a_clock_that_goes_back_changes_nothing() -> None:
    usage = Usage(window=WINDOW)
    usage.started(NOON, VCPU)
    value = usage.value(NOON + 50)
    assert usage.value(NOON + 20) == value
    assert usage.value(NOON + 50) == value


def test_what_begins_in_the_future_is_no_debt() -> None:
    usage = Usage(window=WINDOW)
    usage.started(NOON + SECOND, VCPU)
    assert usage.value(NOON) == 0


def test_what_has_left_the_window_takes_no_memory() -> None:
    usage = Usage(window=1000)
    for number in range(20_000):
        usage.started(NOON + 2 * number, VCPU)
        usage.ended(NOON + 2 * number + 1, VCPU)
        usage.value(NOON + 2 * number + 1)
        assert len(usage.times) <= 4096
    assert usage.vcpu_seconds(NOON + 39_999) == pytest.approx(0.25, rel=0.01)
    usage.value(NOON + 50_000)
    assert (len(usage.times), usage.amount, usage.moment, usage.second_moment) == (usage.first, 0, 0, 0)


def test_what_happens_in_one_millisecond_is_one_point() -> None:
    usage = Usage(window=WINDOW)
    for at in (NOON, NOON + 1, NOON, NOON + 1, NOON):
        usage.started(at, VCPU)
    assert list(zip(usage.times, usage.amounts, strict=True)) == [(NOON, -3 * VCPU), (NOON + 1, -2 * VCPU)]
