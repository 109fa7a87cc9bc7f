"""What job definitions run: containers, ECS tasks, and pods."""

from __future__ import annotations

from compatibility.cli_scenario.step import EC2_SIZE, PAIRS, ROLE

SECRETS = [{"name": "TOKEN", "valueFrom": "arn:aws:ssm:{region}:{account}:parameter/token"}]

FARGATE_SIZE = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]

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
