"""`jobStateTimeLimitActions`: what a queue may be told to do about the job that blocks it, and the doing of it.

The clock of a blocked job is in `blocked.py`. An array stands in its queue as one: all of its children that wait are ended, as
CancelJob would; those that run go on.

Sources: User Guide "Jobs stuck in a RUNNABLE status", "Automatic remediation with jobStateTimeLimitActions"; model
`JobStateTimeLimitAction`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.blocked import first
from batchyard.kernel.records import Job, JobQueue
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State
from batchyard.shapes import batch as shapes

SHORTEST, LONGEST = 600, 86_400
"""Seconds."""

ENDS_A_STEP = 1000
"""A cap on the work of one round, as for starts."""

_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
CONTAINER_REASONS = (
    _CAPACITY,
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
)
_QUOTA = "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED"
SERVICE_REASONS = (_CAPACITY, "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE", _QUOTA)


def check_time_limits(actions: Sequence[shapes.JobStateTimeLimitAction] | None, *, service: bool, quota: bool) -> None:
    """The actions of a container queue, or of one for service jobs; `quota`: it has a quota share policy. Raises `Refusal`."""
    reasons, allowed = (SERVICE_REASONS, "TERMINATE") if service else (CONTAINER_REASONS, "CANCEL")
    if quota and not service:
        reasons = (*reasons, _QUOTA)
    named: set[str] = set()
    for action in actions or ():
        if not SHORTEST <= action.max_time_seconds <= LONGEST:
            raise Refusal(f"maxTimeSeconds must be between {SHORTEST} and {LONGEST}, got {action.max_time_seconds}")
        if action.action != allowed:
            raise Refusal(
                f"The action of a job state time limit must be {allowed} in this job queue, got {action.action}"
            )
        if action.reason not in reasons:
            raise Refusal(
                f"The reason of a job state time limit must be one of {', '.join(reasons)}, got {action.reason[:200]!r}"
            )
        if action.reason in named:
            raise Refusal(f"There are several job state time limits for the reason {action.reason}")
        named.add(action.reason)


class DueEnd(msgspec.Struct, frozen=True):
    """What a queue will do about a job that blocks it, and when (milliseconds)."""

    job: Job
    limit: shapes.JobStateTimeLimitAction
    at: int


def due_end_of(job: Job) -> DueEnd | None:
    """The end that a job will meet if it goes on blocking its queue; None when there is no limit for its reason."""
    if job.blocked is None:
        return None
    for limit in job.queue.detail.job_state_time_limit_actions or ():
        if limit.reason == job.blocked.code:
            return DueEnd(job, limit, job.blocked.since + 1000 * limit.max_time_seconds)
    return None


def _next_ends(queue: JobQueue) -> Iterator[DueEnd]:
    """For each limit of a queue, the job that reaches it first."""
    for limit in queue.detail.job_state_time_limit_actions or ():
        job = first(queue, limit.reason)
        end = due_end_of(job) if job is not None else None
        if end is not None:
            yield end


def time_limits_due(state: State) -> list[int]:
    """When the next jobs are to be ended."""
    return [end.at for queue in state.queues.values() for end in _next_ends(queue)]


def end_blocked(state: State, now: int) -> bool:
    """Ends the jobs that have blocked their queue for as long as they may. Returns whether there were any: others may have
    their turn then."""
    ended = 0
    for queue in state.queues.values():
        while ended < ENDS_A_STEP and (end := next((end for end in _next_ends(queue) if end.at <= now), None)):
            _carry_out(state, end, now)
            ended += 1
    return ended > 0


def _carry_out(state: State, end: DueEnd, now: int) -> None:
    cause = f"by JobStateTimeLimit action due to reason: {end.limit.reason}"
    if end.limit.action == "TERMINATE":
        lifecycle.terminate(state, end.job, None, f"Terminated {cause}", now)
    else:
        lifecycle.cancel(state, end.job, None, f"Canceled {cause}", now)
