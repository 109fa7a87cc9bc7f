"""The arithmetic of quota shares: who may start, who borrows from whom, and who is preempted.

Every share has capacity of its own, counted in units: instances of each type, or vCPUs (in thousandths), memory and GPUs. A
job *claims its own* when it stays within that in every unit, and *borrows* when the share would then use more of any. Idle
capacity of shares that lend is there to be borrowed; a share that is at work above its own capacity, for whatever reason,
counts as a borrower. What is borrowed is never more than what is idle and lent, except for what was running when somebody
took back what is theirs, or when limits were lowered. Sources: User Guide "Quota shares", "Preemption"; model
`QuotaShareResourceSharingConfiguration`.

AWS does not publish how victims are chosen. Here:

- across shares: from the share that borrows most, the job of the lowest priority, and of these the one started last. With
  several units, most is the largest part of what all shares have together;
- within a share: the job of the lowest priority, and of these the one started last.

That is repeated until the claim has room; whoever then turns out not to be needed is spared, the last chosen first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import msgspec

from batchyard.kernel.ordering.rooms import Rooms, Slot, Wanted

ABOVE_LIMITS = "Job requirements exceed quota share capacity limits."
ABOVE_BORROWING = "Job requirements exceed quota share capacity limits and borrow limits."
ABOVE_LENDING = "Job requires borrowing that exceeds all configured borrowable capacity."


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one share."""

    name: str
    limits: dict[str, int]
    """Its own capacity, by unit."""
    lends: bool = False
    borrows: bool = False
    borrow_limit: int = -1
    """Percent of its own capacity; -1: no limit."""
    in_share_preemption: bool = False

    def own(self, unit: str) -> int:
        return self.limits.get(unit, 0)

    def most(self, unit: str) -> int | None:
        """What it may use with all that it may borrow; None: no limit."""
        if not self.borrows:
            return self.own(unit)
        return None if self.borrow_limit < 0 else self.own(unit) * (100 + self.borrow_limit) // 100


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a job uses, or asks for."""

    job_id: str
    share: str
    counts: dict[str, int]
    """How much of each unit; units of which it takes nothing are left out."""
    priority: int = 0
    wanted: Wanted = Wanted()
    """What it takes of machines."""
    begun: tuple[int, int] = (0, 0)
    """When it started, and its seq, for one that runs."""
    slots: tuple[Slot, ...] = ()
    """Where its tasks run."""


class Ledger(msgspec.Struct, kw_only=True):
    """Who uses how much, and what is free."""

    shares: Mapping[str, Share]
    rooms: Rooms
    uses: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """How much, by share and unit."""
    running: dict[str, Claim] = {}
    """What makes that up, by job id: asked of only where somebody may be preempted."""

    def copy(self) -> Ledger:
        return Ledger(shares=self.shares, rooms=self.rooms.copy(), running=dict(self.running), uses=Counter(self.uses))

    def own(self, claim: Claim, unit: str) -> int:
        return self.shares[claim.share].own(unit)

    def with_claim(self, claim: Claim, unit: str) -> int:
        """What the claim's share would use if it started."""
        return self.uses[claim.share, unit] + claim.counts.get(unit, 0)

    def borrowed(self, share: str, unit: str) -> int:
        """What a share uses above its own capacity."""
        return max(0, self.uses[share, unit] - self.shares[share].own(unit))

    def idle(self, unit: str, claim: Claim | None = None) -> int:
        """What lenders do not use of their own, less what is borrowed already; with a claim, if that started. Negative when
        lenders have taken more back than borrowers have returned."""
        idle = 0
        for share in self.shares.values():
            used = self.uses[share.name, unit]
            if claim is not None and claim.share == share.name:
                used = self.with_claim(claim, unit)
            left = share.own(unit) - used
            idle += left if left < 0 or share.lends else 0
        return idle

    def is_own(self, claim: Claim) -> bool:
        """Whether the claim stays within its share's own capacity."""
        return all(self.with_claim(claim, unit) <= self.own(claim, unit) for unit in claim.counts)

    def above_borrow_limit(self, claim: Claim) -> str | None:
        """The first unit of which the claim's share would use more than it may, or None."""
        share = self.shares[claim.share]
        for unit in claim.counts:
            most = share.most(unit)
            if most is not None and self.with_claim(claim, unit) > most:
                return unit
        return None

    def may_start(self, claim: Claim) -> bool:
        """Whether the shares and the machines have room."""
        if self.rooms.find(claim.wanted) is None:
            return False
        if self.is_own(claim):
            return True
        return self.above_borrow_limit(claim) is None and all(self.idle(unit, claim) >= 0 for unit in claim.counts)

    def add(self, claim: Claim) -> None:
        """The job has started: where it says, or where there is room."""
        slots = claim.slots or self.rooms.find(claim.wanted) or ()
        self.running[claim.job_id] = msgspec.structs.replace(claim, slots=slots)
        self.rooms.take(claim.wanted, slots)
        for unit, count in claim.counts.items():
            self.uses[claim.share, unit] += count

    def remove(self, job_id: str) -> None:
        """The job no longer runs."""
        claim = self.running.pop(job_id)
        for unit, count in claim.counts.items():
            self.uses[claim.share, unit] -= count
        self.rooms.give(claim.wanted, claim.slots)


def too_large(shares: Mapping[str, Share], claim: Claim) -> tuple[str, str] | None:
    """AWS's sentence for a job that its share could never run, and the first unit of which it needs too much; or None."""
    share = shares[claim.share]
    for unit, count in claim.counts.items():
        if count <= share.own(unit):
            continue
        if not share.borrows:
            return ABOVE_LIMITS, unit
        most = share.most(unit)
        if most is not None and count > most:
            return ABOVE_BORROWING, unit
        if count > share.own(unit) + lendable(shares, share.name, unit):
            return ABOVE_LENDING, unit
    return None


def lendable(shares: Mapping[str, Share], borrower: str, unit: str) -> int:
    """The most that all others together could ever lend."""
    return sum(share.own(unit) for name, share in shares.items() if share.lends and name != borrower)


def next_to_start(ledger: Ledger, heads: Iterable[Claim]) -> Claim | None:
    """Which of the shares' heads, in the order of their submission, starts: what stays within its share's own capacity before
    what borrows. Nobody borrows of a unit what somebody waits for who owns it, or who came before."""
    awaited: set[str] = set()
    borrowers: list[Claim] = []
    for claim in heads:
        if not ledger.is_own(claim):
            borrowers.append(claim)
        elif ledger.may_start(claim):
            return claim
        else:
            awaited.update(claim.counts)
    for claim in borrowers:
        if awaited.intersection(claim.counts) or ledger.above_borrow_limit(claim) is not None:
            continue
        if ledger.may_start(claim):
            return claim
        awaited.update(claim.counts)
    return None


def cross_share_victims(ledger: Ledger, claim: Claim) -> list[Claim]:
    """Who has to give back borrowed capacity so that the claim, which is within its share's own, can start. Nobody when
    that would not help."""
    whole = {unit: sum(share.own(unit) for share in ledger.shares.values()) for unit in claim.counts}

    def candidates(trial: Ledger) -> list[Claim]:
        part = {
            name: max((Fraction(trial.borrowed(name, unit), whole[unit] or 1) for unit in whole), default=Fraction(0))
            for name in trial.shares
        }
        return sorted(
            (each for each in trial.running.values() if _gives_back(trial, each, claim)),
            key=lambda each: (-part[each.share], each.priority, -each.begun[0], -each.begun[1]),
        )

    return _victims(ledger, claim, candidates)


def _gives_back(ledger: Ledger, running: Claim, claim: Claim) -> bool:
    """Whether it uses something that the claim needs, and of which its share borrows."""
    return any(unit in running.counts and ledger.borrowed(running.share, unit) for unit in claim.counts)


def in_share_victims(ledger: Ledger, claim: Claim) -> list[Claim]:
    """Who of the same share has to make room for the claim, which has a higher priority. Nobody when that would not help."""

    def candidates(trial: Ledger) -> list[Claim]:
        return sorted(
            (
                each
                for each in trial.running.values()
                if each.share == claim.share
                and each.priority < claim.priority
                and any(unit in each.counts for unit in claim.counts)
            ),
            key=lambda each: (each.priority, -each.begun[0], -each.begun[1]),
        )

    return _victims(ledger, claim, candidates)


def _victims(ledger: Ledger, claim: Claim, candidates: Callable[[Ledger], list[Claim]]) -> list[Claim]:
    trial = ledger.copy()
    chosen: list[Claim] = []
    while not trial.may_start(claim):
        ranked = candidates(trial)
        if not ranked:
            return []
        chosen.append(ranked[0])
        trial.remove(ranked[0].job_id)
    for victim in reversed(list(chosen)):
        trial.add(victim)
        if trial.may_start(claim):
            chosen.remove(victim)
        else:
            trial.remove(victim.job_id)
    return chosen
