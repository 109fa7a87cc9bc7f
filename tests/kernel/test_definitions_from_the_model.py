"""Job definitions made at random from the service model: each is accepted and comes back as it was sent (with nothing but
AWS's defaults added), or it is refused in words. A job of one that is accepted can be submitted, or is refused in words."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from typing import Any

import botocore.session
import msgspec
from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from story import ACCOUNT

from batchyard.kernel.definitions.registration import normalised
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.submission.resolving import resolved
from batchyard.shapes import batch as shapes

ONCE_IN_TWENTY = [False] * 13 + [True] + [False] * 6

EXAMPLES = int(os.environ.get("BATCHYARD_TEST_EXAMPLES", "25")) * 20

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a"

PLAUSIBLE: dict[str, list[Any]] = {
    "jobDefinitionName": ["name"],
    "image": ["busybox"],
    "name": ["a", "b", "c"],
    "containerName": ["a", "b"],
    "sourceVolume": ["a", "b"],
    "condition": ["START", "SUCCESS"],
    "command": ["true", "Ref::a"],
    "containerPath": ["/a"],
    "mountPath": ["/a"],
    "path": ["/a"],
    "hostPath": ["/dev/a"],
    "user": ["1000"],
    "valueFrom": [ARN],
    "credentialsParameter": [ARN],
    "fileSystemArn": [ARN],
    "accessPointArn": [ARN],
    "action": ["RETRY", "exit"],
    "onExitCode": ["1", "*"],
    "consumableResource": ["a", "b"],
    "mountOptions": ["rw", "mode=7"],
    "ipcMode": ["host"],
    "pidMode": ["task"],
    "networkMode": ["host"],
    "platformVersion": ["LATEST", "1.4.0"],
    "operatingSystemFamily": ["LINUX", "WINDOWS_SERVER_2019_CORE"],
    "cpuArchitecture": ["X86_64"],
    "dnsPolicy": ["Default"],
    "imagePullPolicy": ["Always"],
    "namespace": ["work"],
    "medium": ["", "Memory"],
    "sizeLimit": ["1Gi"],
    "attempts": [1, 10],
    "attemptDurationSeconds": [60],
    "sizeInGiB": [21],
    "swappiness": [60],
    "softLimit": [1],
    "hardLimit": [2],
    "transitEncryptionPort": [1],
    "startTimeout": [2],
    "stopTimeout": [2],
    "mainNode": [0],
    "numNodes": [1, 3],
    "targetNodes": ["0:", ":", "0", "1:"],
}
ODD_TEXTS = ["", " ", "\0", "²", "x" * 300, "../x", "AWS_BATCH_X", "Ref::", "1e9", "-1", "None", "arn:"]
ODD_NUMBERS = [-(2**31), -1, 0, 1, 2, 5, 100, 1000, 9999, 10_000, 2**31 - 1]

ECS_NEEDS = [[{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": "2048"}] for vcpus in ("1", "2", "0.5")]
EKS_NEEDS = [{"limits": {"cpu": "1", "memory": "64Mi"}}, {"requests": {"cpu": "0.25", "memory": "64Mi"}, "limits": {}}]
NEEDED: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "ContainerProperties": {
        "image": st.just("busybox"),
        "resourceRequirements": st.sampled_from(ECS_NEEDS),
        "executionRoleArn": st.just("arn:role"),
    },
    "TaskContainerProperties": {"name": st.sampled_from("abc"), "resourceRequirements": st.sampled_from(ECS_NEEDS)},
    "EksContainer": {"name": st.sampled_from("abc"), "resources": st.sampled_from(EKS_NEEDS)},
}
"""What a container hardly ever gets by chance, and can hardly do without."""

USUAL = {
    "EksProperties": ["podProperties"],
    "EksPodProperties": ["containers"],
    "RetryStrategy": ["attempts"],
    "EvaluateOnExit": ["onExitCode"],
}
"""Members that the model does not require, and without which there is nothing to look at."""

BLOCKS = {
    "containerProperties": "container",
    "ecsProperties": "container",
    "eksProperties": "container",
    "nodeProperties": "multinode",
}


@cache
def model() -> Any:
    return botocore.session.get_session().get_service_model("batch")


def values(shape: Shape, name: str) -> st.SearchStrategy[Any]:
    if isinstance(shape, StructureShape):
        return structures(shape)
    if isinstance(shape, ListShape):
        lengths = {"taskProperties": (1, 1), "containers": (1, 3), "nodeRangeProperties": (1, 3)}.get(name, (0, 2))
        found = st.lists(values(shape.member, name), min_size=lengths[0], max_size=lengths[1])
        return rarely(found.map(numbered), found)
    if isinstance(shape, MapShape):
        return st.dictionaries(st.sampled_from(["a", "cpu", "b"]), values(shape.value, name), max_size=2)
    if shape.type_name == "boolean":
        return st.booleans()
    if shape.type_name == "string":
        usual = getattr(shape, "enum", None) or PLAUSIBLE.get(name, ["a", "b"])
        return rarely(st.sampled_from(usual), st.sampled_from(ODD_TEXTS) if not getattr(shape, "enum", None) else None)
    return rarely(st.sampled_from(PLAUSIBLE.get(name, [1, 5])), st.sampled_from(ODD_NUMBERS))


def numbered(entries: list[Any]) -> list[Any]:
    """With names that differ, where the entries have any."""
    for letter, entry in zip("abc", entries, strict=False):
        if isinstance(entry, dict) and "name" in entry:
            entry["name"] = letter
    return entries


def rarely(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any] | None) -> st.SearchStrategy[Any]:
    """The odd value once in twenty times."""
    return usual if odd is None else st.sampled_from(ONCE_IN_TWENTY).flatmap(lambda n: odd if n else usual)


@st.composite
def structures(draw: st.DrawFn, shape: StructureShape) -> dict[str, Any]:
    """All that is required, what is needed, and at most two members more."""
    usual = not draw(st.sampled_from(ONCE_IN_TWENTY))
    needed = NEEDED.get(shape.name, {}) if usual else {}
    others = sorted(shape.members.keys() - needed.keys() - set(shape.required_members))
    chosen = [*shape.required_members, *(USUAL.get(shape.name, []) if usual else ())]
    chosen += draw(st.lists(st.sampled_from(others), max_size=2)) if others else []
    found = {name: draw(values(shape.members[name], name)) for name in dict.fromkeys(chosen)}
    return found | {name: draw(strategy) for name, strategy in needed.items()}


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Registrations with one block of properties (now and then with another besides)."""
    shape = model().operation_model("RegisterJobDefinition").input_shape
    block = draw(st.sampled_from(sorted(BLOCKS)))
    form = draw(structures(shape))
    if not draw(st.sampled_from(ONCE_IN_TWENTY)):
        form = {name: value for name, value in form.items() if name not in BLOCKS}
    form[block] = draw(values(shape.members[block], block))
    if block == "nodeProperties":
        for group in form[block]["nodeRangeProperties"]:
            members = ["container", "ecsProperties", "eksProperties"]
            wanted = draw(st.sampled_from(members))
            for member in members:
                group.pop(member, None)
            group[wanted] = draw(values(model().shape_for("NodeRangeProperty").members[wanted], wanted))
    return {**form, "type": form["type"] if draw(st.sampled_from(ONCE_IN_TWENTY)) else BLOCKS[block]}


def test_accepted_and_given_back_or_refused_in_words() -> None:
    seen: Counter[str] = Counter()
    refusals: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(form=definitions())
    def run(form: dict[str, Any]) -> None:
        try:
            request = msgspec.convert(form, shapes.RegisterJobDefinitionRequest)
        except msgspec.ValidationError as error:
            refusals.append(str(error))
            return
        block = next(name for name in BLOCKS if name in form)
        try:
            definition = normalised(request, 100, ACCOUNT, 1)
        except Refusal as refusal:
            refusals.append(refusal.message)
            return
        seen[block] += 1
        assert msgspec.to_builtins(request) == msgspec.to_builtins(
            msgspec.convert(form, shapes.RegisterJobDefinitionRequest)
        ), "the request itself was changed"
        check_given_back(form, msgspec.to_builtins(definition), "")
        seen["submitted"] += check_submission(definition)

    run()
    assert all(seen[block] for block in BLOCKS), f"some kind of definition was never accepted: {seen}"
    assert seen["submitted"]
    assert refusals
    assert all(refusals)


DEFAULTS: dict[str, Any] = {
    "essential": True,
    "platformVersion": "LATEST",
    "fargatePlatformConfiguration": {"platformVersion": "LATEST"},
    "parameters": {},
    "tags": {},
    "status": "ACTIVE",
    "revision": 1,
}
ADDED = ("jobDefinitionArn", "containerOrchestrationType")


def check_given_back(sent: Any, shown: Any, path: str) -> None:
    """What was sent is shown; what is shown besides is empty or a default."""
    if isinstance(sent, dict):
        assert isinstance(shown, dict), path
        for name, value in sent.items():
            if name in shown:
                check_given_back(value, shown[name], f"{path}.{name}")
            else:
                assert name == "platformCapabilities", f"{path}.{name} is missing"
                assert value == []
        for name in shown.keys() - sent.keys():
            assert shown[name] == [] or shown[name] == DEFAULTS.get(name) or name in ADDED, f"{path}.{name}"
    elif isinstance(sent, list):
        assert len(sent) == len(shown), path
        for number, (one, other) in enumerate(zip(sent, shown, strict=True)):
            check_given_back(one, other, f"{path}[{number}]")
    else:
        assert sent == shown, path


def check_submission(definition: shapes.JobDefinition) -> bool:
    """Whether a job of it is accepted."""
    request = shapes.SubmitJobRequest(job_name="a", job_queue="q", job_definition="name")
    try:
        submission = resolved(request, definition, "arn")
    except Refusal as refusal:
        if "No parameter found for reference" not in refusal.message:
            raise
        return False
    assert submission.resources.milli_vcpus > 0
    assert submission.resources.memory > 0
    msgspec.json.encode(submission.detail)
    return True
