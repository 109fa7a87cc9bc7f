"""What is Docker's own: images, settings, and the daemon's comings and goings."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance import Bench, Rig, Story, eventually, open_bench
from dockerd import IMAGE, DockerDaemon, docker_daemon, docker_registry

from batchyard.engines.base import TaskSpec
from batchyard.engines.local.docker.engine import DockerEngine
from batchyard.kernel.messages import TaskExited, TaskLost, TaskStarted, TaskUnknown
from batchyard.shapes import batch as shapes

pytestmark = pytest.mark.docker


def rig_on(daemon: DockerDaemon, tmp_path: Path, **settings: Any) -> Rig:
    factory = functools.partial(
        DockerEngine,
        data_dir=tmp_path / "engine",
        log_root=tmp_path / "logs",
        installation_id=secrets.token_hex(4),
        vcpus=2.0,
        memory=4096,
        docker_host=daemon.url,
        **settings,
    )
    return Rig(factory=factory, log_root=tmp_path / "logs", image=IMAGE)


async def opened(rig: Rig) -> AsyncIterator[Bench]:
    bench = await open_bench(rig)
    await bench.engine.reconcile([])
    yield bench
    await bench.engine.close()
    last = await open_bench(rig)
    await last.engine.reconcile([])
    await last.engine.close()


@pytest.fixture
async def bench(daemon: DockerDaemon, tmp_path: Path) -> AsyncIterator[Bench]:
    async for bench in opened(rig_on(daemon, tmp_path)):
        yield bench


@pytest.fixture
def mortal_daemon() -> Iterator[DockerDaemon]:
    """A daemon of the test's own, to be killed."""
    with docker_daemon() as running:
        yield running


def with_image(task: TaskSpec, image: str, **changes: Any) -> TaskSpec:
    container = shapes.ContainerDetail(image=image, command=task.container.command)
    return TaskSpec(
        **({name: getattr(task, name) for name in task.__struct_fields__} | {"container": container} | changes)
    )


async def output(bench: Bench, script: str, **changes: Any) -> list[str]:
    """What a script prints that ends well."""
    task = bench.task(script, **changes)
    bench.engine.start([task])
    exited = await bench.story.first(TaskExited, task.task_id)
    lines = [line.decode() for line in bench.log(task)]
    assert (exited.exit_code, exited.reason) == (0, None), lines
    return lines


# --- images -----------------------------------------------------------------------------------------------------------


async def test_a_missing_image_is_pulled_once(bench: Bench, daemon: DockerDaemon) -> None:
    with docker_registry() as registry:
        name = f"{registry.address}/library/pulled"
        daemon.push(IMAGE, name, "1")
        tasks = [with_image(bench.task(f"echo from {number}"), f"{name}:1") for number in range(4)]
        bench.engine.start(tasks)
        await bench.story.ended(*(task.task_id for task in tasks))
        assert [bench.log(task) for task in tasks] == [[b"from %d" % number] for number in range(4)]
        assert registry.requests("GET", "/manifests/").count("GET") == 1
        bench.engine.acknowledge([task.task_id for task in tasks])
        absent = with_image(bench.task("true"), f"{registry.address}/library/absent:1")
        bench.engine.start([absent])
        exited = await bench.story.first(TaskExited, absent.task_id)
        assert exited.reason.startswith("CannotPullContainerError: ")
        assert "manifest unknown" in exited.reason or "not found" in exited.reason


@pytest.mark.parametrize("image", ["127.0.0.1:1/nothing/here:1", "No/Capitals:1"])
async def test_an_image_that_cannot_be_pulled(bench: Bench, image: str) -> None:
    task = with_image(bench.task("true"), image)
    bench.engine.start([task])
    exited = await bench.story.first(TaskExited, task.task_id)
    assert exited.exit_code is None
    assert exited.started_at is None
    assert exited.reason.startswith("CannotPullContainerError: ")
    assert bench.story.kinds(task.task_id) == ["TaskExited"]


async def test_without_a_command_the_image_runs_its_own(bench: Bench, daemon: DockerDaemon) -> None:
    daemon.commit(IMAGE, "own:1", 'CMD ["echo", "my own words"]')
    task = with_image(bench.task("x"), "own:1")
    for command in (None, []):
        own = with_image(task, "own:1", task_id=secrets.token_hex(16))
        own.container.command = command
        own = with_image(own, "own:1", log_stream=f"own/{own.task_id}")
        bench.engine.start([own])
        await bench.story.ended(own.task_id)
        assert bench.log(own) == [b"my own words"]


async def test_the_entry_point_of_the_image_is_kept(bench: Bench, daemon: DockerDaemon) -> None:
    daemon.commit(IMAGE, "entry:1", 'ENTRYPOINT ["echo", "entered with"]')
    task = with_image(bench.task("these", "words"), "entry:1")
    bench.engine.start([task])
    await bench.story.ended(task.task_id)
    assert bench.log(task) == [b"entered with these words"]


# --- settings, seen from inside ---------------------------------------------------------------------------------------


async def test_memory_and_cpu_shares(bench: Bench) -> None:
    find = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares"
    assert await output(bench, find, memory=96, vcpus=1.5) == [str(96 * 1024 * 1024), "1536"]


async def test_no_more_than_the_memory_limit_without_swap(bench: Bench, daemon: DockerDaemon) -> None:
    parameters = shapes.LinuxParameters(max_swap=16, swappiness=10)
    task = bench.task("sleep 600", memory=64, container={"linux_parameters": parameters})
    bench.engine.start([task])
    await bench.story.first(TaskStarted, task.task_id)
    config: Any = daemon.json("GET", f"/containers/batchyard-{task.task_id}/json")
    assert config["HostConfig"]["MemorySwap"] == 80 * 1024 * 1024


async def test_user(bench: Bench) -> None:
    assert await output(bench, "id -u; id -g", container={"user": "1234:2345"}) == ["1234", "2345"]
    assert await output(bench, "id -un", container={"user": "nobody"}) == ["nobody"]


async def test_mounts(bench: Bench, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "question").write_text("what?\n")
    settings = {
        "volumes": [
            shapes.Volume(name="shared", host=shapes.Host(source_path=str(shared))),
            shapes.Volume(name="empty", host=shapes.Host()),
        ],
        "mount_points": [
            shapes.MountPoint(source_volume="shared", container_path="/rw"),
            shapes.MountPoint(source_volume="shared", container_path="/ro", read_only=True),
            shapes.MountPoint(source_volume="empty", container_path="/empty"),
        ],
    }
    script = "cat /ro/question; echo 42 > /rw/answer; cat /ro/answer; touch /ro/no || touch /empty/yes; ls /empty"
    lines = await output(bench, script, container=settings)
    assert [line for line in lines if "Read-only" not in line] == ["what?", "42", "yes"]
    assert (shared / "answer").read_text() == "42\n"
    assert not (shared / "no").exists()


async def test_empty_volumes_end_with_the_task(bench: Bench, daemon: DockerDaemon) -> None:
    def volumes() -> int:
        listed: Any = daemon.json("GET", "/volumes")
        return len(listed["Volumes"] or [])

    before = volumes()
    settings = {
        "volumes": [shapes.Volume(name="empty")],
        "mount_points": [shapes.MountPoint(source_volume="empty", container_path="/empty")],
    }
    exited = await bench.run("touch /empty/yes", container=settings)
    assert exited.exit_code == 0
    assert volumes() == before + 1
    bench.engine.acknowledge([exited.task_id])
    await eventually(lambda: volumes() == before, "the volume is gone")


async def test_a_volume_that_this_engine_does_not_have(bench: Bench) -> None:
    efs = shapes.EFSVolumeConfiguration(file_system_id="fs-1")
    settings = {
        "volumes": [shapes.Volume(name="efs", efs_volume_configuration=efs)],
        "mount_points": [shapes.MountPoint(source_volume="efs", container_path="/efs")],
    }
    exited = await bench.run("true", container=settings)
    assert (exited.exit_code, exited.started_at) == (None, None)
    assert exited.reason.startswith("CannotCreateContainerError: volume 'efs' is an EFS")


async def test_read_only_root(bench: Bench) -> None:
    settings = {"readonly_root_filesystem": True}
    assert (await output(bench, "touch /x 2>/dev/null || echo refused", container=settings)) == ["refused"]


async def test_limits(bench: Bench) -> None:
    settings = {"ulimits": [shapes.Ulimit(name="nofile", soft_limit=1000, hard_limit=1234)]}
    assert await output(bench, "ulimit -Sn; ulimit -Hn", container=settings) == ["1000", "1234"]


async def test_linux_parameters(bench: Bench) -> None:
    settings = {
        "linux_parameters": shapes.LinuxParameters(
            init_process_enabled=True,
            shared_memory_size=48,
            tmpfs=[shapes.Tmpfs(container_path="/scratch", size=20, mount_options=["noexec"])],
            devices=[shapes.Device(host_path="/dev/zero", container_path="/dev/nought", permissions=["READ"])],
        )
    }
    script = """
        cat /proc/1/comm
        grep ' /dev/shm ' /proc/mounts | grep -o 'size=[0-9]*k'
        grep ' /scratch ' /proc/mounts | grep -o 'size=[0-9]*k'
        grep ' /scratch ' /proc/mounts | grep -o noexec
        head -c 4 /dev/nought | wc -c
    """
    assert await output(bench, script, container=settings) == [
        "docker-init",
        "size=49152k",
        "size=20480k",
        "noexec",
        "4",
    ]


async def test_a_setting_that_the_host_cannot_give(bench: Bench) -> None:
    settings = {"linux_parameters": shapes.LinuxParameters(devices=[shapes.Device(host_path="/dev/no-such-device")])}
    exited = await bench.run("true", container=settings)
    assert (exited.exit_code, exited.started_at) == (None, None)
    assert exited.reason.startswith("CannotStartContainerError: ")
    assert "/dev/no-such-device" in exited.reason


async def test_network_mode(daemon: DockerDaemon, tmp_path: Path) -> None:
    async for bench in opened(rig_on(daemon, tmp_path, network_mode="none")):
        assert await output(bench, "ls /sys/class/net") == ["lo"]


# --- privileges -------------------------------------------------------------------------------------------------------

PRIVILEGED = {"privileged": True}
MOUNTING = "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m && echo mounted"


async def test_privileges_are_reduced_to_what_the_host_gives(
    bench: Bench, caplog: pytest.LogCaptureFixture, host_gives_privileges: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert await output(bench, MOUNTING, container=PRIVILEGED) == ["mounted"]
    reduced = [record for record in caplog.records if "can't give `privileged`" in record.getMessage()]
    assert len(reduced) == (0 if host_gives_privileges else 2)


async def test_other_policies_for_privileges(daemon: DockerDaemon, tmp_path: Path, host_gives_privileges: bool) -> None:
    async for bench in opened(rig_on(daemon, tmp_path / "1", privileged="refuse")):
        exited = await bench.run("true", container=PRIVILEGED)
        assert exited.reason.startswith("CannotCreateContainerError: privileged containers are refused")
    async for bench in opened(rig_on(daemon, tmp_path / "2", privileged="ignore")):
        assert (await bench.run(MOUNTING, container=PRIVILEGED)).exit_code not in (0, None)
    async for bench in opened(rig_on(daemon, tmp_path / "3", privileged="honour")):
        exited = await bench.run(MOUNTING, container=PRIVILEGED)
        if host_gives_privileges:
            assert exited.exit_code == 0
        else:
            assert exited.reason.startswith("CannotStartContainerError: ")
            assert "unable to apply caps" in exited.reason


@pytest.fixture
def host_gives_privileges(daemon: DockerDaemon) -> bool:
    """Whether this very host can run a privileged container: both kinds are met."""
    created: Any = daemon.json(
        "POST", "/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Privileged": True}}
    )
    try:
        daemon.json("POST", f"/containers/{created['Id']}/start")
        error = ""
    except AssertionError as refusal:
        error = str(refusal)
    daemon.json("DELETE", f"/containers/{created['Id']}?force=1")
    return "unable to apply caps" not in error


# --- containers of others, and what others do to ours -------------------------------------------------------------------


async def test_containers_of_others_are_not_touched(bench: Bench, daemon: DockerDaemon, tmp_path: Path) -> None:
    body = {"Image": IMAGE, "Cmd": ["sleep", "600"]}
    stranger: Any = daemon.json("POST", "/containers/create?name=stranger", body)
    daemon.json("POST", f"/containers/{stranger['Id']}/start")
    async for other in opened(rig_on(daemon, tmp_path / "other")):
        task = other.task("sleep 600")
        other.engine.start([task])
        await other.story.first(TaskStarted, task.task_id)
        again = await bench.restart()
        await again.engine.reconcile([])
        await again.engine.close()
        running: Any = daemon.json("GET", "/containers/json")
        assert {"/stranger", f"/batchyard-{task.task_id}"} <= {entry["Names"][0] for entry in running}
    daemon.json("DELETE", f"/containers/{stranger['Id']}?force=1")


async def test_a_container_removed_by_somebody_was_killed(bench: Bench, daemon: DockerDaemon) -> None:
    task = bench.task("echo up; sleep 600")
    bench.engine.start([task])
    await bench.logged(task, b"up")
    daemon.json("DELETE", f"/containers/batchyard-{task.task_id}?force=1")
    exited = await bench.story.first(TaskExited, task.task_id)
    assert exited.exit_code == 137
    assert exited.started_at is not None


async def test_a_container_that_vanished_meanwhile_is_lost(bench: Bench, daemon: DockerDaemon) -> None:
    task = bench.task("echo up; sleep 600")
    bench.engine.start([task])
    await bench.logged(task, b"up")
    await bench.engine.close()
    daemon.json("DELETE", f"/containers/batchyard-{task.task_id}?force=1")
    again = await open_bench(bench.rig)
    await again.engine.reconcile([task.task_id])
    assert again.story.kinds(task.task_id) == ["TaskLost"]
    again.engine.start([task])
    assert again.story.kinds(task.task_id) == ["TaskLost"]
    await again.engine.close()


async def test_what_was_created_and_never_started_may_be_ordered_again(bench: Bench) -> None:
    """The server is killed between the container's creation and its start, and before the record or after it."""
    engine: Any = bench.engine
    before, after = bench.task("echo once"), bench.task("echo once")
    for task in (before, after):
        await engine._beginning.create(task, "default")
    engine._records.write(after.task_id)
    again = await bench.restart()
    await again.engine.reconcile([before.task_id, after.task_id])
    assert again.story.observations == [TaskUnknown(before.task_id), TaskUnknown(after.task_id)] or (
        again.story.observations == [TaskUnknown(after.task_id), TaskUnknown(before.task_id)]
    )
    again.engine.start([before, after])
    await again.story.ended(before.task_id, after.task_id)
    assert again.log(before) == again.log(after) == [b"once"]
    await again.engine.close()


async def test_a_start_that_a_killed_server_ordered_is_found(bench: Bench) -> None:
    """The daemon is still busy with the start when the next server asks."""
    engine: Any = bench.engine
    task = bench.task("echo once; exit 7")
    container = await engine._beginning.create(task, "default")
    engine._records.write(task.task_id)
    starting = asyncio.create_task(engine._daemon.start(container))
    again = await open_bench(bench.rig)
    await starting
    await again.engine.reconcile([task.task_id])
    assert (await again.story.first(TaskExited, task.task_id)).exit_code == 7
    assert again.log(task) == [b"once"]
    await again.engine.close()


async def test_stop_before_the_task_has_begun(bench: Bench, daemon: DockerDaemon) -> None:
    task = bench.task("echo no")
    bench.engine.start([task])
    bench.engine.stop(task.task_id, 30)
    exited = await bench.story.first(TaskExited, task.task_id)
    assert (exited.exit_code, exited.started_at) == (None, None)
    assert bench.story.kinds(task.task_id) == ["TaskExited"]
    assert f"batchyard-{task.task_id}" not in daemon.containers()


async def test_an_acknowledged_task_leaves_nothing(bench: Bench, daemon: DockerDaemon, tmp_path: Path) -> None:
    exited = await bench.run("true")
    assert f"batchyard-{exited.task_id}" in daemon.containers()
    bench.engine.acknowledge([exited.task_id])
    await eventually(lambda: f"batchyard-{exited.task_id}" not in daemon.containers(), "the container is removed")
    await eventually(lambda: not list((tmp_path / "engine/begun").iterdir()), "the record is removed")


# --- restarts ---------------------------------------------------------------------------------------------------------

COUNTING = (
    "i=0; while [ $i -lt 3000 ]; do echo line $i; [ $((i % 7)) = 0 ] && echo error $i >&2; i=$((i+1)); done; echo end"
)
COUNTED = [f"line {i}" for i in range(3000)] + ["end"]
ERRORS = [f"error {i}" for i in range(0, 3000, 7)]


def check_counted(bench: Bench, task: TaskSpec) -> None:
    lines = [line.decode() for line in bench.log(task)]
    assert [line for line in lines if not line.startswith("error")] == COUNTED
    assert [line for line in lines if line.startswith("error")] == ERRORS


async def test_a_log_goes_on_after_restarts_of_the_server(bench: Bench) -> None:
    task = bench.task(COUNTING.replace("echo line $i", "echo line $i; [ $((i % 300)) = 0 ] && sleep 0.1"))
    bench.engine.start([task])
    for number in (300, 900, 1500, 2100):
        await bench.logged(task, b"line %d" % number)
        bench = await bench.restart()
        await bench.engine.reconcile([task.task_id])
    await bench.story.ended(task.task_id)
    check_counted(bench, task)
    again = await bench.restart()  # And once more when all is there already.
    await again.engine.reconcile([task.task_id])
    assert again.story.kinds(task.task_id) == ["TaskExited"]
    check_counted(again, task)
    await again.engine.close()


async def test_a_killed_daemon_is_found_again(mortal_daemon: DockerDaemon, tmp_path: Path) -> None:
    rig = rig_on(mortal_daemon, tmp_path)
    async for bench in opened(rig):
        finished = bench.task(f"echo up; sleep 1; {COUNTING}; exit 5")
        ended = bench.task("trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.05; done")
        bench.engine.start([finished, ended])
        await bench.logged(finished, b"up")
        await bench.logged(ended, b"up")
        mortal_daemon.kill()
        waiting = bench.task("echo once")
        bench.engine.start([waiting])
        bench.engine.stop(waiting.task_id, 0)
        later = bench.task("echo once")
        bench.engine.start([later])
        await asyncio.to_thread(mortal_daemon.start)
        await bench.story.ended(finished.task_id, ended.task_id, later.task_id, waiting.task_id)
        # Without live-restore a daemon ends what ran before it was killed, and says how that ended.
        assert (await bench.story.first(TaskExited, ended.task_id)).exit_code == 3
        assert (await bench.story.first(TaskExited, later.task_id)).exit_code == 0
        assert bench.log(later) == [b"once"]
        for task in (finished, ended, later):
            assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]
        assert bench.story.kinds(waiting.task_id) == ["TaskExited"]
        assert (await bench.story.first(TaskExited, waiting.task_id)).exit_code is None


async def test_containers_outlive_a_daemon_with_live_restore(tmp_path: Path) -> None:
    with docker_daemon("--live-restore") as daemon:
        async for bench in opened(rig_on(daemon, tmp_path)):
            task = bench.task("echo up; read line < /go/on; echo down; exit 5", container=fifo_mount(tmp_path))
            bench.engine.start([task])
            await bench.logged(task, b"up")
            daemon.kill()
            await asyncio.to_thread(daemon.start)
            await asyncio.to_thread((tmp_path / "go/on").write_text, "now\n")
            assert (await bench.story.first(TaskExited, task.task_id)).exit_code == 5
            assert bench.log(task) == [b"up", b"down"]
            assert bench.story.kinds(task.task_id) == ["TaskStarted", "TaskExited"]


def fifo_mount(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "go").mkdir()
    os.mkfifo(tmp_path / "go/on")
    return {
        "volumes": [shapes.Volume(name="go", host=shapes.Host(source_path=str(tmp_path / "go")))],
        "mount_points": [shapes.MountPoint(source_volume="go", container_path="/go")],
    }


async def test_what_died_with_its_host_is_lost(mortal_daemon: DockerDaemon, tmp_path: Path) -> None:
    """Daemon, containerd, shims and programs are gone at once, as when the machine lost its power."""
    rig = rig_on(mortal_daemon, tmp_path)
    async for bench in opened(rig):
        gone, own_255 = bench.task("echo up; sleep 600"), bench.task("exit 255")
        bench.engine.start([gone, own_255])
        await bench.logged(gone, b"up")
        await bench.story.ended(own_255.task_id)
        state: Any = mortal_daemon.json("GET", f"/containers/batchyard-{gone.task_id}/json")
        mortal_daemon.crash_host([state["State"]["Pid"]])
        await asyncio.to_thread(mortal_daemon.start)
        await bench.story.ended(gone.task_id)
        assert bench.story.kinds(gone.task_id) == ["TaskStarted", "TaskLost"]
        assert (await bench.story.first(TaskExited, own_255.task_id)).exit_code == 255


async def test_wiped_data_of_the_daemon(mortal_daemon: DockerDaemon, tmp_path: Path) -> None:
    rig = rig_on(mortal_daemon, tmp_path)
    bench = await open_bench(rig)
    task, never = bench.task("echo up; sleep 600"), secrets.token_hex(16)
    bench.engine.start([task])
    await bench.logged(task, b"up")
    await bench.engine.close()
    with docker_daemon() as fresh:
        rig = Rig(factory=functools.partial(rig.factory, docker_host=fresh.url), log_root=rig.log_root, image=IMAGE)
        again = await open_bench(rig)
        await again.engine.reconcile([task.task_id, never])
        assert again.story.kinds(task.task_id) == ["TaskLost"]
        assert again.story.of(never) == [TaskUnknown(never)]
        assert isinstance(again.story.of(task.task_id)[0], TaskLost)
        await again.engine.close()


async def test_no_daemon_is_said_in_words(tmp_path: Path) -> None:
    engine = DockerEngine(tmp_path, tmp_path, "x", 1, 100, f"unix://{tmp_path}/no.sock")
    with pytest.raises(ConnectionError, match="no Docker Engine answers at unix://"):
        await engine.open(Story().post)
