"""One Docker Engine for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).parent.parent)
)  # For `conformance` and `dockerd`, which all engines' tests share.

from dockerd import DockerDaemon, docker_daemon


@pytest.fixture(scope="session")
def daemon() -> Iterator[DockerDaemon]:
    with docker_daemon() as running:
        yield running
