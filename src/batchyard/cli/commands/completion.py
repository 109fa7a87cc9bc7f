"""`batchyard completion`: the script that makes a shell complete commands, options and job ids."""

from __future__ import annotations

import click

from batchyard.cli.invocation import Command, debug_option
from batchyard.cli.terminal import print_line


@click.command(
    cls=Command,
    examples=[
        ('eval "$(batchyard completion bash)"', "in ~/.bashrc"),
        ('eval "$(batchyard completion zsh)"', "in ~/.zshrc, after compinit"),
        ("batchyard completion fish > ~/.config/fish/completions/batchyard.fish", "once"),
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

    kinds: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
    script = kinds[shell](context.find_root().command, {}, "batchyard", "_BATCHYARD_COMPLETE")
    print_line(script.source())
