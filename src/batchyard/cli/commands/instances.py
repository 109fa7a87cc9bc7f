"""`batchyard instances`: what managed compute environments have launched, and the hosts of unmanaged ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import click

from batchyard.cli.client import Json
from batchyard.cli.instance_texts import cost_of, reason_of, state_cell, used_of
from batchyard.cli.invocation import Command, Invocation, complete_environments, json_option, shared_options
from batchyard.cli.terminal import Cell, print_json, print_note, print_table
from batchyard.cli.times import duration, moment, now_milliseconds

USUAL_LIMIT = 100
PURCHASES = {"ON_DEMAND": "on-demand", "SPOT": "Spot", "REGISTERED": "registered"}


@click.command(
    cls=Command,
    examples=[
        ("batchyard instances", "what runs or boots now"),
        ("batchyard instances --environment spot --all", "of one compute environment, those that are gone too"),
        ("batchyard instances --json | jq '[.instances[].cost // 0] | add'", "US dollars so far"),
    ],
)
@click.option(
    "--environment",
    metavar="ENV",
    shell_complete=complete_environments,
    help="Only instances of this compute environment.",
)
@click.option("--all", "everything", is_flag=True, help="Also those that are terminated, after those that are not.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"How many at most. Default: {USUAL_LIMIT}.")
@json_option
@shared_options
@click.pass_obj
def instances(
    invocation: Invocation, environment: str | None, everything: bool, limit: int | None, as_json: bool
) -> None:
    """List the instances that compute environments have launched, the newest first, and the hosts that are registered.

    Costs are what EC2 would charge: the catalogue's price of the instance type (Spot: a typical one) for the time that
    the instance has run.
    """
    request = {"all": everything} | ({"computeEnvironment": environment} if environment is not None else {})
    most = limit or USUAL_LIMIT
    shown = list(islice(invocation.client().instances(**request), most + 1))
    more = len(shown) > most
    shown = shown[:most]
    if as_json:
        print_json({"instances": shown})
        return
    if not shown:
        print_note(
            "There are no instances." if everything else "There are no instances now; --all shows those of before."
        )
        return
    _print(shown)
    if more:
        print_note(f"The first {most}; --limit shows more.")


def _print(shown: Sequence[Json]) -> None:
    now = now_milliseconds()
    rows = [
        (
            Cell(each["instanceId"], "bold"),
            Cell(each.get("instanceType") or each.get("name") or ""),
            Cell(each["computeEnvironment"]),
            Cell(str(PURCHASES.get(each["purchase"], each["purchase"]))),
            state_cell(each),
            Cell(used_of(each, "vcpus")),
            Cell(used_of(each, "memory")),
            Cell(str(len(each["jobs"]))),
            Cell(moment(each["launchedAt"])),
            Cell(duration(each.get("terminatedAt", now) - each["launchedAt"])),
            Cell(cost_of(each)),
            Cell(reason_of(each), "dim"),
        )
        for each in shown
    ]
    print_table(
        (
            "INSTANCE",
            "TYPE",
            "ENVIRONMENT",
            "PURCHASE",
            "STATE",
            "VCPU",
            "MEMORY (MiB)",
            "JOBS",
            "LAUNCHED",
            "LIVED",
            "COST ($)",
            "REASON",
        ),
        rows,
        right=frozenset(("VCPU", "MEMORY (MiB)", "JOBS", "LIVED", "COST ($)")),
    )
