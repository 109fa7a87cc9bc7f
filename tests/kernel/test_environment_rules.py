"""What compute environments and their updates may say, what queues may put together, and time limits."""

from __future__ import annotations

from typing import Any

import pytest
from story import Story, order_of

from batchyard.catalogue import load
from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    CreateJobQueue,
    UpdateComputeEnvironment,
    UpdateJobQueue,
)
from batchyard.kernel.compute_resources import architectures_of
from batchyard.kernel.time_limits import CONTAINER_REASONS, SERVICE_REASONS
from batchyard.shapes import batch as shapes

LINKED = "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
OWN = "arn:aws:iam::123456789012:role/mine"


def resources(**members: Any) -> shapes.ComputeResource:
    given: dict[str, Any] = {
        "type": "EC2",
        "allocation_strategy": "BEST_FIT_PROGRESSIVE",
        "min_vcpus": 0,
        "max_vcpus": 4,
        "instance_role": "role",
        "subnets": ["subnet"],
        "security_group_ids": ["group"],
    }
    return shapes.ComputeResource(**given | members)


def fargate() -> shapes.ComputeResource:
    return shapes.ComputeResource(type="FARGATE", max_vcpus=4, subnets=["subnet"], security_group_ids=["group"])


def managed_instances(option: str | None) -> shapes.ComputeResource:
    template = shapes.InstanceLaunchTemplate(
        ec2_instance_profile_arn="profile",
        network_configuration=shapes.ManagedInstancesNetworkConfiguration(
            subnets=["subnet"], security_groups=["group"]
        ),
        capacity_option_type=option,
    )
    provider = shapes.ManagedInstancesProvider(infrastructure_role_arn="role", instance_launch_template=template)
    return shapes.ComputeResource(type="ECS_MANAGED_INSTANCES", max_vcpus=4, managed_instances_provider=provider)


def creation(name: str = "new", of: shapes.ComputeResource | None = None, **members: Any) -> CreateComputeEnvironment:
    request = shapes.CreateComputeEnvironmentRequest(
        compute_environment_name=name, type="MANAGED", compute_resources=of or resources(), **members
    )
    return CreateComputeEnvironment(request, f"uuid-{name}")


def create(story: Story, name: str, of: shapes.ComputeResource | None = None, **members: Any) -> None:
    story.tell(creation(name, of, **members))
    story.pass_time(0.01)


def update(name: str = "new", /, *, service_role: str | None = None, **members: Any) -> UpdateComputeEnvironment:
    """`members`: of the compute resources."""
    return UpdateComputeEnvironment(
        shapes.UpdateComputeEnvironmentRequest(
            compute_environment=name,
            service_role=service_role,
            compute_resources=shapes.ComputeResourceUpdate(**members) if members else None,
        )
    )


def resources_after(story: Story, command: UpdateComputeEnvironment) -> shapes.ComputeResource:
    story.tell(command)
    story.pass_time(0.01)
    found = story.kernel.state.environments["new"].detail.compute_resources
    assert found is not None
    return found


class TestResources:
    @pytest.mark.parametrize(
        ("types", "architecture"),
        [
            (["optimal", "c5.large", "g4dn.xlarge", "default_x86_64", "hpc6a"], {"x86_64"}),
            (["m6g.large", "c7gn", "g5g.xlarge", "im4gn", "is4gen", "t4g", "a1.large", "default_arm64"], {"arm64"}),
            ([], set()),
        ],
    )
    def test_the_architecture_of_instance_types(self, types: list[str], architecture: set[str]) -> None:
        assert architectures_of(resources(instance_types=types), load()) == architecture

    @pytest.mark.parametrize(
        ("members", "text"),
        [
            ({"instance_types": ["m6g.large", "c5"]}, "instanceTypes must all have the same CPU architecture"),
            (
                {"scaling_policy": shapes.ComputeScalingPolicy(min_scale_down_delay_minutes=19)},
                "minScaleDownDelayMinutes must be between 20 and 10080, or 0 for none, got 19",
            ),
            (
                {
                    "launch_template": shapes.LaunchTemplateSpecification(
                        launch_template_name="t", overrides=[shapes.LaunchTemplateSpecificationOverride()] * 11
                    )
                },
                "A launch template can have at most 10 overrides, got 11",
            ),
        ],
    )
    def test_refusals(self, members: dict[str, Any], text: str) -> None:
        assert Story().refused(creation(of=resources(**members))) == text

    @pytest.mark.parametrize("strategy", [None, "BEST_FIT"])
    def test_kubernetes_needs_a_strategy(self, strategy: Any) -> None:
        cluster = shapes.EksConfiguration(eks_cluster_arn="arn", kubernetes_namespace="batch")
        text = Story().refused(creation(of=resources(allocation_strategy=strategy), eks_configuration=cluster))
        assert text == "A compute environment on Amazon EKS needs an allocationStrategy other than BEST_FIT"


class TestUpdates:
    def test_an_empty_text_removes(self) -> None:
        story = Story()
        template = shapes.LaunchTemplateSpecification(launch_template_name="t")
        create(
            story,
            "new",
            resources(image_id="ami", ec2_key_pair="key", placement_group="near", launch_template=template),
        )
        nothing = shapes.LaunchTemplateSpecification(launch_template_name="")
        changed = resources_after(
            story, update(image_id="", ec2_key_pair="", placement_group="", launch_template=nothing, subnets=[])
        )
        assert changed == resources(desired_vcpus=0, subnets=[])

    def test_an_empty_list_is_ignored_on_fargate(self) -> None:
        story = Story()
        create(story, "new", fargate())
        changed = resources_after(story, update(subnets=[], security_group_ids=[], max_vcpus=8))
        assert (changed.subnets, changed.security_group_ids, changed.max_vcpus) == (["subnet"], ["group"], 8)

    @pytest.mark.parametrize("strategy", [None, "BEST_FIT"])
    def test_with_best_fit_only_the_numbers_change(self, strategy: Any) -> None:
        story = Story()
        create(story, "new", resources(allocation_strategy=strategy))
        text = story.refused(update(instance_types=["c5"]))
        assert text.endswith("can only be updated in its numbers of vCPUs and its scaling policy, not in instanceTypes")
        assert "allocationStrategy" in story.refused(update(allocation_strategy="BEST_FIT_PROGRESSIVE"))
        changed = resources_after(story, update(min_vcpus=1, max_vcpus=9, subnets=["subnet"]))
        assert (changed.min_vcpus, changed.max_vcpus) == (1, 9)

    def test_types_change_only_within_their_kind(self) -> None:
        story = Story()
        create(story, "new", resources())
        text = story.refused(update(type="FARGATE"))
        assert text == "The type of the compute resources cannot be changed from EC2 to FARGATE"
        assert resources_after(story, update(type="SPOT")).type == "SPOT"

    def test_service_roles_of_two_sorts(self) -> None:
        story = Story()
        create(story, "new")
        create(story, "own", service_role=OWN)
        text = "The service role cannot be changed between the service-linked role and another role"
        assert story.refused(update(service_role=OWN)) == text
        assert story.refused(update("own", service_role=LINKED)) == text
        assert story.refused(update("own", service_role="")) == "ServiceRole is required."
        story.tell(update("own", service_role=f"{OWN}2"))
        assert story.kernel.state.environments["own"].detail.service_role == f"{OWN}2"

    def test_desired_vcpus_on_kubernetes(self) -> None:
        story = Story()
        cluster = shapes.EksConfiguration(eks_cluster_arn="arn", kubernetes_namespace="batch")
        create(story, "new", eks_configuration=cluster)
        text = story.refused(update(desired_vcpus=2))
        assert text == "desiredvCpus cannot be updated for a compute environment on Amazon EKS"


def queue_of(*environments: str, **members: Any) -> CreateJobQueue:
    order = order_of(environments)
    return CreateJobQueue(
        shapes.CreateJobQueueRequest(job_queue_name="x", priority=1, compute_environment_order=order, **members)
    )


class TestQueues:
    def test_one_architecture(self) -> None:
        story = Story()
        create(story, "intel", resources(instance_types=["c5"]))
        create(story, "arm", resources(instance_types=["c6g"]))
        text = story.refused(queue_of("intel", "arm"))
        assert text == "A job queue cannot mix compute environments of the CPU architectures arm64 and x86_64"

    def test_spot_managed_instances_come_last(self) -> None:
        story = Story()
        create(story, "spot", managed_instances("SPOT"))
        create(story, "plain", managed_instances(None))
        assert "plain comes after one" in story.refused(queue_of("spot", "plain"))
        story.tell(queue_of("plain", "spot"))
        assert story.kernel.state.queues["x"].detail.job_queue_type == "ECS_MANAGED_INSTANCES"

    def test_the_type_is_that_of_the_environments(self) -> None:
        story = Story()
        text = story.refused(queue_of("ce", job_queue_type="EKS"))
        assert text == "A job queue with these compute environments has the type ECS, not EKS"
        create(story, "serverless", fargate())
        story.change_queue("q", ["serverless"])
        assert story.kernel.state.queues["q"].detail.job_queue_type == "ECS_FARGATE"


def limit(reason: str, action: Any = "CANCEL", seconds: int = 600) -> shapes.JobStateTimeLimitAction:
    return shapes.JobStateTimeLimitAction(reason=reason, state="RUNNABLE", max_time_seconds=seconds, action=action)


class TestTimeLimits:
    def test_every_reason_that_allows_an_action_is_taken(self) -> None:
        story = Story()
        actions = [limit(reason, seconds=86_400) for reason in CONTAINER_REASONS]
        story.tell(queue_of("ce", job_state_time_limit_actions=actions))
        assert story.kernel.state.queues["x"].detail.job_state_time_limit_actions == actions

    @pytest.mark.parametrize(
        ("actions", "text"),
        [
            ([limit("ACTION_REQUIRED")], "must be one of CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY, "),
            ([limit(SERVICE_REASONS[1])], "got 'MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE'"),
            ([limit(CONTAINER_REASONS[0], "TERMINATE")], "must be CANCEL in this job queue, got TERMINATE"),
            ([limit(CONTAINER_REASONS[0], seconds=86_401)], "must be between 600 and 86400, got 86401"),
            ([limit(CONTAINER_REASONS[0])] * 2, "several job state time limits for the reason CAPACITY:"),
        ],
    )
    def test_refusals(self, actions: list[shapes.JobStateTimeLimitAction], text: str) -> None:
        story = Story()
        assert text in story.refused(queue_of("ce", job_state_time_limit_actions=actions))
        change = shapes.UpdateJobQueueRequest(job_queue="q", job_state_time_limit_actions=actions)
        assert text in story.refused(UpdateJobQueue(change))
