"""RegisterJobDefinition and SubmitJob over the wire: every rule of definitions and overrides that the kernel's tests hold arrives
at a client as a ClientException in the same words, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import test_definitions_container_members as single_containers
import test_definitions_ecs as several_containers
import test_definitions_eks as pods
import test_definitions_nodes as several_nodes
import test_submission_kinds as submissions
from botocore.config import Config
from definition_forms import Form, beside, group, needs, nodes, pod, single, task
from response_shapes import watch

from server_process import ServerProcess
from work import new_name, new_queue, refused, register, settled_environment

IN = {
    single_containers.test_what_is_refused: "containerProperties",
    single_containers.test_what_a_platform_refuses: None,
    several_containers.test_what_is_refused: "ecsProperties",
    several_containers.test_what_fargate_refuses: None,
    pods.test_what_is_refused: "eksProperties",
    several_nodes.test_what_is_refused: "nodeProperties",
}
"""The tables of the kernel's tests, and the member of the request that their rows are; None: they are whole requests."""


def table_of(test: Callable[..., None]) -> list[tuple[Any, str]]:
    """The rows that a test is given: what is sent, and the words of the refusal."""
    [mark] = [mark for mark in vars(test)["pytestmark"] if mark.name == "parametrize"]
    return list(mark.args[1])


REGISTRATIONS: list[tuple[Form, str]] = [
    *(
        (form if member is None else {member: form}, text)
        for test, member in IN.items()
        for form, text in table_of(test)
    ),
    *(
        ({"containerProperties": single(), "consumableResourceProperties": {"consumableResourceList": entries}}, text)
        for entries, text in table_of(single_containers.test_consumable_resources)
    ),
    *(
        (several_containers.managed(**members), text)
        for members, text in (
            ({"networkMode": "awsvpc"}, "networkMode must be host, got 'awsvpc'"),
            (
                {"networkConfiguration": {"assignPublicIp": "ENABLED"}},
                "networkConfiguration is not applicable for Managed Instances.",
            ),
        )
    ),
    (
        {
            "platformCapabilities": ["MANAGED_INSTANCES"],
            "ecsProperties": task(beside("a", logConfiguration={"logDriver": "syslog"})),
        },
        "Log driver syslog is not applicable for Managed Instances.",
    ),
    (
        {"platformCapabilities": ["FARGATE"], "containerProperties": single(resourceRequirements=needs("1", "2048"))},
        "executionRoleArn is required for Fargate.",
    ),
    (single_containers.on_fargate(vcpus=1), "vcpus is not applicable for Fargate. Use resource requirements instead."),
    (
        single_containers.on_fargate(
            ephemeralStorage={"sizeInGiB": 30}, fargatePlatformConfiguration={"platformVersion": "1.3.0"}
        ),
        "ephemeralStorage is supported for Fargate platform version 1.4.0",
    ),
    (single_containers.on_fargate(privileged=True), "privileged is not applicable for Fargate."),
    ({"containerProperties": single(resourceRequirements=needs()[:1])}, "Memory is not provided."),
    (
        {
            "containerProperties": single(
                volumes=[
                    {
                        "name": "v",
                        "s3filesVolumeConfiguration": {"fileSystemArn": "arn:aws:s3files:x", "accessPointArn": "p"},
                    }
                ]
            )
        },
        "Volume v: accessPointArn must be an ARN, got 'p'",
    ),
    (
        {"containerProperties": single(), "timeout": {"attemptDurationSeconds": 2**31}},
        "attemptDurationSeconds",
    ),
    (
        {"platformCapabilities": ["FARGATE"], "nodeProperties": nodes(2)},
        "nodeProperties is not applicable for Fargate.",
    ),
    ({"eksProperties": pod(), "platformCapabilities": ["EC2"]}, "platformCapabilities is not applicable for EKS."),
    ({"eksProperties": pod(), "propagateTags": True}, "propagateTags is not applicable for EKS."),
]


@pytest.fixture(scope="module")
def as_sent(server: ServerProcess) -> Any:
    """A client that checks nothing itself."""
    unchecked = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    client = server.session().client("batch", endpoint_url=server.endpoint, config=unchecked)
    watch(client)
    return client


@pytest.mark.parametrize(("request_", "text"), REGISTRATIONS)
def test_definitions(as_sent: Any, request_: Form, text: str) -> None:
    name = new_name("refused")
    kind = "multinode" if "nodeProperties" in request_ else "container"
    message = refused(as_sent.register_job_definition, jobDefinitionName=name, type=kind, **request_)
    assert text in message
    assert as_sent.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"] == []


@pytest.fixture(scope="module")
def definitions(as_sent: Any) -> Iterator[dict[str, str]]:
    """The definitions that the kernel's tables of submissions are about."""
    forms: dict[str, Form] = {
        "gang": {
            "nodeProperties": nodes(
                4,
                group("0", container=single(command=["main", "Ref::x"])),
                group("1:", container=single(resourceRequirements=needs("2", "256"), instanceType="a")),
            ),
            "parameters": {"x": "y"},
        },
        "closed": {"nodeProperties": nodes(4, group("0:3"))},
        "task": {
            "ecsProperties": task(
                beside("main", command=["echo", "Ref::who"]),
                beside("side", essential=False, command=["Ref::what"], resourceRequirements=needs("2", "256")),
            ),
            "parameters": {"who": "you"},
        },
        "single": {"containerProperties": single()},
    }
    names = {}
    for label, form in forms.items():
        kind = "multinode" if "nodeProperties" in form else "container"
        answer = as_sent.register_job_definition(jobDefinitionName=new_name(label), type=kind, **form)
        names[label] = answer["jobDefinitionArn"]
    yield names
    for arn in names.values():
        as_sent.deregister_job_definition(jobDefinition=arn)


SUBMISSIONS = [
    *(("gang", form, text) for form, text in table_of(submissions.test_what_is_refused_for_nodes)),
    *(("task", form, text) for form, text in table_of(submissions.test_what_is_refused_for_a_task)),
    (
        "closed",
        submissions.over_nodes(5),
        "numNodes can only be overridden when a node range of the job definition has an open upper boundary",
    ),
    (
        "single",
        {"containerOverrides": {"command": ["sh", ""]}},
        "Container override command cannot contain an empty string",
    ),
    ("single", {"dependsOn": [{"type": "SEQUENTIAL"}]}, "SEQUENTIAL"),
    (
        "single",
        {
            "arrayProperties": {"size": 2},
            "dependsOn": [{"type": "SEQUENTIAL", "jobId": "00000000-0000-4000-8000-000000000000"}],
        },
        "Dependency type SEQUENTIAL cannot have a jobId: it orders the job's own children",
    ),
]


@pytest.mark.parametrize(("definition", "overrides", "text"), SUBMISSIONS)
def test_submissions(as_sent: Any, definitions: dict[str, str], definition: str, overrides: Form, text: str) -> None:
    name = new_name("refused")
    request = {"jobName": name, "jobQueue": "default", "jobDefinition": definitions[definition], **overrides}
    message = refused(as_sent.submit_job, **request)
    assert text in message
    filters = [{"name": "JOB_NAME", "values": [name]}]
    assert as_sent.list_jobs(jobQueue="default", filters=filters)["jobSummaryList"] == []


def test_overrides_on_fargate(as_sent: Any) -> None:
    batch = as_sent
    environment, queue = new_name("fargate"), new_name("fargate")
    resources = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["s"], "securityGroupIds": ["g"]}
    batch.create_compute_environment(computeEnvironmentName=environment, type="MANAGED", computeResources=resources)
    settled_environment(batch, environment)
    new_queue(batch, environment, name=queue)
    form = single_containers.on_fargate(resourceRequirements=needs("1", "2048"))
    definition = batch.register_job_definition(jobDefinitionName=new_name("fargate"), type="container", **form)
    request = {"jobName": "job", "jobQueue": queue, "jobDefinition": definition["jobDefinitionArn"]}
    for overrides, text in (
        ({"vcpus": 2}, "vcpus is not applicable for Fargate. Use resource requirements instead."),
        ({"memory": 2048}, "memory is not applicable for Fargate. Use resource requirements instead."),
        (
            {"resourceRequirements": [{"type": "MEMORY", "value": "1024"}]},
            "Fargate resource requirements (1.00 vCPU, 1024 MiB) not valid.",
        ),
    ):
        assert text in refused(batch.submit_job, **request, containerOverrides=overrides)


def test_which_definitions_can_be_deregistered(server: ServerProcess, batch: Any) -> None:
    arn = register(batch)
    name = arn.rpartition("/")[2].partition(":")[0]
    batch.deregister_job_definition(jobDefinition=arn)
    text = f"JobDefinition name {name} does not exist or is not in ACTIVE status"
    assert text in refused(batch.deregister_job_definition, jobDefinition=name)
    foreign = arn.replace(server.account_id, "999999999999")
    assert f"JobDefinition {foreign} not found." in refused(batch.deregister_job_definition, jobDefinition=foreign)
