"""One EC2 instance type."""

from __future__ import annotations

from typing import Literal

import msgspec

Architecture = Literal["x86_64", "arm64"]


class InstanceType(msgspec.Struct, frozen=True):
    """Figures of EC2's DescribeInstanceTypes, prices of us-east-1 for Linux; see docs/reference/instance-types.md."""

    name: str
    """`c6i.large`."""
    vcpus: int
    memory: int
    """MiB, as EC2 states it."""
    schedulable_memory: int
    """MiB that jobs can have: what the kernel of the machine sees, less the 32 MiB that the container agent keeps.

    Source: User Guide "Compute resource memory management"; the formula is in docs/reference/instance-types.md.
    """
    gpus: int
    """NVIDIA GPUs: AWS Batch hands out no others. A part of a GPU counts as one."""
    gpu_model: str | None
    """`A100`; none where there is no GPU that a job can ask for."""
    architecture: Architecture
    current_generation: bool
    on_demand_price: float
    """US dollars an hour."""
    spot_price: float
    """A typical Spot price, US dollars an hour; never above the on-demand price."""

    @property
    def family(self) -> str:
        """`c6i` of `c6i.large`."""
        return self.name.partition(".")[0]

    @property
    def bare_metal(self) -> bool:
        return self.name.partition(".")[2].startswith("metal")
