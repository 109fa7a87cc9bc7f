"""Where a container's log goes. Source: model `LogConfiguration`, whose enumeration holds all drivers."""

from __future__ import annotations

from batchyard.kernel.definitions.platforms import Platforms
from batchyard.kernel.definitions.programs import check_secret
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

_FARGATE_DRIVERS = ("awslogs", "splunk")
_MANAGED_INSTANCES_DRIVERS = ("awslogs", "splunk", "awsfirelens")


def check_log_configuration(configuration: shapes.LogConfiguration | None, platforms: Platforms) -> None:
    """Raises `Refusal` for a driver that a platform does not have, and for malformed secrets."""
    if configuration is None:
        return
    driver = configuration.log_driver
    if "FARGATE" in platforms and driver not in _FARGATE_DRIVERS:
        raise Refusal(f"Log driver {driver} is not applicable for Fargate.")
    if "MANAGED_INSTANCES" in platforms and driver not in _MANAGED_INSTANCES_DRIVERS:
        raise Refusal(f"Log driver {driver} is not applicable for Managed Instances.")
    for secret in configuration.secret_options or ():
        check_secret(secret)
