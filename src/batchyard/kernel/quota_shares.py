"""Quota shares: what may be created, changed and deleted, and how their status moves.

A quota share is a queue inside a job queue, with a capacity of its own in the units of the queue's service environment. Beyond
AWS, queues of container jobs may have quota shares, too: their units are vCPUs, memory and GPUs. Sources: User Guide "Quota
management", "Quota shares", "Creating quota shares"; model `CreateQuotaShare`, `QuotaShareResourceSharingConfiguration`.
Changes are asynchronous, as those of job queues are.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.commands import CreateQuotaShare, DeleteQuotaShare, UpdateQuotaShare
from batchyard.kernel.named_resources import check_deletable, check_name, to_be_changed
from batchyard.kernel.records import JobQueue, QuotaShare
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.scheduling_policies import policy_of
from batchyard.kernel.service_placement import environment_of
from batchyard.kernel.state import State
from batchyard.kernel.tags import check_tags
from batchyard.shapes import batch as shapes

KIND = "quota-share"
MAXIMUM_SHARES = 20
"""In one queue."""
MAXIMUM_LIMITS = 5
CONTAINER_UNITS = ("VCPU", "MEMORY", "GPU")
"""Of a queue of container jobs. Memory is in MiB."""
UNLIMITED = -1
DELETED_REASON = "QuotaShare deleted"


def find_share(state: State, arn: str) -> QuotaShare | None:
    """The quota share of an ARN, `…:job-queue/<queue>/quota-share/<name>`; a bare name finds nothing, as on AWS."""
    inside = state.settings.account.name_of("job-queue", arn) if arn.startswith("arn:") else None
    queue, _, name = (inside or "").partition(f"/{KIND}/")
    return state.queues[queue].quota_shares.get(name) if queue in state.queues else None


def create_share(state: State, command: CreateQuotaShare, now: int) -> shapes.CreateQuotaShareResponse:
    """CreateQuotaShare."""
    request = command.request
    name = request.quota_share_name
    check_name("quotaShareName", name)
    check_tags(request.tags)
    queue = _queue_for(state, request.job_queue)
    if name in queue.quota_shares:
        raise Refusal("Object already exists", wrapped=False)
    if len(queue.quota_shares) >= MAXIMUM_SHARES:
        raise Refusal(f"A job queue cannot have more than {MAXIMUM_SHARES} quota shares")
    _check_limits(state, queue, request.capacity_limits)
    detail = shapes.DescribeQuotaShareResponse(
        quota_share_name=name,
        quota_share_arn=state.settings.account.arn(f"job-queue/{queue.name}/{KIND}/{name}"),
        job_queue_arn=queue.detail.job_queue_arn,
        capacity_limits=request.capacity_limits,
        resource_sharing_configuration=_checked_sharing(request.resource_sharing_configuration),
        preemption_configuration=request.preemption_configuration,
        state=request.state or "ENABLED",
        status="CREATING",
        tags=request.tags or {},
    )
    queue.quota_shares[name] = QuotaShare(detail=detail, queue=queue, due=now + 1)
    save_share(state, queue.quota_shares[name])
    lifecycle.reconsider(queue)
    return shapes.CreateQuotaShareResponse(quota_share_name=name, quota_share_arn=detail.quota_share_arn)


def _queue_for(state: State, name_or_arn: str) -> JobQueue:
    queue = state.queues.get(state.settings.account.name_of("job-queue", name_or_arn) or "")
    if queue is None:
        raise Refusal(f"JobQueue {name_or_arn} not found.", wrapped=False)
    policy = policy_of(state, queue)
    if policy is None or policy.quota_share_policy is None:
        raise Refusal(f"Job queue {queue.detail.job_queue_arn} has no quota share policy")
    if queue.detail.status != "VALID":
        raise Refusal(f"Job queue {queue.detail.job_queue_arn} must be VALID, it is {queue.detail.status}")
    return queue


def _check_limits(state: State, queue: JobQueue, limits: Sequence[shapes.QuotaShareCapacityLimit]) -> None:
    if not 1 <= len(limits) <= MAXIMUM_LIMITS:
        raise Refusal(f"capacityLimits must have 1 to {MAXIMUM_LIMITS} entries, got {len(limits)}")
    if len({limit.capacity_unit for limit in limits}) != len(limits):
        raise Refusal("capacityLimits cannot name a capacityUnit twice")
    _check_units(state, queue, [limit.capacity_unit for limit in limits])
    for limit in limits:
        if limit.max_capacity < 0:
            raise Refusal(f"maxCapacity must not be negative, got {limit.max_capacity}")


def _check_units(state: State, queue: JobQueue, given: Sequence[str]) -> None:
    if queue.is_service:
        environment = environment_of(state, queue)
        limits = environment.detail.capacity_limits if environment is not None else None
        units, whose = [limit.capacity_unit or "" for limit in limits or ()], "none of the service environment's"
    else:
        units, whose = list(CONTAINER_UNITS), "not for a job queue of container jobs"
    for unit in given:
        if unit not in units:
            raise Refusal(f"capacityUnit {unit!r} is {whose} ({', '.join(units)})")
    if not queue.is_service and "VCPU" not in given:
        raise Refusal(
            "capacityLimits must limit VCPU in a job queue of container jobs; MEMORY (MiB) and GPU may follow"
        )


def _checked_sharing(
    given: shapes.QuotaShareResourceSharingConfiguration,
) -> shapes.QuotaShareResourceSharingConfiguration:
    """The configuration with the default filled in. Raises `Refusal`."""
    limit = given.borrow_limit
    if given.strategy != "LEND_AND_BORROW":
        if limit is not None:
            raise Refusal(f"borrowLimit can only be used with the strategy LEND_AND_BORROW, not with {given.strategy}")
        return given
    if limit is None:
        return msgspec.structs.replace(given, borrow_limit=UNLIMITED)
    if limit < UNLIMITED:
        raise Refusal(f"borrowLimit must be at least {UNLIMITED}, got {limit}")
    return given


def update_share(state: State, command: UpdateQuotaShare, now: int) -> shapes.UpdateQuotaShareResponse:
    """UpdateQuotaShare. Lower limits stop nothing by themselves: what runs above them may be preempted."""
    request = command.request
    share = to_be_changed(find_share(state, request.quota_share_arn), "QuotaShare", request.quota_share_arn)
    given = {
        member: value
        for member in ("capacity_limits", "preemption_configuration", "state")
        if (value := getattr(request, member)) is not None
    }
    if request.capacity_limits is not None:
        _check_limits(state, share.queue, request.capacity_limits)
    if request.resource_sharing_configuration is not None:
        given["resource_sharing_configuration"] = _checked_sharing(request.resource_sharing_configuration)
    share.detail = msgspec.structs.replace(share.detail, **given, status="UPDATING")
    share.due = now + 1
    save_share(state, share)
    lifecycle.reconsider(share.queue)
    return shapes.UpdateQuotaShareResponse(quota_share_name=share.name, quota_share_arn=share.detail.quota_share_arn)


def delete_share(state: State, command: DeleteQuotaShare, now: int) -> None:
    """DeleteQuotaShare: its jobs are ended, then it is gone. One that is gone already is no error."""
    share = find_share(state, command.arn)
    if share is None:
        return
    check_deletable(share)
    share.detail.status = "DELETING"
    share.due = now + 1
    save_share(state, share)
    for job in [job for job in state.jobs.values() if job.queue is share.queue and job.share == share.name]:
        lifecycle.terminate(state, job, None, DELETED_REASON, now)


def quota_shares_due(state: State) -> list[int]:
    """When changes that are under way are to be completed. A share that is deleted waits for its last job."""
    return [
        share.due
        for queue in state.queues.values()
        for share in queue.quota_shares.values()
        if share.due is not None and not (share.detail.status == "DELETING" and share.unfinished)
    ]


def complete_quota_shares(state: State, now: int) -> None:
    """Completes the changes whose time has come."""
    for queue in state.queues.values():
        for share in list(queue.quota_shares.values()):
            if share.due is None or share.due > now:
                continue
            if share.detail.status != "DELETING":
                share.due = None
                share.detail.status = "VALID"
                save_share(state, share)
            elif share.unfinished == 0:
                del queue.quota_shares[share.name]
                state.effects.resources[KIND, share.key] = None
                lifecycle.reconsider(queue)


def forget_shares(state: State, queue: JobQueue) -> None:
    """The queue is gone, and its shares with it."""
    for share in queue.quota_shares.values():
        state.effects.resources[KIND, share.key] = None


def check_quota_share(state: State, queue: JobQueue, name: str) -> str:
    """The quota share of a submission. Raises `Refusal`."""
    share = queue.quota_shares.get(name)
    if share is None or share.detail.status == "DELETING":
        raise Refusal(f"Quota share {name} not found.")
    if share.detail.state != "ENABLED":
        raise Refusal(f"Quota share {share.detail.quota_share_arn} is not enabled")
    return state.shared_text(name)


def save_share(state: State, share: QuotaShare) -> None:
    state.effects.resources[KIND, share.key] = share.detail
