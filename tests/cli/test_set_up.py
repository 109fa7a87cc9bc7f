"""serve, profile, completion, version, help."""

from __future__ import annotations

import configparser
import json
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
from console import NOWHERE, SCRIPT, Shell

from batchyard import __version__
from batchyard.cli.main import cli
from server_process import ServerProcess, kill_tree
from waiting import until

COMMANDS = cli.list_commands(click.Context(cli))


def test_help_is_given_without_a_server(without_server: Shell) -> None:
    result = without_server("--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in COMMANDS)
    for text in ("Exit codes", "Examples", "AWS_ENDPOINT_URL", "connection.json"):
        assert text in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(without_server: Shell, command: str) -> None:
    result = without_server(command, "-h")
    assert result.returncode == 0
    assert f"Usage: batchyard {command}" in result.stdout
    assert f"batchyard {command}" in result.stdout.partition("Examples:")[2]


@pytest.mark.parametrize("arguments", [(), ("jbos",), ("jobs", "extra"), ("show",), ("completion", "tcsh")])
def test_a_wrong_command_line_is_told_what_is_right(without_server: Shell, arguments: tuple[str, ...]) -> None:
    result = without_server(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "elp" in result.stderr or "Usage" in result.stderr


def test_the_version(without_server: Shell) -> None:
    assert without_server("version").stdout == f"batchyard {__version__}\n"
    assert without_server.json("version")["version"] == __version__
    assert __version__ in without_server("--version").stdout


def test_what_is_slow_to_import_is_not_imported() -> None:
    """Every command starts with these imports; each of those left out takes longer than a whole command."""
    modules = "batchyard.cli.commands.jobs, batchyard.cli.client, batchyard.cli.connection"
    program = f"import sys, batchyard.cli.main, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "batchyard.cli.commands.jobs" in loaded
    assert not {"boto3", "botocore", "urllib3", "rich", "sqlalchemy", "asyncio", "batchyard.shapes"} & set(loaded)


# --- profile


def test_a_profile_is_written_and_works(batchyard: Shell, server: ServerProcess, tmp_path: Path) -> None:
    config, credentials = tmp_path / "config", tmp_path / "aws" / "credentials"
    config.write_text("# mine\n[default]\nregion = eu-west-1\n")
    files = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    result = batchyard("profile", "--name", "lab", **files)
    assert result.returncode == 0
    assert "AWS_PROFILE=lab" in result.stdout
    assert server.connection["secret_access_key"] not in result.stdout
    assert config.read_text().startswith("# mine\n[default]\nregion = eu-west-1\n")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (config, credentials)} == {0o600}
    written = configparser.ConfigParser()
    written.read(config)
    assert dict(written["profile lab"]) == {"region": server.region, "endpoint_url": server.endpoint}

    alone = {name: value for name, value in batchyard.environment.items() if not name.startswith("AWS_")}
    with_profile = Shell({**alone, **files, "AWS_PROFILE": "lab"})
    assert with_profile("jobs").returncode == 0
    aws = subprocess.run(
        [SCRIPT.with_name("aws"), "batch", "describe-job-queues", "--output", "json"],
        env=with_profile.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(aws.stdout)["jobQueues"][0]["jobQueueName"] == "default"


@pytest.mark.parametrize("name", ["", "a]b", "a\nb", " a"])
def test_a_profile_needs_a_name(batchyard: Shell, tmp_path: Path, name: str) -> None:
    path = tmp_path / "config"
    result = batchyard("profile", "--name", name, AWS_CONFIG_FILE=str(path), AWS_SHARED_CREDENTIALS_FILE=str(path))
    assert result.returncode == 2
    assert not path.exists()


# --- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell(without_server: Shell, shell: str) -> None:
    result = without_server("completion", shell)
    assert result.returncode == 0
    assert "_BATCHYARD_COMPLETE" in result.stdout


def completed(shell: Shell, *words: str) -> list[str]:
    result = shell(_BATCHYARD_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
    assert result.stderr == ""
    return [line.partition(",")[2] for line in result.stdout.split()]


def test_commands_options_jobs_and_queues_are_completed(batchyard: Shell) -> None:
    job = batchyard.json("run", "--", "true")["jobs"][0]["jobId"]
    assert completed(batchyard, "batchyard", "ter") == ["terminate"]
    assert "--status" in completed(batchyard, "batchyard", "jobs", "--s")
    assert completed(batchyard, "batchyard", "show", job[:12]) == [job]
    assert "last" in completed(batchyard, "batchyard", "logs", "l")
    assert completed(batchyard, "batchyard", "jobs", "--queue", "de") == ["default"]


def test_completion_without_a_server_says_nothing(without_server: Shell) -> None:
    assert completed(without_server, "batchyard", "show", "a") == []
    assert completed(without_server, "batchyard", "jobs", "--queue", "de") == []


# --- serve


def test_serve_serves_and_its_connection_file_is_found(tmp_path: Path, batchyard: Shell) -> None:
    ready = tmp_path / "ready.json"
    alone = {name: value for name, value in batchyard.environment.items() if not name.startswith("AWS_")}
    shell = Shell({**alone, "BATCHYARD_DATA_DIR": str(tmp_path / "data")})
    server = shell.start(
        "serve", "--runtime", "process", "--port", "0", "--ready-file", str(ready), "--region", "eu-central-1"
    )
    try:
        until(lambda: ready.exists() or server.poll() is not None)
        assert server.poll() is None, server.communicate()
        assert json.loads(ready.read_text())["region"] == "eu-central-1"
        assert shell("run", "-q", "--", "echo", "hello").stdout == "hello\n"
        assert shell("jobs", AWS_ACCESS_KEY_ID="OTHER", AWS_SECRET_ACCESS_KEY="other").returncode == 0
        server.terminate()
        assert server.wait(60) == 0
    finally:
        kill_tree(server.pid)
        server.communicate()
    after = shell("jobs")
    assert after.returncode == 3
    assert "No server answers at http://127.0.0.1:" in after.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--auth", "none", "--host", "0.0.0.0"), "loopback"),
        (("--port", "99999"), "port"),
        (("--runtime", "magic"), "--runtime"),
        (("--config", "/nowhere/settings.toml"), "/nowhere/settings.toml"),
        (("--region", "the moon"), "region"),
    ],
)
def test_settings_that_cannot_be(without_server: Shell, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = without_server("serve", "--data-dir", str(tmp_path / "data"), *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert not (tmp_path / "data").exists()


def test_an_address_where_something_else_answers(batchyard: Shell) -> None:
    program = (
        "import http.server, threading; s = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler);"
        " print(s.server_port, flush=True); s.serve_forever()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert other.stdout is not None
        port = other.stdout.readline().strip()
        result = batchyard("jobs", "--endpoint", f"http://127.0.0.1:{port}")
        assert result.returncode == 3
        assert "not a Batchyard server" in result.stderr
    finally:
        other.kill()
        other.communicate()


def test_a_traceback_is_shown_only_when_asked_for(without_server: Shell) -> None:
    assert "Traceback" not in without_server("jobs").stderr
    shown = without_server("jobs", "--debug").stderr
    assert "Traceback" in shown
    assert NOWHERE in shown


@pytest.mark.parametrize(
    ("redirection", "code", "said"), [(">&-", 0, ""), (">/dev/full", 1, "No space left"), ("2>&- </dev/null", 0, "")]
)
def test_outputs_that_cannot_be_written(without_server: Shell, redirection: str, code: int, said: str) -> None:
    result = subprocess.run(
        ["sh", "-c", f"{SCRIPT} version {redirection}"], env=without_server.environment, capture_output=True, text=True
    )
    assert result.returncode == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
