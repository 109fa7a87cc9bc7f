"""The way into the kernel: messages in, effects out.

    kernel.apply(message, now)   changes the state; answers a command or raises `Refusal` (then nothing has changed)
    kernel.step(now)             lets time pass and work be placed
    kernel.take_effects()        what is to be committed, and then done

The control loop commits the effects before it acts on them. The simulator and the tests drive the same methods.
"""

from __future__ import annotations

from heapq import heapify, heappop
from typing import Any

from batchyard.kernel import autoscaling, caps, gangs, lifecycle, queue_preemption, quota_placement, waiting
from batchyard.kernel.backoff import wake
from batchyard.kernel.blocked import block, unblock
from batchyard.kernel.commands import Command
from batchyard.kernel.draining import complete_instances
from batchyard.kernel.effects import Effects, Wait
from batchyard.kernel.environments import complete_environments, environments_due
from batchyard.kernel.handling import handle
from batchyard.kernel.identifiers import instance_id_of
from batchyard.kernel.messages import (
    Observation,
    TaskExited,
    TaskLost,
    TaskRecalled,
    TaskStarted,
    TaskUnknown,
)
from batchyard.kernel.ordering import fair_share_lines, fifo, lines, share_lines
from batchyard.kernel.placement import find_place
from batchyard.kernel.queues import complete_queues, queues_due
from batchyard.kernel.quota_shares import complete_quota_shares, quota_shares_due
from batchyard.kernel.records import FairShareLines, HeadWait, Instance, Job, JobQueue, Status
from batchyard.kernel.reservations import Reservation, asks_for_no_less, find_place_beside, reserve
from batchyard.kernel.resources import Resources
from batchyard.kernel.service_environments import complete_service_environments, service_environments_due
from batchyard.kernel.service_placement import find_gang
from batchyard.kernel.state import Settings, State
from batchyard.kernel.time_limits import end_blocked, time_limits_due
from batchyard.kernel.yielding import first_of

STARTS_A_STEP = 1000
"""A cap on the work of one round: a thousand starts, then the effects are committed, then the next."""
STALE_DEADLINES = 1000
"""So many deadlines of attempts that have ended are nothing to clean up for."""
NOTEWORTHY_WAIT = 1000
"""Milliseconds for which a reason must have held up a queue before it is written to the history."""
STANDSTILL = 1000
"""Milliseconds without an end on an instance after which what was handed over ahead is taken back."""


class Kernel:
    """Holds the state; see the module's text."""

    def __init__(self, settings: Settings) -> None:
        self.state = State(settings=settings)
        self._unfinished_round = False

    def apply(self, message: Command | Observation, now: int) -> Any:
        """Takes in one message. Answers a command; raises `Refusal` for one that breaks a rule."""
        self.state.now = now
        if isinstance(message, Observation):
            self._observe(message, now)
            lifecycle.settle(self.state, now)
            return None
        answer = handle(self.state, message, now)
        lifecycle.settle(self.state, now)
        return answer

    def _observe(self, message: Observation, now: int) -> None:
        job = self.state.tasks.get(message.task_id)
        if job is not None and job.task is not None and job.task.nodes is not None:
            gangs.observe(self.state, job, job.task.nodes, message, now)
            return
        match message:
            case TaskStarted():
                lifecycle.started(self.state, message.task_id, message.at)
            case TaskExited():
                lifecycle.exited(
                    self.state, message.task_id, message.at, message.exit_code, message.reason, message.started_at
                )
            case TaskLost():
                lifecycle.lost(self.state, message.task_id, message.at)
            case TaskUnknown():
                lifecycle.unknown(self.state, message.task_id, now)
            case TaskRecalled():
                lifecycle.recalled(self.state, message.task_id, now)

    def add_machine(self, engine: str, capacity: Resources, lead: int) -> None:
        """An engine has come up with this much to offer."""
        instance_id = instance_id_of(engine)
        machine = self.state.machines.get(instance_id)
        if machine is None:
            machine = Instance(id=instance_id, engine=engine, capacity=capacity, lead=lead)
            self.state.machines[instance_id] = self.state.instances[instance_id] = machine
        machine.capacity, machine.lead = capacity, lead
        lifecycle.reconsider_all(self.state)

    def step(self, now: int) -> None:
        """Lets time pass (time-outs, status changes that are due), then places jobs, queue by queue in descending order of
        priority."""
        state = self.state
        state.now = now
        complete_environments(state, now)
        complete_instances(state, now)
        complete_service_environments(state, now)
        complete_queues(state, now)
        complete_quota_shares(state, now)
        self._time_out(now)
        wake(state, now)
        self._recall_standing_lines(now)
        lines.call_freed(state)
        for queue in state.queues.values():
            self._look_again(queue, now)
        budget = self._place_all(STARTS_A_STEP, now)
        while budget and state.scaling_due:
            if autoscaling.scale(state, now):
                budget = self._place_all(budget, now)
        if budget and state.claims:
            queue_preemption.preempt(state)
        self._explain_newcomers()
        self._unfinished_round = budget == 0 or end_blocked(state, now) or state.scaling_due
        lifecycle.settle(state, now)

    def _place_all(self, budget: int, now: int) -> int:
        """Starts jobs, queue by queue. Returns what is left of the round's budget."""
        self.state.claims.clear()
        for queue in sorted(self.state.queues.values(), key=lambda queue: -(queue.detail.priority or 0)):
            budget = self._serve(queue, budget, now)
        return budget

    def _time_out(self, now: int) -> None:
        """Ends the attempts whose time is up. Deadlines of attempts that have ended by themselves are dropped when they make
        up most of them."""
        state = self.state
        while state.deadlines and state.deadlines[0][0] <= now:
            lifecycle.time_out(state, heappop(state.deadlines)[1])
        if len(state.deadlines) > 2 * len(state.tasks) + STALE_DEADLINES:
            state.deadlines = [deadline for deadline in state.deadlines if deadline[1] in state.tasks]
            heapify(state.deadlines)

    def _look_again(self, queue: JobQueue, now: int) -> None:
        """When the queue's environments have changed: brings back what was set aside and can run now, and gives the rest their
        new numbers. What is brought back keeps its reason until the queue has been served."""
        if not queue.changed:
            return
        queue.changed = False
        reasons: dict[tuple[object, ...], waiting.Reason | None] = {}
        for job in list(queue.unplaceable.values()):
            shape = waiting.shape_of(job)
            if shape not in reasons:
                reasons[shape] = waiting.never_fits(self.state, job)
            never = reasons[shape]
            if never is not None and fifo.waits(job):
                self._show_reason(job, never, now)
            else:
                fifo.bring_back(queue, job)
                queue.held[job.seq] = job

    def _serve(self, queue: JobQueue, budget: int, now: int) -> int:
        """Places what fits, then takes the reason from those that had one as heads of the queue and are no heads now. Returns
        what is left of the round's budget."""
        former, queue.held = queue.held, {}
        allowed = caps.room_in(queue, budget)
        left = self._place_from(queue, allowed, now)
        budget -= allowed - left
        if left == 0:
            queue.held = former | queue.held
            if budget:
                self._hold_full(queue, now)
            return budget
        for seq, job in former.items():
            if job.blocked is not None and seq not in queue.held and seq not in queue.unplaceable:
                self._clear_reason(job)
        return budget

    def _hold_full(self, queue: JobQueue, now: int) -> None:
        """The queue has reached its cap: whoever is next has to wait for that."""
        first = first_of(self.state, queue)
        if first is None:
            queue.wait = None
        else:
            self._hold_head(queue, first, now)

    def _place_from(self, queue: JobQueue, budget: int, now: int) -> int:
        """Starts jobs of one queue until its head has to wait. Returns what is left of the budget."""
        if queue.quota_shares:
            return self._place_from_shares(queue, budget, now)
        if queue.fair is not None:
            return self._place_fairly(queue, queue.fair, budget, now)
        while budget:
            job = fifo.head(queue)
            if job is None:
                queue.wait = None
                return budget
            if lines.stand_in_line(self.state, queue):
                continue
            if self._start(job, now):
                queue.last_start = fifo.place(job), now
                fifo.take(queue)
                lines.call(self.state, queue, job)
                budget -= 1
                continue
            never = waiting.never_fits(self.state, job)
            if never is None:
                self._hold_head(queue, job, now)
                queue_preemption.claim(self.state, job, now)
                return self._backfill(queue, job, budget, now)
            fifo.set_aside(queue)
            lines.call(self.state, queue, job)
            self._show_reason(job, never, now)
        return budget

    def _backfill(self, queue: JobQueue, head: Job, budget: int, now: int) -> int:
        """Starts jobs behind the head that do not delay it. Jobs of one shape are considered once."""
        if len(queue.demand) + len(queue.on_demand) < 2:
            return budget
        reservation: Reservation | None = None
        reserved = False
        for heap in fifo.others_behind(queue, head):
            while budget and heap:
                job = heap[0][2]
                if find_place(self.state, job) is None:
                    break
                if not reserved:
                    reservation, reserved = reserve(self.state, head, now), True
                if self._start_beside(job, reservation, now) is None:
                    break
                fifo.pass_by(queue, heap)
                budget -= 1
        return budget

    def _place_fairly(self, queue: JobQueue, fair: FairShareLines, budget: int, now: int) -> int:
        """As `_place_from`, for a queue with fair share: until the heads of all shares have to wait. The first that does not fit
        keeps its room, as the head of a FIFO queue does."""
        waits: Job | None = None
        reservation: Reservation | None = None
        refused: list[Job] = []
        for job in fair_share_lines.candidates(fair, now):
            line = fair.of(job.share or "")
            if budget == 0 or caps.is_share_full(job) or lines.stand_in_line(self.state, line):
                continue
            if any(asks_for_no_less(job, other) for other in refused):
                continue
            held_back = fair_share_lines.is_held_back(self.state, queue, job)
            if held_back:
                begun = None
            elif waits is None:
                begun = self._start(job, now)
            else:
                begun = self._start_beside(job, reservation, now)
            if begun is not None:
                queue.last_start = fifo.place(job), now
                fair_share_lines.take(line)
                lines.call(self.state, line, job)
                budget -= 1
                continue
            never = waiting.never_fits(self.state, job)
            if never is not None:
                fair_share_lines.drop_head(line)
                queue.unplaceable[job.seq] = job
                lines.call(self.state, line, job)
                self._show_reason(job, never, now)
            elif waits is None:
                waits, reservation = job, reserve(self.state, job, now)
            elif not held_back and job.consumables is None:
                refused.append(job)
        if waits is not None:
            self._hold_head(queue, waits, now)
            queue_preemption.claim(self.state, waits, now)
        elif budget:
            queue.wait = None
        return budget

    def _start_beside(self, job: Job, reservation: Reservation | None, now: int) -> Job | None:
        """Begins an attempt of a job that does not delay the one with the reservation."""
        if lines.lacks_anything(self.state, job):
            return None
        claims = queue_preemption.claims_before(self.state, job.queue)
        if claims:
            place = queue_preemption.find_place_behind(self.state, job, claims, reservation, now)
        else:
            place = find_place_beside(self.state, job, reservation, now)
        if place is None:
            return None
        unblock(job)
        return lifecycle.start(self.state, job, place, now)

    def _place_from_shares(self, queue: JobQueue, budget: int, now: int) -> int:
        """As `_place_from`, for a queue with quota shares: until the heads of all of them have to wait."""
        heads = self._heads_of_shares(queue, now)
        if not heads:
            queue.wait = None
            return budget
        ledger = quota_placement.ledger_of(self.state, queue)
        while budget:
            job = quota_placement.next_job(ledger, heads)
            begun = self._start(job, now) if job is not None else None
            if job is None or begun is None:
                break
            share = queue.quota_shares[job.share or ""]
            queue.last_start = fifo.place(job), now
            share_lines.take(share)
            lines.call(self.state, share, job)
            ledger.add(quota_placement.claim_of(begun))
            budget -= 1
            heads = self._heads_of_shares(queue, now)
        if not heads:
            queue.wait = None
        elif budget:
            quota_placement.preempt(self.state, queue, ledger, heads)
            self._hold_head(queue, heads[0], now)
            for job in heads[1:]:
                self._hold(queue, job, now)
        return budget

    def _heads_of_shares(self, queue: JobQueue, now: int) -> list[Job]:
        """The first job of each share that only lacks room. What could never run is set aside, and what lacks a consumable
        resource stands in the line for it."""
        for share in queue.quota_shares.values():
            while (job := share_lines.head(share)) is not None:
                if lines.stand_in_line(self.state, share):
                    continue
                never = waiting.never_fits(self.state, job)
                if never is None:
                    break
                share_lines.drop_head(share)
                queue.unplaceable[job.seq] = job
                lines.call(self.state, share, job)
                self._show_reason(job, never, now)
        return quota_placement.heads(queue)

    def _start(self, job: Job, now: int) -> Job | None:
        """Begins an attempt where there is room for it, and gives the job (of an array, the child) that has begun. A job in a
        quota share is never handed over ahead: its share would use what another has a better claim to."""
        if job.service is not None:
            gang = find_gang(self.state, job, job.service)
            if gang is not None:
                unblock(job)
                gangs.start(self.state, job, job.service, gang, now)
            return job if gang is not None else None
        if queue_preemption.claims_before(self.state, job.queue):
            return self._start_beside(job, None, now)
        place = find_place(self.state, job)
        if place is None and autoscaling.let_idle_go(self.state, job, now):
            place = find_place(self.state, job)
        if place is None or (place.ahead and job.quota_share is not None):
            return None
        unblock(job)
        return lifecycle.start(self.state, job, place, now)

    def _hold_head(self, queue: JobQueue, job: Job, now: int) -> None:
        """The job whose turn it is has to wait."""
        kind = self._hold(queue, job, now)
        if queue.wait is None or queue.wait.kind != kind:
            queue.wait = HeadWait(kind, now)
        elif not queue.wait.written and now - queue.wait.since >= NOTEWORTHY_WAIT:
            queue.wait.written = True
            text = waiting.head_reason(self.state, queue, job, f"Job {job.id}").text
            self.state.effects.waits.append(Wait(queue.name, queue.wait.since, text))

    def _hold(self, queue: JobQueue, job: Job, now: int) -> str:
        """Shows AWS's code for the wait of the head of a line, with the numbers as they are when it is new. Returns its
        kind."""
        code, kind = waiting.head_code(self.state, queue, job)
        if code is not None:
            queue.held[job.seq] = job
            if job.blocked is None or job.blocked.code != code or code == waiting.INVALID:
                self._show_reason(job, waiting.head_reason(self.state, queue, job), now)
        elif job.blocked is not None or (job.status_reason or "").startswith(waiting.CODES):
            self._clear_reason(job)
        return kind

    def _show_reason(self, job: Job, reason: waiting.Reason, now: int) -> None:
        assert reason.code is not None
        if block(job, reason.code, now) or job.status_reason != reason.status_reason:
            job.status_reason = reason.status_reason
            self.state.save(job)

    def _clear_reason(self, job: Job) -> None:
        unblock(job)
        job.status_reason = None
        self.state.save(job)

    def _recall_standing_lines(self, now: int) -> None:
        for instance in self.state.machines.values():
            if instance.line and now - instance.moved_at >= STANDSTILL:
                instance.moved_at = now
                instance.stands_still = True
                recalled = self.state.effects.recall.setdefault(instance.engine, [])
                recalled += [job.task.id for job in instance.line if job.task is not None]

    def _explain_newcomers(self) -> None:
        """Says in the history why a job that has just become RUNNABLE did not start at once."""
        newcomers, self.state.newcomers = self.state.newcomers, []
        own: dict[tuple[object, ...], str | None] = {}
        of_heads: dict[tuple[str, bool], str] = {}
        for job, transition in newcomers:
            if job.status is not Status.RUNNABLE or transition.reason is not None:
                continue
            first = waiting.first_before(self.state, job) or job
            shape = (job.queue.name, *waiting.shape_of(job), caps.requirements(job), first.id)
            if shape not in own:
                own[shape] = self._own_reason(job)
            text, key = own[shape], (first.id, job is first)
            if text is None and key not in of_heads:
                subject = "It" if job is first else f"Job {first.id}, which is ahead of it,"
                of_heads[key] = waiting.head_reason(self.state, job.queue, first, subject).text
            transition.reason = text if text is not None else of_heads[key]

    def _own_reason(self, job: Job) -> str | None:
        """Why a job waits, if not for its turn."""
        reason = waiting.never_fits(self.state, job) or waiting.consumable_reason(self.state, job)
        return reason.text if reason is not None else None

    def take_effects(self) -> Effects:
        """What has been decided since the last call."""
        effects, self.state.effects = self.state.effects, Effects()
        self.state.ended.clear()
        return effects

    def next_wakeup(self, now: int) -> int | None:
        """When `step` should be called though nothing happens, in milliseconds since the epoch; None: not at all."""
        state = self.state
        if self._unfinished_round:
            return now
        times = [
            *environments_due(state),
            *service_environments_due(state),
            *queues_due(state),
            *quota_shares_due(state),
            *time_limits_due(state),
        ]
        if state.put_off:
            times.append(state.put_off[0][0])
        if state.deadlines:
            times.append(state.deadlines[0][0])
        if state.timers:
            times.append(state.timers[0][0])
        times += [
            queue.wait.since + NOTEWORTHY_WAIT
            for queue in state.queues.values()
            if queue.wait is not None and not queue.wait.written
        ]
        times += [instance.moved_at + STANDSTILL for instance in state.machines.values() if instance.line]
        return min(times, default=None)
