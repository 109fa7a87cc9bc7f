"""The kernel's tests are stories: see `story.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("story", "state_dump", "reference_model", "random_life")

from story import Story  # noqa: E402


@pytest.fixture
def story() -> Iterator[Story]:
    """Two processors. At the end every order must have been accounted for and every job finished."""
    story = Story()
    yield story
    story.over()
