"""A story with a queue `q` of container jobs that has quota shares."""

from __future__ import annotations

from typing import Any

from quota_story import create_share, policy, sharing, update_share
from story import SMALL, Story

from batchyard.kernel.commands import CreateComputeEnvironment, CreateSchedulingPolicy
from batchyard.shapes import batch as shapes

BORROW = sharing("LEND_AND_BORROW")
LEND = sharing("LEND")
RESERVE = sharing("RESERVE")
CROSS = "Cross-share preemption triggered to reclaim borrowed capacity"
IN_SHARE = "In-share preemption triggered by a job with a higher priority"
RETRIES = "batchyard:preemptionRetriesBeforeTermination"


def units(**most: int) -> list[shapes.QuotaShareCapacityLimit]:
    """`vcpu=4`: four vCPUs."""
    return [
        shapes.QuotaShareCapacityLimit(max_capacity=count, capacity_unit=unit.upper()) for unit, count in most.items()
    ]


class ContainerQuotaStory(Story):
    """The machine is large: 64 vCPU, 256 GiB, so that only the shares are a limit, unless the story says otherwise."""

    def __init__(self, *, vcpus: int = 64, memory: int = 262_144, max_vcpus: int | None = None, **more: Any) -> None:
        super().__init__(vcpus=vcpus, memory=memory, bare=True, **more)
        quota = shapes.QuotaSharePolicy(idle_resource_assignment_strategy="FIFO")
        self.tell(CreateSchedulingPolicy(shapes.CreateSchedulingPolicyRequest(name="quota", quota_share_policy=quota)))
        self.environment("ce", max_vcpus=max_vcpus or vcpus)
        self.queue("q", ["ce"], scheduling_policy_arn=policy())
        self.definition("work")

    def fargate_environment(self, name: str, max_vcpus: int) -> None:
        resources = shapes.ComputeResource(
            type="FARGATE", max_vcpus=max_vcpus, subnets=["subnet"], security_group_ids=["sg"]
        )
        request = shapes.CreateComputeEnvironmentRequest(
            compute_environment_name=name, type="MANAGED", compute_resources=resources
        )
        self.tell(CreateComputeEnvironment(request, f"uuid-{name}"))
        self.pass_time(0.01)

    def share(self, name: str, configuration: Any = LEND, *, in_share: Any = "DISABLED", **most: int) -> None:
        """Creates a quota share, of 4 vCPU unless told otherwise."""
        self.tell(
            create_share(
                name,
                capacity_limits=units(**(most or {"vcpu": 4})),
                resource_sharing_configuration=configuration,
                preemption_configuration=shapes.QuotaSharePreemptionConfiguration(in_share_preemption=in_share),
            )
        )
        self.pass_time(0.01)

    def change_share(self, name: str, **members: Any) -> None:
        self.tell(update_share(name, **members))
        self.pass_time(0.01)

    def work(
        self, label: str, share: str, vcpus: int = 1, *, priority: int | None = None, gpus: int = 0, **more: Any
    ) -> None:
        """Submits a job, whose name is the story's label, and lets it begin if it can. `preemptions`: how often it may be
        preempted."""
        preemptions = more.pop("preemptions", None)
        memory = more.pop("memory", SMALL)
        needs = {"VCPU": vcpus, "MEMORY": memory} | ({"GPU": gpus} if gpus else {})
        self.submit(
            label,
            share_identifier=share,
            scheduling_priority_override=priority,
            tags={RETRIES: str(preemptions)} if preemptions is not None else None,
            overrides=shapes.ContainerOverrides(
                resource_requirements=[
                    shapes.ResourceRequirement(type=kind, value=str(count))  # type: ignore[arg-type]
                    for kind, count in needs.items()
                ]
            ),
            **more,
        )
        self.begin_all()

    def begin_all(self) -> None:
        """Whatever has been ordered runs."""
        for job in list(self.kernel.state.tasks.values()):
            if job.status.name == "STARTING":
                self.begin(self.label(job.id))

    def end(self, label: str, code: int | None = 0) -> None:
        """The job's task ends, and what starts then runs."""
        self.exit(label, code)
        self.begin_all()

    def running(self) -> list[str]:
        """The jobs that have been ordered, by label, in the order of their submission."""
        return [self.label(job.id) for job in sorted(self.kernel.state.tasks.values(), key=lambda job: job.seq)]

    def stopped(self) -> list[str]:
        """The labels of those that have been told to stop since the last call."""
        return [order.partition("#")[0] for order in self.given("stop")]
