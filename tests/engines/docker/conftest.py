"""One Docker Engine for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dockerd import DockerDaemon, docker_daemon


@pytest.fixture(scope="session")
def daemon() -> Iterator[DockerDaemon]:
    with docker_daemon() as running:
        yield running
