"""What is saved, all or nothing, and what survives the server's death at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shelf import Shelf
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from state_dump import dump_state
from story import Story, submission

from batchyard.kernel.kernel import Kernel
from batchyard.kernel.records import Status
from batchyard.kernel.stored import restore
from batchyard.shapes import batch as shapes
from batchyard.store import reading
from batchyard.store.store import Store

WRITER = Path(__file__).with_name("crashing_writer.py")
TABLES = ("jobs", "job_details", "transitions")


def counts(store: Store) -> dict[str, int]:
    return {
        table: store.read_now(lambda connection, name=table: connection.scalar(text(f"SELECT count(*) FROM {name}")))
        for table in TABLES
    }


def test_everything_unfinished_comes_back(shelf: Shelf, story: Story) -> None:
    story.submit("A", attempts=3, timeout=60, evaluate=[{"onExitCode": "4", "action": "EXIT"}])
    story.submit("B", array=1000, memory=256)
    story.submit("C", after=["A", "B:7"])
    story.submit("D", array=1000, n_to_n=["B"], sequential=True)
    story.submit("E", vcpus=99)
    story.begin("A")
    story.exit("A", 1, "OutOfMemoryError: Container killed due to memory usage")
    story.begin("A", "B:0")
    story.terminate("B:0", "enough")
    story.cancel("B:5", "skip it")
    story.change_queue("q", state="DISABLED")
    shelf.reopen()
    with shelf.store.load() as snapshot:
        story.restart(snapshot)
    assert story.status("B:5") == "FAILED"
    assert "stop B:0#1 30" in story._orders[-1:], "the order to stop is given again"
    story.pass_time(60)
    assert story._orders[-1] == "stop A#2 30", "the time-out is still known"


def test_an_array_that_waited_for_another_over_a_restart_starts(shelf: Shelf, story: Story) -> None:
    story.submit("A", array=2)
    story.submit("B", array=2, after=["A"])
    with shelf.store.load() as snapshot:
        story.restart(snapshot)
    story.run("A:0", "A:1")
    assert story.summary("B")["STARTING"] == 2


def test_a_job_that_has_ended_can_be_read_but_is_not_loaded(shelf: Shelf, story: Story) -> None:
    job_id = story.submit("A")
    story.run("A", code=3)
    with shelf.store.load() as snapshot:
        assert list(snapshot.jobs) == []
    row = shelf.store.read_now(lambda connection: reading.jobs_by_id(connection, [job_id]))[job_id]
    assert (row.status, row.status_reason) == (Status.FAILED, "Essential container in task exited")
    assert row.attempts == story.jobs["A"].attempts
    assert (row.created_at, row.started_at, row.stopped_at) == (story.now - 1000, story.now - 1000, story.now)
    assert (row.name, row.queue, row.definition) == ("A", "q", story.jobs["A"].definition)


def test_an_array_of_ten_thousand_is_one_row(shelf: Shelf, story: Story) -> None:
    story.submit("W", vcpus=2)
    before = counts(shelf.store)
    story.submit("A", array=10_000)
    after = counts(shelf.store)
    assert {table: after[table] - before[table] for table in TABLES} == {"jobs": 1, "job_details": 1, "transitions": 2}


def test_what_has_not_been_asked_for_is_not_kept_twice(shelf: Shelf, story: Story) -> None:
    """A change of state writes no second copy of what the job was asked to run."""
    story.submit("A")
    story.run("A")
    assert counts(shelf.store) == {"jobs": 1, "job_details": 1, "transitions": 5}


def test_a_failed_save_raises_and_nothing_of_it_has_happened(shelf: Shelf, story: Story) -> None:
    story.submit("A")
    before = counts(shelf.store)
    kernel = story.kernel
    kernel.apply(submission(job_name="B"), story.now)
    kernel.step(story.now)
    effects = kernel.take_effects()
    taken = story.jobs["A"].seq
    (job,) = (job for job in effects.jobs.values() if job.name == "B")
    effects.created.add(taken)
    effects.jobs[taken] = story.jobs["A"]
    with pytest.raises(IntegrityError):
        shelf.loop.run_until_complete(shelf.store.save(effects))
    assert counts(shelf.store) == before
    del effects.jobs[taken]
    effects.created.discard(taken)
    shelf.loop.run_until_complete(shelf.store.save(effects))
    assert job.id in shelf.store.read_now(lambda connection: reading.jobs_by_id(connection, [job.id]))


def test_a_full_disk_raises_and_the_store_goes_on_once_there_is_room(shelf: Shelf, story: Story) -> None:
    writer = shelf.store._writer
    assert writer is not None
    pages = writer.exec_driver_sql("PRAGMA page_count").scalar()
    writer.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    writer.rollback()
    before = counts(shelf.store)
    with pytest.raises(OperationalError, match="full"):
        story.submit("A", parameters={"padding": "x" * 20_000})
    assert counts(shelf.store) == before
    writer.exec_driver_sql("PRAGMA max_page_count = 1000000")
    writer.rollback()
    again = Story(save=None, bare=True)
    with shelf.store.load() as snapshot:
        restore(again.kernel.state, snapshot, story.now)
    story.kernel = again.kernel
    story.submit("B")
    assert counts(shelf.store)["jobs"] == before["jobs"] + 1


def test_restoring_is_what_the_last_commit_left(shelf: Shelf, story: Story) -> None:
    story.submit("A", array=3, attempts=2)
    story.run("A:0", code=1)
    story.submit("B", after=["A"])
    kernel = Kernel(story.kernel.state.settings)
    kernel.add_machine("local", *story._machine)
    with shelf.store.load() as snapshot:
        restore(kernel.state, snapshot, story.now)
    assert dump_state(kernel.state) == dump_state(story.kernel.state)


def test_resources_are_saved_changed_and_removed(shelf: Shelf, story: Story) -> None:
    story.environment("other")
    story.queue("second", ["other"], tags={"a": "1"})
    story.change_queue("second", priority=9)
    with shelf.store.load() as snapshot:
        queues = {queue.job_queue_name: queue for queue in snapshot.queues}
        environments = {environment.compute_environment_name for environment in snapshot.environments}
    assert (queues["second"].priority, queues["second"].tags, queues["second"].status) == (9, {"a": "1"}, "VALID")
    assert environments == {"ce", "other"}
    story.delete_queue("second")
    story.pass_time(1)
    with shelf.store.load() as snapshot:
        assert {queue.job_queue_name for queue in snapshot.queues} == {"q"}


def test_definitions_keep_their_revisions(shelf: Shelf, story: Story) -> None:
    from batchyard.kernel.commands import DeregisterJobDefinition

    for _ in range(2):
        story.definition("work")
    story.tell(DeregisterJobDefinition("work:2"))
    with shelf.store.load() as snapshot:
        family = snapshot.definitions["work"]
    assert (family.active, family.newest, sorted(family.revisions)) == ({1, 3}, 3, [1, 2, 3])


# The death of the server


def start_writer(path: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(path), mode], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_transaction_that_was_not_committed_has_never_been(tmp_path: Path) -> None:
    path = tmp_path / "crash.db"
    process = start_writer(path, "hold")
    assert process.stdout is not None
    assert process.stdout.readline() == "written, not committed\n"
    kill(process)
    store = Store(path)
    store.open()
    assert counts(store) == {"jobs": 0, "job_details": 0, "transitions": 0}
    store.close()


def test_whatever_was_acknowledged_survives_and_the_rest_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "crash.db"
    acknowledged = 0
    for round_ in range(3):
        process = start_writer(path, "go")
        assert process.stdout is not None
        for _ in range(3 + 20 * round_):
            acknowledged = int(process.stdout.readline())
        kill(process)
        store = Store(path)
        store.open()
        found = counts(store)
        assert found["jobs"] >= acknowledged
        assert found["job_details"] == found["jobs"]
        assert found["transitions"] == 3 * found["jobs"], "a job of which only a part was saved"
        store.close()
    assert os.path.getsize(path) > 0


def test_tags_of_a_job_replace_those_it_was_submitted_with(shelf: Shelf, story: Story) -> None:
    from batchyard.kernel.commands import ChangeTags

    story.submit("A", tags={"a": "1"})
    seq = story.jobs["A"].seq
    story.tell(ChangeTags(arn="", add={"b": "2"}, remove=["a"], job=(seq, {"a": "1"})))
    detail: shapes.JobDetail = shelf.store.read_now(lambda connection: reading.job_details(connection, [seq]))[seq]
    assert detail.tags == {"b": "2"}
    story.tell(ChangeTags(arn="", remove=["b"], job=(seq, {"b": "2"})))
    detail = shelf.store.read_now(lambda connection: reading.job_details(connection, [seq]))[seq]
    assert detail.tags == {}
