"""Pictures of a run, as SVG that every browser shows: no library, light or dark as the reader has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import msgspec

from batchyard.simulator.statistics import Statistics

WIDTH, HEIGHT = 860, 360
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 58, 46
COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#666666")
MOST_LINES = len(COLOURS)
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
"""Seconds between marks on an axis of time."""
_DECADES = (1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
"""Marks of the axis of waits."""


class Line(msgspec.Struct, frozen=True):
    """Points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]
    filled: bool = False


class Scale(msgspec.Struct, frozen=True):
    """Values onto an axis, 0 to 1, and the marks on it."""

    low: float
    high: float
    marks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        if self.logarithmic:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def write_plots(statistics: Statistics, folder: Path) -> list[Path]:
    """instances.svg, vcpus.svg, jobs.svg and waits.svg. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    points = list(statistics.timeline.points())
    end = statistics.timeline.until / 1000
    steps = [_steps([(begins / 1000, values[number]) for begins, values in points], end) for number in range(5)]
    offered = [(at, value / 1000) for at, value in steps[1]]
    used = [(at, value / 1000) for at, value in steps[2]]
    pictures = {
        "instances.svg": _over_time("Instances that run", "instances", end, [Line("instances", steps[0], True)]),
        "vcpus.svg": _over_time(
            "vCPUs offered and used", "vCPUs", end, [Line("offered", offered, True), Line("used by jobs", used)]
        ),
        "jobs.svg": _over_time(
            "Jobs that wait and run", "jobs", end, [Line("waiting", steps[4], True), Line("running", steps[3])]
        ),
        "waits.svg": _waits(statistics),
    }
    for name, picture in pictures.items():
        (folder / name).write_text(picture, encoding="utf-8")
    return [folder / name for name in pictures]


def _steps(points: list[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """A level holds until the next begins."""
    corners: list[tuple[float, float]] = []
    for number, (at, value) in enumerate(points):
        until = points[number + 1][0] if number + 1 < len(points) else end
        corners += [(at, value), (until, value)]
    return corners


def _over_time(title: str, unit: str, end: float, lines: list[Line]) -> str:
    highest = max((value for line in lines for _, value in line.points), default=0.0)
    return _chart(title, "time since the first submission", unit, _time_scale(end), _count_scale(highest), lines)


def _waits(statistics: Statistics) -> str:
    """For each queue: which part of its jobs waited at most so long."""
    by_queue: dict[str, list[int]] = {}
    for (queue, _), waits in statistics.waits.items():
        by_queue.setdefault(queue, []).extend(waits)
    largest = sorted(by_queue, key=lambda queue: -len(by_queue[queue]))[:MOST_LINES]
    longest = max((max(waits) for waits in by_queue.values()), default=0) / 1000
    high = next((each for each in _DECADES if each > max(1.0, longest)), _DECADES[-1])
    marks = [(float(each), duration_text(each)) for each in _DECADES if each <= high]
    marks[0] = (1.0, "≤ 1 s")
    scale = Scale(1.0, float(high), marks, logarithmic=True)
    percents = Scale(0.0, 100.0, [(float(each), f"{each} %") for each in range(0, 101, 20)])
    lines = [Line(queue, _distribution(sorted(by_queue[queue]), high)) for queue in sorted(largest)]
    return _chart("Waits until the first start", "wait", "of the jobs waited at most so long", scale, percents, lines)


def _distribution(ordered: list[int], high: float) -> list[tuple[float, float]]:
    """At most a few hundred steps of the empirical distribution function, in percent."""
    count = len(ordered)
    ranks = sorted({max(1, round(count * part / 400)) for part in range(1, 401)})
    points: list[tuple[float, float]] = [(1.0, 100.0 * sum(wait <= 1000 for wait in ordered) / count)]
    for rank in ranks:
        wait = ordered[rank - 1] / 1000
        if wait > 1:
            points += [(wait, points[-1][1]), (wait, 100.0 * rank / count)]
    return [*points, (float(high), points[-1][1])]


def _time_scale(end: float) -> Scale:
    end = max(end, 1.0)
    step = next((each for each in _STEPS if end / each <= 9), None)
    if step is None:
        step = 86_400 * math.ceil(end / 86_400 / 9)
    marks = [(float(at), duration_text(at)) for at in range(0, int(end) + 1, step)]
    return Scale(0.0, end, marks)


def _count_scale(highest: float) -> Scale:
    step = nice_step(highest / 5)
    top = step * max(1, math.ceil(highest / step - 1e-9))
    return Scale(0.0, top, [(step * number, f"{step * number:,g}") for number in range(round(top / step) + 1)])


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least 1 and not below `rough`."""
    if rough <= 1:
        return 1
    power = 10.0 ** math.floor(math.log10(rough))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= rough * (1 - 1e-9))


def duration_text(seconds: float) -> str:
    """`0`, `90 s`, `15 min`, `2.5 h`, `3 d`."""
    if seconds == 0:
        return "0"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and (seconds / size * 2).is_integer():
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _chart(title: str, along: str, up: str, x: Scale, y: Scale, lines: list[Line]) -> str:
    parts = [_HEAD, f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>']
    parts += _axes(along, up, x, y)
    for number, line in enumerate(lines):
        parts += _drawn(line, COLOURS[number % len(COLOURS)], x, y)
    if len(lines) > 1:
        parts += _legend(lines)
    return "\n".join([*parts, "</svg>\n"])


def _axes(along: str, up: str, x: Scale, y: Scale) -> list[str]:
    parts = []
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value, text in y.marks:
        at = _down(y, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="mark" text-anchor="end" x="{LEFT - 8}" y="{at + 4:.1f}">{escape(text)}</text>')
    for value, text in x.marks:
        at = _across(x, value)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        parts.append(f'<text class="mark" text-anchor="middle" x="{at:.1f}" y="{bottom + 19}">{escape(text)}</text>')
    parts.append(f'<text class="mark" text-anchor="end" x="{right}" y="{HEIGHT - 8}">{escape(along)}</text>')
    parts.append(f'<text class="mark" x="{LEFT}" y="{TOP - 14}">{escape(up)}</text>')
    return parts


def _drawn(line: Line, colour: str, x: Scale, y: Scale) -> list[str]:
    if not line.points:
        return []
    corners = [f"{_across(x, at):.1f},{_down(y, value):.1f}" for at, value in line.points]
    corners = [corner for number, corner in enumerate(corners) if number == 0 or corner != corners[number - 1]]
    parts = []
    if line.filled:
        first, last = _across(x, line.points[0][0]), _across(x, line.points[-1][0])
        floor = HEIGHT - BOTTOM
        area = f"{first:.1f},{floor} {' '.join(corners)} {last:.1f},{floor}"
        parts.append(f'<polygon points="{area}" fill="{colour}" fill-opacity="0.18"/>')
    parts.append(f'<polyline points="{" ".join(corners)}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    return parts


def _legend(lines: list[Line]) -> list[str]:
    parts, right = [], WIDTH - RIGHT
    for number, line in reversed(list(enumerate(lines))):
        name = line.name if len(line.name) <= 24 else f"{line.name[:23]}…"
        right -= 7 * len(name) + 26
        parts.append(f'<rect x="{right}" y="14" width="12" height="8" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(f'<text class="mark" x="{right + 17}" y="22">{escape(name)}</text>')
    return parts


def _across(scale: Scale, value: float) -> float:
    return LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)


def _down(scale: Scale, value: float) -> float:
    return HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)


_HEAD = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">
<style>
svg {{ background: #ffffff; font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }}
.title {{ font-size: 16px; font-weight: 600; fill: #222222; }}
.mark {{ fill: #555555; }}
.grid {{ stroke: #dddddd; stroke-width: 1; }}
@media (prefers-color-scheme: dark) {{
svg {{ background: #16181c; }} .title {{ fill: #eeeeee; }} .mark {{ fill: #b0b4ba; }} .grid {{ stroke: #34383e; }}
}}
</style>"""
