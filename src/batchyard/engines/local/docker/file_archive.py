"""A task's files on their way into a container, and its message on the way out: tar archives, as Docker's API wants them."""

from __future__ import annotations

import io
import tarfile

from batchyard.engines.files import LONGEST_MESSAGE, Files, message_text

FOR_ALL = 0o777
READABLE = 0o644
ENOUGH_FOR_A_MESSAGE = 64 * 1024
"""Bytes of an archive in which the beginning of its first file certainly stands."""


def pack(files: Files) -> bytes:
    """The tree as an archive to be unpacked at `/`. Folders are there for every user of the container."""
    buffer = io.BytesIO()
    root = files.root.strip("/")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in (root, *(f"{root}/{path}" for path in files.folders)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, FOR_ALL
            archive.addfile(entry)
        for path, content in files.contents.items():
            entry = tarfile.TarInfo(f"{root}/{path}")
            entry.size, entry.mode = len(content), READABLE
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def message_in(beginning: bytes) -> str | None:
    """The message in the beginning of an archive of the message file; None when that is no plain file."""
    try:
        with tarfile.open(fileobj=io.BytesIO(beginning), mode="r|") as archive:
            entry = archive.next()
            file = archive.extractfile(entry) if entry is not None and entry.isfile() else None
            return message_text(file.read(LONGEST_MESSAGE)) if file is not None else None
    except tarfile.TarError:
        return None
