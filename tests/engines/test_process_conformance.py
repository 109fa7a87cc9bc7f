"""The process runtime passes the conformance suite, with control groups and without."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance import EngineConformance, Rig

from batchyard.engines.local.process.engine import ProcessEngine

MARKER = "BATCHYARD_TASK_ID"


class TestProcess(EngineConformance):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        logs = tmp_path / "logs"
        factory = functools.partial(ProcessEngine, tmp_path / "data", logs, 4.0, 4096, idle_seconds=0.1)
        rig = Rig(factory=factory, log_root=logs)
        rig.base_environment |= {MARKER}
        return rig


HIDE_CONTROL_GROUPS = """
mount -t tmpfs none /sys/fs/cgroup
mkdir -p "$1"
exec "$0" -P -m batchyard.engines.local.process.daemon "$1" --idle-seconds=600
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may hide the control groups")
class TestProcessWithoutControlGroups(EngineConformance):
    """Where control groups can't be used nothing limits memory, and a task's processes are found in /proc."""

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        logs, data = tmp_path / "logs", tmp_path / "data"
        subprocess.run(
            ["unshare", "-m", "sh", "-c", HIDE_CONTROL_GROUPS, sys.executable, str(data / "process")], check=True
        )
        factory = functools.partial(ProcessEngine, data, logs, 4.0, 4096)
        rig = Rig(factory=factory, log_root=logs, limits_memory=False)
        rig.base_environment |= {MARKER}
        yield rig
        asyncio.run(end_runner(factory()))


async def end_runner(engine: ProcessEngine) -> None:
    await engine.open(lambda _: None)
    assert not engine.limits_memory
    assert "Memory limits are not enforced" in engine.notes[0]
    assert engine.runner_process_id is not None
    await engine.close()
    os.kill(engine.runner_process_id, signal.SIGTERM)
