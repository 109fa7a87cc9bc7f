"""What a submission comes to: parameters, overrides, names, sizes (model `SubmitJob`, `ContainerOverrides`)."""

from __future__ import annotations

from typing import Any

import pytest
from story import ACCOUNT, Story, container, submission

from batchyard.kernel.commands import DeregisterJobDefinition
from batchyard.kernel.parameters import substituted
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.shapes import batch as shapes

ARN = ACCOUNT.arn("job-definition/work")


def requirement(type_: str, value: str) -> shapes.ResourceRequirement:
    return shapes.ResourceRequirement(type=type_, value=value)  # type: ignore[arg-type]


def overrides(**members: Any) -> dict[str, Any]:
    return {"container_overrides": shapes.ContainerOverrides(**members)}


def pairs(**variables: str) -> list[shapes.KeyValuePair]:
    return [shapes.KeyValuePair(name=name, value=value) for name, value in variables.items()]


def started(story: Story, label: str, **members: Any) -> shapes.ContainerDetail:
    """Submits a job, lets it run, and gives the container that it was asked to run."""
    given: dict[str, Any] = {"job_name": label, "job_queue": "q", "job_definition": "work"}
    story.send(label, shapes.SubmitJobRequest(**given | members))
    story.ordered(f"start {label}#1")
    story.run(label)
    detail = story.details[label].container
    assert detail is not None
    return detail


def shown(detail: shapes.ContainerDetail) -> dict[str, str]:
    return {each.type: each.value for each in detail.resource_requirements or ()}


# Parameters


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["echo", "Ref::a"], ["echo", "1"]),
        (["--x=Ref::a/Ref::b"], ["--x=1/Ref::a"]),
        (["Ref::with.dots-and_lines"], ["ok"]),
        (["Ref::", "ref::a", "Ref:a"], ["Ref::", "ref::a", "Ref:a"]),
        (["Ref::a Ref::a"], ["1 1"]),
        (["Ref::a,b"], ["1,b"]),
        ([], []),
        (["Ref::empty"], [""]),
    ],
)
def test_substitution(command: list[str], expected: list[str]) -> None:
    parameters = {"a": "1", "b": "Ref::a", "with.dots-and_lines": "ok", "empty": "", "unused": "x"}
    assert substituted(command, parameters) == expected


def test_a_reference_without_a_value() -> None:
    with pytest.raises(Refusal, match=r"^Unable to substitute value\. No parameter found for reference nothing$"):
        substituted(["Ref::nothing"], {"Nothing": "1"})


def test_parameters_of_a_submission_come_before_those_of_the_definition(story: Story) -> None:
    story.definition(
        "greet", container_properties=container(command=["echo", "Ref::who", "Ref::how"]), parameters={"who": "you"}
    )
    detail = started(story, "A", job_definition="greet", parameters={"how": "loud", "nf-token": "x"})
    assert detail.command == ["echo", "you", "loud"]
    assert story.details["A"].parameters == {"who": "you", "how": "loud", "nf-token": "x"}
    assert started(story, "B", job_definition="greet", parameters={"who": "me", "how": ""}).command == [
        "echo",
        "me",
        "",
    ]
    text = "Unable to substitute value. No parameter found for reference how"
    assert story.refused(submission(job_definition="greet")) == text
    other = overrides(command=["Ref::what"])
    assert story.refused(submission(job_definition="greet", **other)).endswith("reference what")


# Overrides


def test_requirements_replace_by_type(story: Story) -> None:
    detail = started(story, "A", **overrides(resource_requirements=[requirement("MEMORY", "512")]))
    assert shown(detail) == {"VCPU": "1", "MEMORY": "512"}
    assert story.jobs["A"].resources == Resources(1000, 512)
    detail = started(story, "B", **overrides(resource_requirements=[requirement("VCPU", "2")]))
    assert shown(detail) == {"VCPU": "2", "MEMORY": "128"}


def test_the_deprecated_keys_do_not_beat_the_definitions_requirements(story: Story) -> None:
    assert shown(started(story, "A", **overrides(vcpus=2, memory=512))) == {"VCPU": "1", "MEMORY": "128"}


def test_the_deprecated_keys_replace_deprecated_ones(story: Story) -> None:
    story.definition("old", container_properties=container(resource_requirements=None, vcpus=1, memory=256))
    detail = started(story, "A", job_definition="old", **overrides(vcpus=2, memory=512))
    assert (detail.vcpus, detail.memory) == (2, 512)
    assert shown(detail) == {"VCPU": "2", "MEMORY": "512"}
    detail = started(story, "B", job_definition="old", **overrides(resource_requirements=[requirement("VCPU", "2")]))
    assert (detail.vcpus, detail.memory) == (2, 256)


def test_environments_are_merged_by_name(story: Story) -> None:
    story.definition("variables", container_properties=container(environment=pairs(A="1", B="2")))
    detail = started(story, "A", job_definition="variables", **overrides(environment=pairs(B="3", C="4")))
    assert detail.environment == pairs(A="1", B="3", C="4")


def test_a_command_replaces_the_definitions(story: Story) -> None:
    assert started(story, "A", **overrides(command=["sleep", "1"])).command == ["sleep", "1"]
    assert started(story, "B", **overrides(command=[])).command == ["true"]


def test_what_a_submission_does_not_say_the_definition_says(story: Story) -> None:
    story.definition(
        "full",
        scheduling_priority=5,
        propagate_tags=True,
        tags={"definition": "x"},
        platform_capabilities=["EC2"],
        container_properties=container(user="1000", privileged=True),
    )
    detail = started(story, "A", job_definition="full", tags={"job": "y"})
    assert (detail.user, detail.privileged, detail.image) == ("1000", True, "busybox")
    job = story.details["A"]
    assert (job.scheduling_priority, job.propagate_tags, job.tags) == (5, True, {"job": "y"})
    assert (job.job_definition, job.job_queue) == (ACCOUNT.arn("job-definition/full:1"), ACCOUNT.arn("job-queue/q"))
    assert job.platform_capabilities == ["EC2"]
    started(story, "B", job_definition="full", propagate_tags=False)
    assert story.details["B"].propagate_tags is False


# Which definition, which queue


def test_definitions_are_named_in_four_ways(story: Story) -> None:
    story.definition("work")
    for label, name, revision in (
        ("A", "work", 2),
        ("B", "work:1", 1),
        ("C", ARN, 2),
        ("D", f"{ARN}:1", 1),
    ):
        started(story, label, job_definition=name)
        assert story.jobs[label].definition == f"{ARN}:{revision}"
    started(story, "E", job_queue=ACCOUNT.arn("job-queue/q"))


def test_without_a_revision_the_newest_active_one_is_meant(story: Story) -> None:
    story.definition("work")
    story.definition("work")
    story.tell(DeregisterJobDefinition("work:3"))
    started(story, "A")
    assert story.jobs["A"].definition == f"{ARN}:2"
    text = "JobDefinition name work:3 does not exist or is not in ACTIVE status"
    assert story.refused(submission(job_definition="work:3")) == text
    story.tell(DeregisterJobDefinition("work:1"))
    story.tell(DeregisterJobDefinition("work:2"))
    text = "JobDefinition name work does not exist or is not in ACTIVE status"
    assert story.refused(submission()) == text
    assert story.definition("work") == f"{ARN}:4"


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"job_name": ""}, "Job name should match valid pattern"),
        ({"job_name": "-x"}, "Job name should match valid pattern"),
        ({"job_name": "a b"}, "Job name should match valid pattern"),
        ({"job_name": "é"}, "Job name should match valid pattern"),
        ({"job_name": "x" * 129}, "Job name should match valid pattern"),
        ({"job_name": "x\n"}, "Job name should match valid pattern"),
        ({"job_queue": "nowhere"}, "JobQueue nowhere not found."),
        ({"job_queue": ""}, "JobQueue  not found."),
        ({"job_queue": "arn:aws:batch:mars:1:job-queue/q"}, "JobQueue arn:aws:batch:mars:1:job-queue/q not found."),
        ({"job_definition": "nope"}, "JobDefinition name nope does not exist or is not in ACTIVE status"),
        ({"job_definition": "work:9"}, "JobDefinition name work:9 does not exist or is not in ACTIVE status"),
        ({"job_definition": f"{ARN}:9"}, f"JobDefinition {ARN}:9 not found."),
        (
            {"job_definition": ACCOUNT.arn("job-definition/no")},
            f"JobDefinition {ACCOUNT.arn('job-definition/no')} not found.",
        ),
        (
            {"job_definition": ACCOUNT.arn("job-queue/q")},
            f"Provided name {ACCOUNT.arn('job-queue/q')} is not supported pattern[a-zA-Z_0-9-]{{1,128}}",
        ),
        ({"job_definition": "a b"}, "Provided name a b is not supported pattern[a-zA-Z_0-9-]{1,128}"),
        ({"job_definition": "work:one"}, "Provided name work:one is not supported pattern[a-zA-Z_0-9-]{1,128}"),
        ({"job_definition": "work:²"}, "Provided name work:² is not supported pattern[a-zA-Z_0-9-]{1,128}"),
        ({"job_definition": ""}, "Provided name  is not supported pattern[a-zA-Z_0-9-]{1,128}"),
        (
            {"share_identifier": "a"},
            "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share scheduling"
            " policy.",
        ),
        ({"scheduling_priority_override": 10_000}, "Scheduling priority must be between 0 and 9999, got 10000"),
        (
            {"tags": {"a": "b!"}},
            "Tags can only contain letters, numbers, spaces, and the following special characters: _ . : / = + - @",
        ),
        ({"tags": {"AWS:x": "b"}}, "Tag key 'AWS:x' starts with the reserved prefix aws:"),
        ({"tags": {str(n): "" for n in range(51)}}, "A resource cannot have more than 50 tags, got 51"),
        (
            overrides(environment=pairs(AWS_BATCH_X="1")),
            "Environment variable name AWS_BATCH_X starts with the reserved prefix AWS_BATCH",
        ),
        (
            overrides(resource_requirements=[requirement("VCPU", "0.5")]),
            "Value 0.5 for type VCPU in resourceRequirement is not valid. Please provide a numeric value.",
        ),
        (
            overrides(resource_requirements=[requirement("MEMORY", "3")]),
            "Container resource requirement MEMORY must be a whole number of at least 4, got '3'",
        ),
        (
            overrides(resource_requirements=[requirement("VCPU", "²")]),
            "Value ² for type VCPU in resourceRequirement is not valid. Please provide a numeric value.",
        ),
        (
            overrides(resource_requirements=[requirement("VCPU", "1"), requirement("VCPU", "2")]),
            "Container override names resource requirement VCPU more than once",
        ),
        (overrides(command=["a\0"]), "Container command cannot contain a NUL character"),
        (
            {"node_overrides": shapes.NodeOverrides(num_nodes=2)},
            "nodeOverrides cannot be used with a job definition that has containerProperties",
        ),
        ({"size": 30 * 1024 + 1}, "Job size must be less than 30 KiB, got 31 KiB"),
    ],
)
def test_what_is_refused(story: Story, members: dict[str, Any], text: str) -> None:
    assert story.refused(submission(**members)) == text


def test_a_fargate_job_does_not_go_to_an_ec2_queue(story: Story) -> None:
    story.definition(
        "fargate",
        platform_capabilities=["FARGATE"],
        container_properties=container(
            execution_role_arn="arn:role",
            resource_requirements=[requirement("VCPU", "0.25"), requirement("MEMORY", "512")],
        ),
    )
    text = "Job Queue is attached to Compute Environment that can not run Jobs with capability FARGATE"
    assert story.refused(submission(job_definition="fargate")) == text
