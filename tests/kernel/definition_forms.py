"""Job definitions and submissions as a client writes them (the names of the wire), for tests of every kind of job."""

from __future__ import annotations

from typing import Any

import msgspec
from story import Story, submission

from batchyard.kernel.commands import RegisterJobDefinition, SubmitJob
from batchyard.kernel.state import decode_definition
from batchyard.shapes import batch as shapes

Form = dict[str, Any]


def needs(vcpus: str = "1", memory: str = "128", **more: str) -> list[Form]:
    """`resourceRequirements`."""
    return [{"type": type_, "value": value} for type_, value in {"VCPU": vcpus, "MEMORY": memory, **more}.items()]


def single(**members: Any) -> Form:
    """`containerProperties` that are in order; `members` replace or add."""
    return {"image": "busybox", "command": ["true"], "resourceRequirements": needs(), **members}


def beside(name: str, **members: Any) -> Form:
    """One of several containers of a task."""
    return {"name": name, "image": "busybox", "command": ["true"], "resourceRequirements": needs(), **members}


def task(*containers: Form, **members: Any) -> Form:
    """`ecsProperties`."""
    return {"taskProperties": [{"containers": list(containers or [beside("main")]), **members}]}


def in_pod(name: str | None = None, cpu: str = "1", memory: str = "128Mi", **members: Any) -> Form:
    """A container of a pod."""
    named = {} if name is None else {"name": name}
    return {**named, "image": "busybox", "resources": {"limits": {"cpu": cpu, "memory": memory}}, **members}


def pod(*containers: Form, **members: Any) -> Form:
    """`eksProperties`."""
    return {"podProperties": {"containers": list(containers or [in_pod()]), **members}}


def group(nodes: str, **members: Any) -> Form:
    """An entry of `nodeRangeProperties`."""
    block = {} if members.keys() & {"container", "ecsProperties", "eksProperties"} else {"container": single()}
    return {"targetNodes": nodes, **block, **members}


def nodes(number: int, *groups: Form, main: int = 0) -> Form:
    """`nodeProperties`."""
    return {"numNodes": number, "mainNode": main, "nodeRangeProperties": list(groups or [group("0:")])}


def registering(name: str = "new", size: int = 100, **members: Any) -> RegisterJobDefinition:
    """RegisterJobDefinition with these members."""
    type_ = "multinode" if "nodeProperties" in members else "container"
    request = msgspec.convert(
        {"jobDefinitionName": name, "type": type_, **members}, shapes.RegisterJobDefinitionRequest
    )
    return RegisterJobDefinition(request, size)


def register(story: Story, name: str = "new", **members: Any) -> Form:
    """Registers, and gives what DescribeJobDefinitions would show."""
    revision = story.tell(registering(name, **members)).revision
    stored = story.kernel.state.definitions[name].revisions[revision]
    shown: Form = msgspec.to_builtins(decode_definition(stored))
    return shown


def submitting(definition: str = "new", **members: Any) -> SubmitJob:
    """SubmitJob with these members."""
    form = {"jobName": "job", "jobQueue": "q", "jobDefinition": definition, **members}
    request = msgspec.convert(form, shapes.SubmitJobRequest)
    return submission(**{member: getattr(request, member) for member in request.__struct_fields__})


def submit(story: Story, label: str, definition: str = "new", **members: Any) -> Form:
    """Submits, and gives the part of DescribeJobs that never changes."""
    form = {"jobName": label, "jobQueue": "q", "jobDefinition": definition, **members}
    story.send(label, msgspec.convert(form, shapes.SubmitJobRequest))
    shown: Form = msgspec.to_builtins(story.details[label])
    return shown
