"""`batchyard run`, cancel and terminate: against a real server."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from console import Shell

from server_process import ServerProcess
from waiting import until


def test_the_log_goes_to_standard_output_and_progress_to_standard_error(batchyard: Shell) -> None:
    result = batchyard("run", "--", "sh", "-c", "echo out; echo err >&2")
    assert (result.returncode, sorted(result.stdout.split())) == (0, ["err", "out"])
    first, *_, last = result.stderr.splitlines()
    assert re.match(r"batchyard: submitted sh to queue default: [0-9a-f-]{36}$", first)
    assert re.match(r"batchyard: SUCCEEDED: waited [\d.]+ s · ran [\d.]+ s$", last)
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("code", [1, 7, 255])
def test_it_exits_as_the_job_does(batchyard: Shell, code: int) -> None:
    result = batchyard("run", "--", "sh", "-c", f"exit {code}")
    assert result.returncode == code
    assert f"FAILED: exit code {code}" in result.stderr


def test_lines_appear_while_the_job_runs(batchyard: Shell, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with batchyard.start(
        "run", "-q", "--", "sh", "-c", f"echo 1; while ! test -e {gate}; do sleep 0.05; done; echo 2"
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "1\n"
        gate.touch()
        assert run.stdout.read() == "2\n"
        assert run.wait(60) == 0
        assert run.stderr is not None
        assert run.stderr.read() == ""


def test_a_long_log_is_whole_and_in_order(batchyard: Shell) -> None:
    result = batchyard("run", "-q", "--", "seq", "30000")
    assert result.stdout.split() == [str(number) for number in range(1, 30001)]


def test_failed_attempts_are_said_and_their_logs_printed(batchyard: Shell, tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    script = f"echo attempt $AWS_BATCH_JOB_ATTEMPT; test -e {tried} && exit 0; touch {tried}; exit 5"
    result = batchyard("run", "--attempts", "2", "--", "sh", "-c", script)
    assert (result.returncode, result.stdout) == (0, "attempt 1\nattempt 2\n")
    assert "2 attempts" in result.stderr


def test_the_environment_is_given_and_taken_over(batchyard: Shell) -> None:
    result = batchyard("run", "-q", "-e", "A=x=y", "--env", "MINE", "--", "sh", "-c", "echo $A $MINE", MINE="here")
    assert result.stdout == "x=y here\n"
    assert batchyard("run", "--env", "NOT_SET", "--", "true").returncode == 2


def test_an_equal_job_reuses_the_definition(batchyard: Shell, server: ServerProcess) -> None:
    def definition(*arguments: str) -> str:
        found: str = batchyard.json("run", *arguments)["jobs"][0]["jobDefinition"]
        return found

    first = definition("--memory", "300", "--", "true")
    assert definition("--memory", "300m", "--env", "A=1", "--", "echo", "other") == first
    assert definition("--memory", "301", "--", "true") != first
    server.client("batch").deregister_job_definition(jobDefinition=first)
    assert definition("--memory", "300", "--", "true") != first


def test_a_definition_that_says_something_else_is_not_used(batchyard: Shell, server: ServerProcess) -> None:
    arn = batchyard.json("run", "--memory", "302", "--", "true")["jobs"][0]["jobDefinition"]
    name = arn.rpartition("/")[2].partition(":")[0]
    batch = server.client("batch")
    batch.deregister_job_definition(jobDefinition=arn)
    other = {"image": "other", "vcpus": 1, "memory": 64}
    batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=other)
    again = batchyard.json("run", "--memory", "302", "--", "true")["jobs"][0]
    assert again["jobDefinition"].endswith(f"{name}:3")
    assert again["container"]["image"] == "batchyard/host"


def test_an_array_that_succeeds(batchyard: Shell) -> None:
    result = batchyard("run", "--array", "5", "--", "true")
    assert (result.returncode, result.stdout) == (0, "")
    assert re.search(r"SUCCEEDED: 5 children · took ", result.stderr)


def test_an_array_that_fails_lists_the_failed_children(batchyard: Shell) -> None:
    result = batchyard("run", "--array", "9", "--", "sh", "-c", "exit $((AWS_BATCH_JOB_ARRAY_INDEX < 7 ? 4 : 0))")
    assert result.returncode == 1
    assert "FAILED: 7 of 9 children failed" in result.stderr
    assert (
        len(
            re.findall(
                r"^  [0-9a-f]{8}:\d  exit code 4  →  batchyard logs [0-9a-f]{8}:\d$", result.stderr, re.MULTILINE
            )
        )
        == 5
    )
    assert re.search(r"… all: batchyard jobs --array [0-9a-f]{8} --status failed --all", result.stderr)


def test_a_job_waits_for_those_it_depends_on(batchyard: Shell, tmp_path: Path) -> None:
    gate, made = tmp_path / "gate", tmp_path / "made"
    first = batchyard.submit("--", "sh", "-c", f"while ! test -e {gate}; do sleep 0.05; done; touch {made}")
    second = batchyard.submit("--depends-on", first[:13], "--", "test", "-e", str(made))
    third = batchyard.submit("--depends-on", "last", "--depends-on", first, "--", "true")
    described = batchyard.json("show", third)["jobs"][0]
    assert [entry["jobId"] for entry in described["dependsOn"]] == [second, first]
    assert described["status"] == "PENDING"
    gate.touch()
    until(lambda: batchyard.json("show", third)["jobs"][0]["status"] == "SUCCEEDED")
    assert batchyard.json("show", second)["jobs"][0]["status"] == "SUCCEEDED"


def test_all_that_is_asked_for_is_in_the_job(batchyard: Shell) -> None:
    job = batchyard.json(
        "run", "--image", "busybox", "--vcpus", "2", "--memory", "1g", "--attempts", "3", "--timeout", "61",
        "--name", "mine", "--queue", "default", "--", "true",
    )["jobs"][0]  # fmt: skip
    requirements = {entry["type"]: entry["value"] for entry in job["container"]["resourceRequirements"]}
    assert (job["jobName"], job["container"]["image"], requirements) == (
        "mine",
        "busybox",
        {"VCPU": "2", "MEMORY": "1024"},
    )
    assert (job["retryStrategy"]["attempts"], job["timeout"]) == (3, {"attemptDurationSeconds": 61})


def test_detached_it_prints_the_id_and_nothing_else(batchyard: Shell) -> None:
    result = batchyard("run", "--detach", "--", "true")
    assert result.returncode == 0
    assert re.fullmatch(r"[0-9a-f-]{36}\n", result.stdout)
    assert result.stderr == ""
    answer = batchyard.json("run", "--detach", "--name", "named", "--", "true")
    assert (answer["jobName"], set(answer)) == ("named", {"jobArn", "jobId", "jobName"})


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "no command"),
        (("--memory", "much", "--", "true"), 2, "--memory"),
        (("--vcpus", "0", "--", "true"), 2, "--vcpus"),
        (("--depends-on", "00000000", "--", "true"), 2, "no job"),
        (("--no-such-option", "--", "true"), 2, "--no-such-option"),
        (("--array", "1", "--", "true"), 4, "Array size"),
        (("--timeout", "59", "--", "true"), 4, "at least 60"),
        (("--queue", "nope", "--", "true"), 4, "nope not found"),
        (("--name", "no spaces", "--", "true"), 4, "Job name"),
        (("--", "x" * 40_000), 4, "30 KiB"),
        (("--", b"\xff".decode(errors="surrogateescape")), 2, "UTF-8"),
    ],
)
def test_what_cannot_be_run(batchyard: Shell, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = batchyard("run", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_it_says_why_a_job_waits(batchyard: Shell) -> None:
    with batchyard.start("run", "--vcpus", "99", "--", "true") as run:
        assert run.stderr is not None
        said = ""
        while "waiting: " not in said:
            said = run.stderr.readline()
        assert "99 vCPU" in said
        assert batchyard("cancel", "last", "--reason", "not today").returncode == 0
        assert "FAILED: not today" in run.stderr.read()
        assert run.wait(60) == 1


@pytest.mark.parametrize("terminate", [False, True])
def test_interrupted_it_leaves_the_job_or_ends_it(batchyard: Shell, tmp_path: Path, terminate: bool) -> None:
    gate = tmp_path / "gate"
    option = ["--terminate-on-interrupt"] if terminate else []
    program = f"echo begun; while ! test -e {gate}; do sleep 0.05; done"
    with batchyard.start("run", *option, "--", "sh", "-c", program) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        job = run.stderr.readline().split()[-1]
        assert run.stdout.readline() == "begun\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        said = run.stderr.read()
    assert "Traceback" not in said
    if terminate:
        assert "FAILED: Interrupted by the user" in said
    else:
        assert f"batchyard logs -f {job[:8]}" in said
        assert f"batchyard terminate {job[:8]}" in said
        assert batchyard.json("show", job)["jobs"][0]["status"] == "RUNNING"
    gate.touch()


def test_a_server_that_restarts_is_waited_for(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with ServerProcess(tmp_path / "data") as server:
        shell = Shell(dict(server.client_environment()))
        program = f"echo begun; while ! test -e {gate}; do sleep 0.05; done; echo done"
        with shell.start("run", "--", "sh", "-c", program) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            assert run.stdout.readline() == "begun\n"
            server.stop()
            said = ""
            while "does not need it" not in said:
                said = run.stderr.readline()
            server.start()
            gate.touch()
            assert run.stdout.read() == "done\n"
            assert "the server is back" in run.stderr.read()
            assert run.wait(60) == 0


def test_on_a_terminal_a_line_is_redrawn_and_the_log_stands_whole(batchyard: Shell) -> None:
    code, shown = batchyard.on_terminal(
        "run", "--", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.3; done; exit 3"
    )
    assert code == 3
    assert "\r\x1b[K\x1b[36m  RUNNING" in shown
    seen = visible(shown)
    assert seen[1:4] == ["line 1", "line 2", "line 3"]
    assert re.match(r"▸ sh [0-9a-f-]{36} in queue default$", seen[0])
    assert re.match(r"✗ FAILED · exit code 3 · waited .* · ran .*  [0-9a-f]{8}$", seen[4])
    assert len(seen) == 5


def test_on_a_terminal_an_array_has_a_bar(batchyard: Shell) -> None:
    code, shown = batchyard.on_terminal("run", "--array", "12", "--", "sleep", "0.2", NO_COLOR="1")
    assert code == 0
    assert re.search(r"━+─* \d+/12", shown)
    assert re.match(r"✓ SUCCEEDED · 12 children · took ", visible(shown)[-1])


def visible(shown: str) -> list[str]:
    """The lines that stay on the screen: what a line clears is gone, and colours are not text."""
    lines = [line.rpartition("\x1b[K")[2] for line in shown.removesuffix("\n").split("\n")]
    return [re.sub(r"\x1b\[\d+m", "", line) for line in lines]


# --- cancel and terminate


def test_jobs_that_wait_are_cancelled(batchyard: Shell) -> None:
    jobs = [batchyard.submit("--vcpus", "99", "--", "true") for _ in range(2)]
    result = batchyard("cancel", *jobs, "--reason", "changed my mind")
    assert result.returncode == 0
    assert result.stdout == "".join(f"{job[:8]}  true  cancelled\n" for job in jobs)
    for job in jobs:
        described = batchyard.json("show", job)["jobs"][0]
        assert (described["status"], described["statusReason"]) == ("FAILED", "changed my mind")


def test_a_job_that_runs_is_terminated_and_not_cancelled(batchyard: Shell) -> None:
    job = batchyard.submit("--", "sleep", "600")
    until(lambda: batchyard.json("show", job)["jobs"][0]["status"] == "RUNNING")
    refused = batchyard("cancel", job)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert f"batchyard terminate {job[:8]}" in refused.stderr
    assert batchyard("terminate", job, "--reason", "enough").returncode == 0
    until(lambda: batchyard.json("show", job)["jobs"][0]["status"] == "FAILED")
    assert "enough" in batchyard("show", job).stdout


def test_one_bad_name_does_not_keep_the_others(batchyard: Shell) -> None:
    job = batchyard.submit("--vcpus", "99", "--", "true")
    result = batchyard("terminate", "00000000", job)
    assert result.returncode == 2
    assert result.stdout == f"{job[:8]}  true  terminated\n"
    assert "00000000" in result.stderr


def test_a_job_that_has_ended_is_left_as_it_is(batchyard: Shell) -> None:
    job = json.loads(batchyard("run", "--json", "--", "true").stdout)["jobs"][0]["jobId"]
    for command in ("cancel", "terminate"):
        result = batchyard(command, job)
        assert (result.returncode, result.stdout) == (0, f"{job[:8]}  true  had ended: SUCCEEDED\n")
