"""What is read of the shares' past after a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from shelf import Shelf
from sqlalchemy import Connection, event, insert, text
from story import ACCOUNT, Story

from batchyard.kernel.commands import CreateSchedulingPolicy
from batchyard.kernel.ordering.fair_share import Run
from batchyard.kernel.records import Kind, ServiceRequest, Status
from batchyard.shapes import batch as shapes
from batchyard.store.fair_share_history import ended_runs
from batchyard.store.rows import encode
from batchyard.store.schema import jobs


def fair_queue(story: Story, name: str) -> None:
    story.tell(CreateSchedulingPolicy(shapes.CreateSchedulingPolicyRequest(name=name)))
    story.queue(name, ["ce"], scheduling_policy_arn=ACCOUNT.arn(f"scheduling-policy/{name}"))


def submit(story: Story, label: str, share: str, queue: str = "fair", **members: Any) -> None:
    story.submit(label, queue=queue, share_identifier=share, **members)


def read(shelf: Shelf, horizons: Mapping[str, int]) -> Counter[tuple[str, Run]]:
    return shelf.store.read_now(lambda connection: Counter(ended_runs(connection, horizons)))


def ran(shelf: Shelf, since: int) -> list[tuple[str, float, float, int]]:
    """Share, the seconds after `since` of beginning and end, and milli-vCPUs, of what ran."""
    found = read(shelf, {"fair": since})
    assert set(found.values()) <= {1}
    return sorted(
        (run.share, (run.started_at - since) / 1000, (run.stopped_at - since) / 1000, run.milli_vcpus)
        for _, run in found
        if run.started_at is not None
    )


def left(shelf: Shelf, since: int) -> dict[str, float]:
    """The seconds after `since` until when shares were active, as far as jobs that have ended say it."""
    last: dict[str, float] = {}
    for _, run in read(shelf, {"fair": since}):
        last[run.share] = max(last.get(run.share, 0), (run.stopped_at - since) / 1000)
    return last


def test_what_ran_and_how_long(shelf: Shelf, story: Story) -> None:
    fair_queue(story, "fair")
    since = story.now
    submit(story, "A", "a")
    submit(story, "B", "b")
    story.run("A")
    story.begin("B")
    story.pass_time(1)
    story.exit("B", 1)
    submit(story, "running", "a")
    submit(story, "waiting", "a", vcpus=2)
    story.begin("running")
    assert ran(shelf, since) == [("a", 0, 1, 1000), ("b", 1, 2, 1000)]
    assert left(shelf, since) == {"a": 1, "b": 2}


def test_every_attempt_counts_and_those_that_never_ran_do_not(shelf: Shelf, story: Story) -> None:
    fair_queue(story, "fair")
    since = story.now
    submit(story, "A", "a", attempts=5)
    story.run("A", code=1)
    story.exit("A", None, "CannotPullContainer", started=False)
    story.run("A", code=1)
    assert ran(shelf, since) == [("a", 0, 1, 1000), ("a", 1, 2, 1000)]
    story.run("A")
    assert ran(shelf, since) == [("a", 0, 1, 1000), ("a", 1, 2, 1000), ("a", 2, 3, 1000)]
    assert left(shelf, since) == {"a": 3}


def test_a_job_that_never_ran_says_until_when_its_share_was_active(shelf: Shelf, story: Story) -> None:
    fair_queue(story, "fair")
    since = story.now
    submit(story, "busy", "b", vcpus=2)
    submit(story, "A", "a", attempts=2)
    submit(story, "array", "c", array=3)
    story.pass_time(4)
    story.cancel("A")
    story.cancel("array")
    assert ran(shelf, since) == []
    assert left(shelf, since) == {"a": 4, "c": 4}


def test_a_job_cancelled_between_its_attempts(shelf: Shelf, story: Story) -> None:
    fair_queue(story, "fair")
    since = story.now
    submit(story, "A", "a", attempts=2, vcpus=2)
    story.begin("A")
    story.submit("busy", vcpus=2)
    story.change_environment("ce", state="DISABLED")
    story.pass_time(1 - 0.01)
    story.exit("A", 1)
    story.pass_time(5)
    story.cancel("A")
    assert ran(shelf, since) == [("a", 0, 1, 2000)]
    assert left(shelf, since) == {"a": 6}


def test_children_count_as_what_their_array_asks_for(shelf: Shelf, story: Story) -> None:
    fair_queue(story, "fair")
    since = story.now
    submit(story, "finished", "a", array=2)
    story.run("finished:0", "finished:1")
    submit(story, "array", "b", vcpus=2, array=3, attempts=2)
    story.run("array:0")
    story.run("array:1", code=1)
    assert ran(shelf, since) == [("a", 0, 1, 1000), ("a", 1, 2, 1000), ("b", 2, 3, 2000), ("b", 3, 4, 2000)]


def test_only_what_ended_after_the_horizon_of_its_queue(shelf: Shelf, story: Story) -> None:
    for queue in ("fair", "other", "not wanted"):
        fair_queue(story, queue.replace(" ", "-"))
    since = story.now
    for number in range(3):
        submit(story, f"fair{number}", "a")
        submit(story, f"other{number}", "a", "other")
        submit(story, f"array{number}", "a", array=2)
        submit(story, f"no{number}", "a", "not-wanted")
        story.submit(f"fifo{number}")
        for label in ("fair", "other"):
            story.run(f"{label}{number}")
        story.run(f"array{number}:0", f"array{number}:1", f"no{number}", f"fifo{number}")
    found = read(shelf, {"fair": since + 8000, "other": since + 13_999})
    assert sorted((queue, (run.stopped_at - since) // 1000) for queue, run in found if run.started_at is not None) == [
        ("fair", 9),
        ("fair", 10),
        ("fair", 13),
        ("fair", 15),
        ("fair", 16),
        ("other", 14),
    ]
    assert read(shelf, {}) == Counter()


def test_service_jobs_count_by_their_instances(shelf: Shelf) -> None:
    service = ServiceRequest(instance_type="ml.m5.large", instance_count=3, training_name="t", max_runtime=60)
    row = {
        "seq": 1,
        "id": "job",
        "queue": "fair",
        "share": "a",
        "milli_vcpus": 2000,
        "kind": int(Kind.SERVICE),
        "status": int(Status.SUCCEEDED),
        "started_at": 5,
        "stopped_at": 9,
        "attempt": 1,
        "ended_by": 0,
        "service": encode(service),
    }

    def written_and_read(connection: Connection) -> list[tuple[str, Run]]:
        connection.execute(insert(jobs), row)
        return list(ended_runs(connection, {"fair": 0}))

    assert shelf.store.read_now(written_and_read) == [("fair", Run("a", 5, 9, 3000))]


def test_old_jobs_are_not_looked_at(shelf: Shelf) -> None:
    """What the database does, which has to be quick with a million finished jobs."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: tuple[Any, ...], *_: Any) -> None:
        for parameter in parameters:
            statement = statement.replace("?", repr(parameter), 1)
        statements.append(statement)

    def plans(connection: Connection) -> list[str]:
        event.listen(connection, "before_cursor_execute", note)
        list(ended_runs(connection, {"fair": 10**12}))
        event.remove(connection, "before_cursor_execute", note)
        return [
            row.detail
            for statement in statements
            for row in connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))
        ]

    used = shelf.store.read_now(plans)
    assert used == [
        "SEARCH jobs USING INDEX ix_jobs_stopped_at (stopped_at>?)",
        "SEARCH jobs USING INDEX ix_jobs_queue_status_seq (queue=? AND status=?)",
    ]
