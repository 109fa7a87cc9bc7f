"""Which job of a queue with quota shares starts next, whom it preempts, and why the others wait.

`ordering/quota_share.py` has the rules; here they are asked of the state. Nothing is remembered between two steps: who
waits for whose end follows from the jobs, so that a restart changes nothing.

A service job claims instances of its type. Any other job claims VCPU, MEMORY and GPU, each where its share limits it; vCPUs
are counted in thousandths, so that the arithmetic is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from batchyard.kernel import lifecycle, service_placement
from batchyard.kernel.caps import is_share_full
from batchyard.kernel.consumable_resources import lacks
from batchyard.kernel.ordering import fifo, share_lines
from batchyard.kernel.ordering.quota_share import (
    Claim,
    Ledger,
    Share,
    cross_share_victims,
    in_share_victims,
    lendable,
    next_to_start,
    too_large,
)
from batchyard.kernel.ordering.rooms import Rooms, Slot, Wanted
from batchyard.kernel.placement import Capacity, capacity_of, environments_of, places_in
from batchyard.kernel.records import ComputeEnvironment, Ending, Job, JobQueue, QuotaShare
from batchyard.kernel.state import State

LIMIT_EXCEEDED = "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED"
CROSS_SHARE = "Cross-share preemption triggered to reclaim borrowed capacity"
IN_SHARE = "In-share preemption triggered by a job with a higher priority"
IN_PROGRESS = "PREEMPTION_IN_PROGRESS: "
JUST_STARTED = 2**62
"""A start later than any: of an attempt that has been placed and does not run yet."""


def heads(queue: JobQueue) -> list[Job]:
    """The first job of each share that may start one, in the order of submission; those that are tried again come first."""
    first = (share_lines.head(share) for share in queue.quota_shares.values())
    return sorted((job for job in first if job is not None and not is_share_full(job)), key=fifo.place)


def next_job(ledger: Ledger, waiting: list[Job]) -> Job | None:
    """Which of the heads starts next; None when all have to wait."""
    claim = next_to_start(ledger, [claim_of(job) for job in waiting])
    return next((job for job in waiting if claim is not None and job.id == claim.job_id), None)


def _rules_of(queue: JobQueue) -> dict[str, Share]:
    """The rules of each share, by name."""
    return {name: _rules(share) for name, share in queue.quota_shares.items()}


def _rules(share: QuotaShare) -> Share:
    detail = share.detail
    sharing, preemption = detail.resource_sharing_configuration, detail.preemption_configuration
    assert sharing is not None
    assert preemption is not None
    return Share(
        name=share.name,
        limits=_limits(share),
        lends=sharing.strategy != "RESERVE",
        borrows=sharing.strategy == "LEND_AND_BORROW",
        borrow_limit=-1 if sharing.borrow_limit is None else sharing.borrow_limit,
        in_share_preemption=preemption.in_share_preemption == "ENABLED",
    )


def _limits(share: QuotaShare) -> dict[str, int]:
    return {
        limit.capacity_unit: (1000 if limit.capacity_unit == "VCPU" else 1) * limit.max_capacity
        for limit in share.detail.capacity_limits or ()
    }


def claim_of(job: Job) -> Claim:
    """What a job of a quota share (for an array: its next child) asks for, or uses."""
    service = job.service
    if service is not None:
        wanted = Wanted(each=job.resources, tasks=service.instance_count, draws=1, allowance=service.instance_type)
        scheduled_at = service.scheduled_at or 0
    else:
        wanted = Wanted(each=job.resources, draws=job.resources.milli_vcpus)
        scheduled_at = JUST_STARTED if job.started_at is None else job.started_at
    return Claim(
        job_id=job.id,
        share=job.share or "",
        counts=counted(job.quota_share, job.units),
        priority=job.priority or 0,
        wanted=wanted,
        begun=(scheduled_at, job.seq),
        slots=_slots(job),
    )


def _slots(job: Job) -> tuple[Slot, ...]:
    """Where the tasks of a job run."""
    if job.task is None:
        return ()
    allowance = job.service.instance_type if job.service is not None else job.task.environment
    return tuple(Slot(allowance, machine) for machine in job.task.instances)


def ledger_of(state: State, queue: JobQueue) -> Ledger:
    """Who of the queue uses how much at present."""
    uses = {
        (share.name, unit): count
        for share in queue.quota_shares.values()
        for unit, count in counted(share, share.used).items()
    }
    return Ledger(shares=_rules_of(queue), rooms=_rooms(state, queue), uses=Counter(uses))


def counted(share: QuotaShare | None, units: Mapping[str, int]) -> dict[str, int]:
    """What counts of these: in a share of a container queue, only what it limits."""
    if share is None or share.queue.is_service:
        return {unit: count for unit, count in units.items() if count}
    limited = [limit.capacity_unit for limit in share.detail.capacity_limits or ()]
    return {unit: count for unit, count in units.items() if count and unit in limited}


def _allowance(state: State, environment: ComputeEnvironment) -> int:
    """Thousandths of a vCPU that the environment allows, all its instances together."""
    if capacity_of(state, environment) is Capacity.SLICES:
        return environment.max_milli_vcpus - environment.used.milli_vcpus
    return sum(instance.room.milli_vcpus for instance in places_in(state, environment))


def _rooms(state: State, queue: JobQueue) -> Rooms:
    """What is free for jobs of the queue, as `placement.find_place` and `service_placement.find_gang` see it. Where tasks were
    handed over ahead, those come first, and no room is counted on."""
    if not queue.is_service:
        usable = [environment for environment in environments_of(state, queue) if environment.available]
        places = [(environment, instance) for environment in usable for instance in places_in(state, environment)]
        return Rooms(
            slots=tuple(Slot(environment.name, instance.id) for environment, instance in places),
            free={instance.id: instance.room for _, instance in places},
            allowed={environment.name: _allowance(state, environment) for environment in usable},
        )
    machines = {name: machine.room for name, machine in state.machines.items() if not machine.line}
    environment = service_placement.environment_of(state, queue)
    if environment is None or not environment.available:
        return Rooms(slots=(), free=machines, allowed={})
    limits = {limit.capacity_unit or "": limit.max_capacity or 0 for limit in environment.detail.capacity_limits or ()}
    return Rooms(
        slots=tuple(Slot(unit, machine) for unit in limits for machine in machines),
        free=machines,
        allowed={unit: most - environment.used.get(unit, 0) for unit, most in limits.items()},
    )


def _running(state: State, queue: JobQueue) -> list[Job]:
    jobs = {job.id: job for job in state.tasks.values() if job.queue is queue}
    return sorted(jobs.values(), key=lambda job: job.seq)


def preempt(state: State, queue: JobQueue, ledger: Ledger, waiting: list[Job]) -> None:
    """Stops jobs of others, or of lower priority, for the heads, which can't start. What is being stopped already counts as
    gone: nobody is stopped for a claim that only has to wait a little. Nor is anybody for a head that will lack a consumable
    resource because a head before it takes the last of it."""
    claims = [(job, claim_of(job)) for job in waiting]
    running = {job.id: job for job in _running(state, queue)}
    stopping = [job.id for job in running.values() if job.task is not None and job.task.is_to_end]
    if not stopping and not _may_preempt(ledger, [claim for _, claim in claims]):
        return
    ledger.running = {job.id: claim_of(job) for job in running.values()}
    for job_id in stopping:
        ledger.remove(job_id)
    owners = {job.id for job, claim in claims if ledger.is_own(claim)}
    awaited: set[str] = set()
    promised: Counter[str] = Counter()
    for job, claim in sorted(claims, key=lambda each: each[0].id not in owners):
        needs = job.consumables or ()
        if any(lacks(state, (name, quantity + promised[name])) for name, quantity in needs):
            continue
        if job.id in owners:
            _stop_all(state, ledger, running, cross_share_victims(ledger, claim), CROSS_SHARE)
        elif awaited.intersection(claim.counts):
            continue
        if not ledger.may_start(claim) and ledger.shares[claim.share].in_share_preemption:
            _stop_all(state, ledger, running, in_share_victims(ledger, claim), IN_SHARE)
        if ledger.may_start(claim):
            ledger.add(claim)
            promised.update(dict(needs))
        elif job.id in owners:
            awaited.update(claim.counts)


def _may_preempt(ledger: Ledger, claims: list[Claim]) -> bool:
    """Whether there could be anybody to stop: that is quickly seen, and mostly there is nobody."""
    lent = any(ledger.borrowed(share, unit) for share, unit in ledger.uses)
    return any(ledger.shares[claim.share].in_share_preemption or (lent and ledger.is_own(claim)) for claim in claims)


def _stop_all(state: State, ledger: Ledger, running: dict[str, Job], victims: list[Claim], reason: str) -> None:
    for victim in victims:
        ledger.remove(victim.job_id)
        job = running[victim.job_id]
        job.status_reason = IN_PROGRESS + reason
        lifecycle.stop(state, job, Ending.PREEMPTED, reason)


def never_fits(job: Job) -> tuple[str, str] | None:
    """AWS's sentence, and the numbers, for a job that its quota share could never run, or None."""
    if job.quota_share is None:
        return None
    limits = _limits(job.quota_share)
    if all(count <= limits.get(unit, 0) for unit, count in counted(job.quota_share, job.units).items()):
        return None
    shares, claim = _rules_of(job.queue), claim_of(job)
    found = too_large(shares, claim)
    if found is None:
        return None
    (sentence, unit), share = found, shares[claim.share]
    text = f"It needs {needs_of(job)}; quota share {share.name} has {_amount(unit, share.own(unit))}"
    if share.borrows:
        most = share.most(unit)
        limit = "without limit" if most is None else _amount(unit, most - share.own(unit))
        others = _amount(unit, lendable(shares, share.name, unit))
        text += f" and may borrow {limit}; the others can lend {others}"
    return sentence, f"{text}."


def why_not_now(state: State, job: Job, subject: str, no_room: str) -> str:
    """Why a job at the head of its quota share can't start now. `no_room` says what is the matter with the machines."""
    ledger, claim = ledger_of(state, job.queue), claim_of(job)
    share = ledger.shares[claim.share]
    uses = f"quota share {share.name} uses {_uses(ledger, claim)}"
    if ledger.is_own(claim):
        lent = any(ledger.borrowed(name, unit) for name in ledger.shares for unit in claim.counts)
        return f"{no_room} Q{uses[1:]}{', and what others have borrowed is taken back' if lent else ''}."
    text = f"{subject} needs {needs_of(job)}; {uses}, and "
    if not share.borrows:
        return f"{text}does not borrow."
    above = ledger.above_borrow_limit(claim)
    if above is not None:
        return f"{text}may use {_amount(above, share.most(above) or 0)}."
    idle = [
        _amount(unit, max(0, ledger.idle(unit) - max(0, share.own(unit) - ledger.uses[share.name, unit])))
        for unit in claim.counts
        if ledger.with_claim(claim, unit) > share.own(unit)
    ]
    return f"{text}{' and '.join(idle)} more can be borrowed now."


def needs_of(job: Job) -> str:
    """What a job needs, in words."""
    return service_placement.instances(job.service) if job.service is not None else str(job.resources)


def _uses(ledger: Ledger, claim: Claim) -> str:
    texts = []
    for unit in claim.counts:
        used, own = ledger.uses[claim.share, unit], ledger.own(claim, unit)
        if unit in _NAMES:
            texts.append(f"{_number(unit, used)} of its own {_amount(unit, own)}")
        else:
            texts.append(f"{used} of its own {own} instances of type {unit}")
    return " and ".join(texts)


_NAMES = {"VCPU": "vCPU", "MEMORY": "MiB", "GPU": "GPU"}


def _number(unit: str, count: int) -> str:
    return f"{count / 1000:g}" if unit == "VCPU" else f"{count}"


def _amount(unit: str, count: int) -> str:
    """With the unit's name, but for instances, whose type has been named."""
    return f"{_number(unit, count)} {_NAMES[unit]}" if unit in _NAMES else f"{count}"
