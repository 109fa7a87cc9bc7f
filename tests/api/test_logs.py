"""CloudWatch Logs as its clients meet it: boto3 and the AWS CLI against the served application."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from toy_endpoint import ACCOUNT, ADMINISTRATOR, CREDENTIALS, KEY, REGION, SECRET, client, served

from batchyard.api.app import Application
from batchyard.api.logs import JOB_LOG_GROUP, log_service
from batchyard.api.sigv4 import Authenticator
from batchyard.api.tokens import TokenSealer
from batchyard.logs.lines import LineWriter, stream_path
from batchyard.logs.store import LogStore

AWS_CLI = Path("/usr/bin/aws")
NOW = 1_800_000_000_000
PREFIX = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"


class Bench:
    """A served log store, a client of it, and the hand of a job that writes."""

    def __init__(self, root: Path, port: int, store: LogStore) -> None:
        self.store = store
        self.port = port
        self.root = root
        self.logs = client(port, "logs")
        self.unchecked = client(port, "logs", config=Config(parameter_validation=False, retries={"max_attempts": 0}))

    def write(self, stream: str, *events: tuple[int, str], group: str = JOB_LOG_GROUP) -> None:
        writer = LineWriter(stream_path(self.root, group, stream))
        for at, line in events:
            writer.write(line.encode() + b"\n", at)
        writer.close(0)


def application(store: LogStore, now: int) -> SimpleNamespace:
    authenticator = Authenticator(
        CREDENTIALS.get, region=REGION, administrator=ADMINISTRATOR, mode="sigv4", clock=time.time
    )
    service = log_service(store, REGION, ACCOUNT, TokenSealer(b"a key of the installation"), now=lambda: now)
    return SimpleNamespace(application=Application([service], authenticator, body_limit=4 * 1024 * 1024))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = LogStore(tmp_path)
    with served(application(store, NOW)) as port:
        yield Bench(tmp_path, port, store)


def refused(code: str, text: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\).*{text}")


def messages(response: dict[str, Any]) -> list[str]:
    return [event["message"] for event in response["events"]]


# --- GetLogEvents ---


def test_events_have_all_their_members(bench: Bench) -> None:
    bench.write("job/default/1", (1000, "héllo"), (2000, ""), (3000, "bad \udcff".encode("utf-8", "replace").decode()))
    page = bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="job/default/1")
    assert page["events"] == [
        {"timestamp": 1000, "message": "héllo", "ingestionTime": 1000},
        {"timestamp": 2000, "message": "", "ingestionTime": 2000},
        {"timestamp": 3000, "message": "bad ?", "ingestionTime": 3000},
    ]
    assert page["nextForwardToken"].startswith("f/")
    assert page["nextBackwardToken"].startswith("b/")


def test_output_that_is_no_text_is_answered_all_the_same(bench: Bench) -> None:
    writer = LineWriter(stream_path(bench.root, JOB_LOG_GROUP, "s"))
    writer.write(b"\xff\x00\x1b[31m\x10\n", 1)
    page = bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    assert messages(page) == ["\ufffd\x00\x1b[31m\x10"]


def test_reading_backwards_until_a_page_is_empty(bench: Bench) -> None:
    """redun's way."""
    bench.write("s", *((at, f"line {at}") for at in range(25)))
    request = {"logGroupName": JOB_LOG_GROUP, "logStreamName": "s", "startFromHead": False, "limit": 10}
    page = bench.logs.get_log_events(**request)
    pages = [messages(page)]
    while pages[-1]:
        token = page["nextBackwardToken"]
        page = bench.logs.get_log_events(**request, nextToken=token)
        pages.append(messages(page))
    assert [len(lines) for lines in pages] == [10, 10, 5, 0]
    assert [line for lines in reversed(pages) for line in lines] == [f"line {at}" for at in range(25)]
    assert page["nextBackwardToken"] == token


def test_following_forwards_with_the_same_token_at_the_end(bench: Bench) -> None:
    """Airflow's way."""
    bench.write("s", (10, "a"), (20, "b"), (30, "c"))
    request = {"logGroupName": JOB_LOG_GROUP, "logStreamName": "s", "startTime": 0, "startFromHead": True}
    first = bench.logs.get_log_events(**request, limit=2)
    second = bench.logs.get_log_events(**request, nextToken=first["nextForwardToken"])
    nothing = bench.logs.get_log_events(**request, nextToken=second["nextForwardToken"])
    assert [messages(page) for page in (first, second, nothing)] == [["a", "b"], ["c"], []]
    assert nothing["nextForwardToken"] == second["nextForwardToken"]
    bench.write("s", (40, "d"))
    assert messages(bench.logs.get_log_events(**request, nextToken=nothing["nextForwardToken"])) == ["d"]


def test_the_last_page_leads_on_to_what_comes_later(bench: Bench) -> None:
    bench.write("s", (10, "a"), (20, "b"))
    request = {"logGroupName": JOB_LOG_GROUP, "logStreamName": "s"}
    page = bench.logs.get_log_events(**request, limit=1)
    assert messages(page) == ["b"]
    bench.write("s", (30, "c"))
    assert messages(bench.logs.get_log_events(**request, nextToken=page["nextForwardToken"])) == ["c"]
    back = bench.logs.get_log_events(**request, nextToken=page["nextBackwardToken"])
    assert messages(back) == ["a"]
    assert messages(bench.logs.get_log_events(**request, nextToken=back["nextForwardToken"], limit=1)) == ["b"]


def test_an_empty_stream_has_tokens_too(bench: Bench) -> None:
    bench.logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    for from_head in (True, False):
        page = bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s", startFromHead=from_head)
        assert (page["events"], page["nextForwardToken"][:2], page["nextBackwardToken"][:2]) == ([], "f/", "b/")


def test_the_start_is_counted_in_and_the_end_is_not(bench: Bench) -> None:
    bench.write("s", *((at, str(at)) for at in range(10)))
    for from_head in (True, False):
        page = bench.logs.get_log_events(
            logGroupName=JOB_LOG_GROUP, logStreamName="s", startTime=3, endTime=6, startFromHead=from_head
        )
        assert messages(page) == ["3", "4", "5"]
        for token in (page["nextForwardToken"], page["nextBackwardToken"]):
            page = bench.logs.get_log_events(
                logGroupName=JOB_LOG_GROUP, logStreamName="s", startTime=3, endTime=6, nextToken=token
            )
            assert messages(page) == []


@pytest.mark.parametrize("identifier", [JOB_LOG_GROUP, PREFIX + JOB_LOG_GROUP])
def test_a_group_may_be_named_by_its_arn(bench: Bench, identifier: str) -> None:
    bench.write("s", (1, "line"))
    assert messages(bench.logs.get_log_events(logGroupIdentifier=identifier, logStreamName="s")) == ["line"]
    assert messages(bench.logs.filter_log_events(logGroupIdentifier=identifier)) == ["line"]
    assert len(bench.logs.describe_log_streams(logGroupIdentifier=identifier)["logStreams"]) == 1


def test_readers_are_told_what_does_not_exist(bench: Bench) -> None:
    no_stream = refused("ResourceNotFoundException", r"The specified log stream does not exist\.$")
    no_group = refused("ResourceNotFoundException", r"The specified log group does not exist\.$")
    elsewhere = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:{JOB_LOG_GROUP}"
    with no_stream:
        bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    with no_stream:
        bench.logs.filter_log_events(logGroupName=JOB_LOG_GROUP, logStreamNames=["s"])
    with no_stream:
        bench.logs.put_log_events(
            logGroupName=JOB_LOG_GROUP, logStreamName="s", logEvents=[{"timestamp": NOW, "message": "x"}]
        )
    for name in ({"logGroupName": "other"}, {"logGroupIdentifier": elsewhere}):
        with no_group:
            bench.logs.get_log_events(**name, logStreamName="s")
        with no_group:
            bench.logs.filter_log_events(**name)
        with no_group:
            bench.logs.describe_log_streams(**name)
    with no_group:
        bench.logs.create_log_stream(logGroupName="other", logStreamName="s")
    with no_group:
        bench.logs.delete_log_group(logGroupName="other")
    with no_group:
        bench.logs.put_retention_policy(logGroupName="other", retentionInDays=7)


def test_made_up_tokens_are_refused(bench: Bench) -> None:
    for stream in ("s", "t"):
        bench.write(stream, *((at, str(at)) for at in range(10)))
    page = bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s", limit=2)
    forward, backward = page["nextForwardToken"], page["nextBackwardToken"]
    search = bench.logs.filter_log_events(logGroupName=JOB_LOG_GROUP, limit=1)["nextToken"]
    made_up = ["x", "f/", "f/0", "é", search, f"f/{backward[2:]}", f"b/{forward[2:]}", backward[:-1], backward + "A"]
    invalid = refused("InvalidParameterException", r"The specified nextToken is invalid\.$")
    for token in made_up:
        with invalid:
            bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s", nextToken=token)
        if token != search:
            with invalid:
                bench.logs.filter_log_events(logGroupName=JOB_LOG_GROUP, nextToken=token)
        with invalid:
            bench.logs.describe_log_streams(logGroupName=JOB_LOG_GROUP, nextToken=token)
        with invalid:
            bench.logs.describe_log_groups(nextToken=token)
    with invalid:
        bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="t", nextToken=forward)


def test_tokens_are_good_after_a_restart(bench: Bench) -> None:
    bench.write("s", (1, "a"), (2, "b"))
    request = {"logGroupName": JOB_LOG_GROUP, "logStreamName": "s", "startFromHead": True}
    token = bench.logs.get_log_events(**request, limit=1)["nextForwardToken"]
    with served(application(LogStore(bench.root), NOW)) as port:
        assert messages(client(port, "logs").get_log_events(**request, nextToken=token)) == ["b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 10_001},
        {"startTime": -1},
        {"logGroupName": JOB_LOG_GROUP, "logGroupIdentifier": JOB_LOG_GROUP},
        {"logGroupName": None},
        {"logStreamName": "a:b"},
        {"logGroupName": "no spaces"},
    ],
)
def test_wrong_parameters_are_refused(bench: Bench, wrong: dict[str, Any]) -> None:
    bench.write("s", (1, "a"))
    request = {"logGroupName": JOB_LOG_GROUP, "logStreamName": "s", **wrong}
    with refused("InvalidParameterException", ""):
        bench.unchecked.get_log_events(**{name: value for name, value in request.items() if value is not None})


# --- FilterLogEvents ---


def test_streams_are_interleaved_by_time(bench: Bench) -> None:
    bench.write("a/1", (1, "one"), (4, "four"))
    bench.write("a/2", (2, "two"), (3, "three"), (5, "five"))
    bench.write("b", (3, "other"))
    request = {"logGroupName": JOB_LOG_GROUP, "interleaved": True}
    page = bench.logs.filter_log_events(**request, logStreamNamePrefix="a/")
    assert messages(page) == ["one", "two", "three", "four", "five"]
    assert "nextToken" not in page
    assert page["events"][0]["logStreamName"] == "a/1"
    assert len({event["eventId"] for event in page["events"]}) == 5
    by_name = bench.logs.filter_log_events(**request, logStreamNames=["b", "a/1", "b"], startTime=3, endTime=4)
    assert messages(by_name) == ["other", "four"]  # The end is counted in here.
    newest = bench.logs.filter_log_events(**request, startFromHead=False, limit=2)
    rest = bench.logs.filter_log_events(**request, nextToken=newest["nextToken"])
    assert messages(newest) + messages(rest) == ["five", "four", "other", "three", "two", "one"]


def test_paginators_reach_everything_with_stable_ids(bench: Bench) -> None:
    for stream in range(3):
        bench.write(f"s{stream}", *((at // 2, f"{stream} {at}") for at in range(20)))
    whole = bench.logs.filter_log_events(logGroupName=JOB_LOG_GROUP)["events"]
    pages = bench.logs.get_paginator("filter_log_events").paginate(
        logGroupName=JOB_LOG_GROUP, PaginationConfig={"PageSize": 7}
    )
    assert [event for page in pages for event in page["events"]] == whole
    assert len({event["eventId"] for event in whole}) == 60


def test_only_what_matches_the_pattern_is_found(bench: Bench) -> None:
    bench.write("s", (1, "ERROR: disk"), (2, "fine"), (3, "ERROR: harmless"))
    found = bench.logs.filter_log_events(logGroupName=JOB_LOG_GROUP, filterPattern="ERROR -harmless")
    assert messages(found) == ["ERROR: disk"]
    with refused("InvalidParameterException", r"Invalid filter pattern: .*not supported"):
        bench.logs.filter_log_events(logGroupName=JOB_LOG_GROUP, filterPattern="[a, b]")
    with refused("InvalidParameterException", "but not both"):
        bench.logs.filter_log_events(logGroupName=JOB_LOG_GROUP, logStreamNames=["s"], logStreamNamePrefix="s")


# --- groups and streams ---


def test_the_group_of_jobs_exists_from_the_start(bench: Bench) -> None:
    (group,) = bench.logs.describe_log_groups()["logGroups"]
    assert group["logGroupName"] == JOB_LOG_GROUP
    assert group["arn"] == f"{PREFIX}{JOB_LOG_GROUP}:*"
    assert (group["storedBytes"], group["metricFilterCount"]) == (0, 0)
    assert group["creationTime"] > 0
    assert "retentionInDays" not in group


def test_groups_come_and_go(bench: Bench) -> None:
    names = [f"team/{letter}" for letter in "abcde"]
    for name in names:
        bench.logs.create_log_group(logGroupName=name, tags={"owner": "me"})
    with refused("ResourceAlreadyExistsException", "The specified log group already exists"):
        bench.logs.create_log_group(logGroupName=names[0])
    pages = bench.logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix="team/", PaginationConfig={"PageSize": 2}
    )
    assert [group["logGroupName"] for page in pages for group in page["logGroups"]] == names
    assert [group["logGroupName"] for group in bench.logs.describe_log_groups(logGroupNamePattern="BATCH")["logGroups"]]
    bench.logs.put_retention_policy(logGroupName=names[1], retentionInDays=7)
    (group,) = bench.logs.describe_log_groups(logGroupNamePrefix=names[1])["logGroups"]
    assert group["retentionInDays"] == 7
    with refused("InvalidParameterException", "retentionInDays must be one of"):
        bench.logs.put_retention_policy(logGroupName=names[1], retentionInDays=8)
    bench.write("s", (1, "line"), group=names[1])
    bench.logs.delete_log_group(logGroupName=names[1])
    assert bench.logs.describe_log_groups(logGroupNamePrefix=names[1])["logGroups"] == []


def test_streams_by_name_and_by_time(bench: Bench) -> None:
    for number, at in enumerate([50, 30, 40, 20, 10]):
        bench.write(f"s/{number}", (5, "first"), (at, "last"))
    bench.logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName="empty")
    with refused("ResourceAlreadyExistsException", "The specified log stream already exists"):
        bench.logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName="empty")

    def listed(**request: Any) -> list[str]:
        pages = bench.logs.get_paginator("describe_log_streams").paginate(
            logGroupName=JOB_LOG_GROUP, PaginationConfig={"PageSize": 2}, **request
        )
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

    assert listed() == ["empty", "s/0", "s/1", "s/2", "s/3", "s/4"]
    assert listed(descending=True) == listed()[::-1]
    assert listed(logStreamNamePrefix="s/") == listed()[1:]
    assert listed(orderBy="LastEventTime", descending=True) == ["s/0", "s/2", "s/1", "s/3", "s/4", "empty"]
    assert listed(orderBy="LastEventTime") == listed(orderBy="LastEventTime", descending=True)[::-1]
    with refused("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix"):
        listed(orderBy="LastEventTime", logStreamNamePrefix="s/")

    (stream,) = bench.logs.describe_log_streams(logGroupName=JOB_LOG_GROUP, logStreamNamePrefix="s/0")["logStreams"]
    assert (stream["creationTime"], stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (5, 5, 50)
    assert stream["arn"] == f"{PREFIX}{JOB_LOG_GROUP}:log-stream:s/0"
    (empty,) = bench.logs.describe_log_streams(logGroupName=JOB_LOG_GROUP, logStreamNamePrefix="empty")["logStreams"]
    assert "lastEventTimestamp" not in empty


# --- PutLogEvents ---


def put(bench: Bench, *events: tuple[int, str]) -> Any:
    return bench.unchecked.put_log_events(
        logGroupName=JOB_LOG_GROUP,
        logStreamName="s",
        logEvents=[{"timestamp": at, "message": message} for at, message in events],
    )


def test_what_is_put_is_read(bench: Bench) -> None:
    bench.logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    answer = put(bench, (NOW, "two\nlines\n"), (NOW + 1, "\x10 tab\tand é"))
    assert answer["nextSequenceToken"]
    assert "rejectedLogEventsInfo" not in answer
    page = bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    assert messages(page) == ["two\nlines\n", "\x10 tab\tand é"]


def test_events_out_of_time_are_rejected_by_their_index(bench: Bench) -> None:
    day, hour = 86_400_000, 3_600_000
    bench.logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    old = put(bench, (NOW - 14 * day - 1, "too old"), (NOW - 14 * day, "old"))
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    bench.logs.put_retention_policy(logGroupName=JOB_LOG_GROUP, retentionInDays=1)
    new = put(bench, (NOW - day - 1, "expired"), (NOW - 1, "now"), (NOW - 1, "now too"))
    assert new["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    new = put(bench, (NOW + 2 * hour, "soon"), (NOW + 2 * hour + 1, "too new"))
    assert new["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    page = bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    assert messages(page) == ["old", "now", "now too", "soon"]


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], "at least one"),
        ([(NOW, "b"), (NOW - 1, "a")], "must be in chronological order"),
        ([(NOW - 86_400_001, "a"), (NOW, "b")], "cannot span more than 24 hours"),
        ([(NOW, "x" * (1_048_576 - 25))], r"Upload too large: 1048577 bytes exceeds limit of 1048576"),
    ],
)
def test_wrong_batches_change_nothing(bench: Bench, events: list[tuple[int, str]], text: str) -> None:
    bench.logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    with refused("InvalidParameterException", text):
        put(bench, *events)
    assert messages(bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s")) == []


def test_the_largest_batch_is_read_again(bench: Bench) -> None:
    bench.logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    put(bench, (NOW, "\n" * (1_048_576 - 26)))
    page = bench.logs.get_log_events(logGroupName=JOB_LOG_GROUP, logStreamName="s")
    assert messages(page) == ["\n" * (1_048_576 - 26)]


# --- the AWS CLI ---


@pytest.fixture
def aws(bench: Bench, tmp_path: Path) -> list[str]:
    """How a command of the AWS CLI, version 2, begins."""
    if not AWS_CLI.exists():
        pytest.fail(f"{AWS_CLI} is missing: the AWS CLI version 2 (Debian package awscli) belongs to the test set-up")
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_PAGER": "",
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    settings = [f"{name}={value}" for name, value in environment.items()]
    return ["env", "-i", *settings, str(AWS_CLI), "--endpoint-url", f"http://127.0.0.1:{bench.port}", "logs"]


def test_the_cli_reads_a_stream(bench: Bench, aws: list[str]) -> None:
    bench.write("job/default/1", (1, "one"), (2, "two"))
    command = [*aws, "get-log-events", "--log-group-name", JOB_LOG_GROUP, "--log-stream-name", "job/default/1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert messages(json.loads(done.stdout)) == ["one", "two"]


def test_the_cli_tails_a_group(bench: Bench, aws: list[str]) -> None:
    now = int(time.time() * 1000)
    bench.write("job/default/1", (now - 7_200_000, "long ago"), (now, "héllo"))
    bench.write("other", (now, "of another"))
    command = [*aws, "tail", JOB_LOG_GROUP, "--since", "1h", "--log-stream-name-prefix", "job/", "--format", "short"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == ["héllo"]


def test_the_cli_follows_a_group(bench: Bench, aws: list[str]) -> None:
    now = int(time.time() * 1000)
    bench.write("job/default/1", (now, "first"))
    command = [*aws, "tail", JOB_LOG_GROUP, "--follow", "--format", "short"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        try:
            assert tail.stdout.readline().endswith(" first\n")
            # The same millisecond, the same text, another stream: all are events of their own, and none comes twice.
            bench.write("job/default/1", (now, "first"), (now + 1, "second"))
            bench.write("job/default/2", (now + 1, "third"))
            lines = [tail.stdout.readline() for _ in range(3)]
            assert [line.split()[-1] for line in lines] == ["first", "second", "third"]
        finally:
            tail.kill()
