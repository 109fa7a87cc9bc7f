"""Compute environments, job queues, job definitions and tags: their lives, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server_process import ServerProcess
from waiting import until
from work import (
    UNKNOWN_JOB,
    container,
    describe,
    ended,
    new_environment,
    new_name,
    new_queue,
    refused,
    register,
    settled_environment,
    settled_queue,
    submit,
    update_environment,
    update_queue,
)

EC2 = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 4,
    "instanceTypes": ["optimal"],
    "subnets": ["subnet-1"],
    "instanceRole": "ecsInstanceRole",
    "securityGroupIds": ["sg-1"],
}


class TestDefaults:
    def test_the_first_job_needs_no_set_up(self, server: ServerProcess, batch: Any) -> None:
        [environment] = batch.describe_compute_environments(computeEnvironments=["default"])["computeEnvironments"]
        assert (environment["state"], environment["status"]) == ("ENABLED", "VALID")
        assert environment["type"] == "MANAGED"
        assert environment["computeResources"]["type"] == "EC2"
        [queue] = batch.describe_job_queues(jobQueues=["default"])["jobQueues"]
        assert (queue["state"], queue["status"]) == ("ENABLED", "VALID")
        assert queue["computeEnvironmentOrder"] == [
            {"order": 1, "computeEnvironment": server.arn("compute-environment/default")}
        ]


class TestComputeEnvironments:
    def test_a_life(self, server: ServerProcess, batch: Any) -> None:
        name = new_name("life")
        answer = batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", computeResources=EC2, tags={"a": "b"}
        )
        assert answer["computeEnvironmentArn"] == server.arn(f"compute-environment/{name}")
        detail = settled_environment(batch, name)
        assert detail["statusReason"] == "ComputeEnvironment Healthy"
        assert detail["state"] == "ENABLED"
        assert detail["tags"] == {"a": "b"}
        assert detail["computeResources"] | EC2 == detail["computeResources"]
        assert detail["ecsClusterArn"].startswith("arn:aws:ecs:")
        update_environment(batch, name, state="DISABLED", computeResources={"maxvCpus": 7})
        detail = settled_environment(batch, name)
        assert (detail["state"], detail["computeResources"]["maxvCpus"]) == ("DISABLED", 7)
        batch.delete_compute_environment(computeEnvironment=detail["computeEnvironmentArn"])
        until(
            lambda: not batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"],
            "the environment's end",
        )

    def test_a_name_is_taken(self, batch: Any) -> None:
        name = new_environment(batch)
        message = refused(
            batch.create_compute_environment, computeEnvironmentName=name, type="MANAGED", computeResources=EC2
        )
        assert message == "Object already exists"

    @pytest.mark.parametrize(
        ("request_", "words"),
        [
            ({"type": "MANAGED"}, "computeResources"),
            ({"type": "UNMANAGED", "computeResources": EC2, "serviceRole": "r"}, "computeResources"),
            ({"type": "UNMANAGED"}, "ServiceRole is required."),
            ({"type": "MANAGED", "computeResources": EC2, "unmanagedvCpus": 3}, "unmanagedvCpus"),
            ({"type": "RENTED", "computeResources": EC2}, "type"),
            ({"type": "MANAGED", "computeResources": EC2, "state": "ASLEEP"}, "state"),
            ({"type": "MANAGED", "computeResources": {**EC2, "minvCpus": 5}}, "minvCpus"),
            ({"type": "MANAGED", "computeResources": {**EC2, "desiredvCpus": 5}}, "desiredvCpus"),
            ({"type": "MANAGED", "computeResources": {**EC2, "instanceRole": ""}}, "Instance role is required."),
            ({"type": "MANAGED", "computeResources": {**EC2, "type": "SPOT"}}, "spotIamFleetRole cannot not be null"),
            (
                {"type": "MANAGED", "computeResources": {**EC2, "type": "FARGATE"}},
                "is not applicable for Fargate.",
            ),
            ({"type": "MANAGED", "computeResources": EC2, "tags": {"aws:x": "y"}}, "aws:"),
        ],
        ids=str,
    )
    def test_refusals(self, batch: Any, request_: dict[str, Any], words: str) -> None:
        name = new_name("refused")
        assert words in refused(batch.create_compute_environment, computeEnvironmentName=name, **request_)
        assert not batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]

    @pytest.mark.parametrize("name", ["", "has space", "x" * 129, "ü", "a/b", "a:b"])
    def test_names(self, batch: Any, name: str) -> None:
        refused(batch.create_compute_environment, computeEnvironmentName=name, type="MANAGED", computeResources=EC2)
        refused(
            batch.create_job_queue,
            jobQueueName=name,
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "default"}],
        )
        refused(
            batch.register_job_definition,
            jobDefinitionName=name,
            type="container",
            containerProperties=container(),
        )

    def test_what_must_come_before_a_deletion(self, batch: Any) -> None:
        name = new_environment(batch)
        queue = new_queue(batch, name)
        refused(batch.delete_compute_environment, computeEnvironment=name)
        update_environment(batch, name, state="DISABLED")
        message = refused(batch.delete_compute_environment, computeEnvironment=name)
        assert message == "Cannot delete, found existing JobQueue relationship"
        update_queue(batch, queue, state="DISABLED")
        batch.delete_job_queue(jobQueue=queue)
        until(lambda: not batch.describe_job_queues(jobQueues=[queue])["jobQueues"], "the queue's end")
        batch.delete_compute_environment(computeEnvironment=name)

    def test_scaling_down_by_hand(self, batch: Any) -> None:
        name = new_name("scaled")
        batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", computeResources={**EC2, "desiredvCpus": 3}
        )
        settled_environment(batch, name)
        message = refused(
            batch.update_compute_environment, computeEnvironment=name, computeResources={"desiredvCpus": 1}
        )
        assert "Manually scaling down compute environment is not supported." in message

    def test_a_disabled_one_starts_nothing_until_it_is_enabled(self, batch: Any) -> None:
        name = new_environment(batch, state="DISABLED")
        job_id = submit(batch, register(batch), queue=new_queue(batch, name))
        assert describe(batch, job_id)["status"] == "RUNNABLE"
        update_environment(batch, name, state="ENABLED")
        assert ended(batch, job_id)["status"] == "SUCCEEDED"

    def test_the_next_in_order_takes_what_the_first_cannot(self, batch: Any) -> None:
        small, large = new_environment(batch, vcpus=1), new_environment(batch, vcpus=4)
        queue = new_queue(batch, small, large)
        job = ended(batch, submit(batch, register(batch, container_vcpus="2"), queue=queue))
        assert f"AWSBatch-{large}" in job["container"]["taskArn"]


class TestJobQueues:
    def test_a_life(self, server: ServerProcess, batch: Any) -> None:
        first, second = new_environment(batch), new_environment(batch)
        name = new_name("life")
        answer = batch.create_job_queue(
            jobQueueName=name,
            priority=7,
            computeEnvironmentOrder=[
                {"order": 2, "computeEnvironment": first},
                {"order": 1, "computeEnvironment": server.arn(f"compute-environment/{second}")},
            ],
            tags={"a": "b"},
        )
        assert answer["jobQueueArn"] == server.arn(f"job-queue/{name}")
        detail = settled_queue(batch, name)
        assert detail["statusReason"] == "JobQueue Healthy"
        assert (detail["state"], detail["priority"], detail["tags"]) == ("ENABLED", 7, {"a": "b"})
        order = [entry["computeEnvironment"].rpartition("/")[2] for entry in detail["computeEnvironmentOrder"]]
        assert order == [second, first]
        update_queue(
            batch,
            name,
            priority=9,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": first}],
            state="DISABLED",
        )
        detail = settled_queue(batch, name)
        assert (detail["priority"], detail["state"]) == (9, "DISABLED")
        assert len(detail["computeEnvironmentOrder"]) == 1
        batch.delete_job_queue(jobQueue=detail["jobQueueArn"])
        until(lambda: not batch.describe_job_queues(jobQueues=[name])["jobQueues"], "the queue's end")
        batch.delete_job_queue(jobQueue=name)

    def test_an_enabled_queue_is_not_deleted(self, batch: Any) -> None:
        name = new_queue(batch)
        assert "DISABLED" in refused(batch.delete_job_queue, jobQueue=name)
        assert settled_queue(batch, name)["state"] == "ENABLED"

    def test_a_name_is_taken(self, batch: Any) -> None:
        order = [{"order": 1, "computeEnvironment": "default"}]
        message = refused(batch.create_job_queue, jobQueueName="default", priority=1, computeEnvironmentOrder=order)
        assert message == "Object already exists"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"computeEnvironmentOrder": []}, "1 to 3"),
            ({"computeEnvironmentOrder": [{"order": n, "computeEnvironment": "default"} for n in range(4)]}, "1 to 3"),
            ({"computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "default"}] * 2}, "order"),
            (
                {"computeEnvironmentOrder": [{"order": n, "computeEnvironment": "default"} for n in (1, 2)]},
                "twice",
            ),
            ({"computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "no-such"}]}, "no-such"),
            ({"priority": -1}, "priority"),
            ({"state": "PAUSED"}, "state"),
            ({"tags": {"'": "x"}}, "Tags can only contain letters"),
        ],
        ids=str,
    )
    def test_refusals(self, batch: Any, change: dict[str, Any], words: str) -> None:
        name = new_name("refused")
        order = [{"order": 1, "computeEnvironment": "default"}]
        request = {"jobQueueName": name, "priority": 1, "computeEnvironmentOrder": order, **change}
        assert words in refused(batch.create_job_queue, **request)
        assert not batch.describe_job_queues(jobQueues=[name])["jobQueues"]

    def test_unknown_ones(self, batch: Any) -> None:
        assert "not found" in refused(batch.update_job_queue, jobQueue="no-such", priority=1)
        assert "not found" in refused(batch.update_compute_environment, computeEnvironment="no-such", state="ENABLED")
        batch.delete_job_queue(jobQueue="no-such")
        assert batch.describe_job_queues(jobQueues=["no-such", "default"])["jobQueues"][0]["jobQueueName"] == "default"

    def test_kinds_do_not_mix(self, batch: Any) -> None:
        fargate = new_name("fargate")
        batch.create_compute_environment(
            computeEnvironmentName=fargate,
            type="MANAGED",
            computeResources={"type": "FARGATE", "maxvCpus": 4, "subnets": ["s"], "securityGroupIds": ["g"]},
        )
        settled_environment(batch, fargate)
        order = [{"order": 1, "computeEnvironment": "default"}, {"order": 2, "computeEnvironment": fargate}]
        message = refused(
            batch.create_job_queue, jobQueueName=new_name("mixed"), priority=1, computeEnvironmentOrder=order
        )
        assert "mix" in message


class TestJobDefinitions:
    @pytest.mark.parametrize(
        ("request_", "words"),
        [
            ({"type": "container"}, "containerProperties"),
            ({"type": "pod", "containerProperties": container()}, "type"),
            ({"type": "multinode", "containerProperties": container()}, "nodeProperties"),
            ({"type": "container", "containerProperties": {**container(), "image": ""}}, "image"),
            ({"type": "container", "containerProperties": {"image": "busybox"}}, "vCPU is not provided."),
            ({"type": "container", "containerProperties": {**container(), "vcpus": 1}}, "both"),
            ({"type": "container", "containerProperties": {**container(), "user": "No Body"}}, "does not match regex"),
            (
                {
                    "type": "container",
                    "containerProperties": {**container(), "networkConfiguration": {"assignPublicIp": "ENABLED"}},
                },
                "networkConfiguration not applicable for EC2.",
            ),
            (
                {
                    "type": "container",
                    "platformCapabilities": ["FARGATE"],
                    "containerProperties": container(
                        vcpus="2", memory="1024", executionRoleArn="arn:aws:iam::1:role/r"
                    ),
                },
                "Fargate resource requirements (2.00 vCPU, 1024 MiB) not valid.",
            ),
            (
                {"type": "container", "containerProperties": container(), "retryStrategy": {}},
                "RetryAttempts must be provided with retry strategy",
            ),
            (
                {"type": "container", "containerProperties": container(), "timeout": {"attemptDurationSeconds": 59}},
                "60",
            ),
            (
                {"type": "container", "containerProperties": container(), "schedulingPriority": 10_000},
                "9999",
            ),
            (
                {"type": "container", "containerProperties": container(), "parameters": {"long": "x" * 25_000}},
                "24 KiB",
            ),
            (
                {
                    "type": "container",
                    "containerProperties": container(
                        mountPoints=[{"sourceVolume": "nowhere", "containerPath": "/data"}]
                    ),
                },
                "nowhere",
            ),
        ],
        ids=str,
    )
    def test_refusals(self, batch: Any, request_: dict[str, Any], words: str) -> None:
        name = new_name("refused")
        assert words in refused(batch.register_job_definition, jobDefinitionName=name, **request_)
        assert not batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]

    def test_the_same_content_makes_a_new_revision(self, server: ServerProcess, batch: Any) -> None:
        name = new_name("same")
        answers = [
            batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container())
            for _ in range(2)
        ]
        assert [answer["revision"] for answer in answers] == [1, 2]
        assert answers[1]["jobDefinitionArn"] == server.arn(f"job-definition/{name}:2")

    def test_deregistering(self, batch: Any) -> None:
        name = new_name("gone")
        arns = [register(batch, name=name) for _ in range(3)]
        batch.deregister_job_definition(jobDefinition=arns[0])
        batch.deregister_job_definition(jobDefinition=arns[0])
        batch.deregister_job_definition(jobDefinition=name)
        found = batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
        assert [each["status"] for each in found] == ["INACTIVE", "ACTIVE", "INACTIVE"]
        assert describe(batch, submit(batch, name))["jobDefinition"] == arns[1]
        for unknown in ("no-such", f"{name}:9", arns[0] + "9", "no such"):
            refused(batch.deregister_job_definition, jobDefinition=unknown)


class TestTags:
    @pytest.fixture(scope="class")
    def arns(self, server: ServerProcess) -> dict[str, str]:
        batch = server.client("batch")
        job_id = submit(batch, register(batch), tags={"first": "1"})
        array = submit(batch, register(batch), arrayProperties={"size": 2}, tags={"first": "1"})
        return {
            "environment": server.arn(f"compute-environment/{new_environment(batch, tags={'first': '1'})}"),
            "queue": server.arn(f"job-queue/{new_queue(batch, tags={'first': '1'})}"),
            "definition": register(batch, tags={"first": "1"}),
            "job": server.arn(f"job/{job_id}"),
            "array": server.arn(f"job/{array}"),
        }

    KINDS = ("environment", "queue", "definition", "job", "array")

    @pytest.mark.parametrize("kind", KINDS)
    def test_tagging_and_untagging(self, batch: Any, arns: dict[str, str], kind: str) -> None:
        arn = arns[kind]
        assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"first": "1"}
        batch.tag_resource(resourceArn=arn, tags={"second": "2", "Ünï _.:/=+-@": "", "First": "A"})
        batch.tag_resource(resourceArn=arn, tags={"second": "two"})
        expected = {"first": "1", "second": "two", "Ünï _.:/=+-@": "", "First": "A"}
        assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == expected
        batch.untag_resource(resourceArn=arn, tagKeys=["second", "Ünï _.:/=+-@", "First", "not there"])
        assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"first": "1"}

    @pytest.mark.parametrize("kind", KINDS)
    def test_limits(self, batch: Any, arns: dict[str, str], kind: str) -> None:
        arn = arns[kind]
        before = batch.list_tags_for_resource(resourceArn=arn)["tags"]
        for tags in (
            {"aws:x": "y"},
            {"x" * 129: "y"},
            {"x": "y" * 257},
            {"x": "'"},
            {f"n{n}": "" for n in range(50)},
        ):
            refused(batch.tag_resource, resourceArn=arn, tags=tags)
        refused(batch.untag_resource, resourceArn=arn, tagKeys=[f"n{n}" for n in range(51)])
        assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == before
        batch.tag_resource(resourceArn=arn, tags={f"n{n}": "x" * 256 for n in range(49)})
        batch.untag_resource(resourceArn=arn, tagKeys=[f"n{n}" for n in range(49)])
        assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == before

    @pytest.mark.parametrize("kind", KINDS)
    def test_many_at_the_same_time(self, batch: Any, arns: dict[str, str], kind: str) -> None:
        """Each caller adds one tag: none of them may be lost."""
        with ThreadPoolExecutor(8) as pool:
            [*pool.map(lambda n: batch.tag_resource(resourceArn=arns[kind], tags={f"t{n}": "x"}), range(30))]
        found = batch.list_tags_for_resource(resourceArn=arns[kind])["tags"]
        assert {f"t{n}" for n in range(30)} <= found.keys()
        batch.untag_resource(resourceArn=arns[kind], tagKeys=[f"t{n}" for n in range(30)])

    def test_they_are_shown_where_the_resource_is(self, batch: Any, arns: dict[str, str]) -> None:
        job_id = arns["array"].rpartition("/")[2]
        assert describe(batch, job_id)["tags"] == {"first": "1"}
        assert describe(batch, f"{job_id}:0")["tags"] == {}

    @pytest.mark.parametrize(
        "resource",
        [
            "job-queue/no-such",
            "compute-environment/no-such",
            "job-definition/no-such:1",
            "job-definition/no-such:²",
            f"job/{UNKNOWN_JOB}",
            "scheduling-policy/no-such",
            "",
        ],
    )
    def test_unknown_resources(self, server: ServerProcess, batch: Any, resource: str) -> None:
        arn = server.arn(resource)
        refused(batch.list_tags_for_resource, resourceArn=arn)
        refused(batch.tag_resource, resourceArn=arn, tags={"a": "b"})
        refused(batch.untag_resource, resourceArn=arn, tagKeys=["a"])

    def test_children_and_what_is_no_arn(self, batch: Any, arns: dict[str, str]) -> None:
        for arn in (f"{arns['array']}:0", f"{arns['array']}#0", "default", "job/x", "arn:aws:s3:::bucket"):
            refused(batch.list_tags_for_resource, resourceArn=arn)
            refused(batch.tag_resource, resourceArn=arn, tags={"a": "b"})
            refused(batch.untag_resource, resourceArn=arn, tagKeys=["a"])

    def test_a_definition_without_a_revision(self, batch: Any, arns: dict[str, str]) -> None:
        refused(batch.list_tags_for_resource, resourceArn=arns["definition"].rpartition(":")[0])
