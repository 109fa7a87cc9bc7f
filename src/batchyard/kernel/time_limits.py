"""`jobStateTimeLimitActions`: what a queue may be told to do about the job that blocks it.

Sources: User Guide "Jobs stuck in a RUNNABLE status", "Automatic remediation with jobStateTimeLimitActions"; model
`JobStateTimeLimitAction`.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

SHORTEST, LONGEST = 600, 86_400
"""Seconds."""

_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
CONTAINER_REASONS = (
    _CAPACITY,
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
)
SERVICE_REASONS = (
    _CAPACITY,
    "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED",
)


def check_time_limits(actions: Sequence[shapes.JobStateTimeLimitAction] | None, *, service: bool) -> None:
    """The actions of a container queue, or of one for service jobs. Raises `Refusal`."""
    reasons, allowed = (SERVICE_REASONS, "TERMINATE") if service else (CONTAINER_REASONS, "CANCEL")
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
