"""Quota shares of queues of container jobs (an extension), and preemption of what really runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from console import Shell
from test_quota_shares import settled_share
from test_why import ask

from server_process import ServerProcess
from waiting import until
from work import (
    Gate,
    describe,
    ended,
    log_lines,
    new_environment,
    new_name,
    new_queue,
    reached,
    refused,
    register,
    submit,
)

CROSS_SHARE = "Cross-share preemption triggered to reclaim borrowed capacity"
IN_SHARE = "In-share preemption triggered by a job with a higher priority"
RETRIES = "batchyard:preemptionRetriesBeforeTermination"
VCPU = [{"maxCapacity": 1, "capacityUnit": "VCPU"}]


def new_quota_queue(batch: Any, vcpus: int = 2) -> str:
    """A queue with a quota share policy, on a compute environment of its own; returns its name."""
    policy = batch.create_scheduling_policy(
        name=new_name("quota"), quotaSharePolicy={"idleResourceAssignmentStrategy": "FIFO"}
    )["arn"]
    return new_queue(batch, new_environment(batch, vcpus=vcpus), schedulingPolicyArn=policy)


def new_share(
    batch: Any, queue: str, name: str, strategy: str = "LEND", in_share: str = "DISABLED", **members: Any
) -> str:
    """A quota share of 1 vCPU, unless told otherwise, that is VALID; returns its ARN."""
    arn = batch.create_quota_share(
        **{
            "quotaShareName": name,
            "jobQueue": queue,
            "capacityLimits": VCPU,
            "resourceSharingConfiguration": {"strategy": strategy},
            "preemptionConfiguration": {"inSharePreemption": in_share},
            **members,
        }
    )["quotaShareArn"]
    settled_share(batch, arn)
    return str(arn)


def test_life_of_a_quota_share(batch: Any) -> None:
    queue = new_quota_queue(batch)
    limits = [
        {"maxCapacity": 2, "capacityUnit": "VCPU"},
        {"maxCapacity": 64, "capacityUnit": "MEMORY"},
        {"maxCapacity": 0, "capacityUnit": "GPU"},
    ]
    arn = new_share(batch, queue, "team_a", capacityLimits=limits, tags={"team": "a"})
    share = settled_share(batch, arn)
    assert share["capacityLimits"] == limits
    assert (share["state"], share["status"], share["tags"]) == ("ENABLED", "VALID", {"team": "a"})
    [listed] = batch.list_quota_shares(jobQueue=queue)["quotaShares"]
    assert (listed["quotaShareArn"], listed["capacityLimits"]) == (arn, limits)
    types = [{"maxCapacity": 1, "capacityUnit": "ml.m5.large"}]
    assert "is not for a job queue of container jobs (VCPU, MEMORY, GPU)" in refused(
        batch.update_quota_share, quotaShareArn=arn, capacityLimits=types
    )
    batch.update_quota_share(quotaShareArn=arn, capacityLimits=VCPU, state="DISABLED")
    assert settled_share(batch, arn)["capacityLimits"] == VCPU
    definition = register(batch)
    work = {"jobName": "job", "jobQueue": queue, "jobDefinition": definition}
    assert "is not enabled" in refused(batch.submit_job, **work, shareIdentifier="team_a")
    assert "shareIdentifier is required" in refused(batch.submit_job, **work)
    assert "Quota share team_b not found." in refused(batch.submit_job, **work, shareIdentifier="team_b")
    batch.update_quota_share(quotaShareArn=arn, state="ENABLED")
    settled_share(batch, arn)
    assert "must be a whole number" in refused(
        batch.submit_job, **work, shareIdentifier="team_a", tags={RETRIES: "often"}
    )
    batch.update_quota_share(quotaShareArn=arn, state="DISABLED")
    settled_share(batch, arn)
    batch.delete_quota_share(quotaShareArn=arn)
    until(lambda: batch.list_quota_shares(jobQueue=queue)["quotaShares"] == [], "the share is gone")


def test_jobs_and_arrays_share_and_are_listed_by_share(batch: Any, gate: Gate) -> None:
    queue = new_quota_queue(batch, vcpus=3)
    for name in ("a", "b"):
        new_share(batch, queue, name, "RESERVE")
    definition = register(batch, gate.script, schedulingPriority=3)
    array = submit(batch, definition, queue=queue, shareIdentifier="a", arrayProperties={"size": 2})
    low = submit(batch, definition, queue=queue, shareIdentifier="b", schedulingPriorityOverride=1)
    reached(batch, low, "RUNNING")
    waits = submit(batch, definition, queue=queue, shareIdentifier="b", schedulingPriorityOverride=1)
    first = submit(batch, definition, queue=queue, shareIdentifier="b")
    reached(batch, f"{array}:0", "RUNNING")
    assert describe(batch, f"{array}:1")["status"] == "RUNNABLE"
    assert describe(batch, first)["schedulingPriority"] == 3

    def listed(share: str) -> set[str]:
        filters = [{"name": "SHARE_IDENTIFIER", "values": [share]}]
        found = batch.list_jobs(jobQueue=queue, filters=filters)["jobSummaryList"]
        assert {job["shareIdentifier"] for job in found} == {share}
        return {job["jobId"] for job in found}

    assert (listed("a"), listed("b")) == ({array}, {low, waits, first})
    snapshot = batch.get_job_queue_snapshot(jobQueue=queue)
    fronts = snapshot["frontOfQuotaShares"]["quotaShares"]
    assert {name: [job["jobArn"].rpartition("/")[2] for job in front] for name, front in fronts.items()} == {
        "a": [f"{array}:1"],
        "b": [first],
    }
    assert snapshot["queueUtilization"]["quotaShareUtilization"]["topCapacityUtilization"] == [
        {"quotaShareName": name, "capacityUsage": [{"capacityUnit": "VCPU", "quantity": 1.0}]} for name in ("a", "b")
    ]
    huge = submit(
        batch,
        definition,
        queue=queue,
        shareIdentifier="a",
        schedulingPriorityOverride=9,
        containerOverrides={"resourceRequirements": [{"type": "VCPU", "value": "2"}]},
    )
    reason = until(lambda: describe(batch, huge).get("statusReason"), "a reason")
    assert reason == (
        "MISCONFIGURATION:QUOTA_MANAGEMENT_LIMIT_EXCEEDED - Job requirements exceed quota share capacity limits."
        " It needs 2 vCPU and 16 MiB; quota share a has 1 vCPU."
    )
    batch.cancel_job(jobId=huge, reason="too large")
    gate.open()
    for job_id in (array, low, waits, first):
        assert ended(batch, job_id)["status"] == "SUCCEEDED"
    assert describe(batch, first)["startedAt"] < describe(batch, waits)["startedAt"]


def test_borrowed_capacity_is_taken_back_from_what_really_runs(
    server: ServerProcess, batch: Any, logs: Any, gate: Gate
) -> None:
    queue = new_quota_queue(batch)
    new_share(batch, queue, "lender", "LEND")
    borrowing = {"strategy": "LEND_AND_BORROW", "borrowLimit": 100}
    new_share(batch, queue, "borrower", resourceSharingConfiguration=borrowing)
    polite = register(batch, f"trap 'echo told to stop; exit 9' TERM; echo at work; {gate.script}")
    stays = submit(batch, polite, queue=queue, shareIdentifier="borrower", schedulingPriorityOverride=2)
    victim = submit(
        batch, polite, queue=queue, shareIdentifier="borrower", schedulingPriorityOverride=1, tags={RETRIES: "1"}
    )
    for job_id in (stays, victim):
        reached(batch, job_id, "RUNNING")
    task = describe(batch, victim)["container"]["taskArn"]
    owner = submit(batch, polite, queue=queue, shareIdentifier="lender")
    reached(batch, owner, "RUNNING")
    waits = reached(batch, victim, "RUNNABLE")
    assert waits["statusReason"] == CROSS_SHARE
    [attempt] = waits["attempts"]
    assert (attempt["container"]["taskArn"], attempt["statusReason"]) == (task, CROSS_SHARE)
    assert attempt["container"]["exitCode"] == 9
    lines = log_lines(logs, waits)
    assert (lines[0], lines[-1]) == ("at work", "told to stop")
    assert describe(batch, stays)["status"] == "RUNNING"

    status, why = ask(server, {"jobId": victim})
    assert (status, why["status"], why["preemptedAttemptCount"]) == (200, "RUNNABLE", 1)
    assert "quota share borrower" in why["reason"]
    assert [line["status"] for line in why["history"]].count("RUNNING") == 1
    assert CROSS_SHARE in [line.get("reason") for line in why["history"]]
    said = Shell(dict(server.client_environment()))("why", victim).stdout
    assert "Preempted 1 time\n" in said
    assert CROSS_SHARE in said
    gate.open()
    for job_id in (stays, owner, victim):
        assert ended(batch, job_id)["status"] == "SUCCEEDED"
    assert [attempt["container"].get("exitCode") for attempt in describe(batch, victim)["attempts"]] == [9, 0]


def test_a_higher_priority_preempts_within_a_share_that_allows_it(batch: Any, gate: Gate) -> None:
    queue = new_quota_queue(batch)
    new_share(batch, queue, "mine", "RESERVE", "ENABLED")
    definition = register(batch, gate.script)
    ends_well = register(batch, f"trap 'exit 0' TERM; {gate.script}")
    never = {RETRIES: "0"}
    low = submit(batch, definition, queue=queue, shareIdentifier="mine", schedulingPriorityOverride=1, tags=never)
    reached(batch, low, "RUNNING")
    middle = submit(batch, ends_well, queue=queue, shareIdentifier="mine", schedulingPriorityOverride=2)
    failed = ended(batch, low)
    assert (failed["status"], failed["statusReason"]) == ("FAILED", IN_SHARE)
    reached(batch, middle, "RUNNING")
    high = submit(batch, definition, queue=queue, shareIdentifier="mine", schedulingPriorityOverride=3)
    assert ended(batch, middle)["status"] == "SUCCEEDED", "its program has ended with 0"
    reached(batch, high, "RUNNING")


def test_shares_and_preempted_jobs_survive_a_restart(new_server: Callable[..., ServerProcess], gate: Gate) -> None:
    server = new_server().start()
    batch = server.client("batch")
    queue = new_quota_queue(batch)
    lender = new_share(batch, queue, "lender", "LEND")
    new_share(batch, queue, "borrower", "LEND_AND_BORROW")
    definition = register(batch, gate.script)
    jobs = [submit(batch, definition, queue=queue, shareIdentifier="borrower") for _ in range(2)]
    for job_id in jobs:
        reached(batch, job_id, "RUNNING")
    owner = submit(batch, definition, queue=queue, shareIdentifier="lender")
    reached(batch, owner, "RUNNING")
    victim = next(job for job in jobs if describe(batch, job)["attempts"])
    reached(batch, victim, "RUNNABLE")
    before = [settled_share(batch, lender), *(describe(batch, each) for each in (*jobs, owner))]
    server.kill()
    server.start()
    assert [settled_share(batch, lender), *(describe(batch, each) for each in (*jobs, owner))] == before
    gate.open()
    for job_id in (*jobs, owner):
        assert ended(batch, job_id)["status"] == "SUCCEEDED"
