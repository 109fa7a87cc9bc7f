"""What the next attempt asks for instead, after one that failed for want of it: tags of the job, or of its queue.

`batchyard:onOutOfMemory`: after an attempt that ran out of memory (`OutOfMemoryError`), more memory, up to `batchyard:maxMemory`.
Where nothing that the queue has could ever run the job with so much, it keeps what it has. `batchyard:onSpotReclaim`: after an
attempt whose Spot capacity was reclaimed, the queue's other compute environments only, where one of them could run it.

Whether there is a next attempt the retry strategy decides, as ever.
"""

from __future__ import annotations

from math import ceil

import msgspec

from batchyard.kernel.placement import environments_for, environments_of, is_spot
from batchyard.kernel.records import ComputeEnvironment, Ending, Job, Task
from batchyard.kernel.resources import Resources
from batchyard.kernel.retries import AttemptEnd
from batchyard.kernel.state import State
from batchyard.kernel.suitability import verdict

OUT_OF_MEMORY = "OutOfMemoryError"
HOST_GONE = "Host EC2"
"""What the reasons of AWS begin with."""


def escalate(state: State, job: Job, task: Task, end: AttemptEnd) -> None:
    """An attempt has failed, and another follows: it may ask for something else."""
    if job.service is not None:
        return
    if (end.reason or "").startswith(OUT_OF_MEMORY):
        _ask_for_more_memory(state, job)
    if task.ending is Ending.RECLAIMED or end.status_reason.startswith(HOST_GONE):
        _leave_spot(state, job, task)


def _ask_for_more_memory(state: State, job: Job) -> None:
    own, default = job.terms, job.queue.terms.jobs
    more = (own.more_memory if own is not None else None) or default.more_memory
    if more is None:
        return
    memory = ceil(job.resources.memory * more.factor) + more.mebibytes
    most = (own.most_memory if own is not None else None) or default.most_memory
    memory = memory if most is None else min(memory, most)
    wanted = msgspec.structs.replace(job.resources, memory=memory)
    if memory > job.resources.memory and any(_could_run(state, each, wanted) for each in environments_for(state, job)):
        job.amend().memory = memory
        job.resources = state.shared(wanted)


def _leave_spot(state: State, job: Job, task: Task) -> None:
    wanted = (job.terms is not None and job.terms.on_demand) or job.queue.terms.jobs.on_demand
    environment = state.environments.get(task.environment)
    if not wanted or job.on_demand or environment is None or not is_spot(environment):
        return
    others = (each for each in environments_of(state, job.queue) if not is_spot(each))
    if any(_could_run(state, each, job.resources) for each in others):
        job.amend().on_demand = True


def _could_run(state: State, environment: ComputeEnvironment, wanted: Resources) -> bool:
    return verdict(state, environment, wanted).obstacle is None
