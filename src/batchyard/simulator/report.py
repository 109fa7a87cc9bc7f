"""What a run comes to, in numbers for people and programs."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

import msgspec

from batchyard.simulator.statistics import HOUR, Statistics

PERCENTILES = (50, 90, 99)


class Waits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Seconds from the submission of a job to the start of its first attempt; of those that began."""

    queue: str | None
    """None: all queues."""
    share: str | None
    jobs: int
    mean_seconds: float
    p50_seconds: float
    p90_seconds: float
    p99_seconds: float
    max_seconds: float


class ShareCost(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a share has used of an environment, and the part of its cost that falls to it: by vCPU-seconds."""

    share: str | None
    vcpu_hours: float
    cost: float


class EnvironmentCost(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """US dollars at the prices of the catalogue."""

    environment: str
    cost: float
    vcpu_hours_used: float
    vcpu_hours_offered: float
    shares: list[ShareCost]


class Instances(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Instances of a type in an environment."""

    environment: str
    instance_type: str
    launched: int
    peak: int
    """Running at the same time."""
    hours: float
    cost: float


class Left(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Jobs that wait at the end of the run."""

    jobs: int
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """See the module's text."""

    jobs: int
    """Submitted; children of arrays one by one."""
    succeeded: int
    failed: int
    unfinished: int
    never_began: int
    """Of those that failed."""
    makespan_seconds: float
    """From the first submission to the last end."""
    attempts: int
    retries: int
    """Attempts beyond the first of each job."""
    failed_attempts: int
    vcpu_seconds_used: float
    vcpu_seconds_offered: float
    """By instances that ran."""
    utilisation_of_offered: float | None
    utilisation_of_maximum: float | None
    """Of the `maxvCpus` of all environments, over the makespan."""
    cost: float
    """US dollars."""
    launches: int
    peak_instances: int
    peak_vcpus: float
    """Offered at the same time."""
    spot_reclaims: int
    waits: list[Waits]
    """All jobs, each queue, each share of a queue."""
    environments: list[EnvironmentCost]
    instances: list[Instances]
    left: list[Left]
    skipped: dict[str, int] = {}
    """Lines of the workload that are no job to run, by reason."""


def report_of(statistics: Statistics, skipped: dict[str, int] | None = None) -> Report:
    """The report on a run that is over."""
    makespan = statistics.timeline.until
    offered, used = statistics.timeline.total(1), statistics.timeline.total(2)
    most = statistics.most_milli_vcpus * makespan
    environments = list(_environments(statistics))
    return Report(
        jobs=statistics.submitted_jobs,
        succeeded=statistics.succeeded,
        failed=statistics.failed,
        unfinished=statistics.left,
        never_began=statistics.never_began,
        makespan_seconds=makespan / 1000,
        attempts=statistics.attempts,
        retries=statistics.retries,
        failed_attempts=statistics.failed_attempts,
        vcpu_seconds_used=used / 1e6,
        vcpu_seconds_offered=offered / 1e6,
        utilisation_of_offered=used / offered if offered else None,
        utilisation_of_maximum=used / most if most else None,
        cost=math.fsum(each.cost for each in environments),
        launches=statistics.launches,
        peak_instances=statistics.peak_instances,
        peak_vcpus=statistics.peak_milli_vcpus / 1000,
        spot_reclaims=statistics.reclaims,
        waits=list(_waits(statistics)),
        environments=environments,
        instances=[
            Instances(
                environment=environment,
                instance_type=instance_type,
                launched=count.launched,
                peak=count.peak,
                hours=count.milliseconds / HOUR,
                cost=count.cost,
            )
            for (environment, instance_type), count in sorted(statistics.types.items())
        ],
        left=[Left(jobs=count, reason=reason) for reason, count in statistics.stuck.items()],
        skipped=skipped or {},
    )


def _waits(statistics: Statistics) -> Iterable[Waits]:
    by_queue: dict[str, list[array[int]]] = {}
    for (queue, _), waits in statistics.waits.items():
        by_queue.setdefault(queue, []).append(waits)
    if not by_queue:
        return
    yield _distribution(None, None, [waits for each in by_queue.values() for waits in each])
    for queue, lists in sorted(by_queue.items()):
        yield _distribution(queue, None, lists)
        for (other, share), waits in sorted(statistics.waits.items(), key=lambda item: item[0][1] or ""):
            if other == queue and share is not None:
                yield _distribution(queue, share, [waits])


def _distribution(queue: str | None, share: str | None, lists: Sequence[array[int]]) -> Waits:
    ordered = sorted(wait for waits in lists for wait in waits)
    p50, p90, p99 = (percentile(ordered, each) / 1000 for each in PERCENTILES)
    return Waits(
        queue=queue,
        share=share,
        jobs=len(ordered),
        mean_seconds=sum(ordered) / len(ordered) / 1000,
        p50_seconds=p50,
        p90_seconds=p90,
        p99_seconds=p99,
        max_seconds=ordered[-1] / 1000,
    )


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that at least so many of a hundred do not exceed (nearest rank)."""
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def _environments(statistics: Statistics) -> Iterable[EnvironmentCost]:
    for name in statistics.environments:
        used = {share: amount for (environment, share), amount in statistics.used.items() if environment == name}
        total = sum(used.values())
        counts = [count for (environment, _), count in statistics.types.items() if environment == name]
        cost = math.fsum(count.cost for count in counts) + statistics.slice_costs.get(name, 0.0)
        offered = total if name in statistics.slices else statistics.offered.get(name, 0)
        yield EnvironmentCost(
            environment=name,
            cost=cost,
            vcpu_hours_used=total / 1000 / HOUR,
            vcpu_hours_offered=offered / 1000 / HOUR,
            shares=[
                ShareCost(share=share, vcpu_hours=amount / 1000 / HOUR, cost=cost * amount / total if total else 0.0)
                for share, amount in sorted(used.items(), key=lambda item: item[0] or "")
            ],
        )
