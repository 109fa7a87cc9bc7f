"""`nodeProperties` in a job definition (model `NodeProperties`; User Guide "Multi-node parallel jobs")."""

from __future__ import annotations

import pytest
from definition_forms import Form, group, in_pod, nodes, pod, register, registering, single, task
from story import Story

from batchyard.kernel.definitions.node_ranges import parse_range, range_of_each


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [(":", 0, None), ("0:", 0, None), (":3", 0, 3), ("2:5", 2, 5), ("4:4", 4, 4), ("7", 7, 7), ("03:5", 3, 5)],
)
def test_ranges(text: str, first: int, last: int | None) -> None:
    found = parse_range(text)
    assert (found.first, found.last) == (first, last)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([":"], "0000000"),
        (["0:6", "2:3"], "0011000"),
        (["2:3", "0:6"], "1100111"),
        (["0:", "1:5", "3"], "0112110"),
        (["0", "1:"], "0111111"),
    ],
)
def test_the_innermost_range_decides(ranges: list[str], expected: str) -> None:
    assert range_of_each([parse_range(text) for text in ranges], 7) == [int(digit) for digit in expected]


def test_nodes_come_back_with_what_aws_fills_in(story: Story) -> None:
    sent = nodes(4, group("0", instanceTypes=["p4d.24xlarge"]), group("1:"))
    shown = register(story, nodeProperties=sent)
    assert (shown["type"], shown["containerOrchestrationType"]) == ("multinode", "ECS")
    lists = ("volumes", "environment", "mountPoints", "ulimits", "secrets")
    container = {**single(), **{member: [] for member in lists}}
    assert shown["nodeProperties"] == {
        **sent,
        "nodeRangeProperties": [
            {"targetNodes": "0", "container": container, "instanceTypes": ["p4d.24xlarge"]},
            {"targetNodes": "1:", "container": container},
        ],
    }


def test_nodes_may_be_tasks_or_pods(story: Story) -> None:
    shown = register(story, nodeProperties=nodes(2, group(":", ecsProperties=task())))
    assert shown["containerOrchestrationType"] == "ECS"
    pods = nodes(2, group(":", eksProperties=pod()))
    assert register(story, nodeProperties=pods)["containerOrchestrationType"] == "EKS"
    refused = registering(nodeProperties=pods, platformCapabilities=["EC2"])
    assert story.refused(refused) == "platformCapabilities is not applicable for EKS."


def spaced(namespace: str) -> Form:
    return pod(metadata={"namespace": namespace})


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        (nodes(0), "numNodes must be between 1 and 1000, got 0"),
        (nodes(1001), "numNodes must be between 1 and 1000, got 1001"),
        (nodes(4, main=4), "mainNode must be between 0 and 3, got 4"),
        (nodes(4, main=-1), "mainNode must be between 0 and 3, got -1"),
        ({**nodes(4), "nodeRangeProperties": []}, "nodeProperties must have 1 to 5 nodeRangeProperties, got 0"),
        (
            nodes(6, *(group(str(n)) for n in range(6))),
            "nodeProperties must have 1 to 5 nodeRangeProperties, got 6",
        ),
        *(
            (nodes(4, group(text)), f"targetNodes {text!r} is not a range of nodes such as 0:3, 4: or :")
            for text in ("", "a", "0-3", "0:1:2", "-1:", "²:", " 0:", "0:\n")
        ),
        (nodes(4, group("3:1")), "targetNodes 3:1 ends before it begins"),
        (nodes(4, group("0:4")), "targetNodes 0:4 goes beyond the last of 4 nodes, 3"),
        (nodes(4, group("0:"), group("4:")), "targetNodes 4: goes beyond the last of 4 nodes, 3"),
        (nodes(4, group("0:2")), "Node 3 of 4 nodes is in none of the ranges"),
        (nodes(4, group("0"), group("2:")), "Node 1 of 4 nodes is in none of the ranges"),
        (nodes(4, group("1:")), "Node 0 of 4 nodes is in none of the ranges"),
        (nodes(4, group("0:2"), group("1:3")), "targetNodes 0:2 and 1:3 overlap, and neither lies within the other"),
        (nodes(4, group("0:"), group("0:3")), "targetNodes 0: and 0:3 are the same nodes"),
        (
            nodes(4, group(":", eksProperties=pod(), container=single())),
            "Node range : must have exactly one of container, ecsProperties, eksProperties; got container, eksProperties",
        ),
        (
            nodes(4, {"targetNodes": ":"}),
            "Node range : must have exactly one of container, ecsProperties, eksProperties; got none",
        ),
        (nodes(4, group(":", instanceTypes=["a", "b"])), "Node range : can have only 1 of instanceTypes"),
        (
            nodes(4, group(":2", instanceTypes=["a"]), group("3:", container=single(instanceType="b"))),
            "All node ranges must use the same instance type, got a, b",
        ),
        (
            nodes(4, group(":2"), group("3:", eksProperties=pod())),
            "Node ranges with eksProperties and without cannot be mixed",
        ),
        (
            nodes(4, group(":2", eksProperties=spaced("a")), group("3:", eksProperties=spaced("b"))),
            "All node ranges must use the same namespace",
        ),
        (
            nodes(
                2,
                group(
                    ":",
                    eksProperties=pod(
                        *(in_pod(f"a{n}", image=f"i{n}") for n in range(6)),
                        initContainers=[in_pod(f"b{n}", image=f"j{n}") for n in range(5)],
                    ),
                ),
            ),
            "Node range : can have at most 10 different images, got 11",
        ),
        (
            nodes(4, group(":", container=single(image="a b"))),
            "Container image 'a b' does not match regex [A-Za-z0-9_.:/#@-]{1,255}",
        ),
        (nodes(4, group(":", container=single(resourceRequirements=[]))), "vCPU is not provided."),
        (
            nodes(4, group(":", container=single(networkConfiguration={}))),
            "networkConfiguration not applicable for EC2.",
        ),
        (
            nodes(
                4, group(":", consumableResourceProperties={"consumableResourceList": [{"consumableResource": "l"}]})
            ),
            "Consumable resource l must have a quantity of at least 1, got none",
        ),
    ],
)
def test_what_is_refused(story: Story, properties: Form, text: str) -> None:
    assert story.refused(registering(nodeProperties=properties)) == text


def test_kinds_and_types_that_do_not_go_together(story: Story) -> None:
    text = "nodeProperties is not applicable for Fargate."
    assert story.refused(registering(nodeProperties=nodes(2), platformCapabilities=["FARGATE"])) == text
    text = "Platform capability MANAGED_INSTANCES requires ecsProperties"
    assert story.refused(registering(nodeProperties=nodes(2), platformCapabilities=["MANAGED_INSTANCES"])) == text
    text = (
        "A job definition of type container must have exactly one of containerProperties, ecsProperties, eksProperties;"
    )
    assert story.refused(registering(type="container", nodeProperties=nodes(2))) == f"{text} got nodeProperties"
    text = "A job definition of type multinode must have exactly one of nodeProperties; got containerProperties"
    assert story.refused(registering(type="multinode", containerProperties=single())) == text
