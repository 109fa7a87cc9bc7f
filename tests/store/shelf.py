"""A store that a kernel's story fills: the store's tests let a kernel decide what is to be saved."""

from __future__ import annotations

import asyncio
from pathlib import Path

from story import Story

from batchyard.kernel.effects import Effects
from batchyard.store.store import Store


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
