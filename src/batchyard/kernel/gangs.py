"""Attempts of several tasks: they start all or none, and end together.

The attempt runs when every task runs. A task that fails stops the others, and its failure is the attempt's; the attempt has
succeeded when all tasks have. What the tasks hold is free when the last of them has ended. A single-instance service job is
a gang of one. Source: SageMaker's "CreateTrainingJob"; User Guide "Mapping AWS Batch service job status".
"""

from __future__ import annotations

from heapq import heappush

from batchyard.kernel import lifecycle
from batchyard.kernel.effects import Start
from batchyard.kernel.identifiers import node_task_id
from batchyard.kernel.messages import Observation, TaskExited, TaskLost, TaskStarted, TaskUnknown
from batchyard.kernel.records import Failure, Job, Node, ServiceRequest, Status, Task
from batchyard.kernel.retries import AttemptEnd
from batchyard.kernel.service_placement import Gang
from batchyard.kernel.state import State
from batchyard.kernel.training import COMPLETED, failure_reason, lost_reason


def start(state: State, job: Job, service: ServiceRequest, gang: Gang, now: int) -> None:
    """Begins an attempt of the service job at the head of its queue."""
    job.attempt += 1
    job.started_at = job.stopped_at = None
    service.scheduled_at = now
    gang.environment.count(service, 1)
    if job.quota_share is not None:
        job.quota_share.count(job, 1)
    nodes = []
    for number, instance in enumerate(gang.instances):
        node = Node(id=node_task_id(job.id, job.attempt, number), instance=instance.id)
        nodes.append(node)
        instance.used += job.resources
        state.tasks[node.id] = job
        state.effects.start.append(Start(instance.engine, job, node.id, job.attempt))
    job.task = Task(id=job.task_id, instance=nodes[0].instance, environment=gang.environment.name, nodes=nodes)
    lifecycle.enter(state, job, Status.SCHEDULED, now)


def observe(state: State, job: Job, nodes: list[Node], observation: Observation, now: int) -> None:
    """An engine tells of one of the tasks."""
    task = job.task
    node = next((node for node in nodes if node.id == observation.task_id), None)
    if task is None or node is None:
        return
    match observation:
        case TaskStarted():
            _started(state, job, nodes, node, observation.at)
        case TaskExited():
            if observation.started_at is not None:
                _started(state, job, nodes, node, observation.started_at)
            failure = None
            if observation.exit_code != 0:
                text = failure_reason(observation.exit_code, observation.reason, observation.message)
                failure = Failure(text, observation.exit_code, observation.reason)
            _ended(state, job, task, node, observation.at, failure)
        case TaskLost():
            _ended(state, job, task, node, observation.at, Failure(lost_reason(node.instance)))
        case TaskUnknown() if task.ending is None and task.failure is None:
            state.effects.start.append(Start(state.instances[node.instance].engine, job, node.id, job.attempt))
        case _:  # It was never begun, or is given back, and the attempt is to end.
            _ended(state, job, task, node, now, Failure(failure_reason(None, None, None)))


def _started(state: State, job: Job, nodes: list[Node], node: Node, at: int) -> None:
    if node.started_at is not None:
        return
    node.started_at = at
    if job.status is Status.SCHEDULED:
        lifecycle.enter(state, job, Status.STARTING, at)
    if job.status is Status.STARTING and all(other.started_at is not None for other in nodes):
        job.started_at = at
        lifecycle.enter(state, job, Status.RUNNING, at)
        for other in nodes:
            if job.timeout is not None and other.ended_at is None:
                heappush(state.deadlines, (at + 1000 * job.timeout, other.id))
    state.save(job)


def _ended(state: State, job: Job, task: Task, node: Node, at: int, failure: Failure | None) -> None:
    if node.ended_at is not None:
        return
    node.ended_at = at
    lifecycle.forget_task(state, node.id, node.instance)
    state.save(job)
    if failure is not None and task.failure is None:
        task.failure = failure
        if task.ending is None:
            lifecycle.order_stop(state, job)
    if not task.in_force:
        _end(state, job, task, at)


def _end(state: State, job: Job, task: Task, at: int) -> None:
    succeeded = task.failure is None and task.ending is None
    failure = task.failure or Failure(COMPLETED, 0)
    end = AttemptEnd(task.ending_reason or failure.status_reason, failure.reason, failure.exit_code)
    lifecycle.end_attempt(state, job, at, succeeded, end)
