"""The compute environment and the job queue `default`, which exist from the first start."""

from __future__ import annotations

from uuid import uuid4

from batchyard.control import ControlLoop
from batchyard.kernel import commands
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.placement import CAPACITY_TAG, Capacity
from batchyard.shapes import batch as shapes

NAME = "default"


def needs_defaults(kernel: Kernel) -> bool:
    """Whether nothing has ever been made here but, perhaps, the environment, by a first start that was cut short. Who has
    deleted the defaults does not get them back."""
    state = kernel.state
    untouched = state.next_seq == 1 and not state.definitions and not state.queues
    return untouched and state.environments.keys() <= {NAME}


async def create_defaults(control: ControlLoop, vcpus: float) -> None:
    """Creates what is missing of them, and returns when they are VALID."""
    environment = shapes.CreateComputeEnvironmentRequest(
        compute_environment_name=NAME,
        type="MANAGED",
        compute_resources=shapes.ComputeResource(
            type="EC2",
            min_vcpus=0,
            max_vcpus=max(1, int(vcpus)),
            desired_vcpus=0,
            instance_types=["optimal"],
            instance_role="ecsInstanceRole",
            subnets=[],
            security_group_ids=[],
            allocation_strategy="BEST_FIT_PROGRESSIVE",
        ),
        tags={CAPACITY_TAG: Capacity.SLICES.value},
    )
    if NAME not in control.kernel.state.environments:
        await control.command(commands.CreateComputeEnvironment(environment, str(uuid4())))
    await _until(control, lambda kernel: kernel.state.environments[NAME].detail.status)
    queue = shapes.CreateJobQueueRequest(
        job_queue_name=NAME,
        priority=1,
        compute_environment_order=[shapes.ComputeEnvironmentOrder(order=1, compute_environment=NAME)],
    )
    await control.command(commands.CreateJobQueue(queue))
    await _until(control, lambda kernel: kernel.state.queues[NAME].detail.status)


async def _until(control: ControlLoop, status: object) -> None:
    def current(kernel: Kernel) -> str | None:
        assert callable(status)
        found: str | None = status(kernel)
        return found

    while await control.query(current) != "VALID":
        pass
