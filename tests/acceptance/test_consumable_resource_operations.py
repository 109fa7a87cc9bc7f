"""Consumable resources through boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server_process import ServerProcess
from work import (
    UNKNOWN_JOB,
    Gate,
    describe,
    ended,
    new_environment,
    new_name,
    new_queue,
    reached,
    refused,
    register,
    submit,
)


def new_resource(batch: Any, total: int, **more: Any) -> str:
    name = new_name("resource")
    batch.create_consumable_resource(consumableResourceName=name, totalQuantity=total, **more)
    return name


def needs(**quantities: int) -> dict[str, Any]:
    """The member of a submission that asks for these resources (`_` stands for `-`)."""
    entries = [{"consumableResource": name.replace("_", "-"), "quantity": n} for name, n in quantities.items()]
    return {"consumableResourcePropertiesOverride": {"consumableResourceList": entries}}


def needing(name: str, quantity: int) -> dict[str, Any]:
    return needs(**{name: quantity})


def figures(batch: Any, name: str) -> tuple[int, int, int]:
    found = batch.describe_consumable_resource(consumableResource=name)
    return found["totalQuantity"], found["inUseQuantity"], found["availableQuantity"]


def test_a_life(server: ServerProcess, batch: Any) -> None:
    name = new_name("licence")
    arn = server.arn(f"consumable-resource/{name}")
    answer = batch.create_consumable_resource(consumableResourceName=name, totalQuantity=4, tags={"a": "b"})
    assert (answer["consumableResourceName"], answer["consumableResourceArn"]) == (name, arn)
    found = batch.describe_consumable_resource(consumableResource=arn)
    assert found["resourceType"] == "REPLENISHABLE"
    assert found["tags"] == {"a": "b"}
    assert found["createdAt"] > 1_700_000_000_000
    assert figures(batch, name) == (4, 0, 4)

    batch.tag_resource(resourceArn=arn, tags={"c": "d"})
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b", "c": "d"}
    assert batch.update_consumable_resource(consumableResource=name, operation="ADD", quantity=3)["totalQuantity"] == 7
    for _ in range(2):
        answer = batch.update_consumable_resource(
            consumableResource=arn, operation="REMOVE", quantity=2, clientToken="once"
        )
        assert answer["totalQuantity"] == 5

    batch.delete_consumable_resource(consumableResource=arn)
    batch.delete_consumable_resource(consumableResource=arn)
    text = refused(batch.describe_consumable_resource, consumableResource=name)
    assert text == f"ConsumableResource {name} not found."


def test_a_job_waits_for_its_resources_and_holds_up_nobody_else(batch: Any, gate: Gate) -> None:
    name = new_resource(batch, 1)
    definition = register(batch, gate.script)
    first = submit(batch, definition, **needing(name, 1))
    reached(batch, first, "RUNNING")
    assert figures(batch, name) == (1, 1, 0)
    second = submit(batch, definition, **needing(name, 1))
    ended(batch, submit(batch, register(batch)))
    assert describe(batch, second)["status"] == "RUNNABLE"
    assert describe(batch, second)["consumableResourceProperties"]["consumableResourceList"] == [
        {"consumableResource": name, "quantity": 1}
    ]
    gate.open()
    assert ended(batch, second)["status"] == "SUCCEEDED"
    assert figures(batch, name) == (1, 0, 1)


def test_an_array_takes_for_each_child(batch: Any) -> None:
    name = new_resource(batch, 3, resourceType="NON_REPLENISHABLE")
    properties = {"consumableResourceList": [{"consumableResource": name, "quantity": 1}]}
    definition = register(batch, consumableResourceProperties=properties)
    array = submit(batch, definition, arrayProperties={"size": 4})
    reached(batch, f"{array}:2", "SUCCEEDED")
    assert figures(batch, name) == (0, 0, 0)
    assert describe(batch, f"{array}:3")["status"] == "RUNNABLE"
    batch.update_consumable_resource(consumableResource=name, operation="SET", quantity=1)
    assert ended(batch, array)["status"] == "SUCCEEDED"


def test_listing_resources(server: ServerProcess, batch: Any) -> None:
    stem = new_name("Listed")
    names = [f"{stem}-{letter}" for letter in "abcde"]
    for name in names:
        batch.create_consumable_resource(consumableResourceName=name, totalQuantity=2)
    ours = [{"name": "CONSUMABLE_RESOURCE_NAME", "values": [f"{stem.upper()}-*"]}]
    first = batch.list_consumable_resources(filters=ours, maxResults=2)
    assert [entry["consumableResourceName"] for entry in first["consumableResources"]] == names[:2]
    assert first["consumableResources"][0] == {
        "consumableResourceName": names[0],
        "consumableResourceArn": server.arn(f"consumable-resource/{names[0]}"),
        "totalQuantity": 2,
        "inUseQuantity": 0,
        "resourceType": "REPLENISHABLE",
    }
    batch.delete_consumable_resource(consumableResource=names[1])
    batch.delete_consumable_resource(consumableResource=names[3])
    rest = batch.list_consumable_resources(filters=ours, nextToken=first["nextToken"])
    assert [entry["consumableResourceName"] for entry in rest["consumableResources"]] == [names[2], names[4]]
    assert "nextToken" not in rest
    exact = [{"name": "CONSUMABLE_RESOURCE_NAME", "values": [names[0].lower(), names[2]]}]
    found = batch.list_consumable_resources(filters=exact)["consumableResources"]
    assert [entry["consumableResourceName"] for entry in found] == [names[0], names[2]]
    paginator = batch.get_paginator("list_consumable_resources")
    pages = paginator.paginate(filters=ours, PaginationConfig={"PageSize": 1})
    assert [entry["consumableResourceName"] for page in pages for entry in page["consumableResources"]] == [
        names[0],
        names[2],
        names[4],
    ]
    assert "nextToken is not valid" in refused(batch.list_consumable_resources, nextToken=first["nextToken"])
    other = [{"name": "JOB_NAME", "values": ["x"]}]
    assert "Filter JOB_NAME is not one of" in refused(batch.list_consumable_resources, filters=other)


def test_listing_the_jobs_of_a_resource(server: ServerProcess, batch: Any, gate: Gate) -> None:
    name = new_resource(batch, 2)
    definition = register(batch, gate.script)
    queue = new_queue(batch, new_environment(batch))
    members: dict[str, Any] = {"queue": queue, **needing(name, 2)}
    running = submit(batch, definition, name="First-job", **members)
    reached(batch, running, "RUNNING")
    waiting = submit(batch, definition, name="second-job", **members)
    array = submit(batch, definition, name="third", arrayProperties={"size": 2}, **members)
    submit(batch, definition, queue=queue)

    def listed(**request: Any) -> list[str]:
        paginator = batch.get_paginator("list_jobs_by_consumable_resource")
        pages = paginator.paginate(consumableResource=name, PaginationConfig={"PageSize": 1}, **request)
        return [job["jobArn"].rpartition("/")[2] for page in pages for job in page["jobs"]]

    assert listed() == [array, waiting, running]
    assert listed(filters=[{"name": "JOB_STATUS", "values": ["RUNNABLE"]}]) == [waiting]
    assert listed(filters=[{"name": "JOB_STATUS", "values": ["RUNNING", "RUNNABLE"]}]) == [waiting, running]
    assert listed(filters=[{"name": "JOB_NAME", "values": ["FIRST-*"]}]) == [running]
    assert listed(filters=[{"name": "JOB_NAME", "values": ["THIRD", "second-job"]}]) == [array, waiting]
    both = [{"name": "JOB_NAME", "values": ["*"]}, {"name": "JOB_STATUS", "values": ["RUNNING"]}]
    assert listed(filters=both) == [running]
    page = batch.list_jobs_by_consumable_resource(consumableResource=name, maxResults=2)
    assert len(page["jobs"]) == 2
    [first] = batch.list_jobs_by_consumable_resource(consumableResource=name, nextToken=page["nextToken"])["jobs"]
    assert first["startedAt"] >= first.pop("createdAt")
    del first["startedAt"]
    assert first == {
        "jobArn": server.arn(f"job/{running}"),
        "jobQueueArn": server.arn(f"job-queue/{queue}"),
        "jobName": "First-job",
        "jobDefinitionArn": definition,
        "jobStatus": "RUNNING",
        "quantity": 2,
        "consumableResourceProperties": {"consumableResourceList": [{"consumableResource": name, "quantity": 2}]},
    }
    bad = [{"name": "JOB_STATUS", "values": ["DONE"]}]
    text = refused(batch.list_jobs_by_consumable_resource, consumableResource=name, filters=bad)
    assert "Filter JOB_STATUS must be one of SUBMITTED, PENDING" in text
    gate.open()
    ended(batch, array)


def test_refusals(batch: Any) -> None:
    name = new_resource(batch, 1)
    assert refused(batch.create_consumable_resource, consumableResourceName=name) == "Object already exists"
    unknown = f"ConsumableResource {UNKNOWN_JOB} not found."
    for operation in (
        batch.describe_consumable_resource,
        batch.update_consumable_resource,
        batch.list_jobs_by_consumable_resource,
    ):
        assert refused(operation, consumableResource=UNKNOWN_JOB) == unknown
    text = refused(
        batch.update_consumable_resource, consumableResource=name, operation="REMOVE", quantity=2, clientToken="t"
    )
    assert f"Cannot remove 2 from consumable resource {name}: its total quantity is 1" in text
    text = refused(
        batch.submit_job, jobName="j", jobQueue="default", jobDefinition=register(batch), **needing(name, -1)
    )
    assert f"Consumable resource {name} must have a quantity of at least 1, got -1" in text


def test_a_restart_changes_nothing(new_server: Callable[..., ServerProcess], gate: Gate) -> None:
    server = new_server()
    server.start()
    batch = server.client("batch")
    name = new_resource(batch, 2)
    batch.update_consumable_resource(consumableResource=name, operation="ADD", quantity=1, clientToken="token")
    definition = register(batch, gate.script)
    running = submit(batch, definition, **needing(name, 2))
    reached(batch, running, "RUNNING")
    waiting = submit(batch, definition, **needing(name, 2))
    server.kill()
    server.start()
    batch = server.client("batch")
    batch.update_consumable_resource(consumableResource=name, operation="ADD", quantity=1, clientToken="token")
    assert figures(batch, name) == (3, 2, 1)
    assert describe(batch, waiting)["status"] == "RUNNABLE"
    gate.open()
    assert ended(batch, waiting)["status"] == "SUCCEEDED"
    assert figures(batch, name) == (3, 0, 3)
