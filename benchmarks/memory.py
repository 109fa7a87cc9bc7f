"""What a queued job costs in the server's memory, and what a server with so many of them takes to start.

A million submissions over HTTP would take a quarter of an hour, so the jobs are put into the store by the same code
that the server runs for each (kernel and store, without HTTP), and a server is started on it. Arrays are submitted to a
running server. Their queue is blocked, so all of them wait.
"""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from uuid import uuid4

from batchyard.installation import load_installation
from batchyard.kernel.commands import SubmitJob
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import Settings
from batchyard.kernel.stored import restore
from batchyard.shapes import batch as shapes
from batchyard.store.store import Store
from benchmarks.client import Connection
from benchmarks.measures import Result, Row, at_most
from benchmarks.server import serve
from benchmarks.sizes import Sizes
from benchmarks.work import BLOCKED, block_a_queue, register

SETTLE_SECONDS = 1.0
"""After a start, before memory is looked at."""
COMMIT_EVERY = 2_000
REQUEST_BYTES = 80


def measure(folder: Path, sizes: Sizes) -> Result:
    rows = [_array_row(folder / "arrays", sizes)]
    empty_bytes, empty_seconds = _empty(folder / "empty")
    rows.append(Row(key="memory.empty", label="an empty server", value=empty_bytes / 2**20, unit="MiB"))
    rows.append(Row(key="memory.empty_start", label="an empty server, restart", value=empty_seconds, unit="s"))
    for place, count in zip(("small", "medium", "large"), sizes.queued, strict=True):
        rows += _queued_rows(folder / place, place, count, empty_bytes)
    notes = [
        "VmRSS, less that of an empty server, right after a start. The smallest number divides the noise of a start, some"
        " hundred KiB, by few jobs. Restart: from the start of the process to its first answer."
    ]
    return Result("Memory", rows, notes)


def _empty(data_dir: Path) -> tuple[int, float]:
    """VmRSS and seconds to start, of a server that has a blocked queue and nothing in it."""
    _prepare(data_dir)
    with serve(data_dir) as server:
        time.sleep(SETTLE_SECONDS)
        return server.resident_bytes(), server.start_seconds


def _queued_rows(data_dir: Path, place: str, count: int, empty_bytes: int) -> list[Row]:
    _prepare(data_dir)
    asyncio.run(_fill(data_dir, count))
    with serve(data_dir) as server:
        time.sleep(SETTLE_SECONDS)
        used, seconds = server.resident_bytes() - empty_bytes, server.start_seconds
    return [
        Row(
            key=f"memory.{place}",
            label=f"{count:,} queued jobs: a job",
            value=used / count,
            unit="bytes",
            aim=at_most(1024),
        ),
        Row(key=f"memory.{place}_start", label=f"{count:,} queued jobs: restart", value=seconds, unit="s"),
    ]


def _prepare(data_dir: Path) -> None:
    """A data directory with a blocked queue, whose head the next server finds running."""
    with serve(data_dir, end_runner=False) as server, server.connect() as connection:
        block_a_queue(connection)
        register(connection, "true", ["/bin/true"])


async def _fill(data_dir: Path, count: int) -> None:
    """Puts so many jobs into the queue of a data directory that no server uses."""
    store = Store(data_dir / "batchyard.db")
    store.open()
    gc.disable()
    try:
        kernel = Kernel(Settings(account=load_installation(store, None, None).account))
        kernel.add_machine("local-process", Resources(1000, 1024), 0)
        with store.load() as snapshot:
            restore(kernel.state, snapshot, _now())
        for first in range(0, count, COMMIT_EVERY):
            for number in range(first, min(count, first + COMMIT_EVERY)):
                request = shapes.SubmitJobRequest(job_name=f"job-{number}", job_queue=BLOCKED, job_definition="true")
                kernel.apply(SubmitJob(request=request, job_id=str(uuid4()), size=REQUEST_BYTES), _now())
            kernel.step(_now())
            effects = kernel.take_effects()
            assert not effects.start, "the queue is not blocked"
            await store.save(effects)
    finally:
        gc.enable()
        store.close()


def _array_row(data_dir: Path, sizes: Sizes) -> Row:
    """The growth of a running server."""
    with serve(data_dir) as server, server.connect() as connection:
        block_a_queue(connection)
        register(connection, "true", ["/bin/true"])
        _submit_arrays(connection, sizes, 2)
        before = server.resident_bytes()
        _submit_arrays(connection, sizes, sizes.arrays)
        grown = server.resident_bytes() - before
    return Row(
        key="memory.array",
        label=f"an array of {sizes.array_size:,}: a child (mean of {sizes.arrays} arrays)",
        value=grown / (sizes.arrays * sizes.array_size),
        unit="bytes",
        aim=at_most(64),
    )


def _submit_arrays(connection: Connection, sizes: Sizes, count: int) -> None:
    properties = {"size": sizes.array_size}
    for number in range(count):
        connection.batch(
            "SubmitJob", jobName=f"array-{number}", jobQueue=BLOCKED, jobDefinition="true", arrayProperties=properties
        )


def _now() -> int:
    return time.time_ns() // 1_000_000
