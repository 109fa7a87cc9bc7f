"""What callers ask of the kernel. `handling.py` says where each command is carried out.

A command is the request as the wire gave it, with the identifiers, sizes and facts that the kernel may not draw or look
up itself.
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.dependencies import JobFact
from batchyard.shapes import batch as shapes


class SubmitJob(msgspec.Struct, frozen=True, kw_only=True):
    request: shapes.SubmitJobRequest
    job_id: str
    size: int
    """Bytes of the request."""
    facts: dict[str, JobFact] = {}
    """Of dependencies that have finished."""


class CancelJob(msgspec.Struct, frozen=True):
    job_id: str
    reason: str


class TerminateJob(msgspec.Struct, frozen=True):
    job_id: str
    reason: str


class HoldJob(msgspec.Struct, frozen=True):
    job_id: str
    reason: str


class ReleaseJob(msgspec.Struct, frozen=True):
    job_id: str


class ChangePriority(msgspec.Struct, frozen=True):
    job_id: str
    scheduling_priority: int


class RegisterJobDefinition(msgspec.Struct, frozen=True):
    request: shapes.RegisterJobDefinitionRequest
    size: int
    """Bytes of the request."""


class DeregisterJobDefinition(msgspec.Struct, frozen=True):
    definition: str
    """`name:revision`, an ARN, or a bare name for the newest active revision."""


class CreateComputeEnvironment(msgspec.Struct, frozen=True):
    request: shapes.CreateComputeEnvironmentRequest
    uuid: str


class UpdateComputeEnvironment(msgspec.Struct, frozen=True):
    request: shapes.UpdateComputeEnvironmentRequest


class DeleteComputeEnvironment(msgspec.Struct, frozen=True):
    environment: str


class CreateJobQueue(msgspec.Struct, frozen=True):
    request: shapes.CreateJobQueueRequest


class UpdateJobQueue(msgspec.Struct, frozen=True):
    request: shapes.UpdateJobQueueRequest


class DeleteJobQueue(msgspec.Struct, frozen=True):
    queue: str


class CreateSchedulingPolicy(msgspec.Struct, frozen=True):
    request: shapes.CreateSchedulingPolicyRequest


class UpdateSchedulingPolicy(msgspec.Struct, frozen=True):
    request: shapes.UpdateSchedulingPolicyRequest


class DeleteSchedulingPolicy(msgspec.Struct, frozen=True):
    arn: str


class CreateServiceEnvironment(msgspec.Struct, frozen=True):
    request: shapes.CreateServiceEnvironmentRequest


class UpdateServiceEnvironment(msgspec.Struct, frozen=True):
    request: shapes.UpdateServiceEnvironmentRequest


class DeleteServiceEnvironment(msgspec.Struct, frozen=True):
    environment: str


class SubmitServiceJob(msgspec.Struct, frozen=True, kw_only=True):
    request: shapes.SubmitServiceJobRequest
    job_id: str
    size: int
    """Bytes of the request."""


class TerminateServiceJob(msgspec.Struct, frozen=True):
    job_id: str
    reason: str


class UpdateServiceJob(msgspec.Struct, frozen=True):
    job_id: str
    scheduling_priority: int


class CreateQuotaShare(msgspec.Struct, frozen=True):
    request: shapes.CreateQuotaShareRequest


class UpdateQuotaShare(msgspec.Struct, frozen=True):
    request: shapes.UpdateQuotaShareRequest


class DeleteQuotaShare(msgspec.Struct, frozen=True):
    arn: str


class CreateConsumableResource(msgspec.Struct, frozen=True):
    request: shapes.CreateConsumableResourceRequest
    uuid: str


class UpdateConsumableResource(msgspec.Struct, frozen=True):
    request: shapes.UpdateConsumableResourceRequest


class DeleteConsumableResource(msgspec.Struct, frozen=True):
    resource: str


class ChangeTags(msgspec.Struct, frozen=True, kw_only=True):
    """TagResource (`add`) and UntagResource (`remove`)."""

    arn: str
    add: dict[str, str] = {}
    remove: list[str] = []
    job: tuple[int, dict[str, str]] | None = None
    """For a job: its seq and its present tags, which only the store knows."""


class InterruptInstance(msgspec.Struct, frozen=True):
    instance_id: str
    force: bool = False
    """Also one that is no Spot instance."""


class InterruptJob(msgspec.Struct, frozen=True):
    job_id: str


class RegisterHost(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    environment: str
    vcpus: int
    memory: int
    """MiB."""
    gpus: int = 0


class UpdateHost(msgspec.Struct, frozen=True):
    host: str
    """Its name, or its instance id."""
    status: str
    """ACTIVE or DRAINING."""


class DeregisterHost(msgspec.Struct, frozen=True):
    host: str
    force: bool = False
    """Also stop what runs on it."""


Command = (
    SubmitJob
    | CancelJob
    | TerminateJob
    | HoldJob
    | ReleaseJob
    | ChangePriority
    | RegisterJobDefinition
    | DeregisterJobDefinition
    | CreateComputeEnvironment
    | UpdateComputeEnvironment
    | DeleteComputeEnvironment
    | CreateJobQueue
    | UpdateJobQueue
    | DeleteJobQueue
    | CreateSchedulingPolicy
    | UpdateSchedulingPolicy
    | DeleteSchedulingPolicy
    | CreateServiceEnvironment
    | UpdateServiceEnvironment
    | DeleteServiceEnvironment
    | SubmitServiceJob
    | TerminateServiceJob
    | UpdateServiceJob
    | CreateQuotaShare
    | UpdateQuotaShare
    | DeleteQuotaShare
    | CreateConsumableResource
    | UpdateConsumableResource
    | DeleteConsumableResource
    | ChangeTags
    | InterruptInstance
    | InterruptJob
    | RegisterHost
    | UpdateHost
    | DeregisterHost
)
