"""Time limits of attempts that have ended by themselves don't pile up."""

from __future__ import annotations

import pytest
from story import Story

from batchyard.kernel import kernel


def test_deadlines_of_ended_attempts_are_dropped(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "STALE_DEADLINES", 3)
    for number in range(10):
        label = f"job{number}"
        story.submit(label, timeout=3600)
        story.run(label)
        story.ordered(f"start {label}#1")
    assert len(story.kernel.state.deadlines) <= 4


def test_the_deadline_of_a_running_attempt_is_kept(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "STALE_DEADLINES", 0)
    story.submit("long", timeout=60)
    story.begin("long")
    for number in range(5):
        story.submit(f"job{number}", timeout=3600)
        story.run(f"job{number}")
        story.given("start")
    story.pass_time(61)
    story.ordered("stop long#1 30")
    story.exit("long", 137)
    assert story.status("long") == "FAILED"
