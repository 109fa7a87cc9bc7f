"""The AWS CLI from creating environments to clearing away, for every operation: what `--generate-cli-skeleton` prints is
filled in with sensible values and accepted.

Every member of every skeleton is filled in by some step of the story, unless the account of all members
(docs/reference/compatibility.toml) says that it is refused: then it is, in those words. The CLI's service model is older than
botocore's: what it does not know yet is sent by boto3, with the skeleton that botocore makes in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.utils import ArgumentGenerator

from compatibility.aws_cli import AwsCli
from compatibility.cli_scenario import STEPS
from compatibility.script import account as load_account
from server_process import ServerProcess
from waiting import until
from work import refused

NOT_IN_THE_CLI = {"CancelJobs", "TerminateJobs", "TerminateServiceJobs"}
"""Operations that the CLI tested with is too old for."""

FILLED_IN_BY_AWS = {("Ec2Configuration", "batchImageStatus"), ("EksAccessEntry", "status")}
"""Members of requests that only responses have a use for."""


@pytest.fixture(scope="module")
def account() -> Any:
    return load_account()


@pytest.fixture
def own_server(new_server: Callable[..., ServerProcess]) -> ServerProcess:
    """A server on which no job fits, so that every job of the story is still there to be changed and ended."""
    return new_server(overcommit=0.001).start()


@pytest.fixture
def cli(own_server: ServerProcess) -> Iterator[AwsCli]:
    with AwsCli(own_server.client_environment()) as cli:
        yield cli


def test_every_skeleton_filled_in_is_accepted(account: Any, own_server: ServerProcess, cli: AwsCli) -> None:
    batch = own_server.client("batch")
    kept = {"account": own_server.account_id, "region": own_server.region}
    there = {each.name: Skeletons(cli, each) for each in account.operations}
    for step in STEPS:
        request = with_kept(step.request, kept)
        why = why_refused(account, there[step.operation].shape, request)
        if why is not None:
            assert why in refused(getattr(batch, snake(step.operation)), **request)
            continue
        if there[step.operation].fill_in(request):
            answer = cli.batch(kebab(step.operation), request)
        else:
            answer = getattr(batch, snake(step.operation))(**request)
        kept |= {name: answer[member] for name, member in step.keep.items() if answer.get(member)}
        if step.settle:
            kind, name = step.settle
            settled(batch, kind, with_kept(name, kept))
    for name, skeletons in there.items():
        missing = [each for each in skeletons.left_empty() if is_there(account, skeletons.shape, *each)]
        assert not missing, f"no step fills in {name}: {missing}"
        assert skeletons.used_the_cli is (name not in NOT_IN_THE_CLI), name


class Skeletons:
    """The skeletons that the CLI and botocore make for an operation, and which of their members have been filled in."""

    def __init__(self, cli: AwsCli, operation: Any) -> None:
        self.shape: Shape = operation.input_shape
        self._of_the_cli = set(members(self.shape, cli.skeleton(kebab(operation.name))))
        self._of_botocore = set(members(self.shape, ArgumentGenerator().generate_skeleton(self.shape)))
        self._filled: set[tuple[str, str]] = set()
        self.used_the_cli = False

    def fill_in(self, request: dict[str, Any]) -> bool:
        """Whether the CLI's skeleton has all members of the request. Botocore's always has."""
        given = set(members(self.shape, request))
        assert given <= self._of_botocore, f"not in the skeleton: {sorted(given - self._of_botocore)}"
        self._filled |= given
        known = given <= self._of_the_cli
        self.used_the_cli |= known
        return known

    def left_empty(self) -> list[tuple[str, str]]:
        return sorted((self._of_the_cli | self._of_botocore) - self._filled - FILLED_IN_BY_AWS)


def why_refused(account: Any, shape: Shape, request: dict[str, Any]) -> str | None:
    """What a request is refused with, says the account; None for one that is accepted."""
    verdicts = [account.verdicts(structure)[member] for structure, member in members(shape, request)]
    return next((verdict.why for verdict in verdicts if verdict.status == "refused"), None)


def is_there(account: Any, shape: Shape, structure: str, member: str) -> bool:
    """Whether a member of this structure does anything in an operation with this input."""
    if structure not in account.reachable(shape):
        return False
    return account.verdicts(structure)[member].status in ("effective", "stored and returned")


def members(shape: Shape, value: Any) -> Iterator[tuple[str, str]]:
    """Structure and name of every member in a value of this shape."""
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            yield shape.name, name
            assert name in shape.members, f"{shape.name} has no {name}"
            yield from members(shape.members[name], member)
    elif isinstance(shape, ListShape):
        for element in value:
            yield from members(shape.member, element)
    elif isinstance(shape, MapShape):
        for element in value.values():
            yield from members(shape.value, element)


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
