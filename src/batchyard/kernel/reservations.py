"""Room that is kept for the first job of a queue that does not fit, so that those behind it may start meanwhile (backfill).

The job is promised an instance, and a *reserved start*: the moment at which, by the time limits of what runs there, there is
sure to be room. Who comes after it starts elsewhere; or on that instance, when their own time limit ends before the reserved
start, or when they fit beside the job then. Where what runs has no time limit nobody knows the start, and only those pass who
fit beside the job when all that stands in its way has gone. So backfill never delays the reserved start.
Source: Lifka, "The ANL/IBM SP Scheduling System" (EASY backfilling), with time limits in place of estimates.
"""

from __future__ import annotations

from itertools import islice

import msgspec

from batchyard.kernel.placement import Place, allowance_of, environments_of, find_place, places_in
from batchyard.kernel.records import ComputeEnvironment, Instance, Job
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.state import State

LOOKED_AT = 100
"""Instances of an environment that are considered for a reservation."""


class Reservation(msgspec.Struct, frozen=True):
    """What is kept for a job."""

    resources: Resources
    environment: ComputeEnvironment
    instance: Instance
    at: int | None = None
    """The reserved start; None: nobody knows."""
    beside: Resources | None = None
    """What others may have of the instance at that time; None: nothing."""


def reserve(state: State, job: Job, now: int) -> Reservation | None:
    """The best reservation for a job that does not fit: the earliest start. None when an instance is booting for it, or when
    nothing that runs now could ever hold it: then nobody stands in its way."""
    found: list[Reservation] = []
    for environment in environments_of(state, job.queue):
        if not environment.available:
            continue
        if any(job.resources.fits(instance.capacity) for instance in environment.booting.values()):
            return None
        for instance in islice(places_in(state, environment), LOOKED_AT):
            most = allowance_of(state, environment, instance)
            if job.resources.fits(_within(instance.capacity, most + _used_by(environment, instance))):
                found.append(_on(state, environment, instance, job.resources, now))
    known = [each for each in found if each.at is not None]
    return min(known, key=lambda each: each.at or 0) if known else next(iter(found), None)


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
    return job.timeout is not None and job.started_at is not None


def _sure_end(state: State, job: Job, now: int) -> int:
    """When an attempt has ended at the latest: its time limit, and the grace."""
    return (job.started_at or now) + 1000 * (job.timeout or 0) + round(1000 * state.settings.stop_grace_seconds)


def find_place_beside(state: State, job: Job, reservation: Reservation | None, now: int) -> Place | None:
    """A place for a job that comes after the one with the reservation."""
    if reservation is None:
        place = find_place(state, job)
        return place if place is not None and not place.ahead else None
    place = find_place(state, job, without=reservation.instance)
    if place is not None:
        return place
    instance, environment = reservation.instance, reservation.environment
    if not any(each is environment for each in environments_of(state, job.queue)):
        return None
    if not job.resources.fits(_within(instance.room, allowance_of(state, environment, instance))):
        return None
    lasts = 1000 * job.timeout + round(1000 * state.settings.stop_grace_seconds) if job.timeout is not None else None
    ends_before = reservation.at is not None and lasts is not None and now + lasts <= reservation.at
    if ends_before or job.resources.fits(reservation.beside or NOTHING):
        return Place(environment, instance)
    return None
