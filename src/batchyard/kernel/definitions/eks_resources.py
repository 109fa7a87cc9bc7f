"""What a container of a pod asks for: `cpu`, `memory` and `nvidia.com/gpu`, as limits and requests.

Source: model `EksContainerResourceRequirements`. cpu goes by quarters and its limit may be above the request; memory is in
whole MiB with the suffix `Mi`, and like GPUs it has one value for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.shapes import batch as shapes

CPU, MEMORY, GPU = "cpu", "memory", "nvidia.com/gpu"
_KINDS = (CPU, MEMORY, GPU)
_CPU = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?\Z")
_MEMORY = re.compile(r"([0-9]{1,9})Mi\Z")
_WHOLE = re.compile(r"[0-9]{1,6}\Z")


def check_pod_resources(
    containers: Sequence[shapes.EksContainer], init_containers: Sequence[shapes.EksContainer]
) -> None:
    """Raises `Refusal` for quantities that are malformed or contradict each other, and where cpu or memory is missing."""
    for container in containers:
        resources = _checked(container)
        for kind in (CPU, MEMORY):
            if kind not in resources:
                raise Refusal(f"Container {container.name or 'Default'} must have {kind} in its resources")
    for container in init_containers:
        _checked(container)


def pod_resources(
    containers: Iterable[shapes.EksContainer], init_containers: Iterable[shapes.EksContainer]
) -> Resources:
    """What a pod needs: all its containers together, and no less than each of those that run before them, one by one."""
    together = sum((_resources_of(_checked(container)) for container in containers), start=NOTHING)
    before = [_resources_of(_checked(container)) for container in init_containers]
    return Resources(
        max([together.milli_vcpus, *(each.milli_vcpus for each in before)]),
        max([together.memory, *(each.memory for each in before)]),
        max([together.gpus, *(each.gpus for each in before)]),
    )


def _checked(container: shapes.EksContainer) -> dict[str, int]:
    """What is requested (a limit alone is the request too): milli-vCPUs, MiB, GPUs. Raises `Refusal`."""
    given = container.resources or shapes.EksContainerResourceRequirements()
    limits, requests = _parsed(given.limits, "limits"), _parsed(given.requests, "requests")
    for kind in limits.keys() & requests.keys():
        if kind == CPU and limits[kind] < requests[kind]:
            raise Refusal(f"The limit of cpu ({given.limits[kind]}) is below the request ({given.requests[kind]})")  # type: ignore[index]
        if kind != CPU and limits[kind] != requests[kind]:
            raise Refusal(f"The limit and the request of {kind} must be equal")
    return limits | requests


def _parsed(quantities: Mapping[str, str] | None, where: str) -> dict[str, int]:
    parsed: dict[str, int] = {}
    for kind, text in (quantities or {}).items():
        if kind not in _KINDS:
            raise Refusal(f"Resource {kind[:100]!r} in {where} is not one of {', '.join(_KINDS)}")
        parsed[kind] = _quantity(kind, text)
    return parsed


def _quantity(kind: str, text: str) -> int:
    if kind == CPU:
        milli_vcpus = int(Decimal(text) * 1000) if _CPU.match(text) else 0
        if milli_vcpus < 250 or milli_vcpus % 250:
            raise Refusal(f"Resource cpu must be a multiple of 0.25, got {text[:100]!r}")
        return milli_vcpus
    if kind == MEMORY:
        match = _MEMORY.match(text)
        if match is None or int(match[1]) < 4:
            raise Refusal(
                f"Resource memory must be a whole number of at least 4 MiB, with the suffix Mi, got {text[:100]!r}"
            )
        return int(match[1])
    if not _WHOLE.match(text):
        raise Refusal(f"Resource {kind} must be a whole number, got {text[:100]!r}")
    return int(text)


def _resources_of(quantities: Mapping[str, int]) -> Resources:
    return Resources(quantities.get(CPU, 0), quantities.get(MEMORY, 0), quantities.get(GPU, 0))
