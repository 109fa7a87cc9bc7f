"""Whole random runs with every invariant of the kernel checked after each step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from site_files import Ended, environment, file_of, queue, work

from batchyard.kernel.invariants import check_invariants
from batchyard.kernel.kernel import Kernel
from batchyard.simulator.report import report_of
from batchyard.simulator.simulation import Simulation

MOST = 8
ONE = st.tuples(
    st.floats(0, 300),
    st.floats(0, 200),
    st.sampled_from((1, 2)),
    st.sampled_from((512, 2048)),
    st.sampled_from(("first", "second")),
    st.sampled_from((1, 1, 1, 3)),
    st.sampled_from((0.0, 0.0, 0.5)),
    st.sampled_from((None, 60)),
)


@settings(max_examples=40, deadline=None)
@given(
    jobs=st.lists(ONE, max_size=14),
    seed=st.integers(0, 3),
    boot=st.sampled_from((0, 20)),
    reclaims=st.sampled_from((0, 20)),
    machines=st.sampled_from(([], [{"vcpus": 4, "memoryMiB": 16_384}])),
)
def test_nothing_is_lost_and_no_limit_is_passed(
    jobs: list[tuple[float, float, int, int, str, int, float, int | None]],
    seed: int,
    boot: int,
    reclaims: int,
    machines: list[dict[str, int]],
) -> None:
    def look(kernel: Kernel, _now: int) -> None:
        check_invariants(kernel.state)
        for each in kernel.state.environments.values():
            assert 1000 * each.vcpus <= each.max_milli_vcpus
        for instance in kernel.state.instances.values():
            assert instance.used.fits(instance.capacity)

    file = file_of(
        [environment(most=MOST), environment("spot", most=MOST, kind="SPOT", spotIamFleetRole="role")],
        [queue("first", "ce", "spot", priority=2), queue("second", "spot")],
        machines=machines,
        settings={"seed": seed, "bootSeconds": boot, "spotInterruptionsAnHour": reclaims, "idleSeconds": 30},
    )
    works = [
        work(at, run, vcpus, memory, queue=name, count=count, failure_probability=fails, timeout=timeout, attempts=4)
        for at, run, vcpus, memory, name, count, fails, timeout in sorted(jobs, key=lambda job: job[0])
    ]
    ended = Ended()
    statistics = Simulation(file, works, log=ended, inspect=look).run()
    report = report_of(statistics)
    assert report.unfinished == 0
    assert report.jobs == len(ended) == sum(each.shape.count for each in works)
    assert report.succeeded + report.failed == report.jobs
    assert report.attempts == sum(job.attempts for job in ended)
    assert report.vcpu_seconds_used <= report.vcpu_seconds_offered + 1e-6
    used = sum(each.vcpu_hours_used for each in report.environments)
    assert abs(3600 * used - report.vcpu_seconds_used) < 0.01 + 1e-9 * report.vcpu_seconds_used
    offered = sum(each.vcpu_hours_offered for each in report.environments)
    assert abs(3600 * offered - report.vcpu_seconds_offered) < 0.1
