"""The demo: a hyper-parameter sweep over a real data set, driven by boto3 alone.

Starts a Batchyard server in a temporary directory, submits an array job that trains sixteen models, a job that depends
on it and picks the best, and a job that fails once and is retried. While the array runs the server is killed with
`kill -9` and started again: the work goes on. Prints the result and a table of the jobs, and stops what it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
CHILDREN = 16
PICTURE = os.environ.get("DEMO_PICTURE")
"""A file that shall receive what is printed, as a picture (SVG)."""
console = Console(highlight=False, record=PICTURE is not None, width=100 if PICTURE else None)


class Server:
    """A server process of our own, on one data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: dict[str, str] = {}

    def start(self) -> None:
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "batchyard", "serve", "--runtime", "process", "--port", str(self.port)]
        command += ["--data-dir", str(self.folder / "data"), "--ready-file", str(ready)]
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server did not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.01)
        self.connection = json.loads(ready.read_text())
        self.port = int(self.connection["endpoint"].rpartition(":")[2])

    def end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.connection["endpoint"],
            region_name=self.connection["region"],
            aws_access_key_id=self.connection["access_key_id"],
            aws_secret_access_key=self.connection["secret_access_key"],
        )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="batchyard-demo-") as folder:
        server = Server(Path(folder))
        server.start()
        console.print(
            f"[bold]Batchyard[/] is ready at {server.connection['endpoint']}; everything below is plain boto3.\n"
        )
        try:
            run(server, Path(folder))
        finally:
            server.end(signal.SIGTERM)
    if PICTURE is not None:
        console.save_svg(PICTURE, title="make demo")


def run(server: Server, folder: Path) -> None:
    batch = server.client("batch")
    results = folder / "results"
    results.mkdir()
    for name in ("train", "select_best", "publish"):
        register(batch, name, results)

    sweep = submit(batch, "train", arrayProperties={"size": CHILDREN})
    reduce = submit(batch, "select_best", dependsOn=[{"jobId": sweep}])
    retry_busy = {
        "attempts": 3,
        "evaluateOnExit": [{"onExitCode": "75", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}],
    }
    publish = submit(batch, "publish", dependsOn=[{"jobId": reduce}], retryStrategy=retry_busy)
    console.print(
        f"Submitted an array of {CHILDREN} trainings, a reduce job that depends on it, and a job that will fail once.\n"
    )

    killed = False
    shown = ""
    while True:
        jobs = {job["jobId"]: job for job in batch.describe_jobs(jobs=[sweep, reduce, publish])["jobs"]}
        line = progress(jobs[sweep], jobs[reduce], jobs[publish])
        if line != shown:
            console.print(line, soft_wrap=True)
            shown = line
        if not killed and jobs[sweep]["arrayProperties"]["statusSummary"]["SUCCEEDED"] >= 5:
            killed = True
            restart(server)
        if jobs[publish]["status"] in ("SUCCEEDED", "FAILED"):
            break
        time.sleep(0.25)

    children = [f"{sweep}:{index}" for index in range(CHILDREN)]
    described = batch.describe_jobs(jobs=[sweep, *children, reduce, publish])["jobs"]
    console.print()
    console.print(table(described))
    show_logs(server.client("logs"), [jobs[reduce], jobs[publish]])
    if jobs[publish]["status"] != "SUCCEEDED":
        sys.exit(f"the demo failed: {jobs[publish].get('statusReason')}")


def register(batch: Any, name: str, results: Path) -> None:
    batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": "python:3.11",
            "command": [sys.executable, str(HERE / f"{name}.py")],
            "environment": [
                {"name": "RESULTS", "value": str(results)},
                {"name": "OMP_NUM_THREADS", "value": "1"},
                {"name": "OPENBLAS_NUM_THREADS", "value": "1"},
            ],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "1024"}],
        },
    )


def submit(batch: Any, name: str, **members: Any) -> str:
    job_id: str = batch.submit_job(jobName=name, jobQueue="default", jobDefinition=name, **members)["jobId"]
    return job_id


def restart(server: Server) -> None:
    console.print("[yellow]kill -9 of the server, in the middle of the sweep …[/]")
    server.end(signal.SIGKILL)
    begun = time.monotonic()
    server.start()
    console.print(
        f"[yellow]… and it is back after {time.monotonic() - begun:.1f} s; running jobs were not disturbed.[/]"
    )


def progress(sweep: dict[str, Any], reduce: dict[str, Any], publish: dict[str, Any]) -> str:
    summary = sweep["arrayProperties"]["statusSummary"]
    done = summary["SUCCEEDED"] + summary["FAILED"]
    bar = "█" * done + "▒" * (summary["STARTING"] + summary["RUNNING"])
    attempts = f" (attempt {len(publish['attempts']) + 1})" if publish["status"] in ("STARTING", "RUNNING") else ""
    return (
        f"  train {bar:·<{CHILDREN}} {done:2}/{CHILDREN}   select_best {reduce['status']:<9}   "
        f"publish {publish['status']}{attempts}"
    )


def table(jobs: list[dict[str, Any]]) -> Table:
    view = Table(title="Jobs", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("job", "status", "exit codes", "waited", "ran"):
        view.add_column(heading, justify="left" if heading in ("job", "status") else "right")
    for job in jobs:
        index = job.get("arrayProperties", {}).get("index")
        name = job["jobName"] if index is None else f"  {job['jobName']}:{index}"
        exit_codes = [str(attempt["container"].get("exitCode", "-")) for attempt in job["attempts"]]
        colour = "green" if job["status"] == "SUCCEEDED" else "red"
        started, stopped = job.get("startedAt"), job.get("stoppedAt")
        view.add_row(
            name,
            f"[{colour}]{job['status']}[/]",
            ", ".join(exit_codes),
            seconds(started - job["createdAt"]) if started else "",
            seconds(stopped - started) if started and stopped else "",
        )
    return view


def seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.2f} s"


def show_logs(logs: Any, jobs: list[dict[str, Any]]) -> None:
    for job in jobs:
        console.print(f"\n[bold]{job['jobName']}[/]")
        for number, attempt in enumerate(job["attempts"], 1):
            stream = attempt["container"]["logStreamName"]
            events = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)[
                "events"
            ]
            for event in events:
                exit_code = attempt["container"]["exitCode"]
                console.print(f"  attempt {number}, exit {exit_code}: {event['message']}", soft_wrap=True)


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    main()
