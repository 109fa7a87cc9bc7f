"""What a container asks for: vCPUs, memory and GPUs, in the old spelling and in the new one.

Sources: model `ResourceRequirement`, User Guide "Job definition parameters" and "AWS Batch on Fargate".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from batchyard.kernel.records import Resources
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

_WHOLE = re.compile(r"[0-9]{1,9}\Z")
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?\Z")


def _steps(first: int, last: int, step: int) -> frozenset[int]:
    return frozenset(range(first, last + 1, step))


FARGATE_SIZES: dict[int, frozenset[int]] = {
    250: frozenset((512, 1024, 2048)),
    500: _steps(1024, 4096, 1024),
    1000: _steps(2048, 8192, 1024),
    2000: _steps(4096, 16384, 1024),
    4000: _steps(8192, 30720, 1024),
    8000: _steps(16384, 61440, 4096),
    16000: _steps(32768, 122880, 8192),
    32000: frozenset((61440, 122880, 249856)),
}
"""MiB of memory that may go with each number of milli-vCPUs."""


def requirements_of(container: shapes.ContainerProperties | shapes.ContainerDetail) -> dict[str, str]:
    """VCPU, MEMORY and GPU as texts, whichever spelling was used. Raises `Refusal` for a type named twice, in either
    spelling."""
    found: dict[str, str] = {}
    for requirement in container.resource_requirements or ():
        if requirement.type in found:
            raise Refusal(f"Container resource requirements name {requirement.type} more than once")
        found[requirement.type] = requirement.value
    for type_, old in (("VCPU", container.vcpus), ("MEMORY", container.memory)):
        if not old:
            continue
        if type_ in found:
            raise Refusal(
                f"Container property {_old_name(type_)} and resource requirement {type_} cannot both be given"
            )
        found[type_] = str(old)
    return found


def _old_name(type_: str) -> str:
    return "vcpus" if type_ == "VCPU" else "memory"


def resources_of(requirements: dict[str, str], *, fargate: bool) -> Resources:
    """The quantities, checked. Raises `Refusal` for a missing, malformed or impossible one."""
    for type_ in ("VCPU", "MEMORY"):
        if type_ not in requirements:
            raise Refusal(f"Container resource requirements must name {type_}")
    memory = _whole("MEMORY", requirements["MEMORY"], least=4)
    gpus = _whole("GPU", requirements["GPU"], least=1) if "GPU" in requirements else 0
    text = requirements["VCPU"]
    if not fargate:
        return Resources(1000 * _whole("VCPU", text, least=1), memory, gpus)
    if not _DECIMAL.match(text):
        raise Refusal(f"Container resource requirement VCPU must be a number, got {text!r}")
    vcpus = Decimal(text)
    if int(vcpus * 1000) not in FARGATE_SIZES or memory not in FARGATE_SIZES[int(vcpus * 1000)]:
        raise Refusal(f"Fargate resource requirements ({vcpus:.2f} vCPU, {memory} MiB) not valid.")
    if gpus:
        raise Refusal("GPU is not applicable for Fargate.")
    return Resources(int(vcpus * 1000), memory, 0)


def _whole(type_: str, text: str, least: int) -> int:
    if not _WHOLE.match(text) or int(text) < least:
        raise Refusal(
            f"Container resource requirement {type_} must be a whole number of at least {least}, got {text!r}"
        )
    return int(text)


def overridden(
    requirements: dict[str, str],
    definition: shapes.ContainerProperties,
    overrides: shapes.ContainerOverrides,
) -> dict[str, str]:
    """The requirements after a submission's overrides: entries replace by type; the deprecated keys take effect only where
    the definition used them too."""
    in_new_spelling = {requirement.type for requirement in definition.resource_requirements or ()}
    merged = dict(requirements)
    for type_, old in (("VCPU", overrides.vcpus), ("MEMORY", overrides.memory)):
        if old and type_ not in in_new_spelling:
            merged[type_] = str(old)
    named: set[str] = set()
    for requirement in overrides.resource_requirements or ():
        if requirement.type in named:
            raise Refusal(f"Container override names resource requirement {requirement.type} more than once")
        named.add(requirement.type)
        merged[requirement.type] = requirement.value
    return merged


def as_requirements(requirements: dict[str, str]) -> list[shapes.ResourceRequirement]:
    """The list that DescribeJobs shows."""
    order: Iterable[str] = (type_ for type_ in ("VCPU", "MEMORY", "GPU") if type_ in requirements)
    return [shapes.ResourceRequirement(type=type_, value=requirements[type_]) for type_ in order]  # type: ignore[arg-type]
