"""`batchyard version`."""

from __future__ import annotations

import platform

import click

from batchyard import __version__
from batchyard.cli.invocation import Command, debug_option, json_option
from batchyard.cli.terminal import print_json, print_line


@click.command(cls=Command, examples=[("batchyard version --json", "for scripts")])
@json_option
@debug_option
def version(as_json: bool) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        print_line(f"batchyard {__version__}")
