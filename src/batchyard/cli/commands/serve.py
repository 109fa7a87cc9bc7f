"""`batchyard serve`: reads the settings and hands over to the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from batchyard.cli.failures import usage_failure
from batchyard.cli.invocation import Command, debug_option

_PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    examples=[
        ("batchyard serve", "on this machine, state in ~/.local/share/batchyard"),
        ("batchyard serve --data-dir /srv/batch --host 0.0.0.0", "for a whole team"),
        ("batchyard serve --port 0 --ready-file up.json --auth none", "in tests: any free port, no signatures"),
    ],
)
@click.option("--data-dir", type=_PATH, help="Where jobs, logs and keys are kept. Default: ~/.local/share/batchyard.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one. Default: 8324.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "docker", "process"]),
    help="What runs jobs: containers, or processes on this machine. Default: auto, docker where there is one.",
)
@click.option("--overcommit", type=float, metavar="FACTOR", help="Offer the cores this many times. Default: 1.")
@click.option(
    "--auth",
    type=click.Choice(["sigv4", "none"]),
    help="Check signatures, or not (only on a loopback address). Default: sigv4.",
)
@click.option(
    "--ready-file", type=_PATH, help="Written once requests are accepted: JSON with address, Region and keys."
)
@click.option("--region", help="AWS Region of a new installation. Default: us-east-1.")
@click.option("--config", "config_file", type=_PATH, help="Settings file (TOML). Flags and BATCHYARD_* win over it.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="How much is logged. Default: info."
)
@debug_option
def serve(config_file: Path | None, **flags: Any) -> int:
    """Run a server: AWS Batch, CloudWatch Logs and STS on one address.

    Ends with SIGTERM or Ctrl-C. Jobs that run then go on running, and the next start finds them again.
    """
    from batchyard.config import ConfigError, load_config

    try:
        config = load_config(
            config_file, os.environ, {name: value for name, value in flags.items() if value is not None}
        )
    except ConfigError as error:
        raise usage_failure(str(error)) from None
    from batchyard.server import serve as run_server

    return run_server(config)
