"""Where jobs reach the metadata of their instances, by how the server listens and where jobs run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchyard.config import Config
from batchyard.metadata_address import metadata_address

HERE = "http://127.0.0.1:8324/batchyard/metadata/"
SOCKET = "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("settings", "docker_host", "address"),
    [
        ({}, None, HERE),
        ({"host": "0.0.0.0"}, None, HERE),
        ({"host": "localhost"}, None, HERE),
        ({"host": "127.0.0.2"}, None, "http://127.0.0.2:8324/batchyard/metadata/"),
        ({"host": "::"}, None, "http://[::1]:8324/batchyard/metadata/"),
        ({"host": "192.0.2.1"}, None, None),
        ({"host": "batch.example.org"}, None, None),
        ({}, SOCKET, None),
        ({"docker_network": "host"}, SOCKET, HERE),
        ({"docker_network": "host"}, "tcp://127.0.0.1:2375", HERE),
        ({"docker_network": "host"}, "tcp://localhost:2375", HERE),
        ({"docker_network": "host"}, "tcp://192.0.2.1:2375", None),
    ],
)
def test_address(settings: dict[str, Any], docker_host: str | None, address: str | None) -> None:
    config = Config(data_dir=Path("data"), **settings)
    assert metadata_address(config, 8324, docker_host) == address
