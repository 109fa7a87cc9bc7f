"""Reading one stream: forwards, backwards, from a time, while it grows, and when it is large."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.logs.events import end_of_events, events_backward, events_forward, find_time, time_bounds
from batchyard.logs.lines import LineWriter

streams = st.lists(
    st.tuples(st.integers(0, 30), st.binary(max_size=6).map(lambda line: line.replace(b"\n", b""))), max_size=30
).map(lambda events: sorted(events, key=lambda event: event[0]))


def write_stream(path: Path, events: list[tuple[int, bytes]], torn: bytes = b"") -> None:
    writer = LineWriter(path)
    for at, line in events:
        writer.write(line + b"\n", at)
    writer.close(0)
    with path.open("ab") as file:
        file.write(torn)


@given(
    events=streams, start=st.integers(0, 32), end=st.integers(0, 32) | st.none(), torn=st.sampled_from([b"", b"31 x"])
)
def test_a_time_range_holds_exactly_its_events_in_either_direction(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[int, bytes]],
    start: int,
    end: int | None,
    torn: bytes,
) -> None:
    path = tmp_path_factory.mktemp("logs") / "s.log"
    write_stream(path, events, torn)
    wanted = [(at, line.removesuffix(b"\r")) for at, line in events if start <= at and (end is None or at < end)]
    found = list(events_forward(path, 0, start, end))
    assert [(event.timestamp, event.message) for event in found] == wanted
    assert list(events_backward(path, None, start, end)) == found[::-1]


@given(events=streams, at=st.integers(0, 32))
def test_reading_from_any_position_meets_in_the_middle(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, bytes]], at: int
) -> None:
    path = tmp_path_factory.mktemp("logs") / "s.log"
    write_stream(path, events)
    everything = list(events_forward(path))
    position = find_time(path, at)
    before = list(events_backward(path, position))[::-1]
    behind = list(events_forward(path, position))
    assert before + behind == everything
    assert all(event.timestamp < at for event in before)
    assert all(event.timestamp >= at for event in behind)


@pytest.mark.parametrize("length", [1, 4 * 1024 - 6, 4 * 1024, 64 * 1024, 300_000])
def test_lines_of_any_length_are_read_whole(tmp_path: Path, length: int) -> None:
    path = tmp_path / "s.log"
    path.write_bytes(b"".join(b"%d %b\n" % (100 + number, b"x" * length) for number in range(5)))
    assert [len(event.message) for event in events_forward(path)] == [length] * 5
    assert [event.timestamp for event in events_backward(path)] == [104, 103, 102, 101, 100]
    assert [event.timestamp for event in events_forward(path, 0, 103)] == [103, 104]


def test_a_line_in_the_making_does_not_exist_yet(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    path.write_bytes(b"100 a\n200 hal")
    assert end_of_events(path) == find_time(path, 150) == find_time(path, 10**15) == 6
    assert list(events_forward(path, 6)) == []
    with path.open("ab") as file:
        file.write(b"f\n")
    assert [event.message for event in events_forward(path, 6)] == [b"half"]


def test_a_reader_sees_what_is_appended_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    writer = LineWriter(path)
    writer.write(b"a\n", 1)
    reading = events_forward(path)
    assert next(reading).message == b"a"
    writer.write(b"b\n", 2)
    assert next(reading).message == b"b"


def test_a_stream_that_is_deleted_while_it_is_read_just_ends(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    path.write_bytes(b"1 line\n" * 100_000)
    forward, backward = events_forward(path), events_backward(path)
    next(forward), next(backward)
    path.unlink()
    assert len(list(forward)) < 100_000
    assert len(list(backward)) < 100_000
    with pytest.raises(FileNotFoundError):
        next(events_forward(path))
    with pytest.raises(FileNotFoundError):
        next(events_backward(path))


def test_first_and_last_time(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    path.write_bytes(b"")
    assert time_bounds(path, 0) is None
    path.write_bytes(b"junk\n5 a\n7 b\n9 c\njunk\n6")
    assert time_bounds(path, path.stat().st_size) == (5, 9)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 100 MB: 10,000 chunks of 100 lines, a millisecond apart."""
    path = tmp_path_factory.mktemp("logs") / "large.log"
    chunk = b"\n".join(b"line %d of a chunk " % number + b"." * 70 for number in range(100)) + b"\n"
    writer = LineWriter(path)
    for number in range(10_000):
        writer.write(chunk, 1_700_000_000_000 + number)
    writer.close(0)
    return path


def test_a_large_file_is_never_read_whole(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert large.stat().st_size > 100_000_000
    read = 0
    pread = os.pread

    def counting(descriptor: int, length: int, position: int) -> Any:
        nonlocal read
        data = pread(descriptor, length, position)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    for number in (0, 1, 4_999, 9_999):
        at = 1_700_000_000_000 + number
        first = next(events_forward(large, 0, at))
        assert (first.timestamp, first.message[:7]) == (at, b"line 0 ")
        last = next(events_backward(large, None, 0, at + 1))
        assert (last.timestamp, last.message[:8]) == (at, b"line 99 ")
    assert next(events_backward(large)).timestamp == 1_700_000_009_999
    assert time_bounds(large, large.stat().st_size) == (1_700_000_000_000, 1_700_000_009_999)
    assert read < 1_000_000
