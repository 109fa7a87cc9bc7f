"""The environment file: compute environments, scheduling policies and job queues as the API's own requests.

JSON, or TOML by its name. Members of requests are checked against the service model as the API does it; rules beyond the
model are the kernel's, when the simulation sets them up.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from batchyard.api.decoding import InvalidInputError, decode_members
from batchyard.shapes import batch as shapes
from batchyard.simulator.inputs import InputError

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Machines(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Machines of one size that instances are launched from."""

    vcpus: Count
    memory: Count = field(name="memoryMiB")
    gpus: Annotated[int, Meta(ge=0)] = 0
    count: Annotated[int, Meta(ge=1, le=100_000)] = 1


class SimulationSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How machines and programs behave. The defaults leave nothing to chance and take no time."""

    boot_seconds: Seconds = 0.0
    """From the launch of an instance until it runs."""
    idle_seconds: Seconds = 60.0
    """For how long an instance is kept that has nothing to do."""
    launch_failure_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """The part of launches that have insufficient capacity."""
    spot_interruptions_an_hour: Annotated[float, Meta(ge=0)] = 0.0
    """How often a Spot instance is reclaimed, on average."""
    spot_notice_seconds: Seconds = 120.0
    """Between the notice and the end of a Spot instance."""
    start_seconds: Seconds = 0.0
    """From the moment that a job has its place until its program runs: the pull of the image, the start of the container."""
    stop_seconds: Seconds = 0.0
    """How long a program takes to end after SIGTERM; it is killed when the grace is over."""
    fargate_vcpu_hour_price: Annotated[float, Meta(ge=0)] = 0.04048
    """US dollars. Source: AWS Fargate pricing, Linux/x86, us-east-1."""
    fargate_gib_hour_price: Annotated[float, Meta(ge=0)] = field(name="fargateGiBHourPrice", default=0.004445)
    fargate_spot_discount: Annotated[float, Meta(ge=0, le=1)] = 0.7
    """What FARGATE_SPOT costs less. AWS names up to 70 %; the price of the day is not published ahead."""
    seed: int = 0
    """Of what is left to chance."""


class EnvironmentFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """All that there is before the first job comes."""

    compute_environments: Annotated[list[shapes.CreateComputeEnvironmentRequest], Meta(min_length=1)]
    job_queues: Annotated[list[shapes.CreateJobQueueRequest], Meta(min_length=1)]
    scheduling_policies: list[shapes.CreateSchedulingPolicyRequest] = []
    quota_shares: list[shapes.CreateQuotaShareRequest] = []
    machines: list[Machines] = []
    """What instances are launched from; none: as much as is asked for, as on EC2."""
    settings: SimulationSettings = field(default_factory=SimulationSettings)


def load_environment_file(path: Path) -> EnvironmentFile:
    """Reads a file. Raises `InputError`."""
    try:
        text = path.read_text(encoding="utf-8")
        members = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise InputError(f"{path}: it is nested too deeply") from None
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise InputError(f"{path} is not {kind}: {error}") from None
    if not isinstance(members, dict):
        raise InputError(f"{path}: expected an object with computeEnvironments and jobQueues")
    try:
        return decode_environment_file(members)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def decode_environment_file(members: Mapping[str, Any]) -> EnvironmentFile:
    """The same from members by their names on the wire."""
    try:
        decoded = decode_members(members, EnvironmentFile, text=False)
    except InvalidInputError as error:
        raise InputError(error.message) from None
    assert isinstance(decoded, EnvironmentFile)
    for number, environment in enumerate(decoded.compute_environments):
        _check_kind(environment, f"computeEnvironments[{number}]")
    return decoded


def _check_kind(environment: shapes.CreateComputeEnvironmentRequest, where: str) -> None:
    """Kinds that have nothing to simulate are refused, so that nobody waits for their jobs."""
    name = environment.compute_environment_name
    resources = environment.compute_resources
    if environment.type != "MANAGED":
        raise InputError(
            f"{where}.type: {name} is UNMANAGED, and a simulation has no hosts; use MANAGED and `machines`"
        )
    if environment.eks_configuration is not None:
        raise InputError(f"{where}.eksConfiguration: jobs on Kubernetes can't be simulated")
    if resources is not None and resources.type == "ECS_MANAGED_INSTANCES":
        raise InputError(f"{where}.computeResources.type: ECS_MANAGED_INSTANCES can't be simulated; EC2 comes nearest")
