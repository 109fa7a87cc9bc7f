"""The report on a simulation, on the terminal."""

from __future__ import annotations

from batchyard.cli.terminal import Cell, one_line, painted, print_line, print_table
from batchyard.cli.times import duration
from batchyard.simulator.report import EnvironmentCost, Instances, Report, Waits

MOST_ROWS = 40
"""Of a table; the JSON has all."""


def print_report(report: Report) -> None:
    """Totals, then a table for each of: waits, cost, instances."""
    _print_totals(report)
    if report.waits:
        _print_waits(report.waits)
    _print_costs(report.environments)
    if report.instances:
        _print_instances(report.instances)
    for left in report.left:
        print_line()
        jobs = "1 job waits" if left.jobs == 1 else f"{left.jobs:,} jobs wait"
        print_line(f"{painted(f'At the end {jobs}:', 'yellow')} {one_line(left.reason)}")


def _print_totals(report: Report) -> None:
    jobs = f"{report.jobs:,} submitted, {report.succeeded:,} succeeded, {report.failed:,} failed"
    if report.never_began:
        jobs += f" ({report.never_began:,} without having begun)"
    if report.unfinished:
        jobs += f", {report.unfinished:,} not finished"
    attempts = f"{report.attempts:,}, of which {report.retries:,} retries and {report.failed_attempts:,} failed"
    instances = f"{report.launches:,} launched, at most {report.peak_instances:,} at a time"
    if report.spot_reclaims:
        instances += f", {report.spot_reclaims:,} reclaimed (Spot)"
    lines = [
        ("Jobs", jobs),
        ("Attempts", attempts),
        ("Makespan", duration(1000 * report.makespan_seconds)),
        ("Utilisation", f"{_percent(report.utilisation_of_offered)} of the vCPUs offered,"
         f" {_percent(report.utilisation_of_maximum)} of the maximum"),
        ("vCPU hours", f"{report.vcpu_seconds_used / 3600:,.2f} used, {report.vcpu_seconds_offered / 3600:,.2f} offered,"
         f" at most {report.peak_vcpus:g} vCPUs at a time"),
        ("Instances", instances),
        ("Cost", money(report.cost)),
    ]  # fmt: skip
    lines += [("Skipped", f"{count:,} lines: {reason}") for reason, count in report.skipped.items()]
    for name, text in lines:
        print_line(f"{painted(name.ljust(13), 'bold')}{text}")


def _print_waits(waits: list[Waits]) -> None:
    rows = [
        [
            Cell(each.queue or "all queues"),
            Cell(each.share or ""),
            Cell(f"{each.jobs:,}"),
            *(
                Cell(duration(1000 * seconds))
                for seconds in (
                    each.mean_seconds,
                    each.p50_seconds,
                    each.p90_seconds,
                    each.p99_seconds,
                    each.max_seconds,
                )
            ),
        ]
        for each in waits
    ]
    _print_section(("WAIT", "SHARE", "JOBS", "MEAN", "P50", "P90", "P99", "MAX"), rows, text_columns=2)


def _print_costs(environments: list[EnvironmentCost]) -> None:
    rows = []
    for each in environments:
        used, offered = f"{each.vcpu_hours_used:,.2f}", f"{each.vcpu_hours_offered:,.2f}"
        rows.append([Cell(each.environment), Cell(""), Cell(used), Cell(offered), Cell(money(each.cost))])
        rows += [
            [Cell(""), Cell(part.share or "(none)"), Cell(f"{part.vcpu_hours:,.2f}"), Cell(""), Cell(money(part.cost))]
            for part in each.shares
            if len(each.shares) > 1 or part.share is not None
        ]
    _print_section(("COST", "SHARE", "VCPU HOURS", "OFFERED", "US DOLLARS"), rows, text_columns=2)


def _print_instances(instances: list[Instances]) -> None:
    rows = [
        [
            Cell(each.instance_type),
            Cell(each.environment),
            Cell(f"{each.launched:,}"),
            Cell(f"{each.peak:,}"),
            Cell(f"{each.hours:,.2f}"),
            Cell(money(each.cost)),
        ]
        for each in sorted(instances, key=lambda each: -each.cost)
    ]
    _print_section(("INSTANCES", "ENVIRONMENT", "LAUNCHED", "PEAK", "HOURS", "US DOLLARS"), rows, text_columns=2)


def _print_section(heads: tuple[str, ...], rows: list[list[Cell]], *, text_columns: int) -> None:
    print_line()
    print_table(heads, rows[:MOST_ROWS], right=frozenset(heads[text_columns:]))
    if len(rows) > MOST_ROWS:
        print_line(painted(f"… and {len(rows) - MOST_ROWS:,} more (--json has all)", "dim"))


def _percent(part: float | None) -> str:
    return f"{100 * part:.1f} %" if part is not None else "none"


def money(amount: float) -> str:
    """US dollars; less than one, to a hundredth of a cent."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:,.4f}"
