"""Jobs as the store gives them back, and the kernel's state rebuilt from them.

`restore` must leave the kernel exactly as the last commit did: the crash tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappush

import msgspec

from batchyard.kernel import arrays, backoff, consumable_resources, instances, lifecycle
from batchyard.kernel.blocked import resume
from batchyard.kernel.dependencies import wait_for
from batchyard.kernel.effects import Stop
from batchyard.kernel.ordering import fifo
from batchyard.kernel.ordering.fair_share import Run
from batchyard.kernel.placement import occupy
from batchyard.kernel.records import (
    Amendments,
    AppliedUpdate,
    Array,
    Blocked,
    ComputeEnvironment,
    ConsumableResource,
    ConsumableResourceDetail,
    InstanceDetail,
    Job,
    JobQueue,
    Kind,
    Preemptions,
    QuotaShare,
    Requirement,
    ServiceEnvironment,
    ServiceRequest,
    Status,
    Task,
)
from batchyard.kernel.resources import Resources
from batchyard.kernel.scheduling_policies import follow_policy
from batchyard.kernel.state import DefinitionFamily, State
from batchyard.kernel.submission_tokens import SubmissionToken
from batchyard.kernel.terms import JobTerms
from batchyard.shapes import batch as shapes


class StoredJob(msgspec.Struct):
    """One row, its members in the order of the table's columns. A child of an array has only `parent_seq`, `child_index` and
    what changes."""

    seq: int
    id: str | None = None
    parent_seq: int | None = None
    child_index: int | None = None
    name: str | None = None
    queue: str | None = None
    definition: str | None = None
    milli_vcpus: int | None = None
    memory: int | None = None
    gpus: int | None = None
    created_at: int | None = None
    retry: shapes.RetryStrategy | None = None
    timeout: int | None = None
    share: str | None = None
    priority: int | None = None
    log_prefix: str | None = None
    depends_on: list[shapes.JobDependency] | None = None
    array_size: int | None = None
    kind: Kind | None = None
    status: Status = Status.SUBMITTED
    status_reason: str | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    attempt: int = 0
    attempts: list[shapes.AttemptDetail] | None = None
    task: Task | None = None
    ended_by: int = 0
    """1: cancelled, 2: terminated, 3: both."""
    summary: list[int] | None = None
    """Children by status."""
    summary_at: int | None = None
    closed: bool | None = None
    untouched_reason: str | None = None
    service: ServiceRequest | None = None
    blocked: Blocked | None = None
    preemptions: Preemptions | None = None
    terms: JobTerms | None = None
    amendments: Amendments | None = None

    @property
    def cancelled(self) -> bool:
        return bool(self.ended_by & 1)

    @property
    def terminated(self) -> bool:
        return bool(self.ended_by & 2)

    @property
    def ended_attempts(self) -> list[shapes.AttemptDetail]:
        """The attempts that have ended, in their order: those that were preempted, too, of which the latest are known."""
        preempted = (self.preemptions.recent if self.preemptions is not None else None) or ()
        return sorted([*(self.attempts or ()), *preempted], key=lambda attempt: attempt.stopped_at or 0)

    @property
    def preempted_attempts(self) -> int:
        """How many attempts were preempted."""
        if self.service is not None:
            return self.service.preemptions
        return self.preemptions.count if self.preemptions is not None else 0


class Snapshot(msgspec.Struct, kw_only=True):
    """All that is needed to go on after a restart."""

    next_seq: int
    definitions: dict[str, DefinitionFamily]
    environments: list[shapes.ComputeEnvironmentDetail]
    instances: list[InstanceDetail]
    """Those that have not been terminated."""
    service_environments: list[shapes.ServiceEnvironmentDetail]
    queues: list[shapes.JobQueueDetail]
    submission_tokens: list[SubmissionToken]
    scheduling_policies: list[shapes.SchedulingPolicyDetail]
    quota_shares: list[shapes.DescribeQuotaShareResponse]
    consumable_resources: list[ConsumableResourceDetail]
    consumable_updates: list[AppliedUpdate]
    ended_runs: Callable[[Mapping[str, int]], Iterable[tuple[str, Run]]]
    """What the shares of fair-share queues have used of late, with the queue: asked once, for the queues named and since the
    times that go with them."""
    requirements: dict[int, tuple[Requirement, ...]]
    """The consumable resources that unfinished jobs need, by seq."""
    children: dict[int, list[StoredJob]]
    """All children that have a row, by the seq of their unfinished parent."""
    jobs: Iterable[StoredJob]
    """Unfinished single jobs and array parents, by seq; iterated over once."""


def restore(state: State, snapshot: Snapshot, now: int) -> None:
    """Fills an empty state. The instances must have been added before: tasks in force are booked on them."""
    state.now = now
    state.next_seq = snapshot.next_seq
    state.definitions = snapshot.definitions
    for environment in snapshot.environments:
        due = now if environment.status in ("CREATING", "UPDATING", "DELETING") else None
        state.environments[environment.compute_environment_name or ""] = ComputeEnvironment(detail=environment, due=due)
    for instance_detail in sorted(snapshot.instances, key=lambda each: (each.launched_at, each.id)):
        if instance_detail.machine in state.machines:
            instances.add(state, instance_detail)
        else:
            instances.end_without_machine(state, instance_detail, now)
    for service_environment in snapshot.service_environments:
        due = now if service_environment.status in ("CREATING", "UPDATING", "DELETING") else None
        name = service_environment.service_environment_name or ""
        state.service_environments[name] = ServiceEnvironment(detail=service_environment, due=due)
    for queue in snapshot.queues:
        due = now if queue.status in ("CREATING", "UPDATING", "DELETING") else None
        state.queues[queue.job_queue_name or ""] = JobQueue(detail=queue, due=due)
    for share in snapshot.quota_shares:
        due = now if share.status in ("CREATING", "UPDATING", "DELETING") else None
        queue_of = state.queues[(share.job_queue_arn or "").rpartition("/")[2]]
        queue_of.quota_shares[share.quota_share_name or ""] = QuotaShare(detail=share, queue=queue_of, due=due)
    state.scheduling_policies = {policy.name or "": policy for policy in snapshot.scheduling_policies}
    for restored_queue in state.queues.values():
        follow_policy(state, restored_queue, now)
    for token in sorted(snapshot.submission_tokens, key=lambda token: token.at):
        state.submission_tokens[token.token] = token
    for detail in snapshot.consumable_resources:
        state.consumable_resources[detail.name] = ConsumableResource(detail=detail)
    for update in sorted(snapshot.consumable_updates, key=lambda update: update.at):
        state.consumable_resources[update.resource].updates[update.token] = update
    jobs = [_restore_job(state, stored) for stored in snapshot.jobs]
    for job in jobs:
        job.consumables = snapshot.requirements.get(job.seq)
        for stored in snapshot.children.get(job.seq, ()):
            _restore_child(state, job, stored)
    for job in jobs:
        _restore_dependencies(state, job)
    for job in jobs:
        _restore_place_in_queue(job)
    for restored_queue in state.queues.values():
        resume(restored_queue)
    _restore_usage(state, snapshot, now)
    heapify(state.deadlines)
    for instance in list(state.instances.values()):
        if instance.detail is not None:
            instances.watch(state, instance, now)
    _restore_demand(state)
    state.scaling_due = True


def _restore_usage(state: State, snapshot: Snapshot, now: int) -> None:
    fair = {queue.name: queue.fair.fair_share for queue in state.queues.values() if queue.fair is not None}
    if not fair:
        return
    runs: dict[str, list[Run]] = {}
    for name, run in snapshot.ended_runs({name: now - each.policy.window for name, each in fair.items()}):
        runs.setdefault(name, []).append(run)
    for name, some in runs.items():
        fair[name].learn(some, now)


def _restore_demand(state: State) -> None:
    for job in state.jobs.values():
        for each, count in arrays.waiting_of(job):
            state.count_waiting(each, count)


def _restore_job(state: State, stored: StoredJob) -> Job:
    assert stored.id is not None
    assert stored.queue is not None
    job = Job(
        seq=stored.seq,
        id=stored.id,
        name=stored.name or "",
        queue=state.queues[stored.queue],
        definition=state.shared_text(stored.definition or ""),
        resources=state.shared(Resources(stored.milli_vcpus or 0, stored.memory or 0, stored.gpus or 0)),
        created_at=stored.created_at or 0,
        kind=Kind(stored.kind or 0),
        retry=stored.retry,
        timeout=stored.timeout,
        share=stored.share,
        priority=stored.priority,
        log_prefix=stored.log_prefix,
        depends_on=stored.depends_on,
        service=stored.service,
        terms=stored.terms,
    )
    if job.service is not None:
        job.priority = job.service.priority
    _restore_progress(state, job, stored)
    if stored.array_size is not None:
        sequential = any(dependency.type == "SEQUENTIAL" for dependency in stored.depends_on or ())
        job.array = arrays.new_array(stored.array_size, sequential=sequential)
        job.array.closed = bool(stored.closed)
        job.array.untouched_reason = stored.untouched_reason
        job.array.summary_at = stored.summary_at or 0
    state.jobs[job.id] = job
    job.queue.count_in(job)
    if job.task is not None:
        _restore_task(state, job, job.task)
    return job


def _restore_progress(state: State, job: Job, stored: StoredJob) -> None:
    job.status = stored.status
    job.status_reason = stored.status_reason
    job.attempt = stored.attempt
    job.attempts = stored.attempts
    job.started_at = stored.started_at
    job.stopped_at = stored.stopped_at
    job.task = stored.task
    job.blocked = stored.blocked
    job.preemptions = stored.preemptions or job.preemptions
    job.cancelled = stored.cancelled
    job.terminated = stored.terminated
    job.amendments = amended = stored.amendments
    if amended is not None and amended.priority is not None:
        job.priority = amended.priority
    if amended is not None and amended.memory is not None:
        job.resources = state.shared(msgspec.structs.replace(job.resources, memory=amended.memory))
    backoff.watch(state, job)


def _restore_child(state: State, parent: Job, stored: StoredJob) -> None:
    array = parent.array
    assert array is not None
    assert stored.child_index is not None
    arrays.set_status(array, stored.child_index, stored.status, array.summary_at)
    if stored.status.terminal:
        return
    child = arrays.child_of(parent, stored.child_index, stored.seq)
    _restore_progress(state, child, stored)
    if child.task is not None:
        _restore_task(state, child, child.task)


def _restore_task(state: State, job: Job, task: Task) -> None:
    for instance_id in task.instances:
        instance = state.instances.get(instance_id)
        if instance is not None:
            if task.ahead:
                instance.line.append(job)
            else:
                occupy(state, instance, job)
    lifecycle.charge_share(job)
    if job.started_at is not None:
        lifecycle.note_running(job, job.started_at)
    _restore_use(state, job, task)
    consumable_resources.book(state, task)
    for task_id, instance_id in task.in_force:
        state.tasks[task_id] = job
        instance = state.instances.get(instance_id)
        if (task.ending is not None or task.failure is not None) and instance is not None:
            state.effects.stop.append(Stop(instance.engine, task_id, lifecycle.stop_grace(state, job)))
        if task.ending is None and job.timeout is not None and job.started_at is not None:
            heappush(state.deadlines, (job.started_at + 1000 * job.timeout, task_id))


def _restore_use(state: State, job: Job, task: Task) -> None:
    """Charges the environment with what runs in it."""
    if job.service is not None:
        service_environment = state.service_environments.get(task.environment)
        if service_environment is not None:
            service_environment.count(job.service, 1)
        return
    environment = state.environments.get(task.environment)
    if environment is not None and not task.ahead:
        environment.used += job.resources


def _restore_dependencies(state: State, job: Job) -> None:
    """Only a job that has not been released waits; a dependency that is no longer unfinished has succeeded (a failure would
    have ended the job in the same commit)."""
    if job.array is None and job.status is not Status.PENDING:
        return
    for dependency in job.depends_on or ():
        if dependency.type == "SEQUENTIAL" or not dependency.job_id:
            continue
        found = state.find(dependency.job_id)
        if found is None:
            continue
        other, index = (found[0].parent, found[0].index) if found[0].parent else found
        if dependency.type == "N_TO_N":
            _restore_partners(job, other)
            wait_for(job, other, None, n_to_n=True)
        elif index is None or (other.array is not None and not Status(other.array.states[index]).terminal):
            job.open_dependencies += 1
            wait_for(job, other, index, n_to_n=False)


def _restore_partners(job: Job, other: Job) -> None:
    assert job.array is not None
    assert other.array is not None
    blocked = job.array.blocked = job.array.blocked or {}
    for index, status in enumerate(_states(other.array)):
        if not Status(status).terminal:
            blocked[index] = blocked.get(index, 0) + 1


def _states(array: Array) -> bytearray:
    """The children's states, those of a closed array's untouched children being settled only later in the restore."""
    if not array.closed:
        return array.states
    return bytearray(
        Status.FAILED if state <= Status.RUNNABLE and index not in array.children else state
        for index, state in enumerate(array.states)
    )


def _restore_place_in_queue(job: Job) -> None:
    if job.array is not None:
        _restore_array(job, job.array)
    elif job.status is Status.RUNNABLE:
        _stand_in_queue(job)


def _stand_in_queue(job: Job) -> None:
    """What blocked the queue is set aside until the first step has looked at it: its clock goes on if its code still holds."""
    if job.blocked is None:
        fifo.enqueue(job.queue, job)
    else:
        job.queue.unplaceable[job.seq] = job
        job.queue.changed = True


def _restore_array(job: Job, array: Array) -> None:
    for child in array.children.values():
        if child.status is Status.RUNNABLE:
            _stand_in_queue(child)
    if array.closed:
        for index in arrays.untouched(array):
            arrays.set_status(array, index, Status.FAILED, array.summary_at)
    elif job.open_dependencies == 0:
        arrays.release(array, array.summary_at)
        if arrays.next_ready(array) is not None:  # Asked of released arrays only: it passes over what is not ready.
            _stand_in_queue(job)
            return
    job.blocked = None
