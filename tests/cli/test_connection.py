from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchyard.cli.connection import find_connection
from batchyard.cli.failures import ExitCode, Failure
from batchyard.cli.signing import Keys

LOCAL = "http://127.0.0.1:8324"
LOCAL_KEYS = Keys("LOCALKEY", "local secret")
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "REALKEY", "AWS_SECRET_ACCESS_KEY": "real secret", "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which no file says anything."""
    return {
        "BATCHYARD_DATA_DIR": str(tmp_path / "data"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }


@pytest.fixture
def connection_file(environ: dict[str, str]) -> Path:
    """The file of a local server."""
    path = Path(environ["BATCHYARD_DATA_DIR"], "connection.json")
    path.parent.mkdir()
    keys = {"access_key_id": "LOCALKEY", "secret_access_key": "local secret"}
    path.write_text(json.dumps({"endpoint": LOCAL, "region": "us-west-2", "account_id": "123456789012", **keys}))
    return path


def write_profile(environ: dict[str, str], endpoint: str) -> None:
    Path(environ["AWS_CONFIG_FILE"]).write_text(
        f"[profile lab]\nendpoint_url = {endpoint}\nregion = ap-south-1\n"
        "aws_access_key_id = LABKEY\naws_secret_access_key = lab secret\n"
    )


def test_nothing_names_a_server(environ: dict[str, str]) -> None:
    with pytest.raises(Failure) as raised:
        find_connection(None, environ)
    assert raised.value.exit_code is ExitCode.UNREACHABLE
    assert raised.value.hint is not None
    assert "batchyard serve" in raised.value.hint
    assert "connection.json" in raised.value.message


@pytest.mark.usefixtures("connection_file")
def test_the_server_of_this_machine_is_found(environ: dict[str, str]) -> None:
    assert find_connection(None, environ)[1:] == ("us-west-2", LOCAL_KEYS)
    assert find_connection(None, environ).address == LOCAL


@pytest.mark.usefixtures("connection_file")
def test_real_aws_keys_in_the_environment_do_not_shadow_those_of_the_local_server(environ: dict[str, str]) -> None:
    found = find_connection(None, environ | AWS_KEYS)
    assert (found.address, found.region, found.keys) == (LOCAL, "us-west-2", LOCAL_KEYS)


@pytest.mark.usefixtures("connection_file")
def test_the_environment_wins_over_the_file_as_a_whole(environ: dict[str, str]) -> None:
    found = find_connection(None, environ | AWS_KEYS | {"AWS_ENDPOINT_URL": "http://lab:1"})
    assert (found.address, found.region, found.keys) == ("http://lab:1", "eu-west-1", Keys("REALKEY", "real secret"))


@pytest.mark.usefixtures("connection_file")
def test_only_an_address_in_the_environment_takes_the_keys_of_the_same_address(environ: dict[str, str]) -> None:
    found = find_connection(None, environ | {"AWS_ENDPOINT_URL": LOCAL + "/"})
    assert (found.address, found.region, found.keys) == (LOCAL, "us-west-2", LOCAL_KEYS)


def test_the_address_of_batch_wins_over_the_general_one(environ: dict[str, str]) -> None:
    more = {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_BATCH": "http://batch:2"}
    assert find_connection(None, environ | more).address == "http://batch:2"


@pytest.mark.usefixtures("connection_file")
def test_a_profile_wins_over_the_file(environ: dict[str, str]) -> None:
    write_profile(environ, "http://lab:1")
    found = find_connection(None, environ | {"AWS_PROFILE": "lab"})
    assert (found.address, found.region, found.keys) == ("http://lab:1", "ap-south-1", Keys("LABKEY", "lab secret"))


def test_an_unknown_profile_is_said_so(environ: dict[str, str]) -> None:
    with pytest.raises(Failure, match="lab") as raised:
        find_connection(None, environ | {"AWS_PROFILE": "lab"})
    assert raised.value.exit_code is ExitCode.USAGE


@pytest.mark.usefixtures("connection_file")
def test_an_address_on_the_command_line_wins(environ: dict[str, str]) -> None:
    found = find_connection("http://other:9", environ | AWS_KEYS | {"AWS_ENDPOINT_URL": "http://lab:1"})
    assert (found.address, found.keys) == ("http://other:9", Keys("REALKEY", "real secret"))
    assert find_connection(LOCAL, environ | AWS_KEYS).keys == LOCAL_KEYS


def test_a_server_without_known_keys_is_still_a_server(environ: dict[str, str]) -> None:
    assert find_connection("http://other:9", environ).keys is None


@pytest.mark.parametrize(
    "endpoint", ["lab:8324", "ftp://lab", "http://", "http://lab:port", "http://lab/?x=1", "http://["]
)
def test_what_is_no_address_is_said_so(environ: dict[str, str], endpoint: str) -> None:
    with pytest.raises(Failure, match="not an address") as raised:
        find_connection(endpoint, environ)
    assert raised.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"endpoint": 1}', "\xff"])
def test_a_broken_connection_file_is_named(environ: dict[str, str], connection_file: Path, content: str) -> None:
    connection_file.write_bytes(content.encode("latin-1"))
    with pytest.raises(Failure, match=str(connection_file)):
        find_connection(None, environ)
