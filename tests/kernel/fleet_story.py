"""A story on a machine of 64 vCPU and 256 GiB whose environments launch instances."""

from __future__ import annotations

from typing import Any

from story import Story

from batchyard.kernel.records import Instance, InstanceDetail


class Fleet(Story):
    """No environment and no queue exist until the story makes them."""

    def __init__(self, *, vcpus: int = 64, memory: int = 262_144, gpus: int = 0, **settings: Any) -> None:
        super().__init__(vcpus=vcpus, memory=memory, gpus=gpus, bare=True, **{"slices": False, **settings})
        self.definition("work")

    @property
    def launched(self) -> list[Instance]:
        """Those that are not terminated, the oldest first."""
        return [instance for instance in self.kernel.state.instances.values() if instance.detail is not None]

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
