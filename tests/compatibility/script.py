"""`scripts/generate_compatibility.py` as a module: the account of every member, for tests."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "generate_compatibility"


def compatibility_script() -> ModuleType:
    if NAME not in sys.modules:
        path = Path(__file__).parents[2] / "scripts" / f"{NAME}.py"
        spec = importlib.util.spec_from_file_location(NAME, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[NAME]


def account() -> Any:
    """The model beside the table, as both stand in this tree."""
    script = compatibility_script()
    return script.Account(script.batch_model(), tomllib.loads(script.TABLE.read_text()))
