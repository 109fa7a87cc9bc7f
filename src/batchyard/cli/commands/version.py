"""`batchyard version`."""

from __future__ import annotations

import platform

import click

from batchyard import __version__
from batchyard.cli.invocation import Command, json_option, shared_options
from batchyard.cli.terminal import print_json, print_line


@click.command(cls=Command, examples=[("batchyard version --json", "for scripts")])
@json_option
@shared_options
def version(as_json: bool) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        print_line(f"batchyard {__version__}")
