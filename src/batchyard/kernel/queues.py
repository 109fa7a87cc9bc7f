"""Job queues: what may be created, changed and deleted, and how their status moves.

Source: User Guide "Job queues", model `CreateJobQueue`, `UpdateJobQueue`, `DeleteJobQueue`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.commands import CreateJobQueue, DeleteJobQueue, UpdateJobQueue
from batchyard.kernel.compute_resources import architectures_of
from batchyard.kernel.environments import find_environment
from batchyard.kernel.named_resources import check_deletable, check_new_name, find, to_be_changed
from batchyard.kernel.queue_preemption import check_preemption
from batchyard.kernel.quota_shares import forget_shares
from batchyard.kernel.records import ComputeEnvironment, JobQueue
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.scheduling_policies import find_policy, follow_policy, policy_of
from batchyard.kernel.service_environments import checked_order
from batchyard.kernel.state import State
from batchyard.kernel.tags import check_tags
from batchyard.kernel.terms import QUEUE_TAGS
from batchyard.kernel.time_limits import check_time_limits
from batchyard.shapes import batch as shapes

KIND = "job-queue"
MAXIMUM_ENVIRONMENTS = 3
SERVICE_TYPE = "SAGEMAKER_TRAINING"
DELETED_REASON = "JobQueue deleted"


def find_queue(state: State, name_or_arn: str) -> JobQueue | None:
    return find(state, state.queues, KIND, name_or_arn)


def create_queue(state: State, command: CreateJobQueue, now: int) -> shapes.CreateJobQueueResponse:
    """CreateJobQueue."""
    request = command.request
    name = request.job_queue_name
    check_new_name("jobQueueName", name, state.queues)
    check_tags(request.tags, QUEUE_TAGS)
    _check_priority(request.priority)
    service_order = request.service_environment_order or []
    _check_kind_of_order(request.job_queue_type, request.compute_environment_order, service_order)
    if request.scheduling_policy_arn:
        _check_policy(state, request.scheduling_policy_arn)
    quota = _has_quota_shares(state, request.scheduling_policy_arn)
    order = [] if service_order else _checked_order(state, request.compute_environment_order or [])
    service_order = checked_order(state, service_order, name, quota=quota) if service_order else []
    if order and request.job_queue_type not in (None, _type_of(state, order)):
        raise Refusal(
            f"A job queue with these compute environments has the type {_type_of(state, order)}, not {request.job_queue_type}"
        )
    check_time_limits(request.job_state_time_limit_actions, service=bool(service_order), quota=quota)
    check_preemption(request.tags, service=bool(service_order), quota=quota)
    detail = shapes.JobQueueDetail(
        job_queue_name=name,
        job_queue_arn=state.settings.account.arn(f"{KIND}/{name}"),
        state=request.state or "ENABLED",
        status="CREATING",
        status_reason="JobQueue Creating",
        scheduling_policy_arn=request.scheduling_policy_arn or None,
        priority=request.priority,
        compute_environment_order=order,
        service_environment_order=service_order,
        job_queue_type=SERVICE_TYPE if service_order else _type_of(state, order),
        tags=request.tags or {},
        job_state_time_limit_actions=request.job_state_time_limit_actions or [],
    )
    queue = state.queues[name] = JobQueue(detail=detail, due=now + 1)
    follow_policy(state, queue, now)
    save_queue(state, detail)
    return shapes.CreateJobQueueResponse(job_queue_name=name, job_queue_arn=detail.job_queue_arn)


def _check_kind_of_order(
    queue_type: str | None,
    order: Sequence[shapes.ComputeEnvironmentOrder] | None,
    service_order: Sequence[shapes.ServiceEnvironmentOrder] | None,
) -> None:
    """A queue has compute environments or a service environment, for life (model `CreateJobQueue`)."""
    if order and service_order:
        raise Refusal("A job queue cannot have both computeEnvironmentOrder and serviceEnvironmentOrder")
    if service_order and queue_type not in (None, SERVICE_TYPE):
        raise Refusal(f"A job queue of type {queue_type} cannot have a serviceEnvironmentOrder")
    if order and queue_type == SERVICE_TYPE:
        raise Refusal(f"A job queue of type {SERVICE_TYPE} cannot have a computeEnvironmentOrder")


def _check_policy(state: State, arn: str) -> shapes.SchedulingPolicyDetail:
    policy = find_policy(state, arn)
    if policy is None:
        raise Refusal(f"SchedulingPolicy {arn} not found.")
    return policy


def _has_quota_shares(state: State, policy_arn: str | None) -> bool:
    policy = find_policy(state, policy_arn or "")
    return policy is not None and policy.quota_share_policy is not None


def _check_new_policy(state: State, queue: JobQueue, arn: str) -> None:
    """A policy can be replaced by one of its kind, never added to a FIFO queue and never removed (model `UpdateJobQueue`)."""
    present = policy_of(state, queue)
    if present is None and arn:
        raise Refusal("A scheduling policy cannot be added to a job queue that was created without one")
    if present is None:
        return
    if not arn:
        raise Refusal("The scheduling policy of a job queue can be replaced, but not removed")
    if (_check_policy(state, arn).quota_share_policy is None) != (present.quota_share_policy is None):
        raise Refusal("The scheduling policy of a job queue can only be replaced by one of the same kind")


def _check_priority(priority: int) -> None:
    if not 0 <= priority <= 2**31 - 1:
        raise Refusal(f"priority must be between 0 and 2147483647, got {priority}")


def _checked_order(state: State, order: list[shapes.ComputeEnvironmentOrder]) -> list[shapes.ComputeEnvironmentOrder]:
    """The order with ARNs, sorted; raises `Refusal` when the environments can't serve one queue together."""
    if not 1 <= len(order) <= MAXIMUM_ENVIRONMENTS:
        raise Refusal(f"A job queue must have 1 to {MAXIMUM_ENVIRONMENTS} compute environments, got {len(order)}")
    if len({entry.order for entry in order}) != len(order):
        raise Refusal("computeEnvironmentOrder cannot use the same order twice")
    checked: list[shapes.ComputeEnvironmentOrder] = []
    families: set[str] = set()
    architectures: set[str] = set()
    spot_before = False
    for entry in sorted(order, key=lambda entry: entry.order):
        environment = find_environment(state, entry.compute_environment)
        if environment is None:
            raise Refusal(f"Compute Environment {entry.compute_environment} does not exist", wrapped=False)
        if environment.detail.status not in ("VALID", "UPDATING"):
            raise Refusal(f"Compute Environment {entry.compute_environment} is not valid", wrapped=False)
        families.add(family_of(environment))
        architectures |= architectures_of(environment.detail.compute_resources, state.settings.catalogue)
        if spot_before and not _is_managed_spot(environment):
            raise Refusal(
                "On-demand compute environments of managed instances must come before Spot ones in a job queue;"
                f" {environment.name} comes after one"
            )
        spot_before = spot_before or _is_managed_spot(environment)
        arn = environment.detail.compute_environment_arn or ""
        checked.append(shapes.ComputeEnvironmentOrder(order=entry.order, compute_environment=arn))
    if len({entry.compute_environment for entry in checked}) != len(checked):
        raise Refusal("computeEnvironmentOrder cannot name a compute environment twice")
    if len(families) > 1:
        raise Refusal(f"A job queue cannot mix compute environments of types {' and '.join(sorted(families))}")
    if len(architectures) > 1:
        raise Refusal(
            f"A job queue cannot mix compute environments of the CPU architectures {' and '.join(sorted(architectures))}"
        )
    return checked


def _is_managed_spot(environment: ComputeEnvironment) -> bool:
    resources = environment.detail.compute_resources
    provider = resources.managed_instances_provider if resources else None
    return provider is not None and provider.instance_launch_template.capacity_option_type == "SPOT"


def family_of(environment: ComputeEnvironment) -> str:
    """EC2 (with SPOT and UNMANAGED), FARGATE, MANAGED_INSTANCES or EKS: what a queue may not mix."""
    if environment.detail.eks_configuration is not None:
        return "EKS"
    resources = environment.detail.compute_resources
    if resources is None or resources.type in ("EC2", "SPOT"):
        return "EC2"
    return "MANAGED_INSTANCES" if resources.type == "ECS_MANAGED_INSTANCES" else "FARGATE"


def _type_of(state: State, order: list[shapes.ComputeEnvironmentOrder]) -> str:
    environment = find_environment(state, order[0].compute_environment)
    assert environment is not None
    family = family_of(environment)
    return {"EC2": "ECS", "FARGATE": "ECS_FARGATE", "MANAGED_INSTANCES": "ECS_MANAGED_INSTANCES"}.get(family, family)


def update_queue(state: State, command: UpdateJobQueue, now: int) -> shapes.UpdateJobQueueResponse:
    """UpdateJobQueue."""
    request = command.request
    queue = to_be_changed(find_queue(state, request.job_queue), "JobQueue", request.job_queue)
    _check_kind_of_order(
        queue.detail.job_queue_type, request.compute_environment_order, request.service_environment_order
    )
    if request.scheduling_policy_arn is not None:
        _check_new_policy(state, queue, request.scheduling_policy_arn)
    if request.priority is not None:
        _check_priority(request.priority)
    quota = _has_quota_shares(state, queue.detail.scheduling_policy_arn)
    check_time_limits(request.job_state_time_limit_actions, service=queue.is_service, quota=quota)
    given = {
        member: value
        for member in ("state", "priority", "job_state_time_limit_actions")
        if (value := getattr(request, member)) is not None
    }
    if request.scheduling_policy_arn:
        given["scheduling_policy_arn"] = request.scheduling_policy_arn
    if request.service_environment_order:
        given["service_environment_order"] = checked_order(
            state, request.service_environment_order, queue.name, quota=quota
        )
    if request.compute_environment_order:
        order = given["compute_environment_order"] = _checked_order(state, request.compute_environment_order)
        given["job_queue_type"] = _type_of(state, order)
    queue.detail = msgspec.structs.replace(queue.detail, **given, status="UPDATING", status_reason="JobQueue Updating")
    queue.due = now + 1
    if request.scheduling_policy_arn:
        follow_policy(state, queue, now)
    lifecycle.reconsider(queue)
    save_queue(state, queue.detail)
    return shapes.UpdateJobQueueResponse(
        job_queue_name=queue.detail.job_queue_name, job_queue_arn=queue.detail.job_queue_arn
    )


def delete_queue(state: State, command: DeleteJobQueue, now: int) -> None:
    """DeleteJobQueue: its jobs are ended, then it is gone. One that is gone already is no error."""
    queue = find_queue(state, command.queue)
    if queue is None:
        return
    check_deletable(queue)
    queue.detail.status, queue.detail.status_reason = "DELETING", "JobQueue Deleting"
    queue.due = now + 1
    save_queue(state, queue.detail)
    for job in [job for job in state.jobs.values() if job.queue is queue]:
        if not job.status.terminal:
            lifecycle.terminate(state, job, None, DELETED_REASON, now)


def queues_due(state: State) -> list[int]:
    """When changes that are under way are to be completed. A queue that is deleted waits for its last job."""
    return [
        queue.due
        for queue in state.queues.values()
        if queue.due is not None and not (queue.detail.status == "DELETING" and queue.unfinished)
    ]


def complete_queues(state: State, now: int) -> None:
    """Completes the changes whose time has come."""
    for queue in list(state.queues.values()):
        if queue.due is None or queue.due > now:
            continue
        if queue.detail.status == "DELETING":
            if queue.unfinished == 0:
                del state.queues[queue.name]
                forget_shares(state, queue)
                state.effects.resources[KIND, queue.name] = None
            continue
        queue.due = None
        queue.detail.status, queue.detail.status_reason = "VALID", "JobQueue Healthy"
        save_queue(state, queue.detail)


def save_queue(state: State, detail: shapes.JobQueueDetail) -> None:
    state.effects.resources[KIND, detail.job_queue_name or ""] = detail
