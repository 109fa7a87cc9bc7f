"""Where jobs on instances reach the metadata of their instance, see `api/instance_metadata.py`."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from batchyard.api.instance_metadata import PREFIX
from batchyard.config import Config

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1"}
"""What to connect to where a server listens on one of these."""


def metadata_address(config: Config, port: int, docker_host: str | None) -> str | None:
    """The address that the id of an instance is added to; None where jobs can't reach the server's loopback address.

    `docker_host`: the Docker Engine that runs the jobs; None: they are processes of this machine.
    """
    if docker_host is not None and not (config.docker_network == "host" and _is_here(docker_host)):
        return None
    host = _LOOPBACK.get(config.host, config.host)
    if not _is_loopback(host):
        return None
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PREFIX}"


def _is_here(docker_host: str) -> bool:
    address = urlsplit(docker_host)
    return address.scheme == "unix" or address.hostname == "localhost" or _is_loopback(address.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
