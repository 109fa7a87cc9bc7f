"""What holds for every operation alike: thousands of random requests never break the server and change nothing when they are
refused; listings can be read in pages of any size, while others write; tokens of one listing are no good for another."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from botocore.model import OperationModel
from response_shapes import complaints_about, watch
from training import (
    INSTANCE_TYPE,
    new_service_environment,
    new_training_queue,
    payload,
    settled_service_environment,
    submit_training,
)
from wire import Commits, Wire

from compatibility.cli_scenario import STEPS
from compatibility.random_requests import RandomRequests
from compatibility.script import account as load_account
from server_process import ServerProcess
from waiting import until
from work import container, new_environment, new_name, new_queue, refused, register, submit, update_queue

REQUESTS = int(os.environ.get("BATCHYARD_TEST_REQUESTS", "20000"))
ENOUGH = 10_000
"""For every operation to accept a request and to refuse one."""
SEED = 20161208
CHANGES_NOTHING = ("Describe", "List", "Get")
ENDED = ("service-job", "share")
"""No request is made to end these on purpose."""
NEEDS_A_POLICY = ("shareIdentifier", "quotaShareName", "preemptionConfiguration", "schedulingPriority")
POLICIES: dict[str, dict[str, Any]] = {
    "fair": {"fairsharePolicy": {}},
    "quota": {"quotaSharePolicy": {"idleResourceAssignmentStrategy": "FIFO"}},
}


@pytest.fixture(scope="module")
def account() -> Any:
    return load_account()


@contextmanager
def quiet(folder: Path) -> Iterator[ServerProcess]:
    """A server on which no job ever fits, so that nothing changes but by requests."""
    server = ServerProcess(folder / "data", overcommit=0.001)
    server.configure_client = watch
    with server:
        yield server
        assert "Traceback" not in server.log(), server.log()


@pytest.mark.long
class TestRandomRequests:
    @pytest.fixture
    def quiet_server(self, tmp_path: Path) -> Iterator[ServerProcess]:
        with quiet(tmp_path) as server:
            yield server

    def test_no_server_error_and_no_change_by_what_is_refused(self, account: Any, quiet_server: ServerProcess) -> None:
        known, examples = a_small_world(quiet_server)
        requests = RandomRequests(Random(SEED), known, examples)
        answers: Counter[tuple[str, int]] = Counter()
        with Wire(quiet_server) as wire, Commits(quiet_server.data_dir) as commits:
            for number in range(REQUESTS):
                operation = account.operations[number % len(account.operations)]
                members = requests.draw(operation)
                before = commits.count()
                status, _, body = wire.send(operation, members)
                answers[operation.name, status] += 1
                text = f"{operation.name} {members!r:.2000} answered {status} {body!r:.2000}"
                assert status < 500, text
                if status == 200:
                    assert not complaints_about(operation, body), text
                    learn(known, json.loads(body))
                else:
                    assert json.loads(body)["message"], text
                    if not operation.name.startswith(CHANGES_NOTHING):
                        wire.pass_a_round()
                        assert commits.count() == before or changes_nothing(wire, commits, operation, members), text
        remembered = everything(quiet_server)
        quiet_server.restart()
        assert everything(quiet_server) == remembered, "the server remembers what it has not stored"
        for status in (200, 400) if REQUESTS >= ENOUGH else ():
            assert all(answers[each.name, status] for each in account.operations), (status, answers)


def changes_nothing(wire: Wire, commits: Commits, operation: OperationModel, members: Any) -> bool:
    """Something was stored while a request was being refused. It may have been the end of an earlier change (CREATING,
    DELETING…): once there is quiet, the same request, refused again, must store nothing."""

    def refused_in_quiet() -> bool:
        before = commits.count()
        status = wire.send(operation, members).status
        wire.pass_a_round()
        return status != 200 and commits.count() == before

    try:
        return until(refused_in_quiet, seconds=5)
    except AssertionError:
        return False


def a_small_world(server: ServerProcess) -> tuple[list[str], dict[str, list[dict[str, Any]]]]:
    """Some resources to ask for; their names, ids and ARNs, and sound requests that name them. The queues and the
    definition of the requests called `steady` are named by no others, so that they last."""
    batch = server.client("batch")
    environment = new_environment(batch, name="spot", state="ENABLED")
    queue = new_queue(batch, environment, name="cli")
    new_environment(batch, name="unused", state="DISABLED")
    new_queue(batch, environment, name="unused", state="DISABLED")
    definitions = [register(batch, name=name, parameters={"x": "y"}) for name in ("old", "whole", "task")]
    job = submit(batch, definitions[0], queue=queue)
    array = submit(batch, definitions[0], queue=queue, arrayProperties={"size": 3})
    policies = {name: batch.create_scheduling_policy(name=name, **policy)["arn"] for name, policy in POLICIES.items()}
    kept = {"region": server.region, "account": server.account_id, "job": job, "array": array, **policies}
    training_queue = new_training_queue(batch)
    kept["service-job"] = submit_training(batch, training_queue, payload())
    kept["training-queue"] = quota_queue(batch)
    kept["share"] = new_quota_share(batch, kept["training-queue"])
    examples: dict[str, list[dict[str, Any]]] = {}
    for step in STEPS:
        text = json.dumps(step.request)
        for name, value in kept.items():
            if name not in ENDED or not step.operation.startswith(("Terminate", "Delete")):
                text = text.replace(f"{{{name}}}", value)
        examples.setdefault(step.operation, []).append(json.loads(text))
    steady = {"jobName": "steady", "jobQueue": new_queue(batch, name="steady"), "jobDefinition": "steady"}
    register(batch, name="steady", parameters={"x": "y"})
    examples["SubmitJob"] += [{**request, **steady} for request in examples["SubmitJob"]]
    training = {"jobName": "steady", "jobQueue": training_queue}
    examples["SubmitServiceJob"] += [
        {name: value for name, value in {**request, **training}.items() if name not in NEEDS_A_POLICY}
        for request in examples["SubmitServiceJob"]
    ]
    known = [
        "cli",
        "spot",
        "unused",
        "old",
        "old:1",
        "whole:1",
        job,
        array,
        f"{array}:1",
        *definitions,
        *policies.values(),
    ]
    known += [server.arn(f"{kind}/{name}") for kind, name in (("job-queue", "cli"), ("job", job))]
    return [*known, "sh", "1", "16", "0:", "new"], examples


def learn(known: list[str], answer: dict[str, Any]) -> None:
    """Takes note of the names, ids and ARNs in an answer. Old ones make room."""
    found = [value for value in answer.values() if isinstance(value, str) and 0 < len(value) < 300]
    known += [text for text in found if text not in known]
    del known[25 : max(25, len(known) - 60)]


class Listing(NamedTuple):
    """A listing that comes in pages."""

    operation: str
    key: str
    identity: str
    """The member that tells its entries apart."""
    request: Mapping[str, Any] = {}
    add: Callable[[], Any] | None = None
    """Adds one entry to it."""

    def page(self, batch: Any, **more: Any) -> tuple[list[str], str | None]:
        """The entries of a page, and the token of the next."""
        answer = getattr(batch, self.operation)(**self.request, **more)
        return [entry[self.identity] for entry in answer[self.key]], answer.get("nextToken")

    def whole(self, batch: Any, size: int) -> list[str]:
        """All entries, by pages of this size."""
        found, token = self.page(batch, maxResults=size)
        while token is not None:
            assert token
            entries, token = self.page(batch, maxResults=size, nextToken=token)
            assert len(entries) <= size
            found += entries
        return found


def listings(batch: Any) -> dict[str, Listing]:
    """All listings, each with at least seven entries."""
    environment = new_environment(batch, state="DISABLED")
    queue = new_queue(batch, environment)
    definition = register(batch)
    array = submit(batch, definition, queue=queue, arrayProperties={"size": 7})
    groups = [{"targetNodes": ":", "container": container()}]
    nodes = {"numNodes": 7, "mainNode": 0, "nodeRangeProperties": groups}
    several = batch.register_job_definition(jobDefinitionName=new_name("gang"), type="multinode", nodeProperties=nodes)
    gang = submit(batch, several["jobDefinitionArn"], queue=queue)
    family = new_name("family")
    named = [{"name": "JOB_NAME", "values": ["paged*"]}]
    found = {
        "compute environments": Listing(
            "describe_compute_environments",
            "computeEnvironments",
            "computeEnvironmentName",
            add=lambda: new_environment(batch, state="DISABLED"),
        ),
        "job queues": Listing(
            "describe_job_queues", "jobQueues", "jobQueueName", add=lambda: new_queue(batch, environment)
        ),
        "job definitions": Listing(
            "describe_job_definitions", "jobDefinitions", "jobDefinitionArn", add=lambda: register(batch)
        ),
        "active job definitions": Listing(
            "describe_job_definitions",
            "jobDefinitions",
            "jobDefinitionArn",
            {"status": "ACTIVE"},
            lambda: register(batch),
        ),
        "revisions": Listing(
            "describe_job_definitions",
            "jobDefinitions",
            "jobDefinitionArn",
            {"jobDefinitionName": family},
            lambda: register(batch, name=family),
        ),
        "jobs by status": Listing(
            "list_jobs",
            "jobSummaryList",
            "jobId",
            {"jobQueue": queue, "jobStatus": "RUNNABLE"},
            lambda: submit(batch, definition, queue=queue),
        ),
        "jobs by name": Listing(
            "list_jobs",
            "jobSummaryList",
            "jobId",
            {"jobQueue": queue, "filters": named},
            lambda: submit(batch, definition, queue=queue, name=new_name("paged")),
        ),
        "children": Listing("list_jobs", "jobSummaryList", "jobId", {"arrayJobId": array, "jobStatus": "RUNNABLE"}),
        "nodes": Listing("list_jobs", "jobSummaryList", "jobId", {"multiNodeJobId": gang, "jobStatus": "RUNNABLE"}),
        "scheduling policies": Listing(
            "list_scheduling_policies",
            "schedulingPolicies",
            "arn",
            add=lambda: batch.create_scheduling_policy(name=new_name("policy"), fairsharePolicy={}),
        ),
        "service environments": Listing(
            "describe_service_environments",
            "serviceEnvironments",
            "serviceEnvironmentName",
            add=lambda: new_service_environment(batch),
        ),
        "consumable resources": Listing(
            "list_consumable_resources",
            "consumableResources",
            "consumableResourceName",
            add=lambda: batch.create_consumable_resource(consumableResourceName=new_name("resource"), totalQuantity=1),
        ),
    }
    found["jobs by consumable resource"] = jobs_by_consumable_resource(batch, queue)
    found["quota shares"] = quota_shares(batch)
    found["service jobs"] = by_name = service_jobs(batch)
    found["service jobs by status"] = by_name._replace(
        request={"jobQueue": by_name.request["jobQueue"], "jobStatus": "RUNNABLE"}
    )
    for listing in found.values():
        for _ in range(7 if listing.add else 0):
            assert listing.add is not None
            listing.add()
    return found


def wire_name(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_"))


def jobs_by_consumable_resource(batch: Any, queue: str) -> Listing:
    resource = new_name("resource")
    batch.create_consumable_resource(consumableResourceName=resource, totalQuantity=1)
    needs = {"consumableResourceList": [{"consumableResource": resource, "quantity": 1}]}
    definition = batch.register_job_definition(
        jobDefinitionName=new_name("consumer"),
        type="container",
        containerProperties=container(),
        consumableResourceProperties=needs,
    )["jobDefinitionArn"]
    return Listing(
        "list_jobs_by_consumable_resource",
        "jobs",
        "jobArn",
        {"consumableResource": resource},
        lambda: submit(batch, definition, queue=queue),
    )


def quota_queue(batch: Any) -> str:
    """A job queue that can have quota shares; returns its name."""
    policy = batch.create_scheduling_policy(
        name=new_name("quota"), quotaSharePolicy={"idleResourceAssignmentStrategy": "FIFO"}
    )["arn"]
    return new_training_queue(batch, new_service_environment(batch, unit=INSTANCE_TYPE), schedulingPolicyArn=policy)


def new_quota_share(batch: Any, queue: str) -> str:
    """A quota share that is VALID; returns its ARN."""
    arn = batch.create_quota_share(
        quotaShareName=new_name("share"),
        jobQueue=queue,
        capacityLimits=[{"maxCapacity": 1, "capacityUnit": INSTANCE_TYPE}],
        resourceSharingConfiguration={"strategy": "RESERVE"},
        preemptionConfiguration={"inSharePreemption": "DISABLED"},
    )["quotaShareArn"]
    until(lambda: batch.describe_quota_share(quotaShareArn=arn)["status"] == "VALID", arn)
    return str(arn)


def quota_shares(batch: Any) -> Listing:
    queue = quota_queue(batch)
    return Listing(
        "list_quota_shares",
        "quotaShares",
        "quotaShareName",
        {"jobQueue": queue},
        lambda: new_quota_share(batch, queue),
    )


def service_jobs(batch: Any) -> Listing:
    queue = new_training_queue(batch, new_service_environment(batch, state="DISABLED"))
    filters = [{"name": "JOB_NAME", "values": ["train*"]}]
    return Listing(
        "list_service_jobs",
        "jobSummaryList",
        "jobId",
        {"jobQueue": queue, "filters": filters},
        lambda: submit_training(batch, queue, payload(), jobName=new_name("train")),
    )


MOST_ADDED = 12
"""Entries added while a listing is read; a queue can have 20 quota shares."""


@pytest.fixture(scope="module")
def busy_listings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, Listing]]]:
    """A client and what it can list."""
    with quiet(tmp_path_factory.mktemp("listings")) as server:
        batch = server.client("batch")
        yield batch, listings(batch)


class TestPages:
    def test_every_listing_of_the_model_is_tested(self, account: Any, busy_listings: Any) -> None:
        paginated = {
            operation.name
            for operation in account.operations
            if operation.input_shape and "nextToken" in operation.input_shape.members
        }
        tested = {wire_name(listing.operation) for listing in busy_listings[1].values()}
        assert tested == paginated

    def test_pages_of_any_size_make_up_the_whole(self, busy_listings: Any) -> None:
        batch, listings = busy_listings
        for name, listing in listings.items():
            whole = listing.whole(batch, 100)
            assert len(whole) >= 7, name
            assert len(whole) == len(set(whole)), name
            for size in {1, 2, 3, 5, 7, len(whole) - 1, len(whole), len(whole) + 1}:
                assert listing.whole(batch, size) == whole, f"{name} by {size}"

    def test_what_was_there_is_seen_once_while_others_add(self, busy_listings: Any) -> None:
        batch, listings = busy_listings
        for name, listing in listings.items():
            if listing.add is None:
                continue
            before = listing.whole(batch, 100)
            adder = Adder(listing.add)
            with adder:
                readings = [listing.whole(batch, size) for size in (1, 2, 3)]
            for found in readings:
                assert len(found) == len(set(found)), name
                assert [each for each in found if each in set(before)] == before, name
            assert len(listing.whole(batch, 100)) >= len(before) + adder.added, name

    def test_a_token_is_good_for_its_own_listing_alone(self, busy_listings: Any) -> None:
        batch, listings = busy_listings
        tokens = {name: listing.page(batch, maxResults=1)[1] for name, listing in listings.items()}
        assert all(tokens.values())
        for name, listing in listings.items():
            assert listing.page(batch, maxResults=1, nextToken=tokens[name])
            for other, token in tokens.items():
                if other != name:
                    call = getattr(batch, listing.operation)
                    assert "nextToken" in refused(call, **listing.request, nextToken=token), (name, other)

    def test_a_forged_token_is_refused_everywhere(self, busy_listings: Any) -> None:
        batch, listings = busy_listings
        for name, listing in listings.items():
            token = listing.page(batch, maxResults=1)[1]
            assert token is not None
            call = getattr(batch, listing.operation)
            for forged in forgeries(token):
                text = refused(call, **listing.request, nextToken=forged)
                assert "nextToken is not valid" in text, (name, forged)

    def test_what_stays_is_seen_once_while_others_go(self, busy_listings: Any) -> None:
        """Between two pages the entry that the first page ended with is removed, and another one from the pages to come."""
        batch, listings = busy_listings
        for name, listing in listings.items():
            if name not in REMOVERS:
                continue
            whole = listing.whole(batch, 100)
            found, token = listing.page(batch, maxResults=3)
            gone = {found[-1], whole[-2]}
            for entry in gone:
                remove(batch, name, entry)
            until(lambda: not gone & set(listing.whole(batch, 100)), f"{name} without {gone}")  # noqa: B023
            while token is not None:
                entries, token = listing.page(batch, maxResults=3, nextToken=token)
                found += entries
            assert found == [entry for entry in whole if entry != whole[-2]], name


REMOVERS = {
    "compute environments": "delete_compute_environment:computeEnvironment",
    "job queues": "delete_job_queue:jobQueue",
    "active job definitions": "deregister_job_definition:jobDefinition",
    "scheduling policies": "delete_scheduling_policy:arn",
    "service environments": "delete_service_environment:serviceEnvironment",
    "consumable resources": "delete_consumable_resource:consumableResource",
    "jobs by status": "terminate_job:jobId",
    "service jobs by status": "terminate_service_job:jobId",
}
"""The operation that takes an entry out of a listing, and its member that names the entry."""


def remove(batch: Any, listing: str, entry: str) -> None:
    """Takes an entry out of a listing."""
    operation, _, member = REMOVERS[listing].partition(":")
    reason = {"reason": "x"} if "terminate" in operation else {}
    if listing == "job queues":
        update_queue(batch, entry, state="DISABLED")
    if listing == "service environments":
        batch.update_service_environment(serviceEnvironment=entry, state="DISABLED")
        settled_service_environment(batch, entry)
    getattr(batch, operation)(**{member: entry}, **reason)


def forgeries(token: str) -> list[str]:
    """Tokens that the server has not made: a changed one, a shortened one, one with more, and inventions."""
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    changed = token[:middle] + other + token[middle + 1 :]
    return [changed, token[:middle], token + "AAAA", token[::-1], "1", "eyJhIjogMX0", "\u00fc", "x" * 2000]


class Adder:
    """A thread that adds entries for as long as the test reads, at most `MOST_ADDED`."""

    def __init__(self, add: Callable[[], Any]) -> None:
        self._add = add
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._failure: Exception | None = None
        self.added = 0

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        assert self._failure is None

    def _work(self) -> None:
        try:
            while self.added < MOST_ADDED and not self._stopping.is_set():
                self._add()
                self.added += 1
        except Exception as error:
            self._failure = error


def everything(server: ServerProcess) -> dict[str, Any]:
    """All that can be read of a server at rest."""
    batch = server.client("batch")
    found: dict[str, Any] = {}
    for operation, key in (
        ("describe_compute_environments", "computeEnvironments"),
        ("describe_job_queues", "jobQueues"),
        ("describe_job_definitions", "jobDefinitions"),
        ("describe_service_environments", "serviceEnvironments"),
        ("list_consumable_resources", "consumableResources"),
        ("list_scheduling_policies", "schedulingPolicies"),
    ):
        found[operation] = until(lambda: at_rest(batch, operation, key), f"{key} at rest")[0]  # noqa: B023
    anything = [{"name": "AFTER_CREATED_AT", "values": ["0"]}]
    for queue in found["describe_job_queues"]:
        name = queue["jobQueueName"]
        if queue["jobQueueType"] == "SAGEMAKER_TRAINING":
            continue
        pages = batch.get_paginator("list_jobs").paginate(jobQueue=name, filters=anything)
        jobs = [job["jobId"] for page in pages for job in page["jobSummaryList"]]
        for first in range(0, len(jobs), 100):
            described = batch.describe_jobs(jobs=jobs[first : first + 100])["jobs"]
            found |= {job["jobId"]: {**job, "statusReason": ""} for job in described}
    return found


def at_rest(batch: Any, operation: str, key: str) -> Any:
    """The resources of a kind, in a list of one; None while one of them is being created, updated or deleted."""
    resources = batch.get_paginator(operation).paginate().build_full_result()[key]
    moving = any(each.get("status") in ("CREATING", "UPDATING", "DELETING") for each in resources)
    return None if moving else [resources]
