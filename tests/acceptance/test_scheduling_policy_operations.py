"""Scheduling policies through boto3."""

from __future__ import annotations

from typing import Any

from server_process import ServerProcess
from work import (
    Gate,
    describe,
    ended,
    new_environment,
    new_name,
    new_queue,
    refused,
    register,
    submit,
    update_queue,
)

FAIR = {
    "shareDecaySeconds": 3600,
    "computeReservation": 10,
    "shareDistribution": [
        {"shareIdentifier": "red*", "weightFactor": 0.5},
        {"shareIdentifier": "blue", "weightFactor": 1.0},
    ],
}


def new_policy(batch: Any, **members: Any) -> str:
    return str(batch.create_scheduling_policy(name=new_name("policy"), **members)["arn"])


def test_a_life(server: ServerProcess, batch: Any) -> None:
    name = new_name("fair")
    answer = batch.create_scheduling_policy(name=name, fairsharePolicy=FAIR, tags={"a": "b"})
    arn = server.arn(f"scheduling-policy/{name}")
    assert (answer["name"], answer["arn"]) == (name, arn)
    [found] = batch.describe_scheduling_policies(arns=[arn, arn, f"{arn}x", name])["schedulingPolicies"]
    assert found == {"name": name, "arn": arn, "fairsharePolicy": FAIR, "tags": {"a": "b"}}

    batch.update_scheduling_policy(arn=arn, fairsharePolicy={"shareDecaySeconds": 60})
    [found] = batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"]
    assert found["fairsharePolicy"] == {"shareDecaySeconds": 60, "computeReservation": 0, "shareDistribution": []}
    batch.tag_resource(resourceArn=arn, tags={"c": "d"})
    batch.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"c": "d"}

    batch.delete_scheduling_policy(arn=arn)
    batch.delete_scheduling_policy(arn=arn)
    assert batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"] == []


def test_a_policy_of_quota_shares(batch: Any) -> None:
    quota = {"idleResourceAssignmentStrategy": "FIFO"}
    arn = new_policy(batch, quotaSharePolicy=quota)
    batch.update_scheduling_policy(arn=arn, quotaSharePolicy=quota)
    [found] = batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"]
    assert found["quotaSharePolicy"] == quota
    assert "fairsharePolicy" not in found
    text = refused(batch.update_scheduling_policy, arn=arn, fairsharePolicy=FAIR)
    assert "A quotaSharePolicy cannot be changed to a fairsharePolicy" in text


def test_listing_by_pages_while_policies_come_and_go(batch: Any) -> None:
    arns = [new_policy(batch) for _ in range(5)]
    seen: list[str] = []
    pages = batch.get_paginator("list_scheduling_policies").paginate(PaginationConfig={"PageSize": 1})
    for page in pages:
        seen += [entry["arn"] for entry in page["schedulingPolicies"]]
        if arns[0] in seen and arns[1] not in seen:
            batch.delete_scheduling_policy(arn=arns[0])
    assert [arn for arn in seen if arn in arns] == arns
    assert len(seen) == len(set(seen))


def test_a_queue_with_a_policy(batch: Any, gate: Gate) -> None:
    arn, other = new_policy(batch, fairsharePolicy=FAIR), new_policy(batch)
    queue = new_queue(batch, new_environment(batch, vcpus=1), schedulingPolicyArn=arn)
    [detail] = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    assert detail["schedulingPolicyArn"] == arn
    assert "found existing JobQueue relationship" in refused(batch.delete_scheduling_policy, arn=arn)
    update_queue(batch, queue, schedulingPolicyArn=other)
    batch.delete_scheduling_policy(arn=arn)
    assert "not removed" in refused(batch.update_job_queue, jobQueue=queue, schedulingPolicyArn="")

    definition = register(batch, gate.script, schedulingPriority=5)
    text = refused(batch.submit_job, jobName="j", jobQueue=queue, jobDefinition=definition)
    assert "shareIdentifier is required" in text
    red = submit(batch, definition, queue=queue, shareIdentifier="red1", schedulingPriorityOverride=9)
    blue = submit(batch, definition, queue=queue, shareIdentifier="blue", arrayProperties={"size": 2})
    job = describe(batch, red)
    assert (job["shareIdentifier"], job["schedulingPriority"]) == ("red1", 9)
    child = describe(batch, f"{blue}:1")
    assert (child["shareIdentifier"], child["schedulingPriority"]) == ("blue", 5)

    def listed(share: str, **more: Any) -> list[str]:
        filters = [{"name": "SHARE_IDENTIFIER", "values": [share]}]
        found = batch.list_jobs(jobQueue=queue, filters=filters, **more)["jobSummaryList"]
        return [entry["jobId"] for entry in found if entry["shareIdentifier"] == share]

    assert listed("red1") == [red]
    assert listed("blue") == [blue]
    assert listed("blue", jobStatus="SUCCEEDED") == []
    gate.open()
    ended(batch, blue)
    assert listed("blue", jobStatus="SUCCEEDED") == [blue]


def test_refusals(server: ServerProcess, batch: Any) -> None:
    arn = new_policy(batch)
    name = arn.rpartition("/")[2]
    assert refused(batch.create_scheduling_policy, name=name) == "Object already exists"
    unknown = server.arn("scheduling-policy/nobody")
    text = refused(batch.update_scheduling_policy, arn=unknown, fairsharePolicy=FAIR)
    assert text == f"SchedulingPolicy {unknown} not found."
    overlapping = {"shareDistribution": [{"shareIdentifier": "UserA*"}, {"shareIdentifier": "UserA1"}]}
    text = refused(batch.update_scheduling_policy, arn=arn, fairsharePolicy=overlapping)
    assert "Share identifiers cannot overlap: UserA* and UserA1" in text
    text = refused(batch.describe_scheduling_policies, arns=[arn] * 101)
    assert "arns can have at most 100 entries, got 101" in text
    text = refused(batch.update_job_queue, jobQueue="default", schedulingPolicyArn=arn)
    assert "A scheduling policy cannot be added to a job queue that was created without one" in text
    text = refused(
        batch.submit_job, jobName="j", jobQueue="default", jobDefinition=register(batch), shareIdentifier="a"
    )
    assert "can onlybe submitted to job queue with fair share scheduling policy." in text
