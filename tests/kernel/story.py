"""Drives a `Kernel` so that a test reads as a story.

Virtual time, an engine that only writes down its orders, invariants re-derived after every step, and books that have to
balance: every order that the kernel gives must be named by the story (`story.ordered("start A#1")`), every task that
ends must be acknowledged exactly once, and nothing may be ordered before its row is to be committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from state_dump import dump_state

from batchyard.kernel.commands import (
    CancelJob,
    Command,
    CreateComputeEnvironment,
    CreateJobQueue,
    DeleteJobQueue,
    RegisterJobDefinition,
    SubmitJob,
    TerminateJob,
    UpdateComputeEnvironment,
    UpdateJobQueue,
)
from batchyard.kernel.dependencies import JobFact
from batchyard.kernel.effects import Effects, Transition, Wait
from batchyard.kernel.identifiers import Account, split_child
from batchyard.kernel.invariants import check_invariants
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.messages import Observation, TaskExited, TaskLost, TaskRecalled, TaskStarted, TaskUnknown
from batchyard.kernel.records import Job, Status
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import Settings
from batchyard.kernel.stored import Snapshot, restore
from batchyard.kernel.waiting import Reason, explain
from batchyard.shapes import batch as shapes

NOON = 1_700_000_000_000
ACCOUNT = Account(region="eu-west-1", account_id="123456789012")
SMALL = 128
"""MiB: what a job asks for unless the story says otherwise."""


class Story:
    """A kernel with one engine `local` (2 vCPU, 4,096 MiB), a compute environment and a queue `q`, unless told otherwise."""

    def __init__(
        self,
        *,
        vcpus: int = 2,
        memory: int = 4096,
        gpus: int = 0,
        lead: int = 0,
        bare: bool = False,
        save: Callable[[Effects], None] | None = None,
        **settings: Any,
    ) -> None:
        """`settings`: those of the kernel. Unless told otherwise, environments place jobs on the machine itself."""
        self._settings = Settings(**{"account": ACCOUNT, "slices": True, **settings})
        self.now = NOON
        self._machine = (Resources(1000 * vcpus, memory, gpus), lead)
        self.kernel = self._new_kernel()
        self.jobs: dict[str, Job] = {}
        self.details: dict[str, shapes.JobDetail] = {}
        self.waits: list[Wait] = []
        self._labels: dict[str, str] = {}
        self._transitions: list[Transition] = []
        self._orders: list[str] = []
        self._in_force: dict[str, str] = {}
        self._started: Counter[str] = Counter()
        self._may_restart: set[str] = set()
        self.save = save
        """Where a story keeps its rows, when it has a store."""
        self._to_acknowledge: list[str] = []
        if not bare:
            self.environment("ce", max_vcpus=vcpus)
            self.queue("q", ["ce"])
            self.definition("work")

    def _new_kernel(self) -> Kernel:
        kernel = Kernel(self._settings)
        kernel.add_machine("local", *self._machine)
        return kernel

    def restored(self, snapshot: Snapshot) -> Kernel:
        """A kernel made from what was saved: nothing that can be observed is different."""
        kernel = self._new_kernel()
        restore(kernel.state, snapshot, self.now)
        assert dump_state(kernel.state) == dump_state(self.kernel.state)
        return kernel

    def restart(self, snapshot: Snapshot) -> None:
        """The server is started again, and the story goes on from what was saved."""
        self.kernel = kernel = self.restored(snapshot)
        for job in kernel.state.jobs.values():
            self.jobs[self.label(job.id)] = job
            for child in job.array.children.values() if job.array else ():
                self.jobs[self.label(child.id)] = child
        self._turn()

    # What exists

    def environment(
        self,
        name: str,
        *,
        max_vcpus: int = 16,
        min_vcpus: int = 0,
        kind: str = "EC2",
        types: Sequence[str] = ("optimal",),
        strategy: str = "BEST_FIT_PROGRESSIVE",
        resources: Mapping[str, Any] = {},
        **members: Any,
    ) -> None:
        """`resources`: further members of `computeResources`."""
        compute_resources = shapes.ComputeResource(
            type=kind,
            allocation_strategy=strategy,
            min_vcpus=min_vcpus,
            max_vcpus=max_vcpus,
            instance_types=list(types),
            instance_role="role",
            spot_iam_fleet_role="role",
            subnets=["subnet"],
            **resources,
        )
        request = shapes.CreateComputeEnvironmentRequest(
            compute_environment_name=name, type="MANAGED", compute_resources=compute_resources, **members
        )
        self.tell(CreateComputeEnvironment(request, f"uuid-{name}"))
        self.pass_time(0.01)

    def change_environment(self, name: str, *, resources: Mapping[str, Any] = {}, **members: Any) -> None:
        """`resources`: members of `computeResources`; `max_vcpus` among them may be given by itself."""
        changes = dict(resources)
        if "max_vcpus" in members:
            changes["max_vcpus"] = members.pop("max_vcpus")
        self.tell(
            UpdateComputeEnvironment(
                shapes.UpdateComputeEnvironmentRequest(
                    compute_environment=name,
                    compute_resources=shapes.ComputeResourceUpdate(**changes) if changes else None,
                    **members,
                )
            )
        )
        self.pass_time(0.01)

    def queue(self, name: str, environments: Sequence[str], *, priority: int = 1, **members: Any) -> None:
        self.tell(
            CreateJobQueue(
                shapes.CreateJobQueueRequest(
                    job_queue_name=name, priority=priority, compute_environment_order=order_of(environments), **members
                )
            )
        )
        self.pass_time(0.01)

    def change_queue(self, name: str, environments: Sequence[str] | None = None, **members: Any) -> None:
        order = order_of(environments) if environments is not None else None
        self.tell(
            UpdateJobQueue(shapes.UpdateJobQueueRequest(job_queue=name, compute_environment_order=order, **members))
        )
        self.pass_time(0.01)

    def delete_queue(self, name: str) -> None:
        self.change_queue(name, state="DISABLED")
        self.tell(DeleteJobQueue(name))

    def definition(self, name: str, **members: Any) -> str:
        return self.tell(RegisterJobDefinition(definition_request(name, **members), 100)).job_definition_arn

    # What callers do

    def submit(
        self,
        label: str,
        *,
        vcpus: int = 1,
        memory: int = SMALL,
        array: int | None = None,
        after: Sequence[str] = (),
        n_to_n: Sequence[str] = (),
        sequential: bool = False,
        queue: str = "q",
        definition: str = "work",
        attempts: int | None = None,
        evaluate: Sequence[Mapping[str, str]] = (),
        timeout: int | None = None,
        **members: Any,
    ) -> str:
        """Submits a job whose name is the story's label. `evaluate`: entries such as `{"onReason": "x*", "action": "EXIT"}`."""
        depends_on = [shapes.JobDependency(job_id=self.id(other)) for other in after]
        depends_on += [shapes.JobDependency(job_id=self.id(other), type="N_TO_N") for other in n_to_n]
        if sequential:
            depends_on.append(shapes.JobDependency(type="SEQUENTIAL"))
        overrides = members.pop("overrides", None) or shapes.ContainerOverrides(
            resource_requirements=[
                shapes.ResourceRequirement(type="VCPU", value=str(vcpus)),
                shapes.ResourceRequirement(type="MEMORY", value=str(memory)),
            ]
        )
        return self.send(
            label,
            shapes.SubmitJobRequest(
                job_name=label,
                job_queue=queue,
                job_definition=definition,
                array_properties=shapes.ArrayProperties(size=array) if array is not None else None,
                depends_on=depends_on or None,
                container_overrides=overrides,
                retry_strategy=retry_strategy(attempts, evaluate) if attempts is not None else None,
                timeout=shapes.JobTimeout(attempt_duration_seconds=timeout) if timeout is not None else None,
                **members,
            ),
        )

    def send(self, label: str, request: shapes.SubmitJobRequest) -> str:
        """Submits a request as it is, under the story's label."""
        job_id = f"{len(self._labels):08x}-0000-4000-8000-000000000000"
        self._labels[job_id] = label
        return self.tell(SubmitJob(request=request, job_id=job_id, size=100, facts=self.facts(request))).job_id

    def facts(self, request: shapes.SubmitJobRequest) -> dict[str, JobFact]:
        """What the store would know of the dependencies that have finished."""
        found: dict[str, JobFact] = {}
        for dependency in request.depends_on or ():
            parent_id, index = split_child(dependency.job_id or "")
            job = self.jobs.get(self._labels.get(parent_id, ""))
            if job is None or not job.status.terminal:
                continue
            states = bytes(job.array.states) if job.array else b""
            if index is None:
                found[dependency.job_id or ""] = JobFact(job.status, job.array.size if job.array else None, states)
            elif index < len(states):
                found[dependency.job_id or ""] = JobFact(Status(states[index]))
        return found

    def cancel(self, label: str, reason: str = "not wanted") -> None:
        self.tell(CancelJob(self.id(label), reason))

    def terminate(self, label: str, reason: str = "stop it") -> None:
        self.tell(TerminateJob(self.id(label), reason))

    def refused(self, command: Command) -> str:
        """Asserts that the command is refused and that nothing at all changes. Returns the text."""
        before = dump_state(self.kernel.state, exact=True)
        with pytest.raises(Refusal) as refusal:
            self.kernel.apply(command, self.now)
        assert dump_state(self.kernel.state, exact=True) == before
        assert self.kernel.state.effects == Effects()
        return refusal.value.message

    def refused_submission(self, **members: Any) -> str:
        """As `refused`, for a SubmitJob that is in order but for these members."""
        return self.refused(submission(**members))

    # What the engine sees

    def begin(self, *labels: str) -> None:
        for label in labels:
            self.observe(TaskStarted(self._task(label), self.now))

    def exit(
        self,
        label: str,
        code: int | None = 0,
        reason: str | None = None,
        *,
        started: bool = True,
        message: str | None = None,
    ) -> None:
        """The task ends; `started`: it did run (the engine may tell so only now)."""
        task_id = self._ends(label)
        self.observe(TaskExited(task_id, self.now, code, reason, self.now if started else None, message))

    def run(self, *labels: str, code: int = 0) -> None:
        """The tasks begin, and a second later they end."""
        for label in labels:
            self.begin(label)
            self.pass_time(1)
            self.exit(label, code)

    def lose(self, label: str) -> None:
        self.observe(TaskLost(self._ends(label), self.now))

    def unknown(self, label: str) -> None:
        """The engine has never begun the task."""
        task_id = self._task(label)
        self._may_restart.add(task_id)
        self._started[task_id] -= 1
        job = self.kernel.state.tasks[task_id]
        assert job.task is not None
        if job.task.ending is not None:
            self._ends(label)
        self.observe(TaskUnknown(task_id))

    def give_back(self, label: str) -> None:
        """The engine gives back a task that it has not begun."""
        task_id = self._task(label)
        del self._in_force[task_id]
        self._started[task_id] -= 1
        self.observe(TaskRecalled(task_id))

    # Time

    def pass_time(self, seconds: float) -> None:
        """Time passes; the kernel is woken whenever it asked to be."""
        until = self.now + round(1000 * seconds)
        while (due := self.kernel.next_wakeup(self.now)) is not None and due <= until:
            self.now = max(due, self.now)
            before = dump_state(self.kernel.state, exact=True)
            self._turn()
            after = self.kernel.next_wakeup(self.now)
            stuck = after is not None and after <= self.now and dump_state(self.kernel.state, exact=True) == before
            assert not stuck, "the kernel asks to be woken and then has nothing to do"
        self.now = until
        self._turn()

    # The machinery

    def tell(self, command: Command) -> Any:
        answer = self.kernel.apply(command, self.now)
        self._turn()
        return answer

    def observe(self, observation: Observation) -> None:
        self.kernel.apply(observation, self.now)
        self._turn()

    def _turn(self) -> None:
        """What the control loop does: a step, a commit, then the orders."""
        self.kernel.step(self.now)
        check_invariants(self.kernel.state)
        effects = self.kernel.take_effects()
        self._commit(effects)
        for start in effects.start:
            assert start.job.task is not None
            assert start.task_id in dict(start.job.task.in_force)
            again = start.task_id in self._may_restart
            self._may_restart.discard(start.task_id)
            assert again or start.job.seq in effects.jobs, "a start whose row is not in the same commit"
            assert self._started[start.task_id] == 0, "an attempt is started twice"
            self._started[start.task_id] += 1
            label = f"{self.label(start.job.id)}#{start.attempt}"
            if start.job.task.nodes is not None:
                label += f"/{1 + [node.id for node in start.job.task.nodes].index(start.task_id)}"
            self._in_force[start.task_id] = label
            self._orders.append(f"start {label}")
        for stop in effects.stop:
            self._orders.append(f"stop {self._in_force[stop.task_id]} {stop.grace_seconds:g}")
        for task_ids in effects.recall.values():
            self._orders += [f"recall {self._in_force[task_id]}" for task_id in task_ids]
        acknowledged = [task_id for task_ids in effects.acknowledge.values() for task_id in task_ids]
        assert acknowledged == self._to_acknowledge, "what ended and what is acknowledged differ"
        self._to_acknowledge = []
        assert self.kernel.state.tasks.keys() == self._in_force.keys()

    def _commit(self, effects: Effects) -> None:
        if self.save is not None:
            self.save(effects)
        for job in effects.jobs.values():
            self.jobs[self.label(job.id)] = job
        for seq, detail in effects.details:
            self.details[self.label(effects.jobs[seq].id)] = detail
        assert effects.created <= effects.jobs.keys(), "a row that is to be created is missing"
        self._transitions += effects.transitions
        self.waits += effects.waits

    def _task(self, label: str) -> str:
        """The engine's id of a job's task; `J/2` is the second of several."""
        job_label, _, node = label.partition("/")
        job = self.kernel.state.jobs.get(self.id(job_label)) if node else None
        if job is None:
            found = self.kernel.state.find(self.id(job_label))
            assert found is not None, f"{label} is not held"
            job = found[0]
        assert job.task is not None, f"{label} has no task"
        if node:
            assert job.task.nodes is not None
            return job.task.nodes[int(node) - 1].id
        return job.task.id

    def _ends(self, label: str) -> str:
        task_id = self._task(label)
        del self._in_force[task_id]
        self._to_acknowledge.append(task_id)
        return task_id

    # What can be seen

    def id(self, label: str) -> str:
        """The job id of a label; `A:3` is a child of `A`. What is no label is taken as an id."""
        parent, index = split_child(label)
        for job_id, known in self._labels.items():
            if known == parent:
                return job_id if index is None else f"{job_id}:{index}"
        return label

    def label(self, job_id: str) -> str:
        parent, index = split_child(job_id)
        return self._labels[parent] + ("" if index is None else f":{index}")

    def ordered(self, *orders: str) -> None:
        """Exactly these orders have been given since the last call."""
        given, self._orders = self._orders, []
        assert given == list(orders)

    def status(self, label: str) -> str:
        parent, index = split_child(label)
        if index is None:
            return self.jobs[parent].status.name
        array = self.jobs[parent].array
        assert array is not None
        return Status(array.states[index]).name

    def reason(self, label: str) -> str | None:
        """`statusReason`; for a child that never had a record, what its parent says."""
        if label in self.jobs:
            return self.jobs[label].status_reason
        parent, index = split_child(label)
        job = self.jobs[parent]
        assert index is not None
        assert job.array is not None
        return job.array.untouched_reason if job.array.states[index] == Status.FAILED else job.status_reason

    def attempts(self, label: str) -> list[tuple[int | None, str | None]]:
        """(exit code, status reason) of the attempts that have ended."""
        return [
            (attempt.container.exit_code if attempt.container else None, attempt.status_reason)
            for attempt in self.jobs[label].attempts or ()
        ]

    def summary(self, label: str) -> dict[str, int]:
        """`statusSummary` without the zeros."""
        array = self.jobs[label].array
        assert array is not None
        return {Status(status).name: count for status, count in enumerate(array.counts) if count}

    def records(self) -> int:
        """How many job records the kernel holds, children and all."""
        jobs = self.kernel.state.jobs.values()
        return sum(1 + (len(job.array.children) if job.array else 0) for job in jobs)

    def history(self, label: str) -> list[tuple[str, str | None]]:
        seq = self.jobs[label].seq
        return [(line.status.name, line.reason) for line in self._transitions if line.job_seq == seq]

    def given(self, kind: str) -> list[str]:
        """The orders of this kind since the last call, without the kind; they are accounted for by that."""
        found = [order for order in self._orders if order.startswith(f"{kind} ")]
        self._orders = [order for order in self._orders if order not in found]
        return [order.removeprefix(f"{kind} ") for order in found]

    def states(self, label: str) -> list[str]:
        return [status for status, _ in self.history(label)]

    def why(self, label: str) -> Reason:
        found = self.kernel.state.find(self.id(label))
        assert found is not None, f"{label} is not held"
        return explain(self.kernel.state, *found)

    def over(self) -> None:
        """The end of the story: nothing is left unsaid."""
        assert self._orders == []
        assert self._in_force == {}
        assert self.kernel.state.jobs == {}


def order_of(environments: Sequence[str]) -> list[shapes.ComputeEnvironmentOrder]:
    return [
        shapes.ComputeEnvironmentOrder(order=order, compute_environment=name)
        for order, name in enumerate(environments, 1)
    ]


def retry_strategy(attempts: int, evaluate: Sequence[Mapping[str, str]] = ()) -> shapes.RetryStrategy:
    entries = [msgspec.convert(dict(entry), shapes.EvaluateOnExit) for entry in evaluate]
    return shapes.RetryStrategy(attempts=attempts, evaluate_on_exit=entries or None)


def container(**members: Any) -> shapes.ContainerProperties:
    """Container properties that are in order; `members` replace or add."""
    given: dict[str, Any] = {
        "image": "busybox",
        "command": ["true"],
        "resource_requirements": [
            shapes.ResourceRequirement(type="VCPU", value="1"),
            shapes.ResourceRequirement(type="MEMORY", value=str(SMALL)),
        ],
    }
    return shapes.ContainerProperties(**given | members)


def definition_request(name: str, **members: Any) -> shapes.RegisterJobDefinitionRequest:
    given: dict[str, Any] = {"type": "container", "container_properties": container()}
    return shapes.RegisterJobDefinitionRequest(job_definition_name=name, **given | members)


def submission(size: int = 100, facts: Mapping[str, JobFact] | None = None, **members: Any) -> SubmitJob:
    """A SubmitJob that is in order but for these members."""
    given: dict[str, Any] = {"job_name": "job", "job_queue": "q", "job_definition": "work"}
    return SubmitJob(
        request=shapes.SubmitJobRequest(**given | members),
        job_id="ffffffff-0000-4000-8000-000000000000",
        size=size,
        facts=dict(facts or {}),
    )
