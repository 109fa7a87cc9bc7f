"""Managed compute environments with instances of their own, on a real server: launched, let go, replaced, reclaimed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.utils import IMDSFetcher, InstanceMetadataRegionFetcher
from instance_work import (
    FLEET,
    attempt_log,
    aws_time,
    batchyard,
    desired,
    extension,
    fleet_environment,
    fleet_queue,
    instance_of,
    instances,
    said,
    submit_watcher,
    unmanaged_queue,
)
from response_shapes import watch

from server_process import ServerProcess
from waiting import until
from work import (
    Gate,
    describe,
    ended,
    log_lines,
    new_name,
    new_queue,
    reached,
    register,
    settled_environment,
    submit,
)

Servers = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with instances."""
    server = ServerProcess(tmp_path_factory.mktemp("fleet") / "data", **FLEET)
    server.configure_client = watch
    with server:
        yield server
        assert "Traceback" not in server.log(), server.log()


def test_a_job_runs_on_an_instance_that_is_let_go(server: ServerProcess, batch: Any, gate: Gate) -> None:
    environment, queue = fleet_queue(batch)
    assert (desired(batch, environment), instances(server, environment)) == (0, [])
    job_id = submit(batch, register(batch, gate.script), queue=queue)
    job = reached(batch, job_id, "RUNNING")
    [instance] = instances(server, environment)
    assert instance_of(job) == instance["instanceId"]
    assert (instance["instanceType"], instance["purchase"], instance["state"]) == ("c6i.large", "ON_DEMAND", "running")
    assert (instance["vcpus"], instance["usedVcpus"], instance["jobs"]) == (2, 1.0, [job_id])
    assert instance["usedMemory"] == 16 < instance["memory"] < 4096
    assert desired(batch, environment) == 2
    gate.open()
    assert ended(batch, job_id)["status"] == "SUCCEEDED"
    until(lambda: desired(batch, environment) == 0, "the end of the idle instance")
    assert instances(server, environment) == []
    [gone] = instances(server, environment, "--all")
    assert (gone["instanceId"], gone["state"]) == (instance["instanceId"], "terminated")
    assert gone["reason"] == "Idle: no job needs it"
    hours = (gone["terminatedAt"] - gone["runningAt"]) / 3_600_000
    assert gone["cost"] == pytest.approx(gone["price"] * hours, abs=1e-6)
    assert instance_of(describe(batch, job_id)) == gone["instanceId"]


def test_instances_are_listed_newest_first(server: ServerProcess, batch: Any, gate: Gate) -> None:
    environment, queue = fleet_queue(batch)
    definition = register(batch, gate.script)
    jobs = [submit(batch, definition, queue=queue, containerOverrides=two_vcpus()) for _ in range(2)]
    for job_id in jobs:
        reached(batch, job_id, "RUNNING")
    shown = instances(server, environment)
    assert len(shown) == 2
    assert [each["launchedAt"] for each in shown] == sorted((each["launchedAt"] for each in shown), reverse=True)
    table = said(server, "instances", "--environment", environment).splitlines()
    assert table[0].split()[:5] == ["INSTANCE", "TYPE", "ENVIRONMENT", "PURCHASE", "STATE"]
    assert [line.split()[:7] for line in table[1:]] == [
        [each["instanceId"], "c6i.large", environment, "on-demand", "running", "2/2", f"16/{each['memory']}"]
        for each in shown
    ]
    assert said(server, "instances", "--environment", environment, "--limit", "1").count("i-") == 1
    first = extension(server, "ListInstances", computeEnvironment=environment, maxResults=1)
    second = extension(
        server, "ListInstances", computeEnvironment=environment, maxResults=1, nextToken=first["nextToken"]
    )
    assert [first["instances"][0]["instanceId"], second["instances"][0]["instanceId"]] == [
        each["instanceId"] for each in shown
    ]
    assert "nextToken" not in second
    gate.open()
    for job_id in jobs:
        ended(batch, job_id)
    until(lambda: desired(batch, environment) == 0, "the end of the instances")
    gone = [each["instanceId"] for each in all_pages(server, environment)]
    assert sorted(gone) == sorted(each["instanceId"] for each in shown)


def test_an_environment_that_does_not_exist(server: ServerProcess) -> None:
    done = batchyard(server, "instances", "--environment", "nothing")
    assert (done.returncode, "ComputeEnvironment nothing not found." in done.stderr) == (4, True)
    assert extension(server, "ListInstances", computeEnvironment="nothing", all=True) == {"instances": []}


def test_min_vcpus_and_desired_vcpus_are_kept(server: ServerProcess, batch: Any) -> None:
    environment = fleet_environment(batch, minvCpus=2, desiredvCpus=4)
    until(lambda: desired(batch, environment) == 2, "what is idle beyond minvCpus to go")
    assert len(all_pages(server, environment)) == 2
    [kept] = instances(server, environment)
    batch.update_compute_environment(computeEnvironment=environment, computeResources={"desiredvCpus": 4})
    settled_environment(batch, environment)
    assert len(all_pages(server, environment)) == 3
    assert kept["instanceId"] in {each["instanceId"] for each in instances(server, environment)}
    batch.update_compute_environment(computeEnvironment=environment, computeResources={"minvCpus": 0})
    until(lambda: instances(server, environment) == [], "all of them to go")


def test_min_scale_down_delay_minutes_keep_what_has_worked(server: ServerProcess, batch: Any) -> None:
    environment, queue = fleet_queue(batch, scalingPolicy={"minScaleDownDelayMinutes": 20})
    job_id = submit(batch, register(batch), queue=queue)
    ended(batch, job_id)
    other, other_queue = fleet_queue(batch)
    ended(batch, submit(batch, register(batch), queue=other_queue))
    until(lambda: instances(server, other) == [], "an instance without the delay to go")
    [kept] = instances(server, environment)
    assert kept["state"] == "running"
    batch.update_compute_environment(
        computeEnvironment=environment, computeResources={"scalingPolicy": {"minScaleDownDelayMinutes": 0}}
    )
    until(lambda: instances(server, environment) == [], "the instance to go")


def test_an_infrastructure_update_drains(server: ServerProcess, batch: Any, gate: Gate) -> None:
    environment, queue = fleet_queue(batch)
    definition = register(batch, gate.script)
    old = submit(batch, definition, queue=queue)
    reached(batch, old, "RUNNING")
    batch.update_compute_environment(
        computeEnvironment=environment,
        computeResources={"instanceTypes": ["m6i.large"], "allocationStrategy": "BEST_FIT_PROGRESSIVE"},
        updatePolicy={"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 60},
    )
    [draining] = instances(server, environment)
    assert (draining["state"], draining["reason"]) == ("draining", "Replaced by an infrastructure update")
    assert 59 * 60_000 < draining["deadline"] - draining["launchedAt"] < 61 * 60_000
    new = submit(batch, definition, queue=queue)
    reached(batch, new, "RUNNING")
    types = {each["instanceId"]: each["instanceType"] for each in instances(server, environment)}
    assert types[instance_of(describe(batch, new))] == "m6i.large"
    assert describe(batch, old)["status"] == "RUNNING"
    updating = settled_environment(batch, environment, "UPDATING")
    assert updating["updatePolicy"] == {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 60}
    gate.open()
    assert (ended(batch, old)["status"], ended(batch, new)["status"]) == ("SUCCEEDED", "SUCCEEDED")
    settled_environment(batch, environment)


def test_an_update_may_terminate_jobs(batch: Any, gate: Gate) -> None:
    environment, queue = fleet_queue(batch)
    job_id = submit(batch, register(batch, gate.script), queue=queue)
    instance = instance_of(reached(batch, job_id, "RUNNING"))
    batch.update_compute_environment(
        computeEnvironment=environment,
        computeResources={"instanceTypes": ["m6i.large"]},
        updatePolicy={"terminateJobsOnUpdate": True},
    )
    job = ended(batch, job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", f"Host EC2 (instance {instance}) terminated.")


class TestSpot:
    def test_a_reclaim(self, server: ServerProcess, batch: Any, logs: Any, tmp_path: Path) -> None:
        """The notice reaches the job as SIGTERM and in the metadata; the attempt ends as on AWS, and the next succeeds."""
        begun, gate = tmp_path / "begun", tmp_path / "gate"
        environment, queue = fleet_queue(batch, "SPOT")
        job_id = submit_watcher(batch, queue, begun, gate)
        first = instance_of(reached(batch, job_id, "RUNNING"))
        until(begun.exists, "the job to have begun")
        assert f"{first}  is taken away at " in said(server, "interrupt", first)
        [draining] = instances(server, environment)
        assert (draining["state"], draining["reason"]) == ("draining", "Spot Instance interruption")
        assert draining["deadline"] - draining["interruptedAt"] == 20_000
        gate.touch()
        job = ended(batch, job_id)
        assert job["status"] == "SUCCEEDED"
        lost, last = job["attempts"]
        assert (lost["statusReason"], lost["container"]["exitCode"]) == (
            f"Host EC2 (instance {first}) terminated.",
            143,
        )
        second = instance_of({"container": last["container"]})
        assert second != first
        action = json.dumps({"action": "terminate", "time": aws_time(draining["deadline"])})
        assert attempt_log(logs, lost) == [f"1 {first} spot", "none", "SIGTERM", action]
        assert attempt_log(logs, last) == [f"2 {second} spot"]

    def test_a_server_that_is_killed_during_the_notice(self, new_server: Servers, tmp_path: Path) -> None:
        server = new_server(**FLEET).start()
        batch, logs = server.client("batch"), server.client("logs")
        begun, gate = tmp_path / "begun", tmp_path / "gate"
        environment, queue = fleet_queue(batch, "SPOT")
        job_id = submit_watcher(batch, queue, begun, gate)
        first = instance_of(reached(batch, job_id, "RUNNING"))
        until(begun.exists, "the job to have begun")
        said(server, "interrupt", first)
        [draining] = instances(server, environment)
        server.kill()
        server.start()
        [after] = instances(server, environment)
        assert after == draining | {"cost": after["cost"]}
        said(server, "interrupt", first)
        assert instances(server, environment)[0]["deadline"] == draining["deadline"]
        gate.touch()
        job = ended(batch, job_id)
        assert job["status"] == "SUCCEEDED"
        assert job["attempts"][0]["statusReason"] == f"Host EC2 (instance {first}) terminated."
        action = json.dumps({"action": "terminate", "time": aws_time(draining["deadline"])})
        assert {"SIGTERM", action} <= set(attempt_log(logs, job["attempts"][0]))

    def test_what_ignores_the_notice_is_killed_at_its_end(self, new_server: Servers, tmp_path: Path) -> None:
        server = new_server(**FLEET | {"spot_notice_seconds": 0.5}).start()
        batch = server.client("batch")
        _, queue = fleet_queue(batch, "SPOT")
        begun = tmp_path / "begun"
        definition = register(batch, f"trap '' TERM; touch {begun}; while :; do sleep 0.1; done")
        job_id = submit(batch, definition, queue=queue)
        instance = instance_of(reached(batch, job_id, "RUNNING"))
        until(begun.exists, "the job to have begun")
        said(server, "interrupt", instance)
        job = ended(batch, job_id)
        assert (job["statusReason"], job["container"]["exitCode"]) == (
            f"Host EC2 (instance {instance}) terminated.",
            137,
        )

    def test_an_on_demand_instance_only_by_force(self, server: ServerProcess, batch: Any, gate: Gate) -> None:
        _, queue = fleet_queue(batch)
        job_id = submit(batch, register(batch, gate.script), queue=queue)
        instance = instance_of(reached(batch, job_id, "RUNNING"))
        done = batchyard(server, "interrupt", instance)
        assert (done.returncode, "is an On-Demand Instance" in done.stderr) == (4, True)
        said(server, "interrupt", "--force", instance)
        assert ended(batch, job_id)["statusReason"] == f"Host EC2 (instance {instance}) terminated."

    def test_what_is_not_there(self, server: ServerProcess) -> None:
        done = batchyard(server, "interrupt", "i-00000000000000000")
        assert (done.returncode, "not found" in done.stderr) == (4, True)

    def test_a_task_on_fargate_spot(self, server: ServerProcess, batch: Any, gate: Gate) -> None:
        name = new_name("fargate")
        resources = {"type": "FARGATE_SPOT", "maxvCpus": 4, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
        batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)
        settled_environment(batch, name)
        definition = register(
            batch,
            f"[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || {{ {gate.script}; }}",
            platformCapabilities=["FARGATE"],
            container_executionRoleArn="arn:aws:iam::123456789012:role/execution",
            container_resourceRequirements=[{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}],
        )
        job_id = submit(batch, definition, queue=new_queue(batch, name), retryStrategy={"attempts": 2})
        reached(batch, job_id, "RUNNING")
        assert "is being interrupted" in said(server, "interrupt", job_id)
        job = ended(batch, job_id)
        assert job["status"] == "SUCCEEDED"
        assert job["attempts"][0]["statusReason"] == "Your Spot Task was interrupted."
        on_demand = submit(batch, register(batch, gate.script))
        reached(batch, on_demand, "RUNNING")
        done = batchyard(server, "interrupt", on_demand)
        assert (done.returncode, "does not run on Fargate Spot" in done.stderr) == (4, True)


class TestMetadata:
    """What a job, and the SDK in it, finds at AWS_EC2_METADATA_SERVICE_ENDPOINT."""

    @pytest.fixture
    def address(self, server: ServerProcess, batch: Any, gate: Gate) -> str:
        """Of the metadata of a Spot instance on which a job runs that takes no notice of SIGTERM, as the job sees it."""
        _, queue = fleet_queue(batch, "SPOT")
        script = f"trap '' TERM; echo $AWS_EC2_METADATA_SERVICE_ENDPOINT; {gate.script}"
        job_id = submit(batch, register(batch, script), queue=queue)
        job = reached(batch, job_id, "RUNNING")
        [line] = until(lambda: log_lines(server.client("logs"), job), "the job's log")
        assert line == f"{server.endpoint}/batchyard/metadata/{instance_of(job)}"
        return line

    def test_botocore_s_own_fetcher(self, server: ServerProcess, address: str) -> None:
        fetcher = InstanceMetadataRegionFetcher(base_url=address, env={})
        assert fetcher.retrieve_region() == server.region
        plain = IMDSFetcher(base_url=address, env={})
        token = plain._fetch_metadata_token()
        assert token
        for given in (token, None):
            found = plain._get_request("latest/meta-data/instance-id", None, given).text
            assert found == address.rpartition("/")[2]

    def test_everything_there_is_to_read(self, server: ServerProcess, address: str) -> None:
        def read(path: str) -> str:
            return fetch(f"{address}/{path}")[1]

        assert read("latest/meta-data/") == ("instance-id\ninstance-life-cycle\ninstance-type\nplacement/\nservices/")
        assert read("latest/meta-data/instance-type") == "c6i.large"
        assert read("latest/meta-data/instance-life-cycle") == "spot"
        assert read("2021-07-15/meta-data/placement/region") == server.region
        assert read("latest/meta-data/placement/availability-zone") == f"{server.region}a"
        identity = json.loads(read("latest/dynamic/instance-identity/document"))
        assert (identity["accountId"], identity["instanceType"]) == (server.account_id, "c6i.large")
        for path in ("spot/instance-action", "spot/termination-time", "events/recommendations/rebalance", "iam/info"):
            assert fetch(f"{address}/latest/meta-data/{path}")[0] == 404

    def test_the_notice(self, server: ServerProcess, address: str) -> None:
        instance = address.rpartition("/")[2]
        end = extension(server, "InterruptInstance", instanceId=instance)
        when = aws_time(end["deadline"])
        assert json.loads(fetch(f"{address}/latest/meta-data/spot/instance-action")[1]) == {
            "action": "terminate",
            "time": when,
        }
        assert fetch(f"{address}/latest/meta-data/spot/termination-time")[1] == when
        assert json.loads(fetch(f"{address}/latest/meta-data/events/recommendations/rebalance")[1]) == {
            "noticeTime": aws_time(end["interruptedAt"])
        }

    def test_tokens(self, address: str) -> None:
        header, ttl = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
        url, reading = f"{address}/latest/api/token", f"{address}/latest/meta-data/instance-id"
        for wrong in ({}, {ttl: "0"}, {ttl: "21601"}, {ttl: "x"}):
            assert fetch(url, "PUT", wrong)[0] == 400
        assert fetch(url)[0] == 405
        status, token = fetch(url, "PUT", {ttl: "60"})
        assert status == 200
        assert fetch(reading, headers={header: token})[0] == 200
        assert fetch(reading, headers={header: token[:-1]})[0] == 401
        assert fetch(reading, "PUT", {header: token})[0] == 405

    def test_what_is_not_there(self, address: str) -> None:
        base = address.rpartition("/")[0]
        for path in ("i-0/latest/meta-data/instance-id", "", "i-0", "../../v1/x"):
            assert fetch(f"{base}/{path}")[0] == 404
        assert fetch(f"{address}/v9/meta-data")[0] == 404
        assert fetch(address) == (200, "latest")

    def test_pages_of_others_are_refused(self, address: str) -> None:
        assert fetch(f"{address}/latest/meta-data", headers={"Origin": "http://example.org"})[0] == 403
        assert fetch(f"{address}/latest/meta-data", headers={"Host": "example.org"})[0] == 403

    def test_a_job_that_is_on_no_instance_has_none(self, batch: Any, logs: Any) -> None:
        job = ended(batch, submit(batch, register(batch, "echo =$AWS_EC2_METADATA_SERVICE_ENDPOINT=")))
        assert log_lines(logs, job) == ["=="]


class TestHosts:
    def test_a_host_runs_jobs_until_it_is_removed(self, server: ServerProcess, batch: Any, gate: Gate) -> None:
        environment, queue = unmanaged_queue(batch)
        definition = register(batch, gate.script)
        job_id = submit(batch, definition, queue=queue)
        assert "takes jobs of" in said(server, *add("lab-1", environment))
        running = reached(batch, job_id, "RUNNING")
        [host] = instances(server, environment)
        assert (host["name"], host["purchase"], host["jobs"]) == ("lab-1", "REGISTERED", [job_id])
        assert instance_of(running) == host["instanceId"]
        assert "is draining; 1 job runs on it" in said(server, "hosts", "drain", "lab-1")
        waits = submit(batch, definition, queue=queue)
        assert hosts(server, environment) == [["lab-1", "draining", "1/2", "16/512"]]
        assert "takes jobs again" in said(server, "hosts", "drain", "--undo", "lab-1")
        reached(batch, waits, "RUNNING")
        assert "goes when it is empty; 2 jobs run on it" in said(server, "hosts", "remove", "lab-1")
        gate.open()
        assert [ended(batch, each)["status"] for each in (job_id, waits)] == ["SUCCEEDED", "SUCCEEDED"]
        until(lambda: hosts(server, environment) == [], "the host to go")

    def test_force(self, server: ServerProcess, batch: Any, gate: Gate) -> None:
        environment, queue = unmanaged_queue(batch)
        said(server, *add("lab-2", environment))
        job_id = submit(batch, register(batch, gate.script), queue=queue)
        instance = instance_of(reached(batch, job_id, "RUNNING"))
        said(server, "hosts", "remove", "--force", "lab-2")
        assert ended(batch, job_id)["statusReason"] == f"Host EC2 (instance {instance}) terminated."
        until(lambda: hosts(server, environment) == [], "the host to go")

    def test_the_machine_is_finite(self, server: ServerProcess, batch: Any) -> None:
        environment, _ = unmanaged_queue(batch)
        done = batchyard(server, *add("lab-3", environment, vcpus=100_000))
        assert done.returncode == 4
        assert "Host lab-3 needs 100000 vCPU and 512 MiB, and machine i-" in done.stderr
        assert "See the server's setting overcommit." in done.stderr
        managed = fleet_environment(batch)
        assert (
            f"UNMANAGED compute environments, and {managed} is MANAGED" in batchyard(server, *add("x", managed)).stderr
        )
        assert "Host lab-3 not found." in batchyard(server, "hosts", "remove", "lab-3").stderr
        assert "There are no hosts." in batchyard(server, "hosts", "--environment", environment).stderr

    def test_hosts_and_what_runs_on_them_survive_a_killed_server(self, new_server: Servers, gate: Gate) -> None:
        server = new_server(**FLEET).start()
        batch = server.client("batch")
        environment, queue = unmanaged_queue(batch)
        said(server, *add("lab-1", environment))
        job_id = submit(batch, register(batch, gate.script), queue=queue)
        reached(batch, job_id, "RUNNING")
        before = instances(server, environment)
        server.kill()
        server.start()
        assert instances(server, environment) == before
        gate.open()
        assert (ended(batch, job_id)["status"], len(describe(batch, job_id)["attempts"])) == ("SUCCEEDED", 1)
        assert [each["name"] for each in instances(server, environment)] == ["lab-1"]


def add(name: str, environment: str, vcpus: int = 2) -> list[str]:
    return ["hosts", "add", name, "--environment", environment, "--vcpus", str(vcpus), "--memory", "512"]


def hosts(server: ServerProcess, environment: str) -> list[list[str]]:
    """Name, state, vCPU and memory, as `batchyard hosts` shows them."""
    lines = [line.split() for line in said(server, "hosts", "--environment", environment).splitlines()[1:]]
    return [[line[0], *line[3:6]] for line in lines]


def all_pages(server: ServerProcess, environment: str) -> list[dict[str, Any]]:
    """Every instance that an environment has had, in pages of one."""
    found: list[dict[str, Any]] = []
    request: dict[str, Any] = {"computeEnvironment": environment, "all": True, "maxResults": 1}
    while True:
        answer = extension(server, "ListInstances", **request)
        found += answer["instances"]
        if "nextToken" not in answer:
            return found
        request["nextToken"] = answer["nextToken"]


def fetch(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and text of what is there."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request(method, parts.path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def two_vcpus() -> dict[str, Any]:
    return {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}
