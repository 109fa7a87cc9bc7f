"""The names that Kubernetes takes. Sources: Kubernetes documentation "Object Names and IDs", "Labels and Selectors",
"Annotations"; model `EksMetadata`."""

from __future__ import annotations

import re

from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_NAME_SEGMENT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")


def check_subdomain(text: str, what: str) -> None:
    """Raises `Refusal` for what is no DNS subdomain name."""
    if len(text) > 253 or not _SUBDOMAIN.match(text):
        raise Refusal(f"{what} {text[:300]!r} is not allowed as a DNS subdomain name")


def check_namespace(namespace: str | None) -> None:
    if namespace is None:
        return
    if len(namespace) > 63 or not _NAMESPACE.match(namespace):
        raise Refusal(
            f"Namespace {namespace[:100]!r} must have 1 to 63 characters and match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
        )
    if namespace == "default" or namespace.startswith("kube"):
        raise Refusal(f"Namespace {namespace} cannot be used: it is default or starts with kube")


def check_metadata(metadata: shapes.EksMetadata | None) -> None:
    """Raises `Refusal` for labels, annotations or a namespace that a pod cannot have."""
    if metadata is None:
        return
    check_namespace(metadata.namespace)
    for key, value in (metadata.labels or {}).items():
        _check_key(key, "Label")
        if value and not _NAME_SEGMENT.match(value):
            raise Refusal(
                f"Label {key}: the value must be at most 63 letters, numbers, hyphens, underscores and dots, got"
                f" {value[:100]!r}"
            )
    for key, value in (metadata.annotations or {}).items():
        _check_key(key, "Annotation")
        if len(value) > 255:
            raise Refusal(f"Annotation {key}: the value can have at most 255 characters, got {len(value)}")


def _check_key(key: str, what: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if not _NAME_SEGMENT.match(name):
        raise Refusal(f"{what} key {key[:300]!r} is not a name of at most 63 characters with an optional DNS prefix")
    if slash:
        check_subdomain(prefix, f"{what} key prefix")
