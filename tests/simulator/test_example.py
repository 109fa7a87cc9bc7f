"""examples/capacity_planning: a week of jobs on two sets of environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.simulator.csv_workload import read_csv
from batchyard.simulator.environment_file import load_environment_file
from batchyard.simulator.report import Report, report_of
from batchyard.simulator.simulation import Simulation

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "capacity_planning"


def test_the_workload_is_what_its_program_makes() -> None:
    made = subprocess.run(
        [sys.executable, str(FOLDER / "make_workload.py")], capture_output=True, text=True, check=True
    )
    assert made.stdout == (FOLDER / "jobs.csv").read_text()


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {name: _report(name) for name in ("on-demand", "spot-first")}


def _report(name: str) -> Report:
    file = load_environment_file(FOLDER / f"{name}.json")
    return report_of(Simulation(file, read_csv(FOLDER / "jobs.csv")).run())


@pytest.mark.parametrize("name", ["on-demand", "spot-first"])
def test_every_job_ends(reports: dict[str, Report], name: str) -> None:
    report = reports[name]
    assert (report.jobs, report.unfinished, report.left) == (21_817, 0, [])
    assert report.peak_vcpus <= 320


def test_spot_is_cheaper_and_is_reclaimed(reports: dict[str, Report]) -> None:
    assert reports["spot-first"].cost < reports["on-demand"].cost / 2
    assert reports["spot-first"].spot_reclaims > 0
    assert reports["on-demand"].spot_reclaims == 0
