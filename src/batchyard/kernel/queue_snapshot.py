"""What GetJobQueueSnapshot shows: who stands at the front of a queue, and what its jobs use.

Source: model `GetJobQueueSnapshot`, User Guide "View a job queue". The front is in the order of dispatch: jobs that were tried
before first, then by submission, array children one by one. A job that waits for a consumable resource, or that nothing
could run, keeps its place in it, though others start before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import merge, nsmallest
from itertools import islice

import msgspec

from batchyard.kernel import quota_placement
from batchyard.kernel.identifiers import Account
from batchyard.kernel.ordering import fair_share_lines, fifo, share_lines
from batchyard.kernel.records import Job, JobQueue, Kind, QuotaShare, Status
from batchyard.kernel.scheduling_policies import policy_of
from batchyard.kernel.state import State
from batchyard.shapes import batch as shapes

FRONT = 100
TOP_SHARES = 20


class AtTheFront(msgspec.Struct, frozen=True):
    """A RUNNABLE job, or an array child, near the head of its queue."""

    arn: str
    seq: int
    """Of the job, or of the array that the child belongs to when it has no record."""
    moved_at: int
    """When a job before it last started, as far as is known; 0 for never."""


def front_of_queue(queue: JobQueue, account: Account, now: int) -> list[AtTheFront]:
    """The first 100 RUNNABLE jobs of the queue."""
    if queue.fair is not None:
        turns = fair_share_lines.in_order(queue.fair, now, queue.unplaceable.values())
        return [_at_the_front(queue, turn, account) for turn in islice(turns, FRONT)]
    aside = nsmallest(FRONT, ((*fifo.place(job), job) for job in queue.unplaceable.values()))
    in_shares = ((*fifo.place(job), job) for share in queue.quota_shares.values() for job in _waiting_in(share))
    entries = merge(*map(fifo.in_order, (queue.waiting, *queue.lines.values())), aside, nsmallest(FRONT, in_shares))
    runnable = (each for entry in entries if fifo.stands(queue, entry) for each in _runnable(queue, entry, account))
    return list(islice(runnable, FRONT))


def front_of_shares(queue: JobQueue, account: Account) -> dict[str, AtTheFront]:
    """The first RUNNABLE job of each quota share that has one: whose turn it is, or else one that waits for something besides
    room."""
    front: dict[str, AtTheFront] = {}
    for name, share in queue.quota_shares.items():
        first = share_lines.head(share)
        if first is None:
            aside = [job for job in queue.unplaceable.values() if job.share == name and fifo.waits(job)]
            first = min((*_waiting_in(share), *aside), key=fifo.place_in_share, default=None)
        if first is not None:
            front[name] = next(_runnable(queue, (*fifo.place(first), first), account))
    return front


def _at_the_front(queue: JobQueue, turn: fair_share_lines.Turn, account: Account) -> AtTheFront:
    """In a queue with fair share the order changes with what the shares use: all moved up when a job last started."""
    kind = "service-job" if turn.job.kind is Kind.SERVICE else "job"
    child = "" if turn.child is None else f":{turn.child}"
    return AtTheFront(account.arn(f"{kind}/{turn.job.id}{child}"), turn.job.seq, queue.last_start[1])


def _waiting_in(share: QuotaShare) -> list[Job]:
    """All that wait in a quota share, for room or for a consumable resource, in no order."""
    return [job for heap in (share.waiting, *share.lines.values()) for *_, job in heap if fifo.waits(job)]


def _runnable(queue: JobQueue, entry: fifo.Entry, account: Account) -> Iterator[AtTheFront]:
    rank, seq, job = entry
    place, moved_at = queue.last_start
    if place > (rank, seq):
        moved_at = 0
    kind = "service-job" if job.kind is Kind.SERVICE else "job"
    if job.array is None:
        yield AtTheFront(account.arn(f"{kind}/{job.id}"), seq, moved_at)
        return
    ready = sorted(job.array.ready) if job.array.ready is not None else range(job.array.next_index, job.array.size)
    for index in ready:
        if job.array.states[index] == Status.RUNNABLE and index not in job.array.children:
            yield AtTheFront(account.arn(f"{kind}/{job.id}:{index}"), seq, moved_at)


def utilization(state: State, queue: JobQueue, now: int) -> shapes.QueueSnapshotUtilizationDetail:
    """What the jobs of the queue that have started use: in all, and in a fair-share or quota-share queue by share."""
    running = {job.id: job for job in state.tasks.values() if job.queue is queue}.values()
    total: Counter[str] = Counter(dict.fromkeys(_units(queue), 0))
    by_share: dict[str, Counter[str]] = {}
    for job in running:
        unit, quantity = _usage(state, job)
        total[unit] += quantity
        if job.share is not None:
            by_share.setdefault(job.share, Counter())[unit] += quantity
    policy = policy_of(state, queue)
    return shapes.QueueSnapshotUtilizationDetail(
        total_capacity_usage=[
            shapes.QueueSnapshotCapacityUsage(capacity_unit=unit, quantity=quantity / 1000)
            for unit, quantity in sorted(total.items())
        ],
        fairshare_utilization=_by_share(by_share, _active_shares(queue, now)) if queue.fair is not None else None,
        quota_share_utilization=_by_quota_share(queue) if policy and policy.quota_share_policy else None,
        last_updated_at=now,
    )


def _active_shares(queue: JobQueue, now: int) -> int:
    if queue.fair is None:
        return 0
    queue.fair.fair_share.move(now)
    return len(queue.fair.fair_share.accounts)


def _by_share(usages: dict[str, Counter[str]], active: int) -> shapes.FairshareUtilizationDetail:
    top = sorted(usages.items(), key=lambda usage: (-usage[1].total(), usage[0]))[:TOP_SHARES]
    return shapes.FairshareUtilizationDetail(
        active_share_count=active,
        top_capacity_utilization=[
            shapes.FairshareCapacityUtilization(
                share_identifier=share,
                capacity_usage=[
                    shapes.FairshareCapacityUsage(capacity_unit=unit, quantity=quantity / 1000)
                    for unit, quantity in sorted(usage.items())
                ],
            )
            for share, usage in top
        ],
    )


def _by_quota_share(queue: JobQueue) -> shapes.QuotaShareUtilizationDetail:
    counts = {name: Counter(quota_placement.counted(share, share.used)) for name, share in queue.quota_shares.items()}
    usages = {name: usage for name, usage in counts.items() if usage}
    top = sorted(usages.items(), key=lambda usage: (-usage[1].get("VCPU", usage[1].total()), usage[0]))[:TOP_SHARES]
    return shapes.QuotaShareUtilizationDetail(
        top_capacity_utilization=[
            shapes.QuotaShareCapacityUtilization(
                quota_share_name=share,
                capacity_usage=[
                    shapes.QuotaShareCapacityUsage(
                        capacity_unit=unit, quantity=quantity / 1000 if unit == "VCPU" else quantity
                    )
                    for unit, quantity in sorted(usage.items())
                ],
            )
            for share, usage in top
        ]
    )


def _units(queue: JobQueue) -> list[str]:
    """What is counted in a queue without jobs; nothing in one for service jobs, where it depends on them."""
    if queue.is_service:
        return []
    return ["cpu" if queue.detail.job_queue_type == "EKS" else "VCPU"]


def _usage(state: State, job: Job) -> tuple[str, int]:
    """The unit, and how much of it the job uses, in thousandths."""
    if job.service is None:
        return _units(job.queue)[0], job.resources.milli_vcpus
    environment = state.service_environments.get(job.task.environment) if job.task else None
    limits = environment.detail.capacity_limits if environment else None
    by_number = bool(limits) and all(limit.capacity_unit == "NUM_INSTANCES" for limit in limits or ())
    return "NUM_INSTANCES" if by_number else job.service.instance_type, 1000 * job.service.instance_count
