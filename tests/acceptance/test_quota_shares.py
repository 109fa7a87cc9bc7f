"""Quota shares: their operations, jobs that share and borrow capacity, and preemption of what really runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training import (
    INSTANCE_TYPE,
    new_service_environment,
    new_training_queue,
    payload,
    submit_training,
    trained,
    training_reached,
)

from server_process import ServerProcess
from waiting import until
from work import Gate, new_name, refused

CROSS_SHARE = "Cross-share preemption triggered to reclaim borrowed capacity"
EVER = ("RUNNABLE", "RUNNING")


def new_quota_queue(batch: Any, instances: int = 2) -> str:
    """A job queue with a quota share policy that is VALID; returns its name."""
    policy = batch.create_scheduling_policy(
        name=new_name("quota"), quotaSharePolicy={"idleResourceAssignmentStrategy": "FIFO"}
    )["arn"]
    assert batch.describe_scheduling_policies(arns=[policy])["schedulingPolicies"][0]["quotaSharePolicy"] == {
        "idleResourceAssignmentStrategy": "FIFO"
    }
    batch.update_scheduling_policy(arn=policy, quotaSharePolicy={"idleResourceAssignmentStrategy": "FIFO"})
    environment = new_service_environment(batch, instances, INSTANCE_TYPE)
    return new_training_queue(batch, environment, schedulingPolicyArn=policy)


def new_share(
    batch: Any, queue: str, name: str, most: int = 1, strategy: str = "LEND", in_share: str = "DISABLED", **more: Any
) -> str:
    """A quota share that is VALID; returns its ARN."""
    borrowing = {"borrowLimit": more.pop("borrowLimit")} if "borrowLimit" in more else {}
    created = batch.create_quota_share(
        quotaShareName=name,
        jobQueue=queue,
        capacityLimits=[{"maxCapacity": most, "capacityUnit": INSTANCE_TYPE}],
        resourceSharingConfiguration={"strategy": strategy, **borrowing},
        preemptionConfiguration={"inSharePreemption": in_share},
        **more,
    )
    assert created["quotaShareName"] == name
    settled_share(batch, created["quotaShareArn"])
    return str(created["quotaShareArn"])


def settled_share(batch: Any, arn: str) -> dict[str, Any]:
    """The quota share, once it is VALID."""

    def there() -> Any:
        share = batch.describe_quota_share(quotaShareArn=arn)
        return share if share["status"] == "VALID" else None

    share: dict[str, Any] = until(there, f"{arn} VALID")
    del share["ResponseMetadata"]
    return share


def test_life_of_a_quota_share(server: ServerProcess, batch: Any) -> None:
    queue = new_quota_queue(batch)
    arn = new_share(batch, queue, "mine", 1, "LEND_AND_BORROW", borrowLimit=100, state="ENABLED", tags={"a": "1"})
    assert arn == server.arn(f"job-queue/{queue}/quota-share/mine")
    share = settled_share(batch, arn)
    assert share == {
        "quotaShareName": "mine",
        "quotaShareArn": arn,
        "jobQueueArn": server.arn(f"job-queue/{queue}"),
        "capacityLimits": [{"maxCapacity": 1, "capacityUnit": INSTANCE_TYPE}],
        "resourceSharingConfiguration": {"strategy": "LEND_AND_BORROW", "borrowLimit": 100},
        "preemptionConfiguration": {"inSharePreemption": "DISABLED"},
        "state": "ENABLED",
        "status": "VALID",
        "tags": {"a": "1"},
    }
    changes = {
        "capacityLimits": [{"maxCapacity": 2, "capacityUnit": INSTANCE_TYPE}],
        "resourceSharingConfiguration": {"strategy": "RESERVE"},
        "preemptionConfiguration": {"inSharePreemption": "ENABLED"},
        "state": "DISABLED",
    }
    updated = batch.update_quota_share(quotaShareArn=arn, **changes)
    assert (updated["quotaShareName"], updated["quotaShareArn"]) == ("mine", arn)
    assert settled_share(batch, arn) == {**share, **changes}
    batch.tag_resource(resourceArn=arn, tags={"b": "2"})
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "1", "b": "2"}
    assert "is not enabled" in refused(
        submit_training, batch=batch, queue=queue, given=payload(), quotaShareName="mine"
    )
    batch.delete_quota_share(quotaShareArn=arn)
    until(lambda: batch.list_quota_shares(jobQueue=queue)["quotaShares"] == [], "the share is gone")
    assert "not found" in refused(batch.describe_quota_share, quotaShareArn=arn)
    assert "not found" in refused(batch.update_quota_share, quotaShareArn=arn, state="ENABLED")
    batch.delete_quota_share(quotaShareArn=arn)


def test_listing_page_by_page(server: ServerProcess, batch: Any) -> None:
    queue = new_quota_queue(batch)
    arns = [new_share(batch, queue, name) for name in ("a", "b", "c")]
    first = batch.list_quota_shares(jobQueue=server.arn(f"job-queue/{queue}"), maxResults=2)
    assert [share["quotaShareArn"] for share in first["quotaShares"]] == arns[:2]
    rest = batch.list_quota_shares(jobQueue=queue, maxResults=2, nextToken=first["nextToken"])
    assert rest["quotaShares"] == [
        {
            "quotaShareName": "c",
            "quotaShareArn": arns[2],
            "jobQueueArn": server.arn(f"job-queue/{queue}"),
            "capacityLimits": [{"maxCapacity": 1, "capacityUnit": INSTANCE_TYPE}],
            "resourceSharingConfiguration": {"strategy": "LEND"},
            "preemptionConfiguration": {"inSharePreemption": "DISABLED"},
            "state": "ENABLED",
            "status": "VALID",
        }
    ]
    assert "nextToken" not in rest
    assert "not found" in refused(batch.list_quota_shares, jobQueue="none")


def test_jobs_by_quota_share(batch: Any) -> None:
    queue = new_quota_queue(batch)
    for name in ("a", "b"):
        new_share(batch, queue, name)
    job_id = submit_training(batch, queue, payload(), quotaShareName="a")
    submit_training(batch, queue, payload(), quotaShareName="b")
    assert batch.describe_service_job(jobId=job_id)["quotaShareName"] == "a"
    by_share = [{"name": "QUOTA_SHARE_NAME", "values": ["a"]}]
    [summary] = batch.list_service_jobs(jobQueue=queue, filters=by_share)["jobSummaryList"]
    assert (summary["jobId"], summary["quotaShareName"]) == (job_id, "a")
    assert "shareIdentifier" not in summary
    assert "quotaShareName is required" in refused(submit_training, batch=batch, queue=queue, given=payload())
    assert "Quota share c not found." in refused(
        submit_training, batch=batch, queue=queue, given=payload(), quotaShareName="c"
    )


def test_borrowed_capacity_is_taken_back_from_what_really_runs(batch: Any, gate: Gate) -> None:
    queue = new_quota_queue(batch)
    new_share(batch, queue, "lender", 1, "LEND")
    new_share(batch, queue, "borrower", 1, "LEND_AND_BORROW", borrowLimit=100)
    stays = submit_training(batch, queue, payload(gate.script), quotaShareName="borrower", schedulingPriority=2)
    victim = submit_training(batch, queue, payload(gate.script), quotaShareName="borrower", schedulingPriority=1)
    once = {"preemptionRetriesBeforeTermination": 1}
    for job_id in (stays, victim):
        training_reached(batch, job_id, "RUNNING")
    first = batch.describe_service_job(jobId=victim)["latestAttempt"]["serviceResourceId"]
    owner = submit_training(batch, queue, payload(gate.script), quotaShareName="lender", preemptionConfiguration=once)
    assert batch.describe_service_job(jobId=owner)["preemptionConfiguration"] == once
    training_reached(batch, owner, "RUNNING")
    waits = training_reached(batch, victim, "RUNNABLE")
    assert waits["statusReason"] == CROSS_SHARE
    assert waits["attempts"] == []
    summary = waits["preemptionSummary"]
    assert summary["preemptedAttemptCount"] == 1
    [attempt] = summary["recentPreemptedAttempts"]
    assert (attempt["serviceResourceId"], attempt["statusReason"]) == (first, CROSS_SHARE)
    assert attempt["startedAt"] <= attempt["stoppedAt"]
    assert batch.describe_service_job(jobId=stays)["status"] == "RUNNING"

    snapshot = batch.get_job_queue_snapshot(jobQueue=queue)
    [front] = snapshot["frontOfQuotaShares"]["quotaShares"]["borrower"]
    assert front["jobArn"] == waits["jobArn"]
    assert front["earliestTimeAtPosition"] <= snapshot["frontOfQuotaShares"]["lastUpdatedAt"]
    assert "lender" not in snapshot["frontOfQuotaShares"]["quotaShares"]
    assert snapshot["queueUtilization"]["quotaShareUtilization"]["topCapacityUtilization"] == [
        {"quotaShareName": name, "capacityUsage": [{"capacityUnit": INSTANCE_TYPE, "quantity": 1.0}]}
        for name in ("borrower", "lender")
    ]
    gate.open()
    for job_id in (stays, victim, owner):
        assert trained(batch, job_id)["status"] == "SUCCEEDED"
    assert len(batch.describe_service_job(jobId=victim)["attempts"]) == 1


def test_a_higher_priority_preempts_within_a_share_that_allows_it(batch: Any, gate: Gate) -> None:
    queue = new_quota_queue(batch)
    new_share(batch, queue, "mine", 1, "RESERVE", "ENABLED")
    never = {"preemptionRetriesBeforeTermination": 0}
    low = submit_training(
        batch, queue, payload(gate.script), quotaShareName="mine", preemptionConfiguration=never, schedulingPriority=1
    )
    training_reached(batch, low, "RUNNING")
    high = submit_training(batch, queue, payload(gate.script), quotaShareName="mine", schedulingPriority=2)
    ended = trained(batch, low)
    assert (ended["status"], ended["statusReason"]) == (
        "FAILED",
        "In-share preemption triggered by a job with a higher priority",
    )
    training_reached(batch, high, "RUNNING")
    huge = submit_training(batch, queue, payload(instances=2), quotaShareName="mine")
    assert training_reached(batch, huge, "RUNNABLE")["statusReason"].startswith(
        "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED - Job requirements exceed quota share capacity limits. "
    )


def test_shares_and_preempted_jobs_survive_a_restart(new_server: Callable[..., ServerProcess], gate: Gate) -> None:
    server = new_server().start()
    batch = server.client("batch")
    queue = new_quota_queue(batch)
    lender = new_share(batch, queue, "lender", 1, "LEND")
    new_share(batch, queue, "borrower", 1, "LEND_AND_BORROW")
    jobs = [submit_training(batch, queue, payload(gate.script), quotaShareName="borrower") for _ in range(2)]
    for job_id in jobs:
        training_reached(batch, job_id, "RUNNING")
    owner = submit_training(batch, queue, payload(gate.script), quotaShareName="lender")
    training_reached(batch, owner, "RUNNING")
    training_reached(batch, jobs[1], "RUNNABLE")
    before = [settled_share(batch, lender), *(training_reached(batch, each, *EVER) for each in (*jobs, owner))]
    server.kill()
    server.start()
    after = [settled_share(batch, lender), *(training_reached(batch, each, *EVER) for each in (*jobs, owner))]
    assert after == before
    gate.open()
    for job_id in (*jobs, owner):
        assert trained(batch, job_id)["status"] == "SUCCEEDED"
