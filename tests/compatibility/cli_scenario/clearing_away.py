"""Everything is ended and deleted, in the order that the service asks for."""

from __future__ import annotations

from compatibility.cli_scenario.step import Step

CLEARING_AWAY = [
    Step("DeregisterJobDefinition", {"jobDefinition": "old:1"}),
    Step("UpdateQuotaShare", {"quotaShareArn": "{share}", "state": "DISABLED"}, settle=("quota share", "{share}")),
    Step("DeleteQuotaShare", {"quotaShareArn": "{share}"}),
    Step("UpdateJobQueue", {"jobQueue": "cli", "state": "DISABLED"}, settle=("queue", "cli")),
    Step("DeleteJobQueue", {"jobQueue": "cli"}, settle=("queue", "cli")),
    Step("UpdateJobQueue", {"jobQueue": "{fair-queue}", "state": "DISABLED"}, settle=("queue", "{fair-queue}")),
    Step("DeleteJobQueue", {"jobQueue": "{fair-queue}"}, settle=("queue", "{fair-queue}")),
    Step("DeleteConsumableResource", {"consumableResource": "licences"}),
    Step(
        "UpdateJobQueue",
        {"jobQueue": "{plain-training-queue}", "state": "DISABLED"},
        settle=("queue", "{plain-training-queue}"),
    ),
    Step("DeleteJobQueue", {"jobQueue": "{plain-training-queue}"}, settle=("queue", "{plain-training-queue}")),
    Step(
        "UpdateServiceEnvironment",
        {"serviceEnvironment": "counted", "state": "DISABLED"},
        settle=("service environment", "counted"),
    ),
    Step("DeleteSchedulingPolicy", {"arn": "{fair}"}),
    Step("DeleteServiceEnvironment", {"serviceEnvironment": "counted"}),
    Step("UpdateComputeEnvironment", {"computeEnvironment": "own", "state": "DISABLED"}, settle=("environment", "own")),
    Step("DeleteComputeEnvironment", {"computeEnvironment": "own"}, settle=("environment", "own")),
]
