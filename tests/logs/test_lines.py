"""The file of a log stream, and the writer that appends a program's output to it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.logs import lines
from batchyard.logs.events import events_backward, events_forward
from batchyard.logs.lines import MAX_EVENT_BYTES, LineWriter, create_group, extend_name, is_group, stream_path


def read(path: Path) -> list[tuple[int, bytes]]:
    return [(event.timestamp, event.message) for event in events_forward(path)]


def messages(path: Path) -> list[bytes]:
    return [message for _, message in read(path)]


# --- names ---

names = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("/.%\\\0 :"), max_size=300
) | st.sampled_from(
    ["", "/", "..", "../..", "a//b", "a.log", "a.log/b", "%", "%2E", "x" * 512, "x" * 199 + "/" + "y" * 201, "😀" * 512]
)


def name_of(path: Path, folder: Path) -> str:
    name = ""
    for piece in path.relative_to(folder).parts:
        name = extend_name(name, piece.removesuffix(".log") if piece == path.name else piece)
    return name.removesuffix("/")


@given(group=names, stream=names)
def test_a_path_stays_under_its_root_and_gives_its_name_back(group: str, stream: str) -> None:
    root = Path("/root-of-logs")
    path = stream_path(root, group, stream)
    assert ".." not in path.parts
    assert all(len(os.fsencode(part)) <= 255 for part in path.parts)
    assert path.is_relative_to(root)
    assert name_of(path, lines.group_path(root, group)) == stream


@given(streams=st.sets(names, max_size=5))
def test_streams_of_different_names_are_different_files(
    tmp_path_factory: pytest.TempPathFactory, streams: set[str]
) -> None:
    root = tmp_path_factory.mktemp("logs")
    for number, stream in enumerate(streams):
        writer = LineWriter(stream_path(root, "group", stream))
        writer.write(b"%d\n" % number, 1)
        writer.close(1)
    for number, stream in enumerate(streams):
        assert messages(stream_path(root, "group", stream)) == [b"%d" % number]


def test_a_folder_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    for stream in ("a", "a.log/b", "a/b", "a.log"):
        LineWriter(stream_path(tmp_path, "group", stream)).close(1)
        assert stream_path(tmp_path, "group", stream).is_file()


def test_a_group_exists_once_it_is_made(tmp_path: Path) -> None:
    assert not is_group(tmp_path, "/aws/batch/job")
    create_group(tmp_path, "/aws/batch/job")
    made = (lines.group_path(tmp_path, "/aws/batch/job") / lines.GROUP_FILE).read_text()
    create_group(tmp_path, "/aws/batch/job")
    assert is_group(tmp_path, "/aws/batch/job")
    assert not is_group(tmp_path, "/aws/batch")
    assert (lines.group_path(tmp_path, "/aws/batch/job") / lines.GROUP_FILE).read_text() == made


# --- what is written ---


def test_a_new_stream_exists_and_is_empty(tmp_path: Path) -> None:
    path = stream_path(tmp_path, "/aws/batch/job", "definition/default/0123")
    LineWriter(path)
    assert path.read_bytes() == b""


def test_ordinary_output_is_readable_as_it_stands(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "s.log")
    writer.write(b"one\ntwo\nthr", 1_700_000_000_000)
    writer.write(b"ee\n", 1_700_000_000_250)
    writer.close(1_700_000_000_300)
    assert (tmp_path / "s.log").read_bytes() == (b"1700000000000 one\n1700000000000 two\n1700000000250 three\n")


@given(
    chunks=st.lists(st.binary(max_size=40) | st.text("\n\r\x10ab ", max_size=12).map(str.encode), max_size=20),
    steps=st.lists(st.integers(-5, 20), min_size=20, max_size=20),
)
def test_any_chunks_come_back_as_the_lines_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], steps: list[int]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "s.log"
    writer = LineWriter(path)
    at = 1000
    for chunk, step in zip(chunks, steps, strict=False):
        at += step
        writer.write(chunk, at)
    writer.close(at)

    whole = b"".join(chunks).split(b"\n")
    if not whole[-1]:
        whole.pop()
    forward = list(events_forward(path))
    assert [event.message for event in forward] == [line.removesuffix(b"\r") for line in whole]
    assert list(events_backward(path)) == forward[::-1]
    times = [event.timestamp for event in forward]
    assert times == sorted(times)


@given(pieces=st.lists(st.tuples(st.text("ab\n\r", max_size=6).map(str.encode), st.booleans()), max_size=12))
def test_flushing_in_between_only_cuts_lines(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, bool]]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "s.log"
    writer = LineWriter(path)
    for chunk, flush in pieces:
        writer.write(chunk, 1)
        if flush:
            writer.flush_partial(1)
    writer.close(1)
    whole = b"".join(chunk for chunk, _ in pieces)
    assert b"".join(messages(path)).replace(b"\r", b"") == whole.replace(b"\n", b"").replace(b"\r", b"")
    if not any(flush for _, flush in pieces):
        assert len(messages(path)) == len(whole.removesuffix(b"\n").split(b"\n")) * bool(whole)


def test_a_prompt_that_waits_is_an_event_and_its_line_end_is_none(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "s.log")
    writer.write(b"Password: ", 1)
    assert messages(tmp_path / "s.log") == []
    writer.flush_partial(2)
    assert read(tmp_path / "s.log") == [(2, b"Password: ")]
    writer.write(b"\r", 3)
    writer.flush_partial(3)
    writer.write(b"\nthanks\n\n", 4)
    writer.close(5)
    assert read(tmp_path / "s.log") == [(2, b"Password: "), (4, b"thanks"), (4, b"")]


def test_a_progress_bar_keeps_its_carriage_returns(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "s.log")
    writer.write(b"\r10%\r50%\r", 1)
    writer.write(b"\n", 2)
    writer.close(3)
    assert messages(tmp_path / "s.log") == [b"\r10%\r50%"]


def test_time_never_runs_backwards_in_a_stream_not_even_after_reopening(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "s.log")
    writer.write(b"a\n", 500)
    writer.write(b"b\n", 400)
    writer.close(300)
    writer = LineWriter(tmp_path / "s.log")
    assert writer.last_timestamp == 500
    writer.write(b"c\n", 200)
    writer.write(b"d\n", 600)
    writer.close(600)
    assert read(tmp_path / "s.log") == [(500, b"a"), (500, b"b"), (500, b"c"), (600, b"d")]


def test_a_second_writer_is_noticed(tmp_path: Path) -> None:
    first, second = LineWriter(tmp_path / "s.log"), LineWriter(tmp_path / "s.log")
    first.write(b"a\n", 100)
    second.write(b"b\n", 900)
    first.write(b"c\n", 200)
    assert read(tmp_path / "s.log") == [(100, b"a"), (900, b"b"), (900, b"c")]


def test_an_endless_line_is_cut_between_characters(tmp_path: Path) -> None:
    text = "é" * 300_000  # Two bytes each; the one byte before them makes the limit fall into a character.
    writer = LineWriter(tmp_path / "s.log")
    data = b"x" + text.encode()
    for start in range(0, len(data), 10_007):
        writer.write(data[start : start + 10_007], 1)
    assert len(messages(tmp_path / "s.log")) == 2
    writer.write(b"\nnext\n", 2)
    writer.close(3)
    *parts, last = messages(tmp_path / "s.log")
    assert last == b"next"
    assert all(len(part) <= MAX_EVENT_BYTES for part in parts)
    assert "".join(part.decode() for part in parts) == "x" + text


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("at_once", [0, 1, 2], ids="{} bytes of the line end come with the line".format)
def test_a_line_about_as_long_as_an_event_may_be_makes_no_empty_event(
    tmp_path: Path, end: bytes, extra: int, at_once: int
) -> None:
    line = b"x" * (MAX_EVENT_BYTES + extra)
    writer = LineWriter(tmp_path / "s.log")
    for chunk in (line + end[:at_once], end[at_once:]):
        writer.write(chunk, 1)
    writer.close(2)
    assert b"".join(messages(tmp_path / "s.log")) == line
    assert all(messages(tmp_path / "s.log"))


def test_a_large_chunk_of_short_lines_is_not_cut(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "s.log")
    whole = [b"line %d" % number for number in range(100_000)]
    writer.write(b"\n".join(whole), 1)
    writer.close(2)
    assert messages(tmp_path / "s.log") == whole


def test_any_message_has_a_line_of_its_own() -> None:
    for message in (b"", b"a\nb", b"\x10n", b"\x10\n\x10\x10n\n\n", b"\r\n", b"7 8"):
        line = lines.encode_event(7, message)
        assert line.count(b"\n") == 1
        assert lines.decode_event(line[:-1]) == (7, message)


# --- when things go wrong ---


@pytest.mark.parametrize(
    "torn", [b"17000", b"1700000000000 half a li", b"\0\0\0\0\0\0\0", b"900 x\x10", b" ", b"junk\n\n"]
)
def test_a_torn_end_hides_nothing_else(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "s.log"
    path.write_bytes(b"100 before\n" + torn)
    assert messages(path) == [b"before"]
    assert [event.message for event in events_backward(path)] == [b"before"]
    writer = LineWriter(path)
    writer.write(b"after\n", 1_700_000_000_001)
    writer.close(1_700_000_000_001)
    assert messages(path)[0] == b"before"
    assert messages(path)[-1] == b"after"
    assert [event.message for event in events_backward(path)] == messages(path)[::-1]
    times = [at for at, _ in read(path)]
    assert times == sorted(times)


class FullDisk:
    """Stands in for `os.write`: takes so many bytes, then none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", range(0, 90, 3))
def test_a_full_disk_costs_output_and_says_so_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "s.log"
    disk = FullDisk(room)
    monkeypatch.setattr(os, "write", disk)
    writer = LineWriter(path)
    writer.write(b"first line\nsecond line\n", 1000)
    writer.write(b"third line\n", 1001)
    writer.write(b"fourth line\n", 1002)
    disk.room = 10_000
    writer.write(b"fifth line\n", 1003)
    writer.close(1004)

    seen = messages(path)
    assert seen[-1] == b"fifth line"
    whole = [b"first line", b"second line", b"third line", b"fourth line"]
    if [line for line in seen if line in whole] != whole:
        assert any(b"bytes of this log were lost here: No space left on device" in line for line in seen)
    assert [event.message for event in events_backward(path)] == seen[::-1]


def test_losses_are_told_at_the_latest_when_the_stream_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(0)
    monkeypatch.setattr(os, "write", disk)
    writer = LineWriter(tmp_path / "s.log")
    writer.write(b"lost\n", 1)
    disk.room = 1000
    writer.close(2)
    assert [b"were lost here" in message for message in messages(tmp_path / "s.log")] == [True]


def test_a_folder_that_cannot_be_made_loses_the_output_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "group").write_text("in the way")
    writer = LineWriter(tmp_path / "group" / "s.log")
    writer.write(b"lost\n", 1)
    (tmp_path / "group").unlink()
    writer.write(b"kept\n", 2)
    writer.close(3)
    first, second = messages(tmp_path / "group" / "s.log")
    assert b"5 bytes of this log were lost here" in first
    assert second == b"kept"


def test_writing_to_a_closed_writer_does_nothing(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "s.log")
    writer.write(b"a\n", 1)
    writer.close(1)
    writer.close(1)
    writer.write(b"b\n", 1)
    assert messages(tmp_path / "s.log") == [b"a"]


def test_a_chunk_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda *arguments: calls.append(arguments) or write(*arguments))
    writer = LineWriter(tmp_path / "s.log")
    writer.write(b"line\n" * 10_000, 1)
    assert len(calls) == 1


def test_the_writer_needs_nothing_but_the_standard_library() -> None:
    program = (
        "import sys; before = set(sys.modules); import batchyard.logs.lines; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['batchyard']"
