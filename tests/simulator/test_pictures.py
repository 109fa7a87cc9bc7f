"""Pictures and files of a run."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from site_files import Ended, environment, file_of, queue, work

from batchyard.simulator.plots import duration_text, nice_step, write_plots
from batchyard.simulator.records import JobFile, write_samples
from batchyard.simulator.simulation import Simulation
from batchyard.simulator.statistics import Statistics
from batchyard.simulator.timeline import MOST_POINTS, Timeline

SVG = "{http://www.w3.org/2000/svg}"


def a_run(log: JobFile | Ended | None = None) -> Statistics:
    file = file_of(queues=[queue("a<b"[:1], "ce"), queue("b", "ce")])
    jobs = (work(10 * number, 100, queue="ab"[number % 2]) for number in range(20))
    return Simulation(file, jobs, log=log).run()


def test_pictures_are_svg_with_titles_axes_and_lines(tmp_path: Path) -> None:
    files = write_plots(a_run(), tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["instances.svg", "vcpus.svg", "jobs.svg", "waits.svg"]
    for file, lines, names in zip(files, (1, 2, 2, 2), ((), ("offered", "used by jobs"), (), ("a", "b")), strict=True):
        root = ElementTree.parse(file).getroot()
        texts = [element.text for element in root.iter(f"{SVG}text")]
        assert len(list(root.iter(f"{SVG}polyline"))) == lines
        assert set(names) <= set(texts)
        assert all(
            0 <= float(part) <= 860
            for line in root.iter(f"{SVG}polyline")
            for part in line.attrib["points"].replace(",", " ").split()
        )


def test_pictures_of_a_run_without_jobs(tmp_path: Path) -> None:
    for file in write_plots(Simulation(file_of(), ()).run(), tmp_path):
        ElementTree.parse(file)


def test_the_job_file_has_a_line_for_each_job() -> None:
    text = io.StringIO()
    a_run(JobFile(text))
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert len(rows) == 20
    assert rows[0] | {"instance": ""} == {
        "line": "1", "name": "", "index": "", "queue": "a", "share": "", "status": "SUCCEEDED", "submitted": "0", "started": "0",
        "ended": "100", "attempts": "1", "exit_code": "0", "environment": "ce", "instance": "", "instance_type": "c6i.large",
        "reason": "Essential container in task exited",
    }  # fmt: skip
    assert rows[0]["instance"].startswith("i-")


def test_samples_are_means_over_spans(tmp_path: Path) -> None:
    write_samples(a_run().timeline, tmp_path / "samples.csv")
    rows = list(csv.DictReader((tmp_path / "samples.csv").open()))
    assert list(rows[0]) == ["seconds", "instances", "vcpus_offered", "vcpus_used", "jobs_running", "jobs_waiting"]
    assert rows[0] == dict(zip(rows[0], ("0", "1", "2", "1", "1", "0"), strict=True))
    assert sum(float(row["vcpus_used"]) for row in rows) == 2000


@pytest.mark.parametrize("seconds", [1, 1500, 5_000_000])
def test_a_timeline_keeps_sums_exact_in_few_points(seconds: int) -> None:
    timeline, total, now = Timeline(2), 0, 0
    for step in range(1, 40):
        then, now = now, 1000 * seconds * step * step // 1600 + step
        timeline.advance(now, (step, 1))
        total += step * (now - then)
    assert timeline.total(0) == total
    assert timeline.total(1) == timeline.until == now
    points = list(timeline.points())
    assert len(points) <= MOST_POINTS + 1
    assert all(after - before == timeline.width for (before, _), (after, _) in pairwise(points))
    assert all(ones == pytest.approx(1) for _, (_, ones) in points)


def test_marks_are_round() -> None:
    assert [nice_step(value) for value in (0, 0.3, 1, 1.2, 2, 3, 7, 70, 201)] == [1, 1, 1, 2, 2, 5, 10, 100, 500]
    assert [duration_text(value) for value in (0, 0.5, 30, 90, 75, 3600, 5400, 86_400, 129_600)] == [
        "0", "0.5 s", "30 s", "1.5 min", "75 s", "1 h", "1.5 h", "1 d", "1.5 d",
    ]  # fmt: skip


def test_environments_without_work_cost_nothing() -> None:
    statistics = Simulation(file_of([environment(), environment("idle")]), (work(0, 1),)).run()
    assert [statistics.offered.get(name, 0) for name in ("ce", "idle")] == [2_000_000, 0]
