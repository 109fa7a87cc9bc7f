"""Instances and hosts with jobs in containers of a real Docker Engine, on the host's network so that they reach the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dockerd import docker_daemon
from instance_work import (
    FLEET,
    attempt_log,
    aws_time,
    desired,
    extension,
    fleet_queue,
    instance_of,
    instances,
    said,
    submit_watcher,
    unmanaged_queue,
)

from server_process import ServerProcess
from waiting import until
from work import Gate, ended, log_lines, new_queue, reached, register, submit

pytestmark = pytest.mark.docker

IMAGE = "bb:1"


@pytest.fixture(scope="module")
def docker_url() -> Iterator[str]:
    with docker_daemon() as daemon:
        yield daemon.url


@pytest.fixture(scope="module")
def server(docker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with instances, whose containers are on the host's network."""
    folder = tmp_path_factory.mktemp("docker-fleet") / "data"
    settings = FLEET | {"runtime": "docker", "docker_host": docker_url, "docker_network": "host"}
    with ServerProcess(folder, **settings) as server:
        yield server
        assert "Traceback" not in server.log(), server.log()


def shared(folder: Path) -> dict[str, Any]:
    """Container properties of a container that sees a folder of the host under its own name."""
    volumes = [{"name": "shared", "host": {"sourcePath": str(folder)}}]
    mounts = [{"sourceVolume": "shared", "containerPath": str(folder)}]
    return {"container_image": IMAGE, "container_volumes": volumes, "container_mountPoints": mounts}


@pytest.mark.parametrize("killed", [False, True])
def test_a_reclaim(server: ServerProcess, tmp_path: Path, killed: bool) -> None:
    batch, logs = server.client("batch"), server.client("logs")
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    environment, queue = fleet_queue(batch, "SPOT")
    job_id = submit_watcher(batch, queue, begun, gate, **shared(tmp_path))
    first = instance_of(reached(batch, job_id, "RUNNING"))
    until(begun.exists, "the job to have begun")
    said(server, "interrupt", first)
    [draining] = instances(server, environment)
    if killed:
        server.kill()
        server.start()
    action = json.dumps({"action": "terminate", "time": aws_time(draining["deadline"])})
    gate.touch()
    job = ended(batch, job_id)
    assert job["status"] == "SUCCEEDED"
    lost, last = job["attempts"]
    assert (lost["statusReason"], lost["container"]["exitCode"]) == (f"Host EC2 (instance {first}) terminated.", 143)
    lines = attempt_log(logs, lost)
    assert lines[:2] == [f"1 {first} spot", "none"]
    assert set(lines[2:]) == {"SIGTERM", action}
    second = instance_of({"container": last["container"]})
    assert (second != first, attempt_log(logs, last)) == (True, [f"2 {second} spot"])
    until(lambda: desired(batch, environment) == 0, "the instance to be let go")


def test_a_host(server: ServerProcess, tmp_path: Path) -> None:
    batch = server.client("batch")
    gate = Gate(tmp_path / "gate")
    environment, queue = unmanaged_queue(batch)
    said(server, "hosts", "add", "lab-1", "--environment", environment, "--vcpus", "2", "--memory", "512")
    job_id = submit(batch, register(batch, gate.script, **shared(tmp_path)), queue=queue)
    instance = instance_of(reached(batch, job_id, "RUNNING"))
    said(server, "hosts", "remove", "--force", "lab-1")
    assert ended(batch, job_id)["statusReason"] == f"Host EC2 (instance {instance}) terminated."
    until(lambda: instances(server, environment) == [], "the host to go")


def test_on_a_bridge_jobs_are_not_told_of_metadata(docker_url: str, tmp_path: Path) -> None:
    settings = FLEET | {"runtime": "docker", "docker_host": docker_url}
    with ServerProcess(tmp_path / "data", **settings) as server:
        batch = server.client("batch")
        _, queue = fleet_queue(batch)
        script = "echo =$AWS_EC2_METADATA_SERVICE_ENDPOINT="
        job = ended(batch, submit(batch, register(batch, script, container_image=IMAGE), queue=queue))
        assert log_lines(server.client("logs"), job) == ["=="]


def test_another_runtime_finds_the_instances_of_the_first_gone(docker_url: str, tmp_path: Path) -> None:
    """Their containers are not its own: what ran there is lost, and never begun a second time."""
    settings = FLEET | {"runtime": "docker", "docker_host": docker_url}
    gate = Gate(tmp_path / "gate")
    with ServerProcess(tmp_path / "data", **settings) as server:
        batch = server.client("batch")
        environment, queue = fleet_queue(batch)
        definition = register(batch, gate.script, **shared(tmp_path))
        job_id = submit(batch, definition, queue=queue)
        instance = instance_of(reached(batch, job_id, "RUNNING"))
        server.stop()
        server.settings["runtime"] = "process"
        server.start()
        assert ended(batch, job_id)["statusReason"] == f"Host EC2 (instance {instance}) terminated."
        [gone] = extension(server, "ListInstances", computeEnvironment=environment, all=True)["instances"]
        assert (gone["instanceId"], gone["reason"]) == (instance, "Its machine is gone")
        gate.open()
        other = submit(batch, register(batch), queue=new_queue(batch, environment))
        assert ended(batch, other)["status"] == "SUCCEEDED"
