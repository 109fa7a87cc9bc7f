"""Who starts next, and where (User Guide "Job queues"): order, capacity, compute environments, work handed over ahead."""

from __future__ import annotations

import pytest
from story import Story, submission

from batchyard.kernel.ordering import fifo
from batchyard.kernel.resources import Resources
from batchyard.shapes import batch as shapes


def test_first_in_first_out(story: Story) -> None:
    for number in range(6):
        story.submit(f"j{number}", vcpus=2)
    for number in range(6):
        story.ordered(f"start j{number}#1")
        story.run(f"j{number}")


def test_the_head_of_the_queue_is_not_passed_by_smaller_jobs(story: Story) -> None:
    story.submit("A")
    story.submit("B", vcpus=2)
    story.submit("C")
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("B")
    story.ordered("start C#1")
    story.run("C")


def test_another_queue_is_not_held_up_by_the_head_of_the_first(story: Story) -> None:
    story.queue("low", ["ce"], priority=0)
    story.submit("A")
    story.submit("B", vcpus=2)
    story.submit("C", queue="low")
    story.ordered("start A#1", "start C#1")
    story.run("A", "C")
    story.ordered("start B#1")
    story.run("B")


def test_queues_are_served_in_descending_order_of_priority(story: Story) -> None:
    story.queue("low", ["ce"], priority=1)
    story.queue("high", ["ce"], priority=100)
    story.submit("busy", vcpus=2)
    story.submit("A", vcpus=2, queue="low")
    story.submit("B", vcpus=2, queue="high")
    story.ordered("start busy#1")
    story.run("busy")
    story.ordered("start B#1")
    story.change_queue("low", priority=1000)
    story.submit("C", vcpus=2, queue="high")
    story.run("B")
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start C#1")
    story.run("C")


@pytest.mark.parametrize("resources", [{"vcpus": 2}, {"memory": 4096}, {"memory": 3000}])
def test_neither_processors_nor_memory_are_ever_over_committed(story: Story, resources: dict[str, int]) -> None:
    story.submit("A", memory=2000)
    story.submit("B", **resources)
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("B")


def test_gpus_are_counted() -> None:
    story = Story(vcpus=8, gpus=1)
    gpu = shapes.ContainerOverrides(resource_requirements=[shapes.ResourceRequirement(type="GPU", value="1")])
    story.submit("A", overrides=gpu)
    story.submit("B", overrides=gpu)
    story.ordered("start A#1")
    assert "1 vCPU, 128 MiB and 1 GPU" in story.why("B").text
    story.run("A")
    story.ordered("start B#1")
    story.run("B")
    story.over()


# Compute environments


def test_environments_are_tried_in_their_order() -> None:
    story = Story(vcpus=4, bare=True)
    story.definition("work")
    story.environment("first", max_vcpus=1)
    story.environment("second", max_vcpus=2)
    story.queue("q", ["second", "first"])
    for label in "ABCD":
        story.submit(label)
    story.ordered("start A#1", "start B#1", "start C#1")
    assert [story.jobs[label].task.environment for label in "ABC" if story.jobs[label].task] == [
        "second",
        "second",
        "first",
    ]
    story.run("A")
    story.ordered("start D#1")
    assert story.jobs["D"].task is not None
    assert story.jobs["D"].task.environment == "second"
    story.run("B", "C", "D")
    story.over()


def test_a_disabled_environment_is_passed_over_and_what_runs_in_it_goes_on() -> None:
    story = Story(bare=True)
    story.definition("work")
    story.environment("first")
    story.environment("second")
    story.queue("q", ["first", "second"])
    story.submit("A")
    story.change_environment("first", state="DISABLED")
    story.submit("B")
    story.ordered("start A#1", "start B#1")
    assert story.jobs["A"].task is not None
    assert story.jobs["B"].task is not None
    assert (story.jobs["A"].task.environment, story.jobs["B"].task.environment) == ("first", "second")
    story.run("A", "B")
    story.over()


def test_max_vcpus_is_kept_also_when_it_is_lowered_under_what_runs(story: Story) -> None:
    story.submit("A")
    story.submit("B")
    story.ordered("start A#1", "start B#1")
    story.change_environment("ce", max_vcpus=1)
    story.submit("C")
    story.run("A")
    story.ordered()
    story.run("B")
    story.ordered("start C#1")
    story.submit("D")
    story.ordered()
    story.change_environment("ce", max_vcpus=2)
    story.ordered("start D#1")
    story.run("C", "D")


def test_max_vcpus_holds_over_all_queues_of_an_environment() -> None:
    story = Story(vcpus=4, bare=True)
    story.definition("work")
    story.environment("ce", max_vcpus=1)
    story.queue("a", ["ce"])
    story.queue("b", ["ce"])
    story.submit("A", queue="a")
    story.submit("B", queue="b")
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("B")
    story.over()


def test_an_environment_that_is_created_again_counts_what_still_runs_under_its_name() -> None:
    """As Terraform does when it replaces one: the queue is pointed elsewhere, the old one is deleted, the new one made."""
    from batchyard.kernel.commands import DeleteComputeEnvironment

    story = Story(vcpus=4, bare=True)
    story.definition("work")
    story.environment("ce", max_vcpus=1)
    story.environment("meanwhile")
    story.queue("q", ["ce"])
    story.submit("A")
    story.ordered("start A#1")
    story.change_queue("q", ["meanwhile"])
    story.change_environment("ce", state="DISABLED")
    story.tell(DeleteComputeEnvironment("ce"))
    story.pass_time(0.01)
    story.environment("ce", max_vcpus=1)
    story.change_queue("q", ["ce"])
    story.submit("B")
    story.ordered()
    story.run("A")
    story.ordered("start B#1")
    story.run("B")
    story.over()


# Jobs that can never run


@pytest.mark.parametrize(
    ("resources", "code"),
    [
        ({"memory": 4097}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
        ({"vcpus": 3}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
    ],
)
def test_a_job_that_never_fits_says_so_at_once_and_holds_up_nobody(
    story: Story, resources: dict[str, int], code: str
) -> None:
    story.submit("A", **resources)
    assert story.status("A") == "RUNNABLE"
    assert (story.reason("A") or "").startswith(
        f"{code} - The job resource requirement (vCPU/memory/GPU) is higher than that can be met by the CE(s) attached"
        " to the job queue. It needs "
    )
    assert "the most that compute environment ce can give one job is 2 vCPU and 4096 MiB" in (story.reason("A") or "")
    assert story.history("A")[-1] == ("RUNNABLE", story.why("A").text)
    story.submit("B")
    story.ordered("start B#1")
    story.run("B")
    story.cancel("A")


def test_a_job_that_is_over_max_vcpus_alone_says_that(story: Story) -> None:
    story.change_environment("ce", max_vcpus=1)
    story.submit("A", vcpus=2)
    assert story.reason("A") == (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU"
        " requirement of the job. It needs 2 vCPU and 128 MiB; the most that compute environment ce can give one job is"
        " 1 vCPU and 4096 MiB."
    )
    story.terminate("A")


def test_what_never_fitted_has_its_turn_the_moment_that_its_environment_grows() -> None:
    story = Story(vcpus=3)
    story.change_environment("ce", max_vcpus=1)
    story.submit("busy")
    story.submit("A", vcpus=2)
    story.submit("B")
    story.ordered("start busy#1")
    story.change_environment("ce", max_vcpus=3)
    story.ordered("start A#1")
    story.run("busy", "A")
    story.ordered("start B#1")
    story.run("B")
    story.over()


def test_a_job_that_never_fitted_runs_once_its_environment_has_grown(story: Story) -> None:
    story.change_environment("ce", max_vcpus=1)
    story.submit("A", vcpus=2)
    story.submit("B", array=2, vcpus=2)
    story.submit("C")
    story.ordered("start C#1")
    story.change_environment("ce", max_vcpus=2)
    assert story.reason("A") is None
    story.run("C")
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B:0#1")
    story.run("B:0")
    story.ordered("start B:1#1")
    story.run("B:1")
    assert story.status("B") == "SUCCEEDED"


def test_a_job_that_never_fitted_runs_once_its_queue_has_another_environment(story: Story) -> None:
    story.change_environment("ce", max_vcpus=1)
    story.submit("A", vcpus=2)
    story.environment("large", max_vcpus=2)
    story.ordered()
    story.change_queue("q", ["ce", "large"])
    story.ordered("start A#1")
    story.run("A")


def test_a_retried_job_that_was_set_aside_comes_back_before_all_others(story: Story) -> None:
    story.submit("Z", after=[story.submit("Y")])
    story.submit("A", vcpus=2, attempts=2)
    story.submit("B", vcpus=2)
    story.ordered("start Y#1")
    story.run("Y")
    story.ordered("start Z#1")
    story.run("Z")
    story.ordered("start A#1")
    story.begin("A")
    story.submit("C", array=2, vcpus=2, attempts=2)
    story.change_environment("ce", max_vcpus=1)
    story.exit("A", 1)
    story.change_environment("ce", max_vcpus=2)
    story.ordered("start A#2")
    story.run("A")
    story.ordered("start B#1")
    story.run("B")
    story.ordered("start C:0#1")
    story.begin("C:0")
    story.change_environment("ce", max_vcpus=1)
    story.exit("C:0", 1)
    story.change_environment("ce", max_vcpus=2)
    story.ordered("start C:0#2")
    story.run("C:0")
    story.ordered("start C:1#1")
    story.run("C:1")


def test_a_child_that_was_set_aside_and_cancelled_is_forgotten(story: Story) -> None:
    story.submit("A", array=2, vcpus=2, attempts=2)
    story.ordered("start A:0#1")
    story.begin("A:0")
    story.change_environment("ce", max_vcpus=1)
    story.exit("A:0", 1)
    story.cancel("A:0")
    assert list(story.kernel.state.queues["q"].unplaceable.values()) == [story.jobs["A"]]
    story.cancel("A")
    assert story.kernel.state.queues["q"].unplaceable == {}


def test_a_machine_that_has_grown_takes_what_it_could_not_take_before(story: Story) -> None:
    story.submit("A", memory=5000)
    story.ordered()
    story.kernel.add_machine("local", Resources(2000, 8192), 0)
    story.pass_time(0)
    story.ordered("start A#1")
    story.run("A")


def test_a_thousand_starts_a_round() -> None:
    story = Story()
    kernel = story.kernel
    kernel.add_machine("local", Resources(3_000_000, 3_000_000), 0)
    story.change_environment("ce", max_vcpus=3000)
    kernel.apply(submission(array_properties=shapes.ArrayProperties(size=1200)), story.now)
    kernel.step(story.now)
    assert len(kernel.take_effects().start) == 1000
    assert kernel.next_wakeup(story.now) == story.now
    kernel.step(story.now)
    assert len(kernel.take_effects().start) == 200
    assert kernel.next_wakeup(story.now) is None


def test_an_array_whose_entry_was_swept_away_still_gets_its_turn(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling gives memory back by sweeping the queue; an array between two children of a sequence must not be lost."""
    monkeypatch.setattr(fifo, "_SWEEP_AFTER", 2)
    story.submit("A", array=3)
    story.submit("wide", vcpus=2)
    story.submit("B", array=3, n_to_n=["A"])
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0")
    story.ordered("start A:2#1")
    assert story.summary("B") == {"PENDING": 2, "RUNNABLE": 1}
    story.cancel("B:0")
    for label in "XYZ":
        story.submit(label)
        story.cancel(label)
    assert story.jobs["B"] not in [entry[2] for entry in story.kernel.state.queues["q"].waiting], "B was swept"
    story.run("A:1", "A:2")
    story.ordered("start wide#1")
    story.run("wide")
    story.ordered("start B:1#1", "start B:2#1")
    story.run("B:1", "B:2")


# Work handed over ahead of free resources


def busy_story() -> Story:
    """Three short jobs have run, so that the kernel knows: work of this definition takes five milliseconds."""
    story = Story(vcpus=1, lead=4)
    for label in ("w1", "w2", "w3"):
        story.submit(label)
        story.ordered(f"start {label}#1")
        story.begin(label)
        story.pass_time(0.005)
        story.exit(label)
    return story


def test_short_work_is_handed_over_ahead_up_to_the_engines_lead() -> None:
    story = busy_story()
    story.submit("A", array=10)
    story.ordered(*(f"start A:{index}#1" for index in range(5)))
    (instance,) = story.kernel.state.instances.values()
    assert [job.index for job in instance.line] == [1, 2, 3, 4]
    assert instance.used == Resources(1000, 128)
    story.begin("A:0")
    story.pass_time(0.005)
    story.exit("A:0")
    story.ordered("start A:5#1")
    assert [job.index for job in instance.line] == [2, 3, 4, 5]
    assert instance.used == Resources(1000, 128)


def test_what_stands_in_line_without_moving_is_taken_back_and_goes_first_again() -> None:
    story = busy_story()
    for label in "ABCD":
        story.submit(label, attempts=2)
    story.ordered("start A#1", "start B#1", "start C#1", "start D#1")
    story.begin("A")
    story.pass_time(1)
    story.ordered("recall B#1", "recall C#1", "recall D#1")
    for label in "BCD":
        story.give_back(label)
    assert story.status("B") == "RUNNABLE"
    assert story.jobs["B"].attempt == 0
    assert story.jobs["B"].attempts is None
    story.submit("E")
    story.pass_time(60)
    story.ordered()
    story.exit("A")
    story.ordered("start B#1")
    for label, following in zip("BCDE", ("start C#1", "start D#1", "start E#1", None), strict=True):
        story.run(label)
        story.ordered(*([following] if following else []))
    assert story.states("B")[:5] == ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNABLE", "STARTING"]
    story.over()


def test_a_child_in_line_when_its_array_is_cancelled_fails_with_the_callers_reason() -> None:
    story = busy_story()
    story.submit("A", array=3)
    story.ordered("start A:0#1", "start A:1#1", "start A:2#1")
    story.begin("A:0")
    story.cancel("A", "not needed")
    story.pass_time(1)
    story.ordered("recall A:1#1", "recall A:2#1")
    story.give_back("A:1")
    story.give_back("A:2")
    assert [story.reason(f"A:{index}") for index in (1, 2)] == ["not needed", "not needed"]
    assert story.jobs["A:1"].cancelled
    story.exit("A:0")
    assert (story.status("A"), story.reason("A")) == ("FAILED", "not needed")
    story.over()


def test_terminating_what_stands_in_line() -> None:
    story = busy_story()
    story.submit("A")
    story.submit("B", attempts=3)
    story.submit("C", attempts=3)
    story.ordered("start A#1", "start B#1", "start C#1")
    story.terminate("B", "enough")
    story.terminate("C", "enough")
    story.ordered("stop B#1 30", "stop C#1 30")
    story.exit("B", None, started=False)
    assert (story.status("B"), story.reason("B")) == ("FAILED", "enough")
    story.give_back("C")
    assert (story.status("C"), story.reason("C")) == ("FAILED", "enough")
    story.run("A")
    story.over()
