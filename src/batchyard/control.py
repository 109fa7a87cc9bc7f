"""The control loop: the only place where the kernel meets the store, the engines and the clock.

Everything that may change something goes through one mailbox. The loop takes all that has come in, lets the kernel
decide, commits what it decided in one transaction (group commit), and only then answers the callers and gives the
orders to the engines. While the disk is busy the next messages gather. Between two rounds the kernel's state is exactly
what has been committed, so what is read from it then is never taken back by a crash.

When a commit fails (a full disk), nothing of the round has happened: callers get an error, and the kernel's state is
rebuilt from the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from batchyard.engines.base import Engine, TaskSpec
from batchyard.kernel.commands import Command, SubmitJob
from batchyard.kernel.compute_resources import is_fargate
from batchyard.kernel.dependencies import JobFact, missing
from batchyard.kernel.effects import Detail, Effects, Start
from batchyard.kernel.environment import creates_log_group, environment_of, log_group_of, log_stream_of
from batchyard.kernel.invariants import check_invariants
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.messages import Observation, TaskLost
from batchyard.kernel.records import Job, Kind, Task
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import Resources
from batchyard.kernel.state import Settings
from batchyard.kernel.stored import restore
from batchyard.shapes import batch as shapes
from batchyard.store.reading import job_details, service_job_details
from batchyard.store.store import Store
from batchyard.training_tasks import training_task

logger = logging.getLogger(__name__)
T = TypeVar("T")

DETAILS_KEPT = 1024
"""Details of recently submitted jobs that are kept at hand, so that a job that starts at once is not read back."""


METADATA_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""Where SDKs look for the instance metadata service ("SDKs and Tools Reference Guide")."""
PAUSE_AFTER_FAILURE = 0.2
"""Seconds before the store is tried again."""
FAILURES_IN_A_ROW = 5


class Unavailable(Exception):
    """The request could not be carried out for the moment; nothing has changed."""


class Request(msgspec.Struct):
    """A command, or a question to the kernel, whose caller waits for the answer."""

    ask: Command | Callable[[Kernel], Any]
    answer: asyncio.Future[Any]


class ControlLoop:
    """See the module's text."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        engines: dict[str, Engine],
        *,
        training_root: Path,
        surroundings: Mapping[str, str] | None = None,
        metadata: str | None = None,
        clock: Callable[[], int] | None = None,
        check: bool = False,
    ) -> None:
        """Below `training_root` the models of training jobs are kept; `surroundings` are environment variables for every
        job; `metadata` is the address that an instance's id is added to, where jobs can reach the metadata of their
        instance; `check` re-derives every counter after each round."""
        self._settings = settings
        self._store = store
        self._engines = engines
        self._clock = clock or _milliseconds
        self._check = check
        self._training_root = training_root
        self._surroundings = surroundings or {}
        self._metadata = metadata
        self._mailbox: list[Request | Observation] = []
        self._mail = asyncio.Event()
        self._details: dict[int, Detail] = {}
        self._stopping = False
        self._failures = 0
        self._capacities: dict[str, tuple[Resources, int]] = {}
        self.kernel = Kernel(settings)

    async def open(self) -> None:
        """Connects the engines, restores the state, and finds the tasks that were running before."""
        for name, engine in self._engines.items():
            capacity = await engine.open(self.post)
            resources = Resources(int(capacity.vcpus * 1000), capacity.memory, capacity.gpus)
            self._capacities[name] = (resources, capacity.lead)
        self._restore()
        await self._reconcile()

    async def run(self) -> None:
        """Works until `stop`."""
        try:
            while True:
                await self._round()
                if self._stopping:
                    break
                await self._next_mail()
        finally:
            self._refuse_the_rest()

    def stop(self) -> None:
        """Ends `run` after the present round."""
        self._stopping = True
        self._mail.set()

    def post(self, observation: Observation) -> None:
        """Takes in an engine's observation."""
        self._mailbox.append(observation)
        self._mail.set()

    async def command(self, command: Command) -> Any:
        """Carries out a command; returns its answer once it is durable. Raises `Refusal` or `Unavailable`."""
        return await self._ask(command)

    async def query(self, question: Callable[[Kernel], T]) -> T:
        """Answers a question from the kernel's state, everything acknowledged before included."""
        answer: T = await self._ask(question)
        return answer

    async def between_rounds(self, work: Callable[[], T]) -> T:
        """Does something with the store's writer that must not meet a commit."""
        answer: T = await self._ask(lambda _: work())
        return answer

    async def _ask(self, ask: Command | Callable[[Kernel], Any]) -> Any:
        if self._stopping:
            raise Unavailable("The server is stopping.")
        request = Request(ask, asyncio.get_running_loop().create_future())
        self._mailbox.append(request)
        self._mail.set()
        return await request.answer

    async def _next_mail(self) -> None:
        due = self.kernel.next_wakeup(self._clock())
        if self._mailbox or self._stopping:
            return
        delay = None if due is None else max(0, due - self._clock()) / 1000
        try:
            async with asyncio.timeout(delay):
                await self._mail.wait()
        except TimeoutError:
            pass

    async def _round(self) -> None:
        self._mail.clear()
        mail, self._mailbox = self._mailbox, []
        try:
            effects = await self._decide_and_commit(mail)
        except Exception as error:
            await self._undo(mail, error)
            return
        self._failures = 0
        self._act(effects)

    async def _decide_and_commit(self, mail: list[Request | Observation]) -> Effects:
        facts = await self._facts_for(mail)
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        for message in mail:
            if not isinstance(message, Request):
                self.kernel.apply(message, self._clock())
            elif not callable(message.ask):
                self._carry_out(message.answer, _with_facts(message.ask, facts), answers)
        self.kernel.step(self._clock())
        if self._check:
            check_invariants(self.kernel.state)
        effects = self.kernel.take_effects()
        if effects.durable:
            await self._store.save(effects)
        self._keep_details(effects)
        for future, answer in answers:
            _resolve(future, answer)
        for message in mail:
            if isinstance(message, Request) and callable(message.ask):
                self._answer(message)
        return effects

    def _carry_out(
        self, future: asyncio.Future[Any], command: Command, answers: list[tuple[asyncio.Future[Any], Any]]
    ) -> None:
        try:
            answers.append((future, self.kernel.apply(command, self._clock())))
        except Refusal as refusal:
            _fail(future, refusal)

    async def _facts_for(self, mail: list[Request | Observation]) -> dict[str, JobFact]:
        """What the store knows of the dependencies that the kernel does not hold."""
        unknown = {
            job_id
            for message in mail
            if isinstance(message, Request) and isinstance(message.ask, SubmitJob)
            for job_id in missing(self.kernel.state, message.ask.request.depends_on)
        }
        return await self._store.facts(unknown) if unknown else {}

    async def _undo(self, mail: list[Request | Observation], error: Exception) -> None:
        """Nothing of the round has happened: callers are told, and the kernel is rebuilt from the store. A defect that comes
        back every time ends the server instead."""
        self._failures += 1
        logger.error("a round failed, nothing of it has happened: %s", error, exc_info=not _is_store_error(error))
        for message in mail:
            if isinstance(message, Request):
                _fail(message.answer, Unavailable("The request could not be carried out; nothing has changed."))
        if self._failures >= FAILURES_IN_A_ROW and not _is_store_error(error):
            raise error
        await asyncio.sleep(PAUSE_AFTER_FAILURE)
        await self._start_over()

    async def _start_over(self) -> None:
        """Rebuilds the kernel's state from the store; engines are asked again for what they know."""
        while True:
            try:
                self._restore()
                break
            except SQLAlchemyError as error:
                logger.error("the store could not be read: %s", error)
                await asyncio.sleep(1)
        await self._reconcile()

    async def _reconcile(self) -> None:
        """Asks every engine what became of the tasks that it should have; those of an engine that is no more are lost."""
        for name, engine in self._engines.items():
            await engine.reconcile(self._expected(name))
        known = {task_id for name in self._engines for task_id in self._expected(name)}
        for task_id in self.kernel.state.tasks.keys() - known:
            logger.warning("task %s was given to a runtime that this server does not use: it counts as lost", task_id)
            self.post(TaskLost(task_id, self._clock()))

    def _restore(self) -> None:
        self.kernel = Kernel(self._settings)
        for name, (resources, lead) in self._capacities.items():
            self.kernel.add_machine(name, resources, lead)
        with self._store.load() as snapshot:
            restore(self.kernel.state, snapshot, self._clock())

    def _expected(self, engine: str) -> list[str]:
        state = self.kernel.state
        ids: list[str] = []
        for task_id, job in list(state.tasks.items()):
            assert job.task is not None
            instance = state.instances.get(dict(job.task.in_force)[task_id])
            if instance is not None and instance.engine == engine:
                ids.append(task_id)
        return ids

    def _keep_details(self, effects: Effects) -> None:
        for seq, detail in effects.details:
            self._details[seq] = detail
        while len(self._details) > DETAILS_KEPT:
            del self._details[next(iter(self._details))]

    def _answer(self, question: Request) -> None:
        assert callable(question.ask)
        try:
            _resolve(question.answer, question.ask(self.kernel))
        except Exception as error:
            _fail(question.answer, error)

    def _act(self, effects: Effects) -> None:
        """Gives the engines their orders: everything in them is durable now."""
        for name, ids in effects.acknowledge.items():
            self._engines[name].acknowledge(ids)
        if effects.start:
            self._start(effects.start)
        for order in effects.stop:
            self._engines[order.engine].stop(order.task_id, order.grace_seconds)
        for name, ids in effects.recall.items():
            self._engines[name].recall(ids)

    def _start(self, orders: list[Start]) -> None:
        details = self._details_of(orders)
        by_engine: dict[str, list[TaskSpec]] = {}
        for order in orders:
            task = order.job.task
            if task is None or order.task_id not in dict(task.in_force):
                continue
            detail = details[(order.job.parent or order.job).seq]
            by_engine.setdefault(order.engine, []).append(self._spec_of(order, task, detail))
        for name, tasks in by_engine.items():
            self._engines[name].start(tasks)

    def _details_of(self, orders: list[Start]) -> dict[int, Detail]:
        kinds = {(order.job.parent or order.job).seq: order.job.kind for order in orders}
        found = {seq: detail for seq in kinds if (detail := self._details.get(seq)) is not None}
        services = sorted(seq for seq in kinds.keys() - found.keys() if kinds[seq] is Kind.SERVICE)
        others = sorted(seq for seq in kinds.keys() - found.keys() if kinds[seq] is not Kind.SERVICE)
        read: dict[int, Detail] = {}
        if others:
            read |= self._store.read_now(lambda connection: job_details(connection, others))
        if services:
            read |= self._store.read_now(lambda connection: service_job_details(connection, services))
        self._details |= read
        return found | read

    def _spec_of(self, order: Start, task: Task, detail: Detail) -> TaskSpec:
        job = order.job
        if isinstance(detail, shapes.JobDetail):
            assert detail.container is not None
            return self._task_spec(job, task, detail.container)
        assert job.service is not None
        return training_task(
            job,
            job.service,
            [node.id for node in task.nodes or ()].index(order.task_id),
            order.task_id,
            detail.service_request_payload or "",
            account=self._settings.account,
            surroundings=self._surroundings,
            training_root=self._training_root,
        )

    def _task_spec(self, job: Job, task: Task, container: shapes.ContainerDetail) -> TaskSpec:
        environment = self.kernel.state.environments.get(task.environment)
        fargate = environment is not None and is_fargate(environment.detail.compute_resources)
        return TaskSpec(
            task_id=task.id,
            job_id=job.id,
            container=container,
            environment=environment_of(job, task, container, surroundings=self._surroundings_of(task), fargate=fargate),
            vcpus=job.resources.milli_vcpus / 1000,
            memory=job.resources.memory,
            gpus=job.resources.gpus,
            log_group=log_group_of(container),
            log_stream=log_stream_of(job, task.id),
            create_log_group=creates_log_group(container),
        )

    def _surroundings_of(self, task: Task) -> Mapping[str, str]:
        instance = self.kernel.state.instances.get(task.instance)
        if self._metadata is None or instance is None or instance.detail is None:
            return self._surroundings
        return {METADATA_VARIABLE: f"{self._metadata}{instance.id}", **self._surroundings}

    def _refuse_the_rest(self) -> None:
        for message in self._mailbox:
            if isinstance(message, Request):
                _fail(message.answer, Unavailable("The server is stopping."))


def _with_facts(command: Command, facts: dict[str, JobFact]) -> Command:
    return msgspec.structs.replace(command, facts=facts) if facts and isinstance(command, SubmitJob) else command


def _is_store_error(error: Exception) -> bool:
    return isinstance(error, SQLAlchemyError | OSError)


def _resolve(future: asyncio.Future[Any], answer: Any) -> None:
    if not future.done():
        future.set_result(answer)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
