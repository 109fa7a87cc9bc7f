"""A workload: jobs in the order of their submission."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What makes the request of a job: many jobs share one."""

    queue: str | None
    """None: the only queue that there is."""
    vcpus: str
    """As the API has it: `2`, on Fargate `0.25`."""
    memory: int
    """MiB."""
    gpus: int = 0
    count: int = 1
    """The size of the array; 1 for a job that is none."""
    share: str | None = None
    priority: int | None = None
    timeout: int | None = None
    """Seconds."""
    attempts: int | None = None


class Work(msgspec.Struct, frozen=True, gc=False):
    """A line of a workload: a job, or an array whose children are alike."""

    line: int
    """In the file, from 1."""
    at: int
    """When it is submitted, in milliseconds after the first."""
    run: int
    """Milliseconds that an attempt runs for when nothing stops it."""
    shape: Shape
    exit_code: int = 1
    """Of an attempt that fails."""
    failure_probability: float = 0.0
    """How likely an attempt is to fail."""
    name: str = ""


@contextmanager
def opened(path: Path) -> Iterator[Iterable[str]]:
    """A text file, or one that gzip has packed."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as packed:
            yield packed
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield file


def last_suffix(path: Path) -> str:
    """`.swf` of `log.swf.gz`."""
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
