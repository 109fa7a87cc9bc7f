"""From an order to a running container, at most once.

The container's name is derived from the task, so a task can't get two. A record is on disk before the daemon is told to
start the container. And it is told so only when the container certainly has not been started before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from batchyard.engines.base import TaskSpec
from batchyard.engines.files import Files
from batchyard.engines.local.docker.begun_records import BegunRecords
from batchyard.engines.local.docker.container_config import (
    LABEL_INSTALLATION,
    LOG_DRIVERS,
    Privileges,
    UnsupportedSettingError,
    container_name,
    create_body,
)
from batchyard.engines.local.docker.container_state import ContainerState, container_state, reason
from batchyard.engines.local.docker.daemon import (
    CONNECTION_ERRORS,
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    Daemon,
    message_of,
    never_sent,
    patiently,
    status_of,
    unreachable,
)
from batchyard.engines.local.docker.file_archive import FOR_ALL, pack
from batchyard.engines.local.docker.images import CannotPullError, ImagePuller
from batchyard.engines.local.docker.privileges import PrivilegedPolicy, missing_capabilities
from batchyard.logs.lines import create_group, is_group

log = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
"""How long a request that is under way is waited for when its caller has been cancelled."""

PULLS = 3
"""How often an image is pulled that is missing again afterwards."""

Result = TypeVar("Result")


class CannotBeginError(Exception):
    """The task can't be begun. The text is ECS's `container.reason`."""

    def __init__(self, text: str, exit_code: int | None = None) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Unstarted(Enum):
    """What a container turns out to be that looked as if it had not been started."""

    NEVER_BEGUN = "it certainly never began, and is removed"
    BEGUN = "it has been started meanwhile"
    UNKNOWN = "nobody can tell"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What all containers of an engine have in common."""

    installation_id: str
    log_root: Path
    network_mode: str
    privileged: PrivilegedPolicy


class Beginning:
    """Creates and starts containers, some at a time."""

    def __init__(
        self, daemon: Daemon, images: ImagePuller, records: BegunRecords, slots: asyncio.Semaphore, settings: Settings
    ) -> None:
        self._daemon = daemon
        self._images = images
        self._records = records
        self._slots = slots
        self._settings = settings
        self.log_driver = ""
        """Known as soon as a container has been created."""
        self.host_is_restricted = False
        """The daemon has refused a privileged container for want of a capability."""

    def privileges(self, spec: TaskSpec) -> Privileges:
        """What a task's container gets under the policy. Raises :class:`CannotBeginError`."""
        if not spec.container.privileged:
            return "default"
        match self._settings.privileged:
            case "refuse":
                text = "privileged containers are refused by the settings of this server"
                raise CannotBeginError(reason("CannotCreateContainerError", text))
            case "ignore":
                log.warning("task %s: runs without the privileges that it asks for, by the settings", spec.task_id)
                return "default"
            case "reduce" if self.host_is_restricted:
                log.warning(
                    "task %s: this host can't give `privileged`; it gets all devices, no seccomp filter, and all "
                    "capabilities but %s",
                    spec.task_id,
                    ", ".join(missing_capabilities()),
                )
                return "reduced"
            case _:
                return "full"

    async def create(self, spec: TaskSpec, privileges: Privileges) -> str:
        """Create a task's container, pulling its image when missing; the container's id.

        May be cancelled. Raises :class:`CannotBeginError`.
        """
        self._prepare_log_group(spec)
        if spec.files is not None:
            await asyncio.to_thread(make_folders, spec.files)
        try:
            body = create_body(
                spec,
                self._settings.installation_id,
                network_mode=self._settings.network_mode,
                log_driver=await self._choose_log_driver(),
                privileges=privileges,
                missing_capabilities=missing_capabilities(),
            )
        except UnsupportedSettingError as error:
            raise CannotBeginError(reason("CannotCreateContainerError", str(error))) from error
        image = spec.container.image or ""
        for _ in range(PULLS):
            async with self._slots:
                container_id = await self._create(spec.task_id, body)
            if container_id is not None:
                if spec.files is not None:
                    await self._put_files(container_id, spec.files)
                return container_id
            try:
                await self._images.pull(image)
            except CannotPullError as error:
                raise CannotBeginError(reason("CannotPullContainerError", str(error))) from error
        raise CannotBeginError(reason("CannotPullContainerError", f"{image} is missing again each time it was pulled"))

    async def start(self, task_id: str, container_id: str) -> ContainerState | None:
        """Start a container; its state afterwards, in which `error` says why it could not be started.

        None: it certainly never began, and is gone. Raises LookupError when nobody can tell.
        """
        async with self._slots:
            await seen_through(asyncio.to_thread(self._records.write, task_id))
            refusal = await seen_through(self._tell_to_start(container_id))
        while True:
            inspected = await patiently(lambda: self._daemon.inspect(container_id))
            if inspected is None:
                if refusal:
                    raise CannotBeginError(reason("CannotStartContainerError", refusal))
                raise LookupError(container_id)
            state = container_state(inspected)
            if state.begun or state.error:
                return state
            if refusal:
                return msgspec.structs.replace(state, error=refusal)
            match await self.settle(container_id):
                case Unstarted.NEVER_BEGUN:
                    return None
                case Unstarted.UNKNOWN:
                    raise LookupError(container_id)

    async def settle(self, container_id: str) -> Unstarted:
        """Decide about a container that the daemon may have been told to start, and that it shows as not started.

        The daemon shows so too when it was killed between starting a program and writing that down. So it is believed
        only when it is still the process that created the container: then its history begins with that.
        """
        try:
            await patiently(lambda: self._daemon.remove(container_id, force=False))
        except CONNECTION_ERRORS as error:
            if status_of(error) == 409:
                return Unstarted.BEGUN
            if status_of(error) != 404:
                raise
        history = await patiently(lambda: self._daemon.history(container_id))
        return Unstarted.NEVER_BEGUN if "create" in history and "start" not in history else Unstarted.UNKNOWN

    def _prepare_log_group(self, spec: TaskSpec) -> None:
        if is_group(self._settings.log_root, spec.log_group):
            return
        if not spec.create_log_group:
            text = "failed to validate logger args: The specified log group does not exist."
            raise CannotBeginError(reason("ResourceInitializationError", text), exit_code=1)
        try:
            create_group(self._settings.log_root, spec.log_group)
        except OSError as error:
            text = f"failed to create the log group: {error.strerror}"
            raise CannotBeginError(reason("ResourceInitializationError", text), exit_code=1) from error

    async def _put_files(self, container_id: str, files: Files) -> None:
        try:
            archive = pack(files)
            await patiently(lambda: seen_through(self._daemon.put_files(container_id, archive)))
        except CONNECTION_ERRORS as error:
            raise CannotBeginError(reason("CannotCreateContainerError", message_of(error))) from error

    async def _choose_log_driver(self) -> str:
        if not self.log_driver:
            available = await patiently(self._daemon.log_drivers)
            self.log_driver = next((driver for driver in LOG_DRIVERS if driver in available), LOG_DRIVERS[-1])
        return self.log_driver

    async def _create(self, task_id: str, body: dict[str, Any]) -> str | None:
        """None: the image is missing."""
        name = container_name(task_id)
        try:
            return await patiently(lambda: seen_through(self._daemon.create(name, body)))
        except CONNECTION_ERRORS as error:
            match status_of(error):
                case 404:
                    return None
                case 409:
                    return await self._created_before(name, error)
                case 400 if "reference format" in message_of(error):
                    raise CannotBeginError(reason("CannotPullContainerError", message_of(error))) from error
                case _:
                    raise CannotBeginError(reason("CannotCreateContainerError", message_of(error))) from error

    async def _created_before(self, name: str, conflict: BaseException) -> str:
        """The name is taken: by an earlier request for the same task, the answer to which was lost."""
        inspected = await patiently(lambda: self._daemon.inspect(name))
        if (
            inspected is not None
            and inspected["Config"]["Labels"].get(LABEL_INSTALLATION) == self._settings.installation_id
            and not container_state(inspected).begun
        ):
            return str(inspected["Id"])
        raise CannotBeginError(reason("CannotCreateContainerError", message_of(conflict))) from conflict

    async def _tell_to_start(self, container_id: str) -> str:
        """The daemon's refusal, or nothing: it obeyed, or it was told and did not answer."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._daemon.start(container_id)
                return ""
            except CONNECTION_ERRORS as error:
                if not never_sent(error):
                    return "" if unreachable(error) else message_of(error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)


def make_folders(files: Files) -> None:
    """Make the folders that the container is to write to: Docker would make them root's alone. Raises
    :class:`CannotBeginError`."""
    for mount in files.mounts.values():
        folder = Path(mount.folder)
        try:
            if not mount.read_only and not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(FOR_ALL)
        except OSError as error:
            text = f"the folder {folder} can't be made: {error.strerror}"
            raise CannotBeginError(reason("CannotCreateContainerError", text)) from error


async def seen_through(request: Coroutine[Any, Any, Result]) -> Result:
    """Await a request that is not given up half way: a cancellation takes effect when it has been answered."""
    running = asyncio.ensure_future(request)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running}, timeout=ANSWER_SECONDS)
        running.cancel()
        raise
