"""What a service job asks of SageMaker, and how SageMaker would have told of it.

The payload of a service job is the JSON text of a CreateTrainingJob request. `TrainingJob` holds the members that have an
effect here; SageMaker's API reference says what they mean ("CreateTrainingJob", "How Amazon SageMaker AI Runs Your Training
Image"). Names, ARNs and reasons of training jobs are as AWS Batch shows them (User Guide "Service job payloads", "Mapping AWS
Batch service job status").
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import msgspec

from batchyard.kernel.identifiers import Account
from batchyard.kernel.records import Job, ServiceRequest
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.retries import TIMED_OUT, AttemptEnd
from batchyard.shapes import batch as shapes

DEFAULT_MAX_RUNTIME = 86_400
"""Seconds; SageMaker's own default."""
TRAINING_STOP_GRACE = 120.0
"""Seconds between SIGTERM and SIGKILL (SageMaker, "StopTrainingJob")."""
MAXIMUM_INSTANCES = 1000
RESOURCE_NAME = "TrainingJobArn"
"""What a training job is called in `serviceResourceId`."""
LOG_GROUP = "/aws/sagemaker/TrainingJobs"

_RECEIVED = "Received status from SageMaker: "
COMPLETED = f"{_RECEIVED}Completed"
_MAX_RUNTIME = f"{_RECEIVED}MaxRuntimeExceeded: Training job runtime exceeded MaxRuntimeInSeconds provided"

_Text = Annotated[str, msgspec.Meta(max_length=256)]


class _Pascal(msgspec.Struct, rename="pascal", kw_only=True):
    """SageMaker's members begin with a capital letter."""


class AlgorithmSpecification(_Pascal, kw_only=True):
    training_image: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    training_input_mode: str = "File"
    container_entrypoint: list[_Text] | None = None
    container_arguments: list[_Text] | None = None


class ResourceConfig(_Pascal, kw_only=True):
    instance_type: str
    instance_count: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_INSTANCES)]


class StoppingCondition(_Pascal, kw_only=True):
    max_runtime_in_seconds: Annotated[int, msgspec.Meta(ge=1)] = DEFAULT_MAX_RUNTIME


class S3DataSource(_Pascal, kw_only=True):
    s3_uri: str = msgspec.field(name="S3Uri")
    s3_data_distribution_type: str = msgspec.field(name="S3DataDistributionType", default="FullyReplicated")


class DataSource(_Pascal, kw_only=True):
    s3_data_source: S3DataSource | None = msgspec.field(name="S3DataSource", default=None)


class Channel(_Pascal, kw_only=True):
    channel_name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}\Z")]
    data_source: DataSource
    content_type: str | None = None
    record_wrapper_type: str = "None"
    input_mode: str | None = None


class TrainingJob(_Pascal, kw_only=True):
    """The members of a CreateTrainingJob request that have an effect; all others are kept as they are, and do nothing."""

    training_job_name: str | None = None
    algorithm_specification: AlgorithmSpecification
    resource_config: ResourceConfig
    stopping_condition: StoppingCondition = msgspec.field(name="StoppingCondition", default_factory=StoppingCondition)
    hyper_parameters: dict[_Text, Annotated[str, msgspec.Meta(max_length=2500)]] = {}
    environment: dict[
        Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,511}\Z")],
        Annotated[str, msgspec.Meta(max_length=512)],
    ] = {}
    input_data_config: list[Channel] = []


_decode = msgspec.json.Decoder(TrainingJob).decode
INSTANCE_TYPE = re.compile(r"ml\.([a-z]{1,8})[a-z0-9-]{0,20}\.(?:(medium|large)|([0-9]{0,3})xlarge)\Z")
"""As `ml.m5.large`: family and size."""
_MEMORY_PER_VCPU = {"c": 2, "m": 4, "t": 4, "g": 4, "r": 8, "p": 8, "trn": 8}
"""GiB, by the letters that a family begins with."""
_HASH_DIGITS = 10
_LONGEST_NAME = 63
_PREFIX = "AWSBatch"


def read_payload(payload: str) -> TrainingJob:
    """The training job that a payload asks for. Raises `Refusal`, which names the member that is wrong."""
    try:
        training = _decode(payload)
    except msgspec.ValidationError as error:
        raise Refusal(f"serviceRequestPayload is not a valid CreateTrainingJob request: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(f"serviceRequestPayload is not valid JSON: {error}") from None
    if not INSTANCE_TYPE.match(training.resource_config.instance_type):
        raise Refusal(
            "serviceRequestPayload: ResourceConfig.InstanceType must be a SageMaker instance type such as ml.m5.large, got"
            f" {training.resource_config.instance_type!r}"
        )
    channels = [channel.channel_name for channel in training.input_data_config]
    if len(set(channels)) != len(channels):
        raise Refusal("serviceRequestPayload: InputDataConfig cannot name a channel twice")
    for channel in training.input_data_config:
        channel_folder(channel)
    return training


def channel_folder(channel: Channel) -> str:
    """The folder of this machine that holds a channel's data. Raises `Refusal` for data that would have to be fetched."""
    source = channel.data_source.s3_data_source
    uri = source.s3_uri if source is not None else ""
    folder = uri.removeprefix("file://")
    if folder == uri or not folder.startswith("/") or "\0" in folder:
        raise Refusal(
            f"serviceRequestPayload: the data of channel {channel.channel_name} cannot be used by this version of Batchyard,"
            " which fetches nothing from S3 or file systems; give a folder of this machine as S3Uri"
            f" (file:///data/train), got {uri!r}"
        )
    return folder


def instance_resources(instance_type: str, count: int, machine: Resources | None) -> Resources:
    """What one instance gets: the vCPUs and the memory of its type, but with all instances of the job together no more than
    the machine has. Instances have no GPUs, since this machine offers none."""
    match = INSTANCE_TYPE.match(instance_type)
    assert match is not None
    family, small, factor = match.groups()
    vcpus = 2 if small else 4 * int(factor or 1)
    gibibytes = vcpus * _MEMORY_PER_VCPU.get(family, _MEMORY_PER_VCPU.get(family[0], 4))
    if machine is None:
        return Resources(1000 * vcpus, 1024 * gibibytes)
    return Resources(
        max(1, min(1000 * vcpus, machine.milli_vcpus // count)), max(1, min(1024 * gibibytes, machine.memory // count))
    )


def training_name(training: TrainingJob, job_name: str) -> str:
    """What the names of the job's training jobs are made of: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9-]", "-", training.training_job_name or job_name)


def training_job_name(name: str, job_id: str, attempt: int) -> str:
    """Every attempt is a training job of its own: `AWSBatch<name><hash>`, at most 63 characters."""
    digits = hashlib.blake2b(f"{job_id}#{attempt}".encode(), digest_size=_HASH_DIGITS // 2).hexdigest()
    return f"{_PREFIX}{name[: _LONGEST_NAME - len(_PREFIX) - _HASH_DIGITS]}{digits}"


def training_job_arn(account: Account, name: str) -> str:
    return f"arn:{account.partition}:sagemaker:{account.region}:{account.account_id}:training-job/{name}"


def log_stream(training_job: str, node: int, scheduled_at: int) -> str:
    """`<training job>/algo-<n>-<seconds>`, as SageMaker names them; the first node is `algo-1`."""
    return f"{training_job}/algo-{node + 1}-{scheduled_at // 1000}"


def service_attempt(
    account: Account, job: Job, service: ServiceRequest, at: int, end: AttemptEnd
) -> shapes.AttemptDetail:
    """An attempt that has ended: a training job stands where others have their ECS task."""
    name = training_job_name(service.training_name, job.id, job.attempt)
    return shapes.AttemptDetail(
        container=shapes.AttemptContainerDetail(
            task_arn=training_job_arn(account, name),
            exit_code=end.exit_code,
            reason=end.reason[:255] if end.reason else None,
            log_stream_name=log_stream(name, 0, service.scheduled_at or 0) if job.started_at is not None else None,
        ),
        started_at=job.started_at,
        stopped_at=at,
        status_reason=end.status_reason,
    )


def preempted_attempt(
    account: Account, job: Job, service: ServiceRequest, at: int, reason: str
) -> shapes.ServiceJobPreemptedAttempt:
    """An attempt that was preempted."""
    arn = training_job_arn(account, training_job_name(service.training_name, job.id, job.attempt))
    return shapes.ServiceJobPreemptedAttempt(
        service_resource_id=shapes.ServiceResourceId(name=RESOURCE_NAME, value=arn),
        started_at=job.started_at,
        stopped_at=at,
        status_reason=reason,
    )


def failure_reason(exit_code: int | None, reason: str | None, message: str | None) -> str:
    """SageMaker's failure reason for a container that has failed. `message` is what the program left in
    `/opt/ml/output/failure`."""
    if exit_code is None or (reason or "").startswith("Cannot"):
        return f"{_RECEIVED}ClientError: {reason or 'The container could not be started.'}"
    return f"{_RECEIVED}AlgorithmError: {message or reason or ''}, exit code: {exit_code}"


def lost_reason(instance: str) -> str:
    return f"{_RECEIVED}InternalServerError: Host (instance {instance}) terminated."


def time_out_reason(timeout: int | None, service: ServiceRequest) -> str:
    """Whose limit it was: the payload's, or the job's own `timeoutConfig`."""
    return _MAX_RUNTIME if timeout == service.max_runtime else TIMED_OUT
