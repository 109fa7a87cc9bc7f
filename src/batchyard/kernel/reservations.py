"""Room that is kept for the first job of a queue that does not fit, so that those behind it may start meanwhile (backfill).

The job is promised an instance, and a *reserved start*: the moment at which, by the time limits of what runs there, there is
sure to be room. Who comes after it starts elsewhere; or on that instance, when their own time limit ends before the reserved
start, or when they fit beside the job then. Where what runs has no time limit nobody knows the start, and only those pass who
fit beside the job when all that stands in its way has gone. So backfill never delays the reserved start.

Where no instance is large enough, and one that is would exceed `maxvCpus` or find no room on the machine, instances are kept that
have to go for it: those that use least, as many as it takes. Nobody else starts on them; when they are idle they make way
for its launch (`autoscaling.py`). Since they only ever become emptier, small jobs can't keep a large one waiting for ever.
Source: Lifka, "The ANL/IBM SP Scheduling System" (EASY backfilling), with time limits in place of estimates.
"""

from __future__ import annotations

from itertools import islice

from batchyard.catalogue import InstanceType
from batchyard.kernel import instances, lifecycle
from batchyard.kernel.placement import (
    Capacity,
    Place,
    allowance_of,
    capacity_of,
    environments_for,
    find_place,
    places_in,
)
from batchyard.kernel.records import ComputeEnvironment, Instance, Job
from batchyard.kernel.records import Reservation as Reservation
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.state import State
from batchyard.kernel.suitability import hostable_types

LOOKED_AT = 100
"""Instances of an environment that are considered for a reservation."""


def reserve(state: State, job: Job, now: int) -> Reservation | None:
    """The best reservation for a job that does not fit: the earliest start. None when an instance is booting for it, or when
    nobody stands in its way."""
    earliest: Reservation | None = None
    unsure: Reservation | None = None
    for environment in environments_for(state, job):
        if not environment.available:
            continue
        if any(job.resources.fits(instance.capacity) for instance in environment.booting.values()):
            return None
        large_enough = (each for each in places_in(state, environment) if job.resources.fits(each.capacity))
        for instance in islice(large_enough, LOOKED_AT):
            if unsure is not None and not any(map(_limited, instance.jobs.values())):
                continue  # Nobody knows the start there, and the first such instance is as good.
            if not _could_hold(state, environment, instance, job.resources):
                continue
            found = _on(state, environment, instance, job.resources, now)
            if found.at is None:
                unsure = unsure or found
            elif earliest is None or found.at < (earliest.at or 0):
                earliest = found
    return earliest or unsure or _by_launch(state, job)


def _by_launch(state: State, job: Job) -> Reservation | None:
    """The instances that are to go so that one may be launched for the job."""
    for environment in environments_for(state, job):
        if not environment.available or capacity_of(state, environment) is not Capacity.INSTANCES:
            continue
        types = [each for each in hostable_types(state, environment) if job.resources.fits(instances.capacity_of(each))]
        if types:
            smallest = min(types, key=lambda each: (each.vcpus, each.memory, each.name))
            going = _to_go(state, environment, smallest)
            if going != environment.going:
                environment.going = going
                state.scaling_due = state.scaling_due or any(each in state.idle for each in going)
            if going:
                return Reservation(job.resources, environment, None, going=going)
    return None


def _to_go(state: State, environment: ComputeEnvironment, wanted: InstanceType) -> tuple[str, ...]:
    """Those of an environment's instances without which one of the wanted type could be launched, the least used first. None
    when that is possible already, or would not be even then."""
    most = environment.max_milli_vcpus // 1000
    vcpus, footprint = environment.vcpus, instances.footprint_of(wanted)
    rooms = {machine.id: machine.room for machine in state.machines.values()}
    going: list[str] = []
    for instance in sorted(environment.instances.values(), key=lambda each: each.used.milli_vcpus):
        if (vcpus == 0 or vcpus + wanted.vcpus <= most) and any(footprint.fits(room) for room in rooms.values()):
            return tuple(going)
        assert instance.detail is not None
        vcpus -= instance.detail.vcpus
        if instance.detail.machine in rooms:
            rooms[instance.detail.machine] += instance.detail.footprint
        going.append(instance.id)
    return tuple(going) if any(footprint.fits(room) for room in rooms.values()) else ()


def _could_hold(state: State, environment: ComputeEnvironment, instance: Instance, wanted: Resources) -> bool:
    """Whether there would be room if all of the environment's jobs had gone."""
    if instance.detail is not None:
        return wanted.fits(instance.capacity)
    most = allowance_of(state, environment, instance) + _used_by(environment, instance)
    return wanted.fits(_within(instance.capacity, most))


def _within(room: Resources, milli_vcpus: int) -> Resources:
    return Resources(min(room.milli_vcpus, milli_vcpus), room.memory, room.gpus)


def _used_by(environment: ComputeEnvironment, instance: Instance) -> int:
    """Thousandths of a vCPU that the environment's jobs use on an instance."""
    return sum(job.resources.milli_vcpus for job in instance.jobs.values() if _is_in(environment, job))


def _is_in(environment: ComputeEnvironment, job: Job) -> bool:
    return job.task is not None and job.task.environment == environment.name


def _on(state: State, environment: ComputeEnvironment, instance: Instance, wanted: Resources, now: int) -> Reservation:
    """The reserved start on one instance: those whose end is sure end one after another, until there is room."""
    running = list(instance.jobs.values())
    room, allowed = instance.room, allowance_of(state, environment, instance)
    for job in sorted(filter(_limited, running), key=lambda job: (_sure_end(state, job, now), job.seq)):
        room += job.resources
        allowed += job.resources.milli_vcpus if _is_in(environment, job) else 0
        if wanted.fits(_within(room, allowed)):
            at = max(_sure_end(state, job, now), now)
            return Reservation(wanted, environment, instance, at, _within(room, allowed) - wanted)
    return Reservation(wanted, environment, instance, None, _beside_all(environment, instance, allowed, wanted))


def _beside_all(
    environment: ComputeEnvironment, instance: Instance, allowed: int, wanted: Resources
) -> Resources | None:
    """What is left beside the job when everything that stands in its way has gone. None when something might stay: then nobody
    can tell."""
    running = list(instance.jobs.values())
    lasting = instance.used - sum((job.resources for job in running), start=NOTHING)
    most = allowed + sum(job.resources.milli_vcpus for job in running if _is_in(environment, job) and not _limited(job))
    room = _within(instance.capacity - lasting, most)
    if any((wanted + job.resources).fits(room) for job in running) or not wanted.fits(room):
        return None
    return room - wanted


def _limited(job: Job) -> bool:
    return job.timeout is not None or _is_ending(job)


def _is_ending(job: Job) -> bool:
    return job.task is not None and job.task.is_to_end


def _sure_end(state: State, job: Job, now: int) -> int:
    """When an attempt has ended at the latest: its time limit, and the grace. One that has not begun yet counts as beginning now:
    if it counted for ever, those who have passed the job would seem to delay it, and others would pass, too."""
    if _is_ending(job):
        return now + round(1000 * lifecycle.stop_grace(state, job))
    return (job.started_at or now) + 1000 * (job.timeout or 0) + round(1000 * state.settings.stop_grace_seconds)


def find_place_beside(state: State, job: Job, reservation: Reservation | None, now: int) -> Place | None:
    """A place for a job that comes after the one with the reservation. Whoever asks starts it there: what others may have beside
    that one is then less."""
    if reservation is None:
        return _not_ahead(find_place(state, job))
    instance, environment = reservation.instance, reservation.environment
    if instance is None:
        return _find_place_without(state, job, environment, reservation.going)
    place = find_place(state, job, without=instance)
    if place is not None:
        return place
    if not any(each is environment for each in environments_for(state, job)):
        return None
    if not job.resources.fits(_within(instance.room, allowance_of(state, environment, instance))):
        return None
    there = _first_place_on(state, job, instance) or Place(environment, instance)
    if ends_before(state, job, reservation, now):
        return there
    if reservation.beside is not None and job.resources.fits(reservation.beside):
        reservation.beside -= job.resources
        return there
    return None


def asks_for_no_less(job: Job, other: Job) -> bool:
    """Whether there is no place beside the one with the reservation for a job if there is none for the other."""
    if job.service is not None or job.kind is not other.kind or job.on_demand != other.on_demand:
        return False
    lasts_no_less = job.timeout is None or (other.timeout is not None and job.timeout >= other.timeout)
    return lasts_no_less and other.resources.fits(job.resources)


def _first_place_on(state: State, job: Job, instance: Instance) -> Place | None:
    """Where it would go were nothing kept, if that is on this instance: several environments may share a machine."""
    place = _not_ahead(find_place(state, job))
    return place if place is not None and place.instance is instance else None


def ends_before(state: State, job: Job, reservation: Reservation, now: int) -> bool:
    """Whether a job that starts now has ended by the reserved start."""
    if reservation.at is None or job.timeout is None:
        return False
    return now + 1000 * job.timeout + round(1000 * state.settings.stop_grace_seconds) <= reservation.at


def _find_place_without(
    state: State, job: Job, environment: ComputeEnvironment, going: tuple[str, ...]
) -> Place | None:
    kept = [instance_id for instance_id in going if instance_id in environment.rooms]
    for instance_id in kept:
        environment.rooms.exclude(instance_id)
    place = _not_ahead(find_place(state, job))
    for instance_id in kept:
        environment.rooms.include(instance_id)
    return place


def _not_ahead(place: Place | None) -> Place | None:
    return place if place is not None and not place.ahead else None
