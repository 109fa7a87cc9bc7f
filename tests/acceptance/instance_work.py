"""What tests of instances and hosts say over and over: environments that launch instances, the command line, what is there."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wire import Wire

from server_process import SERVE, ServerProcess
from work import log_lines, new_name, new_queue, register, settled_environment, submit

FLEET = {"capacity": "instances", "overcommit": 16, "idle_seconds": 0.2, "spot_notice_seconds": 20}
"""Settings of a server with room for some instances, which it lets go soon."""
HOST_LOST = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]


def fleet_environment(
    batch: Any, kind: str = "EC2", *, types: tuple[str, ...] = ("c6i.large",), most: int = 4, **more: Any
) -> str:
    """A compute environment that launches instances; returns its name. `more`: members of `computeResources`."""
    name = new_name("fleet")
    strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED" if kind == "SPOT" else "BEST_FIT_PROGRESSIVE"
    resources = {"type": kind, "minvCpus": 0, "maxvCpus": most, "instanceTypes": list(types), "subnets": ["subnet-1"]}
    resources |= {"instanceRole": "ecsInstanceRole", "securityGroupIds": ["sg-1"], "allocationStrategy": strategy}
    batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources | more)
    settled_environment(batch, name)
    return name


def fleet_queue(batch: Any, kind: str = "EC2", **more: Any) -> tuple[str, str]:
    """A compute environment that launches instances, and a queue on it."""
    environment = fleet_environment(batch, kind, **more)
    return environment, new_queue(batch, environment)


def unmanaged_queue(batch: Any) -> tuple[str, str]:
    """An UNMANAGED compute environment, and a queue on it."""
    name = new_name("unmanaged")
    batch.create_compute_environment(computeEnvironmentName=name, type="UNMANAGED", serviceRole="arn:aws:iam::1:role/r")
    settled_environment(batch, name)
    return name, new_queue(batch, name)


def batchyard(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user of this server runs it."""
    command = [*SERVE[:-1], *arguments]
    environment = dict(server.client_environment())
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def said(server: ServerProcess, *arguments: str) -> str:
    """What a command prints."""
    done = batchyard(server, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def instances(server: ServerProcess, environment: str, *flags: str) -> list[dict[str, Any]]:
    """What `batchyard instances --json` tells of an environment."""
    found: list[dict[str, Any]] = json.loads(said(server, "instances", "--json", "--environment", environment, *flags))[
        "instances"
    ]
    return found


def instance_of(job: dict[str, Any]) -> str:
    """The instance that `containerInstanceArn` names."""
    return "i-" + str(job["container"]["containerInstanceArn"]).rpartition("/")[2][:17]


def desired(batch: Any, environment: str) -> int:
    [detail] = batch.describe_compute_environments(computeEnvironments=[environment])["computeEnvironments"]
    return int(detail["computeResources"]["desiredvCpus"])


def submit_watcher(batch: Any, queue: str, begun: Path, gate: Path, **more: Any) -> str:
    """A job that polls the metadata of its instance for the notice and handles SIGTERM, tried again when its host goes. The
    first attempt makes the file `begun`, and after the notice waits for `gate`."""
    script = WATCHER.format(begun=begun, gate=gate)
    strategy = {"attempts": 3, "evaluateOnExit": HOST_LOST}
    return submit(batch, register(batch, script, **more), queue=queue, retryStrategy=strategy)


WATCHER = """
exec 2>/dev/null
get() {{ busybox wget -q -O - $AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/$1; }}
echo $AWS_BATCH_JOB_ATTEMPT $(get instance-id) $(get instance-life-cycle)
[ $AWS_BATCH_JOB_ATTEMPT = 1 ] || exit 0
trap 'told=yes; echo SIGTERM' TERM
get spot/instance-action || echo none
touch {begun}
until [ "$told" ]; do sleep 0.05; done
until action=$(get spot/instance-action); do sleep 0.05; done
echo $action
until [ -e {gate} ]; do sleep 0.05; done
exit 143
"""


def attempt_log(logs: Any, attempt: dict[str, Any]) -> list[str]:
    """The log of one attempt that has ended."""
    return log_lines(logs, attempt)


def aws_time(milliseconds: int) -> str:
    """As the instance metadata has it."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def extension(server: ServerProcess, operation: str, **request: Any) -> dict[str, Any]:
    """The answer of one of our own operations."""
    path, headers = f"/batchyard/v1/{operation.lower()}", {"Content-Type": "application/json"}
    with Wire(server) as wire:
        answer = wire.send_bytes("batch", "POST", path, headers, json.dumps(request).encode())
    assert answer.status == 200, answer.body
    found: dict[str, Any] = json.loads(answer.body)
    return found
