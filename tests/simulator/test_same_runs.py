"""The same seed gives the same run, bit for bit, whatever the hash seed of the interpreter."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from site_files import environment, file_of, queue, work

from batchyard.kernel.kernel import Kernel
from batchyard.simulator.report import report_of
from batchyard.simulator.simulation import Simulation
from batchyard.simulator.workload import Work

HERE = Path(__file__)


def workload() -> Iterator[Work]:
    chance = random.Random(3)
    at = 0.0
    for number in range(300):
        at += chance.expovariate(0.2)
        yield work(
            at,
            chance.expovariate(1 / 120),
            vcpus=chance.choice((1, 1, 2)),
            queue=chance.choice(("fair", "plain")),
            share=f"s{number % 7}",
            attempts=5,
            failure_probability=0.2,
        )


def fingerprint(seed: int) -> str:
    """Of all jobs' ends, all that the kernel wanted done in each step, and the report."""
    digest = hashlib.sha256()

    def note(kernel: Kernel, now: int) -> None:
        effects = kernel.state.effects
        digest.update(f"{now} {effects.transitions} {effects.waits} {list(effects.resources)}".encode())
        digest.update(f"{[order.task_id for order in effects.start]} {effects.stop}".encode())

    class Log:
        def ended(self, job: msgspec.Struct) -> None:
            digest.update(msgspec.json.encode(job))

    file = file_of(
        [
            environment("one", most=8),
            environment("two", most=16, kind="SPOT", instanceTypes=["c6i", "m6i"], spotIamFleetRole="role"),
        ],
        [
            queue("fair", "one", "two", schedulingPolicyArn="fair"),
            queue("plain", "two", priority=2, schedulingPolicyArn="fair"),
        ],
        schedulingPolicies=[{"name": "fair", "fairsharePolicy": {"shareDecaySeconds": 600, "computeReservation": 10}}],
        settings={
            "seed": seed,
            "bootSeconds": 30,
            "startSeconds": 2,
            "launchFailureRate": 0.2,
            "spotInterruptionsAnHour": 5,
        },
    )
    statistics = Simulation(file, workload(), log=Log(), inspect=note).run()
    digest.update(msgspec.json.encode(report_of(statistics)))
    assert statistics.reclaims
    assert statistics.retries
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_run_under_any_hash_seed() -> None:
    found = [_in_own_process(hash_seed) for hash_seed in ("1", "2", "77")]
    assert found == [fingerprint(1)] * 3


def test_another_seed_gives_another_run() -> None:
    assert fingerprint(1) != fingerprint(2)


def _in_own_process(hash_seed: str) -> str:
    variables = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = f"import sys; sys.path.insert(0, {str(HERE.parent)!r}); import {HERE.stem} as own; print(own.fingerprint(1))"
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


if __name__ == "__main__":
    print(fingerprint(1))
