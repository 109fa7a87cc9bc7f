"""What holds for whole runs, whatever the workload. The invariants (nothing is over-committed, every counter is right) are
re-derived after every step, see `whole_run.py`.

`HYPOTHESIS_PROFILE=thorough` looks fifty times longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from container_quota_story import BORROW, ContainerQuotaStory
from fleet_story import Fleet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from story import Story
from whole_run import BEGINS_AFTER, ENDS_AFTER, SECOND, Fate, Run, Work

from batchyard.kernel import kernel as kernel_module
from batchyard.kernel.commands import CreateSchedulingPolicy
from batchyard.kernel.effects import Effects
from batchyard.kernel.placement import CAPACITY_TAG
from batchyard.kernel.records import Ending, Job, Status
from batchyard.kernel.reservations import Reservation, reserve
from batchyard.kernel.state import State
from batchyard.shapes import batch as shapes

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SHARES = ("A", "B", "UserC1", "UserC2")
LARGEST = 8
"""vCPU of the largest instance type."""


def few(examples: int) -> Callable[[Any], Any]:
    """The same examples in every run."""
    return settings(
        max_examples=examples * (50 if THOROUGH else 1),
        deadline=None,
        derandomize=not THOROUGH,
        suppress_health_check=[HealthCheck.too_slow],
    )


SEEDS = st.integers(0, 10**6)
CAPACITIES = st.sampled_from(["slices", "instances", "spot"])


def story_of(capacity: str, seed: int, *, vcpus: int = 16) -> Story:
    """A machine twice as large as the environment `ce` may be; `q` is a queue with fair share, `fifo` one without."""
    chance = Random(seed)
    story = Fleet(
        vcpus=2 * vcpus,
        memory=32_768 * vcpus,
        boot_seconds=chance.choice([0, 0, 45]),
        launch_failure_rate=chance.choice([0, 0.2]),
        spot_interruptions_an_hour=1,
        seed=seed,
    )
    if capacity == "slices":
        slices(story, "ce", vcpus)
    else:
        kind, strategy = ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED") if capacity == "spot" else ("EC2", None)
        types = ["c6i.large", "c6i.xlarge", "c6i.2xlarge"]
        strategy = strategy or chance.choice(["BEST_FIT", "BEST_FIT_PROGRESSIVE"])
        story.environment("ce", kind=kind, types=types, max_vcpus=vcpus, strategy=strategy)
    fair_queue(story, "q", ["ce"], chance)
    story.queue("fifo", ["ce"])
    return story


def slices(story: Story, name: str, vcpus: int) -> None:
    """An environment that gives each job a slice of the machine."""
    story.environment(name, max_vcpus=vcpus, tags={CAPACITY_TAG: "slices"})


def fair_queue(story: Story, name: str, environments: list[str], chance: Random) -> None:
    weights = [("A", chance.choice([0.25, 1.0, 3.0])), ("UserC*", chance.choice([0.5, 1.0]))]
    policy = shapes.FairsharePolicy(
        share_decay_seconds=chance.choice([0, 3600]),
        compute_reservation=chance.choice([0, 0, 25]),
        share_distribution=[shapes.ShareAttributes(share_identifier=share, weight_factor=w) for share, w in weights],
    )
    request = shapes.CreateSchedulingPolicyRequest(name=f"policy-{name}", fairshare_policy=policy)
    story.queue(name, environments, scheduling_policy_arn=story.tell(CreateSchedulingPolicy(request)).arn)


def random_work(chance: Random, queue: str, *, over: float) -> Work:
    """A job that is submitted within so many seconds."""
    single = chance.random() < 0.85
    return Work(
        at=round(chance.uniform(0, over), 3),
        seconds=round(chance.uniform(1, 120), 3),
        vcpus=chance.choice([1, 1, 1, 2, 4, 8]),
        memory=chance.choice([128, 1024, 4096]),
        queue=queue,
        share=chance.choice(SHARES) if queue != "fifo" else None,
        priority=chance.choice([None, 1, 9]) if queue != "fifo" else None,
        timeout=chance.choice([None, 60, 200]),
        size=None if single else chance.randint(2, 6),
        failures=chance.choice([0, 0, 1]),
    )


def run_of(
    capacity: str, seed: int, queues: tuple[str, ...], *, jobs: int = 40, hook: Callable[[Run], None] | None = None
) -> Run:
    chance = Random(seed)
    work = [random_work(chance, chance.choice(queues), over=600) for _ in range(jobs)]
    run = Run(story_of(capacity, seed), work)
    if hook is not None:
        hook(run)
    run.run()
    return run


@few(25)
@given(SEEDS, CAPACITIES, st.sampled_from([("fifo",), ("q",), ("q", "fifo")]))
def test_every_job_ends_and_the_limits_are_kept(seed: int, capacity: str, queues: tuple[str, ...]) -> None:
    """`maxvCpus` may be exceeded by one instance at most, and by BEST_FIT not at all."""

    def watch(run: Run) -> None:
        environment = run.kernel.state.environments["ce"]
        resources = environment.detail.compute_resources
        assert resources is not None
        crossing = resources.allocation_strategy not in (None, "BEST_FIT")

        def look(_: Effects) -> None:
            assert environment.used.milli_vcpus <= environment.max_milli_vcpus + crossing * 1000 * (LARGEST - 1)
            most = resources.max_vcpus + crossing * (LARGEST - 1)
            assert environment.vcpus <= most, "more than one instance too many"

        run.after_step.append(look)

    run = run_of(capacity, seed, queues, hook=watch)
    assert all(fate.ended_at is not None for fate in run.fates.values())
    assert all(fate.starts for fate in run.fates.values())
    assert run.kernel.state.tasks == {}


# Nobody starves


@few(8)
@given(SEEDS, CAPACITIES, st.sampled_from([1, 2, 4]))
def test_a_large_job_does_not_wait_for_ever_behind_small_ones(seed: int, capacity: str, small: int) -> None:
    """A and B have more small jobs than there is room for, at any time. The job of `Large` needs half of all; its share has had
    nothing, so it is next, and waits no longer than for what runs when it comes (and for an instance to boot, and to be let go
    or taken away before)."""
    chance = Random(seed)
    story = story_of(capacity, seed)
    flood = [
        Work(at=at, seconds=round(chance.uniform(5, 60), 3), vcpus=small, share=chance.choice("AB"), failures=0)
        for at in range(0, 400, 2)
        for _ in range(2)
    ]
    large = [Work(at=120, vcpus=8, seconds=30, share="Large")]
    run = Run(story, flood + large, check_every=5)
    run.run(until=1200)
    [fate] = [fate for fate in run.fates.values() if fate.work.share == "Large"]
    assert fate.starts, "it starves"
    assert fate.waited <= 60 + 2 * 45 + 60 + 5
    run.run()


@few(5)
@given(SEEDS, st.sampled_from(["slices", "instances"]))
def test_large_jobs_of_a_share_that_goes_on_have_their_turns(seed: int, capacity: str) -> None:
    """Three shares of the same weight: a third of 16 vCPU is more than `Large` asks for."""
    chance = Random(seed)
    story = story_of(capacity, seed)
    equal = shapes.CreateSchedulingPolicyRequest(name="equal")
    story.queue("equal", ["ce"], scheduling_policy_arn=story.tell(CreateSchedulingPolicy(equal)).arn)
    flood = [
        Work(
            at=2.5 * number, seconds=round(chance.uniform(5, 60), 3), vcpus=2, share=chance.choice("AB"), queue="equal"
        )
        for number in range(400)
    ]
    large = [Work(at=100 * number, vcpus=8, seconds=60, share="Large", queue="equal") for number in range(10)]
    run = Run(story, flood + large, check_every=50)
    run.run(until=1600)
    fates = [fate for fate in run.fates.values() if fate.work.share == "Large"]
    assert all(fate.starts for fate in fates), "some starve"
    assert max(fate.waited for fate in fates) < 900
    run.run()


# The head of a queue is never delayed


@few(25)
@given(SEEDS, st.sampled_from(["slices", "instances"]))
def test_backfill_never_delays_the_reserved_start(seed: int, capacity: str) -> None:
    """In a queue that has its machine for itself, and in which nothing is tried again. All jobs have time limits, which some
    of them would exceed."""
    chance = Random(seed)
    story = Fleet(vcpus=16, memory=262_144, idle_seconds=10_000)
    if capacity == "slices":
        slices(story, "ce", 16)
    else:
        story.environment("ce", types=["c6i.2xlarge"], max_vcpus=16, min_vcpus=16)
    story.queue("q", ["ce"])
    work = [
        Work(
            at=round(chance.uniform(0, 600), 3),
            seconds=round(chance.uniform(1, 150), 3),
            vcpus=chance.choice([1, 2, 3, 5, 7]),
            memory=chance.choice([128, 1024]),
            timeout=chance.choice([60, 90, 150]),
        )
        for _ in range(80)
    ]
    run = Run(story, work)
    promises: dict[str, int] = {}

    def note(state: State, job: Job, now: int) -> Reservation | None:
        reservation = reserve(state, job, now)
        if reservation is not None and reservation.at is not None:
            promises.setdefault(job.id, reservation.at)
        return reservation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_module, "reserve", note)
        run.run()
    for job_id, promised in promises.items():
        assert run.fates[job_id].starts[0] <= promised, "somebody who came later has delayed it"


def test_promises_are_made_and_jobs_pass() -> None:
    """The property above says something: in such a run jobs overtake, and heads have a reserved start."""
    story = Fleet(vcpus=8)
    slices(story, "ce", 8)
    story.queue("q", ["ce"])
    run = Run(
        story,
        [
            Work(vcpus=6, seconds=100, timeout=120),
            Work(at=1, vcpus=8, seconds=10, timeout=60),
            Work(at=2, vcpus=2, seconds=20, timeout=60),
        ],
    )
    run.run()
    first, head, passing = run.fates.values()
    assert passing.starts[0] < head.starts[0]
    assert head.starts[0] == (first.ended_at or 0)


# Weights


@few(4)
@given(
    SEEDS,
    st.sampled_from(["slices", "instances"]),
    st.dictionaries(st.sampled_from("ABCD"), st.sampled_from([0.25, 0.5, 1.0, 2.0]), min_size=2),
)
def test_weights_converge(seed: int, capacity: str, weights: dict[str, float]) -> None:
    """Shares whose jobs never run out have what they are entitled to of the vCPU-seconds after an hour."""
    chance = Random(seed)
    story = Fleet(vcpus=32, memory=262_144)
    if capacity == "slices":
        slices(story, "ce", 32)
    else:
        story.environment("ce", types=["c6i.xlarge"], max_vcpus=32)
    entries = [shapes.ShareAttributes(share_identifier=share, weight_factor=w) for share, w in weights.items()]
    request = shapes.CreateSchedulingPolicyRequest(
        name="fair", fairshare_policy=shapes.FairsharePolicy(share_distribution=entries)
    )
    story.queue("q", ["ce"], scheduling_policy_arn=story.tell(CreateSchedulingPolicy(request)).arn)
    run = Run(story, check_every=200)
    used: Counter[str] = Counter()

    def again(fate: Fate) -> None:
        share = fate.work.share or ""
        used[share] += fate.work.vcpus * round((fate.ended_at or 0) - fate.starts[0])
        submit(share)

    def submit(share: str) -> None:
        work = Work(seconds=round(chance.uniform(5, 90), 3), vcpus=chance.choice([1, 2, 4]), share=share)
        run.at(run.now, lambda: run.submit(work) and None)

    run.on_end.append(again)
    for share in weights:
        for _ in range(36):
            submit(share)
    run.run(until=3600)
    total = sum(1 / weight for weight in weights.values())
    entitled = {share: 1 / weight / total for share, weight in weights.items()}
    had = {share: used[share] / used.total() for share in weights}
    assert had == pytest.approx(entitled, abs=0.03)


# Preemption


@few(15)
@given(SEEDS)
def test_nobody_is_preempted_without_a_higher_claim(seed: int) -> None:
    """Across shares only who uses more than their share's own capacity, for somebody who stays within theirs; within a share
    only who has a lower priority than somebody who waits."""
    chance = Random(seed)
    story = ContainerQuotaStory(vcpus=12)
    for name in "abc":
        story.share(name, BORROW, in_share=chance.choice(["ENABLED", "DISABLED"]), vcpu=4)
    work = [
        Work(
            at=round(chance.uniform(0, 300), 3),
            seconds=round(chance.uniform(5, 100), 3),
            vcpus=chance.choice([1, 2, 3]),
            share=chance.choice("abc"),
            priority=chance.choice([None, 1, 5]),
        )
        for _ in range(60)
    ]
    run = Run(story, work)
    seen: set[str] = set()

    def look(_: Effects) -> None:
        state = run.kernel.state
        queue = state.queues["q"]
        used = {name: share.used["VCPU"] for name, share in queue.quota_shares.items()}
        wait = [job for job in state.jobs.values() if job.status is Status.RUNNABLE]
        for task_id, job in state.tasks.items():
            if job.task is None or job.task.ending is not Ending.PREEMPTED or task_id in seen:
                continue
            seen.add(task_id)
            share = job.share or ""
            in_share = any(other.share == share and (other.priority or 0) > (job.priority or 0) for other in wait)
            across = used[share] > 4000 and any(other.share != share for other in wait)
            if "In-share" in job.task.ending_reason:
                assert in_share, f"{job.name} had the highest priority"
                detail = queue.quota_shares[share].detail.preemption_configuration
                assert detail is not None
                assert detail.in_share_preemption == "ENABLED"
            else:
                assert across, f"share {share} uses {used[share]} of its own 4,000"

    run.after_step.append(look)
    run.run()
    assert all(fate.status is Status.SUCCEEDED for fate in run.fates.values())


# The same seed


def mixed_run(seed: int) -> Run:
    """Two environments with instances and one with slices; queues of every kind."""
    chance = Random(seed)
    story = story_of(chance.choice(["instances", "spot"]), seed)
    slices(story, "slices", 8)
    fair_queue(story, "both", ["ce", "slices"], chance)
    work = [random_work(chance, chance.choice(["q", "fifo", "both"]), over=900) for _ in range(120)]
    run = Run(story, work, check_every=10)
    run.run()
    return run


@few(4)
@given(SEEDS)
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    one, other = mixed_run(seed), mixed_run(seed)
    assert one.fingerprint == other.fingerprint
    assert one.elapsed == other.elapsed


def test_another_seed_gives_another_run() -> None:
    assert mixed_run(1).fingerprint != mixed_run(2).fingerprint


def test_the_run_does_not_depend_on_the_hashes_of_the_process() -> None:
    """Two processes that order sets of texts differently."""
    here = Path(__file__).parent
    script = "import sys; sys.path.insert(0, sys.argv[1]); import conftest; from test_whole_runs import mixed_run"
    command = [sys.executable, "-c", f"{script}; print(mixed_run(7).fingerprint)", str(here)]
    printed = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hashes}, cwd=here, capture_output=True, text=True, check=True
        ).stdout
        for hashes in ("0", "1", "4711")
    }
    assert printed == {f"{mixed_run(7).fingerprint}\n"}


def test_time_passes_as_the_driver_says() -> None:
    story = Fleet()
    slices(story, "ce", 16)
    story.queue("q", ["ce"])
    run = Run(
        story, [Work(at=5, seconds=10), Work(at=6, seconds=10, timeout=60, failures=2), Work(seconds=99, timeout=60)]
    )
    run.run()
    late, tried, stopped = sorted(run.fates.values(), key=lambda fate: fate.work.seconds + fate.work.failures)
    assert late.ended_at == run.began_at + 15 * SECOND + BEGINS_AFTER
    assert len(tried.starts) == 3
    assert (tried.status, stopped.status) == (Status.SUCCEEDED, Status.FAILED)
    assert stopped.ended_at == run.began_at + 60 * SECOND + BEGINS_AFTER + ENDS_AFTER
