"""HyperQueue's LocalCluster as a peer: `python -m benchmarks.hyperqueue_peer FOLDER CORES` is a cluster in a process of
its own. For each number of tasks that it reads it runs so many, and answers with the tasks per second.

It has the lightest set-up that its API offers: no journal, no output files (`stdout=None`: /dev/null), no resource but
one core a task. Its client asks for the end of a job once a second, so the rate is taken where that favours it: at the
end, or at the last report before the end, whichever is faster.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from hyperqueue import Job, LocalCluster
from hyperqueue.client import Client
from hyperqueue.cluster import WorkerConfig


def main() -> None:
    folder = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # The cluster greets on standard output.
    with LocalCluster(str(folder), WorkerConfig(cores=int(sys.argv[2]))) as cluster:
        client = cluster.client()
        for line in sys.stdin:
            print(rate(client, int(line), folder), file=answers, flush=True)


def rate(client: Client, tasks: int, folder: Path) -> float:
    """Runs so many tasks; tasks per second from the submission on."""
    job = Job(folder)
    for _ in range(tasks):
        job.program(["/bin/true"], stdout=None, stderr=None)
    reports: list[float] = []

    def note(jobs: dict[int, dict[str, Any]]) -> None:
        (report,) = jobs.values()
        if not report["completed"]:
            reports.append(report["finished"] / (time.perf_counter() - began))

    began = time.perf_counter()
    submitted = client.submit(job)
    failed = client.connection.wait_for_jobs((submitted.id,), note)
    reports.append(tasks / (time.perf_counter() - began))
    if failed:
        raise SystemExit("HyperQueue's tasks have failed")
    return max(reports[-2:])


if __name__ == "__main__":
    main()
