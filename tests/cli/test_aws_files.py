from __future__ import annotations

import stat
from pathlib import Path

import pytest

from batchyard.cli.aws_files import read_profile, with_settings, write_section
from batchyard.cli.failures import ExitCode, Failure

SETTINGS = {"region": "us-east-1", "endpoint_url": "http://127.0.0.1:8324"}


def test_a_new_file_has_the_section_and_nothing_else() -> None:
    assert with_settings("", "profile lab", SETTINGS) == (
        "[profile lab]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:8324\n"
    )


def test_the_rest_of_a_file_stays_as_it_is() -> None:
    before = "# mine\n[default]\nregion=eu-west-1   ; home\n\n[profile work]\ns3 =\n    max_concurrent_requests = 20\n"
    after = with_settings(before, "profile lab", SETTINGS)
    assert after.startswith(before)
    assert after[len(before) :] == "\n[profile lab]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:8324\n"


def test_settings_are_replaced_where_they_stand_and_missing_ones_are_added() -> None:
    before = "[profile lab]\n# why\noutput = json\nRegion: eu-west-1\n\n[default]\nregion = x\n"
    assert with_settings(before, "profile lab", SETTINGS) == (
        "[profile lab]\n# why\noutput = json\nregion = us-east-1\nendpoint_url = http://127.0.0.1:8324\n\n"
        "[default]\nregion = x\n"
    )


def test_a_value_of_several_lines_is_replaced_whole() -> None:
    before = "[lab]\nregion =\n  one\n  two\noutput = json\n"
    assert with_settings(before, "lab", {"region": "us-east-1"}) == "[lab]\nregion = us-east-1\noutput = json\n"


def test_writing_twice_changes_nothing_more() -> None:
    once = with_settings("[default]\nregion = x\n", "profile lab", SETTINGS)
    assert with_settings(once, "profile lab", SETTINGS) == once


def test_a_section_is_found_whatever_its_spaces_and_quotes() -> None:
    assert with_settings('[ profile  "lab" ]\nregion = x\n', "profile lab", {"region": "y"}) == (
        '[ profile  "lab" ]\nregion = y\n'
    )


def test_a_written_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "aws" / "credentials"
    write_section(path, "lab", {"aws_access_key_id": "AKIA"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    write_section(path, "lab", {"aws_secret_access_key": "secret"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "[lab]\naws_access_key_id = AKIA\naws_secret_access_key = secret\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["credentials"]


def test_a_link_to_a_file_elsewhere_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("")
    link.symlink_to(real)
    write_section(link, "lab", {"region": "x"})
    assert link.is_symlink()
    assert real.read_text() == "[lab]\nregion = x\n"


def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot be written") as raised:
        write_section(tmp_path, "lab", {"region": "x"})
    assert raised.value.exit_code is ExitCode.USAGE


def test_a_profile_is_read_from_both_files(tmp_path: Path) -> None:
    environ = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    assert read_profile("lab", environ) is None
    write_section(tmp_path / "config", "profile lab", SETTINGS)
    write_section(tmp_path / "credentials", "lab", {"aws_access_key_id": "100%"})
    assert read_profile("lab", environ) == {**SETTINGS, "aws_access_key_id": "100%"}


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("no section\n")
    with pytest.raises(Failure, match=str(tmp_path / "config")):
        read_profile("lab", {"AWS_CONFIG_FILE": str(tmp_path / "config")})
