"""Which of many instances takes a job: best fit, found without looking at each.

Instances stand in one order: those without GPUs first, so that GPUs are kept for the jobs that ask for them, then by free GPUs,
free vCPUs, free memory and id. The first in that order with enough of all three is the best fit. Instances with as
many free GPUs form a line, cut into short sorted blocks that know their largest memory, so that a search looks at one
block and at one number of every other: it costs the square root of the number of instances, as does a change.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import msgspec

from batchyard.kernel.resources import Resources

BLOCK = 64
"""Entries of a block, at first; one of twice as many is cut in two."""


class _Entry(msgspec.Struct):
    capacity: Resources
    room: Resources
    excluded: bool = False


class Rooms:
    """The free room of instances that take jobs."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._all = _Index()
        self._empty = _Index()

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
        entry = self._entries[instance_id] = _Entry(room if capacity is None else capacity, room)
        self._enter(instance_id, entry)

    def update(self, instance_id: str, room: Resources) -> None:
        """Sets what is free. Raises KeyError for an instance that was not added."""
        entry = self._entries[instance_id]
        if entry.excluded:
            entry.room = room
        elif room != entry.room:
            self._leave(instance_id, entry)
            entry.room = room
            self._enter(instance_id, entry)

    def remove(self, instance_id: str) -> None:
        """Raises KeyError for an instance that was not added."""
        entry = self._entries.pop(instance_id)
        if not entry.excluded:
            self._leave(instance_id, entry)

    def exclude(self, instance_id: str) -> None:
        """Takes an instance out of every search, as one that drains, until it is included again. Updates go on."""
        entry = self._entries[instance_id]
        if not entry.excluded:
            self._leave(instance_id, entry)
            entry.excluded = True

    def include(self, instance_id: str) -> None:
        entry = self._entries[instance_id]
        if entry.excluded:
            entry.excluded = False
            self._enter(instance_id, entry)

    def find(self, wanted: Resources) -> str | None:
        """The instance that fits best, or None when none has room."""
        return self._all.first(wanted)

    def find_empty(self, wanted: Resources) -> str | None:
        """The same among instances that hold nothing: for a node of a multi-node job, which is their single tenant."""
        return self._empty.first(wanted)

    def _enter(self, instance_id: str, entry: _Entry) -> None:
        has_gpus = entry.capacity.gpus > 0
        self._all.add(has_gpus, entry.room, instance_id)
        if entry.room == entry.capacity:
            self._empty.add(has_gpus, entry.room, instance_id)

    def _leave(self, instance_id: str, entry: _Entry) -> None:
        has_gpus = entry.capacity.gpus > 0
        self._all.remove(has_gpus, entry.room, instance_id)
        if entry.room == entry.capacity:
            self._empty.remove(has_gpus, entry.room, instance_id)


class _Index:
    """Lines by whether the instance has GPUs, and how many are free."""

    def __init__(self) -> None:
        self._lines: dict[tuple[bool, int], _Line] = {}
        self._order: list[tuple[bool, int]] = []

    def add(self, has_gpus: bool, room: Resources, instance_id: str) -> None:
        key = has_gpus, room.gpus
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
            insort(self._order, key)
        line.add((room.milli_vcpus, room.memory, instance_id))

    def remove(self, has_gpus: bool, room: Resources, instance_id: str) -> None:
        key = has_gpus, room.gpus
        line = self._lines[key]
        line.remove((room.milli_vcpus, room.memory, instance_id))
        if not line.blocks:
            del self._lines[key]
            self._order.remove(key)

    def first(self, wanted: Resources) -> str | None:
        for key in self._order:
            if key[1] >= wanted.gpus:
                found = self._lines[key].first(wanted.milli_vcpus, wanted.memory)
                if found is not None:
                    return found
        return None


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
            self._most_memory[number] = max(memory for _, memory, _ in block)

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
        self._most_memory.insert(number, max(memory for _, memory, _ in block))

    def _drop(self, number: int) -> None:
        del self.blocks[number], self._last[number], self._most_memory[number]
