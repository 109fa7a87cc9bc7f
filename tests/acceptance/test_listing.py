"""ListJobs and the Describe operations: filters, order, small pages while others write, and tokens that are not ours."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from server_process import ServerProcess
from work import (
    UNKNOWN_JOB,
    Gate,
    container,
    ended,
    new_environment,
    new_name,
    new_queue,
    reached,
    refused,
    register,
    submit,
)

THREE_VCPUS = [{"type": "VCPU", "value": "3"}, {"type": "MEMORY", "value": "16"}]


@pytest.fixture(scope="module")
def waiting_queue(server: ServerProcess) -> str:
    """A queue in which everything stays RUNNABLE."""
    batch = server.client("batch")
    return new_queue(batch, new_environment(batch, state="DISABLED"))


def listed(batch: Any, **request: Any) -> list[dict[str, Any]]:
    pages = batch.get_paginator("list_jobs").paginate(**request)
    return [job for page in pages for job in page["jobSummaryList"]]


def ids(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["jobId"] for job in jobs]


class TestListJobs:
    def test_by_status(self, server: ServerProcess, batch: Any, gate: Gate) -> None:
        queue = new_queue(batch)
        running = submit(batch, register(batch, gate.script), queue=queue)
        reached(batch, running, "RUNNING")
        pending = submit(batch, register(batch), queue=queue, dependsOn=[{"jobId": running}])
        good = submit(batch, register(batch), queue=queue)
        bad = submit(batch, register(batch, "exit 4"), queue=queue)
        ended(batch, good)
        ended(batch, bad)
        assert ids(listed(batch, jobQueue=queue)) == [running], "RUNNING is the default"
        assert ids(listed(batch, jobQueue=server.arn(f"job-queue/{queue}"), jobStatus="PENDING")) == [pending]
        assert ids(listed(batch, jobQueue=queue, jobStatus="SUCCEEDED")) == [good]
        [failed] = listed(batch, jobQueue=queue, jobStatus="FAILED")
        assert failed["jobId"] == bad
        assert failed["container"] == {"exitCode": 4}
        assert failed["statusReason"] == "Essential container in task exited"
        assert failed["startedAt"] <= failed["stoppedAt"]
        assert "isCancelled" not in failed
        assert listed(batch, jobQueue=queue, jobStatus="STARTING") == []

    def test_an_array_is_listed_under_its_parent_and_by_its_own_list(self, batch: Any, waiting_queue: str) -> None:
        parent = submit(batch, register(batch), queue=waiting_queue, arrayProperties={"size": 7})
        [found] = [job for job in listed(batch, jobQueue=waiting_queue, jobStatus="PENDING") if job["jobId"] == parent]
        assert found["arrayProperties"]["size"] == 7
        children = listed(batch, arrayJobId=parent, jobStatus="RUNNABLE", PaginationConfig={"PageSize": 2})
        assert ids(children) == [f"{parent}:{index}" for index in range(7)]
        assert [child["arrayProperties"] for child in children] == [{"index": index} for index in range(7)]
        assert listed(batch, arrayJobId=parent) == []
        assert listed(batch, arrayJobId=UNKNOWN_JOB) == []
        batch.terminate_job(jobId=parent, reason="x")

    def test_capacity_and_when_an_attempt_was_scheduled(self, batch: Any, waiting_queue: str) -> None:
        queue = new_queue(batch)
        job = ended(batch, submit(batch, register(batch), queue=queue))
        [single] = listed(batch, jobQueue=queue, jobStatus="SUCCEEDED")
        assert single["capacityUsage"] == [{"capacityUnit": "VCPU", "quantity": 1}]
        assert job["createdAt"] <= single["scheduledAt"] <= job["startedAt"]

        array = submit(batch, register(batch), queue=queue, arrayProperties={"size": 2})
        parent = ended(batch, array)
        for child in listed(batch, arrayJobId=array, jobStatus="SUCCEEDED"):
            assert child["capacityUsage"] == single["capacityUsage"]
            assert parent["createdAt"] <= child["scheduledAt"] <= child["startedAt"]
        [shown] = [each for each in listed(batch, jobQueue=queue, jobStatus="SUCCEEDED") if each["jobId"] == array]
        assert not {"capacityUsage", "scheduledAt"} & shown.keys(), "an array's children use capacity and are scheduled"

        waiting = submit(batch, register(batch, container_resourceRequirements=THREE_VCPUS), queue=waiting_queue)
        [found] = [
            each for each in listed(batch, jobQueue=waiting_queue, jobStatus="RUNNABLE") if each["jobId"] == waiting
        ]
        assert found["capacityUsage"] == [{"capacityUnit": "VCPU", "quantity": 3}]
        assert "scheduledAt" not in found

    @pytest.mark.parametrize(
        "request_",
        [
            {},
            {"jobQueue": "default", "arrayJobId": UNKNOWN_JOB},
            {"multiNodeJobId": UNKNOWN_JOB, "arrayJobId": UNKNOWN_JOB},
            {"jobQueue": ""},
        ],
        ids=str,
    )
    def test_exactly_one_of_queue_array_and_nodes(self, batch: Any, request_: dict[str, str]) -> None:
        assert "Exactly one of" in refused(batch.list_jobs, **request_)

    def test_refusals(self, batch: Any) -> None:
        assert "not found" in refused(batch.list_jobs, jobQueue="no-such-queue")
        one = {"name": "JOB_NAME", "values": ["x"]}
        for filters in ([one, one], [{**one, "values": []}], [{**one, "values": ["a", "b"]}], [{**one, "name": "AGE"}]):
            refused(batch.list_jobs, jobQueue="default", filters=filters)
        for name in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT"):
            for value in ("yesterday", "-1", "²", "1" * 30, ""):
                refused(batch.list_jobs, jobQueue="default", filters=[{"name": name, "values": [value]}])
        assert "filters" in refused(batch.list_jobs, arrayJobId=UNKNOWN_JOB, filters=[one])
        refused(batch.list_jobs, jobQueue="default", jobStatus="ASLEEP")
        refused(batch.list_jobs, jobQueue="default", maxResults=-1)

    def test_filters(self, batch: Any) -> None:
        queue = new_queue(batch, new_environment(batch, state="DISABLED"))
        definitions = [register(batch, name=name) for name in ("Filtered", "Filtered", "filtered", "Filtered_2")]
        names = ["Align-1", "align-2", "ALIGN", "a_ign-1", "other"]
        jobs = {name: submit(batch, definitions[0], queue=queue, name=name) for name in names}
        jobs |= {arn: submit(batch, arn, queue=queue, name="z") for arn in definitions[1:]}
        array = submit(batch, definitions[0], queue=queue, name="array", arrayProperties={"size": 3})

        def found(name: str, value: str, **more: Any) -> set[str]:
            filters = [{"name": name, "values": [value]}]
            return set(ids(listed(batch, jobQueue=queue, filters=filters, **more)))

        assert found("JOB_NAME", "align*") == {jobs["Align-1"], jobs["align-2"], jobs["ALIGN"]}
        assert found("JOB_NAME", "align-1") == {jobs["Align-1"]}
        assert found("JOB_NAME", "a_ign*") == {jobs["a_ign-1"]}, "an underscore is no wildcard"
        assert found("JOB_NAME", "%") == set()
        assert found("JOB_NAME", "*") == {*jobs.values(), array}, "children are never found"
        assert found("JOB_NAME", "align*", jobStatus="FAILED") == found("JOB_NAME", "align*"), "the status is ignored"
        assert found("JOB_DEFINITION", definitions[1]) == {jobs[definitions[1]]}
        assert found("JOB_DEFINITION", "filtered") == {jobs[definitions[2]]}, "case counts"
        assert found("JOB_DEFINITION", "Filtered") == {*(jobs[name] for name in names), jobs[definitions[1]], array}
        assert found("JOB_DEFINITION", "Filtered*") == found("JOB_DEFINITION", "Filtered") | {jobs[definitions[3]]}
        assert found("BEFORE_CREATED_AT", "1") == set()
        assert found("AFTER_CREATED_AT", str(int(time.time() * 1000) + 60_000)) == set()
        assert found("AFTER_CREATED_AT", "1") == {*jobs.values(), array}
        assert found("SHARE_IDENTIFIER", "nobody") == set()

    def test_newest_first(self, batch: Any, waiting_queue: str) -> None:
        name = new_name("ordered")
        submitted = [submit(batch, register(batch), queue=waiting_queue, name=name) for _ in range(5)]
        filters = [{"name": "JOB_NAME", "values": [name]}]
        assert ids(listed(batch, jobQueue=waiting_queue, filters=filters)) == submitted[::-1]


class Writers:
    """Threads that add things for as long as the test reads."""

    def __init__(self, add: Any, threads: int = 2) -> None:
        self._add = add
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]
        self.failures: list[Exception] = []

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                self._add()
        except Exception as error:
            self.failures.append(error)


class TestPages:
    """What was there when the listing began is seen exactly once, whatever is added meanwhile."""

    def test_of_a_queue(self, batch: Any, waiting_queue: str) -> None:
        definition = register(batch)
        before = [submit(batch, definition, queue=waiting_queue) for _ in range(40)]
        with Writers(lambda: submit(batch, definition, queue=waiting_queue)):
            page_size = {"PageSize": 3}
            found = ids(listed(batch, jobQueue=waiting_queue, jobStatus="RUNNABLE", PaginationConfig=page_size))
        assert len(found) == len(set(found))
        assert set(before) <= set(found)

    def test_of_a_filtered_queue(self, batch: Any, waiting_queue: str) -> None:
        definition = register(batch)
        name = new_name("paged")
        before = [submit(batch, definition, queue=waiting_queue, name=name) for _ in range(20)]
        with Writers(lambda: submit(batch, definition, queue=waiting_queue, name=name)):
            filters = [{"name": "JOB_NAME", "values": [name]}]
            found = ids(listed(batch, jobQueue=waiting_queue, filters=filters, PaginationConfig={"PageSize": 2}))
        assert len(found) == len(set(found))
        assert set(before) <= set(found)

    def test_of_definitions(self, batch: Any) -> None:
        stem = new_name("many")
        before = {register(batch, name=f"{stem}-{number % 4}") for number in range(16)}
        pages = batch.get_paginator("describe_job_definitions")
        with Writers(lambda: register(batch, name=f"{stem}-{new_name('new')}"), threads=1):
            answer = pages.paginate(status="ACTIVE", PaginationConfig={"PageSize": 3}).build_full_result()
        found = [definition["jobDefinitionArn"] for definition in answer["jobDefinitions"]]
        assert len(found) == len(set(found))
        assert before <= set(found)
        one = pages.paginate(jobDefinitionName=f"{stem}-0", PaginationConfig={"PageSize": 1}).build_full_result()
        assert [definition["revision"] for definition in one["jobDefinitions"]] == [4, 3, 2, 1]

    def test_of_environments_and_queues(self, batch: Any) -> None:
        stem = new_name("few")
        environments = {new_environment(batch, name=f"{stem}-{number}") for number in range(5)}
        queues = {new_queue(batch, name=f"{stem}-{number}") for number in range(5)}
        small = {"PageSize": 1}
        with Writers(lambda: new_environment(batch, name=new_name(f"{stem}-x")), threads=1):
            answer = batch.get_paginator("describe_compute_environments").paginate(PaginationConfig=small)
            found = [each["computeEnvironmentName"] for each in answer.build_full_result()["computeEnvironments"]]
        assert len(found) == len(set(found))
        assert environments <= set(found)
        answer = batch.get_paginator("describe_job_queues").paginate(PaginationConfig=small).build_full_result()
        found = [each["jobQueueName"] for each in answer["jobQueues"]]
        assert len(found) == len(set(found))
        assert queues <= set(found)

    def test_a_page_is_as_long_as_asked(self, batch: Any, waiting_queue: str) -> None:
        definition = register(batch)
        for _ in range(5):
            submit(batch, definition, queue=waiting_queue)
        page = batch.list_jobs(jobQueue=waiting_queue, jobStatus="RUNNABLE", maxResults=4)
        assert len(page["jobSummaryList"]) == 4
        assert page["nextToken"]
        whole = batch.list_jobs(jobQueue=waiting_queue, jobStatus="RUNNABLE", maxResults=1000)
        assert "nextToken" not in whole


class TestTokens:
    @pytest.fixture
    def tokens(self, batch: Any, waiting_queue: str) -> dict[str, str]:
        definition = register(batch)
        parent = submit(batch, definition, queue=waiting_queue, arrayProperties={"size": 3})
        for _ in range(2):
            submit(batch, definition, queue=waiting_queue)
        name = [{"name": "JOB_NAME", "values": ["job*"]}]
        return {
            "queue": batch.list_jobs(jobQueue=waiting_queue, jobStatus="RUNNABLE", maxResults=1)["nextToken"],
            "filter": batch.list_jobs(jobQueue=waiting_queue, filters=name, maxResults=1)["nextToken"],
            "array": batch.list_jobs(arrayJobId=parent, jobStatus="RUNNABLE", maxResults=1)["nextToken"],
            "definitions": batch.describe_job_definitions(maxResults=1)["nextToken"],
            "environments": batch.describe_compute_environments(maxResults=1)["nextToken"],
            "queues": batch.describe_job_queues(maxResults=1)["nextToken"],
        }

    def test_foreign_and_forged_ones(self, batch: Any, waiting_queue: str, tokens: dict[str, str]) -> None:
        calls: dict[str, Any] = {
            "queue": lambda token: batch.list_jobs(jobQueue=waiting_queue, jobStatus="RUNNABLE", nextToken=token),
            "definitions": lambda token: batch.describe_job_definitions(nextToken=token),
            "environments": lambda token: batch.describe_compute_environments(nextToken=token),
            "queues": lambda token: batch.describe_job_queues(nextToken=token),
        }
        for kind, call in calls.items():
            assert call(tokens[kind])
            foreign = [token for other, token in tokens.items() if other != kind]
            own = tokens[kind]
            forged = [own[:-2], own + "AA", own[::-1], "x", "=", "ü", "A" * 5000, own[:8] + "AAAA" + own[12:]]
            for token in foreign + forged:
                assert "nextToken" in refused(lambda token=token, call=call: call(token))

    def test_of_another_status(self, batch: Any, waiting_queue: str, tokens: dict[str, str]) -> None:
        refused(batch.list_jobs, jobQueue=waiting_queue, jobStatus="FAILED", nextToken=tokens["queue"])

    def test_an_empty_one_is_none(self, batch: Any, waiting_queue: str) -> None:
        assert batch.list_jobs(jobQueue=waiting_queue, jobStatus="RUNNABLE", nextToken="")["jobSummaryList"]
        assert batch.describe_job_queues(nextToken="")["jobQueues"]


class TestDescribeJobDefinitions:
    def test_by_name_revision_and_arn(self, batch: Any) -> None:
        name = new_name("found")
        arns = [register(batch, name=name) for _ in range(3)]
        batch.deregister_job_definition(jobDefinition=f"{name}:2")

        def revisions(**request: Any) -> list[int]:
            return [each["revision"] for each in batch.describe_job_definitions(**request)["jobDefinitions"]]

        assert revisions(jobDefinitionName=name) == [3, 2, 1]
        assert revisions(jobDefinitionName=name, status="ACTIVE") == [3, 1]
        assert revisions(jobDefinitionName=name, status="INACTIVE") == [2]
        assert sorted(revisions(jobDefinitions=[f"{name}:1", arns[1], f"{name}:9", "no-such:1"])) == [1, 2]
        assert revisions(jobDefinitionName="no-such") == []
        assert revisions(jobDefinitions=[], jobDefinitionName=name, nextToken="") == [3, 2, 1]
        refused(batch.describe_job_definitions, jobDefinitions=[arns[0]], status="ACTIVE")
        refused(batch.describe_job_definitions, status="SLEEPING")
        refused(batch.describe_job_definitions, jobDefinitions=[arns[0]] * 101)

    def test_numbering_goes_on_after_deregistration(self, batch: Any) -> None:
        name = new_name("numbered")
        for number in (1, 2):
            assert register(batch, name=name).endswith(f":{number}")
            batch.deregister_job_definition(jobDefinition=f"{name}:{number}")
        assert register(batch, name=name).endswith(":3")

    def test_what_comes_back(self, batch: Any) -> None:
        name = new_name("whole")
        given = container("true", environment=[{"name": "A", "value": "b"}], user="nobody")
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties=given,
            parameters={"p": "q"},
            retryStrategy={"attempts": 2},
            timeout={"attemptDurationSeconds": 90},
            tags={"t": "u"},
            propagateTags=True,
            platformCapabilities=["EC2"],
        )
        [found] = batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
        assert found["containerProperties"] | given == found["containerProperties"]
        for member in ("volumes", "mountPoints", "ulimits", "secrets"):
            assert found["containerProperties"][member] == []
        assert (found["parameters"], found["tags"]) == ({"p": "q"}, {"t": "u"})
        assert (found["status"], found["revision"], found["containerOrchestrationType"]) == ("ACTIVE", 1, "ECS")
        assert found["retryStrategy"] == {"attempts": 2}
        assert found["timeout"] == {"attemptDurationSeconds": 90}
        assert found["propagateTags"] is True
