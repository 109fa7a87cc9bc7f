"""The store's tests share `story.py` with the kernel's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("story", "state_dump", "shelf")

from shelf import Shelf  # noqa: E402
from story import Story  # noqa: E402


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "batchyard.db")
    yield shelf
    shelf.close()


@pytest.fixture
def story(shelf: Shelf) -> Story:
    return shelf.story
