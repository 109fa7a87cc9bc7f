"""Which job of a queue with quota shares starts next, whom it preempts, and why the others wait.

`ordering/quota_share.py` has the rules; here they are asked of the state. Nothing is remembered between two steps: who
waits for whose end follows from the jobs, so that a restart changes nothing.
"""

from __future__ import annotations

from batchyard.kernel import lifecycle, service_placement
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
from batchyard.kernel.records import Ending, Job, JobQueue, QuotaShare, ServiceRequest
from batchyard.kernel.state import State

LIMIT_EXCEEDED = "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED"
CROSS_SHARE = "Cross-share preemption triggered to reclaim borrowed capacity"
IN_SHARE = "In-share preemption triggered by a job with a higher priority"
IN_PROGRESS = "PREEMPTION_IN_PROGRESS: "


def share_of(job: Job) -> QuotaShare | None:
    """The quota share that a job is in."""
    return job.queue.quota_shares.get(job.share or "")


def heads(queue: JobQueue) -> list[Job]:
    """The first job of each share, in the order of submission; those that are tried again come first."""
    first = (share_lines.head(share) for share in queue.quota_shares.values())
    return sorted((job for job in first if job is not None), key=fifo.place)


def next_job(state: State, queue: JobQueue) -> Job | None:
    """The job that starts next; None when all have to wait."""
    environment = service_placement.environment_of(state, queue)
    if environment is None or not environment.available:
        return None
    waiting = {job.id: job for job in heads(queue)}
    found = next_to_start(ledger_of(state, queue), [claim_of(job) for job in waiting.values()])
    return waiting[found.job_id] if found is not None else None


def rules_of(queue: JobQueue) -> dict[str, Share]:
    """The rules of each share, by name."""
    return {name: _rules(share) for name, share in queue.quota_shares.items()}


def _rules(share: QuotaShare) -> Share:
    detail = share.detail
    sharing, preemption = detail.resource_sharing_configuration, detail.preemption_configuration
    assert sharing is not None
    assert preemption is not None
    return Share(
        name=share.name,
        limits={limit.capacity_unit: limit.max_capacity for limit in detail.capacity_limits or ()},
        lends=sharing.strategy != "RESERVE",
        borrows=sharing.strategy == "LEND_AND_BORROW",
        borrow_limit=-1 if sharing.borrow_limit is None else sharing.borrow_limit,
        in_share_preemption=preemption.in_share_preemption == "ENABLED",
    )


def claim_of(job: Job) -> Claim:
    """What a job of a quota share asks for, or uses."""
    service = job.service
    assert service is not None
    return Claim(
        job_id=job.id,
        share=job.share or "",
        unit=service.instance_type,
        count=service.instance_count,
        priority=job.priority or 0,
        each=job.resources,
        begun=(service.scheduled_at or 0, job.seq),
        machines=tuple(job.task.instances) if job.task is not None else (),
    )


def ledger_of(state: State, queue: JobQueue) -> Ledger:
    """Who of the queue uses how much at present."""
    environment = service_placement.environment_of(state, queue)
    limits = (environment.detail.capacity_limits if environment is not None else None) or ()
    used = environment.used if environment is not None else {}
    return Ledger(
        shares=rules_of(queue),
        free={
            limit.capacity_unit or "": (limit.max_capacity or 0) - used.get(limit.capacity_unit or "", 0)
            for limit in limits
        },
        rooms={name: instance.room for name, instance in state.machines.items() if not instance.line},
        running={job.id: claim_of(job) for job in _running(state, queue)},
    )


def _running(state: State, queue: JobQueue) -> list[Job]:
    jobs = {job.id: job for job in state.tasks.values() if job.queue is queue}
    return sorted(jobs.values(), key=lambda job: job.seq)


def preempt(state: State, queue: JobQueue) -> None:
    """Stops jobs of others, or of lower priority, for the heads that can't start. What is being stopped already counts as
    gone: nobody is stopped for a claim that only has to wait a little."""
    environment = service_placement.environment_of(state, queue)
    waiting = heads(queue)
    if environment is None or not environment.available or not waiting:
        return
    ledger = ledger_of(state, queue)
    for job in _running(state, queue):
        if job.task is not None and (job.task.ending is not None or job.task.failure is not None):
            ledger.remove(job.id)
    claims = [claim_of(job) for job in waiting]
    own = [claim for claim in claims if ledger.is_own(claim)]
    awaited: set[str] = set()
    for claim in own:
        _stop_all(state, ledger, cross_share_victims(ledger, claim), CROSS_SHARE)
        if not _settled(state, ledger, claim):
            awaited.add(claim.unit)
    for claim in claims:
        if claim not in own and claim.unit not in awaited:
            _settled(state, ledger, claim)


def _settled(state: State, ledger: Ledger, claim: Claim) -> bool:
    """Whether the claim will be able to start, with a preemption in its own share if that helps. Then its room is taken."""
    if not ledger.may_start(claim) and ledger.shares[claim.share].in_share_preemption:
        _stop_all(state, ledger, in_share_victims(ledger, claim), IN_SHARE)
    if not ledger.may_start(claim):
        return False
    ledger.add(claim)
    return True


def _stop_all(state: State, ledger: Ledger, victims: list[Claim], reason: str) -> None:
    for victim in victims:
        ledger.remove(victim.job_id)
        job = state.jobs[victim.job_id]
        job.status_reason = IN_PROGRESS + reason
        lifecycle.stop(state, job, Ending.PREEMPTED, reason)


def never_fits(job: Job, service: ServiceRequest) -> tuple[str, str] | None:
    """AWS's sentence, and the numbers, for a job that its quota share could never run, or None."""
    if share_of(job) is None:
        return None
    shares, claim = rules_of(job.queue), claim_of(job)
    sentence = too_large(shares, claim)
    if sentence is None:
        return None
    share = shares[claim.share]
    text = f"It needs {service_placement.instances(service)}; quota share {share.name} has {share.own(claim.unit)}"
    if share.borrows:
        most = share.most(claim.unit)
        limit = "without limit" if most is None else f"{most - share.own(claim.unit)}"
        text += f" and may borrow {limit}; the others can lend {lendable(shares, share.name, claim.unit)}"
    return sentence, f"{text}."


def why_not_now(state: State, job: Job, service: ServiceRequest, subject: str) -> tuple[bool, str]:
    """As `service_placement.why_not_now`, for a job in a quota share."""
    invalid, text = service_placement.why_not_now(state, job, service, subject)
    if invalid:
        return invalid, text
    ledger, claim = ledger_of(state, job.queue), claim_of(job)
    share, used = ledger.shares[claim.share], ledger.used(claim.unit)[claim.share]
    uses = f"quota share {share.name} uses {used} of its own {share.own(claim.unit)} instances of type {claim.unit}"
    if ledger.is_own(claim):
        taken_back = (
            ", and what others have borrowed is taken back" if any(ledger.borrowed(claim.unit).values()) else ""
        )
        return False, f"{text} Q{uses[1:]}{taken_back}."
    if not share.borrows:
        return False, f"{subject} needs {service_placement.instances(service)}; {uses}, and does not borrow."
    if not ledger.within_borrow_limit(claim):
        return (
            False,
            f"{subject} needs {service_placement.instances(service)}; {uses}, and may use {share.most(claim.unit)}.",
        )
    idle = max(0, ledger.idle(claim.unit) - max(0, share.own(claim.unit) - used))
    return (
        False,
        f"{subject} needs {service_placement.instances(service)}; {uses}, and {idle} more can be borrowed now.",
    )
