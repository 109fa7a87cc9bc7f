"""The settings that a job definition and a submission share: timeout, priority, consumable resources.

Sources: model `JobTimeout`, `ConsumableResourceRequirement`; User Guide "Job timeouts", "Resource-aware scheduling".
"""

from __future__ import annotations

from batchyard.kernel.identifiers import NAME
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes


def check_timeout(timeout: shapes.JobTimeout | None) -> None:
    """Raises `Refusal` for a limit of less than 60 seconds."""
    if timeout is None or timeout.attempt_duration_seconds is None:
        return
    if timeout.attempt_duration_seconds < 60:
        raise Refusal(
            f"Timeout attemptDurationSeconds must be at least 60 seconds, got {timeout.attempt_duration_seconds}"
        )
    if timeout.attempt_duration_seconds > 2**31 - 1:
        raise Refusal("Timeout attemptDurationSeconds must be less than 2147483648")


def check_scheduling_priority(priority: int | None) -> None:
    """Raises `Refusal` outside 0 to 9999."""
    if priority is not None and not 0 <= priority <= 9999:
        raise Refusal(f"Scheduling priority must be between 0 and 9999, got {priority}")


def check_consumable_resources(properties: shapes.ConsumableResourceProperties | None) -> None:
    """The form only: whether there is such a resource is asked when the job is to start."""
    named: set[str] = set()
    for entry in (properties.consumable_resource_list if properties else None) or ():
        name = entry.consumable_resource or ""
        plain = name.rpartition(":consumable-resource/")[2] if name.startswith("arn:") else name
        if not NAME.match(plain):
            raise Refusal(f"Consumable resource {name[:300]!r} is neither a name nor an ARN of a consumable resource")
        if plain in named:
            raise Refusal(f"Consumable resource {plain} is given twice")
        named.add(plain)
        if entry.quantity is None or entry.quantity < 1:
            given = "none" if entry.quantity is None else str(entry.quantity)
            raise Refusal(f"Consumable resource {plain} must have a quantity of at least 1, got {given}")
