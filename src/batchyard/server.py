"""Puts the parts together: the only module that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvloop
from sqlalchemy.exc import SQLAlchemyError

from batchyard.api.app import Application
from batchyard.api.batch.desk import Desk
from batchyard.api.batch.service import batch_service
from batchyard.api.extension import extension_service
from batchyard.api.instance_metadata import InstanceMetadata
from batchyard.api.logs import log_service
from batchyard.api.sigv4 import Authenticator
from batchyard.api.tokens import TokenSealer
from batchyard.config import Config, ConfigError
from batchyard.control import ControlLoop
from batchyard.defaults import create_defaults, needs_defaults
from batchyard.engines.base import Engine
from batchyard.engines.local.docker.daemon import resolve_docker_host
from batchyard.engines.local.select import RuntimeUnavailableError, choose_runtime, machine_capacity
from batchyard.http_server import HttpServer, listen
from batchyard.installation import Installation, load_installation, write_connection
from batchyard.kernel.state import Settings
from batchyard.logs.store import LogStore
from batchyard.metadata_address import metadata_address
from batchyard.retention import keep_history_short
from batchyard.store.database import SchemaError
from batchyard.store.store import Store

logger = logging.getLogger("batchyard")

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a request: PutLogEvents takes a MiB of events, which as JSON is longer."""


def serve(config: Config) -> int:
    """Runs a server until SIGTERM or SIGINT. Returns the exit code; says on stderr what kept it from starting."""
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        with _locked(config.data_dir / "lock"):
            uvloop.run(_serve(config))
    except (ConfigError, SchemaError, RuntimeUnavailableError) as error:
        print(f"batchyard: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"batchyard: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the data directory: two servers on one would run every job twice."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another server is using the data directory {path.parent}") from None
        yield


async def _serve(config: Config) -> None:
    listener = listen(config.host, config.port)
    store = _open_store(config.data_dir / "batchyard.db")
    installation = load_installation(store, config.region, config.account_id)
    runtime, engine = await _local_engine(config, installation)
    control = ControlLoop(
        Settings(
            account=installation.account,
            slices=config.capacity == "slices",
            boot_seconds=config.boot_seconds,
            idle_seconds=config.idle_seconds,
            launch_failure_rate=config.launch_failure_rate,
            spot_interruptions_an_hour=config.spot_interruptions_an_hour,
            spot_notice_seconds=config.spot_notice_seconds,
            seed=config.seed,
        ),
        store,
        {f"local-{runtime}": engine},
        training_root=config.data_dir.absolute() / "training",
        surroundings=config.job_environment,
        metadata=metadata_address(
            config, listener.getsockname()[1], resolve_docker_host(config.docker_host) if runtime == "docker" else None
        ),
        check=config.check_invariants,
    )
    await control.open()
    gc.freeze()
    loop = asyncio.get_running_loop()
    working = loop.create_task(control.run())
    if needs_defaults(control.kernel):
        await create_defaults(control, machine_capacity(config.overcommit)[0])
    logs = LogStore(config.data_dir / "logs")
    cleaning = loop.create_task(keep_history_short(store, control, logs, config.retention_days))
    server = HttpServer(_application(config, installation, control, store, logs))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _ask_to_stop, server)
    serving = loop.create_task(server.serve(sockets=[listener]))
    try:
        await _announce(config, installation, server, listener, runtime, engine)
        await asyncio.wait({serving, working}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        await serving
        cleaning.cancel()
        control.stop()
        await working
        await engine.close()
        store.close()
    logger.info("stopped; jobs that run go on running")


def _open_store(path: Path) -> Store:
    """The store holds the access keys: it is for this user's eyes only, whatever the umask says."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    store = Store(path)
    try:
        store.open()
    except SQLAlchemyError as error:
        raise ConfigError(f"the store {path} cannot be opened: {getattr(error, 'orig', None) or error}") from None
    return store


async def _local_engine(config: Config, installation: Installation) -> tuple[str, Engine]:
    vcpus, memory = machine_capacity(config.overcommit)
    runtime = await choose_runtime(config.runtime, config.docker_host)
    log_root = config.data_dir / "logs"
    if runtime == "docker":
        # Only the runtime in use is imported: the Docker client takes a while.
        from batchyard.engines.local.docker.engine import DockerEngine

        folder = config.data_dir / "docker"
        return runtime, DockerEngine(
            folder,
            log_root,
            installation.id,
            vcpus,
            memory,
            config.docker_host,
            network_mode=config.docker_network,
            privileged=config.privileged,
        )
    from batchyard.engines.local.process.engine import ProcessEngine

    return runtime, ProcessEngine(config.data_dir, log_root, vcpus, memory)


def _application(
    config: Config, installation: Installation, control: ControlLoop, store: Store, logs: LogStore
) -> Application:
    account = installation.account
    tokens = TokenSealer(installation.token_key)
    desk = Desk(control, store, account, tokens)
    services = [
        batch_service(desk),
        log_service(logs, account.region, account.account_id, tokens),
        extension_service(desk, store),
    ]
    authenticator = Authenticator(
        installation.credential, region=account.region, administrator=installation.administrator, mode=config.auth
    )
    metadata = InstanceMetadata(desk, tokens)
    return Application(services, authenticator, body_limit=BODY_LIMIT, metadata=metadata)


def _ask_to_stop(server: HttpServer) -> None:
    server.should_exit = True


async def _announce(
    config: Config,
    installation: Installation,
    server: HttpServer,
    listener: socket.socket,
    runtime: str,
    engine: Engine,
) -> None:
    await server.accepting.wait()
    host = f"[{config.host}]" if ":" in config.host else config.host
    endpoint = f"http://{host}:{listener.getsockname()[1]}"
    write_connection(config.data_dir / "connection.json", installation, endpoint)
    if config.ready_file is not None:
        write_connection(config.ready_file, installation, endpoint)
    vcpus, memory = machine_capacity(config.overcommit)
    print(_greeting(installation, config.data_dir, endpoint, runtime, vcpus, memory), file=sys.stderr, flush=True)
    for note in _notes(runtime, engine):
        logger.warning(note)
    if config.auth == "none":
        logger.warning("requests are not authenticated: anybody on this machine can run commands as this user")


def _greeting(
    installation: Installation, data_dir: Path, endpoint: str, runtime: str, vcpus: float, memory: int
) -> str:
    lines = [
        f"Batchyard is ready at {endpoint} (runtime: {runtime}; {vcpus:g} vCPU, {memory} MiB).",
        "",
        "  export AWS_ENDPOINT_URL=" + endpoint,
        "  export AWS_DEFAULT_REGION=" + installation.account.region,
        "  export AWS_ACCESS_KEY_ID=" + installation.access_key_id,
    ]
    if installation.first_start:
        lines.append("  export AWS_SECRET_ACCESS_KEY=" + installation.secret_access_key)
    else:
        lines.append(f"  # the secret access key is in {data_dir / 'connection.json'}")
    lines += ["", "or `batchyard profile` for the AWS CLI. First job: batchyard run -- echo hello", ""]
    return "\n".join(lines)


def _notes(runtime: str, engine: Engine) -> list[str]:
    if runtime != "process":
        return []
    loud = (
        "NO CONTAINERS: commands of jobs run directly on this machine, as this user; images are ignored. Install Docker"
        " for isolation, or choose it with --runtime docker."
    )
    return [loud, *getattr(engine, "notes", ())]
