"""Sets a kernel up as an environment file says, before the first job comes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from batchyard.kernel.commands import (
    Command,
    CreateComputeEnvironment,
    CreateJobQueue,
    CreateQuotaShare,
    CreateSchedulingPolicy,
    RegisterJobDefinition,
)
from batchyard.kernel.identifiers import Account
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.queues import family_of
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import Settings
from batchyard.shapes import batch as shapes
from batchyard.simulator.environment_file import EnvironmentFile, Machines
from batchyard.simulator.inputs import InputError

ORIGIN = 946_684_800_000
"""When the first job is submitted, on the clock of the kernel: the year 2000 UTC."""
ACCOUNT = Account(region="us-east-1", account_id="123456789012")
ENDLESS = Resources(10**15, 10**15, 10**9)
"""The machine of whoever names none."""
REQUEST_BYTES = 100
_DEFINITIONS = {"EC2": "on-instances", "FARGATE": "on-fargate"}


def set_up(file: EnvironmentFile, *, maximum_array_size: int = 1_000_000) -> Kernel:
    """A kernel with all that the file names, created in the milliseconds before `ORIGIN`; its effects have not been taken yet.
    Raises `InputError`."""
    chosen = file.settings
    settings = Settings(
        account=ACCOUNT,
        maximum_array_size=maximum_array_size,
        boot_seconds=chosen.boot_seconds,
        idle_seconds=chosen.idle_seconds,
        launch_failure_rate=chosen.launch_failure_rate,
        spot_interruptions_an_hour=chosen.spot_interruptions_an_hour,
        spot_notice_seconds=chosen.spot_notice_seconds,
        seed=chosen.seed,
    )
    kernel = Kernel(settings)
    for engine, capacity in _engines(file.machines):
        kernel.add_machine(engine, capacity, 0)
    commands = list(_commands(file))
    for now, (command, where) in zip(range(ORIGIN - 2 * len(commands), ORIGIN, 2), commands, strict=True):
        try:
            kernel.apply(command, now)
        except Refusal as refusal:
            raise InputError(f"{where}: {refusal.message}") from None
        kernel.step(now + 1)  # What was created has become VALID.
    return kernel


def _engines(machines: list[Machines]) -> Iterator[tuple[str, Resources]]:
    if not machines:
        yield "machine", ENDLESS
    number = 0
    for each in machines:
        for _ in range(each.count):
            number += 1
            yield f"machine-{number}", Resources(1000 * each.vcpus, each.memory, each.gpus)


def _commands(file: EnvironmentFile) -> Iterator[tuple[Command, str]]:
    """What creates everything, and where in the file it stands."""
    for family, name in _DEFINITIONS.items():
        yield RegisterJobDefinition(_definition(name, family), REQUEST_BYTES), name
    for number, environment in enumerate(file.compute_environments):
        uuid = f"00000000-0000-4000-8000-{number:012x}"
        yield CreateComputeEnvironment(environment, uuid), f"computeEnvironments[{number}]"
    for number, policy in enumerate(file.scheduling_policies):
        yield CreateSchedulingPolicy(policy), f"schedulingPolicies[{number}]"
    for number, queue in enumerate(file.job_queues):
        yield CreateJobQueue(_with_own_arns(queue)), f"jobQueues[{number}]"
    for number, share in enumerate(file.quota_shares):
        yield CreateQuotaShare(share), f"quotaShares[{number}]"


def _with_own_arns(queue: shapes.CreateJobQueueRequest) -> shapes.CreateJobQueueRequest:
    """Files may come from another account: what an ARN names is what counts."""
    order = [
        msgspec.structs.replace(entry, compute_environment=entry.compute_environment.rpartition("/")[2])
        for entry in queue.compute_environment_order or ()
    ]
    policy = queue.scheduling_policy_arn
    own = ACCOUNT.arn(f"scheduling-policy/{policy.rpartition('/')[2]}") if policy else None
    return msgspec.structs.replace(queue, compute_environment_order=order or None, scheduling_policy_arn=own)


def _definition(name: str, family: str) -> shapes.RegisterJobDefinitionRequest:
    requirements = [
        shapes.ResourceRequirement(type="VCPU", value="1"),
        shapes.ResourceRequirement(type="MEMORY", value="2048"),
    ]
    return shapes.RegisterJobDefinitionRequest(
        job_definition_name=name,
        type="container",
        platform_capabilities=["FARGATE" if family == "FARGATE" else "EC2"],
        container_properties=shapes.ContainerProperties(
            image="program",
            resource_requirements=requirements,
            execution_role_arn="arn:aws:iam::123456789012:role/execution" if family == "FARGATE" else None,
        ),
    )


def definition_for(kernel: Kernel, queue: str) -> str:
    """The job definition whose jobs a queue takes."""
    order = kernel.state.queues[queue].detail.compute_environment_order or []
    names = [entry.compute_environment.rpartition("/")[2] for entry in order]
    families = {family_of(kernel.state.environments[name]) for name in names}
    return _DEFINITIONS["FARGATE" if "FARGATE" in families else "EC2"]


@contextmanager
def rare_collections() -> Iterator[None]:
    """A million records that live long make Python's collector of cycles look through them again and again; they have none."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
