"""The arithmetic of fair share: what each share has a claim to, and which share is next.

The share with the smallest *claim* is next, and among equals the one whose first job was submitted first. The claim is

    (usage of late + a tenth of the window for all that is in flight) * weight

- The usage of late is vCPU time in the window of `shareDecaySeconds`, at least 600 seconds (`usage.py`).
- A job counts from the moment of its placement, before it has used anything, as if it had run for a tenth of the window;
  and goes on to count so much more than it has used for as long as it is in flight. Were it not so, all that is free at
  one moment would go to one share, whose usage only grows later. Since every vCPU in flight counts alike, however long its
  job has run, the shares' usage still settles at the inverse of their weights, whether jobs are long or short. A tenth:
  the past counts for up to half a window, so what runs now corrects the order without outweighing it; and what depends
  on the window alone gives the same order when all times are twice as long.
- The weight is that of the policy's `shareDistribution`; 1.0 for identifiers that it does not list. An entry with an
  asterisk is one portion for all active identifiers that it covers: each has its weight times their number.

`computeReservation` R keeps (R/100)^A of the capacity of the queue's compute environments, in whole vCPUs rounded down, for
shares that are not active yet, A being the number of those that are: a share is active while it has jobs that have not
finished, and until the window has passed after that. A share with nothing in flight is never held back by it: its first job
may use what is reserved. That is who it is for, and no job is then too large for ever.

Sources: User Guide "Fair-share scheduling policies", "Use share identifiers to identify workloads"; model `FairsharePolicy`,
`ShareAttributes`. What AWS leaves open (the tenth, whole vCPUs, the first job) is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from batchyard.kernel.ordering.usage import Interval, Usage
from batchyard.shapes import batch as shapes

SMALLEST_WINDOW = 600_000
"""Milliseconds: what `shareDecaySeconds` 0, or anything shorter, means."""
UNLISTED_WEIGHT = 1_000_000
"""1.0: weights are integers, in millionths."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A fair-share policy as the arithmetic needs it."""

    window: int = SMALLEST_WINDOW
    """Milliseconds."""
    reservation: int = 0
    """Percent."""
    weights: dict[str, int] = {}
    """In millionths, by identifier; an entry for all that begin with a prefix ends in an asterisk."""

    def entry_of(self, share: str) -> str | None:
        """The entry that covers an identifier. Entries never overlap, so there is at most one."""
        if share in self.weights:
            return share
        return next((entry for entry in self.weights if entry.endswith("*") and share.startswith(entry[:-1])), None)


def policy_from(given: shapes.FairsharePolicy | None) -> Policy:
    """From the API's own shape."""
    if given is None:
        return Policy()
    return Policy(
        window=max(SMALLEST_WINDOW, 1000 * (given.share_decay_seconds or 0)),
        reservation=given.compute_reservation or 0,
        weights={
            entry.share_identifier: UNLISTED_WEIGHT
            if entry.weight_factor is None
            else round(entry.weight_factor * 1_000_000)
            for entry in given.share_distribution or ()
        },
    )


def reserved_part(reservation: int, active: int) -> Fraction:
    """The part of the capacity that is kept for shares that are not active yet."""
    return Fraction(reservation, 100) ** active


@lru_cache
def _reserved_vcpus(reservation: int, active: int, vcpus: int) -> int:
    return int(vcpus * reserved_part(reservation, active))


class Run(NamedTuple):
    """An attempt that has ended, as the store knows it."""

    share: str
    started_at: int | None
    """None: it, or its job, ended without having run. The share was active until then."""
    stopped_at: int
    milli_vcpus: int


class Account(msgspec.Struct, kw_only=True):
    """What is known of an active share."""

    share: str
    usage: Usage
    entry: str | None
    """The policy's entry that covers it."""
    unfinished: int = 0
    """Jobs, an array counting once."""
    waiting: int = 0
    """Jobs that are RUNNABLE, children of arrays one by one."""
    left_at: int = 0
    """When one of its jobs last ended."""
    leaving: bool = False
    """It is in the heap of those that may cease to be active."""
    in_flight: int = 0
    """Thousandths of a vCPU of the attempts that were placed and have not ended."""
    attempts: int = 0
    """How many those are."""


class FairShare(msgspec.Struct, kw_only=True):
    """The shares of one queue."""

    policy: Policy
    accounts: dict[str, Account] = {}
    """Those that are active; brought up to date by `move`."""
    members: dict[str, int] = {}
    """How many of them each entry of the policy covers."""
    leaving: list[tuple[int, str]] = []
    """A heap of the time since when a share has had no unfinished job (or an earlier time), and the share."""
    in_flight: int = 0
    """Thousandths of a vCPU, all shares together."""

    # What happens

    def joined(self, share: str) -> None:
        """A job of this share was accepted."""
        self._account(share).unfinished += 1

    def left(self, share: str, at: int) -> None:
        """A job of this share has finished."""
        account = self.accounts[share]
        account.unfinished -= 1
        self._note_end(account, at)

    def waits(self, share: str, more: int) -> None:
        """So many more (or fewer) of its jobs are RUNNABLE."""
        self.accounts[share].waiting += more

    def placed(self, share: str, milli_vcpus: int) -> None:
        """An attempt is in flight (STARTING)."""
        account = self.accounts[share]
        account.in_flight += milli_vcpus
        account.attempts += 1
        self.in_flight += milli_vcpus

    def ran(self, share: str, at: int, milli_vcpus: int) -> None:
        """An attempt that was placed began to run at this time."""
        self.accounts[share].usage.started(at, milli_vcpus)

    def ended(self, share: str, at: int, milli_vcpus: int, *, ran: bool) -> None:
        """An attempt is over, or was given back; `ran`: it has run until now."""
        account = self.accounts[share]
        account.in_flight -= milli_vcpus
        account.attempts -= 1
        self.in_flight -= milli_vcpus
        if ran:
            account.usage.ended(at, milli_vcpus)
            account.left_at = max(account.left_at, at)

    def learn(self, runs: Iterable[Run], now: int) -> None:
        """What was before a restart, in any order. The unfinished jobs and what is in flight are told as when they came."""
        intervals: dict[str, list[Interval]] = {}
        for share, started_at, stopped_at, milli_vcpus in runs:
            if stopped_at > now - self.policy.window:
                self._note_end(self._account(share), stopped_at)
                if started_at is not None:
                    intervals.setdefault(share, []).append((started_at, stopped_at, milli_vcpus))
        for share, some in intervals.items():
            self.accounts[share].usage.learn(some, now)

    def follow(self, policy: Policy, now: int) -> None:
        """The policy has changed (UpdateSchedulingPolicy), or the queue has another."""
        self.move(now)
        self.policy = policy
        self.members = {}
        for account in self.accounts.values():
            account.entry = policy.entry_of(account.share)
            self._count_member(account, 1)
            account.usage.change_window(policy.window, now)
        self.move(now)

    def move(self, now: int) -> None:
        """Time has passed: shares may have ceased to be active."""
        while self.leaving and self.leaving[0][0] + self.policy.window <= now:
            _, share = heappop(self.leaving)
            account = self.accounts[share]
            account.leaving = False
            if account.unfinished:
                continue
            if account.left_at + self.policy.window > now:
                self._note_end(account, account.left_at)
            else:
                self._count_member(account, -1)
                del self.accounts[share]

    # What follows from it

    def weight(self, share: str) -> int:
        """In millionths: the policy's, times the number of active identifiers that a prefix covers. For one that is not
        active: what it would be if it were."""
        account = self.accounts.get(share)
        entry = account.entry if account is not None else self.policy.entry_of(share)
        if entry is None:
            return UNLISTED_WEIGHT
        if not entry.endswith("*"):
            return self.policy.weights[entry]
        return self.policy.weights[entry] * (self.members.get(entry, 0) + (account is None))

    def claim(self, share: str, now: int) -> int:
        """The smaller, the sooner the share is next. Only good for comparisons within the queue."""
        account = self.accounts[share]
        return (account.usage.value(now) + account.in_flight * self._anticipated()) * self.weight(share)

    def charge(self, share: str, milli_vcpus: int) -> int:
        """By how much its claim grows when so much more is placed."""
        return milli_vcpus * self._anticipated() * self.weight(share)

    def _anticipated(self) -> int:
        """A tenth of the window, in the unit of `Usage.value`."""
        return self.policy.window * self.policy.window // 5

    def entitlements(self) -> dict[str, float]:
        """The part of the capacity in use that each active share should have: they add up to 1."""
        inverse = {share: 1 / self.weight(share) for share in self.accounts}
        total = sum(inverse.values())
        return {share: part / total for share, part in inverse.items()}

    def reserved(self, capacity: int) -> int:
        """How much of the capacity (thousandths of a vCPU: `maxvCpus`, or `unmanagedvCpus`, of all compute environments of the
        queue) is kept for shares that are not active yet."""
        return 1000 * _reserved_vcpus(self.policy.reservation, len(self.accounts), capacity // 1000)

    def held_back(self, share: str, milli_vcpus: int, capacity: int) -> bool:
        """Whether a job would use what is reserved."""
        if not self.policy.reservation or not self.accounts[share].attempts:
            return False
        return self.in_flight + milli_vcpus > capacity - self.reserved(capacity)

    # The accounts

    def _account(self, share: str) -> Account:
        account = self.accounts.get(share)
        if account is None:
            usage = Usage(window=self.policy.window)
            account = self.accounts[share] = Account(share=share, usage=usage, entry=self.policy.entry_of(share))
            self._count_member(account, 1)
        return account

    def _count_member(self, account: Account, sign: int) -> None:
        if account.entry is not None:
            self.members[account.entry] = self.members.get(account.entry, 0) + sign

    def _note_end(self, account: Account, at: int) -> None:
        account.left_at = max(account.left_at, at)
        if not account.unfinished and not account.leaving:
            account.leaving = True
            heappush(self.leaving, (account.left_at, account.share))
