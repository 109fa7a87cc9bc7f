"""One server on the process runtime for all acceptance tests that do not stop or break theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("response_shapes", "work")

from response_shapes import watch  # noqa: E402

from server_process import ServerProcess  # noqa: E402
from work import Gate  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("shared") / "data")
    server.configure_client = watch
    with server:
        yield server
        assert server.process is not None
        assert server.process.poll() is None, f"the server has ended:\n{server.log()}"
        assert "Traceback" not in server.log(), server.log()


@pytest.fixture
def batch(server: ServerProcess) -> Any:
    return server.client("batch")


@pytest.fixture
def logs(server: ServerProcess) -> Any:
    return server.client("logs")


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Makes servers of a test's own, not yet started, and clears them away."""
    made: list[ServerProcess] = []

    def make(**settings: Any) -> ServerProcess:
        server = ServerProcess(settings.pop("data_dir", tmp_path / f"server{len(made)}" / "data"), **settings)
        server.configure_client = watch
        made.append(server)
        return server

    yield make
    for server in made:
        server.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Jobs can wait at it. It is open when the test is over."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()
