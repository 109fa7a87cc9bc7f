"""Resources change asynchronously: who looks at the right moment sees CREATING, UPDATING and DELETING, and VALID between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from training import INSTANCE_TYPE, new_service_environment, new_training_queue

from server_process import ServerProcess
from waiting import until
from work import new_name

ALL = {"CREATING", "VALID", "UPDATING", "DELETING"}

EC2 = {"type": "EC2", "minvCpus": 0, "maxvCpus": 1, "instanceTypes": ["optimal"], "subnets": ["s"], "instanceRole": "r"}


class Kind(NamedTuple):
    """How resources of a kind are looked at, created, changed and deleted, by name."""

    statuses: Callable[[str], list[str]]
    create: Callable[[str], Any]
    update: Callable[[str], Any]
    delete: Callable[[str], Any]


def kinds(batch: Any, server: ServerProcess) -> Iterator[tuple[str, Kind]]:
    def statuses(call: Any, member: str) -> Callable[[str], list[str]]:
        return lambda name: [each["status"] for each in call(**{member: [name]})[member]]

    yield (
        "compute environments",
        Kind(
            statuses(batch.describe_compute_environments, "computeEnvironments"),
            lambda name: batch.create_compute_environment(
                computeEnvironmentName=name, type="MANAGED", computeResources=EC2
            ),
            lambda name: batch.update_compute_environment(computeEnvironment=name, state="DISABLED"),
            lambda name: batch.delete_compute_environment(computeEnvironment=name),
        ),
    )
    order = [{"order": 1, "computeEnvironment": "default"}]
    yield (
        "job queues",
        Kind(
            statuses(batch.describe_job_queues, "jobQueues"),
            lambda name: batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order),
            lambda name: batch.update_job_queue(jobQueue=name, state="DISABLED"),
            lambda name: batch.delete_job_queue(jobQueue=name),
        ),
    )
    limits = [{"maxCapacity": 1, "capacityUnit": INSTANCE_TYPE}]
    yield (
        "service environments",
        Kind(
            statuses(batch.describe_service_environments, "serviceEnvironments"),
            lambda name: batch.create_service_environment(
                serviceEnvironmentName=name, serviceEnvironmentType="SAGEMAKER_TRAINING", capacityLimits=limits
            ),
            lambda name: batch.update_service_environment(serviceEnvironment=name, state="DISABLED"),
            lambda name: batch.delete_service_environment(serviceEnvironment=name),
        ),
    )
    policy = batch.create_scheduling_policy(
        name=new_name("quota"), quotaSharePolicy={"idleResourceAssignmentStrategy": "FIFO"}
    )["arn"]
    environment = new_service_environment(batch, unit=INSTANCE_TYPE)
    queue = new_training_queue(batch, environment, schedulingPolicyArn=policy)

    def arn(name: str) -> str:
        return server.arn(f"job-queue/{queue}/quota-share/{name}")

    yield (
        "quota shares",
        Kind(
            lambda name: [
                share["status"]
                for share in batch.list_quota_shares(jobQueue=queue)["quotaShares"]
                if share["quotaShareName"] == name
            ],
            lambda name: batch.create_quota_share(
                quotaShareName=name,
                jobQueue=queue,
                capacityLimits=limits,
                resourceSharingConfiguration={"strategy": "RESERVE"},
                preemptionConfiguration={"inSharePreemption": "DISABLED"},
            ),
            lambda name: batch.update_quota_share(quotaShareArn=arn(name), state="DISABLED"),
            lambda name: batch.delete_quota_share(quotaShareArn=arn(name)),
        ),
    )


@pytest.mark.parametrize("kind", ["compute environments", "job queues", "service environments", "quota shares"])
def test_a_client_that_looks_sees_every_status(new_server: Callable[..., ServerProcess], kind: str) -> None:
    """On a server with nothing else to do: what is under way is so for a moment only."""
    server = new_server().start()
    resources = dict(kinds(server.client("batch"), server))[kind]
    seen: set[str] = set()

    def lives() -> bool:
        """One life of a resource, and four who look at it meanwhile."""
        name, over = new_name("observed"), threading.Event()

        def look() -> None:
            while not over.is_set():
                seen.update(resources.statuses(name))

        with ThreadPoolExecutor(4) as pool:
            lookers = [pool.submit(look) for _ in range(4)]
            try:
                resources.create(name)
                until(lambda: resources.statuses(name) == ["VALID"], name)
                resources.update(name)
                until(lambda: resources.statuses(name) == ["VALID"], name)
                resources.delete(name)
                until(lambda: resources.statuses(name) == [], name)
            finally:
                over.set()
            for looker in lookers:
                looker.result()
        return seen >= ALL

    until(lives, lambda: f"all of {ALL}; seen so far: {seen}", seconds=250)
    assert seen <= ALL
