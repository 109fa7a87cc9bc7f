"""Random lives: the kernel and the reference model must agree after every event, and a restart from the store at any moment
must change nothing.

`HYPOTHESIS_PROFILE=thorough` looks fifty times longer.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from random_life import ENVIRONMENTS, QUEUES, Life
from reference_model import WAITING

from batchyard.kernel.effects import Effects
from batchyard.store.store import Store

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
pytestmark = [pytest.mark.long, pytest.mark.timeout(7200 if THOROUGH else 300)]
CODES = (1, 2, 137)


def profile(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples * (50 if THOROUGH else 1),
        stateful_step_count=80 if THOROUGH else 50,
        deadline=None,
        print_blob=True,
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


class KernelLife(RuleBasedStateMachine):
    """What callers, engines and time may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.life = self.make_life()
        self.submitted = 0

    def make_life(self) -> Life:
        return Life()

    @property
    def open_queues(self) -> list[str]:
        return [queue for queue in QUEUES if queue not in self.life.model.disabled_queues]

    @precondition(lambda self: self.open_queues and self.submitted < 12)
    @rule(data=st.data())
    def submit(self, data: st.DataObject) -> None:
        jobs = self.life.model.jobs
        size = data.draw(st.sampled_from([None, 2, 3, 3, 3, 6]), "size")
        names = [job.name for job in jobs] + [unit.name for job in jobs if job.array for unit in job.units]
        after = data.draw(st.lists(st.sampled_from(names), max_size=2), "after") if names else []
        partners = [job.name for job in jobs if job.array and len(job.units) == size]
        n_to_n = data.draw(st.lists(st.sampled_from(partners), max_size=2, unique=True), "n_to_n") if partners else []
        rules = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(CODES), max_size=2, unique=True)), "rules")
        self.submitted += 1
        self.life.submit(
            f"j{self.submitted}",
            data.draw(st.sampled_from(self.open_queues), "queue"),
            size=size,
            vcpus=data.draw(st.sampled_from([1, 1, 1, 2, 3, 4]), "vcpus"),
            memory=data.draw(st.sampled_from([128, 128, 600, 2000]), "memory"),
            attempts=data.draw(st.integers(1, 3), "attempts"),
            retry_codes=tuple(rules) if rules else None,
            timeout=data.draw(st.sampled_from([None, None, 60, 120]), "timeout"),
            retry_timeout=data.draw(st.booleans(), "retry_timeout"),
            after=after,
            n_to_n=n_to_n,
            sequential=size is not None and data.draw(st.booleans(), "sequential"),
        )

    def _starting(self) -> list[str]:
        return [unit.name for unit in self.life.model.units() if unit.status == "STARTING"]

    def _active(self) -> list[str]:
        return [unit.name for unit in self.life.model.active()]

    @precondition(lambda self: self._starting())
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.life.begin(data.draw(st.sampled_from(self._starting())))

    @precondition(lambda self: self._active())
    @rule(data=st.data(), code=st.sampled_from([0, 0, 0, *CODES]))
    def exit(self, data: st.DataObject, code: int) -> None:
        self.life.exit(data.draw(st.sampled_from(self._active())), code, began=True)

    @precondition(lambda self: self._starting())
    @rule(data=st.data())
    def fail_to_begin(self, data: st.DataObject) -> None:
        self.life.exit(data.draw(st.sampled_from(self._starting())), None, began=False)

    @precondition(lambda self: self._active())
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.life.lose(data.draw(st.sampled_from(self._active())))

    @precondition(lambda self: self._starting())
    @rule(data=st.data())
    def unknown(self, data: st.DataObject) -> None:
        self.life.unknown(data.draw(st.sampled_from(self._starting())))

    @precondition(lambda self: self._starting())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self.life.give_back(data.draw(st.sampled_from(self._starting())))

    @precondition(lambda self: self.life.model.jobs)
    @rule(data=st.data(), terminate=st.booleans(), reason=st.sampled_from(["one", "two"]))
    def end_job(self, data: st.DataObject, terminate: bool, reason: str) -> None:
        names = [job.name for job in self.life.model.jobs]
        self.life.end(data.draw(st.sampled_from(names)), reason, terminate=terminate)

    @precondition(lambda self: any(job.array for job in self.life.model.jobs))
    @rule(data=st.data(), terminate=st.booleans(), reason=st.sampled_from(["one", "two"]))
    def end_child(self, data: st.DataObject, terminate: bool, reason: str) -> None:
        names = [unit.name for job in self.life.model.jobs if job.array for unit in job.units]
        self.life.end(data.draw(st.sampled_from(names)), reason, terminate=terminate)

    @rule(seconds=st.sampled_from([0.001, 1, 59, 61]))
    def pass_time(self, seconds: float) -> None:
        self.life.pass_time(seconds)

    @rule(environment=st.sampled_from(sorted(ENVIRONMENTS)), enabled=st.booleans())
    def enable_environment(self, environment: str, enabled: bool) -> None:
        self.life.enable(environment, enabled)

    @rule(environment=st.sampled_from(sorted(ENVIRONMENTS)), max_vcpus=st.integers(1, 3))
    def limit_environment(self, environment: str, max_vcpus: int) -> None:
        self.life.limit(environment, max_vcpus)

    @rule(queue=st.sampled_from(sorted(QUEUES)), enabled=st.booleans())
    def enable_queue(self, queue: str, enabled: bool) -> None:
        self.life.enable_queue(queue, enabled)

    @precondition(lambda self: any(unit.status in WAITING for unit in self.life.model.units()))
    @rule()
    def explain(self) -> None:
        """Whatever waits can be explained, in one sentence at least."""
        for unit in self.life.model.units():
            if unit.status in WAITING:
                assert self.life.story.why(unit.name).text.endswith(".")

    def teardown(self) -> None:
        if self.life.in_agreement:  # else the failure of a step is on its way
            self.life.finish()


class StoredLife(KernelLife):
    """The same with a store: at any moment the server may be started again."""

    def make_life(self) -> Life:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.store = Store(Path(self.folder.name) / "test.db")
        self.store.open()
        return Life(self.save)

    def save(self, effects: Effects) -> None:
        if effects.durable:
            self.loop.run_until_complete(self.store.save(effects))

    @invariant()
    def what_was_saved_is_what_there_is(self) -> None:
        if self.life.in_agreement:
            with self.store.load() as snapshot:
                self.life.story.restored(snapshot)

    @rule()
    def restart(self) -> None:
        """The server goes on from what was saved."""
        with self.store.load() as snapshot:
            self.life.restart(snapshot)

    def teardown(self) -> None:
        try:
            if self.life.in_agreement:
                self.restart()
                super().teardown()
                self.restart()
        finally:
            self.store.close()
            self.loop.close()
            self.folder.cleanup()


TestKernelLife: Any = KernelLife.TestCase
TestKernelLife.settings = profile(250)
TestStoredLife: Any = StoredLife.TestCase
TestStoredLife.settings = profile(50)
