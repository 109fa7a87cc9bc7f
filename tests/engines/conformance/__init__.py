"""What every engine must do, whatever it runs tasks on. A runtime passes by subclassing `EngineConformance`:

    class TestDocker(EngineConformance):
        @pytest.fixture
        def rig(self, tmp_path):
            yield Rig(factory=functools.partial(DockerEngine, …), log_root=tmp_path / "logs", image="busybox:1")
            …end whatever the engine left running…

Commands use nothing but a POSIX shell and what busybox and coreutils have in common. Processes are looked for in the
host's /proc, where those of containers can be seen too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conformance.ahead import HandedOverAhead
from conformance.beginning_and_end import BeginningAndEnd
from conformance.bench import (
    Bench,
    Rig,
    Story,
    eventually,
    open_bench,
    processes_with,
    read_log,
    sleep_token,
    start_in_killed_server,
)
from conformance.ending import Ending
from conformance.output import OutputOfTasks
from conformance.own_files import OwnFiles
from conformance.restarts import Restarts
from conformance.surroundings import Surroundings

__all__ = [
    "Bench",
    "EngineConformance",
    "Rig",
    "Story",
    "eventually",
    "open_bench",
    "processes_with",
    "read_log",
    "sleep_token",
    "start_in_killed_server",
]


class EngineConformance(BeginningAndEnd, Surroundings, OwnFiles, OutputOfTasks, Ending, HandedOverAhead, Restarts):
    @pytest.fixture
    async def bench(self, rig: Rig) -> AsyncIterator[Bench]:
        bench = await open_bench(rig)
        await bench.engine.reconcile([])
        yield bench
        await bench.engine.close()
        last = await open_bench(rig)  # A test may have closed the engine itself; either way nothing is left running.
        await last.engine.reconcile([])
        await last.engine.close()
