"""What bounds launches: maxvCpus, the machines, and types that are unavailable."""

from __future__ import annotations

from collections.abc import Container

import msgspec

from batchyard.kernel.scaling.shelf import Shelf
from batchyard.kernel.scaling.strategies import Offer


class Limits(msgspec.Struct):
    """The bounds, and what the launches so far leave of them."""

    max_vcpus: int
    in_use: int
    """vCPUs of instances that run, boot or are about to be launched."""
    may_cross: bool
    """Whether one instance may exceed maxvCpus."""
    machines: Shelf | None
    """Room for instances; None: unlimited."""
    unavailable: Container[str]

    def available(self, offer: Offer) -> bool:
        return offer.type.name not in self.unavailable

    def has_room(self, offer: Offer, number: int = 1) -> bool:
        return self.machines is None or self.machines.holds(offer.slice, number) >= number

    def has_place(self, offer: Offer) -> bool:
        """Whether another instance of this type stays within maxvCpus and the machines."""
        return self.in_use + offer.vcpus <= self.max_vcpus and (self.machines is None or self.has_room(offer))

    def most(self, offer: Offer, number: int) -> int:
        """How many instances of this type stay within maxvCpus and the machines, up to `number`."""
        number = max(0, min(number, (self.max_vcpus - self.in_use) // offer.vcpus))
        return number if self.machines is None or not number else self.machines.holds(offer.slice, number)

    def may_exceed_with(self, offer: Offer, number: int = 1) -> bool:
        """Whether so many may be launched when the last of them exceeds maxvCpus."""
        return (
            self.may_cross
            and self.in_use + (number - 1) * offer.vcpus < self.max_vcpus
            and self.has_room(offer, number)
        )

    def launch(self, offer: Offer, number: int) -> None:
        self.in_use += offer.vcpus * number
        if self.machines is not None:
            self.machines.take(offer.slice, number)
