"""`make bench`, small: every number is there. What the numbers are is no matter of a test."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKED = (
    "best_fit",
    "best_fit_progressive",
    "best_fit_progressive_ordered",
    "spot_capacity_optimized",
    "spot_price_capacity_optimized",
    "spot_capacity_optimized_prioritized",
    "first_fit",
)

FAIR = {
    "sizes": "A B",
    "eightfold": "A B",
    "prefix": "UserA1 UserA2 UserB",
    "lengths": "A B",
    "three": "A B C",
    "newcomer": "A B C",
    "reservation": "A B C",
}

KEYS = {
    "throughput": {
        "throughput.batchyard",
        "throughput.xargs",
        "throughput.hyperqueue",
        "throughput.of_xargs",
        "throughput.of_hyperqueue",
        "throughput.server_cpu",
        "throughput.runner_cpu",
        "throughput.programs_cpu",
        "throughput.xargs_cpu",
        "throughput.hyperqueue_cpu",
        "throughput.load",
    },
    "start_latency": {
        "start_latency.p50",
        "start_latency.p99",
        "start_latency.floor_p50",
        "start_latency.floor_p99",
        "start_latency.answer_p50",
        "start_latency.answer_p99",
    },
    "submission": {
        "submission.rate",
        "submission.commits",
        "submission.of_commits",
        "submission.server_cpu",
        "submission.array",
    },
    "memory": {
        "memory.array",
        "memory.empty",
        "memory.empty_start",
        "memory.small",
        "memory.small_start",
        "memory.medium",
        "memory.medium_start",
        "memory.large",
        "memory.large_start",
    },
    "packing": {
        *(f"packing.{name}.{what}" for name in PACKED for what in ("vcpus", "cost", "worst", "instances")),
        "packing.plan_shapes",
        "packing.plan_jobs",
        "packing.rooms_few",
        "packing.rooms_many",
    },
    "simulation": {
        f"simulation.{name}.{what}"
        for name in ("fifo", "fair_share")
        for what in ("seconds", "job", "memory", "instances")
    },
    "fairness": {
        *(f"fairness.{case}.{share}" for case, shares in FAIR.items() for share in shares.split()),
        "fairness.worst",
    },
    "scheduling_pass": {
        *(f"scheduling_pass.jobs_{many}" for many in ("few", "some", "many")),
        *(f"scheduling_pass.{what}_few" for what in ("instances", "shapes")),
        *(f"scheduling_pass.growth_{what}" for what in ("jobs", "instances", "shapes")),
        "scheduling_pass.instances_many",
        "scheduling_pass.shapes_some",
        "scheduling_pass.decisions",
    },
}


@pytest.mark.parametrize("benchmark", [*KEYS])
def test_every_row_has_a_number(benchmark: str, tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", f"--only={benchmark}", f"--json={report_file}"]
    done = subprocess.run([*command, f"--folder={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    report = json.loads(report_file.read_text())
    rows = {row["key"]: row for row in report["results"][benchmark]["rows"]}
    assert rows.keys() == KEYS[benchmark]
    assert all(math.isfinite(row["value"]) for row in rows.values())
    for row in rows.values():
        assert row["label"] in done.stdout
    assert report["quick"]
    assert list(report["results"]) == [benchmark]


def test_an_unknown_benchmark_is_refused_with_those_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks", "--only=speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(name in done.stderr for name in KEYS)
