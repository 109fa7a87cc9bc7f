"""`Ref::name` in commands. Source: User Guide "Job definition parameters"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from batchyard.kernel.refusal import Refusal

_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_.-]+)")


def substituted(command: Sequence[str], parameters: Mapping[str, str]) -> list[str]:
    """The command with every `Ref::name` replaced by the parameter's value, also inside an element; values are taken as
    they are and not searched again. Raises `Refusal` for a reference without a value."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in parameters:
            raise Refusal(f"Unable to substitute value. No parameter found for reference {name}")
        return parameters[name]

    return [_REFERENCE.sub(value, element) if "Ref::" in element else element for element in command]
