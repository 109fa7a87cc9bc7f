"""SubmitJob for definitions of several containers, of pods and of several nodes: overrides, sizes, platforms, and that such
jobs wait (model `EcsPropertiesOverride`, `EksPropertiesOverride`, `NodeOverrides`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from definition_forms import Form, beside, group, in_pod, needs, nodes, pod, register, single, submit, submitting, task
from story import Story

from batchyard.kernel.records import Kind
from batchyard.kernel.resources import Resources
from batchyard.shapes import batch as shapes

PAIR = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]


def in_task(*containers: Form) -> Form:
    return {"ecsPropertiesOverride": {"taskProperties": [{"containers": list(containers)}]}}


def over_pod(*containers: Form, **members: Any) -> Form:
    return {"eksPropertiesOverride": {"podProperties": {"containers": list(containers), **members}}}


def over_nodes(number: int | None = None, *overrides: Form) -> Form:
    given: Form = {"nodePropertyOverrides": list(overrides)} if overrides else {}
    return {"nodeOverrides": given if number is None else {"numNodes": number, **given}}


@pytest.fixture
def story() -> Iterator[Story]:
    """No engine here runs these jobs: at the end they are ended, and nothing has been ordered."""
    story = Story()
    yield story
    for job in [*story.kernel.state.jobs.values()]:
        story.terminate(job.name)
    story.over()


@pytest.fixture
def several(story: Story) -> Story:
    """A queue with a job definition of two containers, `new`."""
    register(
        story,
        parameters={"who": "you"},
        ecsProperties=task(
            beside("main", command=["echo", "Ref::who"], environment=PAIR),
            beside("side", essential=False, command=["Ref::what"], resourceRequirements=needs("2", "256")),
        ),
    )
    return story


@pytest.fixture
def pods(story: Story) -> Story:
    """A queue `pods` on Amazon EKS. As yet no cluster can be connected, so its environment is made out of another."""
    story.environment("cluster")
    story.queue("pods", ["cluster"])
    cluster = "arn:aws:eks:eu-west-1:123456789012:cluster/c"
    configuration = shapes.EksConfiguration(eks_cluster_arn=cluster, kubernetes_namespace="work")
    story.kernel.state.environments["cluster"].detail.eks_configuration = configuration
    return story


# Several containers


def test_overrides_are_matched_by_the_name_of_the_container(several: Story) -> None:
    shown = submit(
        several,
        "A",
        parameters={"what": "go"},
        **in_task(
            {"name": "side", "command": ["Ref::who", "x"], "resourceRequirements": needs("1")[:1]},
            {"name": "main", "environment": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
        ),
    )
    assert "container" not in shown
    [detail] = shown["ecsProperties"]["taskProperties"]
    main, side = detail["containers"]
    assert main["command"] == ["echo", "you"]
    assert main["environment"] == [PAIR[0], {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]
    assert (main["essential"], side["essential"]) == (True, False)
    assert side["command"] == ["you", "x"]
    assert side["resourceRequirements"] == needs("1", "256")
    assert several.jobs["A"].resources == Resources(2000, 384)


def test_a_job_of_several_containers_waits_and_says_why(several: Story) -> None:
    submit(several, "A", parameters={"what": "x"})
    assert several.jobs["A"].kind is Kind.ECS
    assert several.status("A") == "RUNNABLE"
    assert "ecsProperties" in several.why("A").text
    several.submit("B")
    several.ordered("start B#1")
    several.run("B")
    several.terminate("A")
    assert several.status("A") == "FAILED"


def test_a_single_container_without_a_name_is_meant_without_one(story: Story) -> None:
    container = beside("x")
    del container["name"]
    register(story, ecsProperties=task(container))
    shown = submit(story, "A", **in_task({"command": ["x"]}))
    assert shown["ecsProperties"]["taskProperties"][0]["containers"][0]["command"] == ["x"]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "Unable to substitute value. No parameter found for reference what"),
        (
            in_task({"name": "other"}),
            "ecsPropertiesOverride names container 'other', which the job definition does not have",
        ),
        (
            in_task({"command": ["x"]}),
            "ecsPropertiesOverride names container '', which the job definition does not have",
        ),
        (in_task({"name": "side"}, {"name": "side"}), "ecsPropertiesOverride names container side more than once"),
        (
            in_task({"name": "side", "command": ["x", ""]}),
            "Container override command cannot contain an empty string",
        ),
        (
            in_task({"name": "side", "command": ["x"], "environment": [{"name": "AWS_BATCH_X", "value": ""}]}),
            "Environment variable name AWS_BATCH_X starts with the reserved prefix AWS_BATCH",
        ),
        (
            in_task({"name": "side", "command": ["x"], "resourceRequirements": needs("0")[:1]}),
            "Container resource requirement VCPU must be a whole number of at least 1, got '0'",
        ),
        (
            {"ecsPropertiesOverride": {"taskProperties": [{}, {}]}},
            "ecsPropertiesOverride can have only 1 of taskProperties, got 2",
        ),
        (
            {"containerOverrides": {"command": ["x"]}},
            "containerOverrides cannot be used with a job definition that has ecsProperties",
        ),
        (
            {"eksPropertiesOverride": {"podProperties": {}}},
            "eksPropertiesOverride cannot be used with a job definition that has ecsProperties",
        ),
        (
            {"consumableResourcePropertiesOverride": {"consumableResourceList": [{"consumableResource": "a"}]}},
            "Consumable resource a must have a quantity of at least 1, got none",
        ),
    ],
)
def test_what_is_refused_for_a_task(several: Story, members: Form, text: str) -> None:
    assert several.refused(submitting(**members)) == text


def test_empty_overrides_of_another_kind_are_let_pass(several: Story) -> None:
    assert submit(several, "A", parameters={"what": "x"}, containerOverrides={}, nodeOverrides={})


def test_on_fargate_the_overridden_sum_must_be_a_size(story: Story) -> None:
    story.definition("fargate")
    register(
        story,
        platformCapabilities=["FARGATE"],
        ecsProperties=task(beside("a", resourceRequirements=needs("0.25", "512")), executionRoleArn="arn:role"),
    )
    assert "can not run Jobs with capability FARGATE" in story.refused(submitting())


# Pods


def test_overrides_of_a_pod(pods: Story) -> None:
    register(
        pods,
        eksProperties=pod(
            in_pod("main", env=PAIR, command=["a"], args=["b"]),
            in_pod("other"),
            initContainers=[in_pod("first", cpu="4")],
            metadata={"labels": {"a": "1", "b": "2"}, "namespace": "work"},
        ),
    )
    shown = submit(
        pods,
        "A",
        jobQueue="pods",
        **over_pod(
            {
                "name": "main",
                "image": "alpine",
                "args": ["Ref::x", "$(A)"],
                "env": [{"name": "B", "value": "3"}],
                "resources": {"requests": {"memory": "256Mi"}},
            },
            initContainers=[{"name": "first", "command": ["z"]}],
            metadata={"labels": {"b": "3"}, "annotations": {"c": "4"}},
        ),
    )
    properties = shown["eksProperties"]["podProperties"]
    main, other = properties["containers"]
    assert (main["image"], main["command"], main["args"]) == ("alpine", ["a"], ["Ref::x", "$(A)"])
    assert main["env"] == [PAIR[0], {"name": "B", "value": "3"}]
    assert main["resources"] == {"limits": {"cpu": "1"}, "requests": {"memory": "256Mi"}}
    assert other["image"] == "busybox"
    assert properties["initContainers"][0]["command"] == ["z"]
    assert properties["metadata"] == {
        "labels": {"a": "1", "b": "3"},
        "annotations": {"c": "4"},
        "namespace": "work",
    }
    assert shown["platformCapabilities"] == []
    assert pods.jobs["A"].resources == Resources(4000, 384)
    assert pods.jobs["A"].kind is Kind.EKS
    assert "eksProperties" in pods.why("A").text


def test_a_container_of_a_pod_that_is_alone_is_called_default(pods: Story) -> None:
    register(pods, eksProperties=pod())
    shown = submit(pods, "A", jobQueue="pods", **over_pod({"command": ["x"]}))
    [container] = shown["eksProperties"]["podProperties"]["containers"]
    assert (container["name"], container["command"]) == ("Default", ["x"])
    assert submit(pods, "B", jobQueue="pods", **over_pod({"name": "Default", "args": ["y"]}))


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            over_pod({"name": "x"}),
            "eksPropertiesOverride containers names container 'x', which the job definition does not have",
        ),
        (
            over_pod({"resources": {"limits": {"cpu": "0.1"}}}),
            "Resource cpu must be a multiple of 0.25, got '0.1'",
        ),
        (over_pod({"image": "a b"}), "Container image 'a b' does not match regex [A-Za-z0-9_.:/#@-]{1,255}"),
        (
            over_pod({"env": [{"name": "AWS_BATCH_X"}]}),
            "Environment variable name AWS_BATCH_X starts with the reserved prefix AWS_BATCH",
        ),
        (over_pod(metadata={"namespace": "kube"}), "Namespace kube cannot be used: it is default or starts with kube"),
        (
            {"containerOverrides": {"command": ["x"]}},
            "containerOverrides cannot be used with a job definition that has eksProperties",
        ),
    ],
)
def test_what_is_refused_for_a_pod(pods: Story, members: Form, text: str) -> None:
    register(pods, eksProperties=pod())
    assert pods.refused(submitting(jobQueue="pods", **members)) == text


def test_pods_go_to_queues_on_eks_and_nothing_else_does(pods: Story) -> None:
    register(pods, eksProperties=pod())
    text = "Job Queue is attached to Compute Environment that can not run Jobs with capability "
    assert pods.refused(submitting(jobQueue="q")) == f"{text}EKS"
    assert pods.refused(submitting("work", jobQueue="pods")) == f"{text}EC2"
    register(pods, "pods-nodes", nodeProperties=nodes(2, group(":", eksProperties=pod())))
    assert pods.refused(submitting("pods-nodes")) == f"{text}EKS"
    assert submit(pods, "A", "pods-nodes", jobQueue="pods")


# Several nodes


@pytest.fixture
def gang(story: Story) -> Story:
    """A queue with a job definition of four nodes, `new`: a main node, and open-ended others."""
    register(
        story,
        nodeProperties=nodes(
            4,
            group("0", container=single(command=["main", "Ref::x"], environment=PAIR)),
            group("1:", container=single(resourceRequirements=needs("2", "256"), instanceType="a")),
        ),
        parameters={"x": "y"},
    )
    return story


def ranges(shown: Form) -> list[Form]:
    return [each["container"] for each in shown["nodeProperties"]["nodeRangeProperties"]]


def test_nodes_as_the_definition_has_them(gang: Story) -> None:
    shown = submit(gang, "A")
    assert "container" not in shown
    assert (shown["nodeProperties"]["numNodes"], shown["nodeProperties"]["mainNode"]) == (4, 0)
    assert ranges(shown)[0]["command"] == ["main", "y"]
    assert gang.jobs["A"].resources == Resources(7000, 128 + 3 * 256)
    assert gang.jobs["A"].kind is Kind.MULTI_NODE
    assert gang.status("A") == "RUNNABLE"
    assert "nodeProperties" in gang.why("A").text


def test_the_number_of_nodes_may_change(gang: Story) -> None:
    shown = submit(gang, "A", **over_nodes(10))
    assert shown["nodeProperties"]["numNodes"] == 10
    assert gang.jobs["A"].resources == Resources(19000, 128 + 9 * 256)
    submit(gang, "B", **over_nodes(2))
    assert gang.jobs["B"].resources == Resources(3000, 128 + 256)


def test_overrides_by_range(gang: Story) -> None:
    overrides = {"command": ["z"], "environment": [{"name": "A", "value": "9"}], "resourceRequirements": needs("4")[:1]}
    licence = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}
    shown = submit(
        gang,
        "A",
        **over_nodes(
            None,
            {"targetNodes": "0:0", "containerOverrides": overrides, "consumableResourcePropertiesOverride": licence},
            {"targetNodes": "1:", "instanceTypes": ["b"]},
        ),
    )
    main, others = ranges(shown)
    assert main["command"] == ["z"]
    assert main["environment"] == [{"name": "A", "value": "9"}, PAIR[1]]
    assert main["resourceRequirements"] == needs("4")
    assert others["instanceType"] == "b"
    first, second = shown["nodeProperties"]["nodeRangeProperties"]
    assert (first["consumableResourceProperties"], second["instanceTypes"]) == (licence, ["b"])
    assert gang.jobs["A"].resources == Resources(10000, 128 + 3 * 256)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (over_nodes(1), "numNodes 1 cannot be used: node range 1: of the job definition begins at 1"),
        (over_nodes(0), "numNodes must be between 1 and 1000, got 0"),
        (over_nodes(1001), "numNodes must be between 1 and 1000, got 1001"),
        (
            over_nodes(None, {"targetNodes": "0:1"}),
            "NodeOverride targets should match job definition. Non matching targets - 0:1",
        ),
        (over_nodes(None, {"targetNodes": "x"}), "targetNodes 'x' is not a range of nodes such as 0:3, 4: or :"),
        (
            over_nodes(None, {"targetNodes": "1:"}, {"targetNodes": "1:"}),
            "nodeOverrides names targetNodes 1: more than once",
        ),
        (
            over_nodes(None, {"targetNodes": "1:", "instanceTypes": ["a", "b"]}),
            "nodeOverrides for 1: can have only 1 of instanceTypes",
        ),
        (
            over_nodes(None, {"targetNodes": "0", "instanceTypes": ["b"]}),
            "All node ranges must use the same instance type, got a, b",
        ),
        (
            over_nodes(None, {"targetNodes": "0", "eksPropertiesOverride": {"podProperties": {}}}),
            "eksPropertiesOverride cannot be used with a job definition that has container",
        ),
        (
            {"containerOverrides": {"command": ["x"]}},
            "containerOverrides cannot be used with a job definition that has nodeProperties",
        ),
        (
            {"arrayProperties": {"size": 2}},
            "arrayProperties cannot be used with a job definition that has nodeProperties",
        ),
    ],
)
def test_what_is_refused_for_nodes(gang: Story, members: Form, text: str) -> None:
    assert gang.refused(submitting(**members)) == text


def test_closed_ranges_keep_their_number_of_nodes(story: Story) -> None:
    register(story, nodeProperties=nodes(4, group("0:3")))
    text = "numNodes can only be overridden when a node range of the job definition has an open upper boundary, such as : or n:"
    assert story.refused(submitting(**over_nodes(5))) == text
    assert submit(story, "A", **over_nodes(4))
    register(story, "main", nodeProperties=nodes(4, main=3))
    assert story.refused(submitting("main", **over_nodes(3))) == "mainNode must be between 0 and 2, got 3"
    register(story, "gap", nodeProperties=nodes(4, group("0:1"), group("2:")))
    assert story.refused(submitting("gap", **over_nodes(2))).startswith("numNodes 2 cannot be used: node range 2:")


def test_a_nested_range_may_outgrow_the_one_around_it(story: Story) -> None:
    inner = group("1:", container=single(resourceRequirements=needs("2")))
    register(story, nodeProperties=nodes(4, group("0:3"), inner))
    submit(story, "A", **over_nodes(6))
    assert story.jobs["A"].resources.milli_vcpus == 1000 + 5 * 2000


def test_nodes_of_tasks_and_nested_ranges(story: Story) -> None:
    register(
        story,
        nodeProperties=nodes(
            6,
            group("0:", ecsProperties=task(beside("a"), beside("b"))),
            group("2:3", ecsProperties=task(beside("a", resourceRequirements=needs("8")))),
        ),
    )
    override = {"taskProperties": [{"containers": [{"name": "b", "command": ["x"]}]}]}
    shown = submit(story, "A", **over_nodes(None, {"targetNodes": "0:", "ecsPropertiesOverride": override}))
    outer = shown["nodeProperties"]["nodeRangeProperties"][0]["ecsProperties"]["taskProperties"][0]
    assert outer["containers"][1]["command"] == ["x"]
    assert story.jobs["A"].resources == Resources(4 * 2000 + 2 * 8000, 4 * 256 + 2 * 128)


# A single container


def test_deprecated_keys_on_fargate(story: Story) -> None:
    register(
        story,
        platformCapabilities=["EC2", "FARGATE"],
        containerProperties=single(resourceRequirements=needs("1", "2048"), executionRoleArn="arn:role"),
    )
    text = "vcpus is not applicable for Fargate. Use resource requirements instead."
    assert story.refused(submitting(containerOverrides={"vcpus": 2})) == text
    text = "Fargate resource requirements (1.00 vCPU, 1024 MiB) not valid."
    smaller = {"resourceRequirements": [{"type": "MEMORY", "value": "1024"}]}
    assert story.refused(submitting(containerOverrides=smaller)) == text


def test_a_command_with_an_empty_string(story: Story) -> None:
    text = "Container override command cannot contain an empty string"
    assert story.refused(submitting("work", containerOverrides={"command": ["sh", ""]})) == text


def test_consumable_resources_are_replaced(story: Story) -> None:
    def asking(name: str) -> Form:
        return {"consumableResourceList": [{"consumableResource": name, "quantity": 1}]}

    register(story, ecsProperties=task(), consumableResourceProperties=asking("a"))
    assert submit(story, "A")["consumableResourceProperties"] == asking("a")
    shown = submit(story, "B", consumableResourcePropertiesOverride=asking("b"))
    assert shown["consumableResourceProperties"] == asking("b")
