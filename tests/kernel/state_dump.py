"""The kernel's state as plain data, so that two states can be compared.

`exact`: everything, bookkeeping included (has anything at all changed?). Otherwise only what can be observed: what a
restart must bring back.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchyard.kernel.arrays import status_of
from batchyard.kernel.ordering import fifo
from batchyard.kernel.records import Job, JobQueue, Status
from batchyard.kernel.state import State

_CONSTANT = (
    "seq",
    "id",
    "name",
    "definition",
    "resources",
    "created_at",
    "retry",
    "timeout",
    "share",
    "priority",
    "service",
    "consumables",
    "terms",
)
_CHANGING = (
    "status",
    "status_reason",
    "attempt",
    "attempts",
    "started_at",
    "stopped_at",
    "cancelled",
    "terminated",
    "preemptions",
    "amendments",
)


def dump_state(state: State, *, exact: bool = False) -> dict[str, Any]:
    dump: dict[str, Any] = {
        "next seq": state.next_seq,
        "jobs": {job.id: _dump_job(job, exact) for job in state.jobs.values()},
        "tasks": {task_id: job.id for task_id, job in state.tasks.items()},
        "definitions": msgspec.to_builtins(state.definitions, str_keys=True),
        "environments": {
            name: [_plain(environment.detail), _plain(environment.used)]
            for name, environment in state.environments.items()
        },
        "consumable resources": {
            name: [_plain(resource.detail), resource.in_use, _plain(resource.updates)]
            for name, resource in state.consumable_resources.items()
        },
        "scheduling policies": {name: _plain(policy) for name, policy in state.scheduling_policies.items()},
        "service environments": {
            name: [_plain(environment.detail), dict(environment.used)]
            for name, environment in state.service_environments.items()
        },
        "submission tokens": _plain(list(state.submission_tokens.values())),
        "queues": {name: _dump_queue(queue, exact, state.now) for name, queue in state.queues.items()},
        "instances": {
            name: [
                _plain(instance.capacity),
                _plain(instance.used),
                [job.id for job in instance.line],
                _plain(instance.detail),
                sorted(instance.jobs),
            ]
            for name, instance in state.instances.items()
        },
        "deadlines": sorted(deadline for deadline in state.deadlines if _in_force(state, deadline[1])),
    }
    if exact:
        dump["deadlines"] = list(state.deadlines)
        dump["effects"] = sorted(state.effects.jobs), sorted(state.effects.created), len(state.effects.transitions)
        dump["newcomers"] = len(state.newcomers)
        dump["due"] = [
            resource.due
            for resource in (*state.environments.values(), *state.service_environments.values(), *state.queues.values())
        ]
    return dump


def _in_force(state: State, task_id: str) -> bool:
    job = state.tasks.get(task_id)
    return job is not None and job.task is not None and job.task.ending is None


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _dump_job(job: Job, exact: bool) -> dict[str, Any]:
    dump = {name: _plain(getattr(job, name)) for name in (*_CONSTANT, *_CHANGING, "task", "depends_on", "log_prefix")}
    dump["queue"] = job.queue.name
    dump["blocks its queue"] = _plain(job.blocked) if _waits(job) else None
    dump["open dependencies"] = job.open_dependencies
    dump["dependents"] = sorted(other.id for other in job.dependents or () if exact or _still_waits(other))
    if job.array is None:
        return dump
    array = job.array
    dump |= {
        "states": [status_of(array, index).name for index in range(array.size)],
        "counts": list(array.counts),
        "children": {index: _dump_job(child, exact) for index, child in array.children.items()},
        "closed": array.closed,
        "sequential": array.sequential,
        "summary at": array.summary_at,
        "untouched reason": array.untouched_reason,
        "blocked": _blocked(array.blocked or {}, array.states),
        "followers": sorted(other.id for other in array.followers if exact or _still_waits(other)),
        "awaited": sorted(
            (index, other.id)
            for index, others in array.awaited.items()
            for other in others
            if exact or (_still_waits(other) and not status_of(array, index).terminal)
        ),
    }
    if exact:
        dump["bookkeeping"] = [array.next_index, list(array.ready or ()), array.queued, dict(array.blocked or {})]
    return dump


def _still_waits(dependent: Job) -> bool:
    """Dependents that have ended may be forgotten by a restart."""
    return not (dependent.status.terminal or (dependent.array is not None and dependent.array.closed))


def _blocked(blocked: dict[int, int], states: bytearray) -> dict[int, int]:
    return {index: count for index, count in blocked.items() if states[index] == Status.PENDING}


def _fair_share(queue: JobQueue, now: int) -> dict[str, Any] | None:
    """What can be told of the shares: of those that are still active, what each has a claim to."""
    if queue.fair is None:
        return None
    fair_share = queue.fair.fair_share
    fair_share.move(now)
    return {
        share: [
            account.unfinished,
            account.waiting,
            account.in_flight,
            account.attempts,
            fair_share.weight(share),
            fair_share.claim(share, now),
        ]
        for share, account in fair_share.accounts.items()
    }


def _dump_queue(queue: JobQueue, exact: bool, now: int) -> dict[str, Any]:
    """`line`: who waits, in the order of their turn; those that were set aside stand where they would come back to."""
    line = _places([entry for entry in queue.waiting if entry[:2] not in queue.passed])
    line |= {entry for entries in queue.lines.values() for entry in _places(entries)}
    line |= {
        (rank, seq, job.id)
        for share in queue.quota_shares.values()
        for heap in (share.waiting, *share.lines.values())
        for _, rank, seq, job in heap
        if _waits(job)
    }
    line |= {
        (rank, seq, job.id)
        for share in (queue.fair.shares.values() if queue.fair is not None else ())
        for heap in (share.waiting, *share.lines.values())
        for _, rank, seq, job in heap
        if _waits(job)
    }
    aside = [job for job in queue.unplaceable.values() if _waits(job)]
    line |= {(*fifo.place(job), job.id) for job in aside}
    dump: dict[str, Any] = {
        "detail": _plain(queue.detail),
        "unfinished": queue.unfinished,
        "shares": queue.shares,
        "in flight": dict(queue.in_flight),
        "below caps": sorted(
            f"{name}: {count} of {each}" for name, some in queue.below_caps.items() for each, count in some.items()
        ),
        "demand": sorted(f"{count} of {each}" for each, count in (*queue.demand.items(), *queue.on_demand.items())),
        "quota shares": {name: [_plain(share.detail), dict(+share.used)] for name, share in queue.quota_shares.items()},
        "line": sorted(line),
        "fair share": _fair_share(queue, now),
        "blocked": sorted((code, seq) for code, jobs in queue.blocked.items() for seq in jobs if _waits(jobs[seq])),
    }
    if exact:
        dump["lines"] = {name: [entry[:2] for entry in line] for name, line in queue.lines.items()}
        dump["heap"] = [entry[:2] for entry in queue.waiting]
        dump["set aside"] = sorted(queue.unplaceable)
        dump["held"] = sorted(queue.held)
        dump["wait"] = _plain(queue.wait)
    return dump


def _places(entries: list[tuple[int, int, Job]]) -> set[tuple[int, int, str]]:
    return {(rank, seq, job.id) for rank, seq, job in entries if _waits(job)}


def _waits(job: Job) -> bool:
    if job.is_withdrawn:
        return False
    if job.array is None:
        return job.status is Status.RUNNABLE
    return any(
        state == Status.RUNNABLE and index not in job.array.children for index, state in enumerate(job.array.states)
    )
