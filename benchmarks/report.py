"""The table on the terminal, and the JSON beside it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.measures import Result, Row
from benchmarks.sizes import Sizes

WIDTH = 104
"""Columns of the table, on a terminal or in a file."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the numbers were measured on."""

    processor: str
    cores: int
    """Those that the benchmarks used."""
    kernel: str
    python: str
    load_before: float
    """Load average over the last minute."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one run has measured."""

    at: str
    """ISO 8601, UTC."""
    version: str
    quick: bool
    sizes: Sizes
    machine: Machine
    results: dict[str, Result]


def machine() -> Machine:
    """This machine, as it is now."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        load_before=os.getloadavg()[0],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def print_result(result: Result, console: Console) -> None:
    """One benchmark's part of the table."""
    table = Table(title=result.title, title_justify="left", title_style="bold", expand=True)
    table.add_column("", ratio=1)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("aim", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=6)
    for row in result.rows:
        table.add_row(row.label, f"{_number(row.value)} {row.unit}", str(row.aim or ""), _verdict(row))
    console.print(table)
    for note in result.notes:
        console.print(f"  {note}", style="dim")
    console.print()


def _verdict(row: Row) -> str:
    if row.aim is None:
        return ""
    return "[green]met[/]" if row.aim.is_met_by(row.value) else "[red]missed[/]"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write_json(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
