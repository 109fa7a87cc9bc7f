"""A kernel in virtual time, with an engine that does what it is told: for benchmarks of what it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.kernel.commands import (
    Command,
    CreateComputeEnvironment,
    CreateJobQueue,
    CreateSchedulingPolicy,
    RegisterJobDefinition,
    SubmitJob,
)
from batchyard.kernel.effects import Effects
from batchyard.kernel.identifiers import Account
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import Settings
from batchyard.shapes import batch as shapes

NOON = 1_700_000_000_000
ACCOUNT = Account(region="us-east-1", account_id="000000000000")


class Yard:
    """One large machine, a job definition, and whatever environments and queues are made."""

    def __init__(self, vcpus: int) -> None:
        self.now = NOON
        self.kernel = Kernel(Settings(account=ACCOUNT, idle_seconds=3600))
        self.kernel.add_machine("local", Resources(1000 * vcpus, 16_384 * vcpus), 0)
        self.submitted = 0
        properties = shapes.ContainerProperties(
            image="busybox", command=["true"], resource_requirements=_needs(Resources(1000, 128))
        )
        request = shapes.RegisterJobDefinitionRequest(
            job_definition_name="work", type="container", container_properties=properties
        )
        self.definition: str = self.tell(RegisterJobDefinition(request, 100)).job_definition_arn

    def tell(self, command: Command) -> Any:
        return self.kernel.apply(command, self.now)

    def step(self) -> Effects:
        self.kernel.step(self.now)
        return self.kernel.take_effects()

    def environment(self, name: str, *, max_vcpus: int, types: Sequence[str] = ("c6i",), slices: bool = False) -> None:
        """An environment that launches instances, or one that gives each job a slice of the machine."""
        resources = shapes.ComputeResource(
            type="EC2",
            allocation_strategy="BEST_FIT_PROGRESSIVE",
            min_vcpus=0,
            max_vcpus=max_vcpus,
            instance_types=list(types),
            instance_role="role",
            subnets=["subnet"],
        )
        request = shapes.CreateComputeEnvironmentRequest(
            compute_environment_name=name,
            type="MANAGED",
            compute_resources=resources,
            tags={"batchyard:capacity": "slices" if slices else "instances"},
        )
        self.tell(CreateComputeEnvironment(request, f"uuid-{name}"))
        self._settle()

    def fair_queue(
        self,
        name: str,
        environment: str,
        *,
        weights: Mapping[str, float] = {},
        decay: int = 0,
        reservation: int = 0,
        priority: int = 1,
    ) -> None:
        entries = [shapes.ShareAttributes(share_identifier=share, weight_factor=w) for share, w in weights.items()]
        policy = shapes.FairsharePolicy(
            share_decay_seconds=decay, compute_reservation=reservation, share_distribution=entries
        )
        made = self.tell(
            CreateSchedulingPolicy(shapes.CreateSchedulingPolicyRequest(name=name, fairshare_policy=policy))
        )
        order = [shapes.ComputeEnvironmentOrder(order=1, compute_environment=environment)]
        request = shapes.CreateJobQueueRequest(
            job_queue_name=name,
            priority=priority,
            compute_environment_order=order,
            scheduling_policy_arn=made.arn,
        )
        self.tell(CreateJobQueue(request))
        self._settle()

    def submit(self, queue: str, share: str, needs: Resources) -> str:
        self.submitted += 1
        request = shapes.SubmitJobRequest(
            job_name="job",
            job_queue=queue,
            job_definition="work",
            share_identifier=share,
            container_overrides=shapes.ContainerOverrides(resource_requirements=_needs(needs)),
        )
        job_id = job_id_of(self.submitted)
        self.tell(SubmitJob(request=request, job_id=job_id, size=100, facts={}))
        return job_id

    def _settle(self) -> None:
        """What is created becomes VALID."""
        self.now += 10
        self.step()


def job_id_of(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def _needs(needs: Resources) -> list[shapes.ResourceRequirement]:
    return [
        shapes.ResourceRequirement(type="VCPU", value=str(needs.milli_vcpus // 1000)),
        shapes.ResourceRequirement(type="MEMORY", value=str(needs.memory)),
    ]
