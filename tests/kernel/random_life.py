"""A kernel and the reference model living through the same events; after each of them the two must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_model import ENDED, TIMED_OUT, Model, Unit
from story import Story

from batchyard.kernel.effects import Effects
from batchyard.kernel.identifiers import instance_id_of
from batchyard.kernel.stored import Snapshot

ENVIRONMENTS = {"wide": 3, "narrow": 1}
QUEUES = {"q": ["narrow", "wide"], "fast": ["wide"]}
PRIORITIES = {"q": 1, "fast": 5}
MEMORY = 1024


class Life:
    """Three processors, two compute environments, two queues."""

    def __init__(self, save: Callable[[Effects], None] | None = None) -> None:
        self.story = Story(vcpus=3, memory=MEMORY, bare=True, save=save)
        self.model = Model(3, MEMORY, ENVIRONMENTS, QUEUES)
        self.in_agreement = True
        self.story.definition("work")
        for name, limit in ENVIRONMENTS.items():
            self.story.environment(name, max_vcpus=limit)
        for name, environments in QUEUES.items():
            self.story.queue(name, environments, priority=PRIORITIES[name])

    # Events

    def submit(self, name: str, queue: str, **members: Any) -> None:
        self.in_agreement = False
        self.model.submit(name, queue, **members)
        evaluate = []
        if members["retry_timeout"]:
            evaluate.append({"onStatusReason": TIMED_OUT, "action": "RETRY"})
        evaluate += [{"onExitCode": str(code), "action": "EXIT"} for code in members["retry_codes"] or ()]
        self.story.submit(
            name,
            queue=queue,
            array=members["size"],
            vcpus=members["vcpus"],
            memory=members["memory"],
            attempts=members["attempts"],
            evaluate=evaluate,
            timeout=members["timeout"],
            after=members["after"],
            n_to_n=members["n_to_n"],
            sequential=members["sequential"],
        )
        self.agree()

    def end(self, name: str, reason: str, *, terminate: bool) -> None:
        self.in_agreement = False
        self.model.end(name, reason, terminate=terminate)
        (self.story.terminate if terminate else self.story.cancel)(name, reason)
        self.agree()

    def begin(self, name: str) -> None:
        self.in_agreement = False
        self.model.begin(name, self.story.now)
        self.story.begin(name)
        self.agree()

    def exit(self, name: str, code: int | None, *, began: bool) -> None:
        self.in_agreement = False
        self.model.exit(name, code, began=began)
        self.story.exit(name, code, started=began)
        self.agree()

    def lose(self, name: str) -> None:
        self.in_agreement = False
        text = f"Host EC2 (instance {instance_id_of('local')}) terminated."
        self.model.exit(name, None, began=False, lost=text)
        self.story.lose(name)
        self.agree()

    def unknown(self, name: str) -> None:
        self.in_agreement = False
        again = self.model.unknown(name)
        attempt = self.model.unit(name).begun
        self.story.unknown(name)
        if again:
            order = f"{name}#{attempt}"
            given = self.story.given("start")
            assert given[0] == order, "the same attempt is ordered again"
            self.story._orders = [f"start {other}" for other in given[1:]] + self.story._orders
        self.agree()

    def give_back(self, name: str) -> None:
        self.in_agreement = False
        self.model.recalled(name)
        self.story.give_back(name)
        self.agree()

    def enable(self, environment: str, enabled: bool) -> None:
        self.in_agreement = False
        self.model.environments[environment].enabled = enabled
        self.story.change_environment(environment, state="ENABLED" if enabled else "DISABLED")
        self.model.pass_time(self.story.now)
        self.agree()

    def limit(self, environment: str, max_vcpus: int) -> None:
        self.in_agreement = False
        self.model.environments[environment].max_vcpus = max_vcpus
        self.story.change_environment(environment, max_vcpus=max_vcpus)
        self.model.pass_time(self.story.now)
        self.agree()

    def enable_queue(self, queue: str, enabled: bool) -> None:
        self.in_agreement = False
        (self.model.disabled_queues.discard if enabled else self.model.disabled_queues.add)(queue)
        self.story.change_queue(queue, state="ENABLED" if enabled else "DISABLED")
        self.model.pass_time(self.story.now)
        self.agree()

    def pass_time(self, seconds: float) -> None:
        self.in_agreement = False
        self.story.pass_time(seconds)
        self.model.pass_time(self.story.now)
        self.agree()

    def restart(self, snapshot: Snapshot) -> None:
        self.in_agreement = False
        self.story.restart(snapshot)
        self.model.stops = [unit.name for unit in self.model.active() if unit.ending is not None]
        self.agree()

    # Agreement

    def agree(self) -> None:
        """Plays the kernel's starts to the model, which says whether they were legal, and compares the two."""
        for order in self.story.given("start"):
            name, _, attempt = order.rpartition("#")
            task = self.story.jobs[name].task
            assert task is not None
            self.model.start(name, int(attempt), task.environment)
        assert self.model.could_start() == [], "somebody could start and was left waiting"
        stopped = [order.rpartition("#")[0] for order in self.story.given("stop")]
        expected, self.model.stops = self.model.stops, []
        assert sorted(stopped) == sorted(expected)
        self.model.check()
        for job in self.model.jobs:
            assert self.story.status(job.name) == job.status, job.name
            if job.array:
                assert self.story.summary(job.name) == _count(job.units), job.name
                if job.status == "FAILED":
                    assert _same_end(self.story.reason(job.name), job.reason), job.name
            for unit in job.units:
                self._agree_on(unit)
        self.in_agreement = True

    def _agree_on(self, unit: Unit) -> None:
        assert self.story.status(unit.name) == unit.status, unit.name
        record = self.story.jobs.get(unit.name)
        assert (record.attempt if record else 0) == unit.begun, unit.name
        assert (self.story.attempts(unit.name) if record else []) == unit.ended, unit.name
        if unit.status in ENDED:
            assert self.story.reason(unit.name) == unit.reason, unit.name

    def finish(self) -> None:
        """Everything comes to an end, as long as somebody lets it run."""
        for name in ENVIRONMENTS:
            self.enable(name, True)
        for _ in range(1000):
            active = self.model.active()
            if not active:
                break
            self.exit(active[0].name, 0, began=True)
        for job in self.model.jobs:
            if job.status not in ENDED:
                self.end(job.name, "never fits", terminate=True)
        assert self.story.kernel.state.jobs == {}
        assert self.story.kernel.state.tasks == {}


def _count(units: list[Unit]) -> dict[str, int]:
    statuses = [unit.status for unit in units]
    return {status: statuses.count(status) for status in statuses}


def _same_end(one: str | None, other: str | None) -> bool:
    """When an array waits for another both as a whole and child by child, either may be told first."""
    ends = ("Dependent Job failed", "Array Child Job failed")
    return one == other or (one in ends and other in ends)
