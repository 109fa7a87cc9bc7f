"""Job queues and quota shares."""

from __future__ import annotations

from compatibility.cli_scenario.step import ARN, INSTANCE_CAPACITY, TAGS, Step

TIME_LIMIT = {"reason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "state": "RUNNABLE", "maxTimeSeconds": 600}

QUOTA_SHARE = {
    "capacityLimits": INSTANCE_CAPACITY,
    "resourceSharingConfiguration": {"strategy": "LEND_AND_BORROW", "borrowLimit": 100},
    "preemptionConfiguration": {"inSharePreemption": "ENABLED"},
    "state": "ENABLED",
}

QUEUES = [
    Step(
        "CreateJobQueue",
        {
            "jobQueueName": "cli",
            "state": "ENABLED",
            "priority": 10,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "spot"}],
            "jobQueueType": "ECS",
            "tags": TAGS,
        },
        settle=("queue", "cli"),
    ),
    Step(
        "CreateJobQueue",
        {
            "jobQueueName": "ec2",
            "priority": 1,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ec2"}],
        },
        settle=("queue", "ec2"),
    ),
    Step(
        "CreateJobQueue",
        {
            "jobQueueName": "limited",
            "priority": 1,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "spot"}],
            "jobStateTimeLimitActions": [{**TIME_LIMIT, "action": "CANCEL"}],
        },
        keep={"limited-queue": "jobQueueName"},
        settle=("queue", "{limited-queue}"),
    ),
    Step(
        "CreateJobQueue",
        {
            "jobQueueName": "fair",
            "priority": 1,
            "schedulingPolicyArn": "{fair}",
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "spot"}],
        },
        keep={"fair-queue": "jobQueueName"},
        settle=("queue", "{fair-queue}"),
    ),
    Step(
        "CreateJobQueue",
        {
            "jobQueueName": "training",
            "priority": 1,
            "jobQueueType": "SAGEMAKER_TRAINING",
            "schedulingPolicyArn": "{quota}",
            "serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": "training"}],
        },
        keep={"training-queue": "jobQueueName"},
        settle=("queue", "{training-queue}"),
    ),
    Step(
        "CreateJobQueue",
        {
            "jobQueueName": "plain-training",
            "priority": 1,
            "jobQueueType": "SAGEMAKER_TRAINING",
            "schedulingPolicyArn": "{fair}",
            "serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": "counted"}],
        },
        keep={"plain-training-queue": "jobQueueName"},
        settle=("queue", "{plain-training-queue}"),
    ),
    Step(
        "UpdateJobQueue",
        {
            "jobQueue": "cli",
            "state": "ENABLED",
            "priority": 20,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "spot"}],
        },
        settle=("queue", "cli"),
    ),
    Step(
        "UpdateJobQueue",
        {"jobQueue": "{limited-queue}", "jobStateTimeLimitActions": [{**TIME_LIMIT, "action": "CANCEL"}]},
        settle=("queue", "{limited-queue}"),
    ),
    Step(
        "UpdateJobQueue",
        {"jobQueue": "{fair-queue}", "schedulingPolicyArn": "{fair}"},
        settle=("queue", "{fair-queue}"),
    ),
    Step(
        "UpdateJobQueue",
        {
            "jobQueue": "{plain-training-queue}",
            "serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": "counted"}],
        },
        settle=("queue", "{plain-training-queue}"),
    ),
    Step("DescribeJobQueues", {"jobQueues": [], "maxResults": 1}, keep={"queues-token": "nextToken"}),
    Step("DescribeJobQueues", {"maxResults": 1, "nextToken": "{queues-token}"}),
    Step("DescribeJobQueues", {"jobQueues": ["cli", ARN + "job-queue/limited"]}),
    Step(
        "CreateQuotaShare",
        {"quotaShareName": "mine", "jobQueue": "{training-queue}", **QUOTA_SHARE, "tags": TAGS},
        keep={"share": "quotaShareArn"},
        settle=("quota share", "{share}"),
    ),
    Step(
        "CreateQuotaShare",
        {"quotaShareName": "yours", "jobQueue": "{training-queue}", **QUOTA_SHARE},
        keep={"other-share": "quotaShareArn"},
        settle=("quota share", "{other-share}"),
    ),
    Step("UpdateQuotaShare", {"quotaShareArn": "{share}", **QUOTA_SHARE}, settle=("quota share", "{share}")),
    Step("DescribeQuotaShare", {"quotaShareArn": "{share}"}),
    Step("ListQuotaShares", {"jobQueue": "{training-queue}", "maxResults": 1}, keep={"shares-token": "nextToken"}),
    Step("ListQuotaShares", {"jobQueue": "{training-queue}", "maxResults": 1, "nextToken": "{shares-token}"}),
]
