"""What a scheduling pass costs, and how that grows: with the jobs that wait, the instances, and the shapes that jobs ask for.

Ten queues of different priority with fifty shares each have all instances of one environment, which are full. In each round
some tasks end, and one step places others. What does not depend on the scheduler (the store, the engines) takes no part.
"""

from __future__ import annotations

import gc
import random
import time
from pathlib import Path

import msgspec

from batchyard.kernel import lifecycle
from batchyard.kernel.dependencies import Outlook
from batchyard.kernel.effects import Effects
from batchyard.kernel.messages import TaskExited, TaskStarted
from batchyard.kernel.records import Job
from batchyard.kernel.resources import Resources
from benchmarks.measures import Result, Row, at_most, median_row
from benchmarks.sizes import Sizes
from benchmarks.yard import Yard, job_id_of

QUEUES, SHARES = 10, 50
VCPUS_OF_INSTANCE = 4
ENDS = 100
"""Tasks that end in a round."""
AT_ONCE = 10_000
"""Jobs that are put in line between two times that the effects are taken."""


class Load(msgspec.Struct, frozen=True):
    """What waits, on what."""

    jobs: int
    instances: int
    shapes: int


def measure(folder: Path, sizes: Sizes) -> Result:  # noqa: ARG001
    few_jobs, some_jobs, many_jobs = sizes.pass_jobs
    few_instances, some_instances, many_instances = sizes.pass_instances
    few_shapes, some_shapes, many_shapes = sizes.pass_shapes
    base = Load(some_jobs, some_instances, many_shapes)
    loads = {
        "jobs_few": Load(few_jobs, some_instances, many_shapes),
        "jobs_some": base,
        "jobs_many": Load(many_jobs, some_instances, many_shapes),
        "instances_few": Load(some_jobs, few_instances, many_shapes),
        "instances_many": Load(some_jobs, many_instances, many_shapes),
        "shapes_few": Load(some_jobs, some_instances, few_shapes),
        "shapes_some": Load(some_jobs, some_instances, some_shapes),
    }
    rows: list[Row] = []
    passes: dict[str, float] = {}
    for key, load in loads.items():
        samples, rates = _measured(load, sizes.pass_rounds)
        what = f"{load.jobs:,} jobs of {load.shapes} shapes, {load.instances:,} instances"
        row = median_row(f"scheduling_pass.{key}", f"a pass: {what}", samples, "ms")
        passes[key] = row.value
        rows.append(row)
        if key == "jobs_many":
            rows.append(median_row("scheduling_pass.decisions", f"starts decided: {what}", rates, "a second"))
    growth = {
        "jobs": (passes["jobs_many"] / passes["jobs_few"], f"{few_jobs:,} → {many_jobs:,} jobs", at_most(2)),
        "instances": (
            passes["instances_many"] / passes["instances_few"],
            f"{few_instances:,} → {many_instances:,} instances",
            None,
        ),
        "shapes": (passes["jobs_some"] / passes["shapes_few"], f"{few_shapes} → {many_shapes} shapes", None),
    }
    rows += [
        Row(key=f"scheduling_pass.growth_{key}", label=f"a pass grows: {label}", value=value, unit="×", aim=aim)
        for key, (value, label, aim) in growth.items()
    ]
    notes = [
        f"{QUEUES} queues with fair share on one environment, {SHARES} shares each; in each round {ENDS} tasks end (or as many as"
        " run), then a step follows. Times are of the step alone.",
    ]
    return Result("Scheduling pass", rows, notes)


def _measured(load: Load, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each step, and the starts a second in it."""
    yard = loaded_yard(load)
    chance = random.Random(1)
    gc.collect()
    gc.freeze()
    samples, rates = [], []
    for _ in range(rounds):
        end_some(yard, chance)
        before = time.perf_counter()
        effects = yard.step()
        spent = time.perf_counter() - before
        begin(yard, effects)
        samples.append(1000 * spent)
        rates.append(len(effects.start) / spent)
    gc.unfreeze()
    return samples, rates


def loaded_yard(load: Load) -> Yard:
    """All that waits is in line, and all instances are full."""
    chance = random.Random(1)
    vcpus = load.instances * VCPUS_OF_INSTANCE
    yard = Yard(vcpus)
    yard.environment("ce", max_vcpus=vcpus, types=["c6i.xlarge"])
    for number in range(QUEUES):
        yard.fair_queue(f"q{number}", "ce", priority=number, decay=3600)
    shapes = [Resources(1000 * (1 + number % 3), 256 + 16 * (number // 3)) for number in range(load.shapes)]
    # Those that fill the instances come on top.
    _put_in_line(yard, chance, shapes, load.jobs + 2 * vcpus)
    while (effects := yard.step()).start:
        begin(yard, effects)
    return yard


def _put_in_line(yard: Yard, chance: random.Random, shapes: list[Resources], count: int) -> None:
    """As SubmitJob does it, without the request and without what the job is to run."""
    state = yard.kernel.state
    queues = list(state.queues.values())
    names = [state.shared_text(f"share{number}") for number in range(SHARES)]
    for number in range(count):
        job = Job(
            seq=state.take_seq(),
            id=job_id_of(number),
            name="job",
            queue=chance.choice(queues),
            definition=yard.definition,
            resources=state.shared(chance.choice(shapes)),
            created_at=yard.now,
            share=chance.choice(names),
        )
        lifecycle.accept(state, job, Outlook([]), yard.now)
        if number % AT_ONCE == 0:
            state.newcomers.clear()
            yard.kernel.take_effects()
    state.newcomers.clear()
    yard.kernel.take_effects()


def end_some(yard: Yard, chance: random.Random) -> None:
    yard.now += 1000
    tasks = list(yard.kernel.state.tasks)
    for task_id in chance.sample(tasks, min(ENDS, len(tasks))):
        job = yard.kernel.state.tasks[task_id]
        yard.kernel.apply(TaskExited(task_id, yard.now, 0, None, job.started_at), yard.now)


def begin(yard: Yard, effects: Effects) -> None:
    for order in effects.start:
        yard.kernel.apply(TaskStarted(order.task_id, yard.now), yard.now)
