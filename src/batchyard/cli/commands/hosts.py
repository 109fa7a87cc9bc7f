"""`batchyard hosts`: what UNMANAGED compute environments run their jobs on."""

# ruff: noqa: ARG002  (methods that click calls)
from __future__ import annotations

import click

from batchyard.cli.client import Json
from batchyard.cli.instance_texts import reason_of, state_cell, used_of
from batchyard.cli.invocation import (
    Command,
    Invocation,
    complete_environments,
    complete_hosts,
    json_option,
    shared_options,
)
from batchyard.cli.terminal import Cell, one_line, painted, print_json, print_line, print_note, print_table


class _Hosts(click.Group):
    """Its help ends with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write("  batchyard hosts\n")
            formatter.write("  batchyard hosts add lab-1 --environment lab --vcpus 8 --memory 16384\n")
            formatter.write("  batchyard hosts remove lab-1\n")


@click.group(cls=_Hosts, invoke_without_command=True)
@click.option(
    "--environment", metavar="ENV", shell_complete=complete_environments, help="Only hosts of this compute environment."
)
@json_option
@shared_options
@click.pass_context
def hosts(ctx: click.Context, environment: str | None, as_json: bool) -> None:
    """List the hosts of UNMANAGED compute environments, or add, drain and remove them.

    A host is a part of this machine under a name, of the size that you give. It takes jobs of its compute environment until it
    is drained or removed. Parts add up to what the server offers of the machine: see its setting overcommit.
    """
    if ctx.invoked_subcommand is not None:
        return
    invocation = ctx.ensure_object(Invocation)
    request = {"purchase": "REGISTERED"} | ({"computeEnvironment": environment} if environment is not None else {})
    found = list(invocation.client().instances(**request))
    if as_json:
        print_json({"instances": found})
        return
    if not found:
        print_note(
            "There are no hosts. Add one with: batchyard hosts add NAME --environment ENV --vcpus N --memory MIB"
        )
        return
    rows = [
        (
            Cell(each["name"], "bold"),
            Cell(each["instanceId"]),
            Cell(each["computeEnvironment"]),
            state_cell(each),
            Cell(used_of(each, "vcpus")),
            Cell(used_of(each, "memory")),
            Cell(f"{each.get('usedGpus', 0)}/{each.get('gpus', 0)}"),
            Cell(str(len(each["jobs"]))),
            Cell(reason_of(each), "dim"),
        )
        for each in found
    ]
    print_table(
        ("HOST", "INSTANCE", "ENVIRONMENT", "STATE", "VCPU", "MEMORY (MiB)", "GPU", "JOBS", "REASON"),
        rows,
        right=frozenset(("VCPU", "MEMORY (MiB)", "GPU", "JOBS")),
    )


@hosts.command(
    cls=Command,
    examples=[
        ("batchyard hosts add lab-1 --environment lab --vcpus 8 --memory 16384", "8 vCPU and 16 GiB of the machine")
    ],
)
@click.argument("name")
@click.option(
    "--environment",
    metavar="ENV",
    required=True,
    shell_complete=complete_environments,
    help="The UNMANAGED compute environment.",
)
@click.option("--vcpus", type=int, required=True, metavar="N", help="vCPUs.")
@click.option("--memory", type=int, required=True, metavar="MIB", help="Memory in MiB.")
@click.option("--gpus", type=int, default=0, show_default=True, metavar="N", help="GPUs.")
@shared_options
@click.pass_obj
def add(invocation: Invocation, name: str, environment: str, vcpus: int, memory: int, gpus: int) -> None:
    """Register a host under NAME."""
    host = invocation.client().batchyard(
        "RegisterHost", name=name, computeEnvironment=environment, vcpus=vcpus, memory=memory, gpus=gpus
    )
    _say(host, f"takes jobs of {one_line(host['computeEnvironment'])}")


@hosts.command(
    cls=Command,
    examples=[
        ("batchyard hosts drain lab-1", "what runs goes on, nothing new is placed"),
        ("batchyard hosts drain --undo lab-1", "it takes jobs again"),
    ],
)
@click.argument("host", metavar="NAME", shell_complete=complete_hosts)
@click.option("--undo", is_flag=True, help="Let it take jobs again.")
@shared_options
@click.pass_obj
def drain(invocation: Invocation, host: str, undo: bool) -> None:
    """Place nothing new on the host NAME. What runs on it goes on, and the host stays."""
    status = "ACTIVE" if undo else "DRAINING"
    changed = invocation.client().batchyard("UpdateHost", host=host, status=status)
    _say(changed, "takes jobs again" if undo else f"is draining; {_jobs(changed)} on it")


@hosts.command(
    cls=Command,
    examples=[
        ("batchyard hosts remove lab-1", "once what runs on it has ended"),
        ("batchyard hosts remove --force lab-1", "what runs on it is stopped"),
    ],
)
@click.argument("host", metavar="NAME", shell_complete=complete_hosts)
@click.option("--force", is_flag=True, help="Stop what runs on it: SIGTERM, and SIGKILL 30 seconds later.")
@shared_options
@click.pass_obj
def remove(invocation: Invocation, host: str, force: bool) -> None:
    """Remove the host NAME: nothing new is placed on it, and it goes when nothing runs on it any more.

    With --force the attempts on it end with the reason that AWS gives when an instance is terminated.
    """
    removed = invocation.client().batchyard("DeregisterHost", host=host, force=force)
    gone = removed["state"] == "terminated"
    _say(removed, "is removed" if gone else f"goes when it is empty; {_jobs(removed)} on it")


def _jobs(host: Json) -> str:
    count = len(host["jobs"])
    return f"{count} job{' runs' if count == 1 else 's run'}"


def _say(host: Json, text: str) -> None:
    print_line(f"{painted(one_line(host['name']), 'bold')}  {host['instanceId']}  {text}")
