"""`eksProperties` in a job definition (model `EksPodProperties`, `EksContainer`)."""

from __future__ import annotations

from typing import Any

import pytest
from definition_forms import Form, in_pod, pod, register, registering
from story import Story

DIRECTORY: Form = {"name": "v", "emptyDir": {}}


def asking(limits: dict[str, str] | None = None, requests: dict[str, str] | None = None) -> Form:
    given = {"limits": limits, "requests": requests}
    return pod(in_pod(resources={member: value for member, value in given.items() if value is not None}))


def labelled(**members: Any) -> Form:
    return pod(metadata=members)


def test_a_pod_comes_back_with_empty_lists(story: Story) -> None:
    sent = pod(in_pod(), hostNetwork=False, dnsPolicy="Default", metadata={"labels": {"a": "b"}})
    shown = register(story, eksProperties=sent)
    assert shown["containerOrchestrationType"] == "EKS"
    container = {**in_pod(), "command": [], "args": [], "env": [], "volumeMounts": []}
    assert shown["eksProperties"]["podProperties"] == {
        **sent["podProperties"],
        "containers": [container],
        "initContainers": [],
        "imagePullSecrets": [],
        "volumes": [],
    }
    assert "platformCapabilities" not in shown


def test_platforms_and_propagated_tags_are_for_ecs(story: Story) -> None:
    refused = registering(eksProperties=pod(), platformCapabilities=["EC2"])
    assert story.refused(refused) == "platformCapabilities is not applicable for EKS."
    refused = registering(eksProperties=pod(), propagateTags=True)
    assert story.refused(refused) == "propagateTags is not applicable for EKS."
    assert register(story, eksProperties=pod(), propagateTags=False, platformCapabilities=[])


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({}, "eksProperties must have podProperties"),
        ({"podProperties": {}}, "podProperties must have 1 to 10 containers, got 0"),
        (pod(*(in_pod(f"c{n}") for n in range(11))), "podProperties must have 1 to 10 containers, got 11"),
        (
            pod(initContainers=[in_pod(f"c{n}") for n in range(11)]),
            "podProperties can have at most 10 initContainers, got 11",
        ),
        (pod(in_pod("a"), in_pod()), "Each container must have a name when a pod has several"),
        (pod(in_pod("a"), in_pod("a")), "Container name a is given twice"),
        (pod(in_pod("a"), initContainers=[in_pod("a")]), "Container name a is given twice"),
        (pod(in_pod("a_b")), "Container name 'a_b' must be 1 to 63 letters, numbers and hyphens"),
        (pod(in_pod(image="")), "Container Default must have an image"),
        (
            pod(in_pod(imagePullPolicy="Sometimes")),
            "imagePullPolicy must be Always, IfNotPresent or Never, got 'Sometimes'",
        ),
        (
            pod(in_pod(env=[{"name": "AWS_BATCH_X"}])),
            "Environment variable name AWS_BATCH_X starts with the reserved prefix AWS_BATCH",
        ),
        (pod(dnsPolicy="None"), "dnsPolicy must be Default, ClusterFirst or ClusterFirstWithHostNet, got 'None'"),
        (pod(serviceAccountName="A"), "Service account name 'A' is not allowed as a DNS subdomain name"),
        (pod(imagePullSecrets=[{"name": ""}]), "Image pull secret name '' is not allowed as a DNS subdomain name"),
        # Resources
        (pod(in_pod(resources={})), "Container Default must have cpu in its resources"),
        (asking({"cpu": "1"}), "Container Default must have memory in its resources"),
        (asking({"cpu": "250m", "memory": "64Mi"}), "Resource cpu must be a multiple of 0.25, got '250m'"),
        (asking({"cpu": "0.3", "memory": "64Mi"}), "Resource cpu must be a multiple of 0.25, got '0.3'"),
        (asking({"cpu": "0", "memory": "64Mi"}), "Resource cpu must be a multiple of 0.25, got '0'"),
        (
            asking({"cpu": "1", "memory": "1Gi"}),
            "Resource memory must be a whole number of at least 4 MiB, with the suffix Mi, got '1Gi'",
        ),
        (
            asking({"cpu": "1", "memory": "3Mi"}),
            "Resource memory must be a whole number of at least 4 MiB, with the suffix Mi, got '3Mi'",
        ),
        (
            asking({"cpu": "1", "memory": "64Mi"}, {"memory": "32Mi"}),
            "The limit and the request of memory must be equal",
        ),
        (
            asking({"cpu": "1", "memory": "64Mi"}, {"cpu": "1.25"}),
            "The limit of cpu (1) is below the request (1.25)",
        ),
        (
            asking({"cpu": "1", "memory": "64Mi", "nvidia.com/gpu": "0.5"}),
            "Resource nvidia.com/gpu must be a whole number, got '0.5'",
        ),
        (asking({"disk": "1"}), "Resource 'disk' in limits is not one of cpu, memory, nvidia.com/gpu"),
        # Metadata
        (labelled(namespace=""), "Namespace '' must have 1 to 63 characters and match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
        (labelled(namespace="default"), "Namespace default cannot be used: it is default or starts with kube"),
        (labelled(namespace="kube-system"), "Namespace kube-system cannot be used: it is default or starts with kube"),
        (
            labelled(labels={"-": "x"}),
            "Label key '-' is not a name of at most 63 characters with an optional DNS prefix",
        ),
        (
            labelled(labels={"a": "b c"}),
            "Label a: the value must be at most 63 letters, numbers, hyphens, underscores and dots, got 'b c'",
        ),
        (labelled(annotations={"A/b": "x"}), "Annotation key prefix 'A' is not allowed as a DNS subdomain name"),
        (
            labelled(annotations={"a": "x" * 256}),
            "Annotation a: the value can have at most 255 characters, got 256",
        ),
        # Volumes
        (pod(volumes=[{"name": "V"}]), "Volume name 'V' is not allowed as a DNS subdomain name"),
        (
            pod(volumes=[{"name": "v"}]),
            "Volume v must have exactly one of hostPath, emptyDir, secret and persistentVolumeClaim",
        ),
        (pod(volumes=[DIRECTORY, DIRECTORY]), "Volume name v is given twice"),
        (
            pod(volumes=[{"name": "v", "emptyDir": {"medium": "SSD"}}]),
            "Volume v: medium must be empty or Memory, got 'SSD'",
        ),
        (
            pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "big"}}]),
            "Volume v: sizeLimit 'big' is no quantity such as 512Mi",
        ),
        (pod(volumes=[{"name": "v", "hostPath": {}}]), "Volume v: hostPath must have a path"),
        (
            pod(volumes=[{"name": "v", "secret": {"secretName": "S"}}]),
            "Secret name 'S' is not allowed as a DNS subdomain name",
        ),
        (
            pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": ""}}]),
            "Claim name '' is not allowed as a DNS subdomain name",
        ),
        (
            pod(in_pod(volumeMounts=[{"name": "w", "mountPath": "/w"}])),
            "Volume mount 'w' refers to no volume of the pod",
        ),
        (pod(in_pod(volumeMounts=[{"name": "v"}]), volumes=[DIRECTORY]), "Volume mount v must have a mountPath"),
        # Security
        (
            pod(in_pod(securityContext={"runAsUser": -1})),
            "runAsUser must be between 0 and 2147483647, got -1",
        ),
        (pod(securityContext={"fsGroup": 2**31}), f"fsGroup must be between 0 and 2147483647, got {2**31}"),
        (
            pod(in_pod(securityContext={"capabilities": {"add": ["CAP_NET_RAW"]}})),
            "Capability 'CAP_NET_RAW' must be a name without the prefix CAP_",
        ),
        (
            pod(in_pod(securityContext={"seccompProfile": {"type": "Localhost"}})),
            "seccompProfile must have a localhostProfile when its type is Localhost, and only then",
        ),
        (
            pod(securityContext={"seccompProfile": {"type": "Unconfined", "localhostProfile": "x"}}),
            "seccompProfile must have a localhostProfile when its type is Localhost, and only then",
        ),
    ],
)
def test_what_is_refused(story: Story, properties: Form, text: str) -> None:
    assert story.refused(registering(eksProperties=properties)) == text


@pytest.mark.parametrize(
    "properties",
    [
        asking({"cpu": "2", "memory": "64Mi", "nvidia.com/gpu": "1"}, {"cpu": "0.25", "memory": "64Mi"}),
        asking(requests={"cpu": "0.5", "memory": "4Mi"}),
        pod(
            in_pod(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            volumes=[DIRECTORY],
            metadata={"labels": {"example.com/a": ""}, "namespace": "work"},
        ),
        pod(in_pod(), initContainers=[{"image": "busybox"}]),
        pod(in_pod(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}})),
        pod(in_pod(securityContext={"capabilities": {"add": ["NET_RAW"], "drop": ["ALL"]}})),
    ],
)
def test_what_is_accepted(story: Story, properties: Form) -> None:
    assert register(story, eksProperties=properties)
