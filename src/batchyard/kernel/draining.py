"""Instances that are taken out of use: drained, replaced, reclaimed, scaled in.

Sources: EC2 "Spot Instance interruption notices"; ECS "Spot container draining" (tasks are told at once); User Guide "Perform
infrastructure updates".
"""

from __future__ import annotations

from heapq import heappop, heappush

from batchyard.kernel import lifecycle
from batchyard.kernel.instances import (
    DRAINED,
    RECLAIMED,
    REPLACED,
    ended_by,
    is_busy,
    is_idle_for_long,
    run,
    save,
    scale_in,
    takes_tasks,
    terminate,
)
from batchyard.kernel.records import ComputeEnvironment, Ending, Instance, InstanceDetail
from batchyard.kernel.state import State
from batchyard.shapes import batch as shapes

DEFAULT_EXECUTION_MINUTES = 30
"""`jobExecutionTimeoutMinutes` where none is given."""


def drain(state: State, instance: Instance, reason: str, now: int, *, deadline: int | None = None) -> None:
    """Nothing new is placed on it; it is terminated as soon as nothing runs on it, and what still runs at the deadline is
    stopped."""
    detail = instance.detail
    assert detail is not None
    environment = state.environments.get(detail.environment)
    if environment is not None and takes_tasks(instance):
        environment.rooms.remove(instance.id)
    if detail.draining in (None, DRAINED):
        detail.draining = reason
    if deadline is not None:
        detail.deadline = min(deadline, detail.deadline or deadline)
        heappush(state.timers, (detail.deadline, instance.id))
    if not is_busy(instance):
        terminate(state, instance, now)
    else:
        save(state, detail)


def interrupt(state: State, instance: Instance, now: int, reason: str = RECLAIMED) -> None:
    """The two-minute notice of a Spot instance: its tasks get SIGTERM now, and SIGKILL when it is taken away."""
    assert instance.detail is not None
    instance.detail.interrupted_at = now
    drain(state, instance, reason, now, deadline=now + round(1000 * state.settings.spot_notice_seconds))
    stop_all(state, instance)


def stop_all(state: State, instance: Instance) -> None:
    """Its tasks end with their instance: SIGTERM, and SIGKILL after the grace."""
    for job in list(instance.jobs.values()):
        if job.task is not None and job.task.ending is None:
            lifecycle.stop(state, job, Ending.RECLAIMED, ended_by(instance.id))


def replace_instances(state: State, environment: ComputeEnvironment, now: int) -> None:
    """An infrastructure update: new jobs go to new instances. What runs on the old ones is stopped at once, or may go on for
    as long as the environment's `updatePolicy` says."""
    policy = environment.detail.update_policy or shapes.UpdatePolicy()
    minutes = policy.job_execution_timeout_minutes or DEFAULT_EXECUTION_MINUTES
    deadline = now if policy.terminate_jobs_on_update else now + 60_000 * minutes
    for instance in list(environment.instances.values()):
        drain(state, instance, REPLACED, now, deadline=deadline)


def complete_instances(state: State, now: int) -> None:
    """What is due: instances that have booted, are idle for long enough, are reclaimed, or have to be gone."""
    while state.timers and state.timers[0][0] <= now:
        instance = state.instances.get(heappop(state.timers)[1])
        if instance is None or instance.detail is None:
            state.scaling_due = True  # A type that was unavailable may be tried again.
            continue
        _complete(state, instance, instance.detail, now)


def _complete(state: State, instance: Instance, detail: InstanceDetail, now: int) -> None:
    if detail.state == "pending":
        run(state, instance, now)
    elif detail.draining is not None:
        if detail.deadline is not None and now >= detail.deadline:
            stop_all(state, instance)
    elif instance.reclaimed_at is not None and now >= instance.reclaimed_at:
        interrupt(state, instance, now)
    elif is_idle_for_long(state, instance, now):
        scale_in(state, instance, now)
