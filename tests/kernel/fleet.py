"""A small table of instance types with round numbers, for tests of allocation."""

from __future__ import annotations

from batchyard.catalogue import InstanceType
from batchyard.kernel.resources import Resources
from batchyard.kernel.scaling.plans import Demand, Plan

GIB_BY_VCPU = {"c": 2, "m": 4, "r": 8, "g": 4}
PRICE_OF_VCPU = {"c": 0.05, "m": 0.06, "r": 0.08, "g": 0.15}
SIZES = {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "24xlarge": 96}
KEPT_BACK = 100
"""MiB by vCPU that jobs can't have."""


def instance_type(name: str) -> InstanceType:
    """`c.large` and so on: of GPU types, one GPU for 4 vCPU."""
    family, _, size = name.partition(".")
    vcpus = SIZES[size]
    memory = 1024 * GIB_BY_VCPU[family] * vcpus
    price = PRICE_OF_VCPU[family] * vcpus
    gpus = vcpus // 4 if family == "g" else 0
    return InstanceType(
        name=name,
        vcpus=vcpus,
        memory=memory,
        schedulable_memory=memory - KEPT_BACK * vcpus,
        gpus=gpus,
        gpu_model="T4" if gpus else None,
        architecture="x86_64",
        current_generation=True,
        on_demand_price=price,
        spot_price=round(price * (0.5 if family == "r" else 0.4), 4),
    )


def types_of(names: str) -> list[InstanceType]:
    """Names of types, and of families for all their sizes, between spaces."""
    expanded = (
        [name] if "." in name else [f"{name}.{size}" for size in SIZES if name != "g" or SIZES[size] >= 4]
        for name in names.split()
    )
    return [instance_type(name) for names_of_one in expanded for name in names_of_one]


def jobs(count: int, vcpus: float, gib: float, gpus: int = 0) -> Demand:
    return Demand(Resources(int(1000 * vcpus), int(1024 * gib), gpus), count)


def nodes(count: int, vcpus: float, gib: float, *, together: int) -> Demand:
    return Demand(Resources(int(1000 * vcpus), int(1024 * gib)), count, exclusive=True, together=together)


def room(vcpus: float, gib: float, gpus: int = 0) -> Resources:
    return Resources(int(1000 * vcpus), int(1024 * gib), gpus)


def launches(plan: Plan) -> dict[str, int]:
    return {launch.type.name: launch.count for launch in plan.launches}
