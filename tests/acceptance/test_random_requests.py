"""Requests made at random from the service models, most of them broken, at every operation: never a 5xx, always a JSON
error with a message, and after a refusal nothing has changed.

They are signed, and sent without a client: what SDKs refuse to send gets through here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import Commits, Wire

from server_process import ServerProcess
from waiting import until
from work import UNKNOWN_JOB, new_environment, new_queue, register, submit

EXAMPLES = int(os.environ.get("BATCHYARD_TEST_EXAMPLES", "50"))
"""For each operation."""

LOGS_OPERATIONS = [
    "CreateLogGroup",
    "CreateLogStream",
    "DeleteLogGroup",
    "DescribeLogGroups",
    "DescribeLogStreams",
    "FilterLogEvents",
    "GetLogEvents",
    "PutLogEvents",
]
CHANGES_NOTHING = ("Describe", "List", "Get", "Filter")
READERS = {
    "describe_compute_environments": "computeEnvironments",
    "describe_job_queues": "jobQueues",
    "describe_job_definitions": "jobDefinitions",
}


@cache
def model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


BATCH_OPERATIONS = sorted(model("batch").operation_names)

odd_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "\0", "\ud7ff", "²", "ﬀ", "a" * 129, "x" * 5000, "../../etc/passwd", "%s%n", "'; --", "*"]
    ),
    st.sampled_from(
        ["arn:", "arn:aws:batch:::", f"{UNKNOWN_JOB}:²", f"{UNKNOWN_JOB}#0", f"{UNKNOWN_JOB}:-1", "Ref::x"]
    ),
)
odd_numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([-1, 0, 1, 2, 59, 60, 10_000, 10_001, 2**31, 2**63, -(2**63) - 1, 0.5, -0.0, 1e308, 10**400]),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), odd_numbers, odd_texts),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=4),
    max_leaves=8,
)

# What exists on the server under test, so that requests get beyond "not found".
KNOWN_TEXTS = [
    "default",
    "random",
    "random:1",
    "random-off",
    "/aws/batch/job",
    "SPOT",
    "1",
    "16",
    "true",
    "RETRY",
    "sh",
    "0:",
    "a-name",
]


def values(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of this shape, valid and nearly so, and now and then something else altogether."""
    good = _good_values(shape, depth)
    return st.one_of(good, good, good, good, good, good, junk)


def _good_values(shape: Shape, depth: int) -> st.SearchStrategy[Any]:
    if isinstance(shape, StructureShape):
        return structures(shape, depth)
    if isinstance(shape, ListShape):
        return st.just([]) if depth > 4 else st.lists(values(shape.member, depth + 1), max_size=3)
    if isinstance(shape, MapShape):
        keys = st.sampled_from(["Name", "nf-token", "x", "awslogs-group"]) | odd_texts
        return st.dictionaries(keys, values(shape.value, depth + 1), max_size=3)
    if shape.type_name == "string":
        enum = getattr(shape, "enum", None)
        known = st.sampled_from(enum) if enum else st.sampled_from(KNOWN_TEXTS)
        return st.one_of(known, known, odd_texts)
    if shape.type_name == "boolean":
        return st.booleans()
    return st.one_of(st.integers(0, 100), odd_numbers)


def structures(shape: StructureShape, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    required = {name: values(shape.members[name], depth + 1) for name in shape.required_members}
    optional = {
        name: values(member, depth + 1)
        for name, member in shape.members.items()
        if name not in shape.required_members and depth < 5
    }
    complete = st.fixed_dictionaries(required, optional=optional)
    few = st.fixed_dictionaries(required)
    return st.one_of(few, complete, st.fixed_dictionaries({}, optional={**required, **optional}))


@pytest.fixture(scope="module")
def wire(server: ServerProcess) -> Iterator[Wire]:
    batch = server.client("batch")
    register(batch, name="random", container_command=["echo", "Ref::x"], parameters={"x": "y"})
    new_queue(batch, new_environment(batch, name="random", state="DISABLED"), name="random")
    new_queue(batch, name="random-off", state="DISABLED")
    KNOWN_TEXTS.append(submit(batch, "random", queue="random"))
    KNOWN_TEXTS.append(submit(batch, "random", queue="random", arrayProperties={"size": 3}) + ":1")
    KNOWN_TEXTS.extend(server.arn(resource) for resource in ("job-queue/random", "job-definition/random:1"))
    KNOWN_TEXTS.append(server.arn(f"job/{KNOWN_TEXTS[-4]}"))
    with Wire(server) as wire:
        yield wire


@pytest.fixture(scope="module")
def commits(server: ServerProcess) -> Iterator[Commits]:
    with Commits(server.data_dir) as commits:
        yield commits


def snapshot(server: ServerProcess) -> Any:
    """All that the operations could have changed, once it has come to rest; of jobs that may run, only their ids."""
    batch = server.client("batch")
    found: dict[str, Any] = {}
    for operation, key in READERS.items():
        found[operation] = until(lambda: at_rest(batch, operation, key), f"{key} at rest")  # noqa: B023
    everything = [{"name": "AFTER_CREATED_AT", "values": ["0"]}]
    for queue in ("default", "random", "random-off"):
        if any(each["jobQueueName"] == queue for each in found["describe_job_queues"]):
            pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, filters=everything)
            jobs = [(job["jobId"], job["status"]) for page in pages for job in page["jobSummaryList"]]
            found[queue] = jobs if queue == "random" else [job_id for job_id, _ in jobs]
    found["logs"] = [group["logGroupName"] for group in server.client("logs").describe_log_groups()["logGroups"]]
    return found


def at_rest(batch: Any, operation: str, key: str) -> Any:
    """All resources of a kind; None while one of them is being created, updated or deleted."""
    resources = batch.get_paginator(operation).paginate().build_full_result()[key]
    moving = any(resource["status"] in ("CREATING", "UPDATING", "DELETING") for resource in resources)
    return None if moving else resources or [{}]


class Known:
    """The last snapshot: good until a request succeeds."""

    last: Any = None


def check(server: ServerProcess, wire: Wire, commits: Commits, operation: OperationModel, members: Any) -> None:
    looks = operation.name.startswith(CHANGES_NOTHING)
    if not looks and Known.last is None:
        Known.last = snapshot(server)
    before = commits.count()
    status, headers, body = wire.send(operation, members)
    assert status < 500, (status, body)
    answer = json.loads(body)
    if status == 200:
        if not looks:
            Known.last = None
        return
    assert 400 <= status < 500
    assert answer["message"]
    assert headers["x-amzn-errortype"]
    if looks:
        return
    wire.pass_a_round()
    is_stored_elsewhere = operation.service_model.service_name == "logs"
    if is_stored_elsewhere or commits.count() != before:  # Which may also be what a job does.
        assert snapshot(server) == Known.last, answer


SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("name", BATCH_OPERATIONS)
def test_batch(server: ServerProcess, wire: Wire, commits: Commits, name: str) -> None:
    operation = model("batch").operation_model(name)

    @SETTINGS
    @given(members=structures(operation.input_shape) | junk)
    def run(members: Any) -> None:
        check(server, wire, commits, operation, members)

    run()


@pytest.mark.parametrize("name", LOGS_OPERATIONS)
def test_logs(server: ServerProcess, wire: Wire, commits: Commits, name: str) -> None:
    operation = model("logs").operation_model(name)

    @SETTINGS
    @given(members=structures(operation.input_shape) | junk)
    def run(members: Any) -> None:
        check(server, wire, commits, operation, members)

    run()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"{}x",
        b'{"jobs": ["\\ud800"]}',
        b'{"jobs": [%s]}' % (b"1" * 5000),
        b'{"jobs": [1e999]}',
        b'{"jobs": [NaN]}',
        b'{"jobs": null, "jobs": []}',
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize("name", ["DescribeJobs", "SubmitJob", "ListJobs"])
def test_bodies_that_are_no_json(wire: Wire, name: str, body: bytes) -> None:
    operation = model("batch").operation_model(name)
    headers = {"Content-Type": "application/json"}
    status, _, answer = wire.send_bytes("batch", "POST", operation.http["requestUri"], headers, body)
    assert status in (200, 400)
    assert status == 200 or json.loads(answer)["message"]
