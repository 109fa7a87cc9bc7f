from __future__ import annotations

from collections.abc import Iterator

import pytest
from toy_endpoint import Toy, served


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def open_toy() -> Toy:
    """A toy that asks for no signatures."""
    return Toy(mode="none")


@pytest.fixture
def port(toy: Toy) -> Iterator[int]:
    with served(toy) as port:
        yield port
