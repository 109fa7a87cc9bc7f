"""The AWS CLI's own files, `~/.aws/config` and `~/.aws/credentials`: reading a profile, and writing one.

Rule: "Configuration and credential file settings" (AWS CLI User Guide). Writing changes the lines of one section and
leaves every other line, comments included, as it is.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from pathlib import Path

from batchyard.cli.failures import usage_failure

_SECTION = re.compile(r"\s*\[\s*([^]]+?)\s*\]")
_SETTING = re.compile(r"([A-Za-z0-9_.-]+)\s*[=:]")


def config_path(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()


def credentials_path(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()


def config_section(profile: str) -> str:
    """The section of a profile in the config file; in the credentials file it is the bare name."""
    return "default" if profile == "default" else f"profile {profile}"


def read_profile(profile: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """The settings of a profile from both files, credentials first; None when neither file has it."""
    config = _read_section(config_path(environ), config_section(profile))
    credentials = _read_section(credentials_path(environ), profile)
    if config is None and credentials is None:
        return None
    return {**(config or {}), **(credentials or {})}


def _read_section(path: Path, section: str) -> dict[str, str] | None:
    parser = configparser.RawConfigParser(strict=False, default_section="")
    try:
        parser.read_string(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise usage_failure(f"{path} cannot be read: {_first_line(error)}.") from None
    return dict(parser[section]) if parser.has_section(section) else None


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0].rstrip(".")


def write_section(path: Path, section: str, settings: Mapping[str, str]) -> None:
    """Sets `settings` in a section of a file, both made if need be. The file is replaced at once, never half-written, and
    readable by its owner only. Raises `Failure`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = path.resolve()
        text = target.read_text() if target.exists() else ""
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(with_settings(text, section, settings))
        temporary.replace(target)
    except (OSError, UnicodeDecodeError) as error:
        raise usage_failure(f"{path} cannot be written: {_first_line(error)}.") from None


def with_settings(text: str, section: str, settings: Mapping[str, str]) -> str:
    """The text of a file with `settings` in `section`: lines that set them are replaced where they stand, missing ones are
    added at the section's end, a missing section at the file's."""
    lines = text.splitlines()
    bounds = _section_bounds(lines, section)
    if bounds is None:
        before = [*lines, ""] if lines and lines[-1].strip() else lines
        return _joined([*before, f"[{section}]", *(f"{name} = {value}" for name, value in settings.items())])
    start, end = bounds
    body: list[str] = []
    missing = dict(settings)
    replaced = False
    for line in lines[start:end]:
        setting = _SETTING.match(line)
        name = setting[1].lower() if setting else None
        if name in settings:
            replaced = True
            if name in missing:
                body.append(f"{name} = {missing.pop(name)}")
        elif not (replaced and line[:1].isspace() and line.strip()):  # The further lines of a value that is replaced.
            replaced = False
            body.append(line)
    blank = len(body)
    while blank and not body[blank - 1].strip():
        blank -= 1
    body[blank:blank] = [f"{name} = {value}" for name, value in missing.items()]
    return _joined(lines[:start] + body + lines[end:])


def _section_bounds(lines: list[str], section: str) -> tuple[int, int] | None:
    """From the line after the section's head to the next head, or the end."""
    heads = [(number, match[1]) for number, line in enumerate(lines) if (match := _SECTION.match(line))]
    for position, (number, name) in enumerate(heads):
        if " ".join(name.replace('"', "").split()) == section:
            return number + 1, heads[position + 1][0] if position + 1 < len(heads) else len(lines)
    return None


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
