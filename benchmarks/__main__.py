"""`python -m benchmarks`: measures, prints a table, writes JSON.

python -m benchmarks                     everything: some minutes
python -m benchmarks --only throughput   one of them
python -m benchmarks --quick             small sizes: whether it works; the numbers mean nothing
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

import batchyard
from benchmarks import fairness, memory, packing, scheduling_pass, simulation, start_latency, submission, throughput
from benchmarks.measures import Result
from benchmarks.report import WIDTH, Report, machine, print_result, write_json
from benchmarks.sizes import FULL, QUICK, Sizes

BENCHMARKS: dict[str, Callable[[Path, Sizes], Result]] = {
    "throughput": throughput.measure,
    "start_latency": start_latency.measure,
    "submission": submission.measure,
    "memory": memory.measure,
    "packing": packing.measure,
    "simulation": simulation.measure,
    "fairness": fairness.measure,
    "scheduling_pass": scheduling_pass.measure,
}
CORES = 2
"""All that is measured runs on so many cores, and the peers with it."""


def main() -> int:
    options = _options()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    sizes = QUICK if options.quick else FULL
    console = Console(width=WIDTH, highlight=False)
    computer = machine()
    console.print(
        f"Batchyard {batchyard.__version__} on {computer.cores} cores of {computer.processor}, Linux {computer.kernel},"
        f" Python {computer.python}, load average {computer.load_before:.2f}\n",
    )
    results: dict[str, Result] = {}
    for name in options.only or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="batchyard-benchmark-", dir=options.folder) as folder:
            Path(folder).chmod(0o711)
            results[name] = BENCHMARKS[name](Path(folder), sizes)
        print_result(results[name], console)
    at = datetime.now(UTC)
    path = options.json or Path(__file__).parent / "results" / f"{at:%Y-%m-%dT%H-%M-%SZ}.json"
    report = Report(
        at=at.isoformat(timespec="seconds"),
        version=batchyard.__version__,
        quick=options.quick,
        sizes=sizes,
        machine=computer,
        results=results,
    )
    write_json(report, path)
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures Batchyard beside its peers.")
    parser.add_argument("--only", metavar="NAME", action="append", choices=BENCHMARKS, help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it works; the numbers mean nothing")
    parser.add_argument("--json", metavar="FILE", type=Path, help="instead of benchmarks/results/<time>.json")
    parser.add_argument("--folder", type=Path, help="where data directories are made: the disk that is measured")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
