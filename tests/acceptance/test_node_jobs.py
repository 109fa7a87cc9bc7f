"""Nodes of a multi-node parallel job, `<job id>#<index>`: described, listed, and not ended or tagged by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from work import UNKNOWN_JOB, container, describe, new_name, refused, submit

NODES = 7


@pytest.fixture
def gang(batch: Any) -> str:
    """The id of a job of seven nodes. Node 2 is the main node; nodes 3 to 4 have a container of their own."""
    properties = {
        "numNodes": 5,
        "mainNode": 2,
        "nodeRangeProperties": [
            {"targetNodes": "0:", "container": container("true", environment=[{"name": "ROLE", "value": "any"}])},
            {"targetNodes": "3:4", "container": container("inner", vcpus="2")},
        ],
    }
    name = new_name("gang")
    batch.register_job_definition(jobDefinitionName=name, type="multinode", nodeProperties=properties)
    overrides = {
        "numNodes": NODES,
        "nodePropertyOverrides": [
            {"targetNodes": "0:", "containerOverrides": {"environment": [{"name": "ROLE", "value": "worker"}]}}
        ],
    }
    return submit(batch, name, nodeOverrides=overrides, tags={"team": "blue"})


def test_a_node_is_described_with_the_container_of_its_range(batch: Any, gang: str) -> None:
    parent = describe(batch, gang)
    assert parent["nodeProperties"]["numNodes"] == NODES
    assert "container" not in parent
    assert "nodeDetails" not in parent
    nodes = batch.describe_jobs(jobs=[f"{gang}#{index}" for index in (2, 4, 6)])["jobs"]
    assert [node["nodeDetails"] for node in nodes] == [
        {"nodeIndex": 2, "isMainNode": True},
        {"nodeIndex": 4, "isMainNode": False},
        {"nodeIndex": 6, "isMainNode": False},
    ]
    main, inner, last = nodes
    assert main["container"]["environment"] == [{"name": "ROLE", "value": "worker"}]
    assert main["container"]["networkInterfaces"] == []
    assert inner["container"]["command"] == ["sh", "-c", "inner"]
    assert inner["container"]["environment"] == []
    assert last["container"] == main["container"]
    assert "nodeProperties" not in inner
    for node, index in zip(nodes, (2, 4, 6), strict=True):
        assert node["jobArn"] == f"{parent['jobArn']}#{index}"
        assert node["status"] == parent["status"] == "RUNNABLE"
        assert node["tags"] == {}
        inherited = ("jobName", "jobQueue", "jobDefinition", "createdAt", "attempts", "eksAttempts", "statusReason")
        assert {member: node[member] for member in inherited} == {member: parent[member] for member in inherited}


def test_nodes_that_are_not_there_are_left_out(batch: Any, gang: str) -> None:
    definition = batch.register_job_definition(
        jobDefinitionName=new_name("single"), type="container", containerProperties=container()
    )["jobDefinitionArn"]
    single = submit(batch, definition)
    strange = [f"{gang}#{NODES}", f"{gang}#-1", f"{gang}#01", f"{gang}#", f"{gang}:0", f"{single}#0", f"{gang}#0#0"]
    assert batch.describe_jobs(jobs=strange)["jobs"] == []
    [node] = batch.describe_jobs(jobs=[describe(batch, gang)["jobArn"] + "#0"])["jobs"]
    assert node["jobId"] == f"{gang}#0"


def test_nodes_are_listed_with_their_status_page_by_page(batch: Any, gang: str) -> None:
    pages = batch.get_paginator("list_jobs").paginate(
        multiNodeJobId=gang, jobStatus="RUNNABLE", PaginationConfig={"PageSize": 3}
    )
    listed = [page["jobSummaryList"] for page in pages]
    assert [len(page) for page in listed] == [3, 3, 1]
    nodes = [node for page in listed for node in page]
    assert [node["jobId"] for node in nodes] == [f"{gang}#{index}" for index in range(NODES)]
    assert [node["nodeProperties"] for node in nodes] == [
        {"nodeIndex": index, "isMainNode": index == 2, "numNodes": NODES} for index in range(NODES)
    ]
    vcpus = [node["capacityUsage"] for node in nodes]
    assert vcpus == [[{"capacityUnit": "VCPU", "quantity": 2 if index in (3, 4) else 1}] for index in range(NODES)]
    assert batch.list_jobs(multiNodeJobId=gang)["jobSummaryList"] == [], "RUNNING is what is listed without a status"
    assert batch.list_jobs(arrayJobId=gang, jobStatus="RUNNABLE")["jobSummaryList"] == []


def test_the_whole_job_in_the_list_of_its_queue(batch: Any, gang: str) -> None:
    name = describe(batch, gang)["jobName"]
    filters = [{"name": "JOB_NAME", "values": [name]}]
    [parent] = batch.list_jobs(jobQueue="default", filters=filters)["jobSummaryList"]
    assert parent["nodeProperties"] == {"numNodes": NODES}
    assert parent["capacityUsage"] == [{"capacityUnit": "VCPU", "quantity": NODES + 2}]


def test_filters_and_other_listings_tokens_are_refused(batch: Any, gang: str) -> None:
    filters = [{"name": "JOB_NAME", "values": ["a"]}]
    assert "filters can only be used with jobQueue" in refused(batch.list_jobs, multiNodeJobId=gang, filters=filters)
    token = batch.list_jobs(multiNodeJobId=gang, jobStatus="RUNNABLE", maxResults=1)["nextToken"]
    for other in ({"arrayJobId": gang}, {"multiNodeJobId": UNKNOWN_JOB}, {"jobQueue": "default"}):
        assert "nextToken is not valid" in refused(batch.list_jobs, jobStatus="RUNNABLE", nextToken=token, **other)


def test_a_node_does_not_end_by_itself(batch: Any, gang: str) -> None:
    for end in (batch.cancel_job, batch.terminate_job):
        text = refused(end, jobId=f"{gang}#1", reason="enough")
        assert text.startswith(
            f"Error executing request, Exception : Node 1 cannot be ended by itself; end the job {gang}"
        )
    [error] = batch.terminate_jobs(jobs=[f"{gang}#1"], reason="enough")["errors"]
    assert (error["job"], error["code"]) == (f"{gang}#1", "ClientException")
    assert describe(batch, gang)["status"] == "RUNNABLE"

    batch.terminate_job(jobId=gang, reason="enough")
    for node in batch.describe_jobs(jobs=[gang, f"{gang}#1", f"{gang}#2"])["jobs"]:
        assert (node["status"], node["statusReason"], node["isTerminated"]) == ("FAILED", "enough", True)
    assert len(batch.list_jobs(multiNodeJobId=gang, jobStatus="FAILED")["jobSummaryList"]) == NODES
    batch.terminate_job(jobId=f"{gang}#1", reason="again")


def test_nodes_have_no_tags(batch: Any, gang: str) -> None:
    arn = describe(batch, f"{gang}#1")["jobArn"]
    for call in (
        lambda: batch.tag_resource(resourceArn=arn, tags={"a": "b"}),
        lambda: batch.untag_resource(resourceArn=arn, tagKeys=["team"]),
        lambda: batch.list_tags_for_resource(resourceArn=arn),
    ):
        assert "Tags cannot be used on array children and nodes" in refused(call)
