"""Job definitions of every kind."""

from __future__ import annotations

from compatibility.cli_scenario.containers import (
    CONTAINER,
    EC2_TASK,
    EKS_POD,
    FARGATE_CONTAINER,
    FARGATE_TASK,
    INSTANCES_TASK,
    OLD_CONTAINER,
)
from compatibility.cli_scenario.step import ARN, CONSUMED, RETRY, RETRY_ON_ALL, TAGS, Step

DEFINITIONS = [
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "whole",
            "type": "container",
            "parameters": {"greeting": "hello"},
            "schedulingPriority": 10,
            "containerProperties": CONTAINER,
            "retryStrategy": RETRY,
            "propagateTags": True,
            "timeout": {"attemptDurationSeconds": 600},
            "tags": TAGS,
            "platformCapabilities": ["EC2"],
        },
        keep={"whole": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "old",
            "type": "container",
            "containerProperties": OLD_CONTAINER,
            "retryStrategy": RETRY_ON_ALL,
        },
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "consuming",
            "type": "container",
            "containerProperties": OLD_CONTAINER,
            "consumableResourceProperties": CONSUMED,
        },
        keep={"consuming": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "fargate",
            "type": "container",
            "containerProperties": FARGATE_CONTAINER,
            "platformCapabilities": ["FARGATE"],
        },
    ),
    Step(
        "RegisterJobDefinition",
        {"jobDefinitionName": "task", "type": "container", "ecsProperties": {"taskProperties": [EC2_TASK]}},
        keep={"task": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "instances-task",
            "type": "container",
            "ecsProperties": {"taskProperties": [INSTANCES_TASK]},
            "platformCapabilities": ["MANAGED_INSTANCES"],
        },
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "fargate-task",
            "type": "container",
            "ecsProperties": {"taskProperties": [FARGATE_TASK]},
            "platformCapabilities": ["FARGATE"],
        },
    ),
    Step(
        "RegisterJobDefinition",
        {"jobDefinitionName": "pod", "type": "container", "eksProperties": {"podProperties": EKS_POD}},
        keep={"pod": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "nodes",
            "type": "multinode",
            "nodeProperties": {
                "numNodes": 3,
                "mainNode": 0,
                "nodeRangeProperties": [
                    {"targetNodes": "0:", "container": CONTAINER, "instanceTypes": ["m6i.large"]},
                ],
            },
        },
        keep={"nodes": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "consuming-nodes",
            "type": "multinode",
            "nodeProperties": {
                "numNodes": 2,
                "mainNode": 0,
                "nodeRangeProperties": [
                    {"targetNodes": "0:1", "container": OLD_CONTAINER, "consumableResourceProperties": CONSUMED}
                ],
            },
        },
        keep={"consuming-nodes": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "old-nodes",
            "type": "multinode",
            "nodeProperties": {
                "numNodes": 2,
                "mainNode": 0,
                "nodeRangeProperties": [
                    {"targetNodes": "0:1", "container": {**OLD_CONTAINER, "instanceType": "m6i.large"}}
                ],
            },
        },
        keep={"old-nodes": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "task-nodes",
            "type": "multinode",
            "nodeProperties": {
                "numNodes": 2,
                "mainNode": 0,
                "nodeRangeProperties": [
                    {
                        "targetNodes": "0:",
                        "instanceTypes": ["m6i.large"],
                        "ecsProperties": {"taskProperties": [EC2_TASK]},
                    }
                ],
            },
        },
        keep={"task-nodes": "jobDefinitionArn"},
    ),
    Step(
        "RegisterJobDefinition",
        {
            "jobDefinitionName": "pod-nodes",
            "type": "multinode",
            "nodeProperties": {
                "numNodes": 2,
                "mainNode": 0,
                "nodeRangeProperties": [
                    {
                        "targetNodes": "0:",
                        "instanceTypes": ["m6i.large"],
                        "eksProperties": {"podProperties": EKS_POD},
                    }
                ],
            },
        },
        keep={"pod-nodes": "jobDefinitionArn"},
    ),
    Step(
        "DescribeJobDefinitions",
        {"jobDefinitionName": "", "status": "ACTIVE", "maxResults": 1},
        keep={"definitions-token": "nextToken"},
    ),
    Step("DescribeJobDefinitions", {"status": "ACTIVE", "maxResults": 1, "nextToken": "{definitions-token}"}),
    Step("DescribeJobDefinitions", {"jobDefinitionName": "whole"}),
    Step("DescribeJobDefinitions", {"jobDefinitions": ["whole:1", ARN + "job-definition/old:1"]}),
]
