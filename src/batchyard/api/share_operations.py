"""How the shares of a queue with a fair-share policy stand: `DescribeShares`.

`POST /batchyard/v1/describeshares`, see `extension.py`. It costs O(shares), however many jobs wait.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from batchyard.api.batch.desk import Desk
from batchyard.api.service import RequestContext
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.ordering import fair_share_lines
from batchyard.kernel.ordering.fair_share import FairShare
from batchyard.kernel.ordering.fair_share_lines import Standing, Turn
from batchyard.kernel.queues import find_queue
from batchyard.kernel.records import JobQueue
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State
from batchyard.shapes.operation import Operation


class DescribeSharesRequest(msgspec.Struct, kw_only=True, rename="camel"):
    job_queue: str
    """Name or ARN."""


class NextJob(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The job whose turn it is in its share."""

    job_id: str
    """Of an array: that of the child."""
    job_name: str
    scheduling_priority: int | None = None


class ShareSummary(msgspec.Struct, kw_only=True, rename="camel"):
    """An active share. Amounts are in the queue's `capacityUnit`."""

    share_identifier: str
    usage_hours: float
    """What it has used in the window, multiplied by the hours; the older, the less it counts."""
    weight_factor: float
    """As it counts: that of an entry with an asterisk is multiplied by the number of active shares that it covers."""
    entitlement: float
    """The part of the usage that it should have, from 0 to 1."""
    part: float
    """The part of the usage that it has."""
    in_flight: float
    """What its jobs use that were placed and have not ended."""
    waiting_jobs: int
    """RUNNABLE ones, children of arrays one by one."""
    next_job: NextJob | None


class DescribeSharesResponse(msgspec.Struct, kw_only=True, rename="camel"):
    job_queue_name: str
    job_queue_arn: str
    capacity_unit: str
    """VCPU; of a queue for service jobs, NUM_INSTANCES."""
    capacity: float
    """What all compute environments of the queue may have: `maxvCpus`, `unmanagedvCpus`."""
    in_flight: float
    window_seconds: int
    """How far back usage counts: `shareDecaySeconds`, at least 600."""
    compute_reservation: int
    """Percent."""
    reserved: float
    """What is kept for shares that are not active yet."""
    shares: list[ShareSummary]
    """Those that are active, the next one first."""


OPERATIONS = {
    "DescribeShares": Operation(
        "DescribeShares", "POST", "/batchyard/v1/describeshares", DescribeSharesRequest, DescribeSharesResponse
    )
}


def handlers(desk: Desk) -> dict[str, Any]:
    async def describe_shares(request: DescribeSharesRequest, _: RequestContext) -> DescribeSharesResponse:
        now = time.time_ns() // 1_000_000
        return await desk.ask(lambda kernel: _described(kernel, request.job_queue, now))

    return {"DescribeShares": describe_shares}


def _described(kernel: Kernel, named: str, now: int) -> DescribeSharesResponse:
    state = kernel.state
    queue = find_queue(state, named)
    if queue is None:
        raise Refusal(f"JobQueue {named} not found.", wrapped=False)
    if queue.fair is None:
        raise Refusal(f"JobQueue {queue.name} has no fair-share scheduling policy.", wrapped=False)
    standings = fair_share_lines.standings(queue.fair, now)
    return _summary(state, queue, queue.fair.fair_share, [_share(each) for each in standings])


def _summary(
    state: State, queue: JobQueue, fair_share: FairShare, shares: list[ShareSummary]
) -> DescribeSharesResponse:
    capacity = fair_share_lines.capacity_of(state, queue)
    return DescribeSharesResponse(
        job_queue_name=queue.name,
        job_queue_arn=queue.detail.job_queue_arn or "",
        capacity_unit="NUM_INSTANCES" if queue.is_service else "VCPU",
        capacity=capacity / 1000,
        in_flight=fair_share.in_flight / 1000,
        window_seconds=fair_share.policy.window // 1000,
        compute_reservation=fair_share.policy.reservation,
        reserved=fair_share.reserved(capacity) / 1000,
        shares=shares,
    )


def _share(standing: Standing) -> ShareSummary:
    return ShareSummary(
        share_identifier=standing.share,
        usage_hours=standing.usage,
        weight_factor=standing.weight,
        entitlement=standing.entitlement,
        part=standing.part,
        in_flight=standing.in_flight / 1000,
        waiting_jobs=standing.waiting,
        next_job=_next_job(standing.next) if standing.next is not None else None,
    )


def _next_job(turn: Turn) -> NextJob:
    job = turn.job
    return NextJob(
        job_id=job.id if turn.child is None else f"{job.id}:{turn.child}",
        job_name=job.name,
        scheduling_priority=job.priority,
    )
