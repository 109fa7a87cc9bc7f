"""Environment files: JSON or TOML, checked as the API checks its requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from site_files import environment, queue

from batchyard.simulator.environment_file import decode_environment_file, load_environment_file
from batchyard.simulator.inputs import InputError

GOOD: dict[str, Any] = {"computeEnvironments": [environment()], "jobQueues": [queue()]}

TOML = """
[[computeEnvironments]]
computeEnvironmentName = "ce"
type = "MANAGED"
computeResources = { type = "EC2", minvCpus = 0, maxvCpus = 8, instanceTypes = ["c6i"], instanceRole = "r", subnets = ["s"] }

[[jobQueues]]
jobQueueName = "q"
priority = 1
computeEnvironmentOrder = [{ order = 1, computeEnvironment = "ce" }]

[[machines]]
vcpus = 64
memoryMiB = 262144
count = 3

[settings]
bootSeconds = 90
seed = 7
"""


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(TOML)
    file = load_environment_file(tmp_path / "fleet.toml")
    resources = file.compute_environments[0].compute_resources
    assert resources is not None
    assert resources.max_vcpus == 8
    assert (file.settings.boot_seconds, file.settings.idle_seconds, file.settings.seed) == (90, 60, 7)
    assert (file.machines[0].memory, file.machines[0].gpus, file.machines[0].count) == (262_144, 0, 3)
    (tmp_path / "fleet.json").write_text(json.dumps(GOOD))
    assert load_environment_file(tmp_path / "fleet.json").job_queues[0].job_queue_name == "q"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"computeEnvironments": []}, "computeEnvironments: must have at least 1 elements"),
        ({"jobQueues": [{"priority": 1}]}, r"jobQueues\[0\].jobQueueName: this member is required"),
        ({"settings": {"bootSecond": 1}}, "settings: .*bootSecond"),
        ({"settings": {"launchFailureRate": 2}}, "settings.launchFailureRate: must be at most 1"),
        ({"machines": [{"vcpus": 0, "memoryMiB": 1}]}, r"machines\[0\].vcpus: must be at least 1"),
        (
            {"computeEnvironments": [environment(maxvCpus="many")]},
            r"computeEnvironments\[0\].computeResources.maxvCpus: expected an integer, got a string",
        ),
        (
            {"computeEnvironments": [{"computeEnvironmentName": "ce", "type": "UNMANAGED"}]},
            r"computeEnvironments\[0\].type: ce is UNMANAGED",
        ),
        (
            {"computeEnvironments": [environment(type="ECS_MANAGED_INSTANCES")]},
            "ECS_MANAGED_INSTANCES can't be simulated",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_environment_file(GOOD | changes)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("fleet.json", "{", "is not JSON: "),
        ("fleet.toml", "{", "is not TOML: "),
        ("fleet.json", "[]", "expected an object"),
        ("fleet.json", "[" * 100_000, "nested too deeply"),
        ("fleet.json", "{}", "computeEnvironments: this member is required"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_environment_file(tmp_path / name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_environment_file(tmp_path / "nowhere.json")
