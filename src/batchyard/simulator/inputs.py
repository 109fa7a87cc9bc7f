"""What is wrong with what the simulator was given."""

from __future__ import annotations


class InputError(Exception):
    """A workload or an environment file that can't be simulated: says where, and what would do."""
