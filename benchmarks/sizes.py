"""How much of everything a run does."""

from __future__ import annotations

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a full run, by default."""

    throughput_jobs: int = 10_000
    throughput_rounds: int = 3
    starts: int = 200
    submissions: int = 4_000
    submission_rounds: int = 3
    commits: int = 1_000
    array_size: int = 10_000
    array_submissions: int = 20
    simulated_jobs: int = 1_000_000
    simulated_instances: int = 10_000
    queued: tuple[int, int, int] = (1_000, 100_000, 1_000_000)
    """Single jobs in the queue when the server's memory is looked at."""
    arrays: int = 500
    """Arrays of `array_size` whose memory is looked at together: enough to use up what the server has free at first."""

    packing_workloads: int = 20
    packing_jobs: int = 2_000
    """Of each workload."""
    packing_rooms: tuple[int, int] = (10, 10_000)
    """Instances among which the best is looked for."""

    fairness_seconds: int = 3600
    pass_jobs: tuple[int, int, int] = (10_000, 100_000, 1_000_000)
    """RUNNABLE when a scheduling pass is measured."""
    pass_instances: tuple[int, int, int] = (10, 1_000, 10_000)
    pass_shapes: tuple[int, int, int] = (1, 10, 100)
    pass_rounds: int = 20


FULL = Sizes()

QUICK = Sizes(
    throughput_jobs=60,
    throughput_rounds=1,
    starts=5,
    submissions=80,
    submission_rounds=1,
    commits=20,
    array_size=1_000,
    array_submissions=3,
    simulated_jobs=500,
    simulated_instances=10,
    queued=(50, 100, 200),
    arrays=3,
    packing_workloads=2,
    packing_jobs=60,
    packing_rooms=(2, 20),
    fairness_seconds=120,
    pass_jobs=(200, 400, 800),
    pass_instances=(2, 4, 8),
    pass_shapes=(1, 2, 4),
    pass_rounds=2,
)
"""Whether everything still works; the numbers mean nothing."""
