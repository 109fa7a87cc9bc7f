"""One request that ends many jobs: CancelJobs and TerminateJobs (and their like for service jobs).

Source: model `CancelJobs`, `TerminateJobs`: at most 50 ids, always HTTP 200, what went wrong with one job is said beside its
id, and a job that is not found counts as ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from batchyard.api.batch.desk import Desk
from batchyard.api.errors import ApiError, validation_failure
from batchyard.kernel.commands import Command
from batchyard.kernel.job_requests import check_reason
from batchyard.kernel.refusal import Refusal

MAXIMUM_JOBS = 50

Failure = tuple[str, str, str]
"""A job's id, the error's code and its message."""


async def end_each(
    desk: Desk, job_ids: Sequence[str], reason: str, command: Callable[[str, str], Command]
) -> tuple[list[str], list[Failure]]:
    """Carries out `command(id, reason)` for each job, all of them in one commit. Returns the ids that succeeded, in the order
    asked and each once, and the failures. Raises `ApiError` for what is wrong with the request as a whole."""
    ids = list(dict.fromkeys(job_ids))
    if not 1 <= len(job_ids) <= MAXIMUM_JOBS:
        raise validation_failure(f"jobs must have 1 to {MAXIMUM_JOBS} entries, got {len(job_ids)}")
    try:
        check_reason(reason)
    except Refusal as refusal:
        raise validation_failure(refusal.message) from None
    results = await asyncio.gather(*(desk.carry_out(command(job_id, reason)) for job_id in ids), return_exceptions=True)
    successful: list[str] = []
    failures: list[Failure] = []
    for job_id, result in zip(ids, results, strict=True):
        if isinstance(result, ApiError):
            failures.append((job_id, result.code, result.message))
        elif isinstance(result, BaseException):
            raise result
        else:
            successful.append(job_id)
    return successful, failures
