"""What there was over time, in as many points as a picture needs, however long the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

MOST_POINTS = 2048
FIRST_WIDTH = 1000
"""Milliseconds."""


class Timeline:
    """Some whole-numbered quantities that change at known times, kept as their means over spans of equal width. When there
    are too many spans, two at a time become one."""

    def __init__(self, quantities: int) -> None:
        self.width = FIRST_WIDTH
        """Of a span, in milliseconds."""
        self._sums: list[list[int]] = [[] for _ in range(quantities)]
        self._until = 0

    def advance(self, now: int, levels: Sequence[int]) -> None:
        """Until `now` (milliseconds from the beginning, never decreasing) the quantities have had these levels."""
        since = self._until
        if now <= since:
            return
        self._until = now
        while (now - 1) // self.width >= MOST_POINTS:
            self._halve()
        width = self.width
        first, last = since // width, (now - 1) // width
        if first == last and len(self._sums[0]) > last:
            span = now - since
            for sums, level in zip(self._sums, levels, strict=True):
                sums[first] += level * span
            return
        for sums, level in zip(self._sums, levels, strict=True):
            sums.extend([0] * (last + 1 - len(sums)))
            for point in range(first, last + 1):
                sums[point] += level * (min(now, (point + 1) * width) - max(since, point * width))

    def points(self) -> Iterator[tuple[int, list[float]]]:
        """Where each span begins, in milliseconds, and the means over it."""
        for point in range(len(self._sums[0])):
            begins = point * self.width
            length = min(self.width, self._until - begins)
            yield begins, [sums[point] / length for sums in self._sums]

    def total(self, quantity: int) -> int:
        """The level multiplied by the time in milliseconds, summed over the run: exact."""
        return sum(self._sums[quantity])

    @property
    def until(self) -> int:
        return self._until

    def _halve(self) -> None:
        self.width *= 2
        self._sums = [[sum(sums[point : point + 2]) for point in range(0, len(sums), 2)] for sums in self._sums]
