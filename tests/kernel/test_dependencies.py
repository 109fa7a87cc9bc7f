"""Dependencies between jobs (User Guide "Job dependencies", "Array jobs")."""

from __future__ import annotations

import pytest
from story import Story, submission

from batchyard.kernel.dependencies import JobFact, job_ids_of, missing
from batchyard.kernel.records import Status
from batchyard.shapes import batch as shapes

FAILED = ("FAILED", "Dependent Job failed")
UNKNOWN = "ffffffff-1111-4111-8111-111111111111"


def depends(job_id: str | None = None, type_: str | None = None) -> shapes.JobDependency:
    return shapes.JobDependency(job_id=job_id, type=type_)  # type: ignore[arg-type]


def test_a_job_waits_for_the_success_of_another(story: Story) -> None:
    story.submit("A")
    story.submit("B", after=["A"])
    story.ordered("start A#1")
    assert story.states("B") == ["SUBMITTED", "PENDING"]
    story.run("A")
    story.ordered("start B#1")
    story.run("B")
    assert story.states("B") == ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]


def test_a_job_waits_for_all_that_it_depends_on(story: Story) -> None:
    for label in "ABC":
        story.submit(label)
    story.submit("D", after=["A", "B", "C", "A"])
    story.ordered("start A#1", "start B#1")
    story.run("A", "B")
    story.ordered("start C#1")
    assert story.status("D") == "PENDING"
    story.run("C")
    story.ordered("start D#1")
    story.run("D")


def test_one_failure_fails_the_job_that_waits_at_once(story: Story) -> None:
    story.submit("A")
    story.submit("B")
    story.submit("C", after=["A", "B"])
    story.ordered("start A#1", "start B#1")
    story.run("A", code=1)
    assert (story.status("C"), story.reason("C")) == FAILED
    story.run("B")
    assert (story.status("C"), story.reason("C")) == FAILED


def test_retries_of_a_dependency_are_waited_for(story: Story) -> None:
    story.submit("A", attempts=2)
    story.submit("B", after=["A"])
    story.ordered("start A#1")
    story.run("A", code=1)
    story.ordered("start A#2")
    assert story.status("B") == "PENDING"
    story.run("A")
    story.ordered("start B#1")
    story.run("B")


def test_dependencies_cross_queues(story: Story) -> None:
    story.queue("other", ["ce"])
    story.submit("A", queue="other")
    story.submit("B", after=["A"])
    story.ordered("start A#1")
    story.run("A")
    story.ordered("start B#1")
    story.run("B")


def test_what_has_succeeded_is_satisfied_and_what_has_failed_fails_the_newcomer(story: Story) -> None:
    story.submit("A")
    story.submit("B")
    story.ordered("start A#1", "start B#1")
    story.run("A")
    story.run("B", code=1)
    story.submit("C", after=["A"])
    story.ordered("start C#1")
    story.submit("D", after=["A", "B"])
    assert (story.status("D"), story.reason("D")) == FAILED
    assert story.states("D") == ["SUBMITTED", "FAILED"]
    story.submit("E", array=5, after=["B"])
    assert (story.status("E"), story.reason("E")) == FAILED
    assert story.reason("E:3") == "Dependent Job failed"
    story.submit("F", after=["E:3"])
    assert (story.status("F"), story.reason("F")) == FAILED
    story.run("C")


def test_a_chain_of_twenty_thousand_fails_at_once(story: Story) -> None:
    story.submit("first")
    kernel = story.kernel
    before = story.id("first")
    for number in range(20_000):
        job_id = f"{number:08x}-1111-4111-8111-111111111111"
        command = submission(job_name=f"j{number}", depends_on=[depends(before)])
        story._labels[job_id] = f"j{number}"
        kernel.apply(type(command)(request=command.request, job_id=job_id, size=1), story.now)
        before = job_id
    story.pass_time(0)
    assert len(kernel.state.jobs) == 20_001
    story.ordered("start first#1")
    story.run("first", code=1)
    assert len(kernel.state.jobs) == 0
    assert story.status("j19999") == "FAILED"
    assert story.reason("j0") == "Dependent Job failed"


def test_a_job_waits_for_a_whole_array(story: Story) -> None:
    story.submit("A", array=3)
    story.submit("B", after=["A"])
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0", code=1)
    story.ordered("start A:2#1")
    story.run("A:1")
    assert story.status("B") == "PENDING", "the array fails when all of its children have ended"
    story.run("A:2")
    assert (story.status("B"), story.reason("B")) == FAILED


def test_a_job_waits_for_one_child(story: Story) -> None:
    story.submit("A", array=4)
    story.submit("B", after=["A:2"])
    story.ordered("start A:0#1", "start A:1#1")
    story.submit("C", after=["A:0"])
    story.run("A:0")
    story.ordered("start A:2#1")
    assert (story.status("B"), story.status("C")) == ("PENDING", "RUNNABLE")
    story.run("A:2", code=1)
    assert (story.status("B"), story.reason("B")) == FAILED
    story.ordered("start A:3#1")
    story.submit("D", after=["A:2"])
    assert (story.status("D"), story.reason("D")) == FAILED
    story.submit("E", after=["A:0"])
    story.run("A:1", "A:3")
    story.ordered("start C#1", "start E#1")
    story.run("C", "E")


def test_children_of_finished_arrays_are_known_by_what_became_of_them(story: Story) -> None:
    story.submit("A", array=2)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0")
    story.run("A:1", code=1)
    story.submit("B", after=["A:0"])
    story.ordered("start B#1")
    story.submit("C", after=["A:1"])
    assert (story.status("C"), story.reason("C")) == FAILED
    story.run("B")


def test_n_to_n_child_follows_child(story: Story) -> None:
    story.submit("A", array=3)
    story.submit("B", array=3, n_to_n=["A"])
    story.ordered("start A:0#1", "start A:1#1")
    assert story.summary("B") == {"PENDING": 3}
    story.run("A:1")
    story.ordered("start A:2#1")
    assert story.summary("B") == {"PENDING": 2, "RUNNABLE": 1}
    story.run("A:0")
    story.ordered("start B:0#1")
    story.run("A:2")
    story.ordered("start B:1#1")
    story.run("B:0")
    story.ordered("start B:2#1")
    story.run("B:1", "B:2")
    assert story.status("B") == "SUCCEEDED"


def test_n_to_n_a_failed_child_fails_its_partner_alone(story: Story) -> None:
    story.submit("A", array=3)
    story.submit("B", array=3, n_to_n=["A"])
    story.submit("C", array=3, n_to_n=["B"])
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0", code=1)
    assert (story.status("B:0"), story.reason("B:0")) == FAILED
    assert (story.status("C:0"), story.reason("C:0")) == FAILED
    assert story.summary("B") == {"PENDING": 2, "FAILED": 1}
    story.ordered("start A:2#1")
    story.run("A:1", "A:2")
    story.ordered("start B:1#1", "start B:2#1")
    story.run("B:1", "B:2")
    story.ordered("start C:1#1", "start C:2#1")
    story.run("C:1", "C:2")
    assert (story.status("B"), story.reason("B")) == ("FAILED", "Array Child Job failed")
    assert story.status("C") == "FAILED"


def test_n_to_n_with_a_cancelled_partner(story: Story) -> None:
    story.submit("A", vcpus=2, array=4)
    story.submit("B", array=4, n_to_n=["A"])
    story.ordered("start A:0#1")
    story.cancel("A:2", "skip it")
    assert (story.status("B:2"), story.reason("B:2")) == FAILED
    story.cancel("A", "not needed")
    assert story.summary("B") == {"PENDING": 1, "FAILED": 3}
    story.run("A:0")
    story.ordered("start B:0#1")
    story.run("B:0")
    assert (story.status("B"), story.reason("B")) == ("FAILED", "Array Child Job failed")


def test_n_to_n_on_an_array_that_is_half_done(story: Story) -> None:
    story.submit("A", array=4)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0")
    story.ordered("start A:2#1")
    story.run("A:1", code=1)
    story.ordered("start A:3#1")
    story.submit("B", array=4, n_to_n=["A"])
    assert story.summary("B") == {"PENDING": 2, "RUNNABLE": 1, "FAILED": 1}
    story.run("A:2")
    story.ordered("start B:0#1")
    story.run("A:3")
    story.ordered("start B:2#1")
    story.run("B:0")
    story.ordered("start B:3#1")
    story.run("B:2", "B:3")


def test_n_to_n_on_finished_arrays(story: Story) -> None:
    story.submit("A", array=2)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0")
    story.run("A:1", code=1)
    story.submit("B", array=2, n_to_n=["A"])
    assert (story.status("B:1"), story.reason("B:1")) == FAILED
    story.ordered("start B:0#1")
    story.run("B:0")
    story.submit("C", array=2)
    story.ordered("start C:0#1", "start C:1#1")
    story.run("C:0", "C:1")
    story.submit("D", array=2, n_to_n=["C"])
    story.ordered("start D:0#1", "start D:1#1")
    story.run("D:0", "D:1")
    assert story.status("D") == "SUCCEEDED"


def test_n_to_n_when_every_child_of_the_other_has_failed(story: Story) -> None:
    story.submit("A", array=3)
    story.submit("W", vcpus=2)
    story.ordered("start A:0#1", "start A:1#1")
    story.terminate("A", "enough")
    story.ordered("stop A:0#1 30", "stop A:1#1 30")
    story.exit("A:0", 143)
    story.exit("A:1", 143)
    story.submit("B", array=3, n_to_n=["A"], after=["W"])
    assert story.summary("B") == {"FAILED": 3}
    assert story.status("B") == "FAILED"
    story.ordered("start W#1")
    story.run("W")


def test_n_to_n_with_two_arrays(story: Story) -> None:
    story.submit("A", array=2)
    story.submit("B", array=2)
    story.submit("C", array=2, n_to_n=["A", "B"])
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0", "A:1")
    story.ordered("start B:0#1", "start B:1#1")
    assert story.summary("C") == {"PENDING": 2}
    story.run("B:1")
    story.ordered("start C:1#1")
    story.run("B:0")
    story.ordered("start C:0#1")
    story.run("C:0", "C:1")


def test_n_to_n_and_sequential_together(story: Story) -> None:
    story.submit("A", array=3)
    story.submit("B", array=3, n_to_n=["A"], sequential=True)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:1")
    story.ordered("start A:2#1")
    assert story.summary("B") == {"PENDING": 3}, "its own child 0 must come first"
    story.run("A:0")
    story.ordered("start B:0#1")
    story.run("B:0")
    story.ordered("start B:1#1")
    story.run("B:1")
    story.ordered()
    story.run("A:2")
    story.ordered("start B:2#1")
    story.run("B:2")


def test_n_to_n_and_sequential_a_failed_partner_fails_the_rest(story: Story) -> None:
    story.submit("A", array=4)
    story.submit("B", array=4, n_to_n=["A"], sequential=True)
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:1", code=1)
    assert story.summary("B") == {"PENDING": 1, "FAILED": 3}
    story.ordered("start A:2#1")
    story.run("A:0")
    story.ordered("start A:3#1")
    story.run("A:2", "A:3")
    story.ordered("start B:0#1")
    story.run("B:0")
    assert story.summary("B") == {"SUCCEEDED": 1, "FAILED": 3}


def test_n_to_n_and_a_job_as_a_whole(story: Story) -> None:
    story.submit("W", vcpus=2)
    story.submit("A", array=2)
    story.submit("X")
    story.submit("B", array=2, n_to_n=["A"], after=["X"])
    story.ordered("start W#1")
    story.run("W")
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0")
    story.ordered("start X#1")
    assert story.summary("B") == {"PENDING": 2}
    story.run("X")
    story.ordered("start B:0#1")
    story.run("A:1")
    story.ordered("start B:1#1")
    story.run("B:0", "B:1")


def test_twenty_dependencies_and_no_more(story: Story) -> None:
    for number in range(21):
        story.submit(f"j{number}", vcpus=2)
    ids = [story.id(f"j{number}") for number in range(21)]
    story.submit("B", after=ids[:20])
    text = "Job cannot have more than 20 dependencies"
    assert story.refused(submission(depends_on=[depends(job_id) for job_id in ids])) == text
    for number in range(21):
        story.ordered(f"start j{number}#1")
        story.run(f"j{number}")
    story.ordered("start B#1")
    story.run("B")


@pytest.mark.parametrize(
    ("dependency", "size", "text"),
    [
        (depends(UNKNOWN), None, f"Job dependency {UNKNOWN} does not exist"),
        (depends(f"{UNKNOWN}:1"), None, f"Job dependency {UNKNOWN}:1 does not exist"),
        (depends("nonsense"), None, "Job dependency nonsense is not a valid job id"),
        (depends(UNKNOWN.upper()), None, f"Job dependency {UNKNOWN.upper()} is not a valid job id"),
        (depends(f"{UNKNOWN}:x"), None, f"Job dependency {UNKNOWN}:x is not a valid job id"),
        (depends(f"{UNKNOWN}#1"), None, f"Job dependency {UNKNOWN}#1 is not a valid job id"),
        (depends(), None, "Job dependency must have a jobId"),
        (depends(type_="N_TO_N"), 3, "Job dependency must have a jobId"),
        (depends(UNKNOWN, "N_TO_N"), None, "Dependency type N_TO_N can only be used with array jobs"),
        (depends(type_="SEQUENTIAL"), None, "Dependency type SEQUENTIAL can only be used with array jobs"),
        (
            depends(UNKNOWN, "SEQUENTIAL"),
            3,
            "Dependency type SEQUENTIAL cannot have a jobId: it orders the job's own children",
        ),
    ],
)
def test_dependencies_that_are_refused(
    story: Story, dependency: shapes.JobDependency, size: int | None, text: str
) -> None:
    array = shapes.ArrayProperties(size=size) if size else None
    assert story.refused(submission(depends_on=[dependency], array_properties=array)) == text


def test_n_to_n_needs_an_array_of_the_same_size(story: Story) -> None:
    three = shapes.ArrayProperties(size=3)
    single, array = story.submit("A"), story.submit("B", array=2)
    for job_id, size in ((single, 1), (array, 2), (f"{array}:1", 1)):
        text = f"N_TO_N dependency {job_id} must be an array job of the same size, 3; it is {size}"
        command = submission(depends_on=[depends(job_id, "N_TO_N")], array_properties=three)
        assert story.refused(command) == text
    story.ordered("start A#1", "start B:0#1")
    story.run("A", "B:0")
    story.ordered("start B:1#1")
    story.run("B:1")
    facts = {single: JobFact(Status.SUCCEEDED), array: JobFact(Status.SUCCEEDED, 2, bytes([5, 5]))}
    for job_id, size in ((single, 1), (array, 2)):
        text = f"N_TO_N dependency {job_id} must be an array job of the same size, 3; it is {size}"
        command = submission(depends_on=[depends(job_id, "N_TO_N")], array_properties=three, facts=facts)
        assert story.refused(command) == text


def test_a_child_index_has_no_leading_zero(story: Story) -> None:
    job_id = story.submit("A", array=2)
    command = submission(depends_on=[depends(f"{job_id}:01")])
    assert "A" in story.jobs
    assert story.refused(command) == f"Job dependency {job_id}:01 is not a valid job id"
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0", "A:1")


def test_what_must_be_looked_up(story: Story) -> None:
    story.submit("A", array=2)
    story.submit("B")
    story.ordered("start A:0#1", "start A:1#1")
    story.run("A:0")
    story.ordered("start B#1")
    story.run("B")
    wanted = [depends(story.id(label)) for label in ("A", "A:0", "A:1", "B")] + [depends(type_="SEQUENTIAL")]
    assert missing(story.kernel.state, wanted) == [story.id("B")]
    assert missing(story.kernel.state, None) == []
    assert job_ids_of(None) == []
    story.run("A:1")


def test_a_job_that_ends_in_the_very_round_of_a_submission_is_known(story: Story) -> None:
    """The store does not know of its end yet."""
    story.submit("A", array=2)
    story.ordered("start A:0#1", "start A:1#1")
    job_id = story.id("A")
    story.kernel.apply(type_terminate(job_id), story.now)
    story.ordered()
    command = submission(depends_on=[depends(job_id)])
    assert story.kernel.apply(command, story.now).job_id == command.job_id
    story._labels[command.job_id] = "B"
    story.pass_time(0)
    story.ordered("stop A:0#1 30", "stop A:1#1 30")
    story.exit("A:0", 143)
    story.exit("A:1", 143)
    assert (story.status("B"), story.reason("B")) == FAILED


def type_terminate(job_id: str):  # type: ignore[no-untyped-def]
    from batchyard.kernel.commands import TerminateJob

    return TerminateJob(job_id, "enough")
