"""Whether the machines have room for a job: now, or when something else that runs were stopped."""

from __future__ import annotations

import msgspec

from batchyard.kernel.resources import NOTHING, Resources


class Slot(msgspec.Struct, frozen=True):
    """Where a task may go."""

    allowance: str
    """What else limits the tasks there: a compute environment, or the instance type of a service environment."""
    machine: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a job needs: so many tasks, each with room on a machine and a part of an allowance."""

    each: Resources = NOTHING
    tasks: int = 1
    draws: int = 0
    """What each of them takes of its allowance."""
    allowance: str | None = None
    """The only one that will do; None: any."""


class Rooms(msgspec.Struct, kw_only=True):
    """What is free. Tasks may run where nothing more is to go: what they give back there helps nobody."""

    slots: tuple[Slot, ...]
    """In the order in which they are tried."""
    free: dict[str, Resources]
    """By machine."""
    allowed: dict[str, int]
    """What is left of each allowance: milli-vCPUs, or instances."""

    def copy(self) -> Rooms:
        return Rooms(slots=self.slots, free=dict(self.free), allowed=dict(self.allowed))

    def find(self, wanted: Wanted) -> tuple[Slot, ...] | None:
        """A slot for each task; None when there is no room for all of them."""
        trial = self.copy() if wanted.tasks > 1 else self
        found: list[Slot] = []
        for slot in self.slots:
            while len(found) < wanted.tasks and trial._fits(wanted, slot):
                found.append(slot)
                if wanted.tasks > 1:
                    trial.take(wanted, (slot,))
        return tuple(found) if len(found) == wanted.tasks else None

    def _fits(self, wanted: Wanted, slot: Slot) -> bool:
        return (
            wanted.allowance in (None, slot.allowance)
            and wanted.draws <= self.allowed[slot.allowance]
            and wanted.each.fits(self.free[slot.machine])
        )

    def take(self, wanted: Wanted, slots: tuple[Slot, ...]) -> None:
        """The tasks run in these slots."""
        for slot in slots:
            if slot.machine in self.free:
                self.free[slot.machine] -= wanted.each
            if slot.allowance in self.allowed:
                self.allowed[slot.allowance] -= wanted.draws

    def give(self, wanted: Wanted, slots: tuple[Slot, ...]) -> None:
        """The tasks no longer run there."""
        for slot in slots:
            if slot.machine in self.free:
                self.free[slot.machine] += wanted.each
            if slot.allowance in self.allowed:
                self.allowed[slot.allowance] += wanted.draws
