"""What a step of the scenario is, and what steps of several kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One request."""

    operation: str
    request: dict[str, Any]
    keep: Mapping[str, str] = {}
    """Members of the response to keep for later steps, by the name to keep them under."""
    settle: tuple[str, str] | None = None
    """Kind and name of what has to come to rest (or to be gone) before the next step."""


ARN = "arn:aws:batch:{region}:{account}:"

ROLE = "arn:aws:iam::{account}:role/some"

TAGS = {"team": "genomics"}

PAIRS = [{"name": "GREETING", "value": "hello"}]

EC2_SIZE = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]

CONSUMED = {"consumableResourceList": [{"consumableResource": "licences", "quantity": 1}]}

RETRY = {"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}]}

RETRY_ON_ALL = {"attempts": 2, "evaluateOnExit": [{"onReason": "*", "onExitCode": "1*", "action": "EXIT"}]}

INSTANCE_CAPACITY = [{"maxCapacity": 4, "capacityUnit": "ml.m5.large"}]
