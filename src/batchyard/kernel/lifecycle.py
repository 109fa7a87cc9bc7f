"""The life of a job: accepted, released, started, ended, retried; cancelled or terminated.

Plain functions over the state. Whatever ends goes on `state.settling`, and :func:`settle` tells those who wait for it,
one after another and never by recursion, so that a chain of a hundred thousand dependent jobs can fail at once.
Sources: User Guide "Job states", "Array jobs", "Automated job retries", "Job timeouts"; model `CancelJob`, `TerminateJob`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappush

from batchyard.kernel import arrays, caps, consumable_resources
from batchyard.kernel.backoff import put_off
from batchyard.kernel.blocked import unblock
from batchyard.kernel.dependencies import FAILED_REASON, Outlook, register
from batchyard.kernel.effects import Start, Stop
from batchyard.kernel.environment import log_stream_of
from batchyard.kernel.escalation import escalate
from batchyard.kernel.identifiers import container_instance_arn, task_arn
from batchyard.kernel.instances import ended_by
from batchyard.kernel.ordering import fifo
from batchyard.kernel.ordering.fair_share_lines import amount
from batchyard.kernel.placement import Place, release_room, take_room
from batchyard.kernel.records import Array, Ending, Job, JobQueue, Preemptions, Status, Task
from batchyard.kernel.retries import TIMED_OUT, AttemptEnd, wants_retry
from batchyard.kernel.state import Settled, State
from batchyard.kernel.suitability import forget_verdicts
from batchyard.kernel.training import TRAINING_STOP_GRACE, preempted_attempt, service_attempt, time_out_reason
from batchyard.shapes import batch as shapes

EXITED = "Essential container in task exited"
FAILED_TO_START = "Task failed to start"
SPOT_TASK_INTERRUPTED = "Your Spot Task was interrupted."
"""ECS's stopped reason of a task on Fargate Spot that is reclaimed."""
RECENT_PREEMPTIONS = 10
"""How many preempted attempts a job shows."""
ARRAY_CHILD_FAILED = "Array Child Job failed"


def accept(state: State, job: Job, outlook: Outlook, now: int) -> None:
    """A new job: SUBMITTED, and at once PENDING or RUNNABLE, or FAILED when a dependency has failed already."""
    state.jobs[job.id] = job
    job.queue.count_in(job)
    state.enter(job, Status.SUBMITTED, now)
    if outlook.failed:
        fail_waiting(state, job, FAILED_REASON, now)
        return
    register(job, outlook)
    if job.array is not None:
        state.enter(job, Status.PENDING, now)
        fail_children(state, job, sorted(outlook.failed_children), FAILED_REASON, now)
    if job.status.terminal:
        return
    if job.open_dependencies == 0:
        release(state, job, now)
    elif job.array is None:
        state.enter(job, Status.PENDING, now)


def release(state: State, job: Job, now: int) -> None:
    """Every dependency of the job as a whole is satisfied."""
    if job.array is None:
        state.enter(job, Status.RUNNABLE, now, job.status_reason if job.held is not None else None)
        fifo.enqueue(job.queue, job)
        return
    waited = job.array.counts[Status.RUNNABLE]
    arrays.release(job.array, now)
    state.count_waiting(job, job.array.counts[Status.RUNNABLE] - waited)
    state.save(job)
    if arrays.next_ready(job.array) is not None:
        fifo.enqueue(job.queue, job)


def start(state: State, job: Job, place: Place, now: int) -> Job:
    """Begins an attempt of the job at the head of its queue (for an array: of its next child, which is returned)."""
    if job.array is not None:
        job = _touch_next_child(state, job)
    job.attempt += 1
    job.started_at = job.stopped_at = None
    task_id = job.task_id
    job.task = Task(id=task_id, instance=place.instance.id, environment=place.environment.name, ahead=place.ahead)
    state.tasks[task_id] = job
    take_room(state, place, job, now)
    charge_share(job)
    consumable_resources.lock(state, job, job.task)
    enter(state, job, Status.STARTING, now)
    state.effects.start.append(Start(place.instance.engine, job, task_id, job.attempt))
    return job


def _touch_next_child(state: State, parent: Job) -> Job:
    array = parent.array
    assert array is not None
    index = arrays.next_ready(array)
    assert index is not None
    parent.status_reason = None
    return arrays.child_of(parent, index, state.take_seq())


def started(state: State, task_id: str, at: int) -> None:
    """The engine says that a task's program runs."""
    job = state.tasks.get(task_id)
    if job is None or job.task is None or job.status is not Status.STARTING:
        return
    job.started_at = at
    note_running(job, at)
    enter(state, job, Status.RUNNING, at, job.status_reason if job.task.ending is Ending.PREEMPTED else None)
    if job.timeout is not None:
        heappush(state.deadlines, (at + 1000 * job.timeout, task_id))


def exited(
    state: State, task_id: str, at: int, exit_code: int | None, reason: str | None, started_at: int | None
) -> None:
    """The engine says that a task has ended, or could not begin."""
    job = state.tasks.get(task_id)
    if job is None or job.task is None:
        return
    if started_at is not None and job.status is Status.STARTING:
        started(state, task_id, started_at)
    _note_run_time(state, job, at)
    succeeded = exit_code == 0 and job.task.ending in (None, Ending.PREEMPTED, Ending.RECLAIMED)
    status_reason = EXITED if job.started_at is not None else FAILED_TO_START
    if not succeeded:
        status_reason = job.task.ending_reason or status_reason
    end_attempt(state, job, at, succeeded, AttemptEnd(status_reason, reason, exit_code))


def lost(state: State, task_id: str, at: int) -> None:
    """The engine can't account for a task that may have run: its host has failed."""
    job = state.tasks.get(task_id)
    if job is None or job.task is None:
        return
    text = ended_by(job.task.instance)
    end_attempt(state, job, at, False, AttemptEnd(job.task.ending_reason or text))


def unknown(state: State, task_id: str, now: int) -> None:
    """The engine has never begun this task: the same order is given again, or dropped when it is to end anyway."""
    job = state.tasks.get(task_id)
    if job is None or job.task is None:
        return
    engine = state.instances[job.task.instance].engine
    if job.task.ending is not None:
        end_attempt(state, job, now, False, AttemptEnd(job.task.ending_reason))
    else:
        state.effects.start.append(Start(engine, job, task_id, job.attempt))


def recalled(state: State, task_id: str, now: int) -> None:
    """A task handed over ahead has come back unbegun: its job waits again, at the front, and the attempt does not count."""
    job = state.tasks.pop(task_id, None)
    if job is None or job.task is None:
        return
    release_room(state, job, now)
    discharge_share(job, now)
    _free_caps(state, job)
    task, job.task = job.task, None
    consumable_resources.give_back(state, task)
    job.attempt -= 1
    if task.ending is not None:
        finish(state, job, Status.FAILED, task.ending_reason, now)
    elif job.parent is not None and job.closed:
        job.cancelled, job.terminated = job.parent.cancelled, job.parent.terminated
        finish(state, job, Status.FAILED, job.parent.status_reason, now)
    else:
        _wait_again(state, job, None, now)


def charge_share(job: Job) -> None:
    """An attempt is in flight: it counts for its share, or its quota share, and for caps, from now on."""
    caps.count(job, 1)
    if job.quota_share is not None:
        job.quota_share.count(job, 1)
    if job.queue.fair is not None and job.share is not None:
        job.queue.fair.fair_share.placed(job.share, amount(job.resources, job.service))


def note_running(job: Job, at: int) -> None:
    """The attempt in flight runs since then."""
    if job.queue.fair is not None and job.share is not None:
        job.queue.fair.fair_share.ran(job.share, at, amount(job.resources, job.service))


def discharge_share(job: Job, at: int) -> None:
    """The attempt in flight is over."""
    caps.count(job, -1)
    if job.quota_share is not None:
        job.quota_share.count(job, -1)
    if job.queue.fair is not None and job.share is not None:
        counts = amount(job.resources, job.service)
        job.queue.fair.fair_share.ended(job.share, at, counts, ran=job.started_at is not None)


def _free_caps(state: State, job: Job) -> None:
    if job.terms is not None:
        state.freed.update(name for name, _ in caps.requirements(job) if caps.is_cap(name))


def forget_task(state: State, task_id: str, instance_id: str) -> None:
    """A task has ended: the engine may forget it once that is committed."""
    del state.tasks[task_id]
    instance = state.instances.get(instance_id)
    if instance is not None:
        state.effects.acknowledge.setdefault(instance.engine, []).append(task_id)


def end_attempt(state: State, job: Job, at: int, succeeded: bool, end: AttemptEnd) -> None:
    """An attempt has ended, and what it held is free: the job has ended too, or waits to be tried again."""
    task = job.task
    assert task is not None
    for task_id, instance_id in task.in_force:
        forget_task(state, task_id, instance_id)
    release_room(state, job, at)
    discharge_share(job, at)
    _free_caps(state, job)
    if task.ending is Ending.PREEMPTED and not succeeded:
        _end_preempted(state, job, task, at, end)
        return
    consumable_resources.release(state, task)
    job.attempts = [*(job.attempts or ()), _attempt_detail(state, job, task, at, end)]
    job.task = None
    if succeeded:
        finish(state, job, Status.SUCCEEDED, end.status_reason, at)
        return
    timed_out = task.ending is Ending.TIMEOUT
    final = task.ending is Ending.TERMINATED or job.closed
    end = AttemptEnd(end.status_reason, end.reason, end.exit_code, timed_out)
    if not final and wants_retry(job.retry, job.counted_attempts, end):
        escalate(state, job, task, end)
        _wait_again(state, job, put_off(state, job, at) or end.status_reason, at)
    else:
        finish(state, job, Status.FAILED, end.status_reason, at)


def _end_preempted(state: State, job: Job, task: Task, at: int, end: AttemptEnd) -> None:
    """A preempted attempt has ended. It does not count; the job waits to be tried again, or has failed when it was preempted
    more often than it allows (model `ServiceJobPreemptionConfiguration`)."""
    if job.started_at is None:
        consumable_resources.give_back(state, task)
    else:
        consumable_resources.release(state, task)
    exhausted = _note_preemption(state, job, task, at, end)
    job.task = None
    if exhausted or job.closed:
        finish(state, job, Status.FAILED, end.status_reason, at)
    else:
        _wait_again(state, job, end.status_reason, at)


def _note_preemption(state: State, job: Job, task: Task, at: int, end: AttemptEnd) -> bool:
    """Counts a preemption, and keeps the attempt. Returns whether it was one more than the job may be tried again after."""
    if job.service is not None:
        service = job.service
        service.preemptions += 1
        attempt = preempted_attempt(state.settings.account, job, service, at, end.status_reason)
        service.recent_preemptions = [*(service.recent_preemptions or ()), attempt][-RECENT_PREEMPTIONS:]
        return service.preemption_retries is not None and service.preemptions > service.preemption_retries
    preemptions = job.preemptions = job.preemptions or Preemptions()
    preemptions.count += 1
    detail = _attempt_detail(state, job, task, at, end)
    preemptions.recent = [*(preemptions.recent or ()), detail][-RECENT_PREEMPTIONS:]
    return preemptions.retries is not None and preemptions.count > preemptions.retries


def _attempt_detail(state: State, job: Job, task: Task, at: int, end: AttemptEnd) -> shapes.AttemptDetail:
    account = state.settings.account
    if job.service is not None:
        return service_attempt(account, job, job.service, at, end)
    return shapes.AttemptDetail(
        container=shapes.AttemptContainerDetail(
            container_instance_arn=container_instance_arn(account, task.environment, task.instance),
            task_arn=task_arn(account, task.environment, task.id),
            exit_code=end.exit_code,
            reason=end.reason[:255] if end.reason else None,
            log_stream_name=log_stream_of(job, task.id) if job.started_at is not None else None,
            network_interfaces=[],
        ),
        started_at=job.started_at,
        stopped_at=at,
        status_reason=end.status_reason,
    )


def reconsider(queue: JobQueue) -> None:
    """The environments of a queue have changed: the next step looks again at what could never run before."""
    queue.changed = True


def reconsider_all(state: State) -> None:
    """What there is to run jobs on has changed."""
    forget_verdicts(state)
    state.scaling_due = True
    for queue in state.queues.values():
        reconsider(queue)


def _wait_again(state: State, job: Job, reason: str | None, now: int) -> None:
    if job.held is not None:
        reason = f"Held: {job.held}"
    enter(state, job, Status.RUNNABLE, now, reason)
    fifo.enqueue(job.queue, job)


def enter(state: State, job: Job, status: Status, now: int, reason: str | None = None) -> None:
    """Moves a single job or a child with a record; its parent's summary follows."""
    state.enter(job, status, now, reason)
    if job.parent is not None and job.parent.array is not None:
        arrays.set_status(job.parent.array, job.index, status, now)
        state.save(job.parent)


def finish(state: State, job: Job, status: Status, reason: str | None, now: int) -> None:
    """The end of a single job, of a child with a record, or of a parent all of whose children have ended."""
    job.stopped_at = now
    enter(state, job, status, now, reason)
    fifo.leave(job.queue, job)
    unblock(job)
    state.freed.update(name for name, _ in caps.requirements(job))
    succeeded = status is Status.SUCCEEDED
    if job.parent is None:
        del state.jobs[job.id]
        if job.service is None:
            state.ended[job.id] = (status, bytes(job.array.states) if job.array else None)
        job.queue.count_out(job, now)
        if job.dependents:
            state.settling.append(Settled(job, None, succeeded))
        return
    array = job.parent.array
    assert array is not None
    del array.children[job.index]
    state.settling.append(Settled(job.parent, (job.index,), succeeded))


def settle(state: State, now: int) -> None:
    """Tells everyone who waits for what has ended. Ends when nothing further follows."""
    while state.settling:
        settled = state.settling.popleft()
        if settled.children is not None:
            _settle_children(state, settled.job, settled.children, settled.succeeded, now)
            continue
        for job in settled.job.dependents or ():
            _tell(state, job, settled.succeeded, now)


def _settle_children(state: State, parent: Job, indices: Sequence[int], succeeded: bool, now: int) -> None:
    array = parent.array
    assert array is not None
    for follower in array.followers:
        _tell_partner(state, follower, indices, succeeded, now)
    if array.awaited:
        for index in indices:
            for job in array.awaited.pop(index, ()):
                _tell(state, job, succeeded, now)
    if array.sequential and not array.closed:
        _settle_sequence(state, parent, array, indices[0], succeeded, now)
    if arrays.unfinished(array) == 0 and not parent.status.terminal:
        _finish_parent(state, parent, array.counts[Status.FAILED] > 0, now)


def _finish_parent(state: State, parent: Job, failed: bool, now: int) -> None:
    if not failed:
        finish(state, parent, Status.SUCCEEDED, None, now)
    elif parent.cancelled or parent.terminated:
        finish(state, parent, Status.FAILED, parent.status_reason, now)
    else:
        finish(state, parent, Status.FAILED, ARRAY_CHILD_FAILED, now)


def _settle_sequence(state: State, parent: Job, array: Array, index: int, succeeded: bool, now: int) -> None:
    following = index + 1
    if following == array.size or Status(array.states[following]).terminal:
        return  # its own end has been, or will be, told to those after it
    if not succeeded:
        fail_children(state, parent, range(following, array.size), FAILED_REASON, now)
    elif not (array.blocked and following in array.blocked):
        _make_ready(state, parent, array, following, now)


def _make_ready(state: State, parent: Job, array: Array, index: int, now: int) -> None:
    if array.states[index] != Status.PENDING or array.ready is None:
        return
    arrays.make_ready(array, index, now)
    state.count_waiting(parent, 1)
    state.save(parent)
    fifo.enqueue(parent.queue, parent)


def _tell(state: State, job: Job, succeeded: bool, now: int) -> None:
    """A dependency of the job as a whole has ended."""
    if job.status.terminal or (job.array is not None and job.array.closed):
        return
    if not succeeded:
        fail_waiting(state, job, FAILED_REASON, now)
        return
    job.open_dependencies -= 1
    if job.open_dependencies == 0:
        release(state, job, now)


def _tell_partner(state: State, job: Job, indices: Sequence[int], succeeded: bool, now: int) -> None:
    """Children of the array that another array follows child by child have ended."""
    array = job.array
    assert array is not None
    if job.status.terminal or array.closed:
        return
    if not succeeded:
        fail_children(state, job, indices, FAILED_REASON, now)
        return
    assert array.blocked is not None
    for index in indices:
        array.blocked[index] -= 1
        if array.blocked[index] == 0:
            del array.blocked[index]
            before_succeeded = index == 0 or array.states[index - 1] == Status.SUCCEEDED
            if not array.sequential or before_succeeded:
                _make_ready(state, job, array, index, now)


def fail_waiting(state: State, job: Job, reason: str, now: int) -> None:
    """Ends a job that has not started: a single job, a child with a record, or an array of which nothing runs."""
    if job.array is None:
        finish(state, job, Status.FAILED, reason, now)
        return
    job.array.closed = True
    job.status_reason = reason
    _fail_untouched(state, job, reason, now)
    if arrays.unfinished(job.array) == 0 and not job.status.terminal:
        finish(state, job, Status.FAILED, reason, now)


def fail_children(state: State, parent: Job, indices: Iterable[int], reason: str, now: int) -> None:
    """Ends some children that have not started. Each gets a record, since it differs from its siblings; but when all that
    are left end together, the parent's record says it for all."""
    array = parent.array
    assert array is not None
    doomed = [index for index in indices if array.states[index] <= Status.RUNNABLE and index not in array.children]
    if not doomed:
        return
    if len(doomed) == arrays.unfinished(array) and array.untouched_reason is None:
        _fail_untouched(state, parent, reason, now)
        return
    for index in doomed:
        child = arrays.child_of(parent, index, state.take_seq())
        finish(state, child, Status.FAILED, reason, now)


def _fail_untouched(state: State, parent: Job, reason: str, now: int) -> None:
    """Ends all children without a record at once."""
    array = parent.array
    assert array is not None
    unblock(parent)
    indices = arrays.untouched(array)
    if indices:
        array.untouched_reason = reason
        waited = array.counts[Status.RUNNABLE]
        for index in indices:
            arrays.set_status(array, index, Status.FAILED, now)
        state.count_waiting(parent, array.counts[Status.RUNNABLE] - waited)
        state.settling.append(Settled(parent, indices, False))
    state.save(parent)


def cancel(state: State, job: Job, index: int | None, reason: str, now: int) -> None:
    """CancelJob: what has not started fails; what has goes on."""
    _end_by_request(state, job, index, reason, now, terminate=False)


def terminate(state: State, job: Job, index: int | None, reason: str, now: int) -> None:
    """TerminateJob: what runs is stopped, what has not started fails. Nothing is retried."""
    _end_by_request(state, job, index, reason, now, terminate=True)


def _end_by_request(state: State, job: Job, index: int | None, reason: str, now: int, *, terminate: bool) -> None:
    if index is not None:
        child = arrays.child_of(job, index, state.take_seq()) if _waits(job, index) else None
        if child is None:
            return
        job = child
    if job.array is not None:
        _end_array(state, job, reason, now, terminate)
    elif job.task is None:
        job.cancelled, job.terminated = job.cancelled or not terminate, job.terminated or terminate
        finish(state, job, Status.FAILED, reason, now)
    elif terminate:
        job.terminated = True
        stop(state, job, Ending.TERMINATED, reason)


def _waits(parent: Job, index: int) -> bool:
    return parent.array is not None and parent.array.states[index] <= Status.RUNNABLE


def _end_array(state: State, parent: Job, reason: str, now: int, terminate: bool) -> None:
    array = parent.array
    assert array is not None
    array.closed = True
    parent.cancelled, parent.terminated = parent.cancelled or not terminate, parent.terminated or terminate
    parent.status_reason = reason
    state.save(parent)
    for child in list(array.children.values()):
        _end_by_request(state, child, None, reason, now, terminate=terminate)
    _fail_untouched(state, parent, reason, now)


def stop(state: State, job: Job, ending: Ending, reason: str) -> None:
    """Orders the end of a task that is in force. A second order never weakens the first."""
    task = job.task
    assert task is not None
    if task.ending is Ending.TERMINATED:
        return
    first = task.ending is None
    task.ending, task.ending_reason = ending, reason
    state.save(job)
    if first:
        order_stop(state, job)


def order_stop(state: State, job: Job) -> None:
    """Orders the end of all tasks of an attempt."""
    assert job.task is not None
    for task_id, instance_id in job.task.in_force:
        instance = state.instances.get(instance_id)
        if instance is not None:  # What an engine that is no more had is lost anyhow.
            state.effects.stop.append(Stop(instance.engine, task_id, stop_grace(state, job)))


def stop_grace(state: State, job: Job) -> float:
    """Seconds between SIGTERM and SIGKILL."""
    instance = state.instances.get(job.task.instance) if job.task is not None else None
    if instance is not None and instance.detail is not None and instance.detail.interrupted_at is not None:
        return state.settings.spot_notice_seconds
    if job.task is not None and job.task.ending_reason == SPOT_TASK_INTERRUPTED:
        return state.settings.spot_notice_seconds
    return state.settings.stop_grace_seconds if job.service is None else TRAINING_STOP_GRACE


def time_out(state: State, task_id: str) -> None:
    """An attempt has run for as long as it may."""
    job = state.tasks.get(task_id)
    if job is not None and job.task is not None and job.task.ending is None:
        reason = TIMED_OUT if job.service is None else time_out_reason(job.timeout, job.service)
        stop(state, job, Ending.TIMEOUT, reason)


def _note_run_time(state: State, job: Job, at: int) -> None:
    if job.started_at is None:
        return
    lasted = max(0.5, float(at - job.started_at))
    before = state.run_times.get(job.definition, lasted)
    state.run_times[job.definition] = before + 0.2 * (lasted - before)
