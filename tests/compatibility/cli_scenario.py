"""Every operation of AWS Batch from first to last, as requests that fill in the AWS CLI's skeletons.

The steps make one story: environments, policies and queues come up, definitions of every kind are registered, jobs are
submitted, looked at and ended, and everything is cleared away. `{name}` in a text stands for what an earlier step has
kept under that name, or for the installation's `account` and `region`.
"""

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
SECRETS = [{"name": "TOKEN", "valueFrom": "arn:aws:ssm:{region}:{account}:parameter/token"}]
EC2_SIZE = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
FARGATE_SIZE = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
CONSUMED = {"consumableResourceList": [{"consumableResource": "licences", "quantity": 1}]}
RETRY = {"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}]}
RETRY_ON_ALL = {"attempts": 2, "evaluateOnExit": [{"onReason": "*", "onExitCode": "1*", "action": "EXIT"}]}
CREDENTIALS = {"credentialsParameter": "arn:aws:secretsmanager:{region}:{account}:secret:registry"}
LINUX = {
    "devices": [{"hostPath": "/dev/null", "containerPath": "/dev/nothing", "permissions": ["READ", "WRITE"]}],
    "initProcessEnabled": True,
    "sharedMemorySize": 64,
    "tmpfs": [{"containerPath": "/fast", "size": 16, "mountOptions": ["noexec"]}],
    "maxSwap": 64,
    "swappiness": 10,
}
LOGS = {"logDriver": "awslogs", "options": {"awslogs-stream-prefix": "cli"}, "secretOptions": SECRETS}
VOLUMES = [
    {"name": "host", "host": {"sourcePath": "/tmp"}},
    {
        "name": "efs",
        "efsVolumeConfiguration": {
            "fileSystemId": "fs-12345678",
            "rootDirectory": "/",
            "transitEncryption": "ENABLED",
            "transitEncryptionPort": 2049,
            "authorizationConfig": {"accessPointId": "fsap-1234567890abcdef0", "iam": "ENABLED"},
        },
    },
    {
        "name": "s3",
        "s3filesVolumeConfiguration": {
            "fileSystemArn": "arn:aws:s3files:{region}:{account}:file-system/fs-1",
            "rootDirectory": "/",
            "transitEncryptionPort": 2049,
            "accessPointArn": "arn:aws:s3files:{region}:{account}:file-system/fs-1/access-point/fsap-1",
        },
    },
]
MOUNTS = [{"containerPath": "/host", "readOnly": True, "sourceVolume": "host"}]
ULIMITS = [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}]
PLATFORM = {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"}

CONTAINER = {
    "image": "busybox",
    "command": ["echo", "Ref::greeting"],
    "jobRoleArn": ROLE,
    "executionRoleArn": ROLE,
    "volumes": VOLUMES,
    "environment": PAIRS,
    "mountPoints": MOUNTS,
    "readonlyRootFilesystem": True,
    "privileged": True,
    "ulimits": ULIMITS,
    "user": "nobody",
    "resourceRequirements": EC2_SIZE,
    "linuxParameters": LINUX,
    "logConfiguration": LOGS,
    "secrets": SECRETS,
    "enableExecuteCommand": False,
    "runtimePlatform": PLATFORM,
    "repositoryCredentials": CREDENTIALS,
}
OLD_CONTAINER = {"image": "busybox", "vcpus": 1, "memory": 64, "command": ["true"]}
FARGATE_CONTAINER = {
    "image": "busybox",
    "command": ["true"],
    "executionRoleArn": ROLE,
    "resourceRequirements": FARGATE_SIZE,
    "networkConfiguration": {"assignPublicIp": "ENABLED"},
    "fargatePlatformConfiguration": {"platformVersion": "LATEST"},
    "ephemeralStorage": {"sizeInGiB": 30},
    "runtimePlatform": PLATFORM,
}
TASK_CONTAINER = {
    "name": "main",
    "image": "busybox",
    "command": ["true"],
    "dependsOn": [{"containerName": "side", "condition": "START"}],
    "environment": PAIRS,
    "essential": True,
    "linuxParameters": LINUX,
    "logConfiguration": LOGS,
    "mountPoints": MOUNTS,
    "privileged": True,
    "readonlyRootFilesystem": True,
    "repositoryCredentials": CREDENTIALS,
    "resourceRequirements": EC2_SIZE,
    "secrets": SECRETS,
    "ulimits": ULIMITS,
    "user": "nobody",
    "startTimeout": 30,
    "stopTimeout": 30,
}
SIDE_CONTAINER = {
    "name": "side",
    "image": "fluent/fluent-bit",
    "essential": False,
    "firelensConfiguration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}},
    "resourceRequirements": EC2_SIZE,
}
EC2_TASK = {
    "containers": [TASK_CONTAINER, SIDE_CONTAINER],
    "executionRoleArn": ROLE,
    "ipcMode": "task",
    "taskRoleArn": ROLE,
    "pidMode": "task",
    "volumes": VOLUMES,
    "enableExecuteCommand": False,
}
INSTANCES_TASK = {
    "containers": [{"name": "main", "image": "busybox", "essential": True, "resourceRequirements": EC2_SIZE}],
    "networkMode": "host",
}
FARGATE_TASK = {
    "containers": [{"name": "main", "image": "busybox", "essential": True, "resourceRequirements": FARGATE_SIZE}],
    "executionRoleArn": ROLE,
    "platformVersion": "LATEST",
    "networkConfiguration": {"assignPublicIp": "ENABLED"},
    "ephemeralStorage": {"sizeInGiB": 30},
    "runtimePlatform": PLATFORM,
}
EKS_CONTAINER = {
    "name": "main",
    "image": "busybox",
    "imagePullPolicy": "IfNotPresent",
    "command": ["sh"],
    "args": ["-c", "true"],
    "env": PAIRS,
    "resources": {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "64Mi"}},
    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch", "subPath": "a", "readOnly": False}],
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "profile.json"},
    },
}
EKS_POD = {
    "serviceAccountName": "worker",
    "hostNetwork": False,
    "dnsPolicy": "ClusterFirst",
    "imagePullSecrets": [{"name": "registry"}],
    "containers": [EKS_CONTAINER],
    "initContainers": [{**EKS_CONTAINER, "name": "before"}],
    "volumes": [
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "host", "hostPath": {"path": "/tmp"}},
        {"name": "key", "secret": {"secretName": "key", "optional": True}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
    ],
    "metadata": {"labels": {"team": "genomics"}, "annotations": {"note": "x"}, "namespace": "batch"},
    "shareProcessNamespace": True,
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 1000,
    },
}
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
CAPACITY = [{"maxCapacity": 4, "capacityUnit": "NUM_INSTANCES"}]
INSTANCE_CAPACITY = [{"maxCapacity": 4, "capacityUnit": "ml.m5.large"}]
TIME_LIMIT = {"reason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "state": "RUNNABLE", "maxTimeSeconds": 600}
PROVIDER = {
    "propagateTags": "CAPACITY_PROVIDER",
    "infrastructureRoleArn": ROLE,
    "instanceLaunchTemplate": {
        "ec2InstanceProfileArn": "arn:aws:iam::{account}:instance-profile/ecs",
        "networkConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]},
        "instanceRequirements": {"allowedInstanceTypes": ["m6i.*"]},
        "capacityOptionType": "ON_DEMAND",
        "storageConfiguration": {"storageSizeGiB": 30},
        "monitoring": "BASIC",
        "fipsEnabled": False,
        "capacityReservations": {
            "reservationGroupArn": "arn:aws:resource-groups:{region}:{account}:group/reserved",
            "reservationPreference": "RESERVATIONS_FIRST",
        },
        "instanceMetadataTagsPropagation": True,
        "localStorageConfiguration": {"useLocalStorage": True},
    },
    "infrastructureOptimization": {"scaleInAfter": 300},
}
CHANGED_PROVIDER = {
    **PROVIDER,
    "instanceLaunchTemplate": {
        name: value
        for name, value in PROVIDER["instanceLaunchTemplate"].items()  # type: ignore[attr-defined]
        if name not in ("capacityOptionType", "fipsEnabled")
    },
}
INSTANCES = {
    "type": "SPOT",
    "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
    "minvCpus": 0,
    "maxvCpus": 8,
    "desiredvCpus": 0,
    "instanceTypes": ["optimal"],
    "imageId": "ami-12345678",
    "subnets": ["subnet-1"],
    "securityGroupIds": ["sg-1"],
    "ec2KeyPair": "key",
    "instanceRole": "ecsInstanceRole",
    "tags": TAGS,
    "placementGroup": "close",
    "bidPercentage": 80,
    "launchTemplate": {
        "launchTemplateName": "template",
        "version": "$Latest",
        "overrides": [
            {"launchTemplateId": "lt-2", "version": "2", "targetInstanceTypes": ["m6i.large"]},
            {"launchTemplateName": "other", "targetInstanceTypes": ["c6i.large"]},
        ],
    },
    "ec2Configuration": [{"imageType": "ECS_AL2023", "imageIdOverride": "ami-87654321"}],
    "scalingPolicy": {"minScaleDownDelayMinutes": 20},
}
EKS_CHANGES = {
    "launchTemplate": {
        "launchTemplateId": "lt-1",
        "userdataType": "EKS_NODEADM",
        "overrides": [
            {"launchTemplateId": "lt-2", "targetInstanceTypes": ["m6i.large"], "userdataType": "EKS_NODEADM"}
        ],
    },
    "ec2Configuration": [{"imageType": "EKS_AL2023", "imageKubernetesVersion": "1.33"}],
}
FAIR_SHARE = {
    "shareDecaySeconds": 600,
    "computeReservation": 10,
    "shareDistribution": [{"shareIdentifier": "lab*", "weightFactor": 0.5}],
}
QUOTA_SHARE = {
    "capacityLimits": INSTANCE_CAPACITY,
    "resourceSharingConfiguration": {"strategy": "LEND_AND_BORROW", "borrowLimit": 100},
    "preemptionConfiguration": {"inSharePreemption": "ENABLED"},
    "state": "ENABLED",
}
BULK = {"jobs": ["{job}"], "reason": "enough"}

TRAINING = (
    '{"TrainingJobName": "t", "ResourceConfig": {"InstanceCount": 1, "InstanceType":'
    ' "ml.m5.large", "VolumeSizeInGB": 1}, "AlgorithmSpecification": {"TrainingImage": "busybox",'
    ' "TrainingInputMode": "File", "ContainerEntrypoint": ["sleep", "600"]}, "OutputDataConfig": {"S3OutputPath":'
    ' "s3://bucket"}, "StoppingCondition": {"MaxRuntimeInSeconds": 60}, "RoleArn":'
    ' "arn:aws:iam::123456789012:role/some"}'
)

RESOURCES = [
    Step(
        "CreateComputeEnvironment",
        {
            "computeEnvironmentName": "spot",
            "type": "MANAGED",
            "state": "ENABLED",
            "computeResources": {**INSTANCES, "spotIamFleetRole": ROLE},
            "serviceRole": ROLE,
            "tags": TAGS,
            "context": "x",
        },
        settle=("environment", "spot"),
    ),
    Step(
        "CreateComputeEnvironment",
        {
            "computeEnvironmentName": "ec2",
            "type": "MANAGED",
            "computeResources": {
                "type": "EC2",
                "minvCpus": 0,
                "maxvCpus": 8,
                "instanceTypes": ["optimal"],
                "subnets": ["subnet-1"],
                "securityGroupIds": ["sg-1"],
                "instanceRole": "ecsInstanceRole",
            },
        },
        settle=("environment", "ec2"),
    ),
    Step(
        "CreateComputeEnvironment",
        {
            "computeEnvironmentName": "own",
            "type": "UNMANAGED",
            "unmanagedvCpus": 4,
            "serviceRole": ROLE,
            "ecsSettings": {"containerInsights": "ENABLED"},
        },
        settle=("environment", "own"),
    ),
    Step(
        "CreateComputeEnvironment",
        {
            "computeEnvironmentName": "kubernetes",
            "type": "MANAGED",
            "computeResources": {
                **{name: value for name, value in INSTANCES.items() if name not in ("ec2Configuration", "imageId")},
                **EKS_CHANGES,
            },
            "eksConfiguration": {
                "eksClusterArn": "arn:aws:eks:{region}:{account}:cluster/c",
                "kubernetesNamespace": "batch",
                "accessEntry": {"desiredState": "ENABLED"},
            },
        },
        settle=("environment", "kubernetes"),
    ),
    Step(
        "CreateComputeEnvironment",
        {
            "computeEnvironmentName": "instances",
            "type": "MANAGED",
            "computeResources": {
                "type": "ECS_MANAGED_INSTANCES",
                "maxvCpus": 8,
                "managedInstancesProvider": PROVIDER,
                "capacityTags": TAGS,
            },
        },
        settle=("environment", "instances"),
    ),
    Step(
        "UpdateComputeEnvironment",
        {
            "computeEnvironment": "spot",
            "state": "ENABLED",
            "computeResources": {**INSTANCES, "updateToLatestImageVersion": True},
            "serviceRole": ROLE,
            "updatePolicy": {"terminateJobsOnUpdate": True, "jobExecutionTimeoutMinutes": 10},
            "context": "y",
        },
        settle=("environment", "spot"),
    ),
    Step(
        "UpdateComputeEnvironment",
        {"computeEnvironment": "own", "unmanagedvCpus": 8, "ecsSettings": {"containerInsights": "DISABLED"}},
        settle=("environment", "own"),
    ),
    Step(
        "UpdateComputeEnvironment",
        {
            "computeEnvironment": "kubernetes",
            "computeResources": EKS_CHANGES,
            "eksConfiguration": {"accessEntry": {"desiredState": "ENABLED"}},
        },
        settle=("environment", "kubernetes"),
    ),
    Step(
        "UpdateComputeEnvironment",
        {
            "computeEnvironment": "instances",
            "computeResources": {"managedInstancesProvider": CHANGED_PROVIDER, "capacityTags": TAGS},
        },
        settle=("environment", "instances"),
    ),
    Step(
        "DescribeComputeEnvironments",
        {"computeEnvironments": [], "maxResults": 1},
        keep={"environments-token": "nextToken"},
    ),
    Step("DescribeComputeEnvironments", {"maxResults": 1, "nextToken": "{environments-token}"}),
    Step("DescribeComputeEnvironments", {"computeEnvironments": ["spot", ARN + "compute-environment/own"]}),
    Step(
        "CreateSchedulingPolicy",
        {"name": "fair", "fairsharePolicy": FAIR_SHARE, "tags": TAGS},
        keep={"fair": "arn"},
    ),
    Step(
        "CreateSchedulingPolicy",
        {"name": "quota", "quotaSharePolicy": {"idleResourceAssignmentStrategy": "FIFO"}},
        keep={"quota": "arn"},
    ),
    Step("UpdateSchedulingPolicy", {"arn": "{fair}", "fairsharePolicy": FAIR_SHARE}),
    Step("UpdateSchedulingPolicy", {"arn": "{quota}", "quotaSharePolicy": {"idleResourceAssignmentStrategy": "FIFO"}}),
    Step("CreateSchedulingPolicy", {"name": "fair-too"}, keep={"fair-too": "arn"}),
    Step("DescribeSchedulingPolicies", {"arns": ["{fair}", "{fair-too}"]}),
    Step("ListSchedulingPolicies", {"maxResults": 1}, keep={"policies-token": "nextToken"}),
    Step("ListSchedulingPolicies", {"maxResults": 1, "nextToken": "{policies-token}"}),
    Step(
        "CreateServiceEnvironment",
        {
            "serviceEnvironmentName": "training",
            "serviceEnvironmentType": "SAGEMAKER_TRAINING",
            "state": "ENABLED",
            "capacityLimits": INSTANCE_CAPACITY,
            "tags": TAGS,
        },
        settle=("service environment", "training"),
    ),
    Step(
        "CreateServiceEnvironment",
        {
            "serviceEnvironmentName": "counted",
            "serviceEnvironmentType": "SAGEMAKER_TRAINING",
            "capacityLimits": CAPACITY,
        },
        settle=("service environment", "counted"),
    ),
    Step(
        "UpdateServiceEnvironment",
        {"serviceEnvironment": "training", "state": "ENABLED", "capacityLimits": INSTANCE_CAPACITY},
        settle=("service environment", "training"),
    ),
    Step(
        "DescribeServiceEnvironments",
        {"serviceEnvironments": [], "maxResults": 1},
        keep={"service-environments-token": "nextToken"},
    ),
    Step("DescribeServiceEnvironments", {"maxResults": 1, "nextToken": "{service-environments-token}"}),
    Step("DescribeServiceEnvironments", {"serviceEnvironments": ["training"]}),
    Step(
        "CreateConsumableResource",
        {"consumableResourceName": "licences", "totalQuantity": 4, "resourceType": "REPLENISHABLE", "tags": TAGS},
    ),
    Step("CreateConsumableResource", {"consumableResourceName": "tickets", "totalQuantity": 4}),
    Step(
        "UpdateConsumableResource",
        {"consumableResource": "licences", "operation": "ADD", "quantity": 2, "clientToken": "token-1"},
    ),
    Step("DescribeConsumableResource", {"consumableResource": "licences"}),
    Step(
        "ListConsumableResources",
        {"filters": [{"name": "CONSUMABLE_RESOURCE_NAME", "values": ["lic*"]}]},
    ),
    Step("ListConsumableResources", {"maxResults": 1}, keep={"consumables-token": "nextToken"}),
    Step("ListConsumableResources", {"maxResults": 1, "nextToken": "{consumables-token}"}),
]

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
        {"jobName": "pod", "jobQueue": "pods", "jobDefinition": "{pod}", "eksPropertiesOverride": POD_OVERRIDES},
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
            "jobQueue": "pods",
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

SERVICE_JOBS = [
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train",
            "jobQueue": "{plain-training-queue}",
            "retryStrategy": {
                "attempts": 2,
                "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Received status from SageMaker: *"}],
            },
            "schedulingPriority": 5,
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "shareIdentifier": "labA",
            "timeoutConfig": {"attemptDurationSeconds": 600},
            "tags": TAGS,
            "clientToken": "token-2",
        },
        keep={"service-job": "jobId"},
    ),
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train-again",
            "jobQueue": "{plain-training-queue}",
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "shareIdentifier": "labA",
        },
    ),
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train",
            "jobQueue": "{training-queue}",
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "quotaShareName": "mine",
        },
    ),
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train-patiently",
            "jobQueue": "{training-queue}",
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "quotaShareName": "mine",
            "preemptionConfiguration": {"preemptionRetriesBeforeTermination": 1},
        },
    ),
    Step("DescribeServiceJob", {"jobId": "{service-job}"}),
    Step("ListServiceJobs", {"jobQueue": "{plain-training-queue}", "jobStatus": "RUNNABLE", "maxResults": 1}),
    Step(
        "ListServiceJobs",
        {
            "jobQueue": "{plain-training-queue}",
            "maxResults": 1,
            "filters": [{"name": "JOB_NAME", "values": ["tr*"]}],
        },
        keep={"service-jobs-token": "nextToken"},
    ),
    Step(
        "ListServiceJobs",
        {
            "jobQueue": "{plain-training-queue}",
            "maxResults": 1,
            "filters": [{"name": "JOB_NAME", "values": ["tr*"]}],
            "nextToken": "{service-jobs-token}",
        },
    ),
    Step("UpdateServiceJob", {"jobId": "{service-job}", "schedulingPriority": 6}),
    Step("TerminateServiceJob", {"jobId": "{service-job}", "reason": "enough"}),
    Step("TerminateServiceJobs", {"jobs": ["{service-job}"], "reason": "enough"}),
]

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

STEPS = [*RESOURCES, *QUEUES, *DEFINITIONS, *JOBS, *SERVICE_JOBS, *CLEARING_AWAY]
