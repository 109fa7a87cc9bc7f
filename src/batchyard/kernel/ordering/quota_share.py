"""The arithmetic of quota shares: who may start, who borrows from whom, and who is preempted.

Every share has capacity of its own, counted in instances of each type. A job *claims its own* when it stays within that,
and *borrows* when the share would then use more. Idle capacity of shares that lend is there to be borrowed; a share that
is at work above its own capacity, for whatever reason, counts as a borrower. What is borrowed is never more than what is
idle and lent, except for what was running when somebody took back what is theirs, or when limits were lowered.
Sources: User Guide "Quota shares", "Preemption"; model `QuotaShareResourceSharingConfiguration`.

AWS does not publish how victims are chosen. Here:

- across shares: from the share that borrows most, the job of the lowest priority, and of these the one started last;
- within a share: the job of the lowest priority, and of these the one started last.

That is repeated until the claim has room; whoever then turns out not to be needed is spared, the last chosen first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from batchyard.kernel.records import Resources

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
    unit: str
    count: int
    priority: int = 0
    each: Resources = Resources(0, 0)
    """What each of its instances takes of a machine."""
    begun: tuple[int, int] = (0, 0)
    """When it started, and its seq, for one that runs."""
    machines: tuple[str, ...] = ()
    """Where it runs, each as often as it has instances there."""


class Ledger(msgspec.Struct, kw_only=True):
    """Who uses how much, and what is free."""

    shares: Mapping[str, Share]
    free: dict[str, int]
    """Instances that the service environment still allows, by unit."""
    rooms: dict[str, Resources]
    """What is free on each machine."""
    running: dict[str, Claim] = {}
    """By job id."""

    def copy(self) -> Ledger:
        return Ledger(shares=self.shares, free=dict(self.free), rooms=dict(self.rooms), running=dict(self.running))

    def used(self, unit: str) -> Counter[str]:
        """What each share uses."""
        used: Counter[str] = Counter()
        for claim in self.running.values():
            if claim.unit == unit:
                used[claim.share] += claim.count
        return used

    def borrowed(self, unit: str) -> dict[str, int]:
        """What each share uses above its own capacity."""
        used = self.used(unit)
        return {name: max(0, used[name] - share.own(unit)) for name, share in self.shares.items()}

    def idle(self, unit: str) -> int:
        """What lenders do not use of their own, less what is borrowed already. Negative when lenders have taken more back
        than borrowers have returned."""
        used = self.used(unit)
        lent = sum(max(0, share.own(unit) - used[name]) for name, share in self.shares.items() if share.lends)
        return lent - sum(self.borrowed(unit).values())

    def is_own(self, claim: Claim) -> bool:
        """Whether the claim stays within its share's own capacity."""
        return self.used(claim.unit)[claim.share] + claim.count <= self.shares[claim.share].own(claim.unit)

    def within_borrow_limit(self, claim: Claim) -> bool:
        most = self.shares[claim.share].most(claim.unit)
        return most is None or self.used(claim.unit)[claim.share] + claim.count <= most

    def may_start(self, claim: Claim) -> bool:
        """Whether the shares, the service environment and the machines all have room."""
        if self.free.get(claim.unit, 0) < claim.count or self._places(claim) is None:
            return False
        if self.is_own(claim):
            return True
        return self.within_borrow_limit(claim) and self._with(claim).idle(claim.unit) >= 0

    def _with(self, claim: Claim) -> Ledger:
        return Ledger(
            shares=self.shares, free=self.free, rooms=self.rooms, running={**self.running, claim.job_id: claim}
        )

    def _places(self, claim: Claim) -> tuple[str, ...] | None:
        places: list[str] = []
        for machine, room in self.rooms.items():
            while len(places) < claim.count and claim.each.fits(room):
                places.append(machine)
                room -= claim.each
        return tuple(places) if len(places) == claim.count else None

    def add(self, claim: Claim) -> None:
        """The job runs: where it does, or where there is room."""
        machines = claim.machines or self._places(claim) or ()
        self.running[claim.job_id] = msgspec.structs.replace(claim, machines=machines)
        self.free[claim.unit] = self.free.get(claim.unit, 0) - claim.count
        for machine in machines:
            self.rooms[machine] -= claim.each

    def remove(self, job_id: str) -> None:
        """The job no longer runs."""
        claim = self.running.pop(job_id)
        self.free[claim.unit] = self.free.get(claim.unit, 0) + claim.count
        for machine in claim.machines:
            self.rooms[machine] += claim.each


def too_large(shares: Mapping[str, Share], claim: Claim) -> str | None:
    """AWS's sentence for a job that its share could never run, or None."""
    share, unit = shares[claim.share], claim.unit
    if claim.count <= share.own(unit):
        return None
    if not share.borrows:
        return ABOVE_LIMITS
    most = share.most(unit)
    if most is not None and claim.count > most:
        return ABOVE_BORROWING
    return ABOVE_LENDING if claim.count > share.own(unit) + lendable(shares, share.name, unit) else None


def lendable(shares: Mapping[str, Share], borrower: str, unit: str) -> int:
    """The most that all others together could ever lend."""
    return sum(share.own(unit) for name, share in shares.items() if share.lends and name != borrower)


def next_to_start(ledger: Ledger, heads: Iterable[Claim]) -> Claim | None:
    """Which of the shares' heads, in the order of their submission, starts: what stays within its share's own capacity before
    what borrows. Nobody borrows what somebody waits for who owns it, or who came before."""
    awaited: set[str] = set()
    heads = list(heads)
    for claim in heads:
        if ledger.is_own(claim):
            if ledger.may_start(claim):
                return claim
            awaited.add(claim.unit)
    for claim in heads:
        if claim.unit in awaited or ledger.is_own(claim) or not ledger.within_borrow_limit(claim):
            continue
        if ledger.may_start(claim):
            return claim
        awaited.add(claim.unit)
    return None


def cross_share_victims(ledger: Ledger, claim: Claim) -> list[Claim]:
    """Who has to give back borrowed capacity so that the claim, which is within its share's own, can start. Nobody when
    that would not help."""

    def candidates(trial: Ledger) -> list[Claim]:
        borrowed = trial.borrowed(claim.unit)
        return sorted(
            (each for each in trial.running.values() if each.unit == claim.unit and borrowed[each.share]),
            key=lambda each: (-borrowed[each.share], each.priority, -each.begun[0], -each.begun[1]),
        )

    return _victims(ledger, claim, candidates)


def in_share_victims(ledger: Ledger, claim: Claim) -> list[Claim]:
    """Who of the same share has to make room for the claim, which has a higher priority. Nobody when that would not help."""

    def candidates(trial: Ledger) -> list[Claim]:
        return sorted(
            (
                each
                for each in trial.running.values()
                if each.unit == claim.unit and each.share == claim.share and each.priority < claim.priority
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
