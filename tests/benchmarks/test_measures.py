"""Percentiles, medians and aims."""

from __future__ import annotations

import pytest
from benchmarks.measures import at_least, at_most, median_row, percentile


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_percentile_is_the_sample_that_the_share_does_not_exceed(share: float, expected: float) -> None:
    assert percentile([*range(100, 50, -1), *range(1, 51)], share) == expected


def test_the_percentile_of_one_sample_is_that_sample() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0


def test_a_row_keeps_what_its_median_was_taken_of() -> None:
    row = median_row("key", "label", (3.0, 1.0, 8.0), "ms")
    assert (row.value, row.samples) == (3.0, [3.0, 1.0, 8.0])


def test_aims_include_their_bound() -> None:
    assert at_least(0.7).is_met_by(0.7)
    assert not at_least(0.7).is_met_by(0.69)
    assert at_most(20).is_met_by(20)
    assert not at_most(20).is_met_by(20.1)
