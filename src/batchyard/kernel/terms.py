"""The tags by which a job, or a job queue, asks for what AWS Batch does not have.

Tags of the submission count for the job (for an array: for all of its children); tags of the queue that are named the same
are the default for its jobs. Each is read once, into :class:`JobTerms` and :class:`QueueTerms`; what they mean is said by the
modules that act on them: `caps.py`, `backoff.py`, `escalation.py`, `queue_preemption.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

PREFIX = "batchyard:"
LONGEST_DELAY = 7 * 86_400
"""Seconds."""


class Backoff(msgspec.Struct, frozen=True):
    """How long a job waits before it is tried again."""

    first: int
    """Seconds before the second attempt."""
    factor: float = 1.0
    """Each further wait is so many times as long."""
    longest: int = LONGEST_DELAY
    """Seconds."""


class MoreMemory(msgspec.Struct, frozen=True):
    """How much memory the next attempt asks for."""

    factor: float = 1.0
    mebibytes: int = 0
    """That are added."""


class JobTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the tags of a job say."""

    group: str | None = None
    most_running: int | None = None
    """Children of an array that may run at once."""
    never_preempted: bool = False
    backoff: Backoff | None = None
    more_memory: MoreMemory | None = None
    """After an attempt that ran out of memory."""
    most_memory: int | None = None
    """MiB."""
    on_demand: bool = False
    """No Spot capacity after an attempt that was reclaimed."""


class QueueTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the tags of a job queue say."""

    preempts: bool = False
    """Jobs of queues with a lower priority have to make way."""
    most_running: int | None = None
    most_running_in_share: int | None = None
    most_running_in_group: int | None = None
    jobs: JobTerms = JobTerms()
    """The default for its jobs."""


NO_TERMS = QueueTerms()


class Tag(NamedTuple):
    """How the value of a tag is read."""

    member: str
    read: Callable[[str], Any]
    """Gives None for what is not allowed."""
    allowed: str


def _at_least(least: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and int(text) >= least else None

    return read


def _name(text: str) -> str | None:
    return text or None


def _only(word: str) -> Callable[[str], bool | None]:
    return lambda text: True if text == word else None


_DURATION = r"([0-9]{1,6})(s|m|h)"
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_FACTOR = r"([0-9]{1,3}(?:\.[0-9]{1,3})?)"
_BACKOFF = re.compile(rf"{_DURATION}(?: x{_FACTOR})?(?: max {_DURATION})?")
_MORE_MEMORY = re.compile(rf"x{_FACTOR}|\+([0-9]{{1,7}})")


def _backoff(text: str) -> Backoff | None:
    found = _BACKOFF.fullmatch(text)
    if found is None:
        return None
    first = int(found[1]) * _SECONDS[found[2]]
    factor = float(found[3] or 1)
    longest = int(found[4]) * _SECONDS[found[5]] if found[4] else LONGEST_DELAY
    if not 1 <= first <= longest <= LONGEST_DELAY or factor < 1:
        return None
    return Backoff(first, factor, longest)


def _more_memory(text: str) -> MoreMemory | None:
    found = _MORE_MEMORY.fullmatch(text)
    if found is None:
        return None
    more = MoreMemory(factor=float(found[1])) if found[1] else MoreMemory(mebibytes=int(found[2]))
    return more if more.factor > 1 or more.mebibytes else None


_COUNT = "a whole number of at least 1"
_DEFAULTS = {
    "batchyard:preemptible": Tag("never_preempted", _only("never"), "never"),
    "batchyard:retryBackoff": Tag(
        "backoff", _backoff, "a delay of 1s to 168h, as in 30s, 30s x2 (each twice as long) or 30s x2 max 10m"
    ),
    "batchyard:onOutOfMemory": Tag(
        "more_memory", _more_memory, "x and a factor above 1, or + and a number of MiB, as in x2, x1.5 or +1024"
    ),
    "batchyard:maxMemory": Tag("most_memory", _at_least(4), "a whole number of MiB of at least 4"),
    "batchyard:onSpotReclaim": Tag("on_demand", _only("on-demand"), "on-demand"),
}
JOB_TAGS: Mapping[str, Tag] = _DEFAULTS | {
    "batchyard:group": Tag("group", _name, "a name"),
    "batchyard:maxRunning": Tag("most_running", _at_least(1), _COUNT),
    "batchyard:preemptionRetriesBeforeTermination": Tag(
        "preemption_retries", _at_least(0), "a whole number of at least 0"
    ),
}
"""Of a submission. The last is of quota shares: see `job_requests.py`."""
_QUEUES_OWN = {
    "batchyard:preemption": Tag("preempts", _only("lower-priority"), "lower-priority"),
    "batchyard:maxRunning": Tag("most_running", _at_least(1), _COUNT),
    "batchyard:maxRunningPerShare": Tag("most_running_in_share", _at_least(1), _COUNT),
    "batchyard:maxRunningPerGroup": Tag("most_running_in_group", _at_least(1), _COUNT),
}
QUEUE_TAGS: Mapping[str, Tag] = _DEFAULTS | _QUEUES_OWN
ENVIRONMENT_TAGS: Mapping[str, Tag] = {
    "batchyard:capacity": Tag(
        "capacity", lambda text: text if text in ("instances", "slices") else None, "instances or slices"
    ),
}

TermsT = TypeVar("TermsT", JobTerms, QueueTerms)


def job_terms(tags: Mapping[str, str] | None) -> JobTerms | None:
    """What a job's tags say; None: nothing."""
    if not tags:
        return None
    terms = _read(JobTerms, JOB_TAGS, tags)
    return terms if terms != JobTerms() else None


def queue_terms(tags: Mapping[str, str] | None) -> QueueTerms:
    """What the tags of a job queue say."""
    if not tags:
        return NO_TERMS
    terms = _read(QueueTerms, _QUEUES_OWN, tags)
    return msgspec.structs.replace(terms, jobs=_read(JobTerms, _DEFAULTS, tags))


def _read(kind: type[TermsT], known: Mapping[str, Tag], tags: Mapping[str, str]) -> TermsT:
    """Tags that were given before they had a meaning may have values that are not allowed: they say nothing."""
    values = {tag.member: tag.read(tags[name]) for name, tag in known.items() if name in tags}
    return kind(
        **{member: value for member, value in values.items() if value is not None and member in kind.__struct_fields__}
    )
