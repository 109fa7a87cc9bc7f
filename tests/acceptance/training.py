"""What tests of service jobs say over and over: an environment and a queue for them, a payload, submit, wait."""

from __future__ import annotations

import json
from typing import Any

from waiting import until
from work import TERMINAL, new_name, settled_queue

INSTANCE_TYPE = "ml.m5.large"


def new_service_environment(batch: Any, instances: int = 2, unit: str = "NUM_INSTANCES", **more: Any) -> str:
    """A service environment that is VALID; returns its name."""
    name = new_name("service-environment")
    batch.create_service_environment(
        serviceEnvironmentName=name,
        serviceEnvironmentType="SAGEMAKER_TRAINING",
        capacityLimits=[{"maxCapacity": instances, "capacityUnit": unit}],
        **more,
    )
    settled_service_environment(batch, name)
    return name


def settled_service_environment(batch: Any, name: str, status: str = "VALID") -> dict[str, Any]:
    """The service environment, once it has this status."""

    def there() -> Any:
        found = batch.describe_service_environments(serviceEnvironments=[name])["serviceEnvironments"]
        return found if found and found[0]["status"] == status else None

    return until(there, f"service environment {name} {status}")[0]


def new_training_queue(batch: Any, environment: str | None = None, *, instances: int = 2, **more: Any) -> str:
    """A job queue for service jobs that is VALID; returns its name."""
    name = new_name("training-queue")
    order = [{"order": 1, "serviceEnvironment": environment or new_service_environment(batch, instances)}]
    batch.create_job_queue(jobQueueName=name, priority=1, serviceEnvironmentOrder=order, **more)
    settled_queue(batch, name)
    return name


def payload(script: str = "true", *, instances: int = 1, instance_type: str = INSTANCE_TYPE, **members: Any) -> str:
    """A CreateTrainingJob request that runs a shell script."""
    image = members.pop("image", "trainer:1")
    return json.dumps(
        {
            "TrainingJobName": "training",
            "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
            "AlgorithmSpecification": {
                "TrainingImage": image,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["sh", "-c", script],
            },
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
            "ResourceConfig": {
                "InstanceType": instance_type,
                "InstanceCount": instances,
                "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            **members,
        }
    )


def submit_training(batch: Any, queue: str, given: str, **more: Any) -> str:
    """Submits a service job; returns its id."""
    request = {"jobName": new_name("train"), "serviceJobType": "SAGEMAKER_TRAINING", **more}
    answer = batch.submit_service_job(jobQueue=queue, serviceRequestPayload=given, **request)
    assert answer["jobArn"].endswith(f":service-job/{answer['jobId']}")
    return str(answer["jobId"])


def training_reached(batch: Any, job_id: str, *statuses: str) -> dict[str, Any]:
    """The service job, once it has one of these statuses."""
    seen: list[dict[str, Any]] = [{}]

    def there() -> bool:
        seen[0] = batch.describe_service_job(jobId=job_id)
        return seen[0]["status"] in statuses

    until(there, lambda: f"{' or '.join(statuses)}; the job is {seen[0]}")
    seen[0].pop("ResponseMetadata")
    return seen[0]


def trained(batch: Any, job_id: str) -> dict[str, Any]:
    """The service job, once it has ended."""
    return training_reached(batch, job_id, *TERMINAL)


def training_log(logs: Any, training_job: str, node: int = 1) -> list[str]:
    """The log of one instance of a training job."""
    group = "/aws/sagemaker/TrainingJobs"
    prefix = f"{training_job}/algo-{node}-"
    [stream] = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
    found = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
    return [event["message"] for event in found["events"]]
