"""Which server the command line talks to, with which key.

The first of these that names an address: `--endpoint`; the environment (`AWS_ENDPOINT_URL_BATCH`, `AWS_ENDPOINT_URL`);
the AWS profile that `AWS_PROFILE` names; the file `connection.json` that the server keeps in its data directory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from batchyard.cli.aws_files import read_profile
from batchyard.cli.failures import unreachable, usage_failure
from batchyard.cli.signing import Keys
from batchyard.config import default_data_dir

START_HINT = "Start a server with: batchyard serve"
DEFAULT_REGION = "us-east-1"


class Connection(NamedTuple):
    """How to reach a server. Without `keys` requests are not signed."""

    endpoint: SplitResult
    region: str
    keys: Keys | None

    @property
    def address(self) -> str:
        return self.endpoint.geturl()


class _Source(NamedTuple):
    """A place that may say something about the server."""

    endpoint: str | None = None
    keys: Keys | None = None
    region: str | None = None


def find_connection(endpoint: str | None, environ: Mapping[str, str]) -> Connection:
    """The server to talk to. Raises `Failure` when nothing names one.

    Address, keys and Region are taken from one source where it has them all. A key that is missing there is taken from
    the connection file if that file is about the same address, then from the environment and the profile: real AWS keys
    in the environment must not shadow those of the local server.
    """
    environment = _from_environment(environ)
    profile = _from_profile(environ)
    file = _from_connection_file(environ)
    chosen = next(
        (source for source in (_Source(endpoint), environment, profile, file) if source.endpoint is not None), None
    )
    if chosen is None or chosen.endpoint is None:
        raise unreachable(
            f"No server is known: neither --endpoint, AWS_ENDPOINT_URL nor {_connection_file(environ)} names one.",
            START_HINT,
        )
    of_same_address = file if file.endpoint and _same(file.endpoint, chosen.endpoint) else _Source()
    sources = (chosen, of_same_address, environment, profile, file)
    with_keys = next((source for source in sources if source.keys), _Source())
    regions = (chosen.region, of_same_address.region, with_keys.region, environment.region, profile.region)
    region = next((name for name in regions if name), DEFAULT_REGION)
    return Connection(_parsed(chosen.endpoint), region, with_keys.keys)


def _from_environment(environ: Mapping[str, str]) -> _Source:
    return _Source(
        environ.get("AWS_ENDPOINT_URL_BATCH") or environ.get("AWS_ENDPOINT_URL") or None,
        _keys({name.lower(): value for name, value in environ.items() if name.startswith("AWS_")}),
        environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
    )


def _from_profile(environ: Mapping[str, str]) -> _Source:
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    if not name:
        return _Source()
    settings = read_profile(name, environ)
    if settings is None:
        raise usage_failure(f"AWS_PROFILE names the profile {name}, which neither ~/.aws/config nor credentials has.")
    return _Source(settings.get("endpoint_url"), _keys(settings), settings.get("region"))


def _from_connection_file(environ: Mapping[str, str]) -> _Source:
    path = _connection_file(environ)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return _Source()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise usage_failure(f"{path} cannot be read: {reason}.") from None
    if not isinstance(content, dict) or not isinstance(content.get("endpoint"), str):
        raise usage_failure(f"{path} is not a connection file: it names no endpoint.")
    return _Source(content["endpoint"], _keys(_with_prefix(content)), content.get("region"))


def _connection_file(environ: Mapping[str, str]) -> Any:
    return default_data_dir(environ) / "connection.json"


def _with_prefix(content: Mapping[str, Any]) -> dict[str, str]:
    return {f"aws_{name}": str(content[name]) for name in ("access_key_id", "secret_access_key") if content.get(name)}


def _keys(settings: Mapping[str, str]) -> Keys | None:
    access_key_id, secret = settings.get("aws_access_key_id"), settings.get("aws_secret_access_key")
    if not access_key_id or not secret:
        return None
    return Keys(access_key_id, secret, settings.get("aws_session_token") or None)


def _same(first: str, second: str) -> bool:
    return first.rstrip("/") == second.rstrip("/")


def _parsed(endpoint: str) -> SplitResult:
    try:
        parts = urlsplit(endpoint.rstrip("/"))
        if parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment):
            parts.port  # noqa: B018  (raises ValueError when it is not a number)
            return parts
    except ValueError:
        pass
    raise usage_failure(f"The endpoint {endpoint!r} is not an address such as http://127.0.0.1:8324.")
