"""The AWS CLI from creating environments to clearing away, for every operation: what `--generate-cli-skeleton` prints is
filled in with sensible values and accepted.

Every member of every skeleton is filled in by some step of the story, unless the account of all members
(docs/reference/compatibility.toml) says that it is missing or refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.utils import ArgumentGenerator

from compatibility.aws_cli import AwsCli
from compatibility.cli_scenario import STEPS, Step
from compatibility.script import account as load_account
from server_process import ServerProcess
from waiting import until

NOT_IN_THE_CLI = {"CancelJobs", "TerminateJobs", "TerminateServiceJobs"}
"""Operations that the CLI tested with is too old for: botocore sends them, with a skeleton made as the CLI makes it."""

LEFT_OUT: set[str] = {
    "CreateComputeEnvironment.computeResources.launchTemplate.userdataType",
}
"""Members that cannot be given together with the others."""


@pytest.fixture(scope="module")
def account() -> Any:
    return load_account()


@pytest.fixture
def own_server(new_server: Callable[..., ServerProcess]) -> ServerProcess:
    return new_server().start()


@pytest.fixture
def cli(own_server: ServerProcess) -> Iterator[AwsCli]:
    with AwsCli(own_server.client_environment()) as cli:
        yield cli


def test_every_skeleton_filled_in_is_accepted(account: Any, own_server: ServerProcess, cli: AwsCli) -> None:
    batch = own_server.client("batch")
    kept = {"account": own_server.account_id, "region": own_server.region}
    filled: dict[str, set[str]] = {operation.name: set() for operation in account.operations}
    for step in STEPS:
        if step.operation in account.missing_operations or not is_possible(account, step, kept):
            continue
        request = with_kept(step.request, kept)
        skeleton = skeleton_of(cli, account, step.operation)
        shape = model_of(account, step.operation).input_shape
        given, known = set(paths(shape, request)), set(paths(shape, skeleton))
        assert given <= known, f"{step.operation}: not in the skeleton: {sorted(given - known)}"
        filled[step.operation] |= given
        answer = send(cli, batch, step, request)
        kept |= {name: answer[member] for name, member in step.keep.items() if answer.get(member)}
        if step.settle:
            kind, name = step.settle
            settled(batch, kind, with_kept(name, kept))
    for operation in account.operations:
        if operation.name in account.missing_operations:
            continue
        wanted = set(paths(operation.input_shape, skeleton_of(cli, account, operation.name)))
        wanted = {path for path in wanted if not is_exempt(account, operation.input_shape, path)}
        left_out = {path.removeprefix(f"{operation.name}.") for path in LEFT_OUT}
        missing = wanted - filled[operation.name] - left_out
        assert not missing, f"no step fills in {operation.name}: {sorted(missing)}"


def test_what_is_missing_says_so(account: Any, own_server: ServerProcess) -> None:
    batch = own_server.client("batch")
    for step in STEPS:
        if step.operation in account.missing_operations:
            with pytest.raises(ClientError, match="is not supported by this server"):
                getattr(batch, snake(step.operation))(**step.request)


def model_of(account: Any, name: str) -> Any:
    [operation] = [operation for operation in account.operations if operation.name == name]
    return operation


def skeleton_of(cli: AwsCli, account: Any, operation: str) -> Any:
    skeleton = cli.skeleton(kebab(operation))
    if operation in NOT_IN_THE_CLI:
        assert skeleton is None, f"the CLI has learnt {operation}: let it send it"
        return ArgumentGenerator().generate_skeleton(model_of(account, operation).input_shape)
    assert skeleton is not None
    return skeleton


def send(cli: AwsCli, batch: Any, step: Step, request: dict[str, Any]) -> Any:
    if step.operation in NOT_IN_THE_CLI:
        return getattr(batch, snake(step.operation))(**request)
    return cli.batch(kebab(step.operation), request)


def is_possible(account: Any, step: Step, kept: dict[str, str]) -> bool:
    """Whether all that the step asks for is there, and so is what it refers to."""
    shape = model_of(account, step.operation).input_shape
    if any(is_exempt(account, shape, path) for path in paths(shape, step.request)):
        return False
    return all(name in kept for name in re.findall(r"\{([a-z-]+)\}", str(step.request)))


def is_exempt(account: Any, shape: Shape, path: str) -> bool:
    """Whether a path leads through a member that is not there yet, or refused."""
    for part in path.split("."):
        name = part.rstrip("[]{}")
        if account.verdicts(shape.name)[name].status in ("not yet", "refused"):
            return True
        shape = shape.members[name]
        while isinstance(shape, ListShape | MapShape):
            shape = shape.member if isinstance(shape, ListShape) else shape.value
        if not isinstance(shape, StructureShape):
            return False
    return False


def paths(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """The paths of the scalars in a value of this shape, such as `containerOverrides.environment[].name`."""
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            assert name in shape.members, f"{path}: {shape.name} has no {name}"
            yield from paths(shape.members[name], member, f"{path}.{name}" if path else name)
    elif isinstance(shape, ListShape):
        for element in value:
            yield from paths(shape.member, element, f"{path}[]")
    elif isinstance(shape, MapShape):
        for element in value.values():
            yield from paths(shape.value, element, f"{path}{{}}")
    else:
        yield path


def with_kept(value: Any, kept: dict[str, str]) -> Any:
    """The value with `{name}` replaced in all its texts."""
    if isinstance(value, dict):
        return {name: with_kept(member, kept) for name, member in value.items()}
    if isinstance(value, list):
        return [with_kept(element, kept) for element in value]
    if isinstance(value, str):
        return re.sub(r"\{([a-z-]+)\}", lambda match: kept[match[1]], value)
    return value


def settled(batch: Any, kind: str, name: str) -> None:
    """Waits until a resource is at rest, or gone."""

    def at_rest() -> bool:
        return not any(each["status"] in ("CREATING", "UPDATING", "DELETING") for each in found(batch, kind, name))

    until(at_rest, f"{kind} {name} at rest")


def found(batch: Any, kind: str, name: str) -> list[dict[str, Any]]:
    match kind:
        case "environment":
            return batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
        case "queue":
            return batch.describe_job_queues(jobQueues=[name])["jobQueues"]
        case "service environment":
            return batch.describe_service_environments(serviceEnvironments=[name])["serviceEnvironments"]
        case "quota share":
            return [batch.describe_quota_share(quotaShareArn=name)]
    raise AssertionError(kind)


def snake(operation: str) -> str:
    return kebab(operation).replace("-", "_")


def kebab(operation: str) -> str:
    """As the CLI spells it: `submit-job`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", operation).lower()
