"""A server for all tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console import NOWHERE, Shell

from server_process import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("cli") / "data", overcommit=4) as server:
        yield server


@pytest.fixture
def batchyard(server: ServerProcess) -> Shell:
    return Shell({name: value for name, value in server.client_environment().items() if name != "NO_COLOR"})


@pytest.fixture
def without_server(batchyard: Shell) -> Shell:
    """The same where no server answers."""
    return Shell(batchyard.environment | {"AWS_ENDPOINT_URL": NOWHERE})
