"""SubmitServiceJob, TerminateServiceJob and UpdateServiceJob: from the request to the life of the job.

A service job is a `Job` with a `ServiceRequest`: its queue, its attempts, its retries and its history are those of any job.
Sources: User Guide "Service jobs in AWS Batch", "Service job payloads", "Service job retry strategies"; model
`SubmitServiceJob`, `UpdateServiceJob`.
"""

from __future__ import annotations

import hashlib

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.commands import SubmitServiceJob, TerminateServiceJob, UpdateServiceJob
from batchyard.kernel.definitions.job_settings import check_scheduling_priority
from batchyard.kernel.dependencies import Outlook
from batchyard.kernel.identifiers import NAME, service_job_id_of
from batchyard.kernel.job_requests import check_reason
from batchyard.kernel.ordering import fifo, share_lines
from batchyard.kernel.queues import find_queue
from batchyard.kernel.quota_shares import check_quota_share
from batchyard.kernel.records import Job, JobQueue, Kind, ServiceRequest
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.retries import check_attempts
from batchyard.kernel.scheduling_policies import check_share_identifier, policy_of
from batchyard.kernel.state import State
from batchyard.kernel.submission_tokens import KIND as TOKEN_KIND
from batchyard.kernel.submission_tokens import REMEMBERED, SubmissionToken
from batchyard.kernel.tags import check_tags
from batchyard.kernel.training import instance_resources, read_payload, training_name
from batchyard.shapes import batch as shapes

MAXIMUM_SIZE = 30 * 1024
MAXIMUM_PAYLOAD = 10 * 1024
SHORTEST_TIMEOUT = 60
"""Seconds."""


def find_service_job(state: State, id_or_arn: str) -> Job | None:
    """The unfinished service job of this id or ARN."""
    job = state.jobs.get(service_job_id_of(state.settings.account, id_or_arn))
    return job if job is not None and job.kind is Kind.SERVICE else None


def submit_service_job(state: State, command: SubmitServiceJob, now: int) -> shapes.SubmitServiceJobResponse:
    """SubmitServiceJob. A repetition with the same client token is the same job."""
    request = command.request
    digest = _digest(request)
    known = state.submission_tokens.get(request.client_token or "")
    if known is not None and now - known.at < REMEMBERED:
        if known.digest != digest:
            raise Refusal(f"clientToken {request.client_token} was used before, for a different request")
        return _answer(state, known.job_id, known.job_name)
    _check(request, command.size)
    training = read_payload(request.service_request_payload)
    queue = _queue_for(state, request)
    share = _checked_share(state, queue, request)

    config, max_runtime = training.resource_config, training.stopping_condition.max_runtime_in_seconds
    retries = request.preemption_configuration
    own_limit = request.timeout_config.attempt_duration_seconds if request.timeout_config else None
    job = Job(
        seq=state.take_seq(),
        id=command.job_id,
        name=request.job_name,
        queue=queue,
        definition=state.shared_text(""),
        resources=state.shared(instance_resources(config.instance_type, config.instance_count, _machine(state))),
        created_at=now,
        kind=Kind.SERVICE,
        retry=_as_retry_strategy(request.retry_strategy),
        timeout=min(max_runtime, own_limit or max_runtime),
        share=share,
        priority=request.scheduling_priority,
        service=ServiceRequest(
            instance_type=config.instance_type,
            instance_count=config.instance_count,
            training_name=training_name(training, request.job_name),
            max_runtime=max_runtime,
            priority=request.scheduling_priority,
            quota_share=request.quota_share_name,
            preemption_retries=retries.preemption_retries_before_termination if retries is not None else None,
        ),
    )
    state.effects.details.append((job.seq, _detail(request, queue)))
    _remember(state, request, digest, job, now)
    lifecycle.accept(state, job, Outlook([]), now)
    return _answer(state, job.id, job.name)


def _digest(request: shapes.SubmitServiceJobRequest) -> str:
    return hashlib.blake2b(msgspec.json.encode(request, order="sorted"), digest_size=16).hexdigest()


def _answer(state: State, job_id: str, name: str) -> shapes.SubmitServiceJobResponse:
    arn = state.settings.account.arn(f"service-job/{job_id}")
    return shapes.SubmitServiceJobResponse(job_arn=arn, job_name=name, job_id=job_id)


def _check(request: shapes.SubmitServiceJobRequest, size: int) -> None:
    """The rules that need no other resource."""
    if not NAME.match(request.job_name):
        raise Refusal("Job name should match valid pattern")
    if size > MAXIMUM_SIZE:
        raise Refusal(f"Job size must be less than 30 KiB, got {-(-size // 1024)} KiB")
    payload = len(request.service_request_payload.encode(errors="surrogatepass"))
    if payload > MAXIMUM_PAYLOAD:
        raise Refusal(f"serviceRequestPayload must be at most 10 KiB, got {-(-payload // 1024)} KiB")
    check_tags(request.tags)
    check_scheduling_priority(request.scheduling_priority)
    _check_retry_strategy(request.retry_strategy)
    limit = request.timeout_config.attempt_duration_seconds if request.timeout_config else None
    if limit is not None and limit < SHORTEST_TIMEOUT:
        raise Refusal(f"attemptDurationSeconds must be at least {SHORTEST_TIMEOUT}, got {limit}")
    retries = request.preemption_configuration
    if retries is not None and (retries.preemption_retries_before_termination or 0) < 0:
        raise Refusal(
            "preemptionRetriesBeforeTermination must not be negative,"
            f" got {retries.preemption_retries_before_termination}"
        )


def _check_retry_strategy(strategy: shapes.ServiceJobRetryStrategy | None) -> None:
    if strategy is None:
        return
    check_attempts(strategy.attempts, strategy.evaluate_on_exit)
    for entry in strategy.evaluate_on_exit or ():
        pattern = entry.on_status_reason
        if not pattern:
            raise Refusal("Evaluate on exit needs onStatusReason")
        if len(pattern) > 512:
            raise Refusal("Evaluate on exit condition cannot be longer than 512 characters")
        if not pattern.isprintable() or "*" in pattern[1:-1]:
            raise Refusal("Evaluate on exit condition contains restricted characters")


def _as_retry_strategy(strategy: shapes.ServiceJobRetryStrategy | None) -> shapes.RetryStrategy | None:
    if strategy is None:
        return None
    entries = [
        shapes.EvaluateOnExit(action=entry.action or "RETRY", on_status_reason=entry.on_status_reason)
        for entry in strategy.evaluate_on_exit or ()
    ]
    return shapes.RetryStrategy(attempts=strategy.attempts, evaluate_on_exit=entries or None)


def _queue_for(state: State, request: shapes.SubmitServiceJobRequest) -> JobQueue:
    queue = find_queue(state, request.job_queue)
    if queue is None or queue.detail.status == "DELETING":
        raise Refusal(f"JobQueue {request.job_queue} not found.")
    if not queue.is_service:
        raise Refusal(
            f"Job queue {queue.detail.job_queue_arn} is of type {queue.detail.job_queue_type}; service jobs need one of type"
            f" {request.service_job_type}"
        )
    if queue.detail.state != "ENABLED":
        raise Refusal(f"Job queue {queue.detail.job_queue_arn} is not enabled")
    return queue


def _checked_share(state: State, queue: JobQueue, request: shapes.SubmitServiceJobRequest) -> str | None:
    """The share identifier or the quota share. Which of `shareIdentifier` and `quotaShareName` a job has follows from its
    queue's policy."""
    policy = policy_of(state, queue)
    quota = policy is not None and policy.quota_share_policy is not None
    if request.quota_share_name and not quota:
        raise Refusal(
            f"quotaShareName cannot be used: job queue {queue.detail.job_queue_arn} has no quota share policy."
        )
    if quota:
        if request.share_identifier:
            raise Refusal(
                f"shareIdentifier cannot be used: job queue {queue.detail.job_queue_arn} has a quota share policy."
            )
        if not request.quota_share_name:
            raise Refusal(
                f"quotaShareName is required: job queue {queue.detail.job_queue_arn} has a quota share policy."
            )
        return check_quota_share(state, queue, request.quota_share_name)
    if policy is None and request.share_identifier:
        raise Refusal(
            f"shareIdentifier cannot be used: job queue {queue.detail.job_queue_arn} has no fair share scheduling policy."
        )
    return check_share_identifier(state, queue, request.share_identifier) if policy is not None else None


def _machine(state: State) -> Resources | None:
    """The largest machine there is."""
    capacities = [instance.capacity for instance in state.machines.values()]
    return max(capacities, key=lambda capacity: (capacity.milli_vcpus, capacity.memory), default=None)


def _detail(request: shapes.SubmitServiceJobRequest, queue: JobQueue) -> shapes.DescribeServiceJobResponse:
    """The part of the job's detail that never changes."""
    return shapes.DescribeServiceJobResponse(
        job_name=request.job_name,
        job_queue=queue.detail.job_queue_arn,
        retry_strategy=request.retry_strategy,
        service_request_payload=request.service_request_payload,
        service_job_type=request.service_job_type,
        share_identifier=request.share_identifier,
        quota_share_name=request.quota_share_name,
        preemption_configuration=request.preemption_configuration,
        tags=request.tags or {},
        timeout_config=request.timeout_config,
    )


def _remember(state: State, request: shapes.SubmitServiceJobRequest, digest: str, job: Job, now: int) -> None:
    """Keeps the client token, and forgets those that are too old."""
    tokens = state.submission_tokens
    while tokens:
        oldest = next(iter(tokens.values()))
        if now - oldest.at < REMEMBERED:
            break
        del tokens[oldest.token]
        state.effects.resources[TOKEN_KIND, oldest.token] = None
    if request.client_token:
        token = SubmissionToken(token=request.client_token, digest=digest, job_id=job.id, job_name=job.name, at=now)
        tokens[token.token] = token
        state.effects.resources[TOKEN_KIND, token.token] = token


def terminate_service_job(state: State, command: TerminateServiceJob, now: int) -> None:
    """TerminateServiceJob. A job that is unknown or has finished is no error."""
    check_reason(command.reason)
    job = find_service_job(state, command.job_id)
    if job is not None:
        lifecycle.terminate(state, job, None, command.reason, now)


def update_service_job(state: State, command: UpdateServiceJob, _now: int) -> shapes.UpdateServiceJobResponse:
    """UpdateServiceJob: the priority of a job that has not ended."""
    check_scheduling_priority(command.scheduling_priority)
    job = find_service_job(state, command.job_id)
    if job is None or job.service is None:
        raise Refusal(f"Service job {command.job_id} not found, or it has ended.")
    share = job.queue.quota_shares.get(job.share or "")
    in_line = share is not None and share_lines.remove(share, job)
    job.priority = job.service.priority = command.scheduling_priority
    if in_line:
        fifo.enqueue(job.queue, job)
    state.save(job)
    arn = state.settings.account.arn(f"service-job/{job.id}")
    return shapes.UpdateServiceJobResponse(job_arn=arn, job_name=job.name, job_id=job.id)
