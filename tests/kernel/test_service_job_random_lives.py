"""Many random lives of service jobs beside container jobs: every counter is re-derived after every step (see `story.py`)."""

from __future__ import annotations

import random

import pytest
from service_story import Training, limits, update
from story import Story

from batchyard.kernel.commands import TerminateServiceJob
from batchyard.kernel.records import Job, Node

STEPS = 120


class Life:
    """One story in which what happens next is drawn."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.story = Story(vcpus=8, memory=32_768)
        self.training = Training(self.story)
        self.submitted = 0

    def step(self) -> None:
        self.draw.choice([self.submit, self.engine, self.engine, self.engine, self.caller, self.time])()

    def submit(self) -> None:
        self.submitted += 1
        label = f"J{self.submitted}"
        if self.draw.random() < 0.3:
            self.story.submit(label, vcpus=self.draw.randint(1, 4), attempts=self.draw.choice([None, 2]))
        else:
            instances = self.draw.randint(1, 5)
            self.training.submit(
                label, instances, attempts=self.draw.choice([None, 2, 3]), runtime=self.draw.choice([5, 500])
            )

    def engine(self) -> None:
        """Something happens to a task."""
        tasks = sorted(self.story.kernel.state.tasks)
        if not tasks:
            return
        task_id = self.draw.choice(tasks)
        job = self.story.kernel.state.tasks[task_id]
        label, node = self.label_of(job, task_id)
        begun = node.started_at is not None if node is not None else job.started_at is not None
        what = self.draw.random()
        if not begun and what < 0.6:
            self.story.begin(label)
        elif not begun and what < 0.75 and node is not None and self.goes_on(job):
            self.story.unknown(label)
        elif what < 0.9:
            code = self.draw.choice([0, 0, 0, 1, 143])
            self.story.exit(label, code if begun else None, started=begun)
        else:
            self.story.lose(label)

    def goes_on(self, job: Job) -> bool:
        return job.task is not None and job.task.ending is None and job.task.failure is None

    def label_of(self, job: Job, task_id: str) -> tuple[str, Node | None]:
        assert job.task is not None
        label = self.story.label(job.id)
        for number, node in enumerate(job.task.nodes or (), 1):
            if node.id == task_id:
                return f"{label}/{number}", node
        return label, None

    def caller(self) -> None:
        jobs = [job for job in self.story.kernel.state.jobs.values() if job.service is not None]
        if jobs and self.draw.random() < 0.6:
            self.story.tell(TerminateServiceJob(self.draw.choice(jobs).id, "enough"))
        elif self.story.kernel.state.service_environments["se"].due is None:
            state = self.draw.choice(["ENABLED", "ENABLED", "DISABLED"])
            self.story.tell(update(state=state, capacity_limits=limits(NUM_INSTANCES=self.draw.randint(1, 6))))

    def time(self) -> None:
        self.story.pass_time(self.draw.choice([0.01, 1, 7]))

    def come_to_rest(self) -> None:
        """With room for everything, everything ends."""
        self.story.pass_time(1)
        self.story.tell(update(state="ENABLED", capacity_limits=limits(NUM_INSTANCES=100)))
        self.story.pass_time(1)
        while tasks := sorted(self.story.kernel.state.tasks):
            label, _ = self.label_of(self.story.kernel.state.tasks[tasks[0]], tasks[0])
            self.story.exit(label)
        for job in list(self.story.kernel.state.jobs.values()):
            assert job.service is not None, f"{job.name} still waits"
            assert job.service.instance_count > 4, "only what the machine cannot hold is left"


@pytest.mark.parametrize("seed", range(60))
def test_a_random_life(seed: int) -> None:
    life = Life(seed)
    for _ in range(STEPS):
        life.step()
    life.come_to_rest()
    assert all(not instance.used.milli_vcpus for instance in life.story.kernel.state.instances.values())
    assert life.story.kernel.state.service_environments["se"].used == {}
