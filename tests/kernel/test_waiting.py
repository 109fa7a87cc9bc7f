"""Why a job is where it is: one exact sentence with the numbers, from the first moment, and none that erases another."""

from __future__ import annotations

from story import Story

from batchyard.kernel.identifiers import instance_id_of

INSTANCE = instance_id_of("local")
FULL = (
    f"that much is not free: compute environment ce uses 2 of its 2 vCPU, and {INSTANCE} has 0 vCPU and 3840 MiB free"
    " of 2 vCPU and 4096 MiB."
)


def test_the_head_of_a_queue_that_waits_for_room(story: Story) -> None:
    for label in "ABC":
        story.submit(label)
    assert story.why("C").text == f"Is next in job queue q. It needs 1 vCPU and 128 MiB, and {FULL}"
    assert story.why("C").code is None
    assert story.history("C") == [("SUBMITTED", None), ("RUNNABLE", f"It needs 1 vCPU and 128 MiB, and {FULL}")]
    assert story.reason("C") is None
    story.ordered("start A#1", "start B#1")
    story.cancel("C")
    story.run("A", "B")


def test_a_job_behind_others_says_how_many_and_what_the_first_of_them_waits_for(story: Story) -> None:
    story.submit("A")
    story.submit("B")
    story.submit("wide", vcpus=2)
    story.submit("C")
    story.submit("D", array=3)
    story.submit("E")
    wide = story.id("wide")
    needs = f"needs 2 vCPU and 128 MiB, and {FULL}"
    assert story.why("C").text == f"1 job is ahead of it in job queue q; the first of them is {wide}. That job {needs}"
    assert story.why("E").text.startswith(f"5 jobs are ahead of it in job queue q; the first of them is {wide}.")
    assert story.why("D:2").text.startswith(f"4 jobs are ahead of it in job queue q; the first of them is {wide}.")
    assert story.history("C")[-1] == ("RUNNABLE", f"Job {wide}, which is ahead of it, {needs}")
    story.ordered("start A#1", "start B#1")
    for label in ("wide", "C", "D", "E"):
        story.cancel(label)
    story.run("A", "B")


def test_children_that_are_tried_again_are_counted_once(story: Story) -> None:
    story.submit("A", array=3, attempts=2)
    story.ordered("start A:0#1", "start A:1#1")
    story.begin("A:0", "A:1")
    story.change_environment("ce", state="DISABLED")
    story.exit("A:0", 1)
    assert story.why("A:2").text.startswith("1 job is ahead of it in job queue q; the first of them is ")
    assert story.why("A:0").text == "Is next in job queue q. Compute environment ce is DISABLED, VALID."
    assert story.why("A:0").code == "ACTION_REQUIRED"
    story.change_environment("ce", state="ENABLED")
    story.ordered("start A:0#2")
    story.exit("A:1")
    story.ordered("start A:2#1")
    story.run("A:0", "A:2")


def test_what_has_a_task_says_where(story: Story) -> None:
    story.submit("A")
    place = f"on instance {INSTANCE} of compute environment ce."
    assert story.why("A").text == f"Is being started {place}"
    story.begin("A")
    assert story.why("A").text == f"Runs {place}"
    story.ordered("start A#1")
    story.exit("A")


def test_what_stands_in_line_says_so() -> None:
    story = Story(vcpus=1, lead=1)
    story.submit("short")
    story.begin("short")
    story.pass_time(0.005)
    story.exit("short")
    story.submit("A")
    story.submit("B")
    story.ordered("start short#1", "start A#1", "start B#1")
    assert story.why("B").text == (
        f"Is being started on instance {INSTANCE} of compute environment ce, as soon as the tasks before it have ended."
    )


def test_dependencies(story: Story) -> None:
    story.submit("A")
    story.submit("B")
    story.submit("C", after=["A", "B"])
    a, b = story.id("A"), story.id("B")
    assert story.why("C").text == f"Waits for 2 of 2 jobs it depends on ({a}, {b})."
    story.ordered("start A#1", "start B#1")
    story.run("A")
    assert story.why("C").text == f"Waits for 1 of 2 jobs it depends on ({a}, {b})."
    story.run("B")
    story.ordered("start C#1")
    story.run("C")


def test_children_that_wait_for_children(story: Story) -> None:
    story.submit("A", array=3)
    story.submit("B", array=3, n_to_n=["A"], sequential=True)
    story.submit("C", array=3, after=["A"])
    a = story.id("A")
    assert story.why("B:2").text == f"Waits for the same child of the array it follows ({a}:2)."
    assert story.why("B").text == "Of its 3 children, 3 PENDING."
    assert story.why("C").text == f"Waits for 1 of 1 jobs it depends on ({a})."
    assert story.why("C:1").text == f"Waits for 1 of 1 jobs it depends on ({a})."
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:1")
    story.ordered("start A:2#1")
    assert story.why("B:1").text == "Waits for the child before it, 0, to succeed (SEQUENTIAL)."
    for label in ("A", "B", "C"):
        story.terminate(label)
    story.ordered("stop A:0#1 30", "stop A:2#1 30")
    story.exit("A:0", 143)
    story.exit("A:2", 143)


def test_an_array(story: Story) -> None:
    story.submit("A", array=4)
    story.ordered("start A:0#1", "start A:1#1")
    assert story.why("A").text == (
        "Of its 4 children, 2 RUNNABLE, 2 STARTING. Child 2: Is next in job queue q. It needs 1 vCPU and 128 MiB, and "
        + FULL
    )
    assert story.why("A:3").text.startswith("1 job is ahead of it in job queue q; the first of them is ")
    story.cancel("A")
    assert story.why("A").text == "Of its 4 children, 2 STARTING, 2 FAILED."
    story.run("A:0", "A:1")


def test_a_job_that_can_never_run_counts_for_nobody(story: Story) -> None:
    story.submit("huge", vcpus=64)
    story.submit("A")
    story.submit("B")
    story.submit("C")
    text = "It needs 64 vCPU and 128 MiB; the most that compute environment ce can give one job is 2 vCPU and 4096 MiB."
    assert (story.why("huge").text, story.why("huge").code) == (text, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
    assert story.why("C").text.startswith("Is next in job queue q.")
    story.ordered("start A#1", "start B#1")
    story.cancel("huge")
    story.cancel("C")
    story.run("A", "B")


def test_a_disabled_environment_is_shown_in_the_status_reason_and_then_no_more(story: Story) -> None:
    story.change_environment("ce", state="DISABLED")
    story.submit("A")
    assert story.reason("A") == (
        "ACTION_REQUIRED - CE(s) associated with the job queue are invalid. Compute environment ce is DISABLED, VALID."
    )
    story.change_environment("ce", state="ENABLED")
    assert story.reason("A") is None
    assert [status for status, _ in story.history("A")] == ["SUBMITTED", "RUNNABLE", "STARTING"]
    assert story.history("A")[1][1] == "Compute environment ce is DISABLED, VALID."
    story.ordered("start A#1")
    story.run("A")


def test_a_wait_is_written_down_once_it_has_lasted_a_second_and_names_the_job(story: Story) -> None:
    story.submit("A", vcpus=2)
    story.submit("B")
    since = story.now
    story.pass_time(0.999)
    assert story.waits == []
    story.pass_time(0.001)
    (wait,) = story.waits
    assert (wait.queue, wait.at) == ("q", since)
    assert wait.reason.startswith(f"Job {story.id('B')} needs 1 vCPU and 128 MiB, and that much is not free: ")
    story.pass_time(100)
    assert len(story.waits) == 1
    story.begin("A")
    story.change_environment("ce", state="DISABLED")
    story.pass_time(1)
    assert [wait.reason for wait in story.waits[1:]] == ["Compute environment ce is DISABLED, VALID."]
    story.change_environment("ce", state="ENABLED")
    story.ordered("start A#1")
    story.exit("A")
    story.ordered("start B#1")
    story.run("B")


def test_a_job_that_starts_at_once_gives_no_reason(story: Story) -> None:
    story.submit("A")
    assert story.history("A") == [("SUBMITTED", None), ("RUNNABLE", None), ("STARTING", None)]
    story.ordered("start A#1")
    story.run("A")
    assert story.waits == []
