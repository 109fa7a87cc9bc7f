"""What the command line says of an instance or a host."""

from __future__ import annotations

from batchyard.cli.client import Json
from batchyard.cli.terminal import Cell
from batchyard.cli.times import moment

_STATE_COLOURS = {"pending": "cyan", "running": "green", "draining": "yellow", "terminated": "dim"}


def state_cell(instance: Json) -> Cell:
    return Cell(instance["state"], _STATE_COLOURS.get(instance["state"]))


def used_of(instance: Json, member: str) -> str:
    """`1.5/4`: what jobs use of what they can have."""
    used = instance[f"used{member.capitalize()}"]
    return f"{used:g}/{instance[member]}"


def cost_of(instance: Json) -> str:
    """US dollars; nothing for a host, which is its user's."""
    return f"{instance['cost']:.4f}" if "cost" in instance else ""


def reason_of(instance: Json) -> str:
    """Why it drains or is gone, and until when it may."""
    reason = str(instance.get("reason") or "")
    if instance["state"] != "draining" or "deadline" not in instance:
        return reason
    return f"{reason}; until {moment(instance['deadline'])}"
