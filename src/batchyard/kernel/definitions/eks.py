"""`eksProperties`: a pod.

Sources: model `EksPodProperties`, `EksContainer`, `EksVolume`, `EksContainerSecurityContext`; User Guide "Job definitions
for Amazon EKS resources".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from batchyard.kernel.definitions.eks_resources import check_pod_resources
from batchyard.kernel.definitions.kubernetes_names import check_metadata, check_subdomain
from batchyard.kernel.definitions.programs import check_command, check_environment, check_image
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

DEFAULT_NAME = "Default"
MAXIMUM_CONTAINERS = 10
MAXIMUM_ID = 2**31 - 1
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?\Z")
_CAPABILITY = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_SIZE = re.compile(r"[0-9]+(\.[0-9]+)?([KMGTPE]i|[mkMGTPE]|[eE][0-9]{1,3})?\Z")
_LISTS = ("command", "args", "env", "volume_mounts")


def check_eks(properties: shapes.EksProperties) -> None:
    """Raises `Refusal` for a pod that cannot be run."""
    pod = properties.pod_properties
    if pod is None:
        raise Refusal("eksProperties must have podProperties")
    check_pod(pod)


def check_pod(pod: shapes.EksPodProperties) -> None:
    """Raises `Refusal` for a pod that cannot be run."""
    containers, init_containers = pod.containers or [], pod.init_containers or []
    if not 1 <= len(containers) <= MAXIMUM_CONTAINERS:
        raise Refusal(f"podProperties must have 1 to {MAXIMUM_CONTAINERS} containers, got {len(containers)}")
    if len(init_containers) > MAXIMUM_CONTAINERS:
        raise Refusal(f"podProperties can have at most {MAXIMUM_CONTAINERS} initContainers, got {len(init_containers)}")
    if pod.dns_policy not in (None, "Default", "ClusterFirst", "ClusterFirstWithHostNet"):
        raise Refusal(
            f"dnsPolicy must be Default, ClusterFirst or ClusterFirstWithHostNet, got {pod.dns_policy[:100]!r}"
        )
    if pod.service_account_name is not None:
        check_subdomain(pod.service_account_name, "Service account name")
    for secret in pod.image_pull_secrets or ():
        check_subdomain(secret.name, "Image pull secret name")
    check_metadata(pod.metadata)
    _check_security(pod.security_context)
    volumes = _check_volumes(pod.volumes)
    _check_names(containers, init_containers)
    for container in (*containers, *init_containers):
        _check_container(container, volumes)
    check_pod_resources(containers, init_containers)


def _check_names(containers: Sequence[shapes.EksContainer], init_containers: Sequence[shapes.EksContainer]) -> None:
    names: set[str] = set()
    for group in (containers, init_containers):
        for container in group:
            if container.name is None and len(group) > 1:
                raise Refusal("Each container must have a name when a pod has several")
            name = container.name if container.name is not None else DEFAULT_NAME
            if not _NAME.match(name):
                raise Refusal(f"Container name {name[:100]!r} must be 1 to 63 letters, numbers and hyphens")
            if name in names and container.name is not None:
                raise Refusal(f"Container name {name} is given twice")
            names.add(name)


def _check_container(container: shapes.EksContainer, volumes: set[str]) -> None:
    check_image(container.image, f"Container {container.name or DEFAULT_NAME}")
    if container.image_pull_policy not in (None, "Always", "IfNotPresent", "Never"):
        raise Refusal(
            f"imagePullPolicy must be Always, IfNotPresent or Never, got {container.image_pull_policy[:100]!r}"
        )
    check_command(container.command)
    check_command(container.args)
    check_environment(container.env)
    for mount in container.volume_mounts or ():
        if mount.name not in volumes:
            raise Refusal(f"Volume mount {(mount.name or '')[:300]!r} refers to no volume of the pod")
        if not mount.mount_path:
            raise Refusal(f"Volume mount {mount.name} must have a mountPath")
    context = container.security_context
    _check_security(context)
    if context is not None and context.capabilities is not None:
        for capability in (*(context.capabilities.add or ()), *(context.capabilities.drop or ())):
            if not _CAPABILITY.match(capability) or capability.startswith("CAP_"):
                raise Refusal(f"Capability {capability[:128]!r} must be a name without the prefix CAP_")


def _check_security(context: shapes.EksContainerSecurityContext | shapes.EksPodSecurityContext | None) -> None:
    if context is None:
        return
    group = context.fs_group if isinstance(context, shapes.EksPodSecurityContext) else None
    ids = (("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", group))
    for member, value in ids:
        if value is not None and not 0 <= value <= MAXIMUM_ID:
            raise Refusal(f"{member} must be between 0 and {MAXIMUM_ID}, got {value}")
    profile = context.seccomp_profile
    if profile is not None and (profile.type == "Localhost") != (profile.localhost_profile is not None):
        raise Refusal("seccompProfile must have a localhostProfile when its type is Localhost, and only then")


def _check_volumes(volumes: Sequence[shapes.EksVolume] | None) -> set[str]:
    names: set[str] = set()
    for volume in volumes or ():
        check_subdomain(volume.name, "Volume name")
        if volume.name in names:
            raise Refusal(f"Volume name {volume.name} is given twice")
        names.add(volume.name)
        kinds = (volume.host_path, volume.empty_dir, volume.secret, volume.persistent_volume_claim)
        if sum(kind is not None for kind in kinds) != 1:
            raise Refusal(
                f"Volume {volume.name} must have exactly one of hostPath, emptyDir, secret and persistentVolumeClaim"
            )
        _check_source(volume)
    return names


def _check_source(volume: shapes.EksVolume) -> None:
    if volume.host_path is not None and not volume.host_path.path:
        raise Refusal(f"Volume {volume.name}: hostPath must have a path")
    if volume.secret is not None:
        check_subdomain(volume.secret.secret_name, "Secret name")
    if volume.persistent_volume_claim is not None:
        check_subdomain(volume.persistent_volume_claim.claim_name, "Claim name")
    directory = volume.empty_dir
    if directory is None:
        return
    if directory.medium not in (None, "", "Memory"):
        raise Refusal(f"Volume {volume.name}: medium must be empty or Memory, got {directory.medium[:100]!r}")
    if directory.size_limit is not None and not _SIZE.match(directory.size_limit):
        raise Refusal(f"Volume {volume.name}: sizeLimit {directory.size_limit[:100]!r} is no quantity such as 512Mi")


def eks_with_defaults(properties: shapes.EksProperties) -> shapes.EksProperties:
    """With the empty lists that AWS fills in. What the caller sent stays as it is."""
    pod = properties.pod_properties
    assert pod is not None
    return shapes.EksProperties(
        pod_properties=msgspec.structs.replace(
            pod,
            image_pull_secrets=pod.image_pull_secrets or [],
            containers=_with_lists(pod.containers),
            init_containers=_with_lists(pod.init_containers),
            volumes=pod.volumes or [],
        )
    )


def _with_lists(containers: Sequence[shapes.EksContainer] | None) -> list[shapes.EksContainer]:
    return [
        msgspec.structs.replace(container, **{member: getattr(container, member) or [] for member in _LISTS})
        for container in containers or ()
    ]
