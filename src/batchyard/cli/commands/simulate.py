"""`batchyard simulate`: what a workload would do on given compute environments, in virtual time. Needs no server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import msgspec

from batchyard.cli.failures import usage_failure
from batchyard.cli.invocation import Command, debug_option
from batchyard.cli.simulation_report import print_report
from batchyard.cli.terminal import print_json, print_note
from batchyard.simulator.inputs import InputError
from batchyard.simulator.swf_workload import MappedField

if TYPE_CHECKING:
    from batchyard.kernel.kernel import Kernel

PROGRESS_SECONDS = 0.3
_PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples=[
        ("batchyard simulate jobs.csv --environment fleet.json", "jobs as CSV"),
        ("batchyard simulate log.swf.gz -e fleet.json --share-by user", "a log of the Parallel Workloads Archive"),
        ("batchyard simulate jobs.csv -e fleet.json --plot pictures", "with pictures"),
    ],
)
@click.argument("workload", type=_PATH)
@click.option(
    "-e", "--environment", "environment_file", type=_PATH, required=True, metavar="FILE",
    help="Compute environments, scheduling policies, job queues, machines and settings: JSON, or TOML (*.toml).",
)  # fmt: skip
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "swf"]),
    help="Of WORKLOAD. Default: swf for *.swf and *.swf.gz, else csv.",
)
@click.option(
    "--queue", "queues", multiple=True, metavar="[NUMBER=]NAME",
    help="SWF: the job queue for queue NUMBER of the log, or for all others. May be repeated.",
)  # fmt: skip
@click.option(
    "--share-by", type=click.Choice(get_args(MappedField)), help="SWF: the field that becomes the share identifier."
)
@click.option(
    "--memory-per-processor", type=click.IntRange(1), default=1024, metavar="MIB",
    help="SWF: of jobs whose memory is not known. Default: 1024.",
)  # fmt: skip
@click.option(
    "--until", type=click.FloatRange(0), metavar="SECONDS", help="End the run at this time after the first job."
)
@click.option("--seed", type=int, help="Of what is left to chance; over that of FILE.")
@click.option("--plot", "plot_folder", type=_PATH, metavar="DIR", help="Write pictures (SVG).")
@click.option("--events", "events_file", type=_PATH, metavar="FILE", help="Write every job that has ended (CSV).")
@click.option("--samples", "samples_file", type=_PATH, metavar="FILE", help="Write what there was over time (CSV).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def simulate(
    workload: Path,
    environment_file: Path,
    kind: str | None,
    queues: tuple[str, ...],
    share_by: MappedField | None,
    memory_per_processor: int,
    until: float | None,
    seed: int | None,
    plot_folder: Path | None,
    events_file: Path | None,
    samples_file: Path | None,
    as_json: bool,
) -> None:
    """Run the jobs of WORKLOAD on simulated machines, under the scheduler of the server, and say how it went.

    WORKLOAD is a CSV file or a log in the Standard Workload Format; either may be packed with gzip.
    """
    from batchyard.simulator.csv_workload import read_csv
    from batchyard.simulator.environment_file import load_environment_file
    from batchyard.simulator.plots import write_plots
    from batchyard.simulator.records import JobFile, write_samples
    from batchyard.simulator.report import report_of
    from batchyard.simulator.simulation import Simulation
    from batchyard.simulator.site import rare_collections
    from batchyard.simulator.swf_workload import Skipped, SwfOptions, read_swf
    from batchyard.simulator.workload import last_suffix

    skipped = Skipped()
    is_swf = kind == "swf" or (kind is None and last_suffix(workload) == ".swf")
    if not is_swf and (queues or share_by):
        raise usage_failure("--queue and --share-by are for workloads in the Standard Workload Format (--format swf)")
    try:
        file = load_environment_file(environment_file)
        if seed is not None:
            file.settings.seed = seed
        if is_swf:
            options = SwfOptions(
                queues=_queue_names(queues), share_by=share_by, memory_per_processor=memory_per_processor
            )
            jobs = read_swf(workload, options, skipped)
        else:
            jobs = read_csv(workload)
        with ExitStack() as stack:
            log = None
            if events_file is not None:
                log = JobFile(stack.enter_context(events_file.open("w", encoding="utf-8", newline="")))
            stack.enter_context(rare_collections())
            end = round(1000 * until) if until is not None else None
            with _progress() as inspect:
                statistics = Simulation(file, jobs, log=log, until=end, inspect=inspect).run()
    except InputError as problem:
        raise usage_failure(str(problem)) from None
    if samples_file is not None:
        write_samples(statistics.timeline, samples_file)
    pictures = write_plots(statistics, plot_folder) if plot_folder is not None else []
    report = report_of(statistics, skipped.counts)
    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    print_report(report)
    if pictures:
        print_note(f"Pictures: {', '.join(str(picture) for picture in pictures)}")


def _queue_names(given: tuple[str, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    for text in given:
        number, equals, name = text.partition("=")
        if equals and not (number.isascii() and number.removeprefix("-").isdigit()):
            raise usage_failure(f"--queue {text}: expected NUMBER=NAME, as 1=short")
        names[number if equals else "*"] = name if equals else text
    return names


@contextmanager
def _progress() -> Iterator[Callable[[Kernel, int], None] | None]:
    """A line on the terminal that says how far the run is; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from batchyard.cli.times import duration
    from batchyard.simulator.site import ORIGIN

    shown_at = time.monotonic()

    def show(kernel: Kernel, now: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= PROGRESS_SECONDS:
            shown_at = time.monotonic()
            jobs = len(kernel.state.jobs)
            sys.stderr.write(f"\r\x1b[Ksimulated {duration(now - ORIGIN)}, {jobs:,} jobs wait or run")
            sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
