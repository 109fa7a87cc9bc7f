"""What only the process runtime promises: a runner that may be killed, and nothing left behind."""

from __future__ import annotations

import asyncio
import functools
import os
import pwd
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from conformance import (
    Bench,
    Rig,
    Story,
    eventually,
    open_bench,
    processes_with,
    sleep_token,
)

from batchyard.engines.local.process.cgroups import find_mount, folders_like
from batchyard.engines.local.process.daemon import JOURNAL, SOCKET
from batchyard.engines.local.process.engine import ProcessEngine
from batchyard.engines.local.process.journal import boot_id as this_boot
from batchyard.engines.local.process.protocol import connect
from batchyard.kernel.messages import TaskExited, TaskLost, TaskStarted, TaskUnknown
from batchyard.shapes.batch import Ulimit
from server_process import is_alive


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    logs = tmp_path / "logs"
    return Rig(functools.partial(ProcessEngine, tmp_path / "data", logs, 4, 4096, idle_seconds=0.05), logs)


@pytest.fixture
async def bench(rig: Rig) -> AsyncIterator[Bench]:
    bench = await open_bench(rig)
    await bench.engine.reconcile([])
    yield bench
    await bench.engine.close()
    last = await open_bench(rig)
    await last.engine.reconcile([])
    await last.engine.close()
    await runner_is_gone(last)


def runner_of(bench: Bench) -> int:
    assert isinstance(bench.engine, ProcessEngine)
    assert bench.engine.runner_process_id is not None
    return bench.engine.runner_process_id


def folder_of(bench: Bench) -> Path:
    return bench.rig.log_root.parent / "data" / "process"


def control_groups(runner: int) -> list[Path]:
    """Folders of control groups that a runner made, of which there is one for each hierarchy that it uses."""
    return [Path(folder) for folder in folders_like("batchyard-") if folder.endswith(f"-{runner}")]


async def runner_is_gone(bench: Bench) -> None:
    runner = runner_of(bench)
    await eventually(lambda: not is_alive(runner), "the runner ends by itself")


# --- the runner's end -------------------------------------------------------------------------------------------------


async def test_an_idle_runner_ends_and_leaves_nothing(bench: Bench) -> None:
    runner = runner_of(bench)
    exited = await bench.run("echo hello; touch a b c; mkdir d")
    assert control_groups(runner) or not bench.rig.limits_memory
    bench.engine.acknowledge([exited.task_id])
    await bench.engine.close()
    await runner_is_gone(bench)
    assert control_groups(runner) == []
    assert sorted(path.name for path in folder_of(bench).iterdir()) == ["runner.lock", "runner.log"]
    assert (folder_of(bench) / "runner.log").read_text() == ""


async def test_a_runner_with_an_end_to_report_stays(bench: Bench) -> None:
    exited = await bench.run("exit 5")
    runner = runner_of(bench)
    again = await bench.restart()
    for _ in range(20):  # Longer than an idle runner would live.
        await asyncio.sleep(0.01)
        again = await again.restart()
    assert runner_of(again) == runner
    await again.engine.reconcile([exited.task_id])
    assert again.story.of(exited.task_id) == [exited]
    await again.engine.close()


async def test_killing_the_runner_loses_what_runs_and_begins_what_waited(bench: Bench) -> None:
    token = sleep_token()
    running = bench.task(f"(setsid sleep {token} &); echo up; sleep {token}", vcpus=4)
    waiting = [bench.task(f"echo {number}", vcpus=4) for number in range(3)]
    bench.engine.start([running, *waiting])
    await bench.story.first(TaskStarted, running.task_id)
    await bench.logged(running, b"up")
    os.kill(runner_of(bench), signal.SIGKILL)
    await bench.story.ended(running.task_id, *(task.task_id for task in waiting))
    assert bench.story.kinds(running.task_id) == ["TaskStarted", "TaskLost"]
    assert processes_with(token) == []
    for number, task in enumerate(waiting):
        assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
        assert bench.log(task) == [b"%d" % number]


async def test_a_killed_runner_remembers_ends_that_were_not_acknowledged(rig: Rig, bench: Bench) -> None:
    ended, running = await bench.run("exit 8"), bench.task("echo up; sleep 600")
    bench.engine.start([running])
    await bench.logged(running, b"up")
    old = runner_of(bench)
    await bench.engine.close()
    os.kill(old, signal.SIGKILL)
    again = await open_bench(rig)
    never = "0" * 32
    await again.engine.reconcile([ended.task_id, running.task_id, never])
    assert again.story.of(ended.task_id) == [ended]
    assert [type(o) for o in again.story.of(running.task_id)] == [TaskLost]
    assert again.story.of(never) == [TaskUnknown(never)]
    assert runner_of(again) != old
    await again.engine.close()


async def test_a_runner_that_is_told_to_end_takes_its_tasks_along(bench: Bench) -> None:
    token = sleep_token()
    task = bench.task(f"trap '' TERM; (setsid sleep {token} &); echo up; sleep {token}")
    bench.engine.start([task])
    await bench.logged(task, b"up")
    runner = runner_of(bench)
    os.kill(runner, signal.SIGTERM)
    await bench.story.first(TaskLost, task.task_id)
    assert processes_with(token) == []
    assert control_groups(runner) == []


async def test_a_killed_runner_is_replaced_again_and_again(bench: Bench) -> None:
    for _ in range(3):
        task = bench.task("echo up; sleep 600")
        bench.engine.start([task])
        await bench.logged(task, b"up")
        os.kill(runner_of(bench), signal.SIGKILL)
        await bench.story.first(TaskLost, task.task_id)
        bench.engine.acknowledge([task.task_id])
    assert (await bench.run("exit 2")).exit_code == 2
    assert control_groups(runner_of(bench)) or not bench.rig.limits_memory


async def test_orders_while_the_runner_is_away_are_not_forgotten(bench: Bench) -> None:
    os.kill(runner_of(bench), signal.SIGKILL)
    tasks = [bench.task(f"exit {number}") for number in range(5)]
    stopped = bench.task("sleep 600", vcpus=4)
    bench.engine.start([*tasks, stopped])
    bench.engine.stop(stopped.task_id, 0)
    await bench.story.ended(stopped.task_id, *(task.task_id for task in tasks))
    for number, task in enumerate(tasks):
        assert (await bench.story.first(TaskExited, task.task_id)).exit_code == number


@pytest.mark.parametrize("boot_id", ["another-boot", None])
async def test_after_a_restart_of_the_machine_nothing_is_certain(rig: Rig, bench: Bench, boot_id: str | None) -> None:
    """With a journal of another boot, tasks that it does not name may have run; without any journal, none has."""
    ended = await bench.run("exit 3")
    await bench.engine.close()
    os.kill(runner_of(bench), signal.SIGKILL)
    journal = folder_of(bench) / JOURNAL
    if boot_id is None:
        journal.unlink()
    else:
        journal.write_text(journal.read_text().replace(this_boot(), boot_id))
    again = await open_bench(rig)
    other = "1" * 32
    await again.engine.reconcile([ended.task_id, other])
    if boot_id is None:
        assert again.story.observations == [TaskUnknown(ended.task_id), TaskUnknown(other)]
    else:
        assert again.story.of(ended.task_id) == [ended]
        assert [type(o) for o in again.story.of(other)] == [TaskLost]
        third = await again.restart()
        await third.engine.reconcile([other, "2" * 32])
        assert third.story.of(other) == again.story.of(other)
        assert third.story.of("2" * 32) == [TaskUnknown("2" * 32)]  # Ordered after the restart, so it is certain.
        await third.engine.close()
    await again.engine.close()


# --- one runner, one server -------------------------------------------------------------------------------------------


async def test_engines_that_start_at_once_share_one_runner(rig: Rig) -> None:
    benches = await asyncio.gather(*(open_bench(rig) for _ in range(4)))
    await asyncio.gather(*(bench.story.until(lambda: True) for bench in benches))
    last = await open_bench(rig)
    await last.engine.reconcile([])
    runners = processes_with(str(folder_of(last)))
    assert runners == [runner_of(last)]
    for bench in [*benches, last]:
        await bench.engine.close()
    await runner_is_gone(last)


async def test_a_folder_deeper_than_a_socket_address_is_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    rig = Rig(functools.partial(ProcessEngine, deep, deep / "logs", 1, 512, idle_seconds=0.05), deep / "logs")
    bench = await open_bench(rig)
    await bench.engine.reconcile([])
    exited = await bench.run("exit 4")
    assert exited.exit_code == 4
    bench.engine.acknowledge([exited.task_id])
    await bench.engine.close()
    await runner_is_gone(bench)


@pytest.mark.parametrize(
    "junk", [b"\0", b"\0\0\0\1", b"\0\0\0\3abc", b"\xff\xff\xff\xff", struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1"]
)
async def test_nonsense_on_the_socket_harms_no_one(bench: Bench, junk: bytes) -> None:
    task = bench.task("echo up; sleep 0.2; echo down; exit 3")
    bench.engine.start([task])
    await bench.logged(task, b"up")
    intruder = connect(folder_of(bench) / SOCKET)
    intruder.sendall(junk)
    intruder.close()
    assert (await bench.story.first(TaskExited, task.task_id)).exit_code == 3
    assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
    assert bench.log(task) == [b"up", b"down"]


async def test_only_the_owner_may_connect(bench: Bench) -> None:
    assert (folder_of(bench) / SOCKET).stat().st_mode & 0o777 == 0o600


async def test_a_server_that_does_not_listen_loses_nothing(rig: Rig, bench: Bench) -> None:
    """The socket fills up with news that nobody reads; whoever comes next hears all of it."""
    await bench.engine.close()
    deaf = connect(folder_of(bench) / SOCKET)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    feeder = await open_bench(rig)
    await feeder.engine.reconcile([])
    tasks = [feeder.task("exit 0") for _ in range(50)]
    feeder.engine.start(tasks)
    await feeder.story.ended(*(task.task_id for task in tasks))
    again = await feeder.restart()
    await again.engine.reconcile([task.task_id for task in tasks])
    assert {o.task_id for o in again.story.observations if isinstance(o, TaskExited)} == {t.task_id for t in tasks}
    await again.engine.close()
    deaf.close()


# --- resources --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [{"vcpus": 1, "memory": 8}, {"vcpus": 0.1, "memory": 1024}])
async def test_never_more_than_the_capacity_runs_at_once(bench: Bench, tmp_path: Path, size: dict[str, float]) -> None:
    present = tmp_path / "present"
    present.mkdir()
    script = f"touch {present}/$$; ls {present} | wc -l; sleep 0.03; rm {present}/$$"
    tasks = [bench.task(script, **size) for _ in range(40)]
    bench.engine.start(tasks)
    await bench.story.ended(*(task.task_id for task in tasks))
    seen = [int(bench.log(task)[0]) for task in tasks]
    assert max(seen) <= 4
    assert max(seen) > 1  # They did run side by side.


async def test_a_task_that_can_never_fit_ends_at_once_and_holds_up_no_one(bench: Bench) -> None:
    huge, small = bench.task("true", memory=1_000_000), bench.task("exit 3")
    bench.engine.start([huge, small])
    exited = await bench.story.first(TaskExited, huge.task_id)
    assert exited.exit_code is None
    assert exited.reason is not None
    assert "1000000 MiB" in exited.reason
    assert (await bench.story.first(TaskExited, small.task_id)).exit_code == 3


async def test_gpus_are_handed_out_one_by_one(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    rig = Rig(functools.partial(ProcessEngine, tmp_path, logs, 4, 4096, gpus=3, idle_seconds=0.05), logs)
    bench = await open_bench(rig)
    await bench.engine.reconcile([])
    tasks = [bench.task("echo $CUDA_VISIBLE_DEVICES; sleep 0.05", gpus=number) for number in (2, 1, 3, 0)]
    bench.engine.start(tasks)
    await bench.story.ended(*(task.task_id for task in tasks))
    first, second, third, none = (sorted(bench.log(task)[0].split(b",")) for task in tasks)
    assert sorted(first + second) == third == [b"0", b"1", b"2"]
    assert none == [b""]
    bench.engine.acknowledge([task.task_id for task in tasks])
    await bench.engine.close()
    await runner_is_gone(bench)


async def test_a_long_task_gets_its_share_of_cpu_time(bench: Bench) -> None:
    task = bench.task("while :; do grep -h . /proc/self/cgroup; sleep 0.1; done", vcpus=0.5)
    bench.engine.start([task])
    cpu = find_mount("cpu")
    if cpu is None:
        pytest.skip("the host has no CPU hierarchy of version 1")

    def shares() -> list[str]:
        folders = [folder for folder in control_groups(runner_of(bench)) if folder.is_relative_to(cpu.top)]
        return [file.read_text().strip() for folder in folders for file in folder.glob("*/cpu.shares")]

    await eventually(lambda: shares() == ["512"], "the task has 512 CPU shares")


# --- what a program finds ---------------------------------------------------------------------------------------------


async def test_a_task_has_directories_of_its_own_that_go_with_it(bench: Bench) -> None:
    tasks = [bench.task("pwd; echo $TMPDIR; stat -c %a . $TMPDIR; touch x $TMPDIR/y; sleep 0.2") for _ in range(3)]
    bench.engine.start(tasks)
    await bench.story.ended(*(task.task_id for task in tasks))
    places = set()
    for task in tasks:
        work, temporary, *modes = (line.decode() for line in bench.log(task))
        assert modes == ["700", "700"]
        places |= {work, temporary}
    assert len(places) == 6
    files = [Path(place) / name for place in places for name in "xy"]
    await eventually(lambda: not any(file.exists() for file in files), "what the tasks left is removed")


async def test_no_command(bench: Bench) -> None:
    exited = await bench.run()
    assert exited.exit_code is None
    assert exited.reason is not None
    assert exited.reason.startswith("CannotStartContainerError: the process runtime has no image")


@pytest.mark.parametrize("environment", [{"A\0B": "x"}, {"A": "x\0y"}, {"": "x"}, {"A=B": "x"}, {"A": "\ud800"}])
async def test_an_environment_that_can_not_be(bench: Bench, environment: dict[str, str]) -> None:
    exited = await bench.run("true", environment=environment)
    assert exited.exit_code is None or "" in environment
    assert (await bench.run("exit 3")).exit_code == 3


async def test_a_command_longer_than_the_kernel_takes(bench: Bench) -> None:
    exited = await bench.run("/bin/true", "x" * 3_000_000)
    assert exited.exit_code == 126
    assert exited.reason is not None
    assert exited.reason.startswith("CannotStartContainerError: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs tasks as others")
async def test_user(bench: Bench) -> None:
    nobody = pwd.getpwnam("nobody")
    for user in ("nobody", str(nobody.pw_uid), f"nobody:{nobody.pw_gid}"):
        task = bench.task("id -u; id -g; echo $HOME; touch here; ls", container={"user": user})
        bench.engine.start([task])
        await bench.story.ended(task.task_id)
        expected = [str(nobody.pw_uid), str(nobody.pw_gid), nobody.pw_dir, "here"]
        assert [line.decode() for line in bench.log(task)] == expected
    assert (await bench.run("exit 3", container={"user": "root"})).exit_code == 3


@pytest.mark.parametrize("user", ["no-such-user", "nobody:no-such-group"])
async def test_unknown_user(bench: Bench, user: str) -> None:
    exited = await bench.run("true", container={"user": user})
    assert exited.exit_code is None
    assert exited.reason is not None
    assert exited.reason.startswith("CannotStartContainerError: unable to find ")


async def test_ulimits(bench: Bench) -> None:
    limits = [Ulimit(name="nofile", soft_limit=55, hard_limit=66), Ulimit(name="core", soft_limit=0, hard_limit=0)]
    task = bench.task("ulimit -Sn; ulimit -Hn; ulimit -c", container={"ulimits": limits})
    bench.engine.start([task])
    await bench.story.ended(task.task_id)
    assert bench.log(task) == [b"55", b"66", b"0"]
    exited = await bench.run("true", container={"ulimits": [Ulimit(name="nofile", soft_limit=9**9, hard_limit=9**9)]})
    assert exited.exit_code is None
    assert exited.reason is not None
    assert "ulimits" in exited.reason


async def test_missing_command_of_another_user(bench: Bench) -> None:
    exited = await bench.run("/no/such/program", "x", container={"user": "nobody"})
    assert exited.exit_code == 127


# --- nothing leaks ----------------------------------------------------------------------------------------------------


async def test_nothing_leaks(bench: Bench) -> None:
    runner = runner_of(bench)

    async def round_of_all_kinds() -> int:
        tasks = [
            *(bench.task("true") for _ in range(30)),
            *(bench.task("touch a; mkdir -p b/c; (sleep 600 &)") for _ in range(5)),
            bench.task("/no/such/program"),
            bench.task("/no/such", "x"),
            bench.task("exit 0", log_group="absent", create_log_group=False),
            bench.task("head -c 300000 /dev/zero"),
        ]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        bench.engine.acknowledge([task.task_id for task in tasks])
        await eventually(lambda: not children_of(runner), "no child is left")
        return len(os.listdir(f"/proc/{runner}/fd"))

    files = [await round_of_all_kinds() for _ in range(4)]
    assert files[3] <= max(files[:3])  # Free places keep some descriptors; their number does not grow.
    assert not any((folder_of(bench) / "scratch" / "trash").iterdir())
    places = [path.name for path in (folder_of(bench) / "scratch").iterdir() if path.name != "trash"]
    cells = [path for folder in control_groups(runner) for path in folder.iterdir() if path.is_dir()]
    assert {path.name for path in cells} <= set(places)


def children_of(process_id: int) -> list[str]:
    return Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()


# --- logs on a full disk ----------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tiny", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the small disk of this test")
async def test_a_full_disk_stops_no_task(tmp_path: Path, tiny_disk: Path) -> None:
    rig = Rig(functools.partial(ProcessEngine, tmp_path / "data", tiny_disk, 4, 4096, idle_seconds=0.05), tiny_disk)
    bench = await open_bench(rig)
    await bench.engine.reconcile([])
    noisy = [bench.task("seq 1 300000; exit 3") for _ in range(3)]
    bench.engine.start(noisy)
    ends = [await bench.story.first(TaskExited, task.task_id) for task in noisy]
    assert [end.exit_code for end in ends] == [3, 3, 3]
    exited = await bench.run("echo more; exit 4")
    assert exited.exit_code == 4
    bench.engine.acknowledge([exited.task_id, *(end.task_id for end in ends)])
    await bench.engine.close()
    await runner_is_gone(bench)


async def test_a_noisy_task_does_not_hold_up_others(bench: Bench) -> None:
    noisy = bench.task("trap 'exit 0' TERM; echo up; while :; do echo; done")
    bench.engine.start([noisy])
    await bench.logged(noisy, b"up")
    tasks = [bench.task(f"echo {number}") for number in range(20)]
    bench.engine.start(tasks)
    await bench.story.ended(*(task.task_id for task in tasks))
    assert bench.story.kinds(noisy.task_id) == [TaskStarted.__name__]
    assert all(bench.log(task) == [b"%d" % number] for number, task in enumerate(tasks))


async def test_notes_say_what_the_host_does_not_allow(bench: Bench) -> None:
    assert isinstance(bench.engine, ProcessEngine)
    assert bench.engine.limits_memory == (not bench.engine.notes)


async def test_observations_stop_with_close(bench: Bench) -> None:
    task = bench.task("sleep 0.1")
    bench.engine.start([task])
    await bench.story.first(TaskStarted, task.task_id)
    await bench.engine.close()
    before = list(bench.story.observations)
    again = await open_bench(bench.rig)
    await again.engine.reconcile([task.task_id])
    await again.story.ended(task.task_id)
    await again.engine.close()
    assert bench.story.observations == before
    assert isinstance(bench.story, Story)
