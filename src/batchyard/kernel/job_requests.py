"""SubmitJob, CancelJob and TerminateJob: from the request to the life of the job."""

from __future__ import annotations

from batchyard.kernel import dependencies, lifecycle
from batchyard.kernel.arrays import new_array
from batchyard.kernel.commands import CancelJob, SubmitJob, TerminateJob
from batchyard.kernel.consumable_resources import requirements_of
from batchyard.kernel.definition_registry import find_active
from batchyard.kernel.environment import log_prefix_of
from batchyard.kernel.identifiers import job_id_of, split_node
from batchyard.kernel.placement import environments_of
from batchyard.kernel.queues import family_of, find_queue
from batchyard.kernel.quota_shares import check_quota_share
from batchyard.kernel.records import Job, JobQueue, Kind, Preemptions
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.scheduling_policies import checked_share, policy_of
from batchyard.kernel.state import State
from batchyard.kernel.submission.request import check_request
from batchyard.kernel.submission.resolving import resolved
from batchyard.kernel.terms import job_terms
from batchyard.shapes import batch as shapes

MAXIMUM_REASON = 1024
PREEMPTION_RETRIES = "batchyard:preemptionRetriesBeforeTermination"
"""The tag of a submission to a quota share that says how often the job may be preempted and tried again; AWS has a member of
that name for service jobs."""


def submit_job(state: State, command: SubmitJob, now: int) -> shapes.SubmitJobResponse:
    """SubmitJob."""
    request = command.request
    check_request(request, command.size, state.settings.maximum_array_size)
    queue = _queue_for(state, request)
    share, preemptions = _share_for(state, queue, request)
    definition = find_active(state, request.job_definition)
    _check_platform(state, queue, definition)
    submission = resolved(request, definition, queue.detail.job_queue_arn or "")
    consumables = requirements_of(state.settings.account, submission.detail)
    outlook = dependencies.examine(state, request.depends_on, submission.size, command.facts)

    detail = submission.detail
    job = Job(
        seq=state.take_seq(),
        id=command.job_id,
        name=request.job_name,
        queue=queue,
        definition=state.shared_text(detail.job_definition or ""),
        resources=state.shared(submission.resources),
        created_at=now,
        kind=submission.kind,
        retry=detail.retry_strategy,
        timeout=detail.timeout.attempt_duration_seconds if detail.timeout else None,
        share=share,
        consumables=consumables,
        priority=detail.scheduling_priority,
        log_prefix=log_prefix_of(detail.container) if detail.container else None,
        depends_on=request.depends_on or None,
        preemptions=preemptions,
        terms=job_terms(request.tags),
    )
    if submission.size is not None:
        job.array = new_array(submission.size, sequential=outlook.sequential)
    state.effects.details.append((job.seq, detail))
    lifecycle.accept(state, job, outlook, now)
    arn = state.settings.account.arn(f"job/{job.id}")
    return shapes.SubmitJobResponse(job_arn=arn, job_name=job.name, job_id=job.id)


def _queue_for(state: State, request: shapes.SubmitJobRequest) -> JobQueue:
    queue = find_queue(state, request.job_queue)
    if queue is None or queue.detail.status == "DELETING":
        raise Refusal(f"JobQueue {request.job_queue} not found.")
    if queue.detail.state != "ENABLED":
        raise Refusal(f"Job queue {queue.detail.job_queue_arn} is not enabled")
    if queue.is_service:
        raise Refusal(
            f"Job queue {queue.detail.job_queue_arn} is of type {queue.detail.job_queue_type}, which takes service jobs only"
        )
    return queue


def _share_for(
    state: State, queue: JobQueue, request: shapes.SubmitJobRequest
) -> tuple[str | None, Preemptions | None]:
    """The share identifier, and in a queue with quota shares how often the job may be preempted."""
    policy = policy_of(state, queue)
    if policy is None or policy.quota_share_policy is None:
        return checked_share(state, queue, request), None
    if not request.share_identifier:
        raise Refusal(
            f"shareIdentifier is required: job queue {queue.detail.job_queue_arn} has a quota share policy, and it names the"
            " quota share."
        )
    retries = (request.tags or {}).get(PREEMPTION_RETRIES)
    preemptions = Preemptions(retries=int(retries)) if retries is not None else None
    return check_quota_share(state, queue, request.share_identifier), preemptions


def _check_platform(state: State, queue: JobQueue, definition: shapes.JobDefinition) -> None:
    families = {family_of(environment) for environment in environments_of(state, queue)}
    on_eks = definition.container_orchestration_type == "EKS"
    capabilities = ["EKS"] if on_eks else definition.platform_capabilities or ["EC2"]
    if families and not families & set(capabilities):
        raise Refusal(
            f"Job Queue is attached to Compute Environment that can not run Jobs with capability {capabilities[0]}"
        )


def cancel_job(state: State, command: CancelJob, now: int) -> None:
    """CancelJob. A job that is unknown or has finished is no error."""
    check_reason(command.reason)
    found = _to_end(state, command.job_id)
    if found is not None:
        lifecycle.cancel(state, *found, command.reason, now)


def terminate_job(state: State, command: TerminateJob, now: int) -> None:
    """TerminateJob. A job that is unknown or has finished is no error."""
    check_reason(command.reason)
    found = _to_end(state, command.job_id)
    if found is not None:
        lifecycle.terminate(state, *found, command.reason, now)


def _to_end(state: State, id_or_arn: str) -> tuple[Job, int | None] | None:
    """As `State.find`. Raises `Refusal` for a node: the nodes of a multi-node parallel job start and end together."""
    job_id = job_id_of(state.settings.account, id_or_arn)
    parent_id, node = split_node(job_id)
    parent = state.jobs.get(parent_id)
    if node is not None and parent is not None and parent.kind is Kind.MULTI_NODE:
        raise Refusal(f"Node {node} cannot be ended by itself; end the job {parent_id}")
    return state.find(job_id)


def check_reason(reason: str) -> None:
    """The reason that a caller gives for ending a job. Raises `Refusal`."""
    if not reason:
        raise Refusal("reason must not be empty")
    if len(reason) > MAXIMUM_REASON:
        raise Refusal(f"reason must have at most {MAXIMUM_REASON} characters, got {len(reason)}")
