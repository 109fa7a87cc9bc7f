"""Who waits for whom.

Only success satisfies a dependency; one failure fails the job that waits. An array may wait as a whole for a job or for
one child, child by child for another array (N_TO_N), and each child for the one before it (SEQUENTIAL). Source: User
Guide "Job dependencies" and "Array jobs".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from batchyard.kernel.identifiers import JOB_ID, split_child
from batchyard.kernel.records import Job, Status
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State
from batchyard.shapes import batch as shapes

FAILED_REASON = "Dependent Job failed"


class JobFact(msgspec.Struct, frozen=True):
    """What the store knows of a job that has finished and left the kernel's memory."""

    status: Status
    size: int | None = None
    """Array size; None for a single job or a child."""
    states: bytes = b""
    """The status of each child of an array that failed."""


Facts = Mapping[str, JobFact]


def _fact(state: State, job_id: str, facts: Facts) -> JobFact | None:
    """What is known of a job that is no longer held: of one that ended in this very round the kernel itself knows more than
    the store."""
    parent_id, index = split_child(job_id)
    ended = state.ended.get(parent_id)
    if ended is None:
        return facts.get(job_id)
    status, states = ended
    if index is None:
        return JobFact(status, len(states) if states is not None else None, states or b"")
    if states is None or index >= len(states):
        return None
    return JobFact(Status(states[index]))


class Outlook(msgspec.Struct):
    """What a new job's dependencies come to at the moment of its submission."""

    open: list[tuple[Job, int | None, bool]]
    """Unfinished jobs to wait for: (job, child index or None, N_TO_N)."""
    failed: bool = False
    failed_children: set[int] = msgspec.field(default_factory=set)
    """Children whose partner in a finished array has failed."""
    sequential: bool = False


def job_ids_of(dependencies: Iterable[shapes.JobDependency] | None) -> list[str]:
    return [dependency.job_id for dependency in dependencies or () if dependency.job_id]


def missing(state: State, dependencies: Iterable[shapes.JobDependency] | None) -> list[str]:
    """The ids that the kernel does not hold (any more): the control loop looks them up and hands them in as facts. A child
    of an unfinished array is held, a child of a finished one is looked up like any other job."""
    return [job_id for job_id in job_ids_of(dependencies) if state.find(job_id) is None]


def examine(state: State, dependencies: list[shapes.JobDependency] | None, size: int | None, facts: Facts) -> Outlook:
    """Checks a new job's dependencies (`size`: its array size). Raises `Refusal`; changes nothing."""
    outlook = Outlook(open=[])
    for dependency in dependencies or ():
        if dependency.type is not None and size is None:
            raise Refusal(f"Dependency type {dependency.type} can only be used with array jobs")
        if dependency.type == "SEQUENTIAL":
            if dependency.job_id:
                raise Refusal("Dependency type SEQUENTIAL cannot have a jobId: it orders the job's own children")
            outlook.sequential = True
        elif not dependency.job_id:
            raise Refusal("Job dependency must have a jobId")
        else:
            _examine_one(state, dependency.job_id, dependency.type == "N_TO_N", size, facts, outlook)
    return outlook


def _examine_one(state: State, job_id: str, n_to_n: bool, size: int | None, facts: Facts, outlook: Outlook) -> None:
    parent_id, child = split_child(job_id)
    if not JOB_ID.match(parent_id) or (child is None and parent_id != job_id):
        raise Refusal(f"Job dependency {job_id} is not a valid job id")
    found = state.find(job_id)
    fact = _fact(state, job_id, facts)
    if found is None and fact is None:
        raise Refusal(f"Job dependency {job_id} does not exist")
    if n_to_n:
        other = found[0].array.size if found and found[0].array and found[1] is None else fact.size if fact else None
        if other != size:
            raise Refusal(
                f"N_TO_N dependency {job_id} must be an array job of the same size, {size}; it is {other or 1}"
            )
    if found is not None:
        _examine_unfinished(found[0], found[1], n_to_n, outlook)
    elif fact is not None and fact.status is Status.FAILED:
        if n_to_n:
            outlook.failed_children |= {index for index, status in enumerate(fact.states) if status == Status.FAILED}
        else:
            outlook.failed = True


def _examine_unfinished(job: Job, index: int | None, n_to_n: bool, outlook: Outlook) -> None:
    if job.parent is not None:
        outlook.open.append((job.parent, job.index, False))
    elif index is None:
        outlook.open.append((job, None, n_to_n))
    else:
        assert job.array is not None
        status = job.array.states[index]
        if status == Status.FAILED:
            outlook.failed = True
        elif status != Status.SUCCEEDED:
            outlook.open.append((job, index, False))


def register(job: Job, outlook: Outlook) -> None:
    """Makes the job wait for everything that is open. What N_TO_N partners have finished already is counted at once."""
    for other, index, n_to_n in outlook.open:
        if n_to_n:
            _count_open_partners(job, other, outlook.failed_children)
        else:
            job.open_dependencies += 1
        wait_for(job, other, index, n_to_n)


def wait_for(job: Job, other: Job, index: int | None, n_to_n: bool) -> None:
    """Puts the job where the end of the other (of its child `index`, of each of its children) will find it."""
    if n_to_n:
        assert other.array is not None
        other.array.followers.append(job)
    elif index is not None:
        assert other.array is not None
        other.array.awaited.setdefault(index, []).append(job)
    else:
        other.dependents = other.dependents or []
        other.dependents.append(job)


def _count_open_partners(job: Job, other: Job, failed_children: set[int]) -> None:
    assert job.array is not None
    assert other.array is not None
    blocked = job.array.blocked = job.array.blocked or {}
    for index, status in enumerate(other.array.states):
        if status == Status.FAILED:
            failed_children.add(index)
        elif status != Status.SUCCEEDED:
            blocked[index] = blocked.get(index, 0) + 1
