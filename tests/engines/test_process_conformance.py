"""The process runtime passes the conformance suite."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from batchyard.engines.local.process.engine import ProcessEngine

pytest.register_assert_rewrite("conformance")

from conformance import EngineConformance, Rig  # noqa: E402

MARKER = "BATCHYARD_TASK_ID"


class TestProcess(EngineConformance):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        logs = tmp_path / "logs"
        factory = functools.partial(ProcessEngine, tmp_path / "data", logs, 4.0, 4096, idle_seconds=0.1)
        rig = Rig(factory=factory, log_root=logs)
        rig.base_environment |= {MARKER}
        return rig
