"""vCPUs, memory and GPUs, as jobs ask for them and machines have them."""

from __future__ import annotations

import msgspec


class Resources(msgspec.Struct, frozen=True):
    """What one task asks for. Jobs that ask for the same share one object."""

    milli_vcpus: int
    memory: int
    """MiB."""
    gpus: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.milli_vcpus + other.milli_vcpus, self.memory + other.memory, self.gpus + other.gpus)

    def __sub__(self, other: Resources) -> Resources:
        return Resources(self.milli_vcpus - other.milli_vcpus, self.memory - other.memory, self.gpus - other.gpus)

    def fits(self, room: Resources) -> bool:
        return self.milli_vcpus <= room.milli_vcpus and self.memory <= room.memory and self.gpus <= room.gpus

    def __str__(self) -> str:
        gpus = f" and {self.gpus} GPU" if self.gpus else ""
        return f"{self.milli_vcpus / 1000:g} vCPU{' and' if not gpus else ','} {self.memory} MiB{gpus}"


NOTHING = Resources(0, 0, 0)
