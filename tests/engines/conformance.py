"""What every engine must do, whatever it runs tasks on. A runtime passes by subclassing `EngineConformance`:

    class TestDocker(EngineConformance):
        @pytest.fixture
        def rig(self, tmp_path):
            yield Rig(factory=functools.partial(DockerEngine, …), log_root=tmp_path / "logs", image="busybox:1")
            …end whatever the engine left running…

Commands use nothing but a POSIX shell and what busybox and coreutils have in common. Processes are looked for in the
host's /proc, where those of containers can be seen too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from batchyard.engines.base import Capacity, Engine, TaskSpec
from batchyard.engines.files import Files, Mount
from batchyard.kernel.messages import (
    Observation,
    TaskExited,
    TaskLost,
    TaskRecalled,
    TaskStarted,
    TaskUnknown,
)
from batchyard.logs.lines import create_group, decode_event, stream_path
from batchyard.shapes.batch import ContainerDetail

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
PATIENCE = 60.0
"""Seconds until a test gives up waiting. Nothing is ever expected to take that long."""


@dataclass
class Rig:
    """What the suite needs to know of a runtime."""

    factory: Callable[[], Engine]
    """Makes an engine object over the same data each time. Must be picklable: one test uses it in another process."""
    log_root: Path
    image: str | None = None
    """Has a POSIX shell and the usual small programs."""
    limits_memory: bool = True
    """False only where the host can't limit memory at all; the test of the limit is then skipped, visibly."""
    shows_files: bool = os.geteuid() == 0
    """False where the runtime can't show files to a task; those tests are then skipped, visibly."""
    crowd: int = 500
    """How many tasks the test of many tasks at once starts."""
    base_environment: frozenset[str] = frozenset({"HOME", "HOSTNAME", "LANG", "PATH", "PWD", "SHLVL", "TMPDIR", "_"})
    """Variables that a program may find without having been given them (by the runtime or by the shell itself)."""


class Story:
    """Everything that an engine posted, in order, and ways to wait for more."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self._changed = asyncio.Event()

    def post(self, observation: Observation) -> None:
        self.observations.append(observation)
        self._changed.set()

    def of(self, task_id: str) -> list[Observation]:
        return [observation for observation in self.observations if observation.task_id == task_id]

    def kinds(self, task_id: str) -> list[str]:
        return [type(observation).__name__ for observation in self.of(task_id)]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition over the observations holds."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"nothing more came after {self.observations[-20:]}") from None

    async def first(self, kind: type[Observation], task_id: str) -> Any:
        """The first observation of this kind about a task, as soon as there is one."""
        found: list[Observation] = []

        def look() -> bool:
            found[:] = [observation for observation in self.of(task_id) if isinstance(observation, kind)]
            return bool(found)

        await self.until(look)
        return found[0]

    async def ended(self, *task_ids: str) -> None:
        wanted = set(task_ids)
        await self.until(
            lambda: wanted <= {o.task_id for o in self.observations if isinstance(o, TaskExited | TaskLost)}
        )


@dataclass
class Bench:
    """An open engine, its story, and short ways to say what a test does with it."""

    rig: Rig
    engine: Engine
    story: Story
    capacity: Capacity
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def task(self, *command: str, environment: dict[str, str] | None = None, **changes: Any) -> TaskSpec:
        """A small task. One string is a script for the shell; several are a command."""
        argv = ["/bin/sh", "-c", command[0]] if len(command) == 1 else list(command)
        task_id = changes.pop("task_id", None) or secrets.token_hex(16)
        container = ContainerDetail(image=self.rig.image, command=argv or None, **changes.pop("container", {}))
        values: dict[str, Any] = {
            "task_id": task_id,
            "job_id": f"job-{next(self._numbers)}",
            "container": container,
            "environment": environment or {},
            "vcpus": 0.01,
            "memory": 32,
            "gpus": 0,
            "log_group": "/aws/batch/job",
            "log_stream": f"conformance/default/{task_id}",
        }
        return TaskSpec(**(values | changes))

    async def run(self, *command: str, **changes: Any) -> TaskExited:
        task = self.task(*command, **changes)
        self.engine.start([task])
        exited: TaskExited = await self.story.first(TaskExited, task.task_id)
        return exited

    def log(self, task: TaskSpec) -> list[bytes]:
        return read_log(self.rig.log_root, task.log_group, task.log_stream)

    async def logged(self, task: TaskSpec, line: bytes, times: int = 1) -> None:
        """Wait until a line stands in the task's log."""
        await eventually(lambda: self.log(task).count(line) >= times, f"{line!r} in the log")

    async def restart(self) -> Bench:
        """Close the engine and open another over the same data, as a restarted server does."""
        await self.engine.close()
        return await open_bench(self.rig)


async def open_bench(rig: Rig) -> Bench:
    engine, story = rig.factory(), Story()
    return Bench(rig, engine, story, await engine.open(story.post))


def read_log(root: Path, group: str, stream: str) -> list[bytes]:
    """The messages of a log stream, and a check that its times never decrease."""
    path = stream_path(root, group, stream)
    if not path.exists():
        return []
    events = [decode_event(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert None not in events
    times = [event[0] for event in events if event]
    assert times == sorted(times)
    return [event[1] for event in events if event]


async def eventually(condition: Callable[[], Any], what: str) -> None:
    """For facts that nobody announces (files, processes): look again and again."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


def processes_with(token: str) -> list[int]:
    """Living processes of the host whose command line has this argument."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                arguments = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if token.encode() in arguments:
                found.append(int(entry))
    return found


def sleep_token() -> str:
    """A number of seconds that no one else sleeps, so that the process that does can be found by it."""
    return f"9{secrets.randbelow(10**6):06}.{secrets.randbelow(10**6):06}"


def run_doomed_server(factory: Callable[[], Engine], tasks: Sequence[TaskSpec], ready: Connection) -> None:
    """A server that starts tasks and then hangs until it is killed. It says `ready` when all have started."""

    async def serve() -> None:
        engine, story = factory(), Story()
        await engine.open(story.post)
        await engine.reconcile([])
        engine.start(tasks)
        for task in tasks:
            await story.first(TaskStarted, task.task_id)
        ready.send("ready")
        await asyncio.Event().wait()

    asyncio.run(serve())


async def start_in_killed_server(rig: Rig, tasks: Sequence[TaskSpec]) -> None:
    """Start tasks from another process and kill -9 that process once they run."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    server = context.Process(target=run_doomed_server, args=(rig.factory, tasks, sender))
    server.start()
    sender.close()
    try:
        assert await asyncio.to_thread(receiver.poll, PATIENCE), "the server never started the tasks"
        assert receiver.recv() == "ready"
    finally:
        server.kill()
        await asyncio.to_thread(server.join)
        receiver.close()


class EngineConformance:
    @pytest.fixture
    async def bench(self, rig: Rig) -> AsyncIterator[Bench]:
        bench = await open_bench(rig)
        await bench.engine.reconcile([])
        yield bench
        await bench.engine.close()
        last = await open_bench(rig)  # A test may have closed the engine itself; either way nothing is left running.
        await last.engine.reconcile([])
        await last.engine.close()

    # --- begin and end ------------------------------------------------------------------------------------------------

    async def test_capacity_is_what_was_offered(self, bench: Bench) -> None:
        assert bench.capacity.vcpus > 0
        assert bench.capacity.memory > 0
        assert bench.capacity.lead >= 0

    async def test_success(self, bench: Bench) -> None:
        task = bench.task("exit 0")
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        started = await bench.story.first(TaskStarted, task.task_id)
        assert (exited.exit_code, exited.reason) == (0, None)
        assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
        assert exited.started_at == started.at
        assert 1_600_000_000_000 < started.at <= exited.at

    @pytest.mark.parametrize("code", [1, 42, 255])
    async def test_exit_code(self, bench: Bench, code: int) -> None:
        exited = await bench.run(f"exit {code}")
        assert (exited.exit_code, exited.reason) == (code, None)

    @pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("ABRT", 6)])
    async def test_death_by_signal(self, bench: Bench, name: str, number: int) -> None:
        # A child of the shell, because the first process of a container is deaf to signals from inside.
        exited = await bench.run(f"sh -c 'kill -{name} $$'; exit $?")
        assert exited.exit_code == 128 + number
        assert exited.reason is None

    async def test_missing_command(self, bench: Bench) -> None:
        exited = await bench.run("/no/such/program", "x")
        assert exited.exit_code == 127
        assert exited.reason is not None
        assert exited.reason.startswith("CannotStartContainerError: ")
        assert "/no/such/program" in exited.reason
        assert len(exited.reason) <= 255
        assert exited.started_at is None

    async def test_command_that_is_not_executable(self, bench: Bench) -> None:
        exited = await bench.run("/etc/passwd", "x")
        assert exited.exit_code == 126
        assert exited.reason is not None
        assert exited.reason.startswith("CannotStartContainerError: ")

    async def test_command_is_looked_up_in_path(self, bench: Bench) -> None:
        assert (await bench.run("sh", "-c", "exit 7")).exit_code == 7

    async def test_starting_twice_is_starting_once(self, bench: Bench) -> None:
        task = bench.task("echo ran; sleep 0.2")
        bench.engine.start([task, task])
        bench.engine.start([task])
        await bench.story.first(TaskStarted, task.task_id)
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        bench.engine.start([task])
        await bench.run("true")  # Whatever the second order could have caused would be seen by now.
        assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
        assert bench.log(task) == [b"ran"]

    async def test_many_at_once_are_each_reported_exactly_once(self, bench: Bench) -> None:
        tasks = [bench.task(f"exit {number % 7}") for number in range(bench.rig.crowd)]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        for number, task in enumerate(tasks):
            assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
            assert (await bench.story.first(TaskExited, task.task_id)).exit_code == number % 7

    # --- what the program finds ---------------------------------------------------------------------------------------

    async def test_environment_is_exact(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SERVER_SECRET", "hunter2")
        given = {
            "AWS_BATCH_JOB_ID": "4c4a2b5e",
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "EMPTY": "",
            "GREETING": "grüß Gott = $HOME 'quoted' \"double\" \\ ",
            "ABC": "line one\nline two",
        }
        task = bench.task("tr '\\0' '\\1' < /proc/self/environ; echo", environment=given)
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        text = b"\n".join(bench.log(task)).decode()
        found = dict(entry.split("=", 1) for entry in text.rstrip("\n").split("\1") if entry)
        assert {name: value for name, value in found.items() if name in given} == given
        assert set(found) - set(given) <= bench.rig.base_environment

    async def test_environment_of_the_task_wins(self, bench: Bench) -> None:
        task = bench.task("echo $HOME $PATH", environment={"HOME": "/somewhere", "PATH": "/bin:/usr/bin:/opt/x"})
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"/somewhere /bin:/usr/bin:/opt/x"]

    async def test_arguments_arrive_as_given(self, bench: Bench) -> None:
        task = bench.task("/bin/sh", "-c", 'printf "<%s>\\n" "$@"', "name", "a b", "", "*", "$HOME", "ü\n'\"")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert b"\n".join(bench.log(task)).decode() == "<a b>\n<>\n<*>\n<$HOME>\n<ü\n'\">"

    async def test_standard_input_is_empty(self, bench: Bench) -> None:
        task = bench.task("wc -c")
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        assert exited.exit_code == 0
        assert bench.log(task) == [b"0"]

    async def test_signals_are_at_their_defaults(self, bench: Bench) -> None:
        task = bench.task("grep -E 'Sig(Blk|Ign)' /proc/self/status")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        blocked, ignored = (int(line.split()[1], 16) for line in bench.log(task))
        standard_signals = 2**31 - 1  # The C library itself may ignore its two internal ones when it starts a program.
        assert (blocked & standard_signals, ignored & standard_signals) == (0, 0)

    async def test_files_of_one_task_are_not_seen_by_the_next(self, bench: Bench) -> None:
        script = "ls -A . $TMPDIR | grep made; touch made-here $TMPDIR/made-there; mkdir -p d/e; chmod 000 d"
        first, second = bench.task(script), bench.task(script)
        bench.engine.start([first])
        await bench.story.ended(first.task_id)
        bench.engine.start([second])
        await bench.story.ended(second.task_id)
        assert bench.log(first) == []
        assert bench.log(second) == []

    # --- files of its own ---------------------------------------------------------------------------------------------

    @pytest.fixture
    def tree(self, rig: Rig, tmp_path: Path) -> Iterator[Files]:
        if not rig.shows_files:
            pytest.skip("this runtime shows files only when it runs as root")
        (tmp_path / "given").mkdir()
        (tmp_path / "given" / "data").write_text("from the host\n")
        yield Files(
            root="/opt/conformance",
            contents={"input/greeting": "grüß Gott\n".encode(), "bytes": bytes(range(256))},
            folders=["scratch"],
            mounts={"kept": Mount(str(tmp_path / "deep" / "kept")), "given": Mount(str(tmp_path / "given"), True)},
            message="scratch/message",
        )
        with contextlib.suppress(OSError):
            os.rmdir("/opt/conformance")  # A runtime without containers had to make it.

    async def test_files_are_found_and_what_is_to_stay_stays(self, bench: Bench, tree: Files) -> None:
        script = (
            "cd /opt/conformance; cat input/greeting given/data; wc -c < bytes; touch scratch/x && echo out > kept/out"
        )
        task = bench.task(f"set -e; {script}; (echo no > given/data) 2>&- || echo refused", files=tree)
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        assert bench.log(task) == ["grüß Gott".encode(), b"from the host", b"256", b"refused"]
        assert (exited.exit_code, exited.message) == (0, None)
        assert (Path(tree.mounts["kept"].folder) / "out").read_text() == "out\n"
        assert (Path(tree.mounts["given"].folder) / "data").read_text() == "from the host\n"

    async def test_files_are_their_own_task_s_alone(self, bench: Bench, tree: Files) -> None:
        other = Files(root=tree.root, contents={"input/greeting": b"another\n"})
        script = "cat /opt/conformance/input/greeting; sleep 0.2; ls -A /opt/conformance"
        tasks = [bench.task(script, files=other), bench.task("ls -A /opt/conformance/* 2>/dev/null | wc -l")]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        assert bench.log(tasks[0]) == [b"another", b"input"]
        assert bench.log(tasks[1]) == [b"0"]

    async def test_a_message_comes_with_the_end(self, bench: Bench, tree: Files) -> None:
        exited = await bench.run("echo ' out of luck ' > /opt/conformance/scratch/message; exit 3", files=tree)
        assert (exited.exit_code, exited.message) == (3, "out of luck")

    async def test_only_the_beginning_of_a_message_is_taken(self, bench: Bench, tree: Files) -> None:
        script = "head -c 3000000 /dev/zero | tr '\\0' x > /opt/conformance/scratch/message"
        assert (await bench.run(script, files=tree)).message == "x" * 1024

    @pytest.mark.parametrize("trick", ["ln -s /etc/passwd", "mkdir", "mkfifo"])
    async def test_a_message_is_a_plain_file(self, bench: Bench, tree: Files, trick: str) -> None:
        exited = await bench.run(f"{trick} /opt/conformance/scratch/message", files=tree)
        assert (exited.exit_code, exited.message) == (0, None)

    async def test_a_message_is_found_after_a_restart(self, bench: Bench, tree: Files) -> None:
        task = bench.task(
            "until [ -e /opt/conformance/kept/go ]; do sleep 0.02; done; echo late > /opt/conformance/scratch/message; exit 1",
            files=tree,
        )
        bench.engine.start([task])
        await bench.story.first(TaskStarted, task.task_id)
        again = await bench.restart()
        try:
            await again.engine.reconcile([task.task_id])
            (Path(tree.mounts["kept"].folder) / "go").touch()
            assert (await again.story.first(TaskExited, task.task_id)).message == "late"
        finally:
            await again.engine.close()

    async def test_files_that_cannot_be_shown_fail_the_task(self, bench: Bench, tree: Files, tmp_path: Path) -> None:
        (tmp_path / "no-folder").touch()
        files = Files(root=tree.root, mounts={"kept": Mount(str(tmp_path / "no-folder" / "kept"))})
        exited = await bench.run("true", files=files)
        assert (exited.exit_code, exited.started_at) == (None, None)
        assert "no-folder" in str(exited.reason)

    async def test_an_entry_point_comes_before_the_arguments(self, bench: Bench) -> None:
        task = bench.task("name", "a b", entrypoint=["/bin/sh", "-c", 'echo "$0/$1"'])
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"name/a b"]

    # --- output -------------------------------------------------------------------------------------------------------

    async def test_output_and_errors_stand_in_one_stream_in_order(self, bench: Bench) -> None:
        task = bench.task("echo one; echo two >&2; echo; echo three")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"one", b"two", b"", b"three"]

    async def test_output_is_there_when_the_end_is_reported(self, bench: Bench) -> None:
        tasks = [bench.task(f"echo line {number}; printf end") for number in range(20)]
        bench.engine.start(tasks)
        for number, task in enumerate(tasks):
            await bench.story.first(TaskExited, task.task_id)
            assert bench.log(task) == [b"line %d" % number, b"end"]

    async def test_a_task_without_output_has_an_empty_stream(self, bench: Bench) -> None:
        task = bench.task("true")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert stream_path(bench.rig.log_root, task.log_group, task.log_stream).exists()

    async def test_lines_arrive_while_the_task_runs(self, bench: Bench) -> None:
        task = bench.task("echo first; sleep 600")
        bench.engine.start([task])
        await bench.logged(task, b"first")
        assert bench.story.kinds(task.task_id) == ["TaskStarted"]

    async def test_an_unfinished_line_arrives_while_the_task_runs(self, bench: Bench) -> None:
        task = bench.task("printf 'password? '; sleep 600")
        bench.engine.start([task])
        await bench.logged(task, b"password? ")

    async def test_binary_output(self, bench: Bench) -> None:
        task = bench.task("printf 'a\\000b\\377c\\020d\\n\\033[31mred\\n'")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"a\0b\xffc\x10d", b"\x1b[31mred"]

    async def test_a_very_long_line_is_cut_and_nothing_is_lost(self, bench: Bench) -> None:
        task = bench.task("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        *parts, last = bench.log(task)
        assert b"".join(parts) == b"x" * 1_000_000
        assert max(map(len, parts)) <= 256 * 1024
        assert last == b"after"

    async def test_ten_megabytes_of_output(self, bench: Bench) -> None:
        task = bench.task("seq 1 1500000")
        bench.engine.start([task])
        assert (await bench.story.first(TaskExited, task.task_id)).exit_code == 0
        assert bench.log(task) == [b"%d" % number for number in range(1, 1_500_001)]

    async def test_a_log_group_is_made(self, bench: Bench) -> None:
        task = bench.task("echo here", log_group="my/own.group", log_stream="a/b/c")
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        assert bench.log(task) == [b"here"]

    async def test_a_log_group_that_must_exist_already(self, bench: Bench) -> None:
        exited = await bench.run("true", log_group="absent", create_log_group=False)
        assert exited.exit_code == 1
        assert exited.reason == (
            "ResourceInitializationError: failed to validate logger args: The specified log group does not exist."
        )
        assert exited.started_at is None
        create_group(bench.rig.log_root, "present")
        exited = await bench.run("true", log_group="present", create_log_group=False)
        assert (exited.exit_code, exited.reason) == (0, None)

    # --- ending a task ------------------------------------------------------------------------------------------------

    async def test_stop_lets_the_program_clean_up(self, bench: Bench) -> None:
        task = bench.task("trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, PATIENCE)
        exited = await bench.story.first(TaskExited, task.task_id)
        assert (exited.exit_code, exited.reason) == (0, None)
        assert bench.log(task)[-1] == b"cleaned"

    async def test_stop_without_a_handler(self, bench: Bench) -> None:
        token = sleep_token()
        # `exec sleep` as the first process of a container would be deaf to SIGTERM.
        task = bench.task(f"trap 'exit 143' TERM; echo up; sleep {token} & wait")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, PATIENCE)
        exited = await bench.story.first(TaskExited, task.task_id)
        assert exited.exit_code == 143
        await eventually(lambda: not processes_with(token), "the sleeping child is gone")

    async def test_stop_kills_what_ignores_it(self, bench: Bench) -> None:
        task = bench.task("trap '' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, 0.2)
        exited = await bench.story.first(TaskExited, task.task_id)
        assert (exited.exit_code, exited.reason) == (137, None)

    async def test_stop_with_a_shorter_grace_hurries(self, bench: Bench) -> None:
        task = bench.task("trap '' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, 3600)
        bench.engine.stop(task.task_id, 0)
        assert (await bench.story.first(TaskExited, task.task_id)).exit_code == 137

    async def test_stop_of_unknown_and_ended_tasks_does_nothing(self, bench: Bench) -> None:
        exited = await bench.run("exit 3")
        bench.engine.stop(exited.task_id, 0)
        bench.engine.stop("0" * 32, 0)
        await bench.run("true")
        assert len(bench.story.of(exited.task_id)) == 2
        assert bench.story.of("0" * 32) == []

    async def test_the_whole_tree_is_killed_by_stop(self, bench: Bench) -> None:
        token = sleep_token()
        task = bench.task(
            f"trap '' TERM; (setsid sh -c 'sleep {token} & sleep {token}' &); sleep {token} & echo up; wait; wait"
        )
        bench.engine.start([task])
        await eventually(lambda: len(processes_with(token)) == 3, "three sleepers")
        bench.engine.stop(task.task_id, 0)
        await bench.story.ended(task.task_id)
        await eventually(lambda: not processes_with(token), "all sleepers are gone")

    async def test_what_a_task_leaves_behind_is_killed_and_holds_nothing_up(self, bench: Bench) -> None:
        token = sleep_token()
        task = bench.task(f"(setsid sh -c 'sleep {token} & sleep {token}' &); sleep {token} & sleep 0.3; echo done")
        bench.engine.start([task])
        exited = await bench.story.first(TaskExited, task.task_id)
        assert (exited.exit_code, exited.reason) == (0, None)
        assert bench.log(task) == [b"done"]
        await eventually(lambda: not processes_with(token), "all sleepers are gone")

    async def test_memory_limit(self, bench: Bench) -> None:
        if not bench.rig.limits_memory:
            pytest.skip("this host offers no memory limit")
        exited = await bench.run("exec dd if=/dev/zero of=/dev/null bs=300M count=1", memory=32)
        assert (exited.exit_code, exited.reason) == (137, OUT_OF_MEMORY)

    async def test_memory_limit_on_a_child(self, bench: Bench) -> None:
        if not bench.rig.limits_memory:
            pytest.skip("this host offers no memory limit")
        exited = await bench.run("dd if=/dev/zero of=/dev/null bs=300M count=1; echo survived; exit 5", memory=32)
        assert (exited.exit_code, exited.reason) == (5, OUT_OF_MEMORY)
        exited = await bench.run("exit 5", memory=32)
        assert (exited.exit_code, exited.reason) == (5, None)

    async def test_memory_within_the_limit(self, bench: Bench) -> None:
        exited = await bench.run("exec dd if=/dev/zero of=/dev/null bs=100M count=1", memory=160)
        assert (exited.exit_code, exited.reason) == (0, None)

    # --- tasks handed over ahead --------------------------------------------------------------------------------------

    async def test_tasks_handed_over_ahead_begin_in_order(self, bench: Bench) -> None:
        if not bench.capacity.lead:
            pytest.skip("this engine is never fed ahead")
        count = min(bench.capacity.lead, 20)
        whole = bench.capacity.vcpus
        tasks = [bench.task(f"exit {number}", vcpus=whole) for number in range(count)]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        begun = [o.task_id for o in bench.story.observations if isinstance(o, TaskStarted)]
        ended = [o.task_id for o in bench.story.observations if isinstance(o, TaskExited)]
        assert begun == [task.task_id for task in tasks] == ended

    async def test_recall(self, bench: Bench) -> None:
        if not bench.capacity.lead:
            pytest.skip("this engine is never fed ahead")
        whole = bench.capacity.vcpus
        running = bench.task("echo up; sleep 600", vcpus=whole)
        first, second = bench.task("echo no", vcpus=whole), bench.task("echo yes", vcpus=whole)
        bench.engine.start([running, first, second])
        await bench.logged(running, b"up")
        bench.engine.recall([first.task_id, running.task_id, "0" * 32])
        await bench.story.first(TaskRecalled, first.task_id)
        bench.engine.stop(running.task_id, 0)
        await bench.story.ended(second.task_id)
        assert bench.story.kinds(first.task_id) == ["TaskRecalled"]
        assert bench.story.kinds(running.task_id) == ["TaskStarted", "TaskExited"]
        assert bench.log(first) == []
        bench.engine.start([first])  # What was given back may be ordered again.
        await bench.story.ended(first.task_id)
        assert bench.log(first) == [b"no"]

    async def test_stop_of_a_task_that_has_not_begun(self, bench: Bench) -> None:
        if not bench.capacity.lead:
            pytest.skip("this engine is never fed ahead")
        whole = bench.capacity.vcpus
        running, waiting = bench.task("echo up; sleep 600", vcpus=whole), bench.task("echo no", vcpus=whole)
        bench.engine.start([running, waiting])
        await bench.logged(running, b"up")
        bench.engine.stop(waiting.task_id, 30)
        exited = await bench.story.first(TaskExited, waiting.task_id)
        assert (exited.exit_code, exited.started_at) == (None, None)
        assert bench.story.kinds(waiting.task_id) == ["TaskExited"]
        assert bench.log(waiting) == []

    # --- restarts -----------------------------------------------------------------------------------------------------

    async def test_reconcile_gives_each_expected_task_one_answer(self, bench: Bench) -> None:
        token = sleep_token()
        running, unexpected = bench.task("echo up; sleep 600"), bench.task(f"echo up; sleep {token}")
        ended = bench.task("exit 9")
        bench.engine.start([running, unexpected, ended])
        await bench.logged(running, b"up")
        await bench.logged(unexpected, b"up")
        await bench.story.ended(ended.task_id)
        again = await bench.restart()
        never = secrets.token_hex(16)
        try:
            await again.engine.reconcile([running.task_id, ended.task_id, never])
            await again.story.until(lambda: len(again.story.observations) >= 3)
            assert again.story.kinds(running.task_id) == ["TaskStarted"]
            assert again.story.kinds(ended.task_id) == ["TaskExited"]
            assert again.story.of(never) == [TaskUnknown(never)]
            assert (await again.story.first(TaskExited, ended.task_id)).exit_code == 9
            await eventually(lambda: not processes_with(token), "the unexpected task is ended")
            assert again.story.of(unexpected.task_id) == []
            again.engine.stop(running.task_id, 0)
            await again.story.ended(running.task_id)
            assert len(again.story.observations) == 4
        finally:
            await again.engine.close()

    async def test_tasks_outlive_a_restart_and_report_once(self, bench: Bench) -> None:
        tasks = [bench.task(f"sleep 0.{number:02}; echo said; exit {number}") for number in range(0, 60, 3)]
        bench.engine.start(tasks)
        await bench.story.first(TaskStarted, tasks[0].task_id)
        again = await bench.restart()
        heard = {o.task_id for o in bench.story.observations if isinstance(o, TaskExited)}
        try:
            expected = [task.task_id for task in tasks if task.task_id not in heard]
            await again.engine.reconcile(expected)
            await again.story.until(
                lambda: (
                    set(expected)
                    <= {o.task_id for o in again.story.observations if isinstance(o, TaskExited | TaskUnknown)}
                )
            )
            for number, task in zip(range(0, 60, 3), tasks, strict=True):
                exits = [o for o in bench.story.of(task.task_id) + again.story.of(task.task_id) if o]
                if TaskUnknown(task.task_id) in exits:
                    assert bench.log(task) == []  # It had never begun, so nothing of it may be seen.
                    continue
                ends = [o for o in exits if isinstance(o, TaskExited)]
                assert [end.exit_code for end in ends] == [number]
                assert bench.log(task) == [b"said"]
        finally:
            await again.engine.close()

    async def test_tasks_outlive_a_killed_server(self, rig: Rig, bench: Bench) -> None:
        token = sleep_token()
        quick = bench.task("sleep 0.3; echo after; exit 4")
        slow = bench.task(f"echo before; sleep {token}")
        await bench.engine.close()
        await start_in_killed_server(rig, [quick, slow])
        await bench.logged(quick, b"after")
        again = await open_bench(rig)
        try:
            await again.engine.reconcile([quick.task_id, slow.task_id])
            assert (await again.story.first(TaskExited, quick.task_id)).exit_code == 4
            await again.story.first(TaskStarted, slow.task_id)
            assert processes_with(token)
            again.engine.stop(slow.task_id, 0)
            assert (await again.story.first(TaskExited, slow.task_id)).exit_code == 137
            assert again.log(quick) == [b"after"]
            assert again.log(slow) == [b"before"]
        finally:
            await again.engine.close()

    async def test_an_end_is_told_again_until_it_is_acknowledged(self, bench: Bench) -> None:
        exited = await bench.run("exit 6")
        second = await bench.restart()
        await second.engine.reconcile([exited.task_id])
        assert await second.story.first(TaskExited, exited.task_id) == exited
        second.engine.acknowledge([exited.task_id])
        await second.run("true")
        third = await second.restart()
        await third.engine.reconcile([])
        await third.run("true")
        await third.engine.close()
        assert third.story.of(exited.task_id) == []

    async def test_a_stop_ends_its_task_even_when_the_server_goes(self, bench: Bench) -> None:
        task = bench.task("trap '' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        bench.engine.stop(task.task_id, 0.5)
        again = await bench.restart()
        try:
            await again.engine.reconcile([task.task_id])
            assert (await again.story.first(TaskExited, task.task_id)).exit_code == 137
        finally:
            await again.engine.close()
