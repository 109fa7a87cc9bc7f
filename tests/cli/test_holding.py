"""`batchyard hold`, `release` and `priority`."""

from __future__ import annotations

from pathlib import Path

from console import Shell


def test_hold_release_and_priority(batchyard: Shell, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"until [ -e '{gate}' ]; do sleep 0.02; done"
    first = batchyard.json("run", "--detach", "--", "sh", "-c", script)["jobId"]
    second = batchyard.json("run", "--detach", "--depends-on", first, "--", "true")["jobId"]
    assert "held" in batchyard("hold", second, "--reason", "look first").stdout
    assert "Held: look first" in batchyard("show", second).stdout
    assert "has priority 9" in batchyard("priority", second, "9").stdout
    assert batchyard.json("show", second)["jobs"][0]["schedulingPriority"] == 9
    assert "released" in batchyard("release", second).stdout
    again = batchyard("release", second)
    assert again.returncode == 4
    assert "is not held" in again.stderr
    gate.touch()
