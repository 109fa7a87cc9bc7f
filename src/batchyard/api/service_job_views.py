"""A service job as DescribeServiceJob and ListServiceJobs show it, made from its row and from what it was asked to run.

Source: model `DescribeServiceJobResponse`, `ServiceJobSummary`. An attempt is a SageMaker training job: its ARN is its name.
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.identifiers import Account
from batchyard.kernel.records import ServiceRequest
from batchyard.kernel.stored import StoredJob
from batchyard.kernel.training import RESOURCE_NAME, training_job_arn, training_job_name
from batchyard.shapes import batch as shapes

TYPE = "SAGEMAKER_TRAINING"


def service_job_detail(
    row: StoredJob, detail: shapes.DescribeServiceJobResponse, unit: str, account: Account
) -> shapes.DescribeServiceJobResponse:
    """The whole of a service job. `detail` is what it was asked to run, `unit` what its capacity is counted in."""
    service = _service(row)
    return msgspec.structs.replace(
        detail,
        job_arn=account.arn(f"service-job/{row.id}"),
        job_id=row.id,
        status=row.status.name,
        status_reason=row.status_reason,
        attempts=[_attempt(attempt) for attempt in row.attempts or ()],
        capacity_usage=[shapes.ServiceJobCapacityUsageDetail(capacity_unit=unit, quantity=service.instance_count)],
        created_at=row.created_at,
        is_terminated=row.terminated,
        latest_attempt=_latest_attempt(row, service, account),
        preemption_summary=_preemptions(service),
        scheduled_at=service.scheduled_at,
        scheduling_priority=service.priority,
        started_at=row.started_at,
        stopped_at=row.stopped_at,
    )


def service_job_summary(row: StoredJob, unit: str, account: Account) -> shapes.ServiceJobSummary:
    """A service job in a list."""
    service = _service(row)
    return shapes.ServiceJobSummary(
        latest_attempt=_latest_attempt(row, service, account),
        capacity_usage=[shapes.ServiceJobCapacityUsageSummary(capacity_unit=unit, quantity=service.instance_count)],
        created_at=row.created_at,
        job_arn=account.arn(f"service-job/{row.id}"),
        job_id=row.id,
        job_name=row.name,
        scheduled_at=service.scheduled_at,
        service_job_type=TYPE,
        share_identifier=None if service.quota_share else row.share,
        quota_share_name=service.quota_share,
        status=row.status.name,
        status_reason=row.status_reason,
        started_at=row.started_at,
        stopped_at=row.stopped_at,
        is_terminated=row.terminated or None,
    )


def _service(row: StoredJob) -> ServiceRequest:
    assert row.service is not None
    return row.service


def _attempt(attempt: shapes.AttemptDetail) -> shapes.ServiceJobAttemptDetail:
    arn = attempt.container.task_arn if attempt.container else None
    return shapes.ServiceJobAttemptDetail(
        service_resource_id=shapes.ServiceResourceId(name=RESOURCE_NAME, value=arn),
        started_at=attempt.started_at,
        stopped_at=attempt.stopped_at,
        status_reason=attempt.status_reason,
    )


def _preemptions(service: ServiceRequest) -> shapes.ServiceJobPreemptionSummary | None:
    """Only a job that has been preempted has this."""
    if not service.preemptions:
        return None
    return shapes.ServiceJobPreemptionSummary(
        preempted_attempt_count=service.preemptions, recent_preempted_attempts=service.recent_preemptions
    )


def _latest_attempt(row: StoredJob, service: ServiceRequest, account: Account) -> shapes.LatestServiceJobAttempt | None:
    if not row.attempt:
        return None
    arn = training_job_arn(account, training_job_name(service.training_name, row.id or "", row.attempt))
    return shapes.LatestServiceJobAttempt(service_resource_id=shapes.ServiceResourceId(name=RESOURCE_NAME, value=arn))
