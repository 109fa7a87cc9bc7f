"""Random lives of instances and hosts, with restarts in between: invariants hold after every step (the story sees to that), a
restart changes nothing that can be observed, and in the end all jobs are over and what was not kept is gone."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fleet_story import Fleet
from shelf import Shelf

from batchyard.kernel.commands import DeregisterHost, InterruptInstance, UpdateHost
from batchyard.kernel.refusal import Refusal

QUEUES = {"q": "ce", "spot": "spot", "lab": "lab"}
"""And their environments; `q` and `ce` are those that a shelf begins with."""
STEPS = 60


class Life:
    """One random life."""

    def __init__(self, shelf: Shelf, seed: int) -> None:
        self.random = Random(seed)
        self.shelf = shelf
        boot = self.random.choice((0.0, 0.0, 20.0))
        self.fleet = Fleet(
            vcpus=12, memory=65_536, save=shelf.save, seed=seed, boot_seconds=boot, launch_failure_rate=0.1
        )
        self.fleet.environment("ce", types=["c6i", "m6i"], max_vcpus=8, min_vcpus=2 * (seed % 2))
        self.fleet.environment("spot", kind="SPOT", types=["c6i"], max_vcpus=8, strategy="SPOT_CAPACITY_OPTIMIZED")
        self.fleet.unmanaged("lab")
        for queue, environment in QUEUES.items():
            self.fleet.queue(queue, [environment])
        self.submitted = 0
        self.running: list[str] = []

    def live(self) -> None:
        steps = (
            self._submit,
            self._submit,
            self._end,
            self._end,
            self._wait,
            self._interrupt,
            self._host,
            self._update,
        )
        for number in range(STEPS):
            self.random.choice(steps)()
            if number % 20 == 19:
                self._restart()
        self._finish()

    def _tasks(self) -> list[str]:
        return sorted(self.fleet.label(job.id) for job in self.fleet.kernel.state.tasks.values())

    def _submit(self) -> None:
        self.submitted += 1
        self.fleet.submit(
            f"J{self.submitted}",
            queue=self.random.choice(list(QUEUES)),
            vcpus=self.random.choice((1, 1, 2, 4)),
            memory=self.random.choice((256, 2048)),
            attempts=self.random.choice((1, 3)),
        )

    def _end(self) -> None:
        tasks = self._tasks()
        if tasks:
            label = self.random.choice(tasks)
            self.fleet.exit(label, self.random.choice((0, 0, 1, 143)))

    def _wait(self) -> None:
        self.fleet.pass_time(self.random.choice((0.5, 10, 70, 130)))

    def _interrupt(self) -> None:
        launched = [each.id for each in self.fleet.launched if each.detail and each.detail.name is None]
        if launched:
            self.fleet.tell(InterruptInstance(self.random.choice(launched), force=True))

    def _host(self) -> None:
        hosts = sorted(self.fleet.hosts())
        name = self.random.choice(("lab-1", "lab-2", "lab-3"))
        try:
            if name not in hosts:
                self.fleet.register(name, environment="lab", vcpus=self.random.choice((1, 2, 4)), memory=4096)
            elif self.random.random() < 0.5:
                self.fleet.tell(UpdateHost(name, self.random.choice(("ACTIVE", "DRAINING"))))
            else:
                self.fleet.tell(DeregisterHost(name, force=self.random.random() < 0.5))
        except Refusal:
            pass  # No room, or it is being removed: the story goes on.

    def _update(self) -> None:
        name = self.random.choice(("ce", "spot"))
        if self.fleet.kernel.state.environments[name].detail.status == "VALID":
            types = self.random.choice((["c6i"], ["c6i", "m6i"], ["m6i"]))
            self.fleet.change_environment(name, resources={"instance_types": types})

    def _restart(self) -> None:
        self.fleet.pass_time(0.01)  # A server does not start twice in a millisecond.
        with self.shelf.store.load() as snapshot:
            self.fleet.restart(snapshot)

    def _finish(self) -> None:
        self.fleet.change_environment("lab", state="ENABLED")
        for name in sorted(self.fleet.hosts()):
            self.fleet.tell(DeregisterHost(name, force=True))
        while tasks := self._tasks():
            self.fleet.exit(tasks[0])
            self.fleet.pass_time(1)
        left = [job.id for job in self.fleet.kernel.state.jobs.values()]
        for job_id in left:
            self.fleet.terminate(job_id)
        self.fleet.pass_time(1000)
        assert self.fleet.hosts() == {}
        resources = self.fleet.kernel.state.environments["ce"].detail.compute_resources
        assert resources is not None
        sizes = [each.detail.vcpus for each in self.fleet.launched if each.detail]
        assert all(sum(sizes) - size < (resources.min_vcpus or 0) for size in sizes), "what is idle has been let go"
        assert all(each.detail.environment == "ce" for each in self.fleet.launched if each.detail)


@pytest.mark.parametrize("seed", range(30))
def test_a_random_life(tmp_path: Path, seed: int) -> None:
    shelf = Shelf(tmp_path / "batchyard.db")
    try:
        Life(shelf, seed).live()
    finally:
        shelf.close()
