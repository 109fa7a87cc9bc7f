"""The line in front of the runner's host: who waits, whose turn it is, and what those inside are using."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from batchyard.engines.local.process.protocol import Order
from batchyard.engines.local.process.spawn import CannotStart


@dataclass
class Resources:
    """What may be used, or is in use, at the same time."""

    vcpus: int = 0
    """Thousandths."""
    memory: int = 0
    """MiB."""
    gpus: int = 0

    def fits(self, order: Order, used: Resources) -> bool:
        return (
            used.vcpus + order.vcpus <= self.vcpus
            and used.memory + order.memory <= self.memory
            and used.gpus + order.gpus <= self.gpus
        )

    def add(self, order: Order, sign: int) -> None:
        self.vcpus += sign * order.vcpus
        self.memory += sign * order.memory
        self.gpus += sign * order.gpus


NOTHING = Resources()


class Line:
    """Orders are admitted as they came. The first that does not fit holds up those behind it."""

    def __init__(self) -> None:
        self._capacity = Resources()
        self._used = Resources()
        self._free_gpus: list[int] = []
        self._waiting: OrderedDict[str, Order] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._waiting

    def resize(self, capacity: Resources, gpus_in_use: Collection[int]) -> None:
        """What there is from now on. Those inside keep what they have, even where that is more."""
        self._capacity = capacity
        self._free_gpus = [gpu for gpu in range(capacity.gpus) if gpu not in gpus_in_use]

    def join(self, order: Order) -> None:
        self._waiting[order.task_id] = order

    def leave(self, task_id: str) -> bool:
        """Take an order away. False when it does not wait here."""
        return self._waiting.pop(task_id, None) is not None

    def clear(self) -> None:
        self._waiting.clear()

    def first(self) -> Order | None:
        """The first in line when its turn has come: it fits, or it never will."""
        order = next(iter(self._waiting.values()), None)
        if order is None or (self._is_possible(order) and not self._capacity.fits(order, self._used)):
            return None
        return order

    def admit(self, order: Order) -> list[int]:
        """Take the first out of the line and give it what it wants, until its `release`. Returns its GPUs;
        `CannotStart` when it wants more than there is."""
        del self._waiting[order.task_id]
        if not self._is_possible(order):
            wanted = f"{order.vcpus / 1000:g} vCPUs, {order.memory} MiB and {order.gpus} GPUs"
            raise CannotStart(f"{wanted} are more than there is")
        self._used.add(order, 1)
        return [self._free_gpus.pop() for _ in range(order.gpus)] if order.gpus else []

    def release(self, order: Order, gpus: Iterable[int]) -> None:
        """What an admitted order was given is free again."""
        self._used.add(order, -1)
        self._free_gpus += gpus

    def _is_possible(self, order: Order) -> bool:
        return self._capacity.fits(order, NOTHING)
