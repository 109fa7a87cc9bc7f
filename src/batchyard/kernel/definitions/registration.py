"""RegisterJobDefinition: the request checked, and made into what DescribeJobDefinitions will show.

What the caller sent stays as it is; only empty lists and the few defaults that AWS fills in are added, because clients
compare a definition with the one that they are about to register (redun key by key, Terraform member by member).

Sources: model `RegisterJobDefinition`, `JobDefinition`; User Guide "Job definition parameters"; the texts are AWS's where
they are known.
"""

from __future__ import annotations

from batchyard.kernel.definitions.ecs import check_ecs, ecs_with_defaults
from batchyard.kernel.definitions.eks import check_eks, eks_with_defaults
from batchyard.kernel.definitions.job_settings import (
    check_consumable_resources,
    check_scheduling_priority,
    check_timeout,
)
from batchyard.kernel.definitions.nodes import check_nodes, nodes_are_pods, nodes_with_defaults
from batchyard.kernel.definitions.platforms import check_capabilities, not_applicable, platforms_of
from batchyard.kernel.definitions.single_container import check_container, container_with_defaults
from batchyard.kernel.identifiers import NAME, Account
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.retries import check_retry_strategy
from batchyard.kernel.tags import check_tags
from batchyard.shapes import batch as shapes

MAXIMUM_SIZE = 24 * 1024


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
    check_consumable_resources(request.consumable_resource_properties)
    _check_block(request)
    container, ecs, eks, nodes = (
        request.container_properties,
        request.ecs_properties,
        request.eks_properties,
        request.node_properties,
    )
    return shapes.JobDefinition(
        job_definition_name=name,
        job_definition_arn=account.arn(f"job-definition/{name}:{revision}"),
        revision=revision,
        status="ACTIVE",
        type=request.type,
        scheduling_priority=request.scheduling_priority,
        parameters=request.parameters or {},
        retry_strategy=request.retry_strategy,
        container_properties=container and container_with_defaults(container, platforms_of(request)),
        ecs_properties=ecs and ecs_with_defaults(ecs, platforms_of(request)),
        eks_properties=eks and eks_with_defaults(eks),
        node_properties=nodes and nodes_with_defaults(nodes),
        timeout=request.timeout,
        tags=request.tags or {},
        propagate_tags=request.propagate_tags,
        platform_capabilities=list(request.platform_capabilities) if request.platform_capabilities else None,
        container_orchestration_type="EKS" if eks or (nodes and nodes_are_pods(nodes)) else "ECS",
        consumable_resource_properties=request.consumable_resource_properties,
    )


def check_definition_name(name: str) -> None:
    """Raises `Refusal` for what cannot be the name of a job definition."""
    if not NAME.match(name):
        raise Refusal(f"Provided name {name} is not supported pattern[a-zA-Z_0-9-]{{1,128}}")


def _check_block(request: shapes.RegisterJobDefinitionRequest) -> None:
    """The one block of properties that a definition has, for the platforms that it names."""
    block = _name_of_block(request)
    check_capabilities(request.platform_capabilities, block)
    platforms = platforms_of(request)
    if request.container_properties is not None:
        check_container(request.container_properties, platforms)
    elif request.ecs_properties is not None:
        check_ecs(request.ecs_properties, platforms)
    elif request.eks_properties is not None:
        _check_no_ecs_members(request)
        check_eks(request.eks_properties)
    elif request.node_properties is not None:
        if nodes_are_pods(request.node_properties):
            _check_no_ecs_members(request)
        check_nodes(request.node_properties)


def _check_no_ecs_members(request: shapes.RegisterJobDefinitionRequest) -> None:
    not_applicable(
        "EKS", platformCapabilities=request.platform_capabilities, propagateTags=request.propagate_tags or None
    )


def _name_of_block(request: shapes.RegisterJobDefinitionRequest) -> str:
    blocks = {
        "containerProperties": request.container_properties,
        "ecsProperties": request.ecs_properties,
        "eksProperties": request.eks_properties,
        "nodeProperties": request.node_properties,
    }
    given = [name for name, value in blocks.items() if value is not None]
    wanted = (
        ["nodeProperties"] if request.type == "multinode" else ["containerProperties", "ecsProperties", "eksProperties"]
    )
    if len(given) != 1 or given[0] not in wanted:
        raise Refusal(
            f"A job definition of type {request.type} must have exactly one of {', '.join(wanted)}; "
            f"got {', '.join(given) or 'none'}"
        )
    return given[0]
