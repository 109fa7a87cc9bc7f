"""Whether a failed attempt is followed by another.

One pure function decides, :func:`wants_retry`. Inputs: the job's retry strategy, how many attempts have begun, and
what ended the last one. Rules: User Guide "Automated job retries", model `EvaluateOnExit`.

- `attempts` counts attempts in all: 1 (the default) means no retry.
- The entries of `evaluateOnExit` are tried in order; within an entry every condition given must match; the first entry
  that matches decides. If none matches, the job is retried.
- An attempt that was timed out is not retried, as on AWS, unless the entry that decides names the time-out's status
  reason and says RETRY (an extension: AWS has no such choice).
- A job that was cancelled or terminated is never retried: the caller of this function sees to that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

TIMED_OUT = "Job attempt duration exceeded timeout"

_REASON_PATTERN = re.compile(r"[A-Za-z0-9.:\s]*\*?\Z")
_EXIT_CODE_PATTERN = re.compile(r"[0-9]*\*?\Z")


class AttemptEnd(msgspec.Struct, frozen=True):
    """What is known of an attempt that failed."""

    status_reason: str
    reason: str | None = None
    """The container's reason."""
    exit_code: int | None = None
    timed_out: bool = False


def wants_retry(strategy: shapes.RetryStrategy | None, attempts_begun: int, end: AttemptEnd) -> bool:
    """Whether the job goes back to RUNNABLE after this failed attempt."""
    if strategy is None or attempts_begun >= (strategy.attempts or 1):
        return False
    for entry in strategy.evaluate_on_exit or ():
        if _matches(entry, end):
            named = entry.on_status_reason not in (None, "*")
            return entry.action.upper() == "RETRY" and (named or not end.timed_out)
    return not end.timed_out


def _matches(entry: shapes.EvaluateOnExit, end: AttemptEnd) -> bool:
    exit_code = None if end.exit_code is None else str(end.exit_code)
    return (
        (entry.on_status_reason is None or _glob(entry.on_status_reason, end.status_reason))
        and (entry.on_reason is None or _glob(entry.on_reason, end.reason or ""))
        and (entry.on_exit_code is None or (exit_code is not None and _glob(entry.on_exit_code, exit_code)))
    )


def _glob(pattern: str, text: str) -> bool:
    """Exact, or a prefix where the pattern ends in `*`. `*` alone matches an absent reason too, which Nextflow's catch-all
    relies on. A leading `*`, which only service jobs may have (User Guide "Service job retry strategies"), matches any
    beginning."""
    if pattern.startswith("*") and len(pattern) > 1:
        return pattern[1:-1] in text if pattern.endswith("*") else text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def check_retry_strategy(strategy: shapes.RetryStrategy | None) -> None:
    """Raises `Refusal` for a strategy that breaks a rule."""
    if strategy is None:
        return
    if strategy.attempts is None:
        raise Refusal("RetryAttempts must be provided with retry strategy")
    check_attempts(strategy.attempts, strategy.evaluate_on_exit)
    for entry in strategy.evaluate_on_exit or ():
        _check_entry(entry)


def check_attempts(attempts: int, entries: Sequence[object] | None) -> None:
    """Raises `Refusal` for too many attempts or conditions."""
    if not 1 <= attempts <= 10:
        raise Refusal(f"RetryAttempts must be between 1 and 10, got {attempts}")
    if len(entries or ()) > 5:
        raise Refusal(f"Evaluate on exit list cannot have more than 5 entries, got {len(entries or ())}")


def _check_entry(entry: shapes.EvaluateOnExit) -> None:
    if entry.action.upper() not in ("RETRY", "EXIT"):
        raise Refusal(f"Evaluate on exit action must be RETRY or EXIT, got {entry.action!r}")
    conditions = (
        (entry.on_status_reason, _REASON_PATTERN),
        (entry.on_reason, _REASON_PATTERN),
        (entry.on_exit_code, _EXIT_CODE_PATTERN),
    )
    if all(text is None for text, _ in conditions):
        raise Refusal("Evaluate on exit needs at least one of onStatusReason, onReason and onExitCode")
    for text, pattern in conditions:
        if text is None:
            continue
        if len(text) > 512:
            raise Refusal("Evaluate on exit condition cannot be longer than 512 characters")
        if not text or not pattern.match(text):
            raise Refusal("Evaluate on exit condition contains restricted characters")
