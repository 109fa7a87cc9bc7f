"""The rules of SubmitJob that need no other resource. Source: model `SubmitJob`; User Guide "AWS Batch service quotas"."""

from __future__ import annotations

from batchyard.kernel.definitions.job_settings import (
    check_consumable_resources,
    check_scheduling_priority,
    check_timeout,
)
from batchyard.kernel.identifiers import JOB_NAME
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.retries import check_retry_strategy
from batchyard.kernel.tags import check_tags
from batchyard.kernel.terms import JOB_TAGS
from batchyard.shapes import batch as shapes

MAXIMUM_SIZE = 30 * 1024
MAXIMUM_DEPENDENCIES = 20


def check_request(request: shapes.SubmitJobRequest, size: int, maximum_array_size: int) -> None:
    """`size` is the request's length in bytes. Raises `Refusal`."""
    if not JOB_NAME.match(request.job_name):
        raise Refusal("Job name should match valid pattern")
    if size > MAXIMUM_SIZE:
        raise Refusal(f"Job size must be less than 30 KiB, got {-(-size // 1024)} KiB")
    if len(request.depends_on or ()) > MAXIMUM_DEPENDENCIES:
        raise Refusal(f"Job cannot have more than {MAXIMUM_DEPENDENCIES} dependencies")
    array_size = request.array_properties.size if request.array_properties else None
    if array_size is not None and not 2 <= array_size <= maximum_array_size:
        raise Refusal(f"Array size must be between 2 and {maximum_array_size}, got {array_size}")
    check_tags(request.tags, JOB_TAGS)
    check_retry_strategy(request.retry_strategy)
    check_timeout(request.timeout)
    check_scheduling_priority(request.scheduling_priority_override)
    check_consumable_resources(request.consumable_resource_properties_override)
