"""The platforms that a job definition is for, and what cannot be said for which of them.

Sources: model `RegisterJobDefinitionRequest$platformCapabilities`; User Guide "AWS Batch on Fargate", "Job definitions on
Amazon ECS Managed Instances". Where a definition names several platforms, the rules of each hold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

Platforms = frozenset[str]
"""Some of EC2, FARGATE and MANAGED_INSTANCES."""

EC2: Platforms = frozenset({"EC2"})


def platforms_of(definition: shapes.RegisterJobDefinitionRequest | shapes.JobDefinition) -> Platforms:
    """EC2 where the definition says nothing."""
    return frozenset(definition.platform_capabilities or EC2)


def check_capabilities(given: Sequence[str] | None, block: str) -> None:
    """Raises `Refusal` for capabilities that contradict the block of properties (`containerProperties`…)."""
    capabilities = given or ()
    if len(set(capabilities)) != len(capabilities):
        raise Refusal("platformCapabilities cannot name a platform twice")
    if "MANAGED_INSTANCES" in capabilities and block != "ecsProperties":
        raise Refusal("Platform capability MANAGED_INSTANCES requires ecsProperties")
    if "FARGATE" in capabilities and block == "nodeProperties":
        raise Refusal("nodeProperties is not applicable for Fargate.")


def not_applicable(platform: str, **members: Any) -> None:
    """Refuses, in AWS's words, the first member (by its name on the wire) that has been given."""
    for name, value in members.items():
        if value is not None and value is not False and not (isinstance(value, Collection) and not value):
            raise Refusal(f"{name} is not applicable for {platform}.")


def only_on_fargate(platforms: Platforms, **members: Any) -> None:
    """Refuses, in AWS's words, members that only Fargate knows when the definition is for no Fargate."""
    if "FARGATE" in platforms:
        return
    if "EC2" not in platforms:
        not_applicable("Managed Instances", **members)
        return
    for name, value in members.items():
        if value is not None:
            raise Refusal(f"{name} not applicable for EC2.")
