"""What needs no daemon: log frames, the container's settings, states, records, capacity, and the choice of a runtime."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from dockerd import DockerDaemon
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.engines.base import TaskSpec
from batchyard.engines.local.docker.begun_records import BegunRecords
from batchyard.engines.local.docker.container_config import UnsupportedSettingError, create_body
from batchyard.engines.local.docker.container_state import container_state, exited, failed_to_start
from batchyard.engines.local.docker.log_copy import events_written
from batchyard.engines.local.docker.log_frames import LogFrames
from batchyard.engines.local.docker.privileges import missing_capabilities
from batchyard.engines.local.select import RuntimeUnavailableError, choose_runtime, machine_capacity
from batchyard.logs.lines import MAX_EVENT_BYTES, LineWriter
from batchyard.shapes import batch as shapes

# --- log frames -------------------------------------------------------------------------------------------------------

Entry = tuple[int, float, bytes]
"""Source, time in seconds, text."""


def stream(entries: Iterable[Entry]) -> bytes:
    """As the daemon sends it."""
    frames = []
    for source, at, text in entries:
        seconds, milliseconds = divmod(round(at * 1000), 1000)
        payload = b"1970-01-01T%02d:%02d:%02d.%03d123456Z " % (
            seconds // 3600,
            seconds // 60 % 60,
            seconds % 60,
            milliseconds,
        )
        payload += text
        frames.append(bytes([source, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload)
    return b"".join(frames)


def since(entries: Iterable[Entry], second: int) -> list[Entry]:
    """The daemon's filter."""
    return [entry for entry in entries if entry[1] >= second]


def test_lines_and_their_times() -> None:
    frames = LogFrames(short_entries_end_lines=False)
    data = stream([(1, 1.5, b"out\n"), (2, 1.25, b"err\n"), (1, 2.0, b"\n")])
    assert list(frames.feed(data)) == [(1500, b"out"), (1250, b"err"), (2000, b"")]
    assert frames.entries == 3


@pytest.mark.parametrize("line_feed", [b"\n", b""])
def test_long_lines_are_put_together_by_source(line_feed: bytes) -> None:
    """Also where the daemon leaves the line feed of the last part out."""
    frames = LogFrames(short_entries_end_lines=not line_feed)
    part = b"x" * 16384
    entries = [(1, 1, part), (2, 1, b"err\n"), (1, 1, part), (1, 1, b"end" + line_feed), (1, 2, b"next\n")]
    assert list(frames.feed(stream(entries))) == [(1000, b"err"), (1000, part + part + b"end"), (2000, b"next")]


def test_a_line_as_long_as_several_entries_exactly() -> None:
    frames = LogFrames(short_entries_end_lines=True)
    part = b"x" * 16384
    assert list(frames.feed(stream([(1, 1, part), (1, 1, b""), (1, 2, b"\n")]))) == [(1000, part), (2000, b"")]


def test_a_line_without_end_comes_at_the_end() -> None:
    frames = LogFrames(short_entries_end_lines=False)
    assert list(frames.feed(stream([(1, 1, b"half")]))) == []
    assert list(frames.finish()) == [(1000, b"half")]
    assert list(frames.finish()) == []


def test_lines_longer_than_an_event_are_cut_between_characters() -> None:
    frames = LogFrames(short_entries_end_lines=False)
    text = "ü".encode() * MAX_EVENT_BYTES + b"x"
    pieces = [piece for _, piece in frames.feed(stream([(1, 1, b"a" + text + b"\n")]))]
    assert b"".join(pieces) == b"a" + text
    assert max(map(len, pieces)) <= MAX_EVENT_BYTES
    assert all(piece.decode() for piece in pieces)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.floats(0, 0.4),  # Disorder.
            st.integers(0, 3000),  # Milliseconds until the next entry.
            st.sampled_from([b"line\n", b"", b"\n", b"x" * 16384]),
        ),
        max_size=30,
    ),
    st.lists(st.integers(0, 30), max_size=4),
    st.integers(100, 20_000),
)
def test_reading_in_several_streams_gives_what_one_gives(
    drawn: list[tuple[int, float, int, bytes]], stops: list[int], chunk: int
) -> None:
    """Streams that end anywhere, each asked for only as far back as `resume` says: nothing twice, nothing left out."""
    clock, entries, begun = 10.0, [], dict[int, float]()
    for source, disorder, pause, text in drawn:
        clock += pause / 1000
        at = begun.get(source, clock - disorder)  # All parts of a line carry the time of the first.
        if len(text) == 16384:
            begun[source] = at
        else:
            begun.pop(source, None)
        entries.append((source, at, text))
    whole = LogFrames(short_entries_end_lines=True)
    expected = [*whole.feed(stream(entries)), *whole.finish()]

    frames = LogFrames(short_entries_end_lines=True)
    found = []
    for stop in [*sorted(stops), len(entries)]:
        data = stream(since(entries[: max(stop, frames.entries)], frames.resume()))
        for start in range(0, len(data), chunk):
            found += frames.feed(data[start : start + chunk])
    assert [*found, *frames.finish()] == expected


def test_a_torn_event_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "stream.log"
    assert events_written(path) == 0
    writer = LineWriter(path)
    writer.write(b"one\ntwo\n", 1000)
    writer.close(1000)
    with path.open("ab") as file:
        file.write(b"1000 thr")
    assert events_written(path) == 2
    assert path.read_bytes() == b"1000 one\n1000 two\n"


# --- settings ---------------------------------------------------------------------------------------------------------


def spec(**container: object) -> TaskSpec:
    return TaskSpec(
        task_id="0" * 32,
        job_id="job",
        container=shapes.ContainerDetail(image="image", **container),  # type: ignore[arg-type]
        environment={"A": "1=2"},
        vcpus=0.25,
        memory=4,
        gpus=0,
        log_group="group",
        log_stream="stream",
    )


def body(**container: object) -> dict[str, object]:
    return create_body(spec(**container), "mine", network_mode="bridge", log_driver="local", privileges="default")


def test_the_least_of_containers() -> None:
    created = body()
    assert created["Image"] == "image"
    assert created["Env"] == ["A=1=2"]
    assert "Cmd" not in created
    assert "User" not in created
    host = created["HostConfig"]
    assert isinstance(host, dict)
    assert host["CpuShares"] == 256
    assert host["Memory"] == 6 * 1024 * 1024  # Docker takes no less.
    assert "MemorySwap" not in host
    assert "Privileged" not in host
    assert host["LogConfig"]["Type"] == "local"


def test_swap() -> None:
    def host(**parameters: int) -> dict[str, object]:
        created = body(linux_parameters=shapes.LinuxParameters(**parameters))["HostConfig"]  # type: ignore[arg-type]
        assert isinstance(created, dict)
        return created

    none = host(max_swap=0)
    assert none["MemorySwap"] == none["Memory"]
    assert "MemorySwappiness" not in host(swappiness=10)  # Ignored without maxSwap.
    assert host(max_swap=1, swappiness=10)["MemorySwappiness"] == 10


def test_devices() -> None:
    devices = [
        shapes.Device(host_path="/dev/a"),
        shapes.Device(host_path="/dev/a", container_path="/dev/b", permissions=["READ", "MKNOD"]),
    ]
    host = body(linux_parameters=shapes.LinuxParameters(devices=devices))["HostConfig"]
    assert isinstance(host, dict)
    assert host["Devices"] == [
        {"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rwm"},
        {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rm"},
    ]


def test_a_mount_point_without_its_volume() -> None:
    with pytest.raises(UnsupportedSettingError, match="there is no volume 'v'"):
        body(mount_points=[shapes.MountPoint(source_volume="v", container_path="/v")])


def test_capabilities_that_a_host_lacks() -> None:
    assert missing_capabilities("Name:\tx\nCapBnd:\t000001fffeffffff\n") == ("SYS_RESOURCE",)
    assert missing_capabilities("CapBnd:\t000001fffeffdfff\n") == ("NET_RAW", "SYS_RESOURCE")
    assert missing_capabilities("CapBnd:\t000001ffffffffff\n") == ("SYS_RESOURCE",)


def test_states() -> None:
    raw = {
        "Running": False,
        "ExitCode": 137,
        "OOMKilled": True,
        "Error": "",
        "StartedAt": "2026-01-01T00:00:00.5Z",
        "FinishedAt": "2026-01-01T00:00:01.123456789Z",
    }
    end = exited("t", container_state({"State": raw}), 0)
    assert (end.at - (end.started_at or 0), end.exit_code) == (623, 137)
    assert end.reason == "OutOfMemoryError: Container killed due to memory usage"
    hasty = container_state({"State": raw | {"FinishedAt": "2026-01-01T00:00:00.499Z"}})
    assert exited("t", hasty, 0).at == end.started_at
    never = raw | {
        "ExitCode": 128,
        "OOMKilled": False,
        "Error": "no\nsuch " + "x" * 300,
        "StartedAt": "0001-01-01T00:00:00Z",
    }
    state = container_state({"State": never})
    assert not state.begun
    refused = failed_to_start("t", state, 5)
    assert (refused.exit_code, refused.started_at, refused.at) == (None, None, 5)
    assert refused.reason is not None
    assert refused.reason.startswith("CannotStartContainerError: no such xxx")
    assert len(refused.reason) == 255


def test_records(tmp_path: Path) -> None:
    records = BegunRecords(tmp_path / "new" / "begun")
    records.write("a")
    records.write("a")
    records.write("b")
    assert records.has("a")
    records.remove("a")
    records.remove("a")
    assert not records.has("a")
    assert BegunRecords(tmp_path / "new" / "begun").task_ids() == ["b"]


# --- the machine ------------------------------------------------------------------------------------------------------


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    meminfo = "MemTotal:        8388608 kB\nMemFree: 1 kB\n"
    for name, text in {"proc/meminfo": meminfo, "proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


CORES = len(os.sched_getaffinity(0))


def test_capacity_without_limits(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", {})
    assert machine_capacity(root=root) == (CORES, 8192 - 32)
    assert machine_capacity(2.5, root=root) == (CORES * 2.5, int(8160 * 2.5))


def test_capacity_under_version_2(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/a/b"
    files = {
        f"{group}/cpu.max": "max 100000\n",
        f"{group}/memory.max": "max\n",
        "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
        "sys/fs/cgroup/a/memory.max": f"{1024 * 1024 * 1024}\n",
    }
    assert machine_capacity(root=machine(tmp_path, "0::/a/b\n", files)) == (0.5, 1024 - 32)


def test_capacity_under_version_1(tmp_path: Path) -> None:
    groups = "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n"
    files = {
        # As in a container: the path is the host's, the folder mounted is the container's.
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{512 * 1024 * 1024}\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "25000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    assert machine_capacity(root=machine(tmp_path, groups, files)) == (0.25, 512 - 32)


def test_version_1_without_limits(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    root = machine(tmp_path, "5:memory:/\n4:cpu:/\n", files)
    assert machine_capacity(root=root) == (CORES, 8192 - 32)


def test_capacity_of_this_machine() -> None:
    vcpus, memory = machine_capacity()
    assert 0 < vcpus <= CORES
    assert memory > 0


# --- the choice of a runtime ------------------------------------------------------------------------------------------


async def test_choice_without_docker(tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/no.sock"
    assert await choose_runtime("process", nowhere) == "process"
    assert await choose_runtime("auto", nowhere) == "process"
    with pytest.raises(RuntimeUnavailableError, match=r"no Docker Engine answers at unix://.*no\.sock: .*DOCKER_HOST"):
        await choose_runtime("docker", nowhere)
    with pytest.raises(RuntimeUnavailableError, match="neither unix:///path nor tcp://host:port"):
        await choose_runtime("docker", "ssh://elsewhere")


@pytest.mark.docker
async def test_choice_with_docker(daemon: DockerDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await choose_runtime("auto", daemon.url) == "docker"
    assert await choose_runtime("process", daemon.url) == "process"
    monkeypatch.setenv("DOCKER_HOST", daemon.url)
    assert await choose_runtime("docker") == "docker"
    assert await choose_runtime("docker", str(daemon.socket_path)) == "docker"
