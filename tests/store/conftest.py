"""The store's tests let a kernel decide what is to be saved: they share `story.py` with the kernel's tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kernel"))
pytest.register_assert_rewrite("story", "state_dump")

from story import Story  # noqa: E402

from batchyard.kernel.effects import Effects  # noqa: E402
from batchyard.store.store import Store  # noqa: E402


class Shelf:
    """A store, and a story that keeps its rows there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = asyncio.new_event_loop()
        self.store = self.opened()
        self.story = Story(save=self.save)

    def opened(self) -> Store:
        store = Store(self.path)
        store.open()
        return store

    def save(self, effects: Effects) -> None:
        if effects.durable:
            self.loop.run_until_complete(self.store.save(effects))

    def reopen(self) -> None:
        self.store.close()
        self.store = self.opened()

    def close(self) -> None:
        self.store.close()
        self.loop.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "batchyard.db")
    yield shelf
    shelf.close()


@pytest.fixture
def story(shelf: Shelf) -> Story:
    return shelf.story
