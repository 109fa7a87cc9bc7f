"""A multiset of rooms that is filled in bulk: equal rooms are one entry, so that the cost does not follow their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from batchyard.kernel.resources import Resources


class Shelf:
    """Rooms on instances, or on the machines that instances are slices of."""

    def __init__(self, rooms: Iterable[Resources] = ()) -> None:
        self._rooms = Counter(rooms)

    def holds(self, resources: Resources, enough: int) -> int:
        """How many of this size could be taken, counted up to `enough`."""
        found = 0
        for room, number in self._rooms.items():
            if resources.fits(room):
                found += number * times_in(resources, room, enough)
                if found >= enough:
                    return enough
        return found

    def take(self, resources: Resources, count: int, leftovers: Shelf | None = None) -> int:
        """Takes room for up to `count` of this size and returns for how many there was.

        The same as one after the other into the room that fits best: the one with the fewest GPUs, then vCPUs, then MiB. What
        is left of the rooms goes to `leftovers`, or stays here.
        """
        remaining = count
        for room in self._fitting(resources):
            if remaining == 0:
                break
            times = times_in(resources, room, remaining)
            rooms = min(self._rooms[room], remaining // times)
            self._move(room, rooms, _less(room, resources, times), leftovers)
            remaining -= rooms * times
            if 0 < remaining < times and self._rooms[room]:
                self._move(room, 1, _less(room, resources, remaining), leftovers)
                remaining = 0
        return count - remaining

    def take_whole(self, resources: Resources, count: int) -> int:
        """The same, each taking all of a room."""
        remaining = count
        for room in self._fitting(resources):
            rooms = min(self._rooms[room], remaining)
            self._remove(room, rooms)
            remaining -= rooms
        return count - remaining

    def largest(self) -> Resources | None:
        """The room with the most vCPUs; of equals the one with the most memory."""
        return max(self._rooms, key=lambda room: (room.milli_vcpus, room.memory, room.gpus), default=None)

    def _fitting(self, resources: Resources) -> list[Resources]:
        fitting = [room for room in self._rooms if resources.fits(room)]
        fitting.sort(key=lambda room: (room.gpus, room.milli_vcpus, room.memory))
        return fitting

    def _move(self, room: Resources, number: int, left: Resources, leftovers: Shelf | None) -> None:
        if number == 0:
            return
        self._remove(room, number)
        target = self if leftovers is None else leftovers
        target._rooms[left] += number

    def _remove(self, room: Resources, number: int) -> None:
        self._rooms[room] -= number
        if not self._rooms[room]:
            del self._rooms[room]


def times_in(resources: Resources, room: Resources, most: int) -> int:
    """How often this size fits into the room, at most so often."""
    times = most
    if resources.milli_vcpus:
        times = min(times, room.milli_vcpus // resources.milli_vcpus)
    if resources.memory:
        times = min(times, room.memory // resources.memory)
    if resources.gpus:
        times = min(times, room.gpus // resources.gpus)
    return times


def _less(room: Resources, resources: Resources, times: int) -> Resources:
    return Resources(
        room.milli_vcpus - times * resources.milli_vcpus,
        room.memory - times * resources.memory,
        room.gpus - times * resources.gpus,
    )
