"""Strict priority between queues: one with the tag `batchyard:preemption` = `lower-priority` need not wait for those below it.

On AWS the priority of a queue only decides who is considered first. Here the first job of such a queue that does not fit *claims*
its room: jobs of queues with a lower priority, in a compute environment that both use, are stopped for it, and none of those
queues starts what would delay it (`reservations.py`).

Only what runs on one instance (or machine) can make room for a job. The victims are those of the queue with the lowest
priority, of these the one started last, until there is room; whoever then turns out not to be needed is spared, the last
chosen first. Nobody is stopped when that would not help, while an instance boots for the job, or when the room of those that
are being stopped already is enough. Jobs whose tag, or whose queue's tag, `batchyard:preemptible` says `never` are left alone.

A preempted attempt does not count, and its job waits again at the front of its queue. The rules are those of quota shares
(`ordering/quota_share.py`), which have preemption of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.placement import (
    Capacity,
    Place,
    capacity_of,
    environments_for,
    find_place,
    places_in,
)
from batchyard.kernel.quota_placement import IN_PROGRESS, JUST_STARTED
from batchyard.kernel.records import Claim, ComputeEnvironment, Ending, Instance, Job, JobQueue, Kind, Reservation
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.reservations import ends_before, find_place_beside, reserve
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import State
from batchyard.kernel.terms import PREFIX

TAG = f"{PREFIX}preemption"


def check_preemption(tags: Mapping[str, str] | None, *, service: bool, quota: bool) -> None:
    """Raises `Refusal` for a queue that cannot preempt the jobs of others."""
    if TAG in (tags or {}) and (service or quota):
        kind = "service jobs" if service else "quota shares, which have preemption of their own"
        raise Refusal(f"The tag {TAG} is not for a job queue of {kind}")


def claim(state: State, job: Job, now: int) -> None:
    """The first job of a queue does not fit: where the queue has strict priority, its room is kept from the queues below."""
    if job.queue.terms.preempts and job.service is None:
        reservation = reserve(state, job, now)
        if reservation is not None:
            state.claims.append(Claim(job, reservation))


def claims_before(state: State, queue: JobQueue) -> list[Claim]:
    """The claims of queues with a higher priority than this one."""
    return [each for each in state.claims if _priority(each.job.queue) > _priority(queue)]


def find_place_behind(
    state: State, job: Job, claims: Sequence[Claim], own: Reservation | None, now: int
) -> Place | None:
    """A place for a job that delays none of these claims, nor the one with the reservation of its own queue. Whoever asks starts
    it there."""
    kept: list[Reservation] = [each.reservation for each in claims]
    if own is not None:
        kept.append(own)
    candidates = [find_place(state, job)]
    candidates += [find_place_beside(state, job, msgspec.structs.replace(each), now) for each in kept]
    for place in candidates:
        if place is not None and not place.ahead and all(_may_pass(state, job, place, each, now) for each in kept):
            for each in kept:
                if (
                    each.instance is place.instance
                    and each.beside is not None
                    and not ends_before(state, job, each, now)
                ):
                    each.beside -= job.resources
            return place
    return None


def _may_pass(state: State, job: Job, place: Place, kept: Reservation, now: int) -> bool:
    if kept.instance is None:
        return place.instance.id not in kept.going
    if place.instance is not kept.instance or ends_before(state, job, kept, now):
        return True
    return kept.beside is not None and job.resources.fits(kept.beside)


def preempt(state: State) -> None:
    """Stops whoever has to make way for a claim."""
    for each in state.claims:
        reason = _reason(each.job.queue)
        for victim in victims_for(state, each.job):
            victim.status_reason = IN_PROGRESS + reason
            lifecycle.stop(state, victim, Ending.PREEMPTED, reason)


def being_stopped_for(state: State, queue: JobQueue) -> int:
    """How many attempts are being stopped for the jobs of a queue."""
    reason = _reason(queue)
    return sum(job.task is not None and job.task.ending_reason == reason for job in state.tasks.values())


def _reason(queue: JobQueue) -> str:
    return f"Preempted by a job of job queue {queue.name}, which has a higher priority"


class _Trial(msgspec.Struct):
    """What would be free, where a job may start."""

    wanted: Resources
    rooms: dict[str, Resources]
    """By instance."""
    slots: dict[str, list[str]]
    """The compute environments that a job may have on an instance, by instance."""
    allowed: dict[str, int]
    """Thousandths of a vCPU that an environment still may use, where its tasks have slices of a machine."""

    def give(self, job: Job, sign: int) -> None:
        """The job has gone (1), or has stayed after all (-1)."""
        assert job.task is not None
        room = self.rooms[job.task.instance]
        self.rooms[job.task.instance] = room + job.resources if sign > 0 else room - job.resources
        if job.task.environment in self.allowed:
            self.allowed[job.task.environment] += sign * job.resources.milli_vcpus

    def has_room(self, without: Iterable[Job] | None = None) -> bool:
        """Whether the job fits somewhere; `without`: where these made room, if that is all that has changed."""
        if without is None:
            return any(map(self._fits, self.rooms))
        tasks = [job.task for job in without if job.task is not None]
        sliced = any(task.environment in self.allowed for task in tasks)
        return any(map(self._fits, self.rooms if sliced else {task.instance for task in tasks}))

    def _fits(self, instance: str) -> bool:
        if not self.wanted.fits(self.rooms[instance]):
            return False
        needs = self.wanted.milli_vcpus
        return any(needs <= self.allowed.get(environment, needs) for environment in self.slots[instance])


def victims_for(state: State, job: Job) -> list[Job]:
    """Who has to be stopped so that the job can start; nobody when that would not help, or is not needed."""
    usable = [environment for environment in environments_for(state, job) if environment.available]
    slots: dict[str, list[str]] = {}
    found: dict[str, Instance] = {}
    for environment in usable:
        for instance in places_in(state, environment):
            if job.resources.fits(instance.capacity):
                slots.setdefault(instance.id, []).append(environment.name)
                found[instance.id] = instance
    trial = _Trial(
        wanted=job.resources,
        rooms={name: instance.room for name, instance in found.items()},
        slots=slots,
        allowed={environment.name: _allowance(environment) for environment in usable if _is_sliced(state, environment)},
    )
    names = {environment.name for environment in usable}
    running = [
        other
        for instance in found.values()
        for other in instance.jobs.values()
        if other.service is None and other.task is not None and other.task.environment in names
    ]
    for other in running:
        if other.task is not None and other.task.is_to_end:
            trial.give(other, 1)
    if trial.has_room():
        return []
    return _chosen(trial, [other for other in running if _may_be_preempted(other, job.queue)])


def _chosen(trial: _Trial, candidates: list[Job]) -> list[Job]:
    chosen: list[Job] = []
    for victim in sorted(candidates, key=_standing):
        chosen.append(victim)
        trial.give(victim, 1)
        if trial.has_room([victim]):
            break
    else:
        return []
    for victim in reversed(list(chosen)):
        trial.give(victim, -1)
        if trial.has_room(chosen):
            chosen.remove(victim)
        else:
            trial.give(victim, 1)
    return chosen


def _standing(job: Job) -> tuple[int, int, int]:
    """Who is stopped first: by the priority of the queue, then whoever started last."""
    return _priority(job.queue), -(JUST_STARTED if job.started_at is None else job.started_at), -job.seq


def _may_be_preempted(job: Job, queue: JobQueue) -> bool:
    never = (job.terms is not None and job.terms.never_preempted) or job.queue.terms.jobs.never_preempted
    running = job.task is not None and not job.task.is_to_end and job.kind is Kind.CONTAINER
    return running and not never and _priority(job.queue) < _priority(queue)


def _priority(queue: JobQueue) -> int:
    return queue.detail.priority or 0


def _is_sliced(state: State, environment: ComputeEnvironment) -> bool:
    return capacity_of(state, environment) is Capacity.SLICES


def _allowance(environment: ComputeEnvironment) -> int:
    return environment.max_milli_vcpus - environment.used.milli_vcpus
