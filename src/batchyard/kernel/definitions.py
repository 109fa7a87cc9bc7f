"""Job definitions: what may be registered, and what is stored of it.

Sources: model `RegisterJobDefinition`, `ContainerProperties`; User Guide "Job definition parameters" and "AWS Batch on
Fargate"; the texts are AWS's where they are known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from batchyard.kernel.container_resources import requirements_of, resources_of
from batchyard.kernel.identifiers import NAME, Account
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.retries import check_retry_strategy
from batchyard.kernel.tags import check_tags
from batchyard.shapes import batch as shapes

MAXIMUM_SIZE = 24 * 1024
_IMAGE = re.compile(r"[A-Za-z0-9_.:/#@-]{1,255}\Z")
_USER = re.compile(r"([a-z0-9_][a-z0-9_-]{0,30}|[0-9]+)(:([a-z0-9_][a-z0-9_-]{0,30}|[0-9]+))?\Z")
_FARGATE_LOG_DRIVERS = ("awslogs", "splunk")


def normalised(
    request: shapes.RegisterJobDefinitionRequest, size: int, account: Account, revision: int
) -> shapes.JobDefinition:
    """The definition to store, checked. `size` is the request's length in bytes. Raises `Refusal`."""
    name = request.job_definition_name
    check_definition_name(name)
    if size > MAXIMUM_SIZE:
        raise Refusal(f"Job definition size must be less than 24 KiB, got {-(-size // 1024)} KiB")
    check_tags(request.tags)
    check_retry_strategy(request.retry_strategy)
    check_timeout(request.timeout)
    check_scheduling_priority(request.scheduling_priority)
    container = _container_of(request)
    capabilities = _capabilities(request.platform_capabilities)
    check_container(container, fargate="FARGATE" in capabilities)
    return shapes.JobDefinition(
        job_definition_name=name,
        job_definition_arn=account.arn(f"job-definition/{name}:{revision}"),
        revision=revision,
        status="ACTIVE",
        type=request.type,
        scheduling_priority=request.scheduling_priority,
        parameters=request.parameters or {},
        retry_strategy=request.retry_strategy,
        container_properties=_with_defaults(container),
        timeout=request.timeout,
        tags=request.tags or {},
        propagate_tags=request.propagate_tags,
        platform_capabilities=list(request.platform_capabilities) if request.platform_capabilities else None,
        container_orchestration_type="ECS",
        consumable_resource_properties=request.consumable_resource_properties,
    )


def check_definition_name(name: str) -> None:
    if not NAME.match(name):
        raise Refusal(f"Provided name {name} is not supported pattern[a-zA-Z_0-9-]{{1,128}}")


def _container_of(request: shapes.RegisterJobDefinitionRequest) -> shapes.ContainerProperties:
    kinds = {
        "containerProperties": request.container_properties,
        "ecsProperties": request.ecs_properties,
        "eksProperties": request.eks_properties,
        "nodeProperties": request.node_properties,
    }
    given = [name for name, value in kinds.items() if value is not None]
    wanted = (
        ["nodeProperties"] if request.type == "multinode" else ["containerProperties", "ecsProperties", "eksProperties"]
    )
    if len(given) != 1 or given[0] not in wanted:
        raise Refusal(
            f"A job definition of type {request.type} must have exactly one of {', '.join(wanted)}; "
            f"got {', '.join(given) or 'none'}"
        )
    if request.container_properties is None:
        raise Refusal(f"{given[0]} cannot be run by this version of Batchyard; use containerProperties")
    return request.container_properties


def _capabilities(given: Sequence[str] | None) -> list[str]:
    capabilities = list(given or ["EC2"])
    if len(set(capabilities)) != len(capabilities):
        raise Refusal("platformCapabilities cannot name a platform twice")
    if "MANAGED_INSTANCES" in capabilities:
        raise Refusal("Platform capability MANAGED_INSTANCES requires ecsProperties")
    return capabilities


def check_timeout(timeout: shapes.JobTimeout | None) -> None:
    if timeout is None or timeout.attempt_duration_seconds is None:
        return
    if timeout.attempt_duration_seconds < 60:
        raise Refusal(
            f"Timeout attemptDurationSeconds must be at least 60 seconds, got {timeout.attempt_duration_seconds}"
        )
    if timeout.attempt_duration_seconds > 2**31 - 1:
        raise Refusal("Timeout attemptDurationSeconds must be less than 2147483648")


def check_scheduling_priority(priority: int | None) -> None:
    if priority is not None and not 0 <= priority <= 9999:
        raise Refusal(f"Scheduling priority must be between 0 and 9999, got {priority}")


def check_environment(environment: list[shapes.KeyValuePair] | None) -> None:
    for pair in environment or ():
        if not pair.name:
            raise Refusal("Environment variable name cannot be empty")
        if pair.name.startswith("AWS_BATCH"):
            raise Refusal(f"Environment variable name {pair.name} starts with the reserved prefix AWS_BATCH")
        if "=" in pair.name or "\0" in pair.name or "\0" in (pair.value or ""):
            raise Refusal(f"Environment variable {pair.name!r} contains a character that no environment can hold")


def check_command(command: list[str] | None) -> None:
    for element in command or ():
        if "\0" in element:
            raise Refusal("Container command cannot contain a NUL character")


def check_container(container: shapes.ContainerProperties, *, fargate: bool) -> None:
    """Raises `Refusal` for container properties that cannot be run."""
    if not container.image:
        raise Refusal("Container properties must have an image")
    if not _IMAGE.match(container.image):
        raise Refusal(f"Container image {container.image[:255]!r} does not match regex {_IMAGE.pattern[:-2]}")
    resources_of(requirements_of(container), fargate=fargate)
    check_command(container.command)
    check_environment(container.environment)
    if container.user is not None and not _USER.match(container.user):
        raise Refusal(f"User '{container.user}' does not match regex ^([a-z0-9_][a-z0-9_-]{{0,30}})$")
    _check_volumes(container)
    _check_ulimits(container)
    if fargate:
        _check_fargate(container)
    else:
        _check_ec2(container)


def _check_volumes(container: shapes.ContainerProperties) -> None:
    names: set[str] = set()
    for volume in container.volumes or ():
        if not volume.name or len(volume.name) > 255 or not re.match(r"[A-Za-z0-9_-]+\Z", volume.name):
            raise Refusal(f"Volume name {volume.name!r} must be 1 to 255 letters, numbers, hyphens and underscores")
        if volume.name in names:
            raise Refusal(f"Volume name {volume.name} is given twice")
        names.add(volume.name)
    for mount in container.mount_points or ():
        if not mount.container_path:
            raise Refusal("Mount point must have a containerPath")
        if mount.source_volume not in names:
            raise Refusal(f"Mount point {mount.container_path} refers to unknown volume {mount.source_volume}")


def _check_ulimits(container: shapes.ContainerProperties) -> None:
    names: set[str] = set()
    for ulimit in container.ulimits or ():
        if ulimit.name in names:
            raise Refusal(f"Ulimit {ulimit.name} is given twice")
        names.add(ulimit.name)
        if ulimit.soft_limit > ulimit.hard_limit >= 0:
            raise Refusal(f"Ulimit {ulimit.name}: softLimit {ulimit.soft_limit} is above hardLimit {ulimit.hard_limit}")


def _check_ec2(container: shapes.ContainerProperties) -> None:
    for member in ("network_configuration", "fargate_platform_configuration", "ephemeral_storage"):
        if getattr(container, member) is not None:
            raise Refusal(f"{_wire_name(member)} not applicable for EC2.")


def _check_fargate(container: shapes.ContainerProperties) -> None:
    if container.execution_role_arn is None:
        raise Refusal("executionRoleArn is required for Fargate.")
    if container.privileged:
        raise Refusal("privileged is not applicable for Fargate.")
    for member in ("vcpus", "memory", "ulimits", "instance_type"):
        if getattr(container, member):
            raise Refusal(f"{_wire_name(member)} is not applicable for Fargate.")
    for volume in container.volumes or ():
        if volume.host is not None and volume.host.source_path:
            raise Refusal("host.sourcePath is not applicable for Fargate.")
    for member in ("devices", "shared_memory_size", "tmpfs", "max_swap", "swappiness"):
        if container.linux_parameters is not None and getattr(container.linux_parameters, member):
            raise Refusal(f"linuxParameters.{_wire_name(member)} is not applicable for Fargate.")
    if container.log_configuration and container.log_configuration.log_driver not in _FARGATE_LOG_DRIVERS:
        raise Refusal(f"Log driver {container.log_configuration.log_driver} is not applicable for Fargate.")
    storage = container.ephemeral_storage
    if storage is not None and not 21 <= storage.size_in_gib <= 200:
        raise Refusal(f"ephemeralStorage sizeInGiB must be between 21 and 200, got {storage.size_in_gib}")


def _wire_name(member: str) -> str:
    first, *rest = member.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _with_defaults(container: shapes.ContainerProperties) -> shapes.ContainerProperties:
    """With the empty lists that AWS fills in. What the user sent stays as it is: redun compares it key by key."""
    return msgspec.structs.replace(
        container,
        **{
            member: getattr(container, member) or []
            for member in (
                "command",
                "volumes",
                "environment",
                "mount_points",
                "ulimits",
                "resource_requirements",
                "secrets",
            )
        },
    )
