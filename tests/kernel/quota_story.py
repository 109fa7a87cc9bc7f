"""A story with a queue `q` that has quota shares, on a service environment `se` of its own."""

from __future__ import annotations

import json
from typing import Any

from story import ACCOUNT, Story

from batchyard.kernel.commands import (
    CreateJobQueue,
    CreateQuotaShare,
    CreateSchedulingPolicy,
    CreateServiceEnvironment,
    SubmitServiceJob,
    TerminateServiceJob,
    UpdateQuotaShare,
    UpdateServiceEnvironment,
    UpdateServiceJob,
)
from batchyard.kernel.messages import TaskExited, TaskStarted
from batchyard.kernel.records import Job
from batchyard.shapes import batch as shapes

LARGE, XLARGE = "ml.m5.large", "ml.m5.xlarge"


def policy() -> str:
    """The ARN of the story's policy."""
    return ACCOUNT.arn("scheduling-policy/quota")


def arn_of(share: str) -> str:
    return ACCOUNT.arn(f"job-queue/q/quota-share/{share}")


def limits(**units: int) -> list[shapes.QuotaShareCapacityLimit]:
    """`large=4`: four instances of type ml.m5.large."""
    return [
        shapes.QuotaShareCapacityLimit(max_capacity=most, capacity_unit=f"ml.m5.{size}") for size, most in units.items()
    ]


def sharing(strategy: Any, borrow_limit: int | None = None) -> shapes.QuotaShareResourceSharingConfiguration:
    return shapes.QuotaShareResourceSharingConfiguration(strategy=strategy, borrow_limit=borrow_limit)


def create_share(name: str, **members: Any) -> CreateQuotaShare:
    given = {
        "quota_share_name": name,
        "job_queue": "q",
        "capacity_limits": limits(large=4),
        "resource_sharing_configuration": sharing("LEND"),
        "preemption_configuration": shapes.QuotaSharePreemptionConfiguration(in_share_preemption="DISABLED"),
        **members,
    }
    return CreateQuotaShare(shapes.CreateQuotaShareRequest(**given))


def update_share(name: str, **members: Any) -> UpdateQuotaShare:
    return UpdateQuotaShare(shapes.UpdateQuotaShareRequest(quota_share_arn=arn_of(name), **members))


def environment(name: str, **units: int) -> CreateServiceEnvironment:
    return CreateServiceEnvironment(
        shapes.CreateServiceEnvironmentRequest(
            service_environment_name=name,
            service_environment_type="SAGEMAKER_TRAINING",
            capacity_limits=_environment_limits(units),
        )
    )


def _environment_limits(units: dict[str, int]) -> list[shapes.CapacityLimit]:
    return [shapes.CapacityLimit(max_capacity=most, capacity_unit=unit) for unit, most in units.items()]


def training_queue(name: str, service_environment: str, policy_arn: str | None) -> CreateJobQueue:
    order = [shapes.ServiceEnvironmentOrder(order=1, service_environment=service_environment)]
    return CreateJobQueue(
        shapes.CreateJobQueueRequest(
            job_queue_name=name, priority=1, service_environment_order=order, scheduling_policy_arn=policy_arn
        )
    )


class QuotaStory(Story):
    """The machine is large: 64 vCPU, 256 GiB, so that only the shares are a limit, unless the story says otherwise."""

    def __init__(self, *, machine: int = 64, save: Any = None, **units: int) -> None:
        super().__init__(vcpus=machine, memory=4096 * machine, bare=True, save=save)
        self.tell(
            CreateSchedulingPolicy(
                shapes.CreateSchedulingPolicyRequest(
                    name="quota", quota_share_policy=shapes.QuotaSharePolicy(idle_resource_assignment_strategy="FIFO")
                )
            )
        )
        self.tell(environment("se", **(units or {LARGE: 8})))
        self.pass_time(0.01)
        self.tell(training_queue("q", "se", policy()))
        self.pass_time(0.01)

    def share(self, name: str, configuration: Any = None, *, large: int = 4, in_share: Any = None, **more: Any) -> None:
        """Creates a quota share."""
        members = {"capacity_limits": limits(large=large), **more}
        if configuration is not None:
            members["resource_sharing_configuration"] = configuration
        if in_share is not None:
            members["preemption_configuration"] = shapes.QuotaSharePreemptionConfiguration(in_share_preemption=in_share)
        self.tell(create_share(name, **members))
        self.pass_time(0.01)

    def change_share(self, name: str, **members: Any) -> None:
        self.tell(update_share(name, **members))
        self.pass_time(0.01)

    def new_limits(self, **units: int) -> UpdateServiceEnvironment:
        return UpdateServiceEnvironment(
            shapes.UpdateServiceEnvironmentRequest(service_environment="se", capacity_limits=_environment_limits(units))
        )

    def training(
        self,
        label: str,
        share: str | None,
        instances: int = 1,
        *,
        kind: str = LARGE,
        priority: int | None = None,
        attempts: int | None = None,
        preemptions: int | None = None,
        **members: Any,
    ) -> SubmitServiceJob:
        """The submission of a training job. `preemptions`: preemptionRetriesBeforeTermination."""
        payload = {
            "AlgorithmSpecification": {"TrainingImage": "trainer", "TrainingInputMode": "File"},
            "ResourceConfig": {"InstanceType": kind, "InstanceCount": instances},
        }
        request = shapes.SubmitServiceJobRequest(
            job_name=label,
            job_queue="q",
            service_request_payload=json.dumps(payload),
            service_job_type="SAGEMAKER_TRAINING",
            scheduling_priority=priority,
            quota_share_name=share,
            retry_strategy=shapes.ServiceJobRetryStrategy(attempts=attempts) if attempts is not None else None,
            preemption_configuration=None
            if preemptions is None
            else shapes.ServiceJobPreemptionConfiguration(preemption_retries_before_termination=preemptions),
            **members,
        )
        return SubmitServiceJob(
            request=request, job_id=f"{len(self._labels):08x}-0000-4000-8000-000000000000", size=100
        )

    def train(self, label: str, share: str, instances: int = 1, **more: Any) -> None:
        """Submits a training job, whose name is the story's label, and lets it begin if it can."""
        command = self.training(label, share, instances, **more)
        self._labels[command.job_id] = label
        self.tell(command)
        self.begin_all(label)

    def begin_all(self, label: str) -> None:
        """Whatever of the job has been ordered runs."""
        for node in self._nodes(label):
            self.observe(TaskStarted(node, self.now))

    def end(self, label: str, code: int | None = 0) -> None:
        """All tasks of the job end."""
        for node in self._nodes(label):
            del self._in_force[node]
            self._to_acknowledge.append(node)
            self.observe(TaskExited(node, self.now, code, None, None))

    def _nodes(self, label: str) -> list[str]:
        task = self._held(label).task
        return [task_id for task_id, _ in task.in_force] if task is not None else []

    def _held(self, label: str) -> Job:
        return self.kernel.state.jobs[self.id(label)]

    def stop_training(self, label: str) -> None:
        self.tell(TerminateServiceJob(self.id(label), "stop it"))

    def prioritise(self, label: str, priority: int) -> None:
        self.tell(UpdateServiceJob(self.id(label), priority))

    def running(self) -> list[str]:
        """The jobs that have been ordered, by label, in the order of their submission."""
        jobs = sorted(self.kernel.state.jobs.values(), key=lambda job: job.seq)
        return [self.label(job.id) for job in jobs if job.task is not None]
