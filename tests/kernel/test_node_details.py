"""What one node of a multi-node parallel job is asked to run, out of the detail of its job."""

from __future__ import annotations

import pytest
from definition_forms import Form, beside, group, in_pod, needs, nodes, pod, register, single, submit, task
from story import Story

from batchyard.kernel.identifiers import split_node
from batchyard.kernel.resources import Resources
from batchyard.kernel.submission.node_details import node_detail, node_group, node_resources
from batchyard.shapes import batch as shapes


def submitted(properties: Form, **members: Form) -> Story:
    """A story with a job of these nodes, `A`."""
    story = Story()
    register(story, nodeProperties=properties)
    submit(story, "A", **members)
    return story


def resources_of_each(story: Story) -> list[Resources]:
    properties = story.details["A"].node_properties
    assert properties is not None
    return [node_resources(node_group(properties, index)) for index in range(properties.num_nodes)]


def test_the_innermost_range_decides() -> None:
    story = submitted(
        nodes(
            4,
            group("0:", container=single(command=["outer"])),
            group("1:2", container=single(command=["inner"], resourceRequirements=needs("3", "64"))),
            main=2,
        )
    )
    details = [node_detail(story.details["A"], index) for index in range(4)]
    assert [detail.container and detail.container.command for detail in details] == [
        ["outer"],
        ["inner"],
        ["inner"],
        ["outer"],
    ]
    assert [detail.node_details and detail.node_details.is_main_node for detail in details] == [
        False,
        False,
        True,
        False,
    ]
    assert [detail.node_details and detail.node_details.node_index for detail in details] == [0, 1, 2, 3]
    assert all(detail.node_properties is None for detail in details)
    assert story.details["A"].node_properties is not None, "the job's own detail stays as it is"
    small, large = Resources(1000, 128), Resources(3000, 64)
    assert resources_of_each(story) == [small, large, large, small]


def test_nodes_together_need_what_their_job_needs() -> None:
    old: Form = {"image": "busybox", "vcpus": 2, "memory": 64}
    override = {"targetNodes": "0", "containerOverrides": {"vcpus": 5}}
    story = submitted(
        nodes(3, group("0", container=old), group("1:", container=single())),
        nodeOverrides={"nodePropertyOverrides": [override]},
    )
    each = resources_of_each(story)
    assert each == [Resources(5000, 64), Resources(1000, 128), Resources(1000, 128)]
    assert each[0] + each[1] + each[2] == story.jobs["A"].resources


def test_nodes_of_several_containers() -> None:
    story = submitted(nodes(2, group(":", ecsProperties=task(beside("a"), beside("b")))))
    detail = node_detail(story.details["A"], 1)
    assert detail.container is None
    assert detail.ecs_properties is not None
    [properties] = detail.ecs_properties.task_properties or ()
    assert [container.name for container in properties.containers or ()] == ["a", "b"]
    assert resources_of_each(story) == [Resources(2000, 256)] * 2


def test_nodes_that_are_pods() -> None:
    story = Story()
    story.environment("cluster")
    story.queue("pods", ["cluster"])
    configuration = shapes.EksConfiguration(eks_cluster_arn="arn", kubernetes_namespace="work")
    story.kernel.state.environments["cluster"].detail.eks_configuration = configuration
    register(story, nodeProperties=nodes(2, group(":", eksProperties=pod(in_pod(cpu="0.5", memory="64Mi")))))
    submit(story, "A", jobQueue="pods")
    detail = node_detail(story.details["A"], 0)
    assert detail.eks_properties is not None
    assert detail.eks_properties.pod_properties is not None
    assert resources_of_each(story) == [Resources(500, 64)] * 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a#0", ("a", 0)),
        ("a#12", ("a", 12)),
        ("a", ("a", None)),
        ("a#", ("a#", None)),
        ("a#01", ("a#01", None)),
        ("a#-1", ("a#-1", None)),
        ("a#1#2", ("a#1#2", None)),
        ("a#²", ("a#²", None)),
    ],
)
def test_ids_of_nodes(text: str, parts: tuple[str, int | None]) -> None:
    assert split_node(text) == parts
