"""Small runs, with every number worked out by hand. A c6i.large has 2 vCPU and costs $0.085 an hour on demand."""

from __future__ import annotations

import pytest
from site_files import environment, file_of, queue, run, work

from batchyard.simulator.inputs import InputError

HOURLY = 0.085


def test_four_jobs_on_two_instances() -> None:
    """A and B share an instance for 100 s, C has one for 50 s, D needs two vCPUs and waits for it until then."""
    report, ended = run(file_of(), work(0, 100), work(0, 100), work(0, 50), work(10, 30, vcpus=2))
    assert (report.jobs, report.succeeded, report.failed, report.attempts) == (4, 4, 0, 4)
    assert report.makespan_seconds == 100
    assert report.vcpu_seconds_used == 100 + 100 + 50 + 60
    assert report.vcpu_seconds_offered == 2 * 2 * 100
    assert report.utilisation_of_offered == 310 / 400
    assert report.utilisation_of_maximum == 310 / (4 * 100)
    assert [job.started_at for job in ended] == [0, 50_000, 0, 0]
    everybody = report.waits[0]
    assert (everybody.jobs, everybody.mean_seconds) == (4, 10)
    assert (everybody.p50_seconds, everybody.p90_seconds, everybody.max_seconds) == (0, 40, 40)
    assert report.cost == pytest.approx(2 * 100 / 3600 * HOURLY)
    (kind,) = report.instances
    assert (kind.instance_type, kind.launched, kind.peak) == ("c6i.large", 2, 2)
    assert kind.hours == pytest.approx(200 / 3600)


def test_an_idle_instance_is_let_go_and_paid_until_then() -> None:
    """0 to 100 s of work and 60 s idle; then another instance for the job of second 1000."""
    report, _ = run(file_of(settings={"idleSeconds": 60}), work(0, 100), work(1000, 100))
    assert report.launches == 2
    assert report.peak_instances == 1
    assert report.makespan_seconds == 1100
    assert report.vcpu_seconds_offered == 2 * (160 + 100)
    assert report.cost == pytest.approx((160 + 100) / 3600 * HOURLY)


def test_a_minute_is_the_least_that_is_paid() -> None:
    report, _ = run(file_of(), work(0, 5))
    assert report.cost == pytest.approx(60 / 3600 * HOURLY)


def test_a_job_waits_for_the_boot_and_for_its_container() -> None:
    """Offered is what runs: an instance that boots is not paid for."""
    report, (job,) = run(file_of(settings={"bootSeconds": 90, "startSeconds": 10}), work(0, 100))
    assert (job.started_at, job.ended_at) == (100_000, 200_000)
    assert report.waits[0].max_seconds == 100
    assert report.vcpu_seconds_offered == 2 * 110
    assert report.vcpu_seconds_used == 110


def test_max_vcpus_hold() -> None:
    """Ten jobs of a vCPU on at most four: three rounds."""
    report, _ = run(file_of(), *(work(0, 100) for _ in range(10)))
    assert report.peak_vcpus == 4
    assert report.makespan_seconds == 300
    assert report.waits[0].max_seconds == 200


def test_min_vcpus_are_there_before_the_first_job() -> None:
    report, (job,) = run(file_of([environment(least=2)], settings={"bootSeconds": 90}), work(0, 10), until=200_000)
    assert job.started_at == pytest.approx(90_000, abs=100)
    assert report.peak_vcpus == 2


def test_an_array_counts_by_its_children() -> None:
    report, ended = run(file_of(), work(0, 100, count=6, share=None))
    assert (report.jobs, report.succeeded, report.makespan_seconds) == (6, 6, 200)
    assert sorted(job.index for job in ended) == [0, 1, 2, 3, 4, 5]
    assert [job.started_at for job in ended] == [0, 0, 0, 0, 100_000, 100_000]


def test_shares_pay_for_what_they_use() -> None:
    """1 × 300 s and 1 × 100 s of vCPU on an instance that is there for 300 s: three quarters and one."""
    policy = {"name": "fair", "fairsharePolicy": {}}
    arn = "arn:aws:batch:eu-west-1:111122223333:scheduling-policy/fair"
    file = file_of(queues=[queue("q", "ce", schedulingPolicyArn=arn)], schedulingPolicies=[policy])
    report, _ = run(file, work(0, 300, share="a"), work(0, 100, share="b"))
    (costs,) = report.environments
    assert costs.cost == pytest.approx(300 / 3600 * HOURLY)
    assert [(part.share, part.vcpu_hours * 3600) for part in costs.shares] == [("a", 300), ("b", pytest.approx(100))]
    assert costs.shares[0].cost == pytest.approx(0.75 * costs.cost)
    assert [(waits.queue, waits.share) for waits in report.waits] == [(None, None), ("q", None), ("q", "a"), ("q", "b")]


def test_attempts_that_fail_are_tried_again() -> None:
    report, (job,) = run(file_of(), work(0, 10, exit_code=3, failure_probability=1.0, attempts=3))
    assert (report.failed, report.attempts, report.retries, report.failed_attempts) == (1, 3, 2, 3)
    assert (job.attempts, job.exit_code, job.started_at, job.ended_at) == (3, 3, 0, 30_000)
    assert report.vcpu_seconds_used == 30


def test_a_time_limit_ends_an_attempt() -> None:
    report, (job,) = run(file_of(settings={"stopSeconds": 5}), work(0, 1000, timeout=60))
    assert (job.ended_at, job.exit_code, report.failed) == (65_000, 143, 1)
    killed, (job,) = run(file_of(settings={"stopSeconds": 500}), work(0, 1000, timeout=60))
    assert (job.ended_at, job.exit_code, killed.failed) == (90_000, 137, 1)


def test_spot_instances_are_reclaimed_and_their_jobs_tried_again() -> None:
    """At 30 an hour a job of an hour hardly ever gets through; the notice ends its program at once."""
    file = file_of(
        [environment(kind="SPOT", spotIamFleetRole="role")],
        settings={"spotInterruptionsAnHour": 30, "seed": 1},
    )
    report, ended = run(file, *(work(0, 3600, attempts=10) for _ in range(4)))
    assert report.spot_reclaims > 0
    assert report.retries > 0
    assert report.attempts == report.retries + 4
    assert {job.exit_code for job in ended} <= {0, 143}


def test_fargate_is_paid_by_the_task() -> None:
    """1 vCPU at $0.04048 and 2 GiB at $0.004445 an hour, for 360 s; Spot for three tenths of that."""
    on_demand, _ = run(file_of([environment(kind="FARGATE")]), work(0, 360, memory=2048))
    assert on_demand.cost == pytest.approx((0.04048 + 2 * 0.004445) / 10)
    assert on_demand.launches == 0
    assert on_demand.utilisation_of_offered == 1
    spot, _ = run(file_of([environment(kind="FARGATE_SPOT")]), work(0, 360, memory=2048))
    assert spot.cost == pytest.approx(0.3 * on_demand.cost)


def test_machines_are_the_limit_where_there_are_any() -> None:
    """A machine of 2 vCPUs holds one instance at a time, whatever maxvCpus says."""
    report, _ = run(file_of(machines=[{"vcpus": 2, "memoryMiB": 8192}]), *(work(0, 100) for _ in range(4)))
    assert report.peak_instances == 1
    assert report.makespan_seconds == 200


def test_queues_have_priorities() -> None:
    file = file_of(queues=[queue("low", priority=1), queue("high", priority=2)])
    _, ended = run(
        file,
        *(work(0, 100, queue="low") for _ in range(4)),
        *(work(1, 100, queue=name) for name in ("low", "low", "low", "low", "high")),
    )
    (high,) = (job for job in ended if job.queue == "high")
    assert high.started_at == 100_000


def test_what_can_never_run_is_said() -> None:
    report, _ = run(file_of(), work(0, 10, vcpus=16), work(0, 10))
    assert (report.succeeded, report.unfinished) == (1, 1)
    (left,) = report.left
    assert left.jobs == 1
    assert "no instance type of compute environment ce is large enough" in left.reason


def test_a_run_that_stands_still_ends() -> None:
    """Every launch fails: the kernel would try once a minute for ever."""
    report, _ = run(file_of(settings={"launchFailureRate": 1}), work(0, 10))
    assert (report.unfinished, report.launches) == (1, 0)
    assert "no capacity for c6i.large" in report.left[0].reason


def test_a_run_can_be_cut_short() -> None:
    report, ended = run(file_of(), work(0, 100), work(0, 1000), until=150_000)
    assert (report.makespan_seconds, report.succeeded, report.unfinished) == (150, 1, 1)
    assert len(ended) == 1
    assert report.vcpu_seconds_used == 100 + 150
    assert report.environments[0].vcpu_hours_used * 3600 == pytest.approx(250)


def test_a_queue_may_end_what_blocks_it() -> None:
    """jobStateTimeLimitActions: a job that waits without having begun counts as failed, and never began."""
    limit = {
        "reason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        "state": "RUNNABLE",
        "maxTimeSeconds": 600,
        "action": "CANCEL",
    }
    file = file_of(queues=[queue("q", "ce", jobStateTimeLimitActions=[limit])])
    report, ended = run(file, work(0, 10, vcpus=16, count=5))
    assert (report.jobs, report.failed, report.never_began, report.unfinished) == (5, 5, 5, 0)
    assert report.makespan_seconds == 600
    assert [(job.index, job.started_at, job.ended_at) for job in ended] == [(n, None, 600_000) for n in range(5)]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (work(0, 1, queue="nowhere", line=7), "line 7 of the workload: there is no job queue 'nowhere'; there are q"),
        (work(0, 1, attempts=11, line=3), "line 3 of the workload is refused: "),
        (work(0, 1, share="team", line=4), "line 4 of the workload is refused: "),
    ],
)
def test_a_job_that_is_refused_is_named(job: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(file_of(), job)  # type: ignore[arg-type]


def test_a_line_has_to_name_one_of_several_queues() -> None:
    with pytest.raises(InputError, match="line 1 of the workload names no queue, and there are a, b"):
        run(file_of(queues=[queue("a"), queue("b")]), work(0, 1))


def test_a_refused_environment_says_where_it_stands() -> None:
    with pytest.raises(
        InputError, match=r"computeEnvironments\[0\]: There is no instance type, family or bundle named"
    ):
        run(file_of([environment(instanceTypes=["c6i.lrage"])]))


def test_no_job_at_all() -> None:
    report, _ = run(file_of())
    assert (report.jobs, report.makespan_seconds, report.waits, report.utilisation_of_offered) == (0, 0, [], None)
