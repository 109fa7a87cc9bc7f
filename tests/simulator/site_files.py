"""Environment files for simulations in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchyard.simulator.environment_file import EnvironmentFile, decode_environment_file
from batchyard.simulator.report import Report, report_of
from batchyard.simulator.simulation import Simulation
from batchyard.simulator.statistics import EndedJob
from batchyard.simulator.workload import Shape, Work


def environment(
    name: str = "ce", *, most: int = 4, least: int = 0, kind: str = "EC2", **resources: Any
) -> dict[str, Any]:
    """A compute environment that launches c6i.large (2 vCPU, 4 GiB) unless told otherwise."""
    if kind.startswith("FARGATE"):
        return {
            "computeEnvironmentName": name,
            "type": "MANAGED",
            "computeResources": {"type": kind, "maxvCpus": most, "subnets": ["s"], "securityGroupIds": ["g"]},
        }
    return {
        "computeEnvironmentName": name,
        "type": "MANAGED",
        "computeResources": {
            "type": kind,
            "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED" if kind == "SPOT" else "BEST_FIT_PROGRESSIVE",
            "minvCpus": least,
            "maxvCpus": most,
            "instanceTypes": ["c6i.large"],
            "instanceRole": "role",
            "subnets": ["s"],
            **resources,
        },
    }


def queue(name: str = "q", *environments: str, priority: int = 1, **members: Any) -> dict[str, Any]:
    order = [{"order": number, "computeEnvironment": each} for number, each in enumerate(environments or ("ce",), 1)]
    return {"jobQueueName": name, "priority": priority, "computeEnvironmentOrder": order, **members}


def file_of(
    environments: Sequence[dict[str, Any]] = (), queues: Sequence[dict[str, Any]] = (), **members: Any
) -> EnvironmentFile:
    """One environment `ce` and one queue `q` unless told otherwise. `members`: `settings`, `machines`…"""
    return decode_environment_file(
        {
            "computeEnvironments": list(environments) or [environment()],
            "jobQueues": list(queues) or [queue()],
            **members,
        }
    )


def work(at: float, run: float, vcpus: int = 1, memory: int = 1024, **members: Any) -> Work:
    """A job submitted `at` seconds that runs for `run` seconds; `members` of the job, or of its shape."""
    of_job = {
        name: members.pop(name) for name in ("exit_code", "failure_probability", "name", "line") if name in members
    }
    shape = Shape(**{"queue": None, "vcpus": str(vcpus), "memory": memory, **members})
    return Work(**{"line": 1, "at": round(1000 * at), "run": round(1000 * run), "shape": shape, **of_job})


class Ended(list[EndedJob]):
    """Every job that has ended."""

    def ended(self, job: EndedJob) -> None:
        self.append(job)


def run(file: EnvironmentFile, *jobs: Work, **options: Any) -> tuple[Report, Ended]:
    ended = Ended()
    return report_of(Simulation(file, jobs, log=ended, **options).run()), ended
