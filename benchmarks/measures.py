"""What a benchmark hands back: rows of a table, each a number with its unit and, where there is one, its aim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec


class Aim(msgspec.Struct, frozen=True):
    """What a number should be."""

    bound: Literal["at least", "at most"]
    value: float

    def is_met_by(self, value: float) -> bool:
        return value >= self.value if self.bound == "at least" else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.bound == 'at least' else '≤'} {self.value:,g}"


def at_least(value: float) -> Aim:
    return Aim("at least", value)


def at_most(value: float) -> Aim:
    return Aim("at most", value)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One number."""

    key: str
    """The same in every run, whatever its sizes: `throughput.jobs`."""
    label: str
    value: float
    unit: str
    aim: Aim | None = None
    samples: list[float] = []
    """The values that `value` is the median of."""


class Result(msgspec.Struct, frozen=True):
    """One benchmark."""

    title: str
    rows: list[Row]
    notes: list[str]
    """How it was measured, where a reader could think otherwise."""


def median_row(key: str, label: str, samples: Sequence[float], unit: str, aim: Aim | None = None) -> Row:
    """The median of some rounds."""
    return Row(key=key, label=label, value=median(samples), unit=unit, aim=aim, samples=list(samples))


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of the samples does not exceed (nearest rank)."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
