"""What stories of service jobs need: an environment, a queue on it, payloads."""

from __future__ import annotations

import json
from typing import Any

from story import Story

from batchyard.kernel.commands import (
    CreateJobQueue,
    CreateServiceEnvironment,
    SubmitServiceJob,
    UpdateServiceEnvironment,
)
from batchyard.shapes import batch as shapes

STOP_GRACE = 120
"""Seconds."""


def limits(**units: int) -> list[shapes.CapacityLimit]:
    """`NUM_INSTANCES=4`; for an instance type `ml_m5_large=4`."""
    return [
        shapes.CapacityLimit(max_capacity=most, capacity_unit=unit.replace("ml_m5_", "ml.m5."))
        for unit, most in units.items()
    ]


def create(name: str = "se", given: list[shapes.CapacityLimit] | None = None, **more: Any) -> CreateServiceEnvironment:
    return CreateServiceEnvironment(
        shapes.CreateServiceEnvironmentRequest(
            service_environment_name=name,
            service_environment_type="SAGEMAKER_TRAINING",
            capacity_limits=limits(NUM_INSTANCES=2) if given is None else given,
            **more,
        )
    )


def update(**more: Any) -> UpdateServiceEnvironment:
    return UpdateServiceEnvironment(shapes.UpdateServiceEnvironmentRequest(service_environment="se", **more))


def queue(*names: str, name: str = "training", **more: Any) -> CreateJobQueue:
    order = [shapes.ServiceEnvironmentOrder(order=n, service_environment=each) for n, each in enumerate(names, 1)]
    return CreateJobQueue(
        shapes.CreateJobQueueRequest(
            job_queue_name=name, priority=1, **{"service_environment_order": order or None, **more}
        )
    )


def payload(instances: int = 1, instance_type: str = "ml.t3.medium", runtime: int = 3600, **more: Any) -> str:
    return json.dumps(
        {
            "AlgorithmSpecification": {"TrainingImage": "trainer", "TrainingInputMode": "File"},
            "ResourceConfig": {"InstanceCount": instances, "InstanceType": instance_type},
            "StoppingCondition": {"MaxRuntimeInSeconds": runtime},
            **more,
        }
    )


def submission(label: str, given: str, *, job_id: str = "", **more: Any) -> SubmitServiceJob:
    return SubmitServiceJob(
        request=shapes.SubmitServiceJobRequest(
            **{
                "job_name": label,
                "job_queue": "training",
                "service_request_payload": given,
                "service_job_type": "SAGEMAKER_TRAINING",
                **more,
            }
        ),
        job_id=job_id or "ffffffff-0000-4000-8000-000000000000",
        size=100,
    )


class Training:
    """A story with a service environment of four instances and a queue on it."""

    def __init__(self, story: Story) -> None:
        self.story = story
        story.tell(create(given=limits(NUM_INSTANCES=4)))
        story.pass_time(0.01)
        story.tell(queue("se"))
        story.pass_time(0.01)

    def submit(self, label: str, instances: int = 1, *, attempts: int | None = None, **more: Any) -> str:
        members = {name: more.pop(name) for name in ("instance_type", "runtime") if name in more}
        strategy = shapes.ServiceJobRetryStrategy(attempts=attempts) if attempts else None
        job_id = f"{len(self.story._labels):08x}-0000-4000-8000-000000000000"
        self.story._labels[job_id] = label
        given = payload(instances, **members)
        self.story.tell(submission(label, given, job_id=job_id, retry_strategy=strategy, **more))
        return job_id
