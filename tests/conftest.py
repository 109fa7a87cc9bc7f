"""Shared by all tests. Being here, it puts this folder on the import path: `from server_process import ServerProcess`."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("server_process", "waiting", "conformance")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For tests side by side. Docker Engines share the host's bridge and packet filter: their tests stay together. Long tests
    begin first, so that none of them is left when all others are done."""
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.xdist_group("docker"))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
