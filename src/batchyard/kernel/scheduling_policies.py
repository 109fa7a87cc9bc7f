"""Scheduling policies: what may be created, changed and deleted, and which jobs a queue with one takes.

Sources: User Guide "Fair-share scheduling policies", "Use share identifiers to identify workloads", "Quota management"; model
`FairsharePolicy`, `ShareAttributes`, `CreateSchedulingPolicy`, `UpdateSchedulingPolicy`, `SubmitJob`. Policies are
synchronous: they have no status.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from batchyard.kernel.commands import CreateSchedulingPolicy, DeleteSchedulingPolicy, UpdateSchedulingPolicy
from batchyard.kernel.named_resources import check_new_name
from batchyard.kernel.ordering.fair_share import FairShare, policy_from
from batchyard.kernel.records import FairShareLines, JobQueue
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State
from batchyard.kernel.tags import check_tags
from batchyard.shapes import batch as shapes

KIND = "scheduling-policy"
MAXIMUM_DECAY = 604_800
"""Seconds: a week."""
MAXIMUM_RESERVATION = 99
SMALLEST_WEIGHT, LARGEST_WEIGHT = 0.0001, 999.9999
MAXIMUM_ACTIVE_SHARES = 500

_IDENTIFIER = re.compile(r"[A-Za-z0-9]{1,255}\Z")
_ENTRY = re.compile(r"[A-Za-z0-9]{1,255}\*?\Z")


def find_policy(state: State, arn: str) -> shapes.SchedulingPolicyDetail | None:
    """The policy of an ARN; a bare name finds nothing, as on AWS."""
    name = state.settings.account.name_of(KIND, arn) if arn.startswith("arn:") else None
    return state.scheduling_policies.get(name) if name else None


def policy_of(state: State, queue: JobQueue) -> shapes.SchedulingPolicyDetail | None:
    """The scheduling policy of a queue; None for a FIFO queue."""
    return find_policy(state, queue.detail.scheduling_policy_arn or "")


def create_policy(state: State, command: CreateSchedulingPolicy, _now: int) -> shapes.CreateSchedulingPolicyResponse:
    """CreateSchedulingPolicy. One that names no kind is a fair-share policy with the defaults."""
    request = command.request
    check_new_name("name", request.name, state.scheduling_policies)
    check_tags(request.tags)
    _check_one_kind(request)
    detail = shapes.SchedulingPolicyDetail(
        name=request.name,
        arn=state.settings.account.arn(f"{KIND}/{request.name}"),
        quota_share_policy=request.quota_share_policy,
        fairshare_policy=None if request.quota_share_policy else _checked_fairshare(request.fairshare_policy),
        tags=request.tags or {},
    )
    state.scheduling_policies[request.name] = detail
    save_policy(state, detail)
    return shapes.CreateSchedulingPolicyResponse(name=detail.name, arn=detail.arn)


def update_policy(state: State, command: UpdateSchedulingPolicy, now: int) -> None:
    """UpdateSchedulingPolicy: a new policy of the same kind takes the place of the old."""
    request = command.request
    detail = find_policy(state, request.arn)
    if detail is None:
        raise Refusal(f"SchedulingPolicy {request.arn} not found.", wrapped=False)
    _check_one_kind(request)
    if request.fairshare_policy is not None and detail.quota_share_policy is not None:
        raise Refusal("A quotaSharePolicy cannot be changed to a fairsharePolicy")
    if request.quota_share_policy is not None and detail.quota_share_policy is None:
        raise Refusal("A fairsharePolicy cannot be changed to a quotaSharePolicy")
    if request.fairshare_policy is not None:
        detail.fairshare_policy = _checked_fairshare(request.fairshare_policy)
    if request.quota_share_policy is not None:
        detail.quota_share_policy = request.quota_share_policy
    save_policy(state, detail)
    for queue in state.queues.values():
        if queue.detail.scheduling_policy_arn == detail.arn:
            follow_policy(state, queue, now)


def follow_policy(state: State, queue: JobQueue, now: int) -> None:
    """The queue's policy is new, or has changed."""
    policy = policy_of(state, queue)
    if policy is None or policy.fairshare_policy is None:
        return
    if queue.fair is None:
        queue.fair = FairShareLines(fair_share=FairShare(policy=policy_from(policy.fairshare_policy)))
    else:
        queue.fair.fair_share.follow(policy_from(policy.fairshare_policy), now)


def delete_policy(state: State, command: DeleteSchedulingPolicy, _now: int) -> None:
    """DeleteSchedulingPolicy: refused while a queue uses it. One that is gone already is no error."""
    detail = find_policy(state, command.arn)
    if detail is None:
        return
    users = sorted(queue.name for queue in state.queues.values() if queue.detail.scheduling_policy_arn == detail.arn)
    if users:
        named = ", ".join(users[:3]) + (", …" if len(users) > 3 else "")
        raise Refusal(f"Cannot delete, found existing JobQueue relationship ({named})", wrapped=False)
    del state.scheduling_policies[detail.name or ""]
    state.effects.resources[KIND, detail.name or ""] = None


def save_policy(state: State, detail: shapes.SchedulingPolicyDetail) -> None:
    state.effects.resources[KIND, detail.name or ""] = detail


def _check_one_kind(request: shapes.CreateSchedulingPolicyRequest | shapes.UpdateSchedulingPolicyRequest) -> None:
    if request.fairshare_policy is not None and request.quota_share_policy is not None:
        raise Refusal("Only one of fairsharePolicy and quotaSharePolicy can be given")


def _checked_fairshare(given: shapes.FairsharePolicy | None) -> shapes.FairsharePolicy:
    """The policy with the defaults filled in. Raises `Refusal`."""
    policy = given or shapes.FairsharePolicy()
    decay, reservation = policy.share_decay_seconds or 0, policy.compute_reservation or 0
    if not 0 <= decay <= MAXIMUM_DECAY:
        raise Refusal(f"shareDecaySeconds must be between 0 and {MAXIMUM_DECAY}, got {decay}")
    if not 0 <= reservation <= MAXIMUM_RESERVATION:
        raise Refusal(f"computeReservation must be between 0 and {MAXIMUM_RESERVATION}, got {reservation}")
    distribution = [
        msgspec.structs.replace(entry, weight_factor=1.0) if entry.weight_factor is None else entry
        for entry in policy.share_distribution or ()
    ]
    _check_distribution(distribution)
    return shapes.FairsharePolicy(
        share_decay_seconds=decay, compute_reservation=reservation, share_distribution=distribution
    )


def _check_distribution(distribution: Sequence[shapes.ShareAttributes]) -> None:
    for entry in distribution:
        if not _ENTRY.match(entry.share_identifier):
            raise Refusal(
                f"shareIdentifier {entry.share_identifier!r} must be 1 to 255 letters and digits, which an asterisk may follow"
            )
        weight = entry.weight_factor
        if weight is None or not SMALLEST_WEIGHT <= weight <= LARGEST_WEIGHT:
            raise Refusal(f"weightFactor must be between {SMALLEST_WEIGHT} and {LARGEST_WEIGHT}, got {weight}")
    _check_overlap(sorted(entry.share_identifier for entry in distribution))


def _check_overlap(identifiers: Sequence[str]) -> None:
    """`identifiers` are sorted, and `*` sorts before letters and digits: whatever a prefix covers follows it at once, until
    the first that it does not cover; but a plain identifier that equals the prefix comes before it."""
    for before, after in pairwise(identifiers):
        covered = before.endswith("*") and after.startswith(before[:-1])
        if covered or after.removesuffix("*") == before:
            raise Refusal(f"Share identifiers cannot overlap: {before} and {after}")


def checked_share(state: State, queue: JobQueue, request: shapes.SubmitJobRequest) -> str | None:
    """The share identifier of a submission, which a fair-share queue requires and any other refuses. Raises `Refusal`."""
    policy = policy_of(state, queue)
    if policy is None or policy.fairshare_policy is None:
        if request.share_identifier or request.scheduling_priority_override is not None:
            raise Refusal(
                "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share"
                " scheduling policy."
            )
        return None
    return check_share_identifier(state, queue, request.share_identifier)


def check_share_identifier(state: State, queue: JobQueue, share: str | None) -> str:
    """The share identifier of a job in a fair-share queue. Raises `Refusal`."""
    if not share:
        raise Refusal(
            f"shareIdentifier is required: job queue {queue.detail.job_queue_arn} has a fair share scheduling policy."
        )
    if not _IDENTIFIER.match(share):
        raise Refusal("shareIdentifier must be 1 to 255 letters and digits")
    active = queue.fair.fair_share.accounts.keys() if queue.fair is not None else queue.shares.keys()
    if share not in active and len(active) >= MAXIMUM_ACTIVE_SHARES:
        raise Refusal(
            f"Job queue {queue.detail.job_queue_arn} has {len(active)} active share identifiers, and cannot have more"
            f" than {MAXIMUM_ACTIVE_SHARES}"
        )
    return state.shared_text(share)
