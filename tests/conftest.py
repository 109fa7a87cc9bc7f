"""Shared by all tests. Being here, it puts this folder on the import path: `from server_process import ServerProcess`."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("server_process", "waiting", "conformance")
