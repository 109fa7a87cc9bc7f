"""`eksPropertiesOverride` over `eksProperties`, container by container.

Sources: model `EksPropertiesOverride`, `EksContainerOverride`, `EksPodPropertiesDetail`. `Ref::` is for commands of ECS
containers alone: a pod has Kubernetes' own `$(NAME)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from batchyard.kernel.definitions.eks import DEFAULT_NAME, check_pod
from batchyard.kernel.definitions.eks_resources import pod_resources
from batchyard.kernel.resources import Resources
from batchyard.kernel.submission.merging import by_name, merged_environment, shown_as
from batchyard.shapes import batch as shapes


def merged_eks(
    definition: shapes.EksProperties, override: shapes.EksPropertiesOverride | None
) -> tuple[shapes.EksProperties, Resources]:
    """The pod with its overrides, and what it needs. Raises `Refusal`."""
    pod = definition.pod_properties
    assert pod is not None
    given = (override.pod_properties if override else None) or shapes.EksPodPropertiesOverride()
    containers = _merged_containers(pod.containers or [], given.containers, "containers")
    init_containers = _merged_containers(pod.init_containers or [], given.init_containers, "initContainers")
    merged = msgspec.structs.replace(
        pod,
        containers=containers,
        init_containers=init_containers,
        metadata=_merged_metadata(pod.metadata, given.metadata),
    )
    check_pod(merged)
    return shapes.EksProperties(pod_properties=merged), pod_resources(containers, init_containers)


def _merged_containers(
    containers: Sequence[shapes.EksContainer], overrides: Sequence[shapes.EksContainerOverride] | None, member: str
) -> list[shapes.EksContainer]:
    names = [container.name or DEFAULT_NAME for container in containers]
    chosen = by_name(overrides, names, f"eksPropertiesOverride {member}")
    return [_merged(container, chosen.get(name)) for container, name in zip(containers, names, strict=True)]


def _merged(container: shapes.EksContainer, override: shapes.EksContainerOverride | None) -> shapes.EksContainer:
    if override is None:
        return container
    return msgspec.structs.replace(
        container,
        image=override.image or container.image,
        command=override.command or container.command,
        args=override.args or container.args,
        env=merged_environment(container.env, override.env),
        resources=_merged_resources(container.resources, override.resources),
    )


def _merged_resources(
    given: shapes.EksContainerResourceRequirements | None, override: shapes.EksContainerResourceRequirements | None
) -> shapes.EksContainerResourceRequirements | None:
    """What the submission says of a resource, be it limit or request, stands for all that the definition says of it."""
    if override is None or not (override.limits or override.requests):
        return given
    given = given or shapes.EksContainerResourceRequirements()
    named = {*(override.limits or ()), *(override.requests or ())}
    return shapes.EksContainerResourceRequirements(
        limits=_replaced(given.limits, override.limits, named),
        requests=_replaced(given.requests, override.requests, named),
    )


def _replaced(given: Mapping[str, str] | None, override: Mapping[str, str] | None, named: set[str]) -> dict[str, str]:
    return {kind: text for kind, text in (given or {}).items() if kind not in named} | dict(override or {})


def _merged_metadata(
    given: shapes.EksMetadata | None, override: shapes.EksMetadata | None
) -> shapes.EksMetadata | None:
    if given is None or override is None:
        return given or override
    return shapes.EksMetadata(
        labels=_merged_map(given.labels, override.labels),
        annotations=_merged_map(given.annotations, override.annotations),
        namespace=given.namespace if override.namespace is None else override.namespace,
    )


def _merged_map(given: dict[str, str] | None, override: dict[str, str] | None) -> dict[str, str] | None:
    return given if override is None else {**(given or {}), **override}


def eks_detail(properties: shapes.EksProperties) -> shapes.EksPropertiesDetail:
    """As DescribeJobs shows it: each container has a name, by which attempts refer to it."""
    pod = properties.pod_properties
    assert pod is not None
    detail = shown_as(
        shapes.EksPodPropertiesDetail,
        pod,
        containers=_details(pod.containers),
        init_containers=_details(pod.init_containers),
    )
    return shapes.EksPropertiesDetail(pod_properties=detail)


def _details(containers: Sequence[shapes.EksContainer] | None) -> list[shapes.EksContainerDetail]:
    return [
        shown_as(shapes.EksContainerDetail, container, name=container.name or DEFAULT_NAME)
        for container in containers or ()
    ]
