"""From a training job to the tasks that an engine runs: SageMaker's container contract.

Source: SageMaker's developer guide, "How Amazon SageMaker AI Runs Your Training Image", "How Amazon SageMaker AI Provides
Training Information". The first instance is `algo-1`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchyard.engines.base import TaskSpec
from batchyard.engines.files import Files, Mount
from batchyard.kernel.identifiers import Account
from batchyard.kernel.records import Job, ServiceRequest
from batchyard.kernel.training import (
    LOG_GROUP,
    TrainingJob,
    channel_folder,
    log_stream,
    read_payload,
    training_job_arn,
    training_job_name,
)
from batchyard.shapes import batch as shapes

ROOT = "/opt/ml"
FAILURE = "output/failure"
DEFAULT_ARGUMENT = "train"
GROUP = "homogeneousCluster"


def training_task(
    job: Job,
    service: ServiceRequest,
    node: int,
    task_id: str,
    payload: str,
    *,
    account: Account,
    surroundings: Mapping[str, str],
    training_root: Path,
) -> TaskSpec:
    """The task of one instance (`node`, from 0) of the current attempt. `surroundings` are the operator's environment
    variables for every job; below `training_root` models are kept."""
    training = read_payload(payload)
    name = training_job_name(service.training_name, job.id, job.attempt)
    algorithm = training.algorithm_specification
    arguments = algorithm.container_arguments or ([] if algorithm.container_entrypoint else [DEFAULT_ARGUMENT])
    return TaskSpec(
        task_id=task_id,
        job_id=job.id,
        container=shapes.ContainerDetail(image=algorithm.training_image, command=arguments),
        entrypoint=algorithm.container_entrypoint,
        environment={
            **surroundings,
            **training.environment,
            "TRAINING_JOB_NAME": name,
            "TRAINING_JOB_ARN": training_job_arn(account, name),
            "AWS_REGION": account.region,
        },
        vcpus=job.resources.milli_vcpus / 1000,
        memory=job.resources.memory,
        gpus=job.resources.gpus,
        log_group=LOG_GROUP,
        log_stream=log_stream(name, node, service.scheduled_at or 0),
        files=_files(training, service, node, training_root / job.id / str(job.attempt) / "model"),
    )


def _files(training: TrainingJob, service: ServiceRequest, node: int, model: Path) -> Files:
    channels = training.input_data_config
    data = {f"input/data/{channel.channel_name}": Mount(channel_folder(channel), True) for channel in channels}
    return Files(
        root=ROOT,
        contents={
            "input/config/hyperparameters.json": _json(training.hyper_parameters),
            "input/config/resourceconfig.json": _json(_resource_config(service, node)),
            "input/config/inputdataconfig.json": _json(_input_data_config(training)),
        },
        folders=["input/data", "model", "output", "output/data", "checkpoints"],
        mounts={"model": Mount(str(model)), **data},
        message=FAILURE,
    )


def _resource_config(service: ServiceRequest, node: int) -> dict[str, Any]:
    hosts = [f"algo-{number}" for number in range(1, service.instance_count + 1)]
    kind = service.instance_type
    return {
        "current_host": hosts[node],
        "current_instance_type": kind,
        "current_group_name": GROUP,
        "hosts": hosts,
        "instance_groups": [{"instance_group_name": GROUP, "instance_type": kind, "hosts": hosts}],
        "network_interface_name": "eth0",
    }


def _input_data_config(training: TrainingJob) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for channel in training.input_data_config:
        source = channel.data_source.s3_data_source
        described = {
            "ContentType": channel.content_type,
            "TrainingInputMode": channel.input_mode or training.algorithm_specification.training_input_mode,
            "S3DistributionType": source.s3_data_distribution_type if source else None,
            "RecordWrapperType": channel.record_wrapper_type,
        }
        found[channel.channel_name] = {name: value for name, value in described.items() if value is not None}
    return found


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
