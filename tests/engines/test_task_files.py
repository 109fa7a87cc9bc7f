"""A task's files where no engine is needed to see what becomes of them."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from batchyard.engines.files import Files, Mount
from batchyard.engines.local.docker.file_archive import message_in, pack
from batchyard.engines.local.process.private_files import CannotShow, lay_out

SMALL = Files(root="/opt/x", contents={"a/b": b"c"})


def test_only_root_can_show_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotShow, match="can show files at /opt/x only when the server runs as root"):
        lay_out(SMALL, str(tmp_path / "tree"), None)
    assert not (tmp_path / "tree").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can show files")
@pytest.mark.parametrize(
    "files",
    [
        Files(root="/"),
        Files(root="/opt/../etc"),
        Files(root="/opt/x", contents={"../escape": b""}),
        Files(root="/opt/x", folders=["/etc"]),
        Files(root="/opt/x", mounts={"a//b": Mount("/tmp")}),
        Files(root="/opt/x", mounts={"data": Mount("/no/such/folder", True)}),
    ],
)
def test_trees_that_cannot_be(files: Files, tmp_path: Path) -> None:
    with pytest.raises(CannotShow):
        lay_out(files, str(tmp_path / "tree"), None)
    assert os.listdir(tmp_path) in ([], ["tree"])


def test_an_archive_holds_the_tree() -> None:
    files = Files(root="/opt/x", contents={"a/b": b"c"}, folders=["out/data"], mounts={"kept": Mount("/somewhere")})
    with tarfile.open(fileobj=io.BytesIO(pack(files))) as archive:
        assert {entry.name: (entry.isdir(), oct(entry.mode)) for entry in archive} == {
            "opt/x": (True, "0o777"),
            "opt/x/out/data": (True, "0o777"),
            "opt/x/a/b": (False, "0o644"),
        }


def archive_of(entry: tarfile.TarInfo, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    entry.size = len(content)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_a_message_is_read_from_the_beginning_of_an_archive() -> None:
    plain, link = tarfile.TarInfo("failure"), tarfile.TarInfo("failure")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    whole = archive_of(plain, b"\xffbad" + b"x" * 100_000)
    assert message_in(whole[:65_536]) == "\ufffdbad" + "x" * 1020
    assert message_in(archive_of(link)) is None
    assert message_in(b"") is None
