"""`batchyard simulate`: needs no server."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
from console import NOWHERE, SCRIPT

FLEET = {
    "computeEnvironments": [
        {
            "computeEnvironmentName": "ce",
            "type": "MANAGED",
            "computeResources": {
                "type": "EC2",
                "minvCpus": 0,
                "maxvCpus": 4,
                "instanceTypes": ["c6i.large"],
                "instanceRole": "role",
                "subnets": ["s"],
            },
        }
    ],
    "jobQueues": [
        {"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce"}]}
    ],
}
JOBS = "submit,run_seconds,vcpus,memory\n0,100,1,1024\n0,100,1,1024\n0,50,1,1024\n10,30,2,1024\n"
LOG = "; a log\n1 0 0 100 2 -1 -1 2 -1 -1 1 3 1 -1 1 0 -1 -1\n2 5 0 -1 2 -1 -1 2 -1 -1 5 3 1 -1 1 0 -1 -1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fleet.json").write_text(json.dumps(FLEET))
    (tmp_path / "jobs.csv").write_text(JOBS)
    (tmp_path / "log.swf").write_text(LOG)
    return tmp_path


def simulate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), "simulate", *arguments],
        cwd=folder,
        env=os.environ | {"AWS_ENDPOINT_URL": NOWHERE},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_report_is_for_people(folder: Path) -> None:
    done = simulate(folder, "jobs.csv", "--environment", "fleet.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 submitted, 4 succeeded, 0 failed" in done.stdout
    assert "77.5 % of the vCPUs offered" in done.stdout
    assert "2 launched, at most 2 at a time" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_report_is_for_programs(folder: Path) -> None:
    done = simulate(folder, "jobs.csv", "-e", "fleet.json", "--json")
    report = json.loads(done.stdout)
    assert (report["jobs"], report["makespanSeconds"], report["launches"]) == (4, 100, 2)
    assert report["waits"][0]["maxSeconds"] == 40


def test_files_are_written(folder: Path) -> None:
    done = simulate(
        folder, "jobs.csv", "-e", "fleet.json", "--plot", "pictures", "--events", "e.csv", "--samples", "s.csv"
    )
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (folder / "pictures").iterdir()} == {
        "instances.svg",
        "vcpus.svg",
        "jobs.svg",
        "waits.svg",
    }
    assert len(list(csv.DictReader((folder / "e.csv").open()))) == 4
    assert len(list(csv.DictReader((folder / "s.csv").open()))) == 100


def test_a_log_in_the_standard_workload_format(folder: Path) -> None:
    done = simulate(folder, "log.swf", "-e", "fleet.json")
    assert done.returncode == 0, done.stderr
    assert "1 submitted, 1 succeeded" in done.stdout
    assert "1 lines: run time unknown" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.csv", "-e", "fleet.json"), "nowhere.csv: No such file or directory"),
        (("jobs.csv", "-e", "nowhere.json"), "nowhere.json: No such file or directory"),
        (("jobs.csv", "-e", "jobs.csv"), "jobs.csv is not JSON: "),
        (("log.swf", "-e", "fleet.json", "--format", "csv"), "log.swf, line 1: there is no column '; a log'"),
        (("log.swf", "-e", "fleet.json", "--queue", "x=q"), "--queue x=q: expected NUMBER=NAME"),
        (("log.swf", "-e", "fleet.json", "--queue", "fast"), "line 2 of the workload: there is no job queue 'fast'"),
        (("jobs.csv", "-e", "fleet.json", "--share-by", "user"), "are for workloads in the Standard Workload Format"),
    ],
)
def test_what_is_wrong_is_a_sentence(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    done = simulate(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
