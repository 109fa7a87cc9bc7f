"""`batchyard profile`: a profile for the AWS CLI and the SDKs."""

from __future__ import annotations

import os

import click

from batchyard.cli.aws_files import config_path, config_section, credentials_path, write_section
from batchyard.cli.connection import find_connection
from batchyard.cli.failures import usage_failure
from batchyard.cli.invocation import Command, Invocation, shared_options
from batchyard.cli.terminal import painted, print_line


@click.command(
    cls=Command,
    examples=[
        ("batchyard profile", "writes the profile batchyard"),
        ("batchyard profile --name lab --endpoint http://lab:8324", "another server, another name"),
    ],
)
@click.option("--name", default="batchyard", show_default=True, help="Name of the profile.")
@shared_options
@click.pass_obj
def profile(invocation: Invocation, name: str) -> None:
    """Write a profile with address, Region and key into the files of the AWS CLI (~/.aws/config and credentials).

    AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE are honoured. Everything else in the files stays as it is.
    """
    if not name or not name.isprintable() or name != name.strip() or any(letter in "[]\"'#;" for letter in name):
        raise usage_failure(f"{name!r} cannot be the name of a profile.")
    connection = find_connection(invocation.endpoint, os.environ)
    if connection.keys is None:
        raise usage_failure(
            f"No access key for {connection.address} is known.", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    secrets = {
        "aws_access_key_id": connection.keys.access_key_id,
        "aws_secret_access_key": connection.keys.secret_access_key,
    }
    if connection.keys.session_token:
        secrets["aws_session_token"] = connection.keys.session_token
    settings = {"region": connection.region, "endpoint_url": connection.address}
    write_section(credentials_path(os.environ), name, secrets)
    write_section(config_path(os.environ), config_section(name), settings)
    print_line(f"Wrote profile {painted(name, 'bold')} for {connection.address}. Use it so:")
    print_line()
    for line in (f"export AWS_PROFILE={name}", "aws batch describe-job-queues"):
        print_line(f"  {painted(line, 'cyan')}")
