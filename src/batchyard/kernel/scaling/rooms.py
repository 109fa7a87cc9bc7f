"""Which of many instances takes a job: best fit, found without looking at each.

Of the instances with enough of everything the best is, in this order, one

1. without GPUs, so that those are kept for the jobs that ask for them, and then with the fewest free GPUs;
2. of the kind that suits the job: whose memory by vCPU, when it is empty, is nearest to the job's from above, else from
   below, in whole GiB. Jobs that need memory so find the instances that were launched for it not taken by others;
3. with the fewest free vCPUs, then the least free memory, then the first id.

Instances that are alike in 1 and 2 form a line, sorted by 3 and cut into short blocks that know their largest memory, so
that a search looks into one or two blocks and at one number of every other: that costs the square root of the number of
instances at worst, as does a change.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import itemgetter

import msgspec

from batchyard.kernel.resources import Resources

BLOCK = 64
"""Entries of a block, at first; one of twice as many is cut in two."""


_memory = itemgetter(1)
_Key = tuple[bool, int, int]
"""Of a line: whether the instances have GPUs, how many are free, and GiB by vCPU."""


class _Entry(msgspec.Struct):
    capacity: Resources
    room: Resources
    excluded: bool = False

    @property
    def key(self) -> _Key:
        return self.capacity.gpus > 0, self.room.gpus, memory_ratio(self.capacity)


class Rooms:
    """The free room of instances that take jobs."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._all = _Index()
        self._empty = _Index()
        self._excluded = 0
        self._misfits: set[Resources] = set()
        """What was looked for in vain since there was last more room anywhere."""

    def __contains__(self, instance_id: str) -> bool:
        return instance_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def room(self, instance_id: str) -> Resources:
        """Raises KeyError for an instance that was not added."""
        return self._entries[instance_id].room

    def add(self, instance_id: str, room: Resources, capacity: Resources | None = None) -> None:
        """Adds an instance, by default one that is empty. Raises ValueError when it is already there."""
        if instance_id in self._entries:
            raise ValueError(f"{instance_id} is already there")
        self._misfits.clear()
        entry = self._entries[instance_id] = _Entry(room if capacity is None else capacity, room)
        self._enter(instance_id, entry)

    def update(self, instance_id: str, room: Resources) -> None:
        """Sets what is free. Raises KeyError for an instance that was not added."""
        entry = self._entries[instance_id]
        if not room.fits(entry.room):
            self._misfits.clear()
        if entry.excluded:
            entry.room = room
        elif room != entry.room:
            self._leave(instance_id, entry)
            entry.room = room
            self._enter(instance_id, entry)

    def remove(self, instance_id: str) -> None:
        """Raises KeyError for an instance that was not added."""
        entry = self._entries.pop(instance_id)
        if entry.excluded:
            self._excluded -= 1
        else:
            self._leave(instance_id, entry)

    def exclude(self, instance_id: str) -> None:
        """Takes an instance out of every search, as one that drains, until it is included again. Updates go on."""
        entry = self._entries[instance_id]
        if not entry.excluded:
            self._leave(instance_id, entry)
            entry.excluded = True
            self._excluded += 1

    def include(self, instance_id: str) -> None:
        entry = self._entries[instance_id]
        if entry.excluded:
            entry.excluded = False
            self._excluded -= 1
            self._enter(instance_id, entry)

    def find(self, wanted: Resources) -> str | None:
        """The instance that fits best, or None when none has room."""
        if wanted in self._misfits:
            return None
        found = self._all.first(wanted)
        if found is None and not self._excluded:
            self._misfits.add(wanted)
        return found

    def find_empty(self, wanted: Resources) -> str | None:
        """The same among instances that hold nothing: for a node of a multi-node job, which is their single tenant."""
        return self._empty.first(wanted)

    def freest(self) -> str | None:
        """The instance with the most free vCPUs, and of those with the most free memory."""
        return self._all.last()

    def _enter(self, instance_id: str, entry: _Entry) -> None:
        self._all.add(entry.key, entry.room, instance_id)
        if entry.room == entry.capacity:
            self._empty.add(entry.key, entry.room, instance_id)

    def _leave(self, instance_id: str, entry: _Entry) -> None:
        self._all.remove(entry.key, entry.room, instance_id)
        if entry.room == entry.capacity:
            self._empty.remove(entry.key, entry.room, instance_id)


def memory_ratio(resources: Resources) -> int:
    """GiB by vCPU, rounded: 2 of the compute optimised families, 4 of the general ones, 8 of those with much memory."""
    return round(resources.memory * 1000 / 1024 / max(1, resources.milli_vcpus))


class _Index:
    """The lines."""

    def __init__(self) -> None:
        self._lines: dict[_Key, _Line] = {}

    def add(self, key: _Key, room: Resources, instance_id: str) -> None:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        line.add((room.milli_vcpus, room.memory, instance_id))

    def remove(self, key: _Key, room: Resources, instance_id: str) -> None:
        line = self._lines[key]
        line.remove((room.milli_vcpus, room.memory, instance_id))
        if not line.blocks:
            del self._lines[key]

    def first(self, wanted: Resources) -> str | None:
        ratio = memory_ratio(wanted)
        keys = [key for key in self._lines if key[1] >= wanted.gpus]
        keys.sort(key=lambda key: (key[0], key[1], key[2] < ratio, abs(key[2] - ratio)))
        for key in keys:
            found = self._lines[key].first(wanted.milli_vcpus, wanted.memory)
            if found is not None:
                return found
        return None

    def last(self) -> str | None:
        return max((line.blocks[-1][-1] for line in self._lines.values()), default=(0, 0, None))[2]


class _Line:
    """(vCPUs/1000, MiB, id) in order, in blocks."""

    def __init__(self) -> None:
        self.blocks: list[list[tuple[int, int, str]]] = []
        self._last: list[tuple[int, int, str]] = []
        self._most_memory: list[int] = []

    def add(self, entry: tuple[int, int, str]) -> None:
        if not self.blocks:
            self._insert(0, [entry])
            return
        number = min(bisect_left(self._last, entry), len(self.blocks) - 1)
        block = self.blocks[number]
        insort(block, entry)
        if len(block) < 2 * BLOCK:
            self._last[number] = block[-1]
            self._most_memory[number] = max(self._most_memory[number], entry[1])
            return
        self._drop(number)
        self._insert(number, block[BLOCK:])
        self._insert(number, block[:BLOCK])

    def remove(self, entry: tuple[int, int, str]) -> None:
        number = bisect_left(self._last, entry)
        block = self.blocks[number]
        del block[bisect_left(block, entry)]
        if not block:
            self._drop(number)
            return
        self._last[number] = block[-1]
        if entry[1] == self._most_memory[number]:
            self._most_memory[number] = max(map(_memory, block))

    def first(self, milli_vcpus: int, memory: int) -> str | None:
        least = (milli_vcpus, memory, "")
        start = bisect_left(self._last, least)
        for number in range(start, len(self.blocks)):
            if self._most_memory[number] < memory:
                continue
            block = self.blocks[number]
            for position in range(bisect_left(block, least) if number == start else 0, len(block)):
                if block[position][1] >= memory:
                    return block[position][2]
        return None

    def _insert(self, number: int, block: list[tuple[int, int, str]]) -> None:
        self.blocks.insert(number, block)
        self._last.insert(number, block[-1])
        self._most_memory.insert(number, max(map(_memory, block)))

    def _drop(self, number: int) -> None:
        del self.blocks[number], self._last[number], self._most_memory[number]
