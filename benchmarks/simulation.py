"""How long the simulator takes for a large workload on a large fleet, and how much memory.

A process of its own reads nothing and writes nothing: jobs of ten shapes for four queues, all on instances of 4 vCPUs up to a
fixed number, submitted evenly so that the fleet stays full and a line forms. Times are whole seconds, as in the logs of real
machines.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchyard.simulator.environment_file import EnvironmentFile, decode_environment_file
from batchyard.simulator.report import report_of
from batchyard.simulator.simulation import Simulation
from batchyard.simulator.site import rare_collections
from batchyard.simulator.workload import Shape, Work
from benchmarks.measures import Result, Row, at_most
from benchmarks.sizes import Sizes

QUEUES = 4
SHAPES = ((1, 1024), (1, 2048), (1, 2048), (1, 4096), (2, 2048), (2, 4096), (2, 4096), (1, 1536), (4, 4096), (4, 6144))
"""vCPUs and MiB; each as likely as the next."""
MEAN_VCPUS = sum(vcpus for vcpus, _ in SHAPES) / len(SHAPES)
VCPUS_PER_INSTANCE = 4
MEAN_RUN = 600
"""Seconds; run times are exponentially distributed."""
LOAD = 1.05
"""vCPU-seconds submitted over those that the fleet has, while jobs are submitted."""


def measure(folder: Path, sizes: Sizes) -> Result:  # noqa: ARG001
    rows = []
    for name, seed_share in (("fifo", False), ("fair_share", True)):
        found = _in_own_process(sizes.simulated_jobs, sizes.simulated_instances, shares=seed_share)
        label = f"{sizes.simulated_jobs:,} jobs, {'20 shares' if seed_share else 'FIFO'}"
        aims = (at_most(300), at_most(4.0)) if not seed_share else (None, None)
        rows += [
            Row(key=f"simulation.{name}.seconds", label=label, value=found["seconds"], unit="s", aim=aims[0]),
            Row(
                key=f"simulation.{name}.job",
                label=f"{label}: a job",
                value=1e6 * found["cpu"] / sizes.simulated_jobs,
                unit="µs of CPU",
            ),
            Row(
                key=f"simulation.{name}.memory",
                label=f"{label}: peak memory",
                value=found["gib"],
                unit="GiB",
                aim=aims[1],
            ),
            Row(
                key=f"simulation.{name}.instances",
                label=f"{label}: instances at the peak",
                value=found["instances"],
                unit="",
            ),
        ]
    return Result("Simulation", rows, ["One process. Memory is the largest resident size, VmHWM."])


def _in_own_process(jobs: int, instances: int, *, shares: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.simulation", str(jobs), str(instances), str(int(shares))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def environment_file(instances: int, *, shares: bool) -> EnvironmentFile:
    """Four queues of different priority on one environment."""
    members: dict[str, Any] = {
        "computeEnvironments": [
            {
                "computeEnvironmentName": "fleet",
                "type": "MANAGED",
                "computeResources": {
                    "type": "EC2",
                    "allocationStrategy": "BEST_FIT_PROGRESSIVE",
                    "minvCpus": 0,
                    "maxvCpus": VCPUS_PER_INSTANCE * instances,
                    "instanceTypes": ["c6i.xlarge"],
                    "instanceRole": "instances",
                    "subnets": ["subnet"],
                },
            }
        ],
        "jobQueues": [
            {
                "jobQueueName": f"queue-{number}",
                "priority": number + 1,
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "fleet"}],
                **({"schedulingPolicyArn": "fair"} if shares else {}),
            }
            for number in range(QUEUES)
        ],
        "settings": {"bootSeconds": 60, "idleSeconds": 300},
    }
    if shares:
        members["schedulingPolicies"] = [{"name": "fair", "fairsharePolicy": {"shareDecaySeconds": 3600}}]
    return decode_environment_file(members)


def workload(jobs: int, instances: int, *, shares: bool) -> Iterator[Work]:
    """Submissions at an even rate, in whole seconds."""
    chance = random.Random(1)
    rate = LOAD * VCPUS_PER_INSTANCE * instances / (MEAN_VCPUS * MEAN_RUN)
    shapes = [
        Shape(queue=f"queue-{queue}", vcpus=str(vcpus), memory=memory, share=f"team{share}" if shares else None)
        for queue in range(QUEUES)
        for vcpus, memory in SHAPES
        for share in range(5 if shares else 1)
    ]
    for number in range(jobs):
        run = max(1, round(chance.expovariate(1 / MEAN_RUN)))
        yield Work(line=number + 1, at=1000 * int(number / rate), run=1000 * run, shape=chance.choice(shapes))


def main() -> None:
    """`python -m benchmarks.simulation JOBS INSTANCES SHARES`: one run, in this process."""
    jobs, instances, shares = int(sys.argv[1]), int(sys.argv[2]), bool(int(sys.argv[3]))
    before, cpu_before = time.perf_counter(), time.process_time()
    with rare_collections():
        simulation = Simulation(environment_file(instances, shares=shares), workload(jobs, instances, shares=shares))
        report = report_of(simulation.run())
    assert report.succeeded == jobs
    found = {
        "seconds": time.perf_counter() - before,
        "cpu": time.process_time() - cpu_before,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "instances": report.peak_instances,
        "makespan": report.makespan_seconds,
        "utilisation": report.utilisation_of_offered,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
