"""Instances that make way: a machine that is full of one environment's instances is not kept from the others for ever.

EC2 has room for everybody; a machine has not. While its instances find work they are never idle, so an environment that came
first could keep a machine as long as its queues last. Therefore, when there is no room for an instance that a queue needs,
and the job at its head has a better claim than whatever waits for the instances that are there, so many of those as are
needed are drained: they take nothing new, what runs on them ends by itself, and their room is free. A claim is better by the
priority of the queue, and among equals by the time of submission. The rule is ours.
"""

from __future__ import annotations

from batchyard.kernel import caps
from batchyard.kernel.draining import drain
from batchyard.kernel.ordering import fair_share_lines, fifo, share_lines
from batchyard.kernel.placement import environments_of
from batchyard.kernel.records import ComputeEnvironment, Instance, Job, JobQueue
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State

ROOM_NEEDED = "Its room is needed for job queue "

Claim = tuple[int, int]
"""Negative priority of the queue, seq of its first job: the smaller, the better."""


def first_of(state: State, queue: JobQueue) -> Job | None:
    """The job of a queue whose turn it is."""
    if queue.fair is not None:
        candidates = fair_share_lines.candidates(queue.fair, state.now)
        able = (job for job in candidates if not caps.is_share_full(job))
        return next((job for job in able if not fair_share_lines.is_held_back(state, queue, job)), None)
    if queue.quota_shares:
        heads = (share_lines.head(share) for share in queue.quota_shares.values())
        return min((job for job in heads if job is not None), key=fifo.place, default=None)
    return fifo.head(queue)


def claim_of(state: State, queue: JobQueue) -> Claim | None:
    """The claim of what waits in a queue; None when nothing does, or a cap keeps it waiting."""
    job = first_of(state, queue) if not caps.is_full(queue) else None
    return (-(queue.detail.priority or 0), job.seq) if job is not None else None


def make_others_yield(
    state: State, queue: JobQueue, environment: ComputeEnvironment, footprint: Resources, now: int
) -> None:
    """Drains instances of other environments until a machine will have this much room, where that is possible; nothing when
    enough of them drain already."""
    claim = claim_of(state, queue)
    if claim is None:
        return
    for machine in state.machines.values():
        room = machine.room
        yielding: list[Instance] = []
        for instance in _slices(state, machine):
            if instance.detail is not None and instance.detail.draining is not None:
                room += instance.detail.footprint
        candidates = [each for each in _slices(state, machine) if _may_yield(state, each, environment, claim)]
        for instance in sorted(candidates, key=lambda each: (len(each.jobs), each.id)):
            if footprint.fits(room):
                break
            assert instance.detail is not None
            room += instance.detail.footprint
            yielding.append(instance)
        if footprint.fits(room):
            for instance in yielding:
                drain(state, instance, f"{ROOM_NEEDED}{queue.name}", now)
            return


def _slices(state: State, machine: Instance) -> list[Instance]:
    return [each for each in state.instances.values() if each.detail is not None and each.detail.machine == machine.id]


def _may_yield(state: State, instance: Instance, environment: ComputeEnvironment, claim: Claim) -> bool:
    """Whether it belongs to another environment, is not kept for good, and nobody who waits for it has a better claim."""
    detail = instance.detail
    assert detail is not None
    owner = state.environments.get(detail.environment)
    if owner is None or owner is environment or detail.purchase == "REGISTERED" or detail.draining is not None:
        return False
    resources = owner.detail.compute_resources
    if resources is not None and owner.vcpus - detail.vcpus < (resources.min_vcpus or 0):
        return False
    claims = (claim_of(state, queue) for queue in state.queues.values() if _uses(state, queue, owner))
    return all(other is None or claim < other for other in claims)


def _uses(state: State, queue: JobQueue, environment: ComputeEnvironment) -> bool:
    return not queue.is_service and any(each is environment for each in environments_of(state, queue))
