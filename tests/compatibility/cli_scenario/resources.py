"""Compute environments, scheduling policies, service environments, consumable resources."""

from __future__ import annotations

from compatibility.cli_scenario.step import ARN, INSTANCE_CAPACITY, ROLE, TAGS, Step

CAPACITY = [{"maxCapacity": 4, "capacityUnit": "NUM_INSTANCES"}]

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
