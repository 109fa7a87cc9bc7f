"""The data file: comma-separated values under comment lines that say where and from when they are.

`scripts/build_instance_catalogue.py` writes it.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import cast

from batchyard.catalogue.expansion import Catalogue
from batchyard.catalogue.instance_type import Architecture, InstanceType

FILE = "instance_types.csv"
COLUMNS = (
    "name",
    "vcpus",
    "memory",
    "schedulable_memory",
    "gpus",
    "gpu_model",
    "architecture",
    "current_generation",
    "on_demand_price",
    "spot_price",
    "spot_price_from",
)


@cache
def load() -> Catalogue:
    """The catalogue that comes with this package; it is read once."""
    return parse(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """A data file's text. Raises ValueError where it is not one."""
    lines = text.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    about = dict(line.removeprefix("# ").split(": ", 1) for line in comments if ": " in line)
    rows = csv.reader(line for line in lines if not line.startswith("#"))
    if tuple(next(rows, ())) != COLUMNS:
        raise ValueError(f"The columns of an instance catalogue are {', '.join(COLUMNS)}")
    return Catalogue(map(_instance_type, rows), source=about.get("source", ""), date=about.get("date", ""))


def _instance_type(row: list[str]) -> InstanceType:
    name, vcpus, memory, schedulable, gpus, gpu_model, architecture, current, on_demand, spot, _ = row
    return InstanceType(
        name=name,
        vcpus=int(vcpus),
        memory=int(memory),
        schedulable_memory=int(schedulable),
        gpus=int(gpus),
        gpu_model=gpu_model or None,
        architecture=cast(Architecture, architecture),
        current_generation=current == "yes",
        on_demand_price=float(on_demand),
        spot_price=float(spot),
    )
