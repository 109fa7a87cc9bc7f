"""How the generated modules describe an operation."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Operation(NamedTuple):
    """One operation of a service model."""

    name: str
    """As AWS spells it: `SubmitJob`."""
    method: str
    uri: str
    """The path of the service model, such as `/v1/submitjob` or `/v1/tags/{resourceArn}`."""
    input: type[Struct] | None
    output: type[Struct] | None
