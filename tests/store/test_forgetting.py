"""Retention: finished jobs are forgotten, the oldest first, children and all."""

from __future__ import annotations

import pytest
from shelf import Shelf
from sqlalchemy import text
from story import Story

from batchyard.store import reading

TABLES = {"jobs": "seq", "job_details": "seq", "transitions": "job_seq"}


def kept(shelf: Shelf, table: str) -> set[int]:
    query = text(f"SELECT DISTINCT {TABLES[table]} FROM {table}")
    return set(shelf.store.read_now(lambda connection: connection.scalars(query).all()))


def test_what_ended_before_the_horizon_goes_and_nothing_else(shelf: Shelf, story: Story) -> None:
    story.submit("old")
    story.submit("array", array=3)
    story.run("old", "array:0", "array:1", "array:2")
    old = {job.seq for label, job in story.jobs.items() if label != "old"} | {story.jobs["old"].seq}
    story.pass_time(1000)
    horizon = story.now
    story.submit("young")
    story.submit("running")
    story.submit("unfinished", array=3)
    story.run("young")
    young = {job.seq for job in story.jobs.values()} - old
    assert shelf.store.forget_finished(horizon, 100) == 2
    for table in TABLES:
        assert kept(shelf, table) & old == set(), table
    assert kept(shelf, "jobs") == young
    assert shelf.store.forget_finished(horizon, 100) == 0
    story.run("running")


def test_the_oldest_go_first_and_only_so_many_at_once(shelf: Shelf, story: Story) -> None:
    for label in "ABCDE":
        story.submit(label)
        story.run(label)
        story.pass_time(1)
    assert shelf.store.forget_finished(story.now + 1, 2) == 2
    assert kept(shelf, "jobs") == {story.jobs[label].seq for label in "CDE"}
    assert shelf.store.forget_finished(story.now + 1, 2) == 2
    assert shelf.store.forget_finished(story.now + 1, 2) == 1


def test_the_time_of_the_end_itself_is_not_before_it(shelf: Shelf, story: Story) -> None:
    story.submit("A")
    story.run("A")
    assert shelf.store.forget_finished(story.now, 10) == 0
    assert shelf.store.forget_finished(story.now + 1, 10) == 1


def test_a_job_whose_dependency_was_forgotten_still_runs_after_a_restart(shelf: Shelf, story: Story) -> None:
    story.submit("A")
    story.submit("B")
    story.submit("C", after=["A", "B"])
    story.run("A")
    shelf.store.forget_finished(story.now + 1, 10)
    with shelf.store.load() as snapshot:
        story.restart(snapshot)
    assert story.status("C") == "PENDING"
    story.run("B")
    assert story.status("C") == "STARTING"
    story.run("C")
    assert shelf.store.read_now(lambda connection: reading.jobs_by_id(connection, [story.id("C")]))


def test_a_failure_on_the_way_leaves_everything_and_the_store_goes_on(shelf: Shelf, story: Story) -> None:
    story.submit("A")
    story.run("A")
    writer = shelf.store._writer
    assert writer is not None
    writer.exec_driver_sql(
        "CREATE TEMP TRIGGER no_forgetting BEFORE DELETE ON main.jobs BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )
    writer.commit()
    with pytest.raises(Exception, match="broken"):
        shelf.store.forget_finished(story.now + 1, 10)
    assert not writer.in_transaction(), "a transaction was left open"
    for table in TABLES:
        assert kept(shelf, table) == {story.jobs["A"].seq}, table
    writer.exec_driver_sql("DROP TRIGGER no_forgetting")
    writer.commit()
    assert shelf.store.forget_finished(story.now + 1, 10) == 1
