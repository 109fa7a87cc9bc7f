"""Every counter re-derived from the records, every rule asserted: run after each step in tests (`check_invariants`)."""

from __future__ import annotations

from collections import Counter

from batchyard.kernel import arrays, caps
from batchyard.kernel.ordering import fair_share_lines, fifo, lines
from batchyard.kernel.records import (
    Array,
    Instance,
    InstanceDetail,
    Job,
    JobQueue,
    QuotaShare,
    ShareLine,
    Status,
)
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.kernel.scheduling_policies import policy_of
from batchyard.kernel.service_placement import used_in
from batchyard.kernel.state import State


class BrokenInvariant(AssertionError):
    """The kernel's state contradicts itself: a defect."""


def check_invariants(state: State) -> None:
    """Raises `BrokenInvariant` for the first rule that does not hold."""
    for job in state.jobs.values():
        _check_job(state, job)
    _check_tasks(state)
    _check_rooms(state)
    _check_consumable_resources(state)
    _check_lines(state)
    for queue in state.queues.values():
        unfinished = sum(job.queue is queue for job in state.jobs.values())
        _require(queue.unfinished == unfinished, f"queue {queue.name} counts {queue.unfinished} jobs, has {unfinished}")
        shares = Counter(job.share for job in state.jobs.values() if job.queue is queue and job.share is not None)
        _require(queue.shares == shares, f"queue {queue.name} counts shares {queue.shares}, has {dict(shares)}")
        _check_quota_shares(state, queue)
        _check_fair_share(state, queue)
        for on_demand, counted in ((False, queue.demand), (True, queue.on_demand)):
            demand = _demand(state, queue, on_demand=on_demand)
            _require(counted == demand, f"queue {queue.name} counts a demand of {counted}, has {dict(demand)}")
        below = _below_caps(state, queue)
        _require(queue.below_caps == below, f"queue {queue.name} counts {queue.below_caps} below caps, has {below}")
        in_flight = caps.counted(state, queue)
        _require(
            queue.in_flight == in_flight, f"queue {queue.name} counts {queue.in_flight}, {in_flight} are in flight"
        )
        _check_blocked(state, queue)
    _require(not state.settling, "something has ended that nobody was told of")


def _check_fair_share(state: State, queue: JobQueue) -> None:
    """The accounts of the shares are what their jobs say; everybody stands in the line of their share, once."""
    if queue.fair is None:
        return
    fair_share = queue.fair.fair_share
    unfinished = {share: account.unfinished for share, account in fair_share.accounts.items() if account.unfinished}
    _require(unfinished == queue.shares, f"queue {queue.name}: accounts of {unfinished}, jobs of {queue.shares}")
    waiting: Counter[str] = Counter()
    for job in state.jobs.values():
        if job.queue is queue:
            runnable = job.array.counts[Status.RUNNABLE] if job.array else int(job.status is Status.RUNNABLE)
            waiting[job.share or ""] += runnable
    waits = {share: account.waiting for share, account in fair_share.accounts.items() if account.waiting}
    _require(waits == +waiting, f"queue {queue.name}: accounts say that {waits} wait, jobs {dict(waiting)}")
    in_flight: Counter[str] = Counter()
    running: Counter[str] = Counter()
    for job in {job.id: job for job in state.tasks.values() if job.queue is queue}.values():
        counts = fair_share_lines.amount(job.resources, job.service)
        in_flight[job.share or ""] += counts
        running[job.share or ""] += counts if job.started_at is not None else 0
    for share, account in fair_share.accounts.items():
        counted = account.in_flight, account.usage.running
        _require(counted == (in_flight[share], running[share]), f"share {share} counts {counted} in flight and running")
    _require(fair_share.in_flight == in_flight.total(), f"queue {queue.name} counts {fair_share.in_flight} in flight")
    _require(not any(fifo.waits(job) for *_, job in queue.waiting), f"somebody waits in {queue.name}, and in no share")
    for share, line in queue.fair.shares.items():
        entries = [entry for heap in (line.waiting, *line.lines.values()) for entry in heap if fifo.waits(entry[3])]
        for *place, job in entries:
            _require(tuple(place) == fifo.place_in_share(job), f"{job.id} stands at the wrong place in its share")
            _require(job.share == share, f"{job.id} stands in the line of another share")
        _require(len({job.id for *_, job in entries}) == len(entries), f"somebody stands twice in share {share}")


def _demand(state: State, queue: JobQueue, *, on_demand: bool) -> Counter[Resources]:
    demand: Counter[Resources] = Counter()
    for job in state.jobs.values():
        for each, count in arrays.waiting_of(job) if job.queue is queue else ():
            if not each.is_withdrawn and each.on_demand is on_demand:
                demand[each.resources] += count
    return demand


def _below_caps(state: State, queue: JobQueue) -> dict[str, dict[Resources, int]]:
    below: dict[str, dict[Resources, int]] = {}
    for job in state.jobs.values():
        for each, count in arrays.waiting_of(job) if job.queue is queue else ():
            for name in each.cap_names if not each.is_withdrawn else ():
                counts = below.setdefault(name, {})
                counts[each.resources] = counts.get(each.resources, 0) + count
    return below


def _check_quota_shares(state: State, queue: JobQueue) -> None:
    """Every job is in a share that there is, and stands in its line at its place."""
    policy = policy_of(state, queue)
    if policy is None or policy.quota_share_policy is None:
        return
    for job in state.jobs.values():
        if job.queue is queue:
            _require(job.share in queue.quota_shares, f"{job.id} is in quota share {job.share}, which is not there")
    for job in state.tasks.values():
        if job.queue is queue and job.task is not None:
            _require(not job.task.ahead, f"{job.id} is in a quota share, and was handed over ahead")
    _require(not any(fifo.waits(job) for *_, job in queue.waiting), f"somebody waits in {queue.name}, and in no share")
    used: Counter[tuple[str, str]] = Counter()
    for job in {job.id: job for job in state.tasks.values() if job.queue is queue}.values():
        used.update({(job.share or "", unit): count for unit, count in job.units.items()})
    for share in queue.quota_shares.values():
        own = Counter({unit: count for (name, unit), count in used.items() if name == share.name})
        _require(share.used == own, f"quota share {share.name} counts {share.used}, uses {own}")
        entries = [entry for heap in (share.waiting, *share.lines.values()) for entry in heap if fifo.waits(entry[3])]
        for *place, job in entries:
            _require(tuple(place) == fifo.place_in_share(job), f"{job.id} stands at the wrong place in its share")
            _require(job.share == share.name, f"{job.id} stands in the line of another share")
        _require(len({job.id for *_, job in entries}) == len(entries), f"somebody stands twice in share {share.name}")


def _check_blocked(state: State, queue: JobQueue) -> None:
    """The clocks are those of the jobs that are blocked, by code; each has been set aside, or is a head of the queue."""
    jobs = [job for job in state.jobs.values() if job.queue is queue]
    children = [child for job in jobs if job.array is not None for child in job.array.children.values()]
    blocked = {(job.blocked.code, job.seq) for job in (*jobs, *children) if job.blocked is not None}
    clocks = {(code, seq) for code, blocking in queue.blocked.items() for seq in blocking}
    _require(clocks == blocked, f"queue {queue.name} has the clocks {clocks}, and {blocked} are blocked")
    for blocking in queue.blocked.values():
        for seq, job in blocking.items():
            _require(seq in queue.unplaceable or seq in queue.held, f"{job.id} has a clock, but blocks nothing")
            code = (job.status_reason or "").partition(" - ")[0]
            waits = job.blocked is not None and fifo.waits(job)
            _require(not waits or (job.blocked is not None and code == job.blocked.code), f"{job.id}: clock and reason")


def _check_job(state: State, job: Job) -> None:
    _require(not job.status.terminal, f"finished job {job.id} is still held")
    begun = job.status in (Status.SCHEDULED, Status.STARTING, Status.RUNNING)
    _require((job.task is not None) == begun, f"{job.id}: task and status")
    _require(
        job.counted_attempts - len(job.attempts or ()) == (job.task is not None), f"{job.id}: attempts do not add up"
    )
    if job.array is not None:
        _check_array(state, job, job.array)
    elif job.parent is None:
        queued = any(entry[2] is job for entry in job.queue.waiting) or job.seq in job.queue.unplaceable
        in_line = any(entry[2] is job for line in job.queue.lines.values() for entry in line)
        line = fifo.line_of(job)
        in_line = in_line or (not isinstance(line, JobQueue) and _stands_in(line, job))
        away = job.status is not Status.RUNNABLE or job.is_withdrawn
        _require(queued or in_line or away, f"{job.id} is RUNNABLE but in no queue")
        _require((job.status is Status.PENDING) == (job.open_dependencies > 0), f"{job.id}: dependencies and status")


def _stands_in(share: QuotaShare | ShareLine, job: Job) -> bool:
    return any(entry[3] is job for heap in (share.waiting, *share.lines.values()) for entry in heap)


def _check_array(state: State, job: Job, array: Array) -> None:
    counted = [array.states.count(status) for status in Status]
    _require(counted == array.counts, f"{job.id}: counts {array.counts}, states {counted}")
    for index, child in array.children.items():
        _require(
            child.status == array.states[index], f"{child.id}: record says {child.status}, byte {array.states[index]}"
        )
        _check_job(state, child)
    for index, status in enumerate(array.states):
        has_record = index in array.children
        _require(
            has_record or status not in (Status.STARTING, Status.RUNNING), f"{job.id}:{index} runs without a record"
        )


def _check_tasks(state: State) -> None:
    in_force = {
        task_id: job
        for parent in state.jobs.values()
        for job in (parent, *(parent.array.children.values() if parent.array else ()))
        if job.task is not None
        for task_id, _ in job.task.in_force
    }
    _require(
        in_force.keys() == state.tasks.keys(), f"jobs have tasks {in_force.keys()}, known are {state.tasks.keys()}"
    )
    for task_id, job in state.tasks.items():
        _require(in_force[task_id] is job, f"task {task_id} is not the task of {job.id}")
        _require(
            job.task is not None and job.task.id == job.task_id, f"task {task_id} is of another attempt of {job.id}"
        )
        _require(job.task is not None and job.task.in_force != [], f"{job.id} has a task of which nothing is in force")


def _check_rooms(state: State) -> None:
    by_instance: dict[str, Resources] = {}
    by_environment: dict[str, Resources] = {}
    for job in {job.id: job for job in state.tasks.values()}.values():
        if job.task is None or job.task.ahead:
            continue
        for instance_id in job.task.instances:
            by_instance[instance_id] = by_instance.get(instance_id, NOTHING) + job.resources
        if job.service is None:
            by_environment[job.task.environment] = by_environment.get(job.task.environment, NOTHING) + job.resources
    for instance in state.instances.values():
        jobs = {
            job.id
            for job in state.tasks.values()
            if job.task is not None and not job.task.ahead and instance.id in job.task.instances
        }
        _require(instance.jobs.keys() == jobs, f"instance {instance.id} runs {jobs}, counts {instance.jobs.keys()}")
        if instance.detail is not None:
            _check_launched(state, instance, instance.detail)
            machine = instance.detail.machine
            by_instance[machine] = by_instance.get(machine, NOTHING) + instance.detail.footprint
    for instance in state.instances.values():
        used = by_instance.get(instance.id, NOTHING)
        _require(used == instance.used, f"instance {instance.id} counts {instance.used}, runs {used}")
        _require(
            used.fits(instance.capacity), f"instance {instance.id} is over-committed: {used} of {instance.capacity}"
        )
    for environment in state.environments.values():
        used = by_environment.get(environment.name, NOTHING)
        _require(used == environment.used, f"environment {environment.name} counts {environment.used}, runs {used}")
    for service_environment in state.service_environments.values():
        name = service_environment.name
        instances = used_in(state, name)
        _require(
            instances == service_environment.used,
            f"service environment {name} counts {service_environment.used}, runs {instances}",
        )


def _check_launched(state: State, instance: Instance, detail: InstanceDetail) -> None:
    """A launched instance is where it belongs: in its environment, among those that take tasks, boot or are idle."""
    environment = state.environments.get(detail.environment)
    if environment is None or instance.id not in environment.instances:
        _require(detail.draining is not None, f"instance {instance.id} has no environment and does not drain")
        return
    _require(
        (instance.id in environment.booting) == (detail.state == "pending"), f"instance {instance.id} boots, or not"
    )
    taking = detail.state == "running" and detail.draining is None
    _require((instance.id in environment.rooms) == taking, f"instance {instance.id} takes tasks, or not")
    if taking:
        room = environment.rooms.room(instance.id)
        _require(room == instance.room, f"instance {instance.id} is said to have {room} free, has {instance.room}")
    idle = taking and not instance.jobs and detail.purchase != "REGISTERED"
    _require((instance.id in state.idle) == idle, f"instance {instance.id} is idle, or not")
    vcpus = sum(each.detail.vcpus for each in environment.instances.values() if each.detail is not None)
    _require(environment.vcpus == vcpus, f"environment {environment.name} counts {environment.vcpus} vCPU, has {vcpus}")


def _check_consumable_resources(state: State) -> None:
    in_use: Counter[tuple[str, str]] = Counter()
    for job in {job.id: job for job in state.tasks.values()}.values():
        for hold in (job.task.holds if job.task else None) or ():
            in_use[hold.resource, hold.uuid] += hold.quantity
    for name, resource in state.consumable_resources.items():
        used = in_use[name, resource.detail.uuid] if resource.replenishable else 0
        _require(used == resource.in_use, f"consumable resource {name} counts {resource.in_use} in use, {used} are")
        _require(resource.detail.total >= 0, f"consumable resource {name} has a total of {resource.detail.total}")


def _check_lines(state: State) -> None:
    """Who stands first in a line lacks something, or somebody who needs the same thing is before them in the queue."""
    for queue in lines.all_queues(state):
        called = {name for *_, job in queue.waiting if fifo.waits(job) for name, _ in caps.requirements(job)}
        for name, line in queue.lines.items():
            first = min((entry for entry in line if fifo.waits(entry[-1])), default=None)
            if first is None or name in called or name in state.freed:
                continue
            lacking = lines.lacks_anything(state, first[-1])
            _require(lacking, f"{first[-1].id} stands in the line for {name}, and all that it needs is there")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise BrokenInvariant(message)
