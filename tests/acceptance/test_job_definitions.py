"""Job definitions of every kind through boto3: registered, described, submitted, and what DescribeJobs says of the jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server_process import ServerProcess
from work import container, describe, new_environment, new_name, new_queue, refused, register

ROLE = "arn:aws:iam::123456789012:role/run"


def needs(vcpus: str = "1", memory: str = "64") -> list[dict[str, str]]:
    return [{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": memory}]


def beside(name: str, *command: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": [*command], "resourceRequirements": needs(), **more}


TASK = {
    "taskProperties": [
        {
            "containers": [
                beside("main", "echo", "Ref::who", dependsOn=[{"containerName": "side", "condition": "START"}]),
                beside("side", "sleep", "1", essential=False, stopTimeout=5),
            ],
            "taskRoleArn": ROLE,
            "ipcMode": "task",
            "volumes": [{"name": "v", "host": {}}],
        }
    ]
}
POD = {
    "podProperties": {
        "containers": [{"image": "busybox", "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}],
        "hostNetwork": True,
        "metadata": {"labels": {"team": "a"}},
    }
}
NODES = {
    "numNodes": 3,
    "mainNode": 0,
    "nodeRangeProperties": [
        {"targetNodes": "0", "container": container("echo main")},
        {"targetNodes": "1:", "container": container("echo other", vcpus="2"), "instanceTypes": ["c5.large"]},
    ],
}


def register_kind(batch: Any, **members: Any) -> dict[str, Any]:
    """Registers, and returns what DescribeJobDefinitions shows."""
    type_ = "multinode" if "nodeProperties" in members else "container"
    arn = batch.register_job_definition(jobDefinitionName=new_name("kind"), type=type_, **members)["jobDefinitionArn"]
    [shown] = batch.describe_job_definitions(jobDefinitions=[arn])["jobDefinitions"]
    return shown


@pytest.fixture
def closed(batch: Any) -> str:
    """A queue in which nothing starts."""
    return new_queue(batch, new_environment(batch, state="DISABLED"))


def submit(batch: Any, queue: str, definition: dict[str, Any], **more: Any) -> dict[str, Any]:
    job_id = batch.submit_job(
        jobName=new_name("job"), jobQueue=queue, jobDefinition=definition["jobDefinitionArn"], **more
    )["jobId"]
    return describe(batch, job_id)


def summary(batch: Any, queue: str, job: dict[str, Any]) -> dict[str, Any]:
    listed = batch.list_jobs(jobQueue=queue, jobStatus=job["status"])["jobSummaryList"]
    [found] = [each for each in listed if each["jobId"] == job["jobId"]]
    return found


def test_several_containers(batch: Any, closed: str) -> None:
    definition = register_kind(batch, ecsProperties=TASK, parameters={"who": "you"})
    [stored] = definition["ecsProperties"]["taskProperties"]
    main, side = stored["containers"]
    assert (main["essential"], side["essential"]) == (True, False)
    assert main["environment"] == main["mountPoints"] == main["secrets"] == main["ulimits"] == []
    assert definition["containerOrchestrationType"] == "ECS"

    override = {"name": "side", "command": ["sleep", "2"], "environment": [{"name": "A", "value": "1"}]}
    job = submit(batch, closed, definition, ecsPropertiesOverride={"taskProperties": [{"containers": [override]}]})
    assert "container" not in job
    [task] = job["ecsProperties"]["taskProperties"]
    main, side = task["containers"]
    assert main["command"] == ["echo", "you"]
    assert (side["command"], side["environment"]) == (["sleep", "2"], [{"name": "A", "value": "1"}])
    assert (task["taskRoleArn"], task["ipcMode"], task["volumes"]) == (ROLE, "task", [{"name": "v", "host": {}}])
    assert (job["status"], job["attempts"], job["eksAttempts"]) == ("RUNNABLE", [], [])
    assert "nodeProperties" not in summary(batch, closed, job)


def test_a_pod(batch: Any, closed: str) -> None:
    definition = register_kind(batch, eksProperties=POD)
    assert definition["containerOrchestrationType"] == "EKS"
    properties = definition["eksProperties"]["podProperties"]
    assert properties["containers"][0]["env"] == []
    assert properties["metadata"] == {"labels": {"team": "a"}}
    message = refused(batch.submit_job, jobName="x", jobQueue=closed, jobDefinition=definition["jobDefinitionArn"])
    assert "can not run Jobs with capability EKS" in message


def test_several_nodes(batch: Any, closed: str) -> None:
    definition = register_kind(batch, nodeProperties=NODES)
    assert definition["type"] == "multinode"
    job = submit(
        batch,
        closed,
        definition,
        nodeOverrides={
            "numNodes": 5,
            "nodePropertyOverrides": [{"targetNodes": "0", "containerOverrides": {"command": ["true"]}}],
        },
    )
    assert "container" not in job
    assert job["nodeProperties"]["numNodes"] == 5
    first, others = job["nodeProperties"]["nodeRangeProperties"]
    assert first["container"]["command"] == ["true"]
    assert others["instanceTypes"] == ["c5.large"]
    assert summary(batch, closed, job)["nodeProperties"] == {"numNodes": 5}


def test_jobs_that_nothing_here_runs_wait_and_say_so(batch: Any) -> None:
    queue = new_queue(batch)
    for members in ({"ecsProperties": TASK, "parameters": {"who": "x"}}, {"nodeProperties": NODES}):
        job = submit(batch, queue, register_kind(batch, **members))
        assert job["status"] == "RUNNABLE"
        assert "No engine of this server runs" in job["statusReason"]
        batch.terminate_job(jobId=job["jobId"], reason="enough")
        assert describe(batch, job["jobId"])["status"] == "FAILED"


def test_an_array_of_tasks(batch: Any, closed: str) -> None:
    definition = register_kind(batch, ecsProperties=TASK, parameters={"who": "x"})
    job = submit(batch, closed, definition, arrayProperties={"size": 3})
    child = describe(batch, f"{job['jobId']}:2")
    assert child["ecsProperties"] == job["ecsProperties"]
    assert child["arrayProperties"]["index"] == 2


def test_a_restart_changes_nothing(new_server: Any) -> None:
    server: ServerProcess = new_server()
    with server:
        batch = server.client("batch")
        queue = new_queue(batch, new_environment(batch, state="DISABLED"))
        blocks = (
            {"ecsProperties": TASK, "parameters": {"who": "x"}},
            {"nodeProperties": NODES},
            {"eksProperties": POD},
        )
        definitions = [register_kind(batch, **members) for members in blocks]
        jobs = [submit(batch, queue, definition) for definition in definitions[:2]]
    with server:
        batch = server.client("batch")
        names = [definition["jobDefinitionArn"] for definition in definitions]
        assert batch.describe_job_definitions(jobDefinitions=names)["jobDefinitions"] == definitions
        assert [describe(batch, job["jobId"]) for job in jobs] == jobs


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ecsProperties": {"taskProperties": []}}, "exactly 1 taskProperties"),
        ({"eksProperties": {"podProperties": {"containers": []}}}, "1 to 10 containers"),
        ({"nodeProperties": {**NODES, "mainNode": 3}}, "mainNode must be between 0 and 2, got 3"),
        ({"eksProperties": POD, "platformCapabilities": ["EC2"]}, "platformCapabilities is not applicable for EKS."),
        ({"eksProperties": POD, "ecsProperties": TASK}, "exactly one of"),
        ({"containerProperties": {"image": "busybox"}}, "vCPU is not provided."),
    ],
)
def test_refusals_arrive_in_words_and_make_no_revision(batch: Any, members: dict[str, Any], words: str) -> None:
    name = new_name("refused")
    type_ = "multinode" if "nodeProperties" in members else "container"
    assert words in refused(batch.register_job_definition, jobDefinitionName=name, type=type_, **members)
    assert batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"] == []


def test_a_definition_that_is_too_long(batch: Any) -> None:
    properties = container("x" * 25 * 1024)
    size = len(json.dumps(properties)) // 1024
    message = refused(
        batch.register_job_definition, jobDefinitionName="long", type="container", containerProperties=properties
    )
    assert f"Job definition size must be less than 24 KiB, got {size + 1} KiB" in message


def test_which_definitions_are_described(batch: Any) -> None:
    name = new_name("filters")
    arns = [register(batch, name=name) for _ in range(3)]
    batch.deregister_job_definition(jobDefinition=arns[1])

    def revisions(**request: Any) -> list[int]:
        return [each["revision"] for each in batch.describe_job_definitions(**request)["jobDefinitions"]]

    assert revisions(jobDefinitionName=name) == [3, 2, 1]
    assert revisions(jobDefinitionName=name, status="ACTIVE") == [3, 1]
    assert revisions(jobDefinitionName=name, status="INACTIVE") == [2]
    assert revisions(jobDefinitions=[f"{name}:1", arns[1], f"{name}:9", "nothing:1"]) == [1, 2]
    assert revisions(jobDefinitions=[name]) == [3]
    assert revisions(jobDefinitionName="nothing") == []
    message = refused(batch.describe_job_definitions, jobDefinitions=arns, status="ACTIVE")
    assert "jobDefinitions cannot be combined" in message
    assert "100" in refused(batch.describe_job_definitions, jobDefinitions=[f"{name}:{n}" for n in range(1, 102)])
    pages = batch.get_paginator("describe_job_definitions").paginate(
        jobDefinitionName=name, PaginationConfig={"PageSize": 2}
    )
    assert [[each["revision"] for each in page["jobDefinitions"]] for page in pages] == [[3, 2], [1]]
