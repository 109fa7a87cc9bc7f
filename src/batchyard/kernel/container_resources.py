"""What containers ask for: vCPUs, memory and GPUs, in the old spelling and in the new one.

Sources: model `ResourceRequirement`, User Guide "Job definition parameters" and "AWS Batch on Fargate".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import NOTHING, Resources
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


def requirements_of(container: shapes.ContainerProperties) -> dict[str, str]:
    """VCPU, MEMORY and GPU as texts, whichever spelling was used. Raises `Refusal` for a type named twice, in either
    spelling."""
    found = named_requirements(container.resource_requirements)
    for type_, old in (("VCPU", container.vcpus), ("MEMORY", container.memory)):
        if not old:
            continue
        if type_ in found:
            raise Refusal(
                f"Container property {_old_name(type_)} and resource requirement {type_} cannot both be given"
            )
        found[type_] = str(old)
    return found


def named_requirements(
    requirements: Sequence[shapes.ResourceRequirement] | None, subject: str = "Container resource requirements name"
) -> dict[str, str]:
    """Requirements by type. Raises `Refusal` for a type named twice."""
    found: dict[str, str] = {}
    for requirement in requirements or ():
        if requirement.type in found:
            raise Refusal(f"{subject} {requirement.type} more than once")
        found[requirement.type] = requirement.value
    return found


def _old_name(type_: str) -> str:
    return "vcpus" if type_ == "VCPU" else "memory"


def resources_of(requirements: Mapping[str, str], *, fargate: bool) -> Resources:
    """The quantities of a container that is alone in its task, checked. Raises `Refusal` for a missing, malformed or
    impossible one."""
    resources = _quantities(requirements, fargate=fargate)
    if fargate:
        _check_fargate_size(resources)
    return resources


def task_resources(containers: Iterable[shapes.TaskContainerProperties], *, fargate: bool) -> Resources:
    """The quantities of all containers of a task together, checked. On Fargate it is their sum that must be a size that
    there is. Raises `Refusal`."""
    each = [
        _quantities(named_requirements(container.resource_requirements), fargate=fargate) for container in containers
    ]
    resources = sum(each, start=NOTHING)
    if fargate:
        _check_fargate_size(resources)
    return resources


def _quantities(requirements: Mapping[str, str], *, fargate: bool) -> Resources:
    if "VCPU" not in requirements:
        raise Refusal("vCPU is not provided.")
    milli_vcpus = _milli_vcpus(requirements["VCPU"], fargate=fargate)
    if "MEMORY" not in requirements:
        vcpus = Decimal(milli_vcpus) / 1000
        raise Refusal(
            f"Fargate resource requirements ({vcpus:.2f} vCPU) not valid" if fargate else "Memory is not provided."
        )
    memory = _whole("MEMORY", requirements["MEMORY"], least=4)
    gpus = _whole("GPU", requirements["GPU"], least=1) if "GPU" in requirements else 0
    if gpus and fargate:
        raise Refusal("GPU is not applicable for Fargate.")
    return Resources(milli_vcpus, memory, gpus)


def _milli_vcpus(text: str, *, fargate: bool) -> int:
    if not fargate:
        return 1000 * _whole("VCPU", text, least=1)
    if not _DECIMAL.match(text):
        raise _not_numeric("VCPU", text)
    return int(Decimal(text) * 1000)


def _check_fargate_size(resources: Resources) -> None:
    if resources.memory not in FARGATE_SIZES.get(resources.milli_vcpus, ()):
        vcpus = Decimal(resources.milli_vcpus) / 1000
        raise Refusal(f"Fargate resource requirements ({vcpus:.2f} vCPU, {resources.memory} MiB) not valid.")


def _whole(type_: str, text: str, least: int) -> int:
    if not _WHOLE.match(text):
        raise _not_numeric(type_, text)
    if int(text) < least:
        raise Refusal(
            f"Container resource requirement {type_} must be a whole number of at least {least}, got {text!r}"
        )
    return int(text)


def _not_numeric(type_: str, text: str) -> Refusal:
    return Refusal(
        f"Value {text[:100]} for type {type_} in resourceRequirement is not valid. Please provide a numeric value."
    )


def overridden(
    requirements: Mapping[str, str], overrides: Sequence[shapes.ResourceRequirement] | None
) -> dict[str, str]:
    """The requirements after a submission's: entries replace by type."""
    return {**requirements, **named_requirements(overrides, "Container override names resource requirement")}


def as_requirements(requirements: Mapping[str, str]) -> list[shapes.ResourceRequirement]:
    """The list that DescribeJobs shows."""
    order: Iterable[str] = (type_ for type_ in ("VCPU", "MEMORY", "GPU") if type_ in requirements)
    return [shapes.ResourceRequirement(type=type_, value=requirements[type_]) for type_ in order]  # type: ignore[arg-type]
