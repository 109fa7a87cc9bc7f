"""Writes jobs.csv: a week of a small genomics lab, made up, always the same.

    python make_workload.py > jobs.csv

On working days samples come in and are aligned (8 vCPUs, an hour or two), each then cut into an array of 24 small jobs; in the
evening statisticians run many short simulations; and now and then somebody trains a model for hours.
"""

from __future__ import annotations

import csv
import random
import sys

HOUR = 3600
DAY = 24 * HOUR
COLUMNS = (
    "submit",
    "queue",
    "share",
    "vcpus",
    "memory",
    "run_seconds",
    "count",
    "attempts",
    "failure_probability",
    "name",
)


def main() -> None:
    chance = random.Random(2026)
    jobs = [
        job for day in range(7) for job in (*samples(chance, day), *simulations(chance, day), *trainings(chance, day))
    ]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(jobs))


def samples(chance: random.Random, day: int) -> list[tuple[object, ...]]:
    """Alignments through the working day, and the calling of variants an hour or two later."""
    jobs: list[tuple[object, ...]] = []
    for number in range(60 if day < 5 else 6):
        at = day * DAY + 8 * HOUR + round(chance.random() * 10 * HOUR)
        lasts = round(chance.lognormvariate(8.6, 0.35))
        jobs.append((at, "pipelines", "genomics", 8, 14_000, lasts, 1, 3, 0.02, f"align-{day}-{number}"))
        jobs.append((at + lasts, "pipelines", "genomics", 2, 3_500, 900, 24, 3, 0.01, f"call-{day}-{number}"))
    return jobs


def simulations(chance: random.Random, day: int) -> list[tuple[object, ...]]:
    """Five arrays in the evening."""
    jobs: list[tuple[object, ...]] = []
    for number in range(5):
        at, lasts = day * DAY + 20 * HOUR + 600 * number, round(chance.uniform(200, 900))
        jobs.append((at, "pipelines", "statistics", 1, 1_800, lasts, 400, 3, 0, f"simulate-{day}-{number}"))
    return jobs


def trainings(chance: random.Random, day: int) -> list[tuple[object, ...]]:
    """Urgent, at odd times."""
    jobs: list[tuple[object, ...]] = []
    for number in range(chance.randint(0, 3)):
        at, lasts = day * DAY + round(chance.random() * DAY), round(chance.uniform(2, 5) * HOUR)
        jobs.append((at, "urgent", "", 16, 30_000, lasts, 1, 2, 0, f"train-{day}-{number}"))
    return jobs


if __name__ == "__main__":
    main()
