"""The engine contract over the Docker Engine API.

Every task has a coroutine of its own, from the order to the end of its container; nothing is polled. One stream of
events tells which containers have ended, and after each loss of that stream the containers are listed anew, so no end is
missed. The container itself keeps exit code and output until the end of the task is acknowledged, and is then removed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchyard.engines.base import Capacity, TaskSpec
from batchyard.engines.local.docker.beginning import Beginning, CannotBeginError, Settings, Unstarted
from batchyard.engines.local.docker.begun_records import BegunRecords
from batchyard.engines.local.docker.container_config import (
    LABEL_INSTALLATION,
    LABEL_LOG_GROUP,
    LABEL_LOG_STREAM,
    LABEL_MESSAGE,
    LABEL_TASK,
    container_name,
    message_path,
)
from batchyard.engines.local.docker.container_state import (
    EXIT_CODE_UNKNOWN,
    ContainerState,
    container_state,
    exited,
    failed_to_start,
    reason,
)
from batchyard.engines.local.docker.daemon import (
    CONNECTION_ERRORS,
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    Daemon,
    Event,
    message_of,
    patiently,
    resolve_docker_host,
    status_of,
    unreachable,
)
from batchyard.engines.local.docker.file_archive import ENOUGH_FOR_A_MESSAGE, message_in
from batchyard.engines.local.docker.images import ImagePuller
from batchyard.engines.local.docker.log_copy import copy_log
from batchyard.engines.local.docker.privileges import PrivilegedPolicy, cannot_be_privileged
from batchyard.kernel.messages import Observation, TaskExited, TaskLost, TaskStarted, TaskUnknown
from batchyard.logs.lines import stream_path

log = logging.getLogger(__name__)

LAST_ORDERS_SECONDS = 5.0
"""How long closing waits for orders to stop that the daemon has not received yet."""

_LIVE_STATES = ("running", "paused", "restarting")


@dataclass
class _Task:
    """What is known of a task from its order to its acknowledgement."""

    task_id: str
    container_id: str = ""
    log_path: Path = field(default_factory=Path)
    log_driver: str = ""
    message_path: str = ""
    """Where the program may leave a message, in the container."""
    creation: asyncio.Task[str] | None = None
    started: TaskStarted | None = None
    stop_grace: float | None = None
    """Seconds, once a stop was ordered."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """The container has ended or gone, as far as events and lists tell."""
    death: Event | None = None
    """The daemon's announcement of the end: all there is of it when the container is removed at once."""
    done: bool = False
    """Its end has been posted."""


class DockerEngine:
    """Runs tasks as containers of the Docker Engine on this machine (or of Podman, which serves the same API).

    data_dir: a folder of the engine's own, for the records of begun tasks.
    log_root: where log streams are written.
    installation_id: marks this server's containers; those of others are never touched.
    vcpus, memory (MiB): the capacity to offer.
    docker_host: the daemon's address; default `DOCKER_HOST`, else `/var/run/docker.sock`.
    network_mode: Docker's network mode of every container.
    privileged: what becomes of `privileged: true`, see `privileges.py`.
    concurrency: how many containers are created, started or removed at a time; default the number of cores.
    """

    def __init__(
        self,
        data_dir: Path,
        log_root: Path,
        installation_id: str,
        vcpus: float,
        memory: int,
        docker_host: str | None = None,
        *,
        network_mode: str = "bridge",
        privileged: PrivilegedPolicy = "reduce",
        concurrency: int | None = None,
    ) -> None:
        self._records = BegunRecords(data_dir / "begun")
        self._settings = Settings(
            installation_id=installation_id, log_root=log_root, network_mode=network_mode, privileged=privileged
        )
        self._label = f"{LABEL_INSTALLATION}={installation_id}"
        self._capacity = Capacity(vcpus=vcpus, memory=memory)
        self._docker_host = resolve_docker_host(docker_host)
        self._concurrency = concurrency or max(2, os.cpu_count() or 1)
        self._tasks: dict[str, _Task] = {}
        self._coroutines: set[asyncio.Task[None]] = set()
        self._unsent_stops: set[asyncio.Event] = set()
        self._closed = False

    # --- the contract -------------------------------------------------------------------------------------------------

    async def open(self, post: Callable[[Observation], None]) -> Capacity:
        """Connect. Raises ConnectionError, in words for people, when the daemon can't be reached."""
        self._post = post
        self._daemon = Daemon(self._docker_host)
        try:
            await self._daemon.ping()
        except CONNECTION_ERRORS as error:
            await self._daemon.close()
            raise ConnectionError(f"no Docker Engine answers at {self._docker_host}: {message_of(error)}") from error
        self._images = ImagePuller(self._daemon)
        self._starts = asyncio.Semaphore(self._concurrency)
        self._removals = asyncio.Semaphore(self._concurrency)
        self._beginning = Beginning(self._daemon, self._images, self._records, self._starts, self._settings)
        self._spawn(self._watch())
        return self._capacity

    async def reconcile(self, expected: Sequence[str]) -> None:
        """See the contract. Containers of ours that are not expected are killed and removed."""
        listed = await patiently(lambda: self._daemon.containers(self._label))
        found = {container["Labels"][LABEL_TASK]: str(container["Id"]) for container in listed}
        wanted = [task_id for task_id in dict.fromkeys(expected) if task_id not in self._tasks]
        known = {*wanted, *self._tasks}
        async with asyncio.TaskGroup() as group:
            for task_id, container_id in found.items():
                if task_id not in known:
                    group.create_task(self._remove(container_id))
            for task_id in wanted:
                group.create_task(self._guarded(task_id, self._adopt(task_id, found.get(task_id))))
        for task_id in self._records.task_ids():
            if task_id not in known:
                self._records.remove(task_id)

    def start(self, tasks: Sequence[TaskSpec]) -> None:
        """See the contract. Tasks are begun in the order given, some at a time."""
        for spec in tasks:
            if spec.task_id not in self._tasks:
                task = self._tasks[spec.task_id] = _Task(spec.task_id)
                self._spawn(self._guarded(spec.task_id, self._run(spec, task)))

    def stop(self, task_id: str, grace_seconds: float) -> None:
        """See the contract. The daemon itself counts the grace, in whole seconds."""
        task = self._tasks.get(task_id)
        if task is None or task.done:
            return
        task.stop_grace = grace_seconds
        if task.started is not None:
            self._order_stop(task, grace_seconds)
        elif task.creation is not None:
            task.creation.cancel()

    def recall(self, task_ids: Sequence[str]) -> None:
        """Nothing is ever handed over ahead (`lead` is 0), so there is nothing to give back."""

    def acknowledge(self, task_ids: Sequence[str]) -> None:
        """See the contract. The containers are removed in the background."""
        for task_id in task_ids:
            self._tasks.pop(task_id, None)
            self._spawn(self._forget(task_id))

    async def close(self) -> None:
        """See the contract. What the daemon is just being told is seen through. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._unsent_stops:
            sending = [asyncio.create_task(sent.wait()) for sent in self._unsent_stops]
            _, unsent = await asyncio.wait(sending, timeout=LAST_ORDERS_SECONDS)
            for late in unsent:
                late.cancel()
        coroutines = list(self._coroutines)
        for coroutine in coroutines:
            coroutine.cancel()
        await asyncio.gather(*coroutines, return_exceptions=True)
        await self._images.close()
        await self._daemon.close()

    # --- one task, from the order to its end --------------------------------------------------------------------------

    async def _run(self, spec: TaskSpec, task: _Task) -> None:
        if self._records.has(spec.task_id):
            # Begun in an earlier life of the server, and ordered again without having been reconciled.
            inspected = await patiently(lambda: self._daemon.inspect(container_name(spec.task_id)))
            del self._tasks[spec.task_id]
            await self._adopt(spec.task_id, str(inspected["Id"]) if inspected is not None else None)
            return
        task.log_path = stream_path(self._settings.log_root, spec.log_group, spec.log_stream)
        task.message_path = message_path(spec)
        state: ContainerState | None = None
        try:
            while state is None:
                if not await self._create(spec, task):
                    self._finish(task, TaskExited(task.task_id, _now()))
                    return
                state = await self._begin(task)
        except CannotBeginError as error:
            self._finish(task, TaskExited(task.task_id, _now(), error.exit_code, str(error)))
            return
        except LookupError:
            self._finish(task, TaskLost(task.task_id, _now()))
            return
        if not state.begun:
            self._finish(task, failed_to_start(task.task_id, state, _now()))
            return
        task.log_driver = self._beginning.log_driver
        self._begun(task, state)
        await self._see_through(task)

    async def _create(self, spec: TaskSpec, task: _Task) -> bool:
        """Create the container. False when a stop came first: then there is none."""
        if task.stop_grace is None:
            task.creation = asyncio.create_task(self._beginning.create(spec, self._beginning.privileges(spec)))
            try:
                task.container_id = await task.creation
            except asyncio.CancelledError:
                if task.stop_grace is None:
                    raise
            finally:
                task.creation = None
        if task.stop_grace is None:
            task.ended.clear()
            return True
        await self._remove(container_name(task.task_id))
        return False

    async def _begin(self, task: _Task) -> ContainerState | None:
        """Start the container. None when it must be created anew, for it certainly has not begun."""
        state = await self._beginning.start(task.task_id, task.container_id)
        if state is None:
            self._records.remove(task.task_id)
        elif (
            not state.begun
            and self._settings.privileged == "reduce"
            and not self._beginning.host_is_restricted
            and cannot_be_privileged(state.error)
        ):
            self._beginning.host_is_restricted = True
            self._records.remove(task.task_id)
            await self._remove(task.container_id)
            return None
        return state

    def _begun(self, task: _Task, state: ContainerState) -> None:
        task.started = TaskStarted(task.task_id, state.started_at or _now())
        self._post(task.started)
        if not state.running:
            task.ended.set()
        elif task.stop_grace is not None:
            self._order_stop(task, task.stop_grace)

    async def _see_through(self, task: _Task) -> None:
        """Copy the output of a begun container until it ends, and report the end."""
        while True:
            await copy_log(self._daemon, task.container_id, task.log_driver, task.log_path, task.ended)
            outcome = await self._outcome(task)
            if outcome is not None:
                self._finish(task, outcome)
                return
            task.ended.clear()

    async def _outcome(self, task: _Task) -> Observation | None:
        """How a begun container ended; None when it runs after all."""
        inspected = await patiently(lambda: self._daemon.inspect(task.container_id))
        if inspected is None:
            if task.death is None or task.started is None:
                return TaskLost(task.task_id, _now())
            exit_code = int(task.death.attributes["exitCode"])
            return TaskExited(task.task_id, task.death.at, exit_code, started_at=task.started.at)
        state = container_state(inspected)
        if state.running:
            return None
        if not state.begun:
            return TaskLost(task.task_id, _now())  # The daemon was killed before it had written down the start.
        if state.exit_code == EXIT_CODE_UNKNOWN and task.death is None:
            # Written down by a daemon that found the container gone when it was started, unless it saw it end.
            history = await patiently(lambda: self._daemon.history(task.container_id))
            if "die" not in history:
                return TaskLost(task.task_id, _now())
        return exited(task.task_id, state, _now(), await self._message(task))

    async def _message(self, task: _Task) -> str | None:
        """What the program has left in its message file."""
        if not task.message_path:
            return None
        try:
            archive = await patiently(
                lambda: self._daemon.get_file(task.container_id, task.message_path, ENOUGH_FOR_A_MESSAGE)
            )
        except CONNECTION_ERRORS as error:
            log.warning("task %s: its message can't be read: %s", task.task_id, message_of(error))
            return None
        return message_in(archive) if archive is not None else None

    async def _adopt(self, task_id: str, container_id: str | None) -> None:
        """Take up a task of an earlier life of the server: one observation, and see it through if it runs."""
        while container_id is not None:
            # While the daemon is just starting the container, it answers when that is done.
            inspected = await patiently(lambda: self._daemon.inspect(str(container_id)))
            if inspected is None:
                break
            state = container_state(inspected)
            if state.begun:
                await self._take_up(task_id, inspected, state)
                return
            if not self._records.has(task_id):
                await self._remove(container_id)
                break
            if state.error:
                task = self._tasks[task_id] = _Task(task_id, container_id)
                self._finish(task, failed_to_start(task_id, state, _now()))
                return
            settled = await self._beginning.settle(container_id)
            if settled is Unstarted.NEVER_BEGUN:
                self._records.remove(task_id)
            if settled is not Unstarted.BEGUN:
                break
        if self._records.has(task_id):
            task = self._tasks[task_id] = _Task(task_id)
            self._finish(task, TaskLost(task_id, _now()))
        else:
            self._post(TaskUnknown(task_id))

    async def _take_up(self, task_id: str, inspected: dict[str, Any], state: ContainerState) -> None:
        labels = inspected["Config"]["Labels"]
        path = stream_path(self._settings.log_root, labels[LABEL_LOG_GROUP], labels[LABEL_LOG_STREAM])
        driver = inspected["HostConfig"]["LogConfig"]["Type"]
        message = labels.get(LABEL_MESSAGE, "")
        task = self._tasks[task_id] = _Task(task_id, str(inspected["Id"]), path, driver, message)
        if state.running:
            self._begun(task, state)
            self._spawn(self._guarded(task_id, self._see_through(task)))
        else:
            task.ended.set()
            await self._see_through(task)

    def _finish(self, task: _Task, observation: Observation) -> None:
        task.done = True
        self._post(observation)

    async def _guarded(self, task_id: str, work: Coroutine[Any, Any, None]) -> None:
        """What the daemon says beyond all expectation must not leave a task without an end."""
        try:
            await work
        except Exception as error:
            log.exception("task %s: the Docker Engine can't be understood", task_id)
            task = self._tasks.setdefault(task_id, _Task(task_id))
            if task.done:
                return
            if self._records.has(task_id):
                self._finish(task, TaskLost(task_id, _now()))
            else:
                text = reason("CannotCreateContainerError", message_of(error))
                self._finish(task, TaskExited(task_id, _now(), None, text))

    # --- orders to the daemon that go on by themselves ----------------------------------------------------------------

    def _order_stop(self, task: _Task, grace_seconds: float) -> None:
        sent = asyncio.Event()
        self._unsent_stops.add(sent)
        self._spawn(self._stop(task.container_id, math.ceil(grace_seconds), sent))

    async def _stop(self, container_id: str, grace_seconds: int, sent: asyncio.Event) -> None:
        try:
            await patiently(lambda: self._daemon.stop(container_id, grace_seconds, sent))
        except CONNECTION_ERRORS as error:
            if status_of(error) != 404:
                log.warning("container %s: the Docker Engine can't stop it: %s", container_id, message_of(error))
        finally:
            sent.set()
            self._unsent_stops.discard(sent)

    async def _forget(self, task_id: str) -> None:
        """The container goes first: without its record it would be taken for one that never began."""
        await self._remove(container_name(task_id))
        self._records.remove(task_id)

    async def _remove(self, container: str) -> None:
        """Remove a container, whatever it does. One that is gone or going is fine; so is one that can't be now, for the
        next reconciliation removes what is left."""
        try:
            async with self._removals:
                await patiently(lambda: self._daemon.remove(container, force=True))
        except CONNECTION_ERRORS as error:
            if status_of(error) not in (404, 409):
                log.warning("container %s: the Docker Engine can't remove it: %s", container, message_of(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        coroutine = asyncio.create_task(work)
        self._coroutines.add(coroutine)
        coroutine.add_done_callback(self._coroutines.discard)

    # --- what the daemon tells ----------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow the daemon's events for ever, across its restarts."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                # Events from before the subscription are repeated, for the list below is as old as its request.
                since = await self._daemon.system_time()
                async with self._daemon.events(self._label, since) as events:
                    await self._look_at_all()
                    delay = FIRST_RETRY_SECONDS
                    async for event in events:
                        self._note(event)
            except CONNECTION_ERRORS as error:
                if not unreachable(error):
                    log.error("the Docker Engine refuses to tell its events: %s", message_of(error))
                elif delay == FIRST_RETRY_SECONDS:
                    log.warning("the Docker Engine at %s is gone: %s", self._docker_host, message_of(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def _look_at_all(self) -> None:
        """Find out which of our containers have ended or gone while nobody told us."""
        listed = await self._daemon.containers(self._label)
        live = {container["Id"] for container in listed if container["State"] in _LIVE_STATES}
        for task in self._tasks.values():
            if task.started is not None and task.container_id not in live:
                task.ended.set()

    def _note(self, event: Event) -> None:
        task = self._tasks.get(event.attributes.get(LABEL_TASK, ""))
        if task is None or task.container_id != event.container_id:
            return
        if event.action == "die":
            task.death = event
        if event.action in ("die", "destroy"):
            task.ended.set()


def _now() -> int:
    return time.time_ns() // 1_000_000
