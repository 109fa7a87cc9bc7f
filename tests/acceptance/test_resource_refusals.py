"""Every rule that the operations on environments, queues, policies, shares and consumable resources refuse a request for, as a
client meets it. A refusal changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from training import (
    INSTANCE_TYPE,
    new_service_environment,
    new_training_queue,
    payload,
    settled_service_environment,
    submit_training,
)

from server_process import ServerProcess
from waiting import until
from work import (
    Gate,
    container,
    new_environment,
    new_name,
    new_queue,
    reached,
    refused,
    register,
    settled_environment,
    settled_queue,
    submit,
    update_queue,
)

Form = dict[str, Any]

EC2: Form = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 4,
    "instanceTypes": ["optimal"],
    "subnets": ["subnet-1"],
    "instanceRole": "ecsInstanceRole",
    "securityGroupIds": ["sg-1"],
}
FARGATE: Form = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["s"], "securityGroupIds": ["g"]}
CLUSTER: Form = {"eksClusterArn": "arn:aws:eks:us-east-1:1:cluster/c", "kubernetesNamespace": "batch"}
OWN_ROLE = "arn:aws:iam::123456789012:role/own"
LINKED_ROLE = "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
QUOTA: Form = {"idleResourceAssignmentStrategy": "FIFO"}


def environment_of(batch: Any, resources: Form, **more: Any) -> str:
    """A compute environment of these resources that is settled; returns its name."""
    name = new_name("environment")
    batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources, **more)
    settled_environment(batch, name, "INVALID" if "eksConfiguration" in more else "VALID")
    return name


def managed_instances(option: str) -> Form:
    launch = {
        "ec2InstanceProfileArn": "arn:aws:iam::1:instance-profile/p",
        "networkConfiguration": {"subnets": ["s"], "securityGroups": ["g"]},
        "capacityOptionType": option,
    }
    provider = {"infrastructureRoleArn": OWN_ROLE, "instanceLaunchTemplate": launch}
    return {"type": "ECS_MANAGED_INSTANCES", "maxvCpus": 4, "managedInstancesProvider": provider}


class TestComputeEnvironments:
    @pytest.mark.parametrize(
        ("request_", "text"),
        [
            (
                {"type": "UNMANAGED", "unmanagedvCpus": -1, "serviceRole": OWN_ROLE},
                "unmanagedvCpus must not be negative, got -1",
            ),
            (
                {"type": "MANAGED", "computeResources": {**FARGATE, "maxvCpus": 0}},
                "Resource maxvCpus must be at least 1, got 0",
            ),
            (
                {"type": "MANAGED", "computeResources": {**FARGATE, "desiredvCpus": 1}},
                "desiredvCpus is not applicable for Fargate.",
            ),
            (
                {"type": "MANAGED", "computeResources": {**FARGATE, "tags": {"a": "b"}}},
                "tags is not applicable for Fargate.",
            ),
            (
                {"type": "MANAGED", "computeResources": {n: v for n, v in EC2.items() if n != "minvCpus"}},
                "Resource minvCpus is required.",
            ),
            (
                {"type": "MANAGED", "computeResources": EC2, "eksConfiguration": CLUSTER},
                "A compute environment on Amazon EKS needs an allocationStrategy other than BEST_FIT",
            ),
            (
                {"type": "MANAGED", "computeResources": {**EC2, "instanceTypes": ["m6g.large", "c5"]}},
                "instanceTypes must all have the same CPU architecture",
            ),
            (
                {
                    "type": "MANAGED",
                    "computeResources": {
                        **EC2,
                        "launchTemplate": {"launchTemplateName": "t", "overrides": [{"launchTemplateName": "o"}] * 11},
                    },
                },
                "A launch template can have at most 10 overrides, got 11",
            ),
            (
                {
                    "type": "MANAGED",
                    "computeResources": {**EC2, "scalingPolicy": {"minScaleDownDelayMinutes": 19}},
                },
                "minScaleDownDelayMinutes must be between 20 and 10080, or 0 for none, got 19",
            ),
        ],
    )
    def test_creation(self, batch: Any, request_: Form, text: str) -> None:
        name = new_name("refused")
        assert text in refused(batch.create_compute_environment, computeEnvironmentName=name, **request_)
        assert batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"] == []

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"unmanagedvCpus": 3}, "unmanagedvCpus is not applicable for a MANAGED compute environment"),
            ({"serviceRole": ""}, "ServiceRole is required."),
            (
                {"serviceRole": OWN_ROLE},
                "The service role cannot be changed between the service-linked role and another role",
            ),
            (
                {"computeResources": {"type": "FARGATE"}},
                "The type of the compute resources cannot be changed from EC2 to FARGATE",
            ),
            (
                {"computeResources": {"instanceTypes": ["c5"]}},
                "can only be updated in its numbers of vCPUs and its scaling policy, not in instanceTypes",
            ),
            ({"computeResources": {"minvCpus": 5}}, "minvCpus must be between 0 and maxvCpus (4), got 5"),
            (
                {"eksConfiguration": {"accessEntry": {"desiredState": "ENABLED"}}},
                "eksConfiguration is not applicable for a compute environment without a Kubernetes cluster",
            ),
        ],
    )
    def test_update(self, batch: Any, change: Form, text: str) -> None:
        name = environment_of(batch, EC2)
        before = settled_environment(batch, name)
        assert text in refused(batch.update_compute_environment, computeEnvironment=name, **change)
        assert settled_environment(batch, name) == before

    def test_update_of_an_unmanaged_one(self, batch: Any) -> None:
        name = new_name("unmanaged")
        batch.create_compute_environment(
            computeEnvironmentName=name, type="UNMANAGED", unmanagedvCpus=2, serviceRole=OWN_ROLE
        )
        settled_environment(batch, name)
        text = "computeResources is not applicable for an UNMANAGED compute environment"
        assert text in refused(
            batch.update_compute_environment, computeEnvironment=name, computeResources={"maxvCpus": 1}
        )
        text = "The service role cannot be changed between the service-linked role and another role"
        assert text in refused(batch.update_compute_environment, computeEnvironment=name, serviceRole=LINKED_ROLE)

    def test_update_of_one_on_kubernetes(self, batch: Any) -> None:
        progressive = {**EC2, "allocationStrategy": "BEST_FIT_PROGRESSIVE"}
        name = environment_of(batch, progressive, eksConfiguration=CLUSTER)
        text = "desiredvCpus cannot be updated for a compute environment on Amazon EKS"
        change = {"computeResources": {"desiredvCpus": 1}}
        assert text in refused(batch.update_compute_environment, computeEnvironment=name, **change)


def limit(reason: str, action: str = "CANCEL", seconds: int = 600) -> Form:
    return {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": seconds, "action": action}


CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
SERVICE_MAXIMUM = "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE"
LIMITS = [
    ([limit(CAPACITY, seconds=599)], "maxTimeSeconds must be between 600 and 86400, got 599"),
    ([limit(CAPACITY, seconds=86_401)], "maxTimeSeconds must be between 600 and 86400, got 86401"),
    ([limit(CAPACITY, "TERMINATE")], "must be CANCEL in this job queue, got TERMINATE"),
    ([limit("ACTION_REQUIRED")], f"must be one of {CAPACITY}, "),
    ([limit(SERVICE_MAXIMUM)], f"got '{SERVICE_MAXIMUM}'"),
    ([limit(CAPACITY)] * 2, f"several job state time limits for the reason {CAPACITY}"),
]


def creating_queue(
    batch: Any, *, environments: tuple[str, ...] = (), services: tuple[str, ...] = (), **more: Any
) -> str:
    """The message of the refusal of a new job queue."""
    name = new_name("refused")
    request: Form = {"jobQueueName": name, "priority": 1, **more}
    if environments:
        request["computeEnvironmentOrder"] = [
            {"order": n, "computeEnvironment": each} for n, each in enumerate(environments, 1)
        ]
    if services:
        request["serviceEnvironmentOrder"] = [
            {"order": n, "serviceEnvironment": each} for n, each in enumerate(services, 1)
        ]
    message = refused(batch.create_job_queue, **request)
    assert batch.describe_job_queues(jobQueues=[name])["jobQueues"] == []
    return message


class TestJobQueues:
    def test_environments(self, batch: Any) -> None:
        service = new_service_environment(batch)
        text = "A job queue cannot have both computeEnvironmentOrder and serviceEnvironmentOrder"
        assert text in creating_queue(batch, environments=("default",), services=(service,))
        text = "A job queue must have exactly 1 service environment, got 2"
        assert text in creating_queue(batch, services=(service, service))
        assert "Service Environment none does not exist" in creating_queue(batch, services=("none",))
        text = "A job queue of type ECS cannot have a serviceEnvironmentOrder"
        assert text in creating_queue(batch, services=(service,), jobQueueType="ECS")
        text = "A job queue of type SAGEMAKER_TRAINING cannot have a computeEnvironmentOrder"
        assert text in creating_queue(batch, environments=("default",), jobQueueType="SAGEMAKER_TRAINING")
        text = "A job queue with these compute environments has the type ECS, not EKS"
        assert text in creating_queue(batch, environments=("default",), jobQueueType="EKS")
        intel, arm = (environment_of(batch, {**EC2, "instanceTypes": [each]}) for each in ("c5", "c6g"))
        text = "A job queue cannot mix compute environments of the CPU architectures arm64 and x86_64"
        assert text in creating_queue(batch, environments=(intel, arm))
        spot, plain = (environment_of(batch, managed_instances(each)) for each in ("SPOT", "ON_DEMAND"))
        assert f"{plain} comes after one" in creating_queue(batch, environments=(spot, plain))
        pods = environment_of(batch, {**EC2, "allocationStrategy": "BEST_FIT_PROGRESSIVE"}, eksConfiguration=CLUSTER)
        assert f"Compute Environment {pods} is not valid" in creating_queue(batch, environments=(pods,))

    def test_a_queue_keeps_its_kind_of_environments(self, batch: Any) -> None:
        service = new_service_environment(batch)
        training, plain = new_training_queue(batch, service), new_queue(batch)
        order = [{"order": 1, "computeEnvironment": "default"}]
        text = "A job queue of type SAGEMAKER_TRAINING cannot have a computeEnvironmentOrder"
        assert text in refused(batch.update_job_queue, jobQueue=training, computeEnvironmentOrder=order)
        services = [{"order": 1, "serviceEnvironment": service}]
        text = "A job queue of type ECS cannot have a serviceEnvironmentOrder"
        assert text in refused(batch.update_job_queue, jobQueue=plain, serviceEnvironmentOrder=services)

    @pytest.mark.parametrize(("actions", "text"), LIMITS)
    def test_time_limits(self, batch: Any, actions: list[Form], text: str) -> None:
        assert text in creating_queue(batch, environments=("default",), jobStateTimeLimitActions=actions)
        assert text in refused(batch.update_job_queue, jobQueue="default", jobStateTimeLimitActions=actions)

    def test_time_limits_of_a_queue_of_service_jobs(self, batch: Any) -> None:
        service = new_service_environment(batch)
        text = "must be TERMINATE in this job queue, got CANCEL"
        assert text in creating_queue(batch, services=(service,), jobStateTimeLimitActions=[limit(SERVICE_MAXIMUM)])

    def test_policies(self, server: ServerProcess, batch: Any) -> None:
        unknown = server.arn("scheduling-policy/none")
        text = f"SchedulingPolicy {unknown} not found."
        assert text in creating_queue(batch, environments=("default",), schedulingPolicyArn=unknown)
        fair = batch.create_scheduling_policy(name=new_name("fair"), fairsharePolicy={})["arn"]
        quota = batch.create_scheduling_policy(name=new_name("quota"), quotaSharePolicy=QUOTA)["arn"]
        counted = new_service_environment(batch)
        text = "needs a service environment with limits for instance types"
        assert text in creating_queue(batch, services=(counted,), schedulingPolicyArn=quota)
        shared = new_queue(batch, schedulingPolicyArn=fair)
        text = "The scheduling policy of a job queue can only be replaced by one of the same kind"
        assert text in refused(batch.update_job_queue, jobQueue=shared, schedulingPolicyArn=quota)

    def test_of_one_that_is_being_deleted(self, batch: Any, gate: Gate) -> None:
        queue = new_queue(batch)
        job_id = submit(batch, register(batch, f"trap '' TERM; {gate.script}"), queue=queue)
        reached(batch, job_id, "RUNNING")
        update_queue(batch, queue, state="DISABLED")
        batch.delete_job_queue(jobQueue=queue)
        assert settled_queue(batch, queue, "DELETING")["state"] == "DISABLED"
        assert (
            refused(batch.update_job_queue, jobQueue=queue, priority=2) == "Cannot update, resource is being modified"
        )
        assert refused(batch.delete_job_queue, jobQueue=queue) == "Cannot delete, resource is being modified"
        assert "not found" in refused(batch.submit_job, jobName="j", jobQueue=queue, jobDefinition=register(batch))
        gate.open()
        until(lambda: batch.describe_job_queues(jobQueues=[queue])["jobQueues"] == [], "the queue's end")


@pytest.fixture(scope="module")
def quota_queue(server: ServerProcess) -> str:
    """A job queue that can have quota shares."""
    return new_quota_queue(server.client("batch"))


def new_quota_queue(batch: Any) -> str:
    policy = batch.create_scheduling_policy(name=new_name("quota"), quotaSharePolicy=QUOTA)["arn"]
    environment = new_service_environment(batch, unit=INSTANCE_TYPE)
    return new_training_queue(batch, environment, schedulingPolicyArn=policy)


def share_form(queue: str, name: str | None = None, **members: Any) -> Form:
    """A sound CreateQuotaShare; `members` replace or add."""
    return {
        "quotaShareName": name or new_name("share"),
        "jobQueue": queue,
        "capacityLimits": [{"maxCapacity": 1, "capacityUnit": INSTANCE_TYPE}],
        "resourceSharingConfiguration": {"strategy": "RESERVE"},
        "preemptionConfiguration": {"inSharePreemption": "DISABLED"},
        **members,
    }


def sharing(strategy: str, limit: int) -> Form:
    return {"resourceSharingConfiguration": {"strategy": strategy, "borrowLimit": limit}}


LARGE = {"maxCapacity": 1, "capacityUnit": INSTANCE_TYPE}


class TestQuotaShares:
    @pytest.mark.parametrize(
        ("members", "text"),
        [
            ({"quotaShareName": "a b"}, "quotaShareName should match valid pattern"),
            ({"jobQueue": "none"}, "JobQueue none not found."),
            ({"jobQueue": "default"}, "has no quota share policy"),
            ({"capacityLimits": []}, "capacityLimits must have 1 to 5 entries, got 0"),
            ({"capacityLimits": [LARGE] * 6}, "capacityLimits must have 1 to 5 entries, got 6"),
            ({"capacityLimits": [LARGE] * 2}, "capacityLimits cannot name a capacityUnit twice"),
            (
                {"capacityLimits": [{**LARGE, "capacityUnit": "NUM_INSTANCES"}]},
                f"capacityUnit 'NUM_INSTANCES' is none of the service environment's ({INSTANCE_TYPE})",
            ),
            ({"capacityLimits": [{**LARGE, "maxCapacity": -1}]}, "maxCapacity must not be negative, got -1"),
            (
                sharing("RESERVE", 100),
                "borrowLimit can only be used with the strategy LEND_AND_BORROW, not with RESERVE",
            ),
            (sharing("LEND", -1), "borrowLimit can only be used with the strategy LEND_AND_BORROW, not with LEND"),
            (sharing("LEND_AND_BORROW", -2), "borrowLimit must be at least -1, got -2"),
            ({"tags": {"aws:x": "1"}}, "reserved prefix"),
        ],
    )
    def test_creation(self, batch: Any, quota_queue: str, members: Form, text: str) -> None:
        before = batch.list_quota_shares(jobQueue=quota_queue)["quotaShares"]
        assert text in refused(batch.create_quota_share, **share_form(quota_queue, **members))
        assert batch.list_quota_shares(jobQueue=quota_queue)["quotaShares"] == before

    def test_in_a_queue_of_container_jobs(self, batch: Any) -> None:
        policy = batch.create_scheduling_policy(name=new_name("quota"), quotaSharePolicy=QUOTA)["arn"]
        queue = new_queue(batch, schedulingPolicyArn=policy)
        for limits, text in (
            ([LARGE], f"capacityUnit '{INSTANCE_TYPE}' is not for a job queue of container jobs (VCPU, MEMORY, GPU)"),
            ([{"maxCapacity": 1, "capacityUnit": "GPU"}], "must limit VCPU in a job queue of container jobs"),
        ):
            assert text in refused(batch.create_quota_share, **share_form(queue, capacityLimits=limits))
        job = {"jobName": "j", "jobQueue": queue, "jobDefinition": register(batch)}
        assert "has a quota share policy, and it names the quota share." in refused(batch.submit_job, **job)
        assert "Quota share nobody not found." in refused(batch.submit_job, **job, shareIdentifier="nobody")
        tags = {"batchyard:preemptionRetriesBeforeTermination": "often"}
        text = "must be a whole number of at least 0, got 'often'"
        assert text in refused(batch.submit_job, **job, shareIdentifier="nobody", tags=tags)

    def test_a_life(self, batch: Any, quota_queue: str) -> None:
        form = share_form(quota_queue)
        arn = batch.create_quota_share(**form)["quotaShareArn"]
        until(lambda: batch.describe_quota_share(quotaShareArn=arn)["status"] == "VALID", arn)
        assert refused(batch.create_quota_share, **form) == "Object already exists"
        assert "must have 1 to 5" in refused(batch.update_quota_share, quotaShareArn=arn, capacityLimits=[])
        text = "borrowLimit can only be used"
        assert text in refused(batch.update_quota_share, quotaShareArn=arn, **sharing("RESERVE", 1))
        assert refused(batch.delete_quota_share, quotaShareArn=arn) == "Cannot delete, state must be DISABLED"
        text = "shareIdentifier cannot be used"
        both = {"quotaShareName": form["quotaShareName"], "shareIdentifier": "a"}
        assert text in refused(submit_training, batch=batch, queue=quota_queue, given=payload(), **both)
        assert "quotaShareName is required" in refused(submit_training, batch=batch, queue=quota_queue, given=payload())
        nobody = {"quotaShareName": "nobody"}
        assert "not found" in refused(submit_training, batch=batch, queue=quota_queue, given=payload(), **nobody)

    def test_twenty_and_no_more_and_none_in_a_queue_that_goes(self, batch: Any, gate: Gate) -> None:
        queue = new_quota_queue(batch)
        arns = [batch.create_quota_share(**share_form(queue))["quotaShareArn"] for _ in range(20)]
        assert "A job queue cannot have more than 20 quota shares" in refused(
            batch.create_quota_share, **share_form(queue)
        )
        until(lambda: batch.describe_quota_share(quotaShareArn=arns[0])["status"] == "VALID", arns[0])
        name = arns[0].rpartition("/")[2]
        script = f"trap '' TERM; {gate.script}"
        job_id = submit_training(batch, queue, payload(script), quotaShareName=name)
        until(lambda: batch.describe_service_job(jobId=job_id)["status"] == "RUNNING", job_id)
        update_queue(batch, queue, state="DISABLED")
        batch.delete_job_queue(jobQueue=queue)
        assert "must be VALID, it is DELETING" in refused(batch.create_quota_share, **share_form(queue))
        gate.open()


class TestServiceEnvironments:
    @pytest.mark.parametrize(
        ("members", "text"),
        [
            ({"serviceEnvironmentName": "no spaces"}, "serviceEnvironmentName should match valid pattern"),
            ({"capacityLimits": []}, "capacityLimits must have 1 to 5 entries, got 0"),
            (
                {"capacityLimits": [LARGE, {"maxCapacity": 1, "capacityUnit": "NUM_INSTANCES"}]},
                "capacityLimits with the capacityUnit NUM_INSTANCES cannot have another entry",
            ),
            ({"capacityLimits": [LARGE] * 2}, "capacityLimits cannot name a capacityUnit twice"),
            ({"capacityLimits": [{**LARGE, "maxCapacity": 0}]}, "maxCapacity must be at least 1, got 0"),
            (
                {"capacityLimits": [{**LARGE, "capacityUnit": "VCPU"}]},
                "capacityUnit must be NUM_INSTANCES or a SageMaker instance type such as ml.m5.large, got 'VCPU'",
            ),
            ({"tags": {"aws:x": "y"}}, "Tag key 'aws:x' starts with the reserved prefix aws:"),
        ],
    )
    def test_creation(self, batch: Any, members: Form, text: str) -> None:
        name = new_name("refused")
        form = {
            "serviceEnvironmentName": name,
            "serviceEnvironmentType": "SAGEMAKER_TRAINING",
            "capacityLimits": [LARGE],
        }
        assert text in refused(batch.create_service_environment, **{**form, **members})
        assert batch.describe_service_environments(serviceEnvironments=[name])["serviceEnvironments"] == []

    def test_a_life(self, batch: Any) -> None:
        name = new_service_environment(batch, unit=INSTANCE_TYPE)
        again = {"serviceEnvironmentType": "SAGEMAKER_TRAINING", "capacityLimits": [LARGE]}
        text = refused(batch.create_service_environment, serviceEnvironmentName=name, **again)
        assert text == "Object already exists"
        text = refused(batch.update_service_environment, serviceEnvironment="none", state="DISABLED")
        assert text == "ServiceEnvironment none not found."
        policy = batch.create_scheduling_policy(name=new_name("quota"), quotaSharePolicy=QUOTA)["arn"]
        queue = new_training_queue(batch, name, schedulingPolicyArn=policy)
        assert f"serves job queue {queue}" in creating_queue(batch, services=(name,))
        counted = [{"maxCapacity": 1, "capacityUnit": "NUM_INSTANCES"}]
        text = refused(batch.update_service_environment, serviceEnvironment=name, capacityLimits=counted)
        assert "needs limits for instance types, not for NUM_INSTANCES" in text
        text = refused(batch.delete_service_environment, serviceEnvironment=name)
        assert text == "Cannot delete, state must be DISABLED"
        batch.update_service_environment(serviceEnvironment=name, state="DISABLED")
        settled_service_environment(batch, name)
        text = refused(batch.delete_service_environment, serviceEnvironment=name)
        assert text == "Cannot delete, found existing JobQueue relationship"


class TestSchedulingPolicies:
    @pytest.mark.parametrize(
        ("members", "text"),
        [
            ({"name": "a b"}, "name should match valid pattern"),
            (
                {"fairsharePolicy": {}, "quotaSharePolicy": QUOTA},
                "Only one of fairsharePolicy and quotaSharePolicy can be given",
            ),
            ({"fairsharePolicy": {"shareDecaySeconds": 604_801}}, "shareDecaySeconds must be between 0 and 604800"),
            ({"fairsharePolicy": {"computeReservation": 100}}, "computeReservation must be between 0 and 99, got 100"),
            (
                {"fairsharePolicy": {"shareDistribution": [{"shareIdentifier": "a-b"}]}},
                "shareIdentifier 'a-b' must be 1 to 255 letters and digits, which an asterisk may follow",
            ),
            (
                {"fairsharePolicy": {"shareDistribution": [{"shareIdentifier": "a", "weightFactor": 1000.0}]}},
                "weightFactor must be between 0.0001 and 999.9999, got 1000.0",
            ),
        ],
    )
    def test_creation(self, server: ServerProcess, batch: Any, members: Form, text: str) -> None:
        name = new_name("refused")
        assert text in refused(batch.create_scheduling_policy, **{"name": name, **members})
        assert (
            batch.describe_scheduling_policies(arns=[server.arn(f"scheduling-policy/{name}")])["schedulingPolicies"]
            == []
        )

    def test_a_policy_keeps_its_kind(self, batch: Any) -> None:
        fair = batch.create_scheduling_policy(name=new_name("fair"))["arn"]
        quota = batch.create_scheduling_policy(name=new_name("quota"), quotaSharePolicy=QUOTA)["arn"]
        text = "A fairsharePolicy cannot be changed to a quotaSharePolicy"
        assert text in refused(batch.update_scheduling_policy, arn=fair, quotaSharePolicy=QUOTA)
        text = "A quotaSharePolicy cannot be changed to a fairsharePolicy"
        assert text in refused(batch.update_scheduling_policy, arn=quota, fairsharePolicy={})

    def test_share_identifiers(self, batch: Any) -> None:
        fair = batch.create_scheduling_policy(name=new_name("fair"))["arn"]
        queue = new_queue(batch, new_environment(batch, state="DISABLED"), schedulingPolicyArn=fair)
        definition = register(batch)
        form = {"jobName": "j", "jobQueue": queue, "jobDefinition": definition}
        text = "shareIdentifier must be 1 to 255 letters and digits"
        assert text in refused(batch.submit_job, **form, shareIdentifier="a-b")
        with ThreadPoolExecutor(8) as pool:
            [*pool.map(lambda n: batch.submit_job(**form, shareIdentifier=f"s{n}"), range(500))]
        text = "has 500 active share identifiers, and cannot have more than 500"
        assert text in refused(batch.submit_job, **form, shareIdentifier="onemore")
        batch.submit_job(**form, shareIdentifier="s7")


class TestConsumableResources:
    @pytest.mark.parametrize(
        ("members", "text"),
        [
            ({"consumableResourceName": "a b"}, "consumableResourceName should match valid pattern"),
            ({"resourceType": "MAGIC"}, "resourceType must be REPLENISHABLE or NON_REPLENISHABLE, got MAGIC"),
            ({"totalQuantity": -1}, "totalQuantity must not be negative, got -1"),
            ({"tags": {"aws:x": "y"}}, "reserved prefix"),
        ],
    )
    def test_creation(self, batch: Any, members: Form, text: str) -> None:
        name = new_name("refused")
        assert text in refused(batch.create_consumable_resource, **{"consumableResourceName": name, **members})
        assert "not found" in refused(batch.describe_consumable_resource, consumableResource=name)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"operation": "DOUBLE", "quantity": 1}, "operation must be SET, ADD or REMOVE, got DOUBLE"),
            ({"operation": "ADD"}, "quantity must be given and not be negative, got None"),
            ({"operation": "SET", "quantity": -1}, "quantity must be given and not be negative, got -1"),
            ({"operation": "ADD", "quantity": 2**63 - 1}, "The total quantity cannot be more than"),
        ],
    )
    def test_update(self, batch: Any, change: Form, text: str) -> None:
        name = new_name("resource")
        batch.create_consumable_resource(consumableResourceName=name, totalQuantity=2)
        assert text in refused(batch.update_consumable_resource, consumableResource=name, **change)
        assert batch.describe_consumable_resource(consumableResource=name)["totalQuantity"] == 2

    def test_one_filter_of_a_name(self, batch: Any) -> None:
        name = new_name("resource")
        batch.create_consumable_resource(consumableResourceName=name)
        twice = [{"name": "JOB_NAME", "values": ["a"]}] * 2
        text = refused(batch.list_jobs_by_consumable_resource, consumableResource=name, filters=twice)
        assert "Filter JOB_NAME can only be used once" in text

    def test_one_of_another_account(self, batch: Any) -> None:
        foreign = "arn:aws:batch:eu-west-1:999999999999:consumable-resource/licence"
        needs = {"consumableResourceList": [{"consumableResource": foreign, "quantity": 1}]}
        definition = batch.register_job_definition(
            jobDefinitionName=new_name("consumer"),
            type="container",
            containerProperties=container(),
            consumableResourceProperties=needs,
        )["jobDefinitionArn"]
        text = refused(batch.submit_job, jobName="j", jobQueue="default", jobDefinition=definition)
        assert "is of another account or Region" in text


class TestServiceJobs:
    def test_submissions(self, batch: Any) -> None:
        queue = new_training_queue(batch)
        rule = {"onStatusReason": "x" * 513, "action": "RETRY"}
        text = "Evaluate on exit condition cannot be longer than 512 characters"
        retries = {"retryStrategy": {"attempts": 2, "evaluateOnExit": [rule]}}
        assert text in refused(submit_training, batch=batch, queue=queue, given=payload(), **retries)
        source = {"S3DataSource": {"S3Uri": "file:///tmp"}}
        channels = [{"ChannelName": "train", "DataSource": source}] * 2
        text = "InputDataConfig cannot name a channel twice"
        given = payload(InputDataConfig=channels)
        assert text in refused(submit_training, batch=batch, queue=queue, given=given)

    def test_ending(self, batch: Any) -> None:
        job_id = submit_training(
            batch, new_training_queue(batch, new_service_environment(batch, state="DISABLED")), payload()
        )
        for reason, text in (("", "reason must not be empty"), ("x" * 1025, "at most 1024 characters, got 1025")):
            assert text in refused(batch.terminate_service_job, jobId=job_id, reason=reason)
            assert text in refused(batch.terminate_service_jobs, jobs=[job_id], reason=reason)
        for jobs, count in (([], 0), ([job_id] * 51, 51)):
            text = f"jobs must have 1 to 50 entries, got {count}"
            assert text in refused(batch.terminate_service_jobs, jobs=jobs, reason="x")
        assert batch.describe_service_job(jobId=job_id)["status"] == "RUNNABLE"


class TestHowMuchCanBeAskedForAtOnce:
    def test_ids_and_names(self, batch: Any) -> None:
        text = refused(batch.describe_jobs, jobs=["x"] * 101)
        assert "Maximum number of jobs supported is  100" in text
        for call, member in (
            (batch.describe_job_queues, "jobQueues"),
            (batch.describe_compute_environments, "computeEnvironments"),
            (batch.describe_service_environments, "serviceEnvironments"),
        ):
            assert "At most 100 names can be given, got 101" in refused(call, **{member: ["x"] * 101})

    def test_tags_at_creation(self, batch: Any) -> None:
        name = new_name("refused")
        for tags, text in (
            ({f"k{n}": "" for n in range(51)}, "tags: must have at most 50 entries"),
            ({"k" * 129: ""}, "a key of tags: must have at most 128 characters"),
            ({"k": "v" * 257}, "must have at most 256 characters"),
        ):
            assert text in refused(batch.create_consumable_resource, consumableResourceName=name, tags=tags)


def test_a_definition_of_another_sort(server: ServerProcess, batch: Any) -> None:
    arn = server.arn("job-definition/none:1")
    assert f"JobDefinition {arn} not found." in refused(
        batch.submit_job, jobName="j", jobQueue="default", jobDefinition=arn
    )
    name = register(batch).rpartition("/")[2]
    revision = server.arn(f"job-definition/{name.partition(':')[0]}:99")
    assert "not found" in refused(batch.list_tags_for_resource, resourceArn=revision)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def messages(callers: ThreadPoolExecutor, call: Callable[..., Any], **request: Any) -> set[str]:
    """What eight callers are told who ask for the same at the same time; nothing, when all succeed."""

    def told(_: int) -> str | None:
        try:
            call(**request)
        except ClientError as error:
            return str(error.response["Error"]["Message"])
        return None

    return {message for message in callers.map(told, range(8)) if message is not None}


UPDATING = "Cannot update, resource is being modified"
DELETING = "Cannot delete, resource is being modified"


def test_two_changes_of_a_resource_at_the_same_time(batch: Any, callers: ThreadPoolExecutor) -> None:
    """A change takes a moment; another one that comes before it is complete is refused. So of many callers at once some are
    refused, sooner or later, and with no other words."""
    service = new_service_environment(batch, unit=INSTANCE_TYPE)
    share = batch.create_quota_share(**share_form(new_quota_queue(batch)))["quotaShareArn"]
    for call, request in (
        (batch.update_compute_environment, {"computeEnvironment": new_environment(batch), "state": "DISABLED"}),
        (batch.update_job_queue, {"jobQueue": new_queue(batch), "state": "DISABLED"}),
        (batch.update_service_environment, {"serviceEnvironment": service, "state": "DISABLED"}),
        (batch.update_quota_share, {"quotaShareArn": share, "state": "DISABLED"}),
    ):
        until(lambda: messages(callers, call, **request) == {UPDATING}, call.__name__)  # noqa: B023


def test_two_deletions_of_a_resource_at_the_same_time(batch: Any, callers: ThreadPoolExecutor) -> None:
    """As with changes; but whoever comes after the end is told that all is well."""
    queue = new_quota_queue(batch)

    def new_share() -> str:
        arn = str(batch.create_quota_share(**share_form(queue, state="DISABLED"))["quotaShareArn"])
        until(lambda: batch.describe_quota_share(quotaShareArn=arn)["status"] == "VALID", arn)
        return arn

    for call, member, make in (
        (batch.delete_compute_environment, "computeEnvironment", lambda: new_environment(batch, state="DISABLED")),
        (batch.delete_job_queue, "jobQueue", lambda: new_queue(batch, state="DISABLED")),
        (
            batch.delete_service_environment,
            "serviceEnvironment",
            lambda: new_service_environment(batch, state="DISABLED"),
        ),
        (batch.delete_quota_share, "quotaShareArn", new_share),
    ):
        until(lambda: messages(callers, call, **{member: make()}) == {DELETING}, call.__name__)  # noqa: B023
