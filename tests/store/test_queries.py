"""The queries behind the API."""

from __future__ import annotations

from typing import Any

import pytest
from shelf import Shelf
from story import NOON, Story

from batchyard.kernel.records import Status
from batchyard.store import reading
from batchyard.store.loading import facts
from batchyard.store.reading import JobFilter


def names(shelf: Shelf, before: int | None = None, limit: int = 100, **wanted: Any) -> list[str]:
    rows = shelf.store.read_now(
        lambda connection: reading.list_jobs(connection, JobFilter(**({"queue": "q"} | wanted)), before, limit)
    )
    return [row.name or "" for row in rows]


def test_jobs_are_listed_newest_first_without_children(shelf: Shelf, story: Story) -> None:
    story.submit("A")
    story.submit("B", array=3)
    story.submit("C")
    assert names(shelf) == ["C", "B", "A"]


def test_a_queue_and_a_status(shelf: Shelf, story: Story) -> None:
    story.queue("other", ["ce"])
    for label in "ABC":
        story.submit(label)
    story.submit("D", queue="other")
    story.run("A")
    assert names(shelf, status=Status.SUCCEEDED) == ["A"]
    assert names(shelf, status=Status.STARTING) == ["C", "B"]
    assert names(shelf, status=Status.FAILED) == []
    assert names(shelf, queue="other") == ["D"]
    assert names(shelf, queue="nowhere") == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a_b", ["a_b"]),
        ("A_B", ["a_b"]),
        ("a_b*", ["a_bc", "a_b"]),
        ("a*", ["axb", "a_bc", "a_b"]),
        ("A*", ["axb", "a_bc", "a_b"]),
        ("*", ["axb", "a_bc", "a_b"]),
        ("a%b", []),
        ("a%*", []),
        ("a/_b", []),
        ("a/*", []),
        ("a\\_b", []),
        ("a_", []),
        ("", []),
        ("*b", []),
    ],
)
def test_names_are_matched_as_they_are(shelf: Shelf, story: Story, pattern: str, found: list[str]) -> None:
    for label in ("a_b", "a_bc", "axb"):
        story.submit(label)
    assert names(shelf, name=pattern) == found


@pytest.mark.parametrize(
    ("definition", "found"),
    [
        ("Sleep", ["C", "B"]),
        ("sleep", ["A"]),
        ("Sle*", ["D", "C", "B"]),
        ("sle*", ["A"]),
        ("*", ["D", "C", "B", "A"]),
        ("Sleep_", []),
        ("Sl__p", []),
        ("S%", []),
        ("eep", []),
        ("Sleep:1", []),
        ("arn:aws:batch:eu-west-1:123456789012:job-definition/Sleep:1", ["B"]),
        ("arn:aws:batch:eu-west-1:123456789012:job-definition/Sleep:2", ["C"]),
        ("arn:aws:batch:eu-west-1:123456789012:job-definition/Sleep*", []),
    ],
)
def test_definitions_are_matched_with_their_case(shelf: Shelf, story: Story, definition: str, found: list[str]) -> None:
    story.definition("sleep")
    story.definition("Sleep")
    story.definition("SleepLong")
    story.submit("A", definition="sleep")
    story.submit("B", definition="Sleep")
    story.definition("Sleep")
    story.submit("C", definition="Sleep")
    story.submit("D", definition="SleepLong")
    assert names(shelf, definition=definition) == found


def test_times_of_creation(shelf: Shelf, story: Story) -> None:
    for label in "ABC":
        story.submit(label)
        story.pass_time(10)
    start = story.jobs["A"].created_at
    assert names(shelf, created_after=start) == ["C", "B"]
    assert names(shelf, created_before=start + 20_000) == ["B", "A"]
    assert names(shelf, created_after=start, created_before=start + 20_000) == ["B"]
    assert start >= NOON


def test_pages_neither_repeat_nor_skip_while_jobs_are_submitted(shelf: Shelf, story: Story) -> None:
    for number in range(7):
        story.submit(f"old{number}")
    found: list[str] = []
    before = None
    while True:
        page = shelf.store.read_now(
            lambda connection, before=before: reading.list_jobs(connection, JobFilter(queue="q"), before, 2)
        )
        if not page:
            break
        found += [row.name or "" for row in page]
        before = page[-1].seq
        story.submit(f"new{len(found)}")
    assert found == [f"old{number}" for number in range(6, -1, -1)]


def test_jobs_by_id(shelf: Shelf, story: Story) -> None:
    ids = [story.submit(f"j{number}") for number in range(3)]
    found = shelf.store.read_now(
        lambda connection: reading.jobs_by_id(connection, [*ids, "unknown", *(str(number) for number in range(2000))])
    )
    assert found.keys() == set(ids)
    assert shelf.store.read_now(lambda connection: reading.jobs_by_id(connection, [])) == {}


def test_children_have_rows_once_they_differ(shelf: Shelf, story: Story) -> None:
    story.submit("A", array=1000)
    story.cancel("A:500", "skip it")
    seq = story.jobs["A"].seq
    keys = [(seq, index) for index in range(1000)]
    found = shelf.store.read_now(lambda connection: reading.children(connection, keys))
    assert found.keys() == {(seq, 0), (seq, 1), (seq, 500)}
    assert found[seq, 500].status_reason == "skip it"
    assert found[seq, 500].cancelled


def test_facts_about_finished_jobs(shelf: Shelf, story: Story) -> None:
    single, array = story.submit("A"), story.submit("B", array=5)
    story.run("A", "B:0")
    story.run("B:1", code=1)
    story.cancel("B")
    story.run("B:2", "B:3")
    wanted = [single, array, *(f"{array}:{index}" for index in range(6)), f"{single}:0", f"{array}:01", "unknown", ""]
    found = shelf.store.read_now(lambda connection: facts(connection, wanted))
    assert found.keys() == {single, array, *(f"{array}:{index}" for index in range(5))}
    assert found[single].status is Status.SUCCEEDED
    assert (found[array].status, found[array].size) == (Status.FAILED, 5)
    states = [Status(state).name for state in found[array].states]
    assert states == ["SUCCEEDED", "FAILED", "SUCCEEDED", "SUCCEEDED", "FAILED"]
    assert [found[f"{array}:{index}"].status.name for index in range(5)] == states


def test_the_history_of_a_job_keeps_every_reason(shelf: Shelf, story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A")
    story.pass_time(2)
    story.change_environment("ce", state="DISABLED")
    story.pass_time(2)
    story.change_environment("ce", state="ENABLED")
    story.run("busy")
    story.begin("A")
    lines = shelf.store.read_now(
        lambda connection: reading.history(connection, story.jobs["A"].seq, "q", until=story.now + 1)
    )
    assert [line.status for line in lines] == ["SUBMITTED", *["RUNNABLE"] * 3, "STARTING", "RUNNING"]
    assert lines[1].reason is not None
    assert lines[1].reason.startswith("It needs 1 vCPU and 128 MiB, and that much is not free")
    assert lines[2].reason == "Compute environment ce is DISABLED, VALID."
    assert lines[3].reason is not None
    assert lines[3].reason.startswith(f"Job {story.id('A')} needs 1 vCPU and 128 MiB, and that much is not free")
    assert [line.at for line in lines] == sorted(line.at for line in lines)


def test_the_history_of_an_array_tells_why_its_children_waited(shelf: Shelf, story: Story) -> None:
    story.submit("busy", vcpus=2)
    story.submit("A", array=3)
    story.pass_time(2)
    lines = shelf.store.read_now(
        lambda connection: reading.history(connection, story.jobs["A"].seq, "q", until=story.now + 1, array=True)
    )
    assert [line.status for line in lines] == ["SUBMITTED", "PENDING", "PENDING"]
    assert lines[2].reason is not None
    assert lines[2].reason.startswith(f"Job {story.id('A')} needs 1 vCPU and 128 MiB, and that much is not free")


def test_reads_see_what_was_saved_before(shelf: Shelf, story: Story) -> None:
    for number in range(5):
        job_id = story.submit(f"j{number}")
        found = shelf.loop.run_until_complete(
            shelf.store.read(lambda connection, job_id=job_id: reading.jobs_by_id(connection, [job_id]))
        )
        assert found.keys() == {job_id}
