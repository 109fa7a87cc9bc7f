"""A story on a machine of 64 vCPU and 256 GiB whose environments launch instances."""

from __future__ import annotations

from typing import Any

from story import Story

from batchyard.kernel.commands import CreateComputeEnvironment, RegisterHost
from batchyard.kernel.records import Instance, InstanceDetail
from batchyard.shapes import batch as shapes


class Fleet(Story):
    """No environment and no queue exist until the story makes them."""

    def __init__(self, *, vcpus: int = 64, memory: int = 262_144, gpus: int = 0, **settings: Any) -> None:
        super().__init__(vcpus=vcpus, memory=memory, gpus=gpus, bare=True, **{"slices": False, **settings})
        self.definition("work")

    @property
    def launched(self) -> list[Instance]:
        """Those that are not terminated, the oldest first."""
        return [instance for instance in self.kernel.state.instances.values() if instance.detail is not None]

    def unmanaged(self, name: str = "ce", vcpus: int | None = None) -> None:
        """An UNMANAGED compute environment."""
        request = shapes.CreateComputeEnvironmentRequest(
            compute_environment_name=name, type="UNMANAGED", unmanaged_vcpus=vcpus, service_role="role"
        )
        self.tell(CreateComputeEnvironment(request, f"uuid-{name}"))
        self.pass_time(0.01)

    def fargate(self, name: str, *, spot: bool = False, vcpus: int = 16) -> None:
        """A Fargate compute environment: each task has a slice of the machine."""
        resources = shapes.ComputeResource(
            type="FARGATE_SPOT" if spot else "FARGATE",
            max_vcpus=vcpus,
            subnets=["subnet"],
            security_group_ids=["group"],
        )
        request = shapes.CreateComputeEnvironmentRequest(
            compute_environment_name=name, type="MANAGED", compute_resources=resources
        )
        self.tell(CreateComputeEnvironment(request, f"uuid-{name}"))
        self.pass_time(0.01)

    def register(
        self, name: str, *, environment: str = "ce", vcpus: int = 2, memory: int = 4096, gpus: int = 0
    ) -> InstanceDetail:
        """Registers a host."""
        detail: InstanceDetail = self.tell(
            RegisterHost(name=name, environment=environment, vcpus=vcpus, memory=memory, gpus=gpus)
        )
        return detail

    def hosts(self) -> dict[str, str | None]:
        """Why each host drains, by name; None: it takes jobs."""
        return {each.name: each.draining for each in self._details() if each.name is not None}

    def fleet(self, environment: str = "ce") -> list[str]:
        """The instance types that run or boot, with those that are not plainly running marked."""
        return [
            f"{each.instance_type}" + ("" if each.state == "running" and not each.draining else f" {self._mark(each)}")
            for each in self._details()
            if each.environment == environment
        ]

    def _mark(self, detail: InstanceDetail) -> str:
        return "draining" if detail.draining else detail.state

    def _details(self) -> list[InstanceDetail]:
        return [instance.detail for instance in self.launched if instance.detail is not None]

    def host(self, label: str) -> str:
        """The instance type that a job runs on."""
        found = self.kernel.state.find(self.id(label))
        assert found is not None
        job = found[0]
        assert job.task is not None
        detail = self.kernel.state.instances[job.task.instance].detail
        assert detail is not None
        return detail.instance_type or detail.name or ""

    def desired(self, environment: str = "ce") -> int | None:
        """`desiredvCpus`."""
        resources = self.kernel.state.environments[environment].detail.compute_resources
        return resources.desired_vcpus if resources is not None else None
