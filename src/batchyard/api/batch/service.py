"""All of AWS Batch, ready to be plugged into the endpoint."""

from __future__ import annotations

from batchyard.api.batch.compute_environments import ComputeEnvironments
from batchyard.api.batch.consumable_resources import ConsumableResources
from batchyard.api.batch.desk import Desk
from batchyard.api.batch.job_definitions import JobDefinitions
from batchyard.api.batch.job_queues import JobQueues
from batchyard.api.batch.jobs import Jobs
from batchyard.api.batch.quota_shares import QuotaShares
from batchyard.api.batch.scheduling_policies import SchedulingPolicies
from batchyard.api.batch.service_environments import ServiceEnvironments
from batchyard.api.batch.service_jobs import ServiceJobs
from batchyard.api.batch.tags import Tags
from batchyard.api.service import Handler, Service
from batchyard.shapes import batch as shapes


def batch_service(desk: Desk) -> Service:
    """The service. An operation is handled by the method that has its name."""
    resources = [
        Jobs(desk),
        JobDefinitions(desk),
        ComputeEnvironments(desk),
        JobQueues(desk),
        Tags(desk),
        ServiceEnvironments(desk),
        ServiceJobs(desk),
        SchedulingPolicies(desk),
        ConsumableResources(desk),
        QuotaShares(desk),
    ]
    handlers: dict[str, Handler] = {}
    for operation in shapes.OPERATIONS:
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation)[1:]
        for resource in resources:
            if hasattr(resource, method):
                handlers[operation] = getattr(resource, method)
    return Service(
        name="AWS Batch",
        signing_names=("batch",),
        protocol="rest-json",
        operations=shapes.OPERATIONS,
        handlers=handlers,
    )
