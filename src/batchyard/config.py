"""The settings: one TOML file, under it nothing, over it the environment (`BATCHYARD_…`), over that the flags."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import msgspec

PREFIX = "BATCHYARD_"
LONGEST_SECONDS = 86_400
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}\Z")


class ConfigError(Exception):
    """A setting that can't be: says which, and what it may be."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a server."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8324
    """0: a free port."""
    runtime: Literal["auto", "docker", "process"] = "auto"
    overcommit: float = 1.0
    """How many times the machine's cores and memory are offered: above 1, a laptop poses as a fleet."""
    capacity: Literal["instances", "slices"] = "instances"
    """What EC2 and SPOT compute environments run their jobs on, unless their tag `batchyard:capacity` says otherwise: instances
    of EC2 types that are launched out of this machine, or a slice of it for each job."""
    boot_seconds: float = 0.0
    """From the launch of an instance until it runs: for tests of what waits."""
    idle_seconds: float = 60.0
    """For how long an instance is kept that has nothing to do."""
    launch_failure_rate: float = 0.0
    """The part of launches that have insufficient capacity, from 0 to 1: for tests."""
    spot_interruptions_an_hour: float = 0.0
    """How often a Spot instance is reclaimed, on average: for tests."""
    spot_notice_seconds: float = 120.0
    """Between the notice and the end of a Spot instance."""
    seed: int = 0
    """Of what is left to chance: launches that fail, Spot instances that are reclaimed."""
    auth: Literal["sigv4", "none"] = "sigv4"
    ready_file: Path | None = None
    region: str | None = None
    """The Region of a new installation; `us-east-1` unless told. It can't change later: it is part of every ARN."""
    account_id: str | None = None
    """The account of a new installation, twelve digits; drawn unless told."""
    docker_host: str | None = None
    docker_network: str = "bridge"
    """Docker's network mode of every container; with `host`, jobs reach what listens on this machine's loopback."""
    privileged: Literal["honour", "reduce", "ignore", "refuse"] = "reduce"
    """What becomes of `privileged: true`: given as asked, reduced to what this host can give, ignored, or refused."""
    job_environment: dict[str, str] = {}
    """Environment variables for every job, such as credentials and endpoints of object storage. A job's own variables of
    the same name win. They never show in API answers."""
    retention_days: float = 30
    """For how long finished jobs are kept; 0: for ever."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    check_invariants: bool = False
    """Re-derive every counter after each round and stop at the first that differs: for tests."""


def default_data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """`$BATCHYARD_DATA_DIR`, else `$XDG_DATA_HOME/batchyard`, else `~/.local/share/batchyard`."""
    variables = os.environ if environ is None else environ
    if chosen := variables.get("BATCHYARD_DATA_DIR"):
        return Path(chosen)
    home = variables.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "batchyard"


def load_config(config_file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """The settings of the file, the environment and the flags; later ones win. Raises `ConfigError`."""
    given = {**_from_file(config_file), **_from_environment(environ), **overrides}
    given.setdefault("data_dir", default_data_dir(environ))
    try:
        config = msgspec.convert(given, Config, strict=False, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"settings: {error}") from None
    return _checked(config)


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} is not valid TOML: {error}") from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    names = {f"{PREFIX}{field.upper()}": field for field in Config.__struct_fields__}
    return {field: environ[name] for name, field in names.items() if environ.get(name) and field != "job_environment"}


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise NotImplementedError


def _checked(config: Config) -> Config:
    if not 0 <= config.port <= 65535:
        raise ConfigError(f"port must be between 0 and 65535, got {config.port}")
    if not 0 < config.overcommit <= 10_000:
        raise ConfigError(f"overcommit must be above 0 and at most 10000, got {config.overcommit:g}")
    for name in ("boot_seconds", "idle_seconds", "spot_interruptions_an_hour", "spot_notice_seconds"):
        if not 0 <= getattr(config, name) <= LONGEST_SECONDS:
            raise ConfigError(f"{name} must be between 0 and {LONGEST_SECONDS}, got {getattr(config, name):g}")
    if not 0 <= config.launch_failure_rate <= 1:
        raise ConfigError(f"launch_failure_rate must be between 0 and 1, got {config.launch_failure_rate:g}")
    if config.auth == "none" and not _is_loopback(config.host):
        raise ConfigError(
            f"auth none is only for loopback addresses: anybody who reaches {config.host} could run commands on this"
            " machine. Leave auth at sigv4, or listen on 127.0.0.1."
        )
    if config.region is not None and not _REGION.match(config.region):
        raise ConfigError(f"region must look like us-east-1, got {config.region!r}")
    if config.account_id is not None and not re.match(r"[0-9]{12}\Z", config.account_id):
        raise ConfigError(f"account_id must be twelve digits, got {config.account_id!r}")
    if config.retention_days < 0:
        raise ConfigError(f"retention_days must not be negative, got {config.retention_days:g}")
    return config


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
