"""Members of requests and responses that need no story of their own: what was sent comes back, and changes as it is told to."""

from __future__ import annotations

from typing import Any

from training import new_training_queue, payload, settled_service_environment, submit_training, trained

from server_process import ServerProcess
from work import (
    container,
    describe,
    new_environment,
    new_name,
    new_queue,
    refused,
    register,
    settled_environment,
    submit,
    update_environment,
)

PROVIDER: dict[str, Any] = {
    "infrastructureRoleArn": "arn:aws:iam::123456789012:role/infrastructure",
    "instanceLaunchTemplate": {
        "ec2InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/ecs",
        "networkConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]},
        "monitoring": "BASIC",
    },
}


def environment(batch: Any, name: str) -> dict[str, Any]:
    [found] = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    return found


class TestComputeEnvironments:
    def test_what_the_service_adds(self, server: ServerProcess, batch: Any) -> None:
        found = environment(batch, new_environment(batch))
        other = environment(batch, new_environment(batch))
        assert found["containerOrchestrationType"] == "ECS"
        assert len(found["uuid"]) == 36
        assert found["uuid"] != other["uuid"]
        assert found["ecsClusterArn"].startswith(f"arn:aws:ecs:{server.region}:{server.account_id}:cluster/AWSBatch-")

    def test_a_provider_of_managed_instances_is_changed_member_by_member(self, batch: Any) -> None:
        name = new_name("instances")
        batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={
                "type": "ECS_MANAGED_INSTANCES",
                "maxvCpus": 4,
                "managedInstancesProvider": PROVIDER,
            },
        )
        settled_environment(batch, name)
        template = {"monitoring": "DETAILED", "storageConfiguration": {"storageSizeGiB": 50}}
        changes = {"instanceLaunchTemplate": template, "infrastructureOptimization": {"scaleInAfter": 60}}
        update_environment(batch, name, computeResources={"managedInstancesProvider": changes})
        assert environment(batch, name)["computeResources"]["managedInstancesProvider"] == {
            **PROVIDER,
            "instanceLaunchTemplate": {**PROVIDER["instanceLaunchTemplate"], **template},
            "infrastructureOptimization": {"scaleInAfter": 60},
        }

    def test_only_environments_of_managed_instances_have_a_provider(self, batch: Any) -> None:
        name = new_environment(batch)
        changes = {"managedInstancesProvider": {"propagateTags": "CAPACITY_PROVIDER"}}
        message = refused(batch.update_compute_environment, computeEnvironment=name, computeResources=changes)
        assert "managedInstancesProvider" in message

    def test_the_access_entry_of_a_kubernetes_cluster_is_changed(self, batch: Any) -> None:
        name = new_name("kubernetes")
        cluster = {"eksClusterArn": "arn:aws:eks:us-east-1:123456789012:cluster/c", "kubernetesNamespace": "batch"}
        batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={
                "type": "EC2",
                "minvCpus": 0,
                "maxvCpus": 4,
                "instanceRole": "r",
                "allocationStrategy": "BEST_FIT_PROGRESSIVE",
            },
            eksConfiguration=cluster,
        )
        settled_environment(batch, name, "INVALID")
        entry = {"accessEntry": {"desiredState": "ENABLED"}}
        batch.update_compute_environment(computeEnvironment=name, eksConfiguration=entry)
        settled_environment(batch, name, "INVALID")
        found = environment(batch, name)
        assert found["eksConfiguration"] == {**cluster, **entry}
        assert found["containerOrchestrationType"] == "EKS"
        assert "Kubernetes" in found["statusReason"]
        plain = new_environment(batch)
        refused(batch.update_compute_environment, computeEnvironment=plain, eksConfiguration=entry)


class TestJobQueues:
    def test_the_type_follows_from_the_environments(self, batch: Any) -> None:
        fargate = new_name("fargate")
        batch.create_compute_environment(
            computeEnvironmentName=fargate,
            type="MANAGED",
            computeResources={"type": "FARGATE", "maxvCpus": 1, "subnets": ["s"], "securityGroupIds": ["g"]},
        )
        settled_environment(batch, fargate)
        queues = [new_queue(batch), new_queue(batch, fargate)]
        found = {each["jobQueueName"]: each for each in batch.describe_job_queues(jobQueues=queues)["jobQueues"]}
        assert [found[name]["jobQueueType"] for name in queues] == ["ECS", "ECS_FARGATE"]


class TestJobs:
    def test_summaries_name_the_job_and_how_it_was_ended(self, server: ServerProcess, batch: Any) -> None:
        queue = new_queue(batch, new_environment(batch, state="DISABLED"))
        ended = {"isCancelled": batch.cancel_job, "isTerminated": batch.terminate_job}
        for member, end in ended.items():
            job = submit(batch, register(batch), queue=queue)
            end(jobId=job, reason="enough")
            answer = batch.list_jobs(jobQueue=queue, jobStatus="FAILED")
            [summary] = [each for each in answer["jobSummaryList"] if each["jobId"] == job]
            assert summary["jobArn"] == server.arn(f"job/{job}") == describe(batch, job)["jobArn"]
            assert {name for name in ended if summary.get(name)} == {member}
            assert summary["statusReason"] == "enough", member

    def test_nodes_show_what_they_consume(self, batch: Any) -> None:
        resource = new_name("licence")
        batch.create_consumable_resource(consumableResourceName=resource, totalQuantity=5)
        needs = {"consumableResourceList": [{"consumableResource": resource, "quantity": 2}]}
        nodes = {"targetNodes": "0:1", "container": container(), "consumableResourceProperties": needs}
        definition = batch.register_job_definition(
            jobDefinitionName=new_name("nodes"),
            type="multinode",
            nodeProperties={"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [nodes]},
        )["jobDefinitionArn"]
        job = submit(batch, definition, queue=new_queue(batch, new_environment(batch, state="DISABLED")))
        [found] = batch.list_jobs_by_consumable_resource(consumableResource=resource)["jobs"]
        assert found["jobArn"].endswith(job)
        assert found["consumableResourceProperties"] == needs
        assert found["quantity"] == 2
        batch.terminate_job(jobId=job, reason="enough")


class TestServiceEnvironments:
    def test_answers_name_the_environment(self, server: ServerProcess, batch: Any) -> None:
        name = new_name("training")
        created = batch.create_service_environment(
            serviceEnvironmentName=name,
            serviceEnvironmentType="SAGEMAKER_TRAINING",
            capacityLimits=[{"maxCapacity": 1, "capacityUnit": "NUM_INSTANCES"}],
        )

        settled_service_environment(batch, name)
        updated = batch.update_service_environment(serviceEnvironment=name, state="DISABLED")
        for answer in (created, updated):
            assert answer["serviceEnvironmentName"] == name
            assert answer["serviceEnvironmentArn"] == server.arn(f"service-environment/{name}")


class TestSnapshots:
    def test_say_how_old_they_are(self, batch: Any) -> None:
        queue = new_queue(batch, new_environment(batch, state="DISABLED"))
        earlier = batch.get_job_queue_snapshot(jobQueue=queue)
        submit(batch, register(batch), queue=queue)
        later = batch.get_job_queue_snapshot(jobQueue=queue)
        for part in ("frontOfQueue", "queueUtilization"):
            assert 0 < earlier[part]["lastUpdatedAt"] <= later[part]["lastUpdatedAt"]
        assert (len(earlier["frontOfQueue"]["jobs"]), len(later["frontOfQueue"]["jobs"])) == (0, 1)


class TestServiceJobs:
    def test_say_when_they_were_ended(self, batch: Any) -> None:
        job = submit_training(batch, new_training_queue(batch), payload("sleep 600"))
        assert "stoppedAt" not in batch.describe_service_job(jobId=job)
        batch.terminate_service_job(jobId=job, reason="enough")
        ended = trained(batch, job)
        assert ended["stoppedAt"] >= ended["createdAt"]
        assert ended["isTerminated"] is True
