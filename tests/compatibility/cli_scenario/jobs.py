"""Jobs of every kind, and the tags of resources."""

from __future__ import annotations

from compatibility.cli_scenario.containers import EKS_CONTAINER, EKS_POD
from compatibility.cli_scenario.step import ARN, CONSUMED, EC2_SIZE, PAIRS, RETRY, RETRY_ON_ALL, TAGS, Step

OVERRIDES = {
    "vcpus": 1,
    "memory": 64,
    "command": ["sleep", "600"],
    "environment": PAIRS,
    "resourceRequirements": EC2_SIZE,
}

TASK_OVERRIDES = {
    "taskProperties": [
        {
            "containers": [
                {"name": "main", "command": ["false"], "environment": PAIRS, "resourceRequirements": EC2_SIZE},
                {"name": "side"},
            ]
        }
    ]
}

EKS_OVERRIDES = {name: EKS_CONTAINER[name] for name in ("name", "image", "command", "args", "env", "resources")}

POD_OVERRIDES = {
    "podProperties": {
        "containers": [EKS_OVERRIDES],
        "initContainers": [{**EKS_OVERRIDES, "name": "before"}],
        "metadata": EKS_POD["metadata"],
    }
}

BULK = {"jobs": ["{job}"], "reason": "enough"}

JOBS = [
    Step(
        "SubmitJob",
        {
            "jobName": "first",
            "jobQueue": "cli",
            "jobDefinition": "{whole}",
            "arrayProperties": {"size": 2},
            "parameters": {"greeting": "good morning"},
            "containerOverrides": OVERRIDES,
            "retryStrategy": RETRY,
            "propagateTags": False,
            "timeout": {"attemptDurationSeconds": 600},
            "tags": TAGS,
        },
        keep={"array": "jobId"},
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "second",
            "jobQueue": "cli",
            "jobDefinition": "old",
            "arrayProperties": {"size": 2},
            "dependsOn": [{"jobId": "{array}", "type": "N_TO_N"}],
            "retryStrategy": RETRY_ON_ALL,
        },
        keep={"job": "jobId"},
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "shared",
            "jobQueue": "{fair-queue}",
            "jobDefinition": "old",
            "shareIdentifier": "labA",
            "schedulingPriorityOverride": 5,
        },
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "consuming",
            "jobQueue": "cli",
            "jobDefinition": "old",
            "consumableResourcePropertiesOverride": CONSUMED,
        },
    ),
    Step("SubmitJob", {"jobName": "consuming", "jobQueue": "cli", "jobDefinition": "{consuming}"}),
    Step(
        "SubmitJob",
        {"jobName": "task", "jobQueue": "cli", "jobDefinition": "{task}", "ecsPropertiesOverride": TASK_OVERRIDES},
    ),
    Step(
        "SubmitJob",
        {"jobName": "pod", "jobQueue": "cli", "jobDefinition": "{pod}", "eksPropertiesOverride": POD_OVERRIDES},
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "nodes",
            "jobQueue": "ec2",
            "jobDefinition": "{nodes}",
            "nodeOverrides": {
                "numNodes": 4,
                "nodePropertyOverrides": [
                    {
                        "targetNodes": "0:",
                        "containerOverrides": OVERRIDES,
                        "instanceTypes": ["c6i.large"],
                    }
                ],
            },
        },
        keep={"nodes-job": "jobId"},
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "consuming-nodes",
            "jobQueue": "ec2",
            "jobDefinition": "{consuming-nodes}",
            "nodeOverrides": {
                "nodePropertyOverrides": [{"targetNodes": "0:1", "consumableResourcePropertiesOverride": CONSUMED}]
            },
        },
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "old-nodes",
            "jobQueue": "ec2",
            "jobDefinition": "{old-nodes}",
            "nodeOverrides": {
                "nodePropertyOverrides": [{"targetNodes": "0:1", "containerOverrides": {"instanceType": "c6i.large"}}]
            },
        },
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "task-nodes",
            "jobQueue": "ec2",
            "jobDefinition": "{task-nodes}",
            "nodeOverrides": {
                "nodePropertyOverrides": [{"targetNodes": "0:", "ecsPropertiesOverride": TASK_OVERRIDES}]
            },
        },
    ),
    Step(
        "SubmitJob",
        {
            "jobName": "pod-nodes",
            "jobQueue": "cli",
            "jobDefinition": "{pod-nodes}",
            "nodeOverrides": {"nodePropertyOverrides": [{"targetNodes": "0:", "eksPropertiesOverride": POD_OVERRIDES}]},
        },
    ),
    Step("ListJobs", {"multiNodeJobId": "{nodes-job}"}),
    Step("DescribeJobs", {"jobs": ["{job}", "{array}:1"]}),
    Step("ListJobs", {"jobQueue": "cli", "jobStatus": "PENDING", "maxResults": 1}, keep={"jobs-token": "nextToken"}),
    Step("ListJobs", {"jobQueue": "cli", "jobStatus": "PENDING", "maxResults": 1, "nextToken": "{jobs-token}"}),
    Step("ListJobs", {"jobQueue": "cli", "filters": [{"name": "JOB_NAME", "values": ["sec*"]}]}),
    Step("ListJobs", {"arrayJobId": "{array}"}),
    Step(
        "ListJobsByConsumableResource",
        {"consumableResource": "licences", "filters": [{"name": "JOB_NAME", "values": ["cons*"]}]},
    ),
    Step(
        "ListJobsByConsumableResource",
        {"consumableResource": "licences", "maxResults": 1},
        keep={"consumers-token": "nextToken"},
    ),
    Step(
        "ListJobsByConsumableResource",
        {"consumableResource": "licences", "maxResults": 1, "nextToken": "{consumers-token}"},
    ),
    Step("GetJobQueueSnapshot", {"jobQueue": "cli"}),
    Step("CancelJob", {"jobId": "{job}", "reason": "enough"}),
    Step("TerminateJob", {"jobId": "{array}", "reason": "enough"}),
    Step("CancelJobs", BULK),
    Step("TerminateJobs", BULK),
    Step("TagResource", {"resourceArn": ARN + "job-queue/cli", "tags": {"cost": "42"}}),
    Step("ListTagsForResource", {"resourceArn": ARN + "job-queue/cli"}),
    Step("UntagResource", {"resourceArn": ARN + "job-queue/cli", "tagKeys": ["cost"]}),
]
