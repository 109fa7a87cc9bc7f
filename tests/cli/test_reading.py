"""jobs, show, logs, why: against a real server."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from console import NOWHERE, SCRIPT, Shell

from batchyard.cli.failures import Failure
from batchyard.cli.lookup import only_match
from server_process import ServerProcess

UNKNOWN = "00000000-0000-4000-8000-000000000000"
READING = (("show", UNKNOWN), ("logs", UNKNOWN), ("why", UNKNOWN))


@pytest.fixture(scope="module")
def done(server: ServerProcess) -> str:
    """A job that has succeeded, having said three lines."""
    shell = Shell(dict(server.client_environment()))
    ended = shell.json(
        "run", "--name", "three-lines", "--env", "WHAT=line", "--", "sh", "-c", "echo 1; echo 2; echo $WHAT"
    )
    job_id: str = ended["jobs"][0]["jobId"]
    return job_id


@pytest.fixture(scope="module")
def failed(server: ServerProcess) -> str:
    shell = Shell(dict(server.client_environment()))
    result = shell(
        "run", "--json", "--name", "failing", "--attempts", "2", "--", "sh", "-c", "echo $AWS_BATCH_JOB_ATTEMPT; exit 9"
    )
    assert result.returncode == 9
    job_id: str = json.loads(result.stdout)["jobs"][0]["jobId"]
    return job_id


@pytest.fixture(scope="module")
def array(server: ServerProcess) -> str:
    """Four children; those with an even index fail."""
    shell = Shell(dict(server.client_environment()))
    result = shell(
        "run", "--json", "--name", "array", "--array", "4", "--", "sh", "-c",
        "echo child $AWS_BATCH_JOB_ARRAY_INDEX; exit $((AWS_BATCH_JOB_ARRAY_INDEX % 2 == 0))",
    )  # fmt: skip
    assert result.returncode == 1
    job_id: str = json.loads(result.stdout)["jobs"][0]["jobId"]
    return job_id


# --- jobs


def test_jobs_are_listed_newest_first(batchyard: Shell, done: str) -> None:
    newer = batchyard.json("run", "--", "true")["jobs"][0]["jobId"]
    result = batchyard("jobs")
    assert result.returncode == 0
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["JOB", "NAME", "STATUS", "AGE", "RAN", "REASON"]
    ids = [row.split()[0] for row in rows]
    assert ids.index(newer[:8]) < ids.index(done[:8])
    assert re.search(rf"^{done[:8]}  three-lines +SUCCEEDED ", result.stdout, re.MULTILINE)
    assert "\x1b" not in result.stdout


def test_jobs_are_filtered_by_status(batchyard: Shell, done: str, failed: str) -> None:
    listed = {
        job["jobId"]: job["status"] for job in batchyard.json("jobs", "--status", "failed", "--all")["jobSummaryList"]
    }
    assert set(listed.values()) == {"FAILED"}
    assert failed in listed
    both = batchyard.json("jobs", "--status", "FAILED", "--status", "succeeded", "--all")["jobSummaryList"]
    assert {done, failed} <= {job["jobId"] for job in both}
    assert [job["createdAt"] for job in both] == sorted((job["createdAt"] for job in both), reverse=True)


@pytest.mark.usefixtures("done", "failed")
def test_a_limit_is_kept_and_said(batchyard: Shell) -> None:
    result = batchyard("jobs", "--limit", "1")
    assert len(result.stdout.splitlines()) == 2
    assert "--all" in result.stderr
    assert len(batchyard.json("jobs", "--limit", "1")["jobSummaryList"]) == 1
    assert batchyard("jobs", "--limit", "1", "--all").returncode == 2
    assert batchyard("jobs", "--limit", "0").returncode == 2


def test_the_children_of_an_array_are_listed(batchyard: Shell, array: str) -> None:
    listed = batchyard.json("jobs", "--array", array, "--status", "failed")["jobSummaryList"]
    assert [job["jobId"] for job in listed] == [f"{array}:0", f"{array}:2"]
    shown = batchyard("jobs", "--array", array[:12]).stdout
    assert re.search(rf"^{array[:8]}:2  array +FAILED .* exit code 1$", shown, re.MULTILINE)
    assert re.search(
        rf"^{array[:8]}  array \[4\] +FAILED 2/4 .* 2 of 4 children failed$", batchyard("jobs").stdout, re.MULTILINE
    )


def test_jobs_of_an_unknown_queue_are_refused(batchyard: Shell) -> None:
    result = batchyard("jobs", "--queue", "nope")
    assert (result.returncode, result.stdout) == (4, "")
    assert "nope not found" in result.stderr


def test_no_such_jobs_is_said_on_standard_error(batchyard: Shell) -> None:
    result = batchyard("jobs", "--status", "starting", "--queue", "default")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no such jobs" in result.stderr


# --- show


def test_show_says_all_about_a_job(batchyard: Shell, done: str) -> None:
    result = batchyard("show", done)
    assert result.returncode == 0
    shown = result.stdout
    assert done in shown
    for label, text in (
        ("Name", "three-lines"),
        ("Status", "SUCCEEDED"),
        ("Queue", "default"),
        ("Command", "sh -c 'echo 1; echo 2; echo $WHAT'"),
        ("Resources", "1 vCPU, 1024 MiB"),
        ("Environment", "WHAT=line"),
        ("More", f"batchyard logs {done[:8]}"),
    ):
        assert re.search(rf"^{label} +{re.escape(text)}$", shown, re.MULTILINE), label
    assert re.search(r"^Attempts +1  exit code 0  ", shown, re.MULTILINE)


def test_show_gives_every_attempt(batchyard: Shell, failed: str) -> None:
    shown = batchyard("show", failed).stdout
    assert re.search(r"^Status +FAILED  exit code 9$", shown, re.MULTILINE)
    assert re.search(r"^Attempts +1  exit code 9 .*\n +2  exit code 9 ", shown, re.MULTILINE)


def test_show_counts_the_children_of_an_array(batchyard: Shell, array: str) -> None:
    assert re.search(r"^Children +4: 2 SUCCEEDED, 2 FAILED$", batchyard("show", array).stdout, re.MULTILINE)


def test_show_as_json_is_what_describe_jobs_says(batchyard: Shell, server: ServerProcess, done: str) -> None:
    described = server.client("batch").describe_jobs(jobs=[done])
    assert batchyard.json("show", done) == {"jobs": described["jobs"]}


# --- naming jobs


def test_a_job_is_named_by_prefix_arn_index_and_last(
    batchyard: Shell, server: ServerProcess, array: str, done: str
) -> None:
    def shown(named: str) -> str:
        job_id: str = batchyard.json("show", named)["jobs"][0]["jobId"]
        return job_id

    assert shown(done[:13]) == done
    assert shown(done[:13].upper()) == done
    assert shown(server.arn(f"job/{done}")) == done
    assert shown(f"{array[:13]}:3") == f"{array}:3"
    newest = batchyard.submit("--", "true")
    assert shown("last") == newest


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (UNKNOWN, "no job"),
        ("0000000000", "no job"),
        ("abc", "too short"),
        ("xyzzy", "not a job"),
        ("last:x", "index of a child"),
        ("", "not a job"),
    ],
)
@pytest.mark.parametrize("command", ["show", "logs", "why", "cancel", "terminate"])
def test_a_job_that_is_not_there(batchyard: Shell, command: str, named: str, said: str) -> None:
    result = batchyard(command, named)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_child_that_is_not_there(batchyard: Shell, array: str, done: str) -> None:
    assert "its children are 0 to 3" in batchyard("show", f"{array}:4").stderr
    result = batchyard("show", f"{done}:0")
    assert result.returncode == 2
    assert "is not an array" in result.stderr


def test_an_ambiguous_prefix_names_the_candidates() -> None:
    """Ids are random, and two with the same beginning come about by luck only: the search is asked directly."""
    jobs = [{"jobId": f"abcd{number}", "jobName": f"job-{number}"} for number in range(5)]
    with pytest.raises(Failure, match=r"abcd is the start of 5 job ids: abcd0 \(job-0\).* and 2 more") as raised:
        only_match("abcd", jobs)
    assert raised.value.exit_code == 2


# --- logs


def test_the_log_of_a_job(batchyard: Shell, done: str) -> None:
    result = batchyard("logs", done)
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n2\nline\n", "")


def test_the_log_of_all_attempts_and_of_one(batchyard: Shell, failed: str) -> None:
    assert batchyard("logs", failed).stdout == "1\n2\n"
    assert batchyard("logs", failed, "--attempt", "2").stdout == "2\n"
    result = batchyard("logs", failed, "--attempt", "3")
    assert (result.returncode, result.stdout) == (2, "")
    assert "2 of its attempts" in result.stderr


def test_the_log_with_times(batchyard: Shell, done: str) -> None:
    for line in batchyard("logs", "-t", done).stdout.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  \S+$", line)


def test_the_log_as_json_is_an_event_a_line(batchyard: Shell, done: str) -> None:
    events = [json.loads(line) for line in batchyard("logs", "--json", done).stdout.splitlines()]
    assert [event["message"] for event in events] == ["1", "2", "line"]
    assert all(isinstance(event["timestamp"], int) for event in events)


def test_the_log_of_a_child(batchyard: Shell, array: str) -> None:
    assert batchyard("logs", f"{array[:13]}:2").stdout == "child 2\n"
    result = batchyard("logs", array)
    assert result.returncode == 2
    assert f"batchyard logs {array[:8]}:0" in result.stderr


def test_a_log_is_followed_to_the_end_of_the_job(batchyard: Shell, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = batchyard.submit(
        "--", "sh", "-c", f"echo first; while ! test -e {gate}; do sleep 0.05; done; echo second; exit 3"
    )
    with batchyard.start("logs", "-f", job) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "first\n"
        gate.touch()
        assert following.stdout.read() == "second\n"
        assert following.wait(60) == 0


def test_a_job_without_a_log_is_said_so(batchyard: Shell) -> None:
    job = batchyard.submit("--vcpus", "99", "--", "true")
    result = batchyard("logs", job)
    assert (result.returncode, result.stdout) == (0, "")
    assert "has no log" in result.stderr
    assert batchyard("cancel", job).returncode == 0


def test_bytes_that_are_no_text_do_no_harm(batchyard: Shell) -> None:
    job = batchyard.json("run", "--", "printf", r"caf\351 \377\n\001 end\n")["jobs"][0]["jobId"]
    assert batchyard("logs", job).stdout == "caf� �\n\x01 end\n"
    ascii_only = batchyard("logs", job, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (ascii_only.returncode, ascii_only.stdout) == (0, "caf? ?\n\x01 end\n")


# --- why


def test_why_gives_a_sentence_with_numbers_and_the_history(batchyard: Shell) -> None:
    job = batchyard.submit("--vcpus", "99", "--", "true")
    result = batchyard("why", job)
    assert result.returncode == 0
    sentence = result.stdout.splitlines()[0]
    assert sentence.startswith("RUNNABLE  ")
    assert "99 vCPU" in sentence
    assert "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT" in result.stdout
    answer = batchyard.json("why", job)
    assert answer["jobId"] == job
    assert [line["status"] for line in answer["history"]][:2] == ["SUBMITTED", "RUNNABLE"]
    assert batchyard("cancel", job).returncode == 0
    assert batchyard.json("why", job)["status"] == "FAILED"


# --- manners


@pytest.mark.parametrize(
    "arguments", [("jobs",), ("run", "--", "true"), *READING, ("cancel", UNKNOWN), ("terminate", UNKNOWN)]
)
def test_without_a_server(without_server: Shell, arguments: tuple[str, ...]) -> None:
    result = without_server(*arguments)
    assert (result.returncode, result.stdout) == (3, "")
    assert NOWHERE in result.stderr
    assert "batchyard serve" in result.stderr


@pytest.mark.parametrize(("command", "named"), READING)
def test_errors_are_json_when_json_is_asked_for(
    batchyard: Shell, without_server: Shell, command: str, named: str
) -> None:
    unknown = batchyard(command, named, "--json")
    assert json.loads(unknown.stderr)["error"] == {
        "code": "NotFound", "message": f"There is no job {named}.", "exitCode": 2,
    }  # fmt: skip
    assert json.loads(without_server(command, named, "--json").stderr)["error"]["exitCode"] == 3
    assert json.loads(batchyard(command, "--json").stderr)["error"]["exitCode"] == 2


def test_a_wrong_key_is_refused_with_a_hint(batchyard: Shell) -> None:
    result = batchyard("jobs", AWS_ACCESS_KEY_ID="AKIAWRONG")
    assert result.returncode == 4
    assert "security token" in result.stderr
    assert "AKIAWRONG" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("jobs", "--json"), ("logs", "{job}"), ("show", "{job}", "--json"), ("run", "-q", "--", "seq", "100000")],
)
def test_a_reader_that_stops_reading_ends_it_quietly(batchyard: Shell, arguments: tuple[str, ...]) -> None:
    job = batchyard.json("run", "--", "seq", "100000")["jobs"][0]["jobId"] if "{job}" in arguments else ""
    words = [word.format(job=job) for word in arguments]
    process = subprocess.Popen(
        [SCRIPT, *words], env=batchyard.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 141)
    assert errors == ""


def test_colours_are_for_terminals_and_only_if_wanted(batchyard: Shell, done: str) -> None:
    assert "\x1b[32mSUCCEEDED\x1b[0m" in batchyard.on_terminal("show", done)[1]
    for without in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in batchyard.on_terminal("show", done, **without)[1]
    assert "\x1b" not in batchyard("show", done).stdout


def test_a_table_fits_the_terminal(batchyard: Shell) -> None:
    batchyard("run", "--", "no-such-program-with-a-name-that-takes-up-a-good-deal-of-room-in-a-table-of-jobs-and-more")
    _, shown = batchyard.on_terminal("jobs", NO_COLOR="1")
    assert max(len(line) for line in shown.splitlines()) == 100
    assert "…" in shown
