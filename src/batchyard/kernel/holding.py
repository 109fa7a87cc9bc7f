"""What a user may change of a job that waits: hold it, release it, and give it another priority. AWS has none of these for
jobs that are no service jobs.

A job that is held goes through its life as ever (its dependencies end, it becomes RUNNABLE), but stands in no line and never
starts. Of an array all children that wait are held, with those that are to be tried again; those that run go on.

A priority orders the jobs of a share, or of a quota share. In a queue without shares, where the priority that a job was
submitted with says nothing (as on AWS), one that is given here does: the highest comes first, and all that were given none
have 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchyard.kernel import arrays, caps
from batchyard.kernel.backoff import reason_of
from batchyard.kernel.blocked import unblock
from batchyard.kernel.commands import ChangePriority, HoldJob, ReleaseJob
from batchyard.kernel.definitions.job_settings import check_scheduling_priority
from batchyard.kernel.job_requests import check_reason
from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import Job, Kind, Status
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import State

HELD = "Held: "


def hold_job(state: State, command: HoldJob, _now: int) -> None:
    """Keeps a job from starting. One that is held already gets the new reason."""
    check_reason(command.reason)
    job = _with_record(state, *_waiting_job(state, command.job_id, "held"))
    _count(state, job, -1)
    for each in _family(job):
        fifo.withdraw(each)
        unblock(each)
        state.freed.update(name for name, _ in caps.requirements(each))
    job.amend().held = command.reason
    _show(state, job)


def release_job(state: State, command: ReleaseJob, _now: int) -> None:
    """Lets a job that is held start when its turn comes."""
    job, index = _waiting_job(state, command.job_id, "released")
    own = job.amendments if index is None else None
    if own is None or own.held is None:
        if job.held is not None:
            raise Refusal(f"Job {command.job_id} is held with its array; release {(job.parent or job).id}.")
        raise Refusal(f"Job {command.job_id} is not held.")
    own.held = None
    _count(state, job, 1)
    for each in _family(job):
        _line_up(each)
    _show(state, job)


def change_priority(state: State, command: ChangePriority, _now: int) -> None:
    """Gives a job, or an array, another scheduling priority."""
    check_scheduling_priority(command.scheduling_priority)
    job = _with_record(state, *_waiting_job(state, command.job_id, "given another priority"))
    for each in _family(job, all_children=True):
        aside = each.seq in each.queue.unplaceable
        if not aside:
            fifo.withdraw(each)
        each.priority = command.scheduling_priority
        if each is job:
            each.amend().priority = command.scheduling_priority
        elif each.amendments is not None:
            each.amendments.priority = None
        if not aside:
            _line_up(each)
        state.save(each)


def _waiting_job(state: State, job_id: str, done: str) -> tuple[Job, int | None]:
    """As `State.find`: a job, an array, or a child that waits. Raises `Refusal` for any other; `done` says what is to be done
    to it."""
    found = state.find(job_id)
    if found is None:
        held = state.jobs.get(job_id)
        if held is not None and held.kind is Kind.SERVICE:
            raise Refusal(f"Job {job_id} is a service job, which cannot be {done} here; see UpdateServiceJob.")
        raise Refusal(f"Job {job_id} not found, or it has ended.")
    job, index = found
    status = job.status if index is None or job.array is None else arrays.status_of(job.array, index)
    is_closed = job.closed or (job.array is not None and job.array.closed)
    if status.terminal or is_closed:
        ended = f"has ended {status.name}" if status.terminal else "is being ended"
        raise Refusal(f"Job {job_id} {ended}: only a job that waits can be {done}.")
    if status not in (Status.SUBMITTED, Status.PENDING, Status.RUNNABLE):
        raise Refusal(f"Job {job_id} is {status.name}: only a job that waits can be {done}.")
    if index is not None and status is Status.PENDING:
        raise Refusal(f"Child {job_id} waits for its dependencies; only its array {job.id} can be {done}.")
    return found


def _with_record(state: State, job: Job, index: int | None) -> Job:
    """The job, or the record that the child of this index gets, since it comes to differ from its siblings."""
    if index is None:
        return job
    child = arrays.child_of(job, index, state.take_seq())
    if child.held is not None:
        child.status_reason = HELD + child.held
    fifo.enqueue(child.queue, child)
    return child


def _family(job: Job, *, all_children: bool = False) -> Sequence[Job]:
    """The job itself, and of an array the children that have a record: those that wait, or all."""
    if job.array is None:
        return [job]
    children = job.array.children.values()
    return [job, *(child for child in children if all_children or child.status is Status.RUNNABLE)]


def _count(state: State, job: Job, sign: int) -> None:
    """All that the job stands for comes to wait for its turn, or no longer does."""
    for each, count in arrays.waiting_of(job):
        state.count_waiting(each, sign * count)


def _line_up(job: Job) -> None:
    if job.array is None:
        ready = job.status is Status.RUNNABLE
    else:
        ready = job.open_dependencies == 0 and arrays.next_ready(job.array) is not None
    if ready:
        fifo.enqueue(job.queue, job)


def _show(state: State, job: Job) -> None:
    """Has `statusReason` say why it waits."""
    for each in _family(job):
        if each.held is not None:
            each.status_reason = HELD + each.held
        elif each.not_before is not None:
            each.status_reason = reason_of(each)
        else:
            each.status_reason = each.attempts[-1].status_reason if each.attempts else None
        state.save(each)
