"""What a share has used of late: vCPU time, of which the newer counts for more.

The window is W long. A vCPU that was in use at the time t counts, at the time `now`, 1 - (now - t)/W of itself: all of it
at this moment, half of it half a window ago, nothing before the window. So an interval from s to e of v vCPUs counts

    v * ((e - h)^2 - (s - h)^2) / 2W         h = now - W, the beginning of the window; s and e not before h

Therefore a beginning and an end each stand for one *point*: -v * (s - h)^2 and +v * (e - h)^2, which is gone when the
window has left it behind; and what runs now adds v * W^2. The sums of v, v*t and v*t^2 over all points give the value for
any h. All numbers are integers (milliseconds, thousandths of a vCPU), so that the value is exact: it does not matter in
which order the intervals came to be known.

Source: User Guide "Fair-share scheduling policies" (`shareDecaySeconds`), model `FairsharePolicy`; that the decay is linear
is the guide's, too.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

import msgspec

Interval = tuple[int, int | None, int]
"""When it began, when it ended (None: it has not), and how many thousandths of a vCPU it used."""

_COMPACT_AFTER = 1024


def _integers() -> array[int]:
    return array("q")


class Usage(msgspec.Struct, kw_only=True):
    """The usage of one share. What begins or ends costs O(1) (O(log n) when it is reported late); so does the value, however
    much runs or has run. A point takes 16 bytes; those of the same millisecond are one."""

    window: int
    """Milliseconds."""
    running: int = 0
    """Thousandths of a vCPU in use now."""
    horizon: int = 0
    """The beginning of the window. It never goes back, though a clock may."""
    times: array[int] = msgspec.field(default_factory=_integers)
    """Of the points, in order."""
    amounts: array[int] = msgspec.field(default_factory=_integers)
    """Thousandths of a vCPU: an end is positive, a beginning negative."""
    first: int = 0
    """The points before this one have left the window."""
    amount: int = 0
    moment: int = 0
    second_moment: int = 0
    """The sums of v, v*t and v*t^2."""

    def value(self, now: int) -> int:
        """The usage, in units of 1/(2 * window) thousandths of a vCPU-millisecond: integers compare exactly, and all shares
        of a queue have the same window."""
        self._move(now)
        horizon = self.horizon
        points = self.second_moment - horizon * (2 * self.moment - horizon * self.amount)
        return max(0, self.running * self.window * self.window + points)

    def vcpu_seconds(self, now: int) -> float:
        return self.value(now) / (2 * self.window * 1_000_000)

    def started(self, at: int, milli_vcpus: int) -> None:
        """So much more is in use, since `at`."""
        self.running += milli_vcpus
        self._add(at, -milli_vcpus)

    def ended(self, at: int, milli_vcpus: int) -> None:
        """So much less is in use, since `at`. When it had begun is known already."""
        self.running -= milli_vcpus
        self._add(at, milli_vcpus)

    def learn(self, intervals: Iterable[Interval], now: int) -> None:
        """What was, in any order: after a restart. O(n log n)."""
        self._move(now)
        points = dict(zip(self.times[self.first :], self.amounts[self.first :], strict=True))
        for began, ended, milli_vcpus in intervals:
            points[began] = points.get(began, 0) - milli_vcpus
            if ended is None:
                self.running += milli_vcpus
            else:
                points[ended] = points.get(ended, 0) + milli_vcpus
        self.times, self.amounts, self.first = _integers(), _integers(), 0
        self.amount = self.moment = self.second_moment = 0
        for at, amount in sorted(points.items()):
            self._add(at, amount)

    def change_window(self, window: int, now: int) -> None:
        """The policy has changed. What a longer window would show, but the old one has left behind, stays forgotten: as if
        all that ran at the beginning of the old window had begun then."""
        self._move(now)
        old = self.horizon
        self.horizon += self.window - window
        self.window = window
        ran_then = self.running + self.amount
        if old > self.horizon and ran_then:
            self._add(old, -ran_then)
        self._move(now)

    def _add(self, at: int, amount: int) -> None:
        if at <= self.horizon:
            return
        times = self.times
        if len(times) == self.first or at > times[-1]:
            times.append(at)
            self.amounts.append(amount)
        else:
            index = bisect_left(times, at, self.first)
            if times[index] == at:
                self.amounts[index] += amount
            else:
                times.insert(index, at)
                self.amounts.insert(index, amount)
        self._count(at, amount)

    def _count(self, at: int, amount: int) -> None:
        self.amount += amount
        self.moment += amount * at
        self.second_moment += amount * at * at

    def _move(self, now: int) -> None:
        """The window moves on, and leaves points behind."""
        self.horizon = max(self.horizon, now - self.window)
        times, first = self.times, self.first
        while first < len(times) and times[first] <= self.horizon:
            self._count(times[first], -self.amounts[first])
            first += 1
        if first >= _COMPACT_AFTER and 2 * first >= len(times):
            del times[:first], self.amounts[:first]
            first = 0
        self.first = first
