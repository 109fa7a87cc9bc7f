"""Queues with a fair-share policy on a real server: who starts, what is shown of it, and what a restart brings back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from console import Shell
from response_shapes import watch
from test_snapshot import front

from server_process import ServerProcess
from waiting import until
from work import Gate, describe, ended, new_environment, new_name, new_queue, reached, refused, register, submit

VCPUS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with room for four jobs at once."""
    server = ServerProcess(tmp_path_factory.mktemp("fair") / "data", overcommit=VCPUS)
    server.configure_client = watch
    with server:
        yield server
        assert "Traceback" not in server.log(), server.log()


@pytest.fixture
def after(tmp_path: Path) -> Iterator[Gate]:
    """What starts when a queue's first job has gone waits at this second gate."""
    gate = Gate(tmp_path / "after")
    yield gate
    gate.open()


def fair_queue(batch: Any, **policy: Any) -> str:
    arn = batch.create_scheduling_policy(name=new_name("fair"), fairsharePolicy=policy)["arn"]
    return new_queue(batch, new_environment(batch, vcpus=VCPUS), schedulingPolicyArn=arn)


def submit_all(batch: Any, queue: str, definition: str, labels: Sequence[str], **more: Any) -> dict[str, str]:
    """Ids by label; the share is the first letter of the label."""
    return {
        label: submit(batch, definition, queue=queue, name=label, shareIdentifier=label[0], **more) for label in labels
    }


def occupied(batch: Any, queue: str, gate: Gate) -> str:
    """A job that has all of the queue's capacity, until the gate is opened."""
    job_id = submit(batch, register(batch, gate.script, container_vcpus=str(VCPUS)), queue=queue, shareIdentifier="z")
    reached(batch, job_id, "RUNNING")
    return job_id


def shares(shell: Shell, queue: str) -> dict[str, dict[str, Any]]:
    return {each["shareIdentifier"]: each for each in shell.json("shares", queue)["shares"]}


@pytest.fixture
def shell(server: ServerProcess) -> Shell:
    return Shell(dict(server.client_environment()))


def test_shares_take_turns_in_the_order_of_the_snapshot(batch: Any, shell: Shell, gate: Gate, after: Gate) -> None:
    queue = fair_queue(batch)
    occupied(batch, queue, gate)
    definition = register(batch, after.script, schedulingPriority=3)
    jobs = submit_all(batch, queue, definition, ["a1", "a2"])
    jobs |= submit_all(batch, queue, definition, ["a3"], schedulingPriorityOverride=9)
    jobs |= submit_all(batch, queue, definition, ["b1", "b2", "b3"])
    order = ["a3", "b1", "a1", "b2", "a2", "b3"]
    assert front(batch, queue) == [jobs[label] for label in order]
    snapshot = batch.get_job_queue_snapshot(jobQueue=queue)
    assert snapshot["queueUtilization"]["fairshareUtilization"]["activeShareCount"] == 3

    listed = batch.list_jobs(jobQueue=queue, filters=[{"name": "SHARE_IDENTIFIER", "values": ["a"]}])
    assert {job["jobId"] for job in listed["jobSummaryList"]} == {jobs[label] for label in ("a1", "a2", "a3")}
    assert describe(batch, jobs["a1"])["schedulingPriority"] == 3
    assert describe(batch, jobs["a3"])["schedulingPriority"] == 9

    said = shell("why", jobs["a2"]).stdout
    assert f"4 jobs are ahead of it in job queue {queue} by fair share" in said
    assert "share a has used 0 vCPU-hours of late and has 0 vCPU in flight; it is entitled to 33.3%" in said

    gate.open()
    for label in order[:VCPUS]:
        reached(batch, jobs[label], "RUNNING")
    assert [describe(batch, jobs[label])["status"] for label in order[VCPUS:]] == ["RUNNABLE"] * 2
    after.open()
    for job_id in jobs.values():
        assert ended(batch, job_id)["status"] == "SUCCEEDED"


def test_weights(batch: Any, gate: Gate, after: Gate) -> None:
    """A weight of 0.25 is one portion for the two identifiers that begin with b, each of which counts as 0.5."""
    queue = fair_queue(batch, shareDistribution=[{"shareIdentifier": "b*", "weightFactor": 0.25}])
    occupied(batch, queue, gate)
    definition = register(batch, after.script)
    jobs = submit_all(batch, queue, definition, ["a1", "a2", "a3", "b1", "b2", "b3"])
    jobs["c1"] = submit(batch, definition, queue=queue, shareIdentifier="bb")
    jobs["c2"] = submit(batch, definition, queue=queue, shareIdentifier="bb")
    gate.open()
    for label in ("a1", "b1", "c1", "b2"):
        reached(batch, jobs[label], "RUNNING")
    after.open()
    for job_id in jobs.values():
        ended(batch, job_id)


def test_how_the_shares_stand(batch: Any, shell: Shell, gate: Gate) -> None:
    queue = fair_queue(batch, shareDecaySeconds=3600, shareDistribution=[{"shareIdentifier": "a", "weightFactor": 0.5}])
    assert shell("shares", queue).stdout.splitlines()[-1] == "No share is active."
    running = occupied(batch, queue, gate)
    definition = register(batch, "true")
    submit_all(batch, queue, definition, ["a1", "a2"])
    [array] = submit_all(batch, queue, definition, ["b1"], arrayProperties={"size": 5}).values()
    found = shares(shell, queue)
    assert list(found) == ["a", "b", "z"], "the next one first"
    assert [found[share]["waitingJobs"] for share in "abz"] == [2, 5, 0]
    assert [found[share]["inFlight"] for share in "abz"] == [0, 0, 4]
    assert [found[share]["weightFactor"] for share in "abz"] == [0.5, 1, 1]
    assert [found[share]["entitlement"] for share in "abz"] == [0.5, 0.25, 0.25]
    assert [found[share]["part"] for share in "abz"] == [0, 0, 1]
    assert found["z"]["usageHours"] > 0
    assert found["z"]["nextJob"] is None
    assert found["b"]["nextJob"] == {"jobId": f"{array}:0", "jobName": "b1"}
    whole = shell.json("shares", queue)
    del whole["shares"]
    assert whole == {
        "jobQueueName": queue,
        "jobQueueArn": batch.describe_job_queues(jobQueues=[queue])["jobQueues"][0]["jobQueueArn"],
        "capacityUnit": "VCPU",
        "capacity": 4,
        "inFlight": 4,
        "windowSeconds": 3600,
        "computeReservation": 0,
        "reserved": 0,
    }
    lines = shell("shares", queue).stdout.splitlines()
    assert lines[0] == f"{queue}: 4 of 4 vCPUs in flight; usage of the last 1 h 0 m counts, the newer the more"
    assert lines[2].split() == ["SHARE", "VCPU-HOURS", "HAD", "ENTITLED", "WEIGHT", "IN", "FLIGHT", "WAITING", "NEXT"]
    assert lines[4].split() == ["b", "0", "0.0%", "25.0%", "1", "0", "5", f"{array[:8]}:0", "b1"]
    gate.open()
    ended(batch, running)
    ended(batch, array)


def test_queues_without_shares_are_refused(batch: Any, shell: Shell) -> None:
    fifo = new_queue(batch, new_environment(batch))
    for queue, text in ((fifo, f"JobQueue {fifo} has no fair-share scheduling policy."), ("nobody", "JobQueue nobody")):
        done = shell("shares", queue)
        assert done.returncode == 4
        assert text in done.stderr
    assert "shareIdentifier is required" in refused(
        batch.submit_job, jobName="j", jobQueue=fair_queue(batch), jobDefinition=register(batch)
    )


def test_a_reservation_holds_until_the_policy_says_otherwise(batch: Any, shell: Shell, gate: Gate) -> None:
    """R = 50: half of the 4 vCPU with one active share, a quarter with two."""
    queue = fair_queue(batch, computeReservation=50)
    definition = register(batch, gate.script)
    jobs = submit_all(batch, queue, definition, ["a1", "a2", "a3", "a4"])
    for label in ("a1", "a2"):
        reached(batch, jobs[label], "RUNNING")
    assert describe(batch, jobs["a3"])["status"] == "RUNNABLE"
    said = shell("why", jobs["a3"]).stdout
    assert "2 are reserved for shares that are not active yet (computeReservation 50, 1 active)" in said
    assert shell.json("shares", queue)["reserved"] == 2
    told = shell("shares", queue).stdout.splitlines()[1]
    assert told == "2 vCPUs kept for shares that are not active yet (computeReservation 50, 1 active)"

    jobs |= submit_all(batch, queue, definition, ["b1"])
    reached(batch, jobs["b1"], "RUNNING")
    assert describe(batch, jobs["a3"])["status"] == "RUNNABLE", "A quarter is still reserved"
    arn = batch.describe_job_queues(jobQueues=[queue])["jobQueues"][0]["schedulingPolicyArn"]
    batch.update_scheduling_policy(arn=arn, fairsharePolicy={"computeReservation": 0})
    reached(batch, jobs["a3"], "RUNNING")
    gate.open()
    for job_id in jobs.values():
        ended(batch, job_id)


def test_what_was_used_is_known_after_a_restart(
    new_server: Callable[..., ServerProcess], gate: Gate, after: Gate
) -> None:
    server = new_server(overcommit=VCPUS).start()
    batch = server.client("batch")
    shell = Shell(dict(server.client_environment()))
    queue = fair_queue(batch)
    used = submit(batch, register(batch, "sleep 0.3"), queue=queue, shareIdentifier="a")
    ended(batch, used)
    occupied(batch, queue, gate)
    definition = register(batch, after.script)
    jobs = submit_all(batch, queue, definition, ["a1", "a2", "b1", "b2"])
    before, order = shares(shell, queue), front(batch, queue)
    assert order[0] == jobs["b1"], "Share a has had something, share b nothing"
    server.stop()
    server.start()
    shell = Shell(dict(server.client_environment()))
    found = shares(shell, queue)
    batch = server.client("batch")
    assert front(batch, queue) == order
    assert list(found) == list(before)
    for share, standing in found.items():
        assert standing["waitingJobs"] == before[share]["waitingJobs"]
        assert standing["inFlight"] == before[share]["inFlight"]
    assert 0.9 * before["a"]["usageHours"] < found["a"]["usageHours"] <= before["a"]["usageHours"]
    gate.open()
    after.open()
    for job_id in jobs.values():
        ended(batch, job_id)
    until(lambda: json.loads(shell("shares", "--json", queue).stdout)["inFlight"] == 0, "the end of what runs")
