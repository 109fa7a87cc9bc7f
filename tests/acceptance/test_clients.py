"""What real clients rely on, by the rule behind it: the calls of Metaflow, Nextflow, Snakemake, redun, miniwdl, Luigi,
Airflow, covalent and the awsb* commands, in the order and with the arguments that they send."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from server_process import ServerProcess
from waiting import until
from work import Gate, container, describe, ended, log_lines, new_name, reached, register, run, submit


def asked(server: ServerProcess, program: str, **environment: str) -> str:
    """What a boto3 program prints that knows of the server by its environment alone."""
    variables = dict(server.client_environment(**environment))
    if environment:
        del variables["AWS_ENDPOINT_URL"]
    ran = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


class TestPoint1Endpoints:
    def test_one_variable_for_all(self, server: ServerProcess) -> None:
        program = (
            "import boto3; print(boto3.client('batch').describe_job_queues()['jobQueues'][0]['status'],"
            " boto3.client('sts').get_caller_identity()['Account'],"
            " 'logGroups' in boto3.client('logs').describe_log_groups())"
        )
        assert asked(server, program) == f"VALID {server.account_id} True"

    def test_a_variable_for_each_service(self, server: ServerProcess) -> None:
        program = (
            "import boto3; print('jobQueues' in boto3.client('batch').describe_job_queues(),"
            " 'logGroups' in boto3.client('logs').describe_log_groups())"
        )
        endpoint = server.endpoint
        answer = asked(server, program, AWS_ENDPOINT_URL_BATCH=endpoint, AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=endpoint)
        assert answer == "True True"

    @pytest.mark.parametrize(
        ("service", "operation", "arguments"),
        [
            ("ecs", "list_container_instances", {"cluster": "x"}),
            ("ecs", "describe_tasks", {"cluster": "x", "tasks": ["y"]}),
            ("ec2", "describe_instances", {}),
            ("s3", "list_buckets", {}),
            ("secretsmanager", "list_secrets", {}),
        ],
    )
    def test_services_that_are_not_here_fail_cleanly(
        self, server: ServerProcess, service: str, operation: str, arguments: dict[str, Any]
    ) -> None:
        client = server.client(service)
        with pytest.raises(ClientError) as error:
            getattr(client, operation)(**arguments)
        assert 400 <= error.value.response["ResponseMetadata"]["HTTPStatusCode"] <= 501
        assert error.value.response["Error"]["Message"]


def signed(server: ServerProcess, service: str, method: str, path: str, data: bytes = b"", **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, server.endpoint + path, data=data, headers=names)
    key = Credentials(server.connection["access_key_id"], server.connection["secret_access_key"])
    SigV4Auth(key, service, server.region).add_auth(request)
    sent = urllib.request.Request(server.endpoint + path, data or None, dict(request.headers.items()), method=method)
    with urllib.request.urlopen(sent) as response:
        return json.load(response)


class TestPoint2Protocols:
    def test_two_on_one_port(self, server: ServerProcess) -> None:
        assert signed(server, "batch", "POST", "/v1/describejobqueues", b"{}")["jobQueues"]
        target = "Logs_20140328.DescribeLogGroups"
        assert "logGroups" in signed(
            server, "logs", "POST", "/", b"{}", X_Amz_Target=target, Content_Type="application/x-amz-json-1.1"
        )

    def test_tags_with_the_arn_in_the_path(self, server: ServerProcess, batch: Any) -> None:
        arn = register(batch, tags={"a": "b", "c": "d"})
        for path in (f"/v1/tags/{quote(arn, safe='')}", f"/v1/tags/{arn}"):
            assert signed(server, "batch", "GET", path)["tags"] == {"a": "b", "c": "d"}
        assert signed(server, "batch", "DELETE", f"/v1/tags/{quote(arn, safe='')}?tagKeys=a&tagKeys=c") == {}
        assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {}


class TestPoint3Errors:
    def test_a_typed_exception(self, batch: Any) -> None:
        with pytest.raises(batch.exceptions.ClientException) as error:
            batch.submit_job(jobName="x", jobQueue="no-such", jobDefinition="no-such")
        headers = error.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-amzn-errortype"] == "ClientException"
        assert headers["x-amzn-requestid"] in error.value.response["Error"]["Message"]

    def test_of_a_wrong_key(self, server: ServerProcess) -> None:
        session = boto3.Session("AKIAAAAAAAAAAAAAAAAA", "x", region_name=server.region)
        with pytest.raises(ClientError) as error:
            session.client("batch", endpoint_url=server.endpoint).describe_job_queues()
        assert error.value.response["Error"]["Code"] == "UnrecognizedClientException"

    def test_of_a_wrong_secret(self, server: ServerProcess) -> None:
        session = boto3.Session(server.connection["access_key_id"], "x", region_name=server.region)
        with pytest.raises(ClientError) as error:
            session.client("batch", endpoint_url=server.endpoint).describe_job_queues()
        assert error.value.response["Error"]["Code"] == "InvalidSignatureException"


class TestPoint4EmptyIsAbsent:
    def test_in_a_submission(self, batch: Any) -> None:
        """awsbsub, miniwdl and Snakemake send all of these."""
        job_id = submit(
            batch,
            register(batch),
            arrayProperties={},
            dependsOn=[],
            parameters={},
            tags={},
            timeout={},
            containerOverrides={"environment": [], "command": [], "resourceRequirements": []},
            nodeOverrides={},
            ecsPropertiesOverride={},
            eksPropertiesOverride={},
            consumableResourcePropertiesOverride={},
            shareIdentifier="",
        )
        job = ended(batch, job_id)
        assert job["status"] == "SUCCEEDED"
        assert "arrayProperties" not in job
        assert job["container"]["command"] == ["sh", "-c", "true"]

    def test_in_a_listing(self, batch: Any) -> None:
        """awsbstat."""
        assert "jobSummaryList" in batch.list_jobs(jobQueue="default", jobStatus="FAILED", nextToken="", filters=[])
        assert "jobSummaryList" in batch.list_jobs(jobQueue="default", arrayJobId="", multiNodeJobId="")

    def test_in_a_definition(self, batch: Any) -> None:
        """Metaflow and Snakemake."""
        batch.register_job_definition(
            jobDefinitionName=new_name("empty"),
            type="container",
            containerProperties=container(linuxParameters={}, volumes=[], mountPoints=[], secrets=[], ulimits=[]),
            parameters={},
            tags={},
            timeout={},
            platformCapabilities=[],
        )

    def test_all_queues(self, batch: Any) -> None:
        """Luigi looks for an ENABLED and VALID queue among all of them."""
        queues = batch.describe_job_queues(jobQueues=[], nextToken="")["jobQueues"]
        assert any(queue["state"] == "ENABLED" and queue["status"] == "VALID" for queue in queues)


class TestPoint5Environment:
    NEEDED = ("JOB_ID", "JOB_ATTEMPT", "CE_NAME", "JQ_NAME")

    def test_what_metaflow_reads(self, batch: Any, logs: Any) -> None:
        job = run(batch, "for name in $(env | cut -d= -f1); do echo $name; done")
        names = set(log_lines(logs, job))
        assert {f"AWS_BATCH_{name}" for name in self.NEEDED} | {"AWS_EXECUTION_ENV"} <= names


class TestPoint6Surroundings:
    def test_an_operator_s_environment_for_every_job(self, new_server: Any) -> None:
        given = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000", "SHARED": "everyone's"}
        server = new_server()
        settings_file = server.data_dir.with_name("settings.toml")
        settings_file.parent.mkdir(parents=True, exist_ok=True)
        lines = ["[job_environment]", *(f'{name} = "{value}"' for name, value in given.items())]
        settings_file.write_text("\n".join(lines))
        server.flags = ("--config", str(settings_file))
        batch, logs = server.start().client("batch"), server.client("logs")
        definition = register(
            batch, "echo $AWS_ENDPOINT_URL_S3 $SHARED", container_environment=[{"name": "SHARED", "value": "the job's"}]
        )
        job = ended(batch, submit(batch, definition))
        assert log_lines(logs, job) == ["http://127.0.0.1:9000 the job's"]


class TestPoint7Privileged:
    def test_is_accepted_and_runs(self, batch: Any) -> None:
        """Snakemake and Toil ask for it in every job definition."""
        job = ended(batch, submit(batch, register(batch, container_privileged=True)))
        assert job["status"] == "SUCCEEDED"
        assert job["container"]["privileged"] is True


class TestPoint8Network:
    def test_a_job_reaches_what_listens_on_this_machine(self, server: ServerProcess, batch: Any, logs: Any) -> None:
        program = f"import urllib.request as r; print(r.urlopen('{server.endpoint}/healthz').status)"
        job = ended(batch, submit(batch, register(batch, container_command=[sys.executable, "-c", program])))
        assert log_lines(logs, job) == ["200"]


class TestPoint9DescribeJobs:
    def test_a_child_has_an_index_and_no_size(self, batch: Any) -> None:
        """awsbout takes whatever has a size for a parent, and refuses it."""
        parent = submit(batch, register(batch), arrayProperties={"size": 2})
        ended(batch, parent)
        assert describe(batch, parent)["arrayProperties"]["size"] == 2
        child = describe(batch, f"{parent}:1")
        assert child["arrayProperties"]["index"] == 1
        assert "size" not in child["arrayProperties"]

    def test_a_failure_has_its_exit_code_where_each_client_looks(self, batch: Any) -> None:
        job = run(batch, "exit 5")
        assert job["container"]["exitCode"] == 5  # covalent, miniwdl
        assert job["attempts"][-1]["container"]["exitCode"] == 5  # Metaflow
        assert job["attempts"][0]["container"]["logStreamName"]  # Luigi
        assert job["attempts"][-1]["statusReason"]  # redun
        assert job["jobQueue"].startswith("arn:")
        assert job["jobDefinition"].startswith("arn:")
        assert job["container"]["taskArn"]


class TestPoint10JobDefinitions:
    def test_redun_finds_its_own_again(self, batch: Any) -> None:
        """It compares its dictionary key by key, and registers a new revision where one differs."""
        name = new_name("redun")
        given = {
            "command": ["ls"],
            "image": "busybox",
            "jobRoleArn": "arn:aws:iam::123456789012:role/x",
            "environment": [],
            "mountPoints": [],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "4096"}],
            "ulimits": [],
            "volumes": [],
            "privileged": False,
        }
        batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=given)
        [found] = batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")["jobDefinitions"]
        assert {key: found["containerProperties"].get(key) for key in given} == given

    def test_nextflow_finds_its_own_by_a_parameter(self, batch: Any) -> None:
        name = new_name("nf-busybox")
        assert batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"] == []
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={
                "image": "busybox",
                "command": ["true"],
                "resourceRequirements": [{"type": "MEMORY", "value": "1024"}, {"type": "VCPU", "value": "1"}],
            },
            parameters={"nf-token": "0123456789abcdef"},
            tags={"nextflow.io/createdAt": "2026-01-01T00:00:00Z"},
        )
        [found] = batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
        assert (found["status"], found["parameters"]["nf-token"]) == ("ACTIVE", "0123456789abcdef")


class TestPoint11Logs:
    def test_redun_reads_backwards_until_a_page_is_empty(self, batch: Any, logs: Any) -> None:
        job = run(batch, "seq 1 250")
        request = {"logGroupName": "/aws/batch/job", "logStreamName": job["container"]["logStreamName"], "limit": 100}
        answer = logs.get_log_events(startFromHead=False, **request)
        pages = []
        while answer["events"]:
            pages.append([int(event["message"]) for event in answer["events"]])
            answer = logs.get_log_events(startFromHead=False, nextToken=answer["nextBackwardToken"], **request)
        assert pages == [[*range(151, 251)], [*range(51, 151)], [*range(1, 51)]]

    def test_airflow_polls_forwards_until_the_token_stays(self, batch: Any, logs: Any, gate: Gate) -> None:
        job_id = submit(batch, register(batch, f"echo 1; {gate.script}; echo 2; echo 3"))
        stream = reached(batch, job_id, "RUNNING")["container"]["logStreamName"]
        request = {"logGroupName": "/aws/batch/job", "logStreamName": stream, "startTime": 0, "startFromHead": True}
        seen: list[str] = []
        token: dict[str, str] = {}

        def poll() -> bool:
            """One poll; True when it came back with nothing new."""
            try:
                answer = logs.get_log_events(**request, **token)
            except logs.exceptions.ResourceNotFoundException:
                return False
            seen.extend(event["message"] for event in answer["events"])
            same = token.get("nextToken") == answer["nextForwardToken"]
            token["nextToken"] = answer["nextForwardToken"]
            return same

        until(lambda: poll() and seen == ["1"], lambda: seen)
        gate.open()
        ended(batch, job_id)
        until(lambda: poll() and seen == ["1", "2", "3"], lambda: seen)

    def test_luigi_reads_the_end_of_the_first_attempt(self, batch: Any, logs: Any) -> None:
        job = run(batch, "seq 1 5; exit 1")
        answer = logs.get_log_events(
            logGroupName="/aws/batch/job",
            logStreamName=job["attempts"][0]["container"]["logStreamName"],
            startFromHead=False,
        )
        assert [event["message"] for event in answer["events"]] == ["1", "2", "3", "4", "5"]

    def test_a_stream_that_does_not_exist_yet(self, logs: Any) -> None:
        with pytest.raises(logs.exceptions.ResourceNotFoundException):
            logs.get_log_events(logGroupName="/aws/batch/job", logStreamName="never/default/0")

    def test_covalent_s_own_group(self, batch: Any, logs: Any) -> None:
        group = f"/covalent/{new_name('group')}"
        options = {"awslogs-group": group, "awslogs-create-group": "true", "awslogs-stream-prefix": "covalent-fargate"}
        definition = register(
            batch, "echo here", container_logConfiguration={"logDriver": "awslogs", "options": options}
        )
        job = ended(batch, submit(batch, definition))
        assert job["container"]["logStreamName"].startswith("covalent-fargate/default/")
        assert log_lines(logs, job, group) == ["here"]

    def test_a_group_that_must_exist(self, batch: Any) -> None:
        options = {"awslogs-group": f"/none/{new_name('group')}"}
        definition = register(batch, container_logConfiguration={"logDriver": "awslogs", "options": options})
        job = ended(batch, submit(batch, definition))
        assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
        assert "log group does not exist" in job["container"]["reason"]


class TestPoint12Termination:
    def test_snakemake_terminates_and_deregisters_after_every_job(self, batch: Any) -> None:
        name = new_name("snakejob")
        answer = batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties=container(
                "exit 0",
                memory="2048",
                privileged=True,
                jobRoleArn="arn:aws:iam::123456789012:role/x",
                environment=[{"name": "SNAKEMAKE_STORAGE_S3_ACCESS_KEY", "value": "x"}],
            ),
            timeout={"attemptDurationSeconds": 300},
            tags={},
            platformCapabilities=["EC2"],
        )
        definition = f"{answer['jobDefinitionName']}:{answer['revision']}"
        job = ended(batch, submit(batch, definition))
        batch.terminate_job(jobId=job["jobId"], reason="terminated by snakemake")
        batch.deregister_job_definition(jobDefinition=definition)
        assert describe(batch, job["jobId"]) == job
        assert job["status"] == "SUCCEEDED"

    def test_miniwdl_runs_a_task(self, batch: Any, tmp_path: Any) -> None:
        """A bind mount by volume and mount point, without readOnly; the definition is gone before the last look."""
        name = new_name("wdl-task")
        path = str(tmp_path)
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={
                "image": "busybox",
                "command": ["/bin/sh", "-ec", f"cd {path} && echo done > result"],
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "991"}],
                "volumes": [{"name": "shared", "host": {"sourcePath": path}}],
                "mountPoints": [{"containerPath": path, "sourceVolume": "shared"}],
                "privileged": False,
            },
        )
        job_id = submit(batch, name, timeout={"attemptDurationSeconds": 86400}, tags={})
        assert [job["jobId"] for job in batch.describe_jobs(jobs=[job_id])["jobs"]] == [job_id]
        batch.deregister_job_definition(jobDefinition=f"{name}:1")
        job = ended(batch, job_id)
        assert job["container"]["exitCode"] == 0
        assert (tmp_path / "result").read_text() == "done\n"


class TestPoint13Defaults:
    def test_a_definition_without_a_command(self, batch: Any) -> None:
        """covalent. The image would bring a command; the process runtime has no images, and says so."""
        name = new_name("no-command")
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={
                "image": "busybox",
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
            },
        )
        job = ended(batch, submit(batch, name))
        assert job["container"]["command"] == []
        assert job["status"] == "FAILED"
        assert "command" in job["container"]["reason"]

    def test_the_command_can_come_with_the_job(self, batch: Any, logs: Any) -> None:
        name = new_name("no-command")
        requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={"image": "busybox", "resourceRequirements": requirements},
        )
        job = ended(batch, submit(batch, name, containerOverrides={"command": ["echo", "mine"]}))
        assert log_lines(logs, job) == ["mine"]


class TestPoint14ExitRules:
    def test_nextflow_s(self, batch: Any) -> None:
        """Retry where the host was lost, else end: `onReason: "*"` matches when there is no reason at all."""
        strategy = {
            "attempts": 5,
            "evaluateOnExit": [
                {"action": "RETRY", "onStatusReason": "Host EC2*"},
                {"action": "EXIT", "onReason": "*"},
            ],
        }
        job = run(batch, "exit 1", retryStrategy=strategy)
        assert len(job["attempts"]) == 1


class TestSequences:
    def test_metaflow(self, batch: Any) -> None:
        """Before the first step, and around each: all that it asks, in its order."""
        [queue] = batch.describe_job_queues(jobQueues=["default"])["jobQueues"]
        environment = queue["computeEnvironmentOrder"][0]["computeEnvironment"]
        [found] = batch.describe_compute_environments(computeEnvironments=[environment])["computeEnvironments"]
        assert found["computeResources"]["type"] == "EC2"
        name = "metaflow_" + os.urandom(28).hex()
        assert batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")["jobDefinitions"] == []
        definition = batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={
                "image": "busybox",
                "jobRoleArn": "arn:aws:iam::123456789012:role/x",
                "command": ["echo", "hello world"],
                "resourceRequirements": [{"value": "1", "type": "VCPU"}, {"value": "4096", "type": "MEMORY"}],
                "linuxParameters": {},
            },
            propagateTags=True,
        )["jobDefinitionArn"]
        job_id = batch.submit_job(
            jobName="user-Flow-1-start-1-0",
            jobQueue="default",
            jobDefinition=definition,
            containerOverrides={
                "command": ["sh", "-c", "true"],
                "environment": [{"name": "METAFLOW_USER", "value": "user"}],
                "resourceRequirements": [{"value": "1", "type": "VCPU"}, {"value": "64", "type": "MEMORY"}],
            },
            parameters={"metaflow.user": "user", "metaflow.flow_name": "Flow"},
            timeout={"attemptDurationSeconds": 432000},
        )["jobId"]
        assert batch.describe_jobs(jobs=[job_id])["jobs"], "Metaflow polls until it is there"
        job = ended(batch, job_id)
        assert job["stoppedAt"] > 0
        assert job["parameters"]["metaflow.user"] == "user"
        for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"):
            pages = batch.get_paginator("list_jobs").paginate(jobQueue="default", jobStatus=status)
            assert all("jobSummaryList" in page for page in pages)

    def test_redun(self, server: ServerProcess, batch: Any) -> None:
        assert server.client("sts").get_caller_identity()["Account"] == server.account_id
        parent = submit(
            batch,
            register(batch, "exit $AWS_BATCH_JOB_ARRAY_INDEX"),
            arrayProperties={"size": 2},
            retryStrategy={"attempts": 1},
            propagateTags=True,
            tags={"redun_job_id": "x"},
        )
        ended(batch, parent)
        jobs = batch.describe_jobs(jobs=[f"{parent}:0", f"{parent}:1"])["jobs"]
        assert sorted(job["status"] for job in jobs) == ["FAILED", "SUCCEEDED"]
