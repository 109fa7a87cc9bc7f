"""Interruptions on request: the two-minute notice of a Spot instance, or of a task on Fargate Spot.

Sources: EC2 "Spot Instance interruption notices"; ECS "Fargate Spot termination notices" (SIGTERM, up to 120 seconds, SIGKILL).
"""

from __future__ import annotations

from batchyard.kernel import draining, lifecycle
from batchyard.kernel.commands import InterruptInstance, InterruptJob
from batchyard.kernel.instances import INTERRUPTED, RECLAIMED
from batchyard.kernel.records import ComputeEnvironment, Ending, InstanceDetail, Task
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State


def interrupt_instance(state: State, command: InterruptInstance, now: int) -> InstanceDetail:
    """Gives an instance its notice; one that has had it goes on as it was told. An instance with nothing to do goes at once."""
    instance = state.instances.get(command.instance_id)
    if instance is None:
        raise Refusal(f"Instance {command.instance_id} not found.", wrapped=False)
    detail = instance.detail
    if detail is None:
        raise Refusal(f"{instance.id} is a machine of this server, not an instance that was launched on it.")
    if detail.purchase == "REGISTERED":
        raise Refusal(f"{instance.id} is host {detail.name}: hosts are drained and removed by their user.")
    if detail.purchase != "SPOT" and not command.force:
        raise Refusal(
            f"{instance.id} is an On-Demand Instance, which is never reclaimed. With force it gets the same notice."
        )
    if detail.interrupted_at is None:
        draining.interrupt(state, instance, now, RECLAIMED if detail.purchase == "SPOT" else INTERRUPTED)
    return detail


def interrupt_job(state: State, command: InterruptJob, _now: int) -> None:
    """Gives a task on Fargate Spot its notice: SIGTERM, and SIGKILL at its end. One that has had it goes on as it was told."""
    found = state.find(command.job_id)
    job = found[0] if found is not None and found[1] is None else None
    if job is None or job.task is None:
        raise Refusal(f"Job {command.job_id} does not run.")
    environment = state.environments.get(job.task.environment)
    if _type_of(environment) != "FARGATE_SPOT":
        raise Refusal(f"Job {command.job_id} does not run on Fargate Spot: {_where(state, job.task, environment)}.")
    if job.task.ending is None:
        lifecycle.stop(state, job, Ending.RECLAIMED, lifecycle.SPOT_TASK_INTERRUPTED)
    elif job.task.ending_reason != lifecycle.SPOT_TASK_INTERRUPTED:
        raise Refusal(f"Job {command.job_id} is being ended already: {job.task.ending_reason}")


def _type_of(environment: ComputeEnvironment | None) -> str | None:
    resources = environment.detail.compute_resources if environment is not None else None
    return resources.type if resources is not None else None


def _where(state: State, task: Task, environment: ComputeEnvironment | None) -> str:
    kind = _type_of(environment) or "UNMANAGED"
    place = (
        f"its compute environment {task.environment} is of type {kind}" if environment else "its environment is gone"
    )
    instance = state.instances.get(task.instance)
    on_instance = instance is not None and instance.detail is not None
    return f"{place}, and it runs on instance {task.instance}" if on_instance else place
