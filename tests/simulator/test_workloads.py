"""Workloads from files: CSV, the Standard Workload Format, and what is said of lines that are wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from batchyard.simulator.csv_workload import read_csv
from batchyard.simulator.inputs import InputError
from batchyard.simulator.swf_workload import Skipped, SwfOptions, read_swf
from batchyard.simulator.workload import Shape, Work

HEAD = "submit,run_seconds,vcpus,memory"

SWF = """\
; Version: 2.2
; UnixStartTime: 1110000000
; Note: fields are separated by any white space

  1      5   10  3600   8 3500.00  2048  16  7200   4096 1  3 1  7 1 0 -1 -1
  2     65   -1   120   4   -1       -1  -1    -1     -1 0 17 2 -1 2 0 -1 -1
  3     70   -1    -1  -1   -1       -1   1    60     -1 5  3 1 -1 1 0 -1 -1
  4     70    0     0   2   -1       -1   2    60     -1 5  3 1 -1 1 0 -1 -1
  5     80    0    10  -1   -1       -1  -1    60     -1 1  3 1 -1 1 0 -1 -1
  6     90    0    10   1   -1     1500   1    60     -1 1 -1 1 -1 9 0 -1 -1
  7     95    0    10   1   -1     1500   1    60     -1 2  3 1 -1 1 0 -1 -1
"""


def csv_of(tmp_path: Path, text: str) -> list[Work]:
    path = tmp_path / "jobs.csv"
    path.write_text(text)
    return list(read_csv(path))


def swf_of(tmp_path: Path, text: str = SWF, **options: object) -> tuple[list[Work], dict[str, int]]:
    path, skipped = tmp_path / "log.swf", Skipped()
    path.write_text(text)
    return list(read_swf(path, SwfOptions(**options), skipped)), skipped.counts  # type: ignore[arg-type]


def test_the_least_that_a_line_says(tmp_path: Path) -> None:
    first, second = csv_of(tmp_path, f"{HEAD}\n100,60,2,2048\n\n100.25,0.5,2,2048\n")
    assert first == Work(2, 0, 60_000, Shape(queue=None, vcpus="2", memory=2048))
    assert second == Work(4, 250, 500, Shape(queue=None, vcpus="2", memory=2048))


def test_all_that_a_line_may_say(tmp_path: Path) -> None:
    head = "name,queue,share,submit,vcpus,memory,gpus,count,run_seconds,priority,timeout,attempts,exit_code,failure_probability"
    (work,) = csv_of(tmp_path, f'{head}\n"a, b", high ,team,7,0.50,512,1,10,90,5,600,3,4,0.25\n')
    shape = Shape(
        queue="high", vcpus="0.5", memory=512, gpus=1, count=10, share="team", priority=5, timeout=600, attempts=3
    )
    assert work == Work(2, 0, 90_000, shape, exit_code=4, failure_probability=0.25, name="a, b")


def test_an_exit_code_alone_is_always_the_end(tmp_path: Path) -> None:
    fine, failing, chance = csv_of(
        tmp_path, f"{HEAD},exit_code,failure_probability\n0,1,1,1,,\n0,1,1,1,9,\n0,1,1,1,,0.5\n"
    )
    assert fine.failure_probability == 0
    assert (failing.exit_code, failing.failure_probability) == (9, 1)
    assert (chance.exit_code, chance.failure_probability) == (1, 0.5)


def test_dates_are_times_too(tmp_path: Path) -> None:
    text = f"{HEAD}\n2026-03-01T08:00:00Z,1,1,1\n2026-03-01 09:00:00.5+01:00,1,1,1\n2026-03-01T09:00,1,1,1\n"
    assert [work.at for work in csv_of(tmp_path, text)] == [0, 500, 3_600_000]


def test_lines_of_one_shape_share_it(tmp_path: Path) -> None:
    first, second = csv_of(tmp_path, f"{HEAD}\n0,1,1,1\n5,9,1,1\n")
    assert first.shape is second.shape


def test_a_packed_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv.gz"
    path.write_bytes(gzip.compress(f"{HEAD}\n0,1,1,1\n".encode()))
    assert len(list(read_csv(path))) == 1


def test_lines_are_read_as_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text(f"{HEAD}\n0,1,1,1\nwrong,1,1,1\n")
    jobs = read_csv(path)
    assert next(jobs).at == 0
    with pytest.raises(InputError, match="line 3"):
        next(jobs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: the first line names the columns"),
        ("submit,vcpus,memory\n", "line 1: column 'run_seconds' is missing"),
        (f"{HEAD},colour\n", "line 1: there is no column 'colour'; the columns are submit, "),
        (f"{HEAD},vcpus\n", "line 1: column 'vcpus' is there twice"),
        (f"{HEAD}\n0,1,1\n", "line 2: it has 3 values for 4 columns"),
        (f"{HEAD}\nsoon,1,1,1\n", "line 2: submit: 'soon' is neither seconds nor a time as"),
        (f"{HEAD}\nnan,1,1,1\n", "line 2: submit: 'nan' is neither seconds nor"),
        (f"{HEAD}\ninf,1,1,1\n", "line 2: submit: 'inf' is no time"),
        (f"{HEAD}\n5,1,1,1\n4,1,1,1\n", "line 3: submit is 4, before the line above; sort the file by submit"),
        (f"{HEAD}\n5,1,1,1\n2026-01-01,1,1,1\n", "line 3: .* seconds and dates can't be mixed"),
        (f"{HEAD}\n0,-1,1,1\n", "line 2: run_seconds: -1 is not from 0 to"),
        (f"{HEAD}\n0,long,1,1\n", "line 2: run_seconds: 'long' is no number"),
        (f"{HEAD}\n0,,1,1\n", "line 2: run_seconds is empty"),
        (f"{HEAD}\n0,1,0,1\n", "line 2: vcpus: '0' is no number of vCPUs"),
        (f"{HEAD}\n0,1,1,1.5\n", "line 2: memory: '1.5' is no whole number from 1 to 2147483647"),
        (f"{HEAD}\n0,1,1,\n", "line 2: memory is empty"),
        (f"{HEAD},timeout\n0,1,1,1,59\n", "line 2: timeout: '59' is no whole number from 60 to"),
        (f"{HEAD},failure_probability\n0,1,1,1,2\n", "line 2: failure_probability: 2 is not from 0 to 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        csv_of(tmp_path, text)


def test_a_log_in_the_standard_format(tmp_path: Path) -> None:
    """16 processors at 4 MiB each; then 4 that nobody asked for, of unknown memory; then one that used 1,500 KiB."""
    jobs, skipped = swf_of(tmp_path, memory_per_processor=100)
    assert [(job.line, job.name, job.at, job.run) for job in jobs] == [
        (5, "1", 0, 3_600_000),
        (6, "2", 60_000, 120_000),
        (10, "6", 85_000, 10_000),
    ]
    assert [(job.shape.vcpus, job.shape.memory) for job in jobs] == [("16", 64), ("4", 400), ("1", 2)]
    assert [job.failure_probability for job in jobs] == [0, 1, 0]
    assert skipped == {
        "run time unknown": 1,
        "cancelled before they began": 1,
        "number of processors unknown": 1,
        "parts of checkpointed jobs": 1,
    }


def test_queues_and_shares_of_a_log(tmp_path: Path) -> None:
    jobs, _ = swf_of(tmp_path, queues={"1": "short", "*": "long"}, share_by="user")
    assert [job.shape.queue for job in jobs] == ["short", "long", "long"]
    assert [job.shape.share for job in jobs] == ["user3", "user17", "userunknown"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3", "line 1: it has 3 fields, and the format 18"),
        ("1 0 0 x 1 -1 -1 1 -1 -1 1 1 1 -1 1 0 -1 -1", "line 1: 'x' is no number"),
        ("1 nan 0 1 1 -1 -1 1 -1 -1 1 1 1 -1 1 0 -1 -1", "line 1: 'nan' is no number"),
        (
            "1 9 0 1 1 -1 -1 1 -1 -1 1 1 1 -1 1 0 -1 -1\n2 8 0 1 1 -1 -1 1 -1 -1 1 1 1 -1 1 0 -1 -1",
            "line 2: it was submitted before the line above",
        ),
    ],
)
def test_what_is_wrong_in_a_log(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        swf_of(tmp_path, line)


@pytest.mark.parametrize("read", [read_csv, lambda path: read_swf(path, SwfOptions(), Skipped())])
def test_files_that_can_not_be_read(tmp_path: Path, read: object) -> None:
    with pytest.raises(InputError, match="No such file"):
        list(read(tmp_path / "nowhere"))  # type: ignore[operator]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        list(read(tmp_path / "binary"))  # type: ignore[operator]
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"submit" * 100)[:-20])
    with pytest.raises(InputError, match=r"broken\.gz"):
        list(read(tmp_path / "broken.gz"))  # type: ignore[operator]
