"""Members of `containerProperties`: each rule of the model and the guide, and what is stored."""

from __future__ import annotations

from typing import Any

import pytest
from definition_forms import Form, needs, register, registering, single
from story import Story

ROLE = "arn:aws:iam::123456789012:role/run"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf:user::"


def on_fargate(**members: Any) -> Form:
    given = {"executionRoleArn": ROLE, "resourceRequirements": needs("0.25", "512"), **members}
    return {"platformCapabilities": ["FARGATE"], "containerProperties": single(**given)}


def efs(**members: Any) -> list[Form]:
    return [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1", **members}}]


def linux(**members: Any) -> Form:
    return single(linuxParameters=members)


def ulimit(name: str = "nofile", soft: int = 1, hard: int = 2) -> Form:
    return {"name": name, "softLimit": soft, "hardLimit": hard}


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        # Secrets
        (
            single(secrets=[{"name": "A", "valueFrom": "arn:aws:s3:::bucket"}]),
            "Secret A: valueFrom must be the ARN of a Secrets Manager secret, or the ARN or name of a Systems Manager"
            " parameter, got 'arn:aws:s3:::bucket'",
        ),
        (
            single(secrets=[{"name": "A", "valueFrom": ""}]),
            "Secret A: valueFrom must be the ARN of a Secrets Manager secret, or the ARN or name of a Systems Manager"
            " parameter, got ''",
        ),
        (
            single(secrets=[{"name": "A", "valueFrom": SECRET}] * 2),
            "Secret A has the name of another secret or environment variable",
        ),
        (
            single(secrets=[{"name": "A", "valueFrom": SECRET}], environment=[{"name": "A", "value": "x"}]),
            "Secret A has the name of another secret or environment variable",
        ),
        (
            single(secrets=[{"name": "AWS_BATCH_A", "valueFrom": SECRET}]),
            "Secret name AWS_BATCH_A starts with the reserved prefix AWS_BATCH",
        ),
        (
            single(secrets=[{"name": "", "valueFrom": SECRET}]),
            "Secret name '' cannot be the name of an environment variable",
        ),
        (
            single(repositoryCredentials={"credentialsParameter": "mine"}),
            "repositoryCredentials credentialsParameter must be the ARN of a Secrets Manager secret, got 'mine'",
        ),
        # Log configuration
        (
            single(logConfiguration={"logDriver": "splunk", "secretOptions": [{"name": "t", "valueFrom": " "}]}),
            "Secret t: valueFrom must be the ARN of a Secrets Manager secret, or the ARN or name of a Systems Manager"
            " parameter, got ' '",
        ),
        # Ulimits
        (
            single(ulimits=[ulimit("files")]),
            "Ulimit 'files' is not one of core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss,"
            " rtprio, rttime, sigpending, stack",
        ),
        (single(ulimits=[ulimit(), ulimit()]), "Ulimit nofile is given twice"),
        (single(ulimits=[ulimit(soft=3)]), "Ulimit nofile: softLimit 3 is above hardLimit 2"),
        (single(ulimits=[ulimit(soft=-1)]), "Ulimit nofile: softLimit -1 is above hardLimit 2"),
        (single(ulimits=[ulimit(hard=-2)]), "Ulimit nofile: a limit cannot be less than -1"),
        # Linux parameters
        (linux(swappiness=101), "linuxParameters swappiness must be between 0 and 100, got 101"),
        (linux(maxSwap=-1), "linuxParameters maxSwap must be at least 0 MiB, got -1"),
        (linux(sharedMemorySize=0), "linuxParameters sharedMemorySize must be at least 1 MiB, got 0"),
        (linux(devices=[{"hostPath": ""}]), "linuxParameters device must have a hostPath"),
        (
            linux(tmpfs=[{"containerPath": "t", "size": 1}]),
            "linuxParameters tmpfs containerPath must be an absolute path, got 't'",
        ),
        (
            linux(tmpfs=[{"containerPath": "/t", "size": 0}]),
            "linuxParameters tmpfs /t must have a size of at least 1 MiB",
        ),
        (
            linux(tmpfs=[{"containerPath": "/t", "size": 1, "mountOptions": ["noexecute"]}]),
            "linuxParameters tmpfs /t has an unknown mount option 'noexecute'",
        ),
        # Volumes
        (
            single(volumes=[{"name": "a b"}]),
            "Volume name 'a b' must be 1 to 255 letters, numbers, hyphens and underscores",
        ),
        (single(volumes=[{}]), "Volume name '' must be 1 to 255 letters, numbers, hyphens and underscores"),
        (single(volumes=[{"name": "v"}, {"name": "v"}]), "Volume name v is given twice"),
        (
            single(volumes=[{**efs()[0], "host": {}}]),
            "Volume v can only have one of host, efsVolumeConfiguration and s3filesVolumeConfiguration",
        ),
        (single(volumes=efs(fileSystemId="")), "Volume v: efsVolumeConfiguration must have a fileSystemId"),
        (single(volumes=efs(rootDirectory="/" * 4097)), "Volume v: rootDirectory can have at most 4096 characters"),
        (
            single(volumes=efs(transitEncryptionPort=65536)),
            "Volume v: transitEncryptionPort must be between 0 and 65535, got 65536",
        ),
        (
            single(volumes=efs(authorizationConfig={"iam": "ENABLED"})),
            "Volume v: transitEncryption must be ENABLED when IAM authorization is used",
        ),
        (
            single(volumes=efs(transitEncryption="ENABLED", authorizationConfig={"iam": "ENABLED"})),
            "Volume v: IAM authorization needs a job role",
        ),
        (
            single(volumes=efs(authorizationConfig={"accessPointId": "p"})),
            "Volume v: transitEncryption must be ENABLED when an access point is used",
        ),
        (
            single(
                volumes=efs(transitEncryption="ENABLED", rootDirectory="/x", authorizationConfig={"accessPointId": "p"})
            ),
            "Volume v: rootDirectory must be omitted or / when an access point is used",
        ),
        (
            single(volumes=[{"name": "v", "s3filesVolumeConfiguration": {"fileSystemArn": "fs"}}]),
            "Volume v: fileSystemArn must be an ARN, got 'fs'",
        ),
        (single(volumes=[{"name": "v"}], mountPoints=[{"sourceVolume": "v"}]), "Mount point must have a containerPath"),
        # Platforms
        (single(ephemeralStorage={"sizeInGiB": 30}), "ephemeralStorage not applicable for EC2."),
        (single(fargatePlatformConfiguration={}), "fargatePlatformConfiguration not applicable for EC2."),
        (
            single(runtimePlatform={"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}),
            "operatingSystemFamily WINDOWS_SERVER_2022_CORE is only applicable for Fargate.",
        ),
        (
            single(runtimePlatform={"operatingSystemFamily": "BEOS"}),
            "operatingSystemFamily must be one of LINUX, WINDOWS_SERVER_2019_CORE, WINDOWS_SERVER_2019_FULL,"
            " WINDOWS_SERVER_2022_CORE, WINDOWS_SERVER_2022_FULL, got 'BEOS'",
        ),
        (single(runtimePlatform={"cpuArchitecture": "RISC"}), "cpuArchitecture must be X86_64 or ARM64, got 'RISC'"),
    ],
)
def test_what_is_refused(story: Story, properties: Form, text: str) -> None:
    assert story.refused(registering(containerProperties=properties)) == text


WINDOWS = {"operatingSystemFamily": "WINDOWS_SERVER_2019_CORE"}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        *(
            (on_fargate(linuxParameters={member: value}), f"linuxParameters.{member} is not applicable for Fargate.")
            for member, value in {
                "devices": [{"hostPath": "/dev/fuse"}],
                "sharedMemorySize": 64,
                "tmpfs": [{"containerPath": "/t", "size": 1}],
                "maxSwap": 0,
                "swappiness": 0,
            }.items()
        ),
        (on_fargate(instanceType="m5.large"), "instanceType is not applicable for Fargate."),
        (
            on_fargate(volumes=[{"name": "v", "host": {"sourcePath": "/v"}}]),
            "host.sourcePath is not applicable for Fargate.",
        ),
        (on_fargate(logConfiguration={"logDriver": "gelf"}), "Log driver gelf is not applicable for Fargate."),
        (
            on_fargate(ephemeralStorage={"sizeInGiB": 20}),
            "ephemeralStorage sizeInGiB must be between 21 and 200, got 20",
        ),
        (
            on_fargate(ephemeralStorage={"sizeInGiB": 201}),
            "ephemeralStorage sizeInGiB must be between 21 and 200, got 201",
        ),
        (
            on_fargate(volumes=efs(), fargatePlatformConfiguration={"platformVersion": "1.3.0"}),
            "EFS is supported for Fargate platform version 1.4.0",
        ),
        (
            on_fargate(fargatePlatformConfiguration={"platformVersion": "9"}),
            "Fargate platform version must be one of 1.3.0, 1.4.0, LATEST, got '9'",
        ),
        *(
            (
                on_fargate(runtimePlatform=WINDOWS, **{member: value}),
                f"{member} is not applicable for Windows containers.",
            )
            for member, value in {
                "linuxParameters": {"initProcessEnabled": True},
                "user": "1000",
                "readonlyRootFilesystem": True,
            }.items()
        ),
        (
            on_fargate(runtimePlatform=WINDOWS, volumes=efs()),
            "efsVolumeConfiguration is not applicable for Windows containers.",
        ),
        (
            on_fargate(runtimePlatform={**WINDOWS, "cpuArchitecture": "ARM64"}),
            "cpuArchitecture must be X86_64 for Windows containers",
        ),
        (
            {"platformCapabilities": ["EC2", "EC2"], "containerProperties": single()},
            "platformCapabilities cannot name a platform twice",
        ),
        (
            {"platformCapabilities": ["MANAGED_INSTANCES"], "containerProperties": single()},
            "Platform capability MANAGED_INSTANCES requires ecsProperties",
        ),
    ],
)
def test_what_a_platform_refuses(story: Story, form: Form, text: str) -> None:
    assert story.refused(registering(**form)) == text


def test_everything_at_once_comes_back_as_it_was_sent(story: Story) -> None:
    sent = single(
        jobRoleArn=ROLE,
        environment=[{"name": "A", "value": "1"}, {"name": "B"}],
        secrets=[{"name": "S", "valueFrom": SECRET}, {"name": "P", "valueFrom": "/team/parameter"}],
        user="nobody:1000",
        privileged=False,
        readonlyRootFilesystem=True,
        instanceType="m5.large",
        ulimits=[ulimit(), ulimit("core", -1, -1)],
        linuxParameters={
            "devices": [{"hostPath": "/dev/fuse", "permissions": ["READ"]}],
            "initProcessEnabled": True,
            "sharedMemorySize": 64,
            "tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["rw", "mode=1777"]}],
            "maxSwap": 0,
            "swappiness": 60,
        },
        logConfiguration={"logDriver": "awslogs", "options": {"awslogs-group": "mine"}},
        volumes=[
            {"name": "host", "host": {"sourcePath": "/data"}},
            {"name": "anonymous", "host": {}},
            {
                "name": "efs",
                "efsVolumeConfiguration": {
                    "fileSystemId": "fs-1",
                    "rootDirectory": "/",
                    "transitEncryption": "ENABLED",
                    "transitEncryptionPort": 2999,
                    "authorizationConfig": {"accessPointId": "p", "iam": "ENABLED"},
                },
            },
            {"name": "s3", "s3filesVolumeConfiguration": {"fileSystemArn": "arn:aws:s3files:eu-west-1:1:fs/1"}},
        ],
        mountPoints=[{"sourceVolume": "efs", "containerPath": "/efs", "readOnly": True}],
        runtimePlatform={"cpuArchitecture": "ARM64"},
        repositoryCredentials={"credentialsParameter": SECRET},
        enableExecuteCommand=True,
    )
    request = {
        "containerProperties": sent,
        "schedulingPriority": 7,
        "retryStrategy": {"attempts": 3, "evaluateOnExit": [{"onExitCode": "1*", "action": "retry"}]},
        "timeout": {"attemptDurationSeconds": 60},
        "propagateTags": True,
        "tags": {"team": "a"},
        "parameters": {"x": "y"},
        "platformCapabilities": ["EC2"],
        "consumableResourceProperties": {"consumableResourceList": [{"consumableResource": "licence", "quantity": 2}]},
    }
    shown = register(story, **request)
    assert {member: shown[member] for member in request} == request


def test_fargate_fills_in_the_platform_version(story: Story) -> None:
    shown = register(story, **on_fargate(networkConfiguration={"assignPublicIp": "ENABLED"}))
    assert shown["containerProperties"]["fargatePlatformConfiguration"] == {"platformVersion": "LATEST"}
    shown = register(story, **on_fargate(fargatePlatformConfiguration={"platformVersion": "1.4.0"}))
    assert shown["containerProperties"]["fargatePlatformConfiguration"] == {"platformVersion": "1.4.0"}


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([{"quantity": 1}], "Consumable resource '' is neither a name nor an ARN of a consumable resource"),
        (
            [{"consumableResource": "arn:aws:batch:eu-west-1:1:job-queue/q", "quantity": 1}],
            "Consumable resource 'arn:aws:batch:eu-west-1:1:job-queue/q' is neither a name nor an ARN of a consumable"
            " resource",
        ),
        (
            [{"consumableResource": "a", "quantity": 0}],
            "Consumable resource a must have a quantity of at least 1, got 0",
        ),
        (
            [
                {"consumableResource": "a", "quantity": 1},
                {"consumableResource": "arn:aws:batch:eu-west-1:1:consumable-resource/a", "quantity": 1},
            ],
            "Consumable resource a is given twice",
        ),
    ],
)
def test_consumable_resources(story: Story, entries: list[Form], text: str) -> None:
    properties = {"consumableResourceList": entries}
    refused = registering(containerProperties=single(), consumableResourceProperties=properties)
    assert story.refused(refused) == text
