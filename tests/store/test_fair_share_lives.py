"""Random lives of queues with fair share, with restarts in between: what the shares have used, who of them is active and who is
next comes back from the rows of jobs, exactly."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fleet_story import Fleet
from service_story import Training, queue
from shelf import Shelf

from batchyard.kernel.commands import (
    CreateSchedulingPolicy,
    InterruptInstance,
    TerminateServiceJob,
    UpdateSchedulingPolicy,
)
from batchyard.kernel.ordering import fair_share_lines
from batchyard.kernel.placement import CAPACITY_TAG
from batchyard.kernel.records import Job, Node
from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

STEPS = 70
DECAY = {"q": 0, "spot": 700, "training": 0}
"""`shareDecaySeconds` of the queues. It stays what it is: a longer window remembers more after a restart than before."""
SHARES = ("A", "UserB1", "UserB2", "C")


class Life:
    """A queue `q` on slices, one on Spot instances, and one of training jobs."""

    def __init__(self, shelf: Shelf, seed: int) -> None:
        self.random = Random(seed)
        self.shelf = shelf
        self.fleet = shelf.story = Fleet(vcpus=16, memory=65_536, save=shelf.save, seed=seed, idle_seconds=30)
        self.fleet.environment("ce", max_vcpus=6, tags={CAPACITY_TAG: "slices"})
        self.fleet.environment(
            "spot", kind="SPOT", types=["c6i.large", "c6i.xlarge"], max_vcpus=8, strategy="SPOT_CAPACITY_OPTIMIZED"
        )
        arns = {name: self.policy_arn(name) for name in DECAY}
        self.fleet.queue("q", ["ce"], scheduling_policy_arn=arns["q"])
        self.fleet.queue("spot", ["spot"], scheduling_policy_arn=arns["spot"])
        self.training = Training(self.fleet)
        self.fleet.tell(queue("se", name="fair-training", scheduling_policy_arn=arns["training"]))
        self.fleet.pass_time(0.01)
        self.submitted = 0

    def policy_arn(self, name: str) -> str:
        request = shapes.CreateSchedulingPolicyRequest(name=name, fairshare_policy=self.policy(name))
        arn: str = self.fleet.tell(CreateSchedulingPolicy(request)).arn
        return arn

    def policy(self, name: str) -> shapes.FairsharePolicy:
        weights = {"A": self.random.choice([0.25, 1.0]), "UserB*": self.random.choice([0.5, 2.0])}
        return shapes.FairsharePolicy(
            share_decay_seconds=DECAY[name],
            compute_reservation=self.random.choice([0, 30]),
            share_distribution=[
                shapes.ShareAttributes(share_identifier=share, weight_factor=weight)
                for share, weight in weights.items()
            ],
        )

    def live(self) -> None:
        what = [self.submit, self.submit, self.train, self.engine, self.engine, self.engine, self.time]
        what += [self.caller, self.update, self.interrupt]
        for number in range(STEPS):
            self.random.choice(what)()
            if number % 5 == 4:
                self.compare()
            if number % 20 == 19:
                self.restart()
        self.come_to_rest()

    def submit(self) -> None:
        self.submitted += 1
        self.fleet.submit(
            f"J{self.submitted}",
            queue=self.random.choice(["q", "spot"]),
            share_identifier=self.random.choice(SHARES),
            scheduling_priority_override=self.random.choice([None, 7]),
            vcpus=self.random.choice([1, 1, 2, 3]),
            array=self.random.choice([None, None, 3]),
            attempts=self.random.choice([1, 3]),
            timeout=self.random.choice([None, 90]),
        )

    def train(self) -> None:
        self.submitted += 1
        self.training.submit(
            f"T{self.submitted}",
            self.random.randint(1, 3),
            attempts=self.random.choice([None, 2]),
            job_queue="fair-training",
            share_identifier=self.random.choice(SHARES),
            scheduling_priority=self.random.choice([None, 3]),
        )

    def engine(self) -> None:
        """Something happens to a task."""
        tasks = sorted(self.fleet.kernel.state.tasks)
        if not tasks:
            return
        task_id = self.random.choice(tasks)
        job = self.fleet.kernel.state.tasks[task_id]
        label, node = self.label_of(job, task_id)
        begun = node.started_at is not None if node is not None else job.started_at is not None
        what = self.random.random()
        if not begun and what < 0.7:
            self.fleet.begin(label)
        elif what < 0.95:
            self.fleet.exit(label, self.random.choice([0, 0, 1]) if begun else None, started=begun)
        else:
            self.fleet.lose(label)

    def label_of(self, job: Job, task_id: str) -> tuple[str, Node | None]:
        assert job.task is not None
        label = self.fleet.label(job.id)
        for number, node in enumerate(job.task.nodes or (), 1):
            if node.id == task_id:
                return f"{label}/{number}", node
        return label, None

    def time(self) -> None:
        self.fleet.pass_time(self.random.choice([0.5, 20, 200, 650]))

    def caller(self) -> None:
        jobs = sorted(self.fleet.kernel.state.jobs.values(), key=lambda job: job.seq)
        if jobs:
            job = self.random.choice(jobs)
            if job.service is not None:
                self.fleet.tell(TerminateServiceJob(job.id, "enough"))
            else:
                self.random.choice([self.fleet.cancel, self.fleet.terminate])(self.fleet.label(job.id))

    def update(self) -> None:
        if self.random.random() < 0.5:
            name = self.random.choice(sorted(DECAY))
            arn = self.fleet.kernel.state.scheduling_policies[name].arn or ""
            request = shapes.UpdateSchedulingPolicyRequest(arn=arn, fairshare_policy=self.policy(name))
            self.fleet.tell(UpdateSchedulingPolicy(request))
            return
        changes = [
            {"state": "DISABLED"},
            {"state": "ENABLED"},
            {"resources": {"max_vcpus": self.random.randint(4, 10)}},
            {"resources": {"instance_types": ["c6i.xlarge"]}, "update_policy": None},
        ]
        try:
            self.fleet.change_environment("spot", **self.random.choice(changes))
        except Refusal:
            assert self.fleet.kernel.state.environments["spot"].detail.status == "UPDATING"

    def interrupt(self) -> None:
        instances = [each for each in self.fleet.launched if each.detail and each.detail.interrupted_at is None]
        running = [each.id for each in instances if each.detail and each.detail.state == "running"]
        if running:
            self.fleet.tell(InterruptInstance(self.random.choice(sorted(running))))

    def end_one(self) -> None:
        task_id = min(self.fleet.kernel.state.tasks)
        self.fleet.exit(self.label_of(self.fleet.kernel.state.tasks[task_id], task_id)[0])
        self.fleet.pass_time(1)

    def compare(self) -> None:
        """A kernel made from the rows would decide the same."""
        with self.shelf.store.load() as snapshot:
            other = self.fleet.restored(snapshot)
        for name, job_queue in self.fleet.kernel.state.queues.items():
            restored = other.state.queues[name]
            if job_queue.fair is None or restored.fair is None or job_queue.unplaceable or restored.unplaceable:
                continue
            orders = [
                [(turn.job.id, turn.child) for turn in fair_share_lines.in_order(lines, self.fleet.now)]
                for lines in (job_queue.fair, restored.fair)
            ]
            assert orders[0] == orders[1], "the order is another after a restart"

    def restart(self) -> None:
        self.fleet.pass_time(0.01)  # A server does not start twice in a millisecond.
        with self.shelf.store.load() as snapshot:
            self.fleet.restart(snapshot)

    def come_to_rest(self) -> None:
        self.fleet.pass_time(1)
        while self.fleet.kernel.state.environments["spot"].detail.status == "UPDATING":
            self.end_one()
        self.fleet.change_environment("spot", state="ENABLED", resources={"max_vcpus": 8})
        for name in DECAY:
            arn = self.fleet.kernel.state.scheduling_policies[name].arn or ""
            plain = shapes.FairsharePolicy(share_decay_seconds=DECAY[name])
            request = shapes.UpdateSchedulingPolicyRequest(arn=arn, fairshare_policy=plain)
            self.fleet.tell(UpdateSchedulingPolicy(request))
        while self.fleet.kernel.state.tasks:
            self.end_one()
        assert self.fleet.kernel.state.jobs == {}
        self.compare()
        self.fleet.pass_time(701)
        for job_queue in self.fleet.kernel.state.queues.values():
            if job_queue.fair is not None:
                job_queue.fair.fair_share.move(self.fleet.now)
                assert job_queue.fair.fair_share.accounts == {}, "a share is active that has had nothing for so long"


@pytest.mark.parametrize("seed", [*range(12), 21, 23, 38, 90])
def test_a_life(tmp_path: Path, seed: int) -> None:
    shelf = Shelf(tmp_path / "batchyard.db")
    try:
        Life(shelf, seed).live()
    finally:
        shelf.close()
