"""Groups, streams, pages and searches."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchyard.logs import store as store_module
from batchyard.logs.lines import LineWriter, stream_path
from batchyard.logs.store import LogStore, NoSuchGroupError, NoSuchStreamError, Place


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    store = LogStore(tmp_path)
    store.create_group("group")
    return store


def write(store: LogStore, stream: str, *events: tuple[int, str]) -> None:
    writer = LineWriter(stream_path(store.root, "group", stream))
    for at, line in events:
        writer.write(line.encode() + b"\n", at)
    writer.close(0)


# --- groups ---


def test_groups_are_listed_by_name_whatever_their_names(store: LogStore) -> None:
    names = ["/aws/batch/job", "group", "x" * 512, "#/" * 256, "a.b"]
    for name in names:
        store.create_group(name)
    assert store.group_names() == sorted(names)
    assert not store.create_group("a.b")


def test_a_group_remembers_its_retention_and_its_age(store: LogStore) -> None:
    made = store.group("group")
    assert made.retention_in_days is None
    store.set_retention("group", 30)
    assert store.group("group") == made._replace(retention_in_days=30)


def test_a_group_made_by_a_writer_alone_is_a_group(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    write(store, "stream", (1, "line"))
    assert store.group_names() == ["group"]
    assert store.group("group").creation_time > 0


def test_a_deleted_group_is_gone_with_its_streams(store: LogStore) -> None:
    write(store, "a/b", (1, "line"))
    store.delete_group("group")
    assert store.group_names() == []
    assert os.listdir(store.root) == []
    store.create_group("group")
    assert list(store.streams("group")) == []


def test_what_does_not_exist_is_said_to(store: LogStore) -> None:
    for call in (store.group, store.delete_group, store.streams, store.stored_bytes):
        with pytest.raises(NoSuchGroupError):
            call("other")
    for call in (lambda: store.stream("other", "s"), lambda: store.create_stream("other", "s")):
        with pytest.raises(NoSuchGroupError):
            call()
    for call in (
        lambda: store.stream("group", "s"),
        lambda: store.delete_stream("group", "s"),
        lambda: store.append("group", "s", [(1, b"")]),
    ):
        with pytest.raises(NoSuchStreamError):
            call()
    assert store.group_names() == ["group"]


def test_only_streams_older_than_the_retention_expire(store: LogStore) -> None:
    day = 86_400_000
    for stream, age in (("old", 8), ("young", 6)):
        write(store, stream, (100 * day - age * day, "line"))
        os.utime(store.stream("group", stream).path, (92 * 86_400, 92 * 86_400))
    assert store.expire(100 * day) == 0
    store.set_retention("group", 7)
    assert store.expire(100 * day) == 1
    assert [stream.name for stream in store.streams("group")] == ["young"]


# --- streams ---


@given(
    names=st.sets(
        st.text("ab/%é", min_size=1, max_size=5) | st.sampled_from(["a" * 300, "a" * 300 + "/b"]), max_size=8
    ),
    prefix=st.text("ab/%é", max_size=3) | st.just("a" * 250),
)
def test_streams_are_found_by_any_prefix(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], prefix: str
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs"))
    store.create_group("group")
    for name in names:
        assert store.create_stream("group", name)
        assert not store.create_stream("group", name)
    found = [stream.name for stream in store.streams("group", prefix)]
    assert sorted(found) == sorted(name for name in names if name.startswith(prefix))


def test_the_times_of_a_stream(store: LogStore) -> None:
    store.create_stream("group", "empty")
    write(store, "full", (1000, "a"), (2000, "b"))
    empty = store.stream("group", "empty")
    assert store.times(empty) == (empty.modified, None, None)
    assert store.times(store.stream("group", "full")) == (1000, 1000, 2000)
    full = store.stream("group", "full")
    store.delete_stream("group", "full")
    assert store.times(full) is None


def test_appended_events_keep_their_text_and_never_go_back_in_time(store: LogStore) -> None:
    write(store, "s", (1000, "line"))
    store.append("group", "s", [(900, b"two\nlines\x10\r\n"), (1100, b"later")])
    page = store.page_forward(store.stream("group", "s"))
    assert [(event.timestamp, event.message) for event in page.events] == [
        (1000, b"line"),
        (1000, b"two\nlines\x10\r\n"),
        (1100, b"later"),
    ]


def test_an_event_of_the_future_is_found_by_its_time(store: LogStore) -> None:
    store.create_stream("group", "s")
    future = store.stream("group", "s").modified + 3_600_000
    store.append("group", "s", [(future, b"later")])
    found, _ = store.search(store.streams("group"), start=future)
    assert [event.text for event in found] == ["later"]


# --- pages ---

contents = st.lists(st.integers(0, 5), max_size=25).map(sorted)


@given(times=contents, limit=st.integers(1, 30), start=st.integers(0, 6), end=st.integers(0, 7) | st.none())
def test_pages_of_any_size_add_up_to_the_whole_in_both_directions(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], limit: int, start: int, end: int | None
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs"))
    write(store, "s", *((at, str(number)) for number, at in enumerate(times)))
    stream = store.stream("group", "s")
    whole = [str(number) for number, at in enumerate(times) if start <= at and (end is None or at < end)]

    forward: list[str] = []
    position = 0
    while (page := store.page_forward(stream, position, start, end, limit)).events:
        assert len(page.events) <= limit
        forward += [event.message.decode() for event in page.events]
        position = page.after
    assert forward == whole

    backward: list[str] = []
    place = None
    while (page := store.page_backward(stream, place, start, end, limit)).events:
        assert len(page.events) <= limit
        backward = [event.message.decode() for event in page.events] + backward
        place = page.before
    assert backward == whole


def test_a_page_turns_on_the_spot(store: LogStore) -> None:
    write(store, "s", *((at, str(at)) for at in range(10)))
    stream = store.stream("group", "s")
    page = store.page_forward(stream, 0, 0, None, 4)
    assert store.page_backward(stream, page.after, 0, None, 4) == page
    page = store.page_backward(stream, None, 0, None, 3)
    assert store.page_forward(stream, page.before, 0, None, 3) == page
    assert store.page_forward(stream, page.after).events == []
    write(store, "s", (11, "new"))
    assert [event.message for event in store.page_forward(stream, page.after).events] == [b"new"]


def test_a_page_holds_no_more_than_a_mebibyte_and_no_less_than_an_event(store: LogStore) -> None:
    store.create_stream("group", "s")
    store.append("group", "s", [(1, b"x" * 100_000)] * 30)
    store.append("group", "s", [(2, b"y" * 2_000_000)])
    stream = store.stream("group", "s")
    assert len(store.page_forward(stream).events) == 10
    assert len(store.page_backward(stream).events) == 1
    assert len(store.page_forward(stream, store.page_backward(stream).before).events) == 1


# --- searches ---

several = st.dictionaries(st.sampled_from(["a", "b", "c/d"]), contents, max_size=3)


@given(
    streams=several,
    limit=st.integers(1, 30),
    start=st.integers(0, 6),
    end=st.integers(0, 7) | st.none(),
    newest_first=st.booleans(),
    wanted=st.sets(st.sampled_from("0123456789"), min_size=1),
)
@example(
    streams={"a": [1, 1], "b": [1, 1], "c/d": [1, 1]}, limit=1, start=0, end=None, newest_first=True, wanted={"0", "1"}
)
@example(
    streams={"a": [1, 1], "b": [1, 1], "c/d": [1, 1]}, limit=1, start=0, end=None, newest_first=False, wanted={"0", "1"}
)
def test_a_search_goes_through_all_streams_in_order_of_time(
    tmp_path_factory: pytest.TempPathFactory,
    streams: dict[str, list[int]],
    limit: int,
    start: int,
    end: int | None,
    newest_first: bool,
    wanted: set[str],
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs"))
    store.create_group("group")
    for name, times in streams.items():
        write(store, name, *((at, str(number)) for number, at in enumerate(times)))
    whole = sorted(
        (
            (at, name, number)
            for name, times in streams.items()
            for number, at in enumerate(times)
            if start <= at and (end is None or at < end) and str(number)[-1] in wanted
        ),
        reverse=newest_first,
    )
    found: list[tuple[int, str, int]] = []
    behind: Place | None = None
    while True:
        page, behind = store.search(
            store.streams("group"),
            matches=lambda text: text[-1] in wanted,
            start=start,
            end=end,
            limit=limit,
            behind=behind,
            newest_first=newest_first,
        )
        assert len(page) <= limit
        found += [(event.event.timestamp, event.stream, int(event.text)) for event in page]
        assert len(found) <= len(whole)
        if behind is None:
            break
    assert found == whole


def test_a_search_that_finds_little_answers_in_parts(store: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_SEARCH_BYTES", 1000)
    write(store, "s", *((at, f"line {at}") for at in range(100)), (100, "needle"))
    pages = []
    behind: Place | None = None
    while not pages or behind is not None:
        page, behind = store.search(store.streams("group"), matches=lambda text: text == "needle", behind=behind)
        pages.append([event.text for event in page])
    assert len(pages) > 2
    assert pages[0] == []
    assert [text for page in pages for text in page] == ["needle"]


def test_a_search_leaves_streams_alone_that_ended_long_before(store: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, "old", (1_000_000, "line"))
    os.utime(store.stream("group", "old").path, (1000, 1000))
    opened: list[str] = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(str(path)) or original(path, *rest))
    assert store.search(store.streams("group"), start=10_000_000) == ([], None)
    assert opened == []
    found, _ = store.search(store.streams("group"), start=1_000_000)
    assert [event.text for event in found] == ["line"]


def test_a_search_opens_no_more_files_than_it_may(store: LogStore) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(300):
        write(store, f"s{number:03}", (1, "first"), (2, "second"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
    try:
        for newest_first in (False, True):
            found, place = store.search(store.streams("group"), newest_first=newest_first)
            assert (len(found), place) == (600, None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
