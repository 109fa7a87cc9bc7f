"""The AWS CLI as people use it: version 1 from PyPI, and version 2 where it is installed (Debian's package)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server_process import ServerProcess
from waiting import until
from work import container, ended, log_lines, new_name, reached, register, submit

AWS_1 = str(Path(sys.executable).with_name("aws"))
AWS_2 = "/usr/bin/aws"

needs_version_2 = pytest.mark.skipif(
    not shutil.which(AWS_2)
    or " aws-cli/2" not in " " + subprocess.run([AWS_2, "--version"], capture_output=True, text=True).stdout,
    reason="AWS CLI version 2 is not installed (apt-get install awscli)",
)

Cli = Callable[..., Any]


@pytest.fixture(params=[pytest.param(AWS_1, id="v1"), pytest.param(AWS_2, id="v2", marks=needs_version_2)])
def aws(request: pytest.FixtureRequest, server: ServerProcess) -> Cli:
    """Calls the CLI and gives its JSON. Version 2 of Debian knows no variable for the endpoint, so it gets the flag."""
    endpoint = [] if request.param == AWS_1 else ["--endpoint-url", server.endpoint]

    def call(*arguments: str, fails: bool = False) -> Any:
        ran = subprocess.run(
            [request.param, *endpoint, *arguments],
            env=dict(server.client_environment(AWS_PAGER="")),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if fails:
            assert ran.returncode != 0
            return ran.stderr
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout) if ran.stdout.strip() else None

    return call


def test_a_whole_scenario(aws: Cli, server: ServerProcess, batch: Any, tmp_path: Path) -> None:
    environment, queue, definition = new_name("cli-environment"), new_name("cli-queue"), new_name("cli-definition")
    resources = {
        "type": "EC2",
        "minvCpus": 0,
        "maxvCpus": 4,
        "instanceTypes": ["optimal"],
        "subnets": ["subnet-1"],
        "securityGroupIds": ["sg-1"],
        "instanceRole": "ecsInstanceRole",
    }
    described = tmp_path / "environment.json"
    described.write_text(
        json.dumps({"computeEnvironmentName": environment, "type": "MANAGED", "computeResources": resources})
    )
    aws("batch", "create-compute-environment", "--cli-input-json", f"file://{described}")

    def status(kind: str, flag: str, name: str) -> Any:
        found = aws("batch", f"describe-{kind}", f"--{flag}", name)
        return next(iter(found.values()))

    until(
        lambda: status("compute-environments", "compute-environments", environment)[0]["status"] == "VALID", environment
    )
    order = f"order=1,computeEnvironment={environment}"
    aws(
        *("batch", "create-job-queue", "--job-queue-name", queue, "--priority", "5"),
        *("--compute-environment-order", order, "--tags", "team=a"),
    )
    until(lambda: status("job-queues", "job-queues", queue)[0]["status"] == "VALID", queue)
    registered = aws(
        *("batch", "register-job-definition", "--job-definition-name", definition, "--type", "container"),
        *("--container-properties", json.dumps(container("echo $GREETING Ref::who; sleep 0.2"))),
        *("--parameters", "who=nobody"),
    )
    assert registered["revision"] == 1

    submitted = aws(
        *("batch", "submit-job", "--job-name", "cli", "--job-queue", queue, "--job-definition", definition),
        *("--parameters", "who=world", "--array-properties", "size=2", "--timeout", "attemptDurationSeconds=60"),
        *("--container-overrides", "environment=[{name=GREETING,value=hello}]", "--retry-strategy", "attempts=2"),
    )
    job_id = submitted["jobId"]
    ended(batch, job_id)
    [job] = aws("batch", "describe-jobs", "--jobs", job_id)["jobs"]
    assert job["status"] == "SUCCEEDED"
    listed = aws("batch", "list-jobs", "--array-job-id", job_id, "--job-status", "SUCCEEDED")
    assert [child["jobId"] for child in listed["jobSummaryList"]] == [f"{job_id}:0", f"{job_id}:1"]
    paged = aws("batch", "list-jobs", "--job-queue", queue, "--filters", "name=JOB_NAME,values=cli", "--max-items", "1")
    assert [summary["jobId"] for summary in paged["jobSummaryList"]] == [job_id]
    [child] = aws("batch", "describe-jobs", "--jobs", f"{job_id}:1")["jobs"]
    stream = child["container"]["logStreamName"]
    events = aws("logs", "get-log-events", "--log-group-name", "/aws/batch/job", "--log-stream-name", stream)
    assert [event["message"] for event in events["events"]] == ["hello world"]

    endless = register(batch, "sleep 3600")
    job_id = aws("batch", "submit-job", "--job-name", "endless", "--job-queue", queue, "--job-definition", endless)[
        "jobId"
    ]
    reached(batch, job_id, "RUNNING")
    aws("batch", "terminate-job", "--job-id", job_id, "--reason", "enough")
    assert ended(batch, job_id)["statusReason"] == "enough"

    arn = server.arn(f"job-queue/{queue}")
    aws("batch", "tag-resource", "--resource-arn", arn, "--tags", "stage=test")
    aws("batch", "untag-resource", "--resource-arn", arn, "--tag-keys", "team")
    assert aws("batch", "list-tags-for-resource", "--resource-arn", arn)["tags"] == {"stage": "test"}

    assert "Object already exists" in aws(
        *("batch", "create-job-queue", "--job-queue-name", queue, "--priority", "5"),
        *("--compute-environment-order", order),
        fails=True,
    )
    assert "An error occurred (ClientException)" in aws(
        *("batch", "submit-job", "--job-name", "x", "--job-queue", "no-such", "--job-definition", definition),
        fails=True,
    )

    aws("batch", "update-job-queue", "--job-queue", queue, "--state", "DISABLED")
    until(lambda: status("job-queues", "job-queues", queue)[0]["status"] == "VALID", queue)
    aws("batch", "delete-job-queue", "--job-queue", queue)
    until(lambda: status("job-queues", "job-queues", queue) == [], f"the end of {queue}")
    aws("batch", "update-compute-environment", "--compute-environment", environment, "--state", "DISABLED")
    until(
        lambda: status("compute-environments", "compute-environments", environment)[0]["status"] == "VALID", environment
    )
    aws("batch", "delete-compute-environment", "--compute-environment", environment)
    aws("batch", "deregister-job-definition", "--job-definition", f"{definition}:1")
    active = aws("batch", "describe-job-definitions", "--job-definition-name", definition, "--status", "ACTIVE")
    assert active["jobDefinitions"] == []


def test_who_am_i(aws: Cli, server: ServerProcess) -> None:
    identity = aws("sts", "get-caller-identity")
    assert identity["Account"] == server.account_id
    assert identity["Arn"] == f"arn:aws:iam::{server.account_id}:user/administrator"


def test_services_that_are_not_here(aws: Cli) -> None:
    for command in (["s3api", "list-buckets"], ["ecs", "list-clusters"], ["sts", "get-session-token"]):
        assert "An error occurred" in aws(*command, fails=True)


@pytest.fixture
def follow(server: ServerProcess) -> Iterator[Callable[..., list[str]]]:
    """Starts `aws logs tail --follow` and gives the list that its lines come into."""
    started: list[subprocess.Popen[str]] = []
    threads: list[threading.Thread] = []

    def start(*arguments: str) -> list[str]:
        process = subprocess.Popen(
            [AWS_2, "--endpoint-url", server.endpoint, "logs", "tail", "--follow", *arguments],
            env=dict(server.client_environment(PYTHONUNBUFFERED="1")),
            stdout=subprocess.PIPE,
            text=True,
        )
        lines: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip("\n"))

        thread = threading.Thread(target=read)
        thread.start()
        started.append(process)
        threads.append(thread)
        return lines

    yield start
    for process in started:
        process.kill()
        process.wait()
    for thread in threads:
        thread.join()


@needs_version_2
def test_tail_shows_the_lines_of_a_running_job_as_they_come(
    batch: Any, logs: Any, follow: Callable[..., list[str]], tmp_path: Path
) -> None:
    gates = [tmp_path / f"gate{number}" for number in range(3)]
    script = "; ".join(f"until [ -e {gate} ]; do sleep 0.02; done; echo line {n}" for n, gate in enumerate(gates))
    job_id = submit(batch, register(batch, f"echo begun; {script}"))
    stream = reached(batch, job_id, "RUNNING")["container"]["logStreamName"]
    job = reached(batch, job_id, "RUNNING")
    until(lambda: log_lines(logs, job), "the first line")
    lines = follow("/aws/batch/job", "--log-stream-names", stream, "--format", "short")
    expected = ["begun"]
    until(lambda: len(lines) == len(expected), lambda: lines)
    for number, gate in enumerate(gates):
        gate.touch()
        expected.append(f"line {number}")
        until(lambda: len(lines) == len(expected), lambda: lines)
    assert [line.partition(" ")[2] for line in lines] == expected
    assert ended(batch, job_id)["status"] == "SUCCEEDED"
