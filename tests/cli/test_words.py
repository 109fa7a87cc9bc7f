"""Times, reasons and amounts, as people read and write them."""

from __future__ import annotations

from typing import Any

import pytest

from batchyard.cli.failures import Failure
from batchyard.cli.job_texts import array_counts, reason_of, short_id, wait_time
from batchyard.cli.progress import outcome, same_kind
from batchyard.cli.submission import environment_of, memory_of, name_of
from batchyard.cli.terminal import cut, one_line
from batchyard.cli.times import duration


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-5, "0.0 s"),
        (0, "0.0 s"),
        (449, "0.4 s"),
        (9949, "9.9 s"),
        (9950, "10 s"),
        (59_499, "59 s"),
        (59_500, "1 m 0 s"),
        (72_000, "1 m 12 s"),
        (3_599_600, "1 h 0 m"),
        (11_100_000, "3 h 5 m"),
        (187_200_000, "2 d 4 h"),
        (86_400_000_000, "1000 d 0 h"),
    ],
)
def test_durations(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


def failed(**container: Any) -> dict[str, Any]:
    return {"status": "FAILED", "statusReason": "Essential container in task exited", "container": container}


def test_the_reason_of_a_failure_says_what_matters() -> None:
    assert reason_of(failed(exitCode=3)) == "exit code 3"
    assert reason_of(failed(exitCode=0)) == "Essential container in task exited"
    killed = failed(exitCode=137, reason="OutOfMemoryError: Container killed due to memory usage")
    assert reason_of(killed) == "OutOfMemoryError: Container killed due to memory usage; exit code 137"
    timed_out = failed(exitCode=143) | {"statusReason": "Job attempt duration exceeded timeout"}
    assert reason_of(timed_out) == "Job attempt duration exceeded timeout; exit code 143"
    pull = {
        "status": "FAILED",
        "statusReason": "CannotPullContainerError: no",
        "container": {"reason": "CannotPullContainerError: no"},
    }
    assert reason_of(pull) == "CannotPullContainerError: no"
    assert reason_of(failed(exitCode=0) | {"status": "SUCCEEDED"}) == ""


def test_the_outcome_of_a_job_is_one_line() -> None:
    job = failed(exitCode=3) | {"createdAt": 1000, "startedAt": 1200, "stoppedAt": 2600, "attempts": []}
    assert outcome(job) == "exit code 3 · waited 0.2 s · ran 1.4 s"


def test_the_wait_of_a_retried_job_ends_with_its_first_start() -> None:
    assert wait_time({"createdAt": 0, "startedAt": 90_000, "attempts": [{"startedAt": 500}]}) == "0.5 s"


def test_the_counts_of_an_array_leave_out_what_is_zero() -> None:
    summary = {"SUCCEEDED": 3, "FAILED": 0, "RUNNING": 1}
    assert array_counts({"arrayProperties": {"size": 4, "statusSummary": summary}}) == {"RUNNING": 1, "SUCCEEDED": 3}


def test_short_ids_keep_the_index_of_a_child() -> None:
    job_id = "3f2a1b4c-0000-4000-8000-000000000000"
    assert (short_id(job_id), short_id(f"{job_id}:12")) == ("3f2a1b4c", "3f2a1b4c:12")


def test_a_reason_is_the_same_while_only_its_numbers_change() -> None:
    first = "3 jobs are ahead of it; the first of them is 3f2a1b4c-0000-4000-8000-000000000000. It needs 1.5 vCPU."
    second = "21 jobs are ahead of it; the first of them is 9d01ffff-0000-4000-8000-00000000000a. It needs 2 vCPU."
    assert same_kind(first, second)
    assert not same_kind(first, "Is next in job queue default.")
    assert not same_kind(first, None)


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [
        ("512", 512),
        ("512m", 512),
        ("512MiB", 512),
        ("2g", 2048),
        ("1.5 GiB", 1536),
        ("4GB", 4096),
        ("4096k", 4),
        ("1T", 1 << 20),
    ],
)
def test_amounts_of_memory(text: str, mebibytes: int) -> None:
    assert memory_of(text) == mebibytes


@pytest.mark.parametrize("text", ["", "0", "much", "-5", "1x", "1 k", "1e9"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(Failure, match="--memory"):
        memory_of(text)


def test_environment_variables_are_given_or_taken_over() -> None:
    assert environment_of(["A=1", "B=x=y", "C=", "D"], {"D": "mine"}) == {"A": "1", "B": "x=y", "C": "", "D": "mine"}


@pytest.mark.parametrize("entry", ["=1", "MISSING"])
def test_environment_variables_that_cannot_be(entry: str) -> None:
    with pytest.raises(Failure, match="--env"):
        environment_of([entry], {})


@pytest.mark.parametrize(
    ("command", "image", "name"),
    [
        (["/usr/bin/python3", "x.py"], None, "python3"),
        (["./my script.sh"], None, "my-script-sh"),
        ([], "lab/tool:1", "tool-1"),
        (["--"], None, "run"),
        (["x" * 200], None, "x" * 128),
    ],
)
def test_jobs_are_named_after_their_program(command: list[str], image: str | None, name: str) -> None:
    assert name_of(command, image) == name


def test_text_of_others_cannot_command_the_terminal() -> None:
    assert one_line("a\x1b[31mb\r\nc\x07") == "a [31mb  c"
    assert cut("abcdefghijkl", 10) == "abcdefghi…"
    assert cut("abcdefghij", 10) == "abcdefghij"
