"""A real Docker Engine for tests: private to them, in a folder of its own, gone without a trace afterwards.

Needs root and Debian's `docker.io`, `busybox-static` and `iptables`. The daemon listens on a unix socket in its folder and
knows one image, `bb:1` (busybox, CMD `/bin/sh`). Whatever can't be set up is a failure with the daemon's own log, never a
skipped test.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import os
import select
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import msgspec

IMAGE = "bb:1"
BUSYBOX = Path("/usr/bin/busybox")
START_TIMEOUT_SECONDS = 60


class DockerDaemon:
    """One `dockerd` that a test may kill and start again: its folder outlives its process."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.socket_path = folder / "docker.sock"
        self.log_path = folder / "dockerd.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As `DOCKER_HOST` wants it."""
        return f"unix://{self.socket_path}"

    def start(self) -> None:
        """Start the daemon on its folder and return once it answers."""
        with _one_at_a_time():
            self._start()

    def _start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "dockerd",
                    f"--data-root={self.folder}/data",
                    f"--exec-root={self.folder}/exec",
                    f"--pidfile={self.folder}/dockerd.pid",
                    f"--host={self.url}",
                    "--log-level=warn",
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_default_signals,  # Containers inherit what is ignored, as SIGQUIT is in background jobs.
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"dockerd did not start; its log:\n{self.log_path.read_text(errors='replace')}")
            # The socket appears without a signal to wait for; the daemon's own end is one.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)

    def kill(self) -> None:
        """kill -9, as a crash of the daemon: containers, shims and mounts stay behind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        # The next daemon must not wait for these. (containerd dies with the daemon, but may stay a zombie for a while.)
        (self.folder / "dockerd.pid").unlink(missing_ok=True)
        (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """SIGTERM, which ends the daemon's containers with it."""
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def crash_host(self, programs: list[int]) -> None:
        """As if the machine had lost its power: the daemon, all that it started, and what lived in memory are gone."""
        self.kill()
        for pid in [*self.processes(), *programs]:
            _end(pid)
        for mount in reversed(_mounts_under(self.folder)):
            subprocess.run(["umount", "-l", mount], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)

    def processes(self) -> list[int]:
        """The processes that name this daemon's folder: itself, containerd, and the shims of its containers."""
        needle = os.fsencode(self.folder) + b"/"
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if needle in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        """One call to the API; the body of the answer. An error answer raises with the daemon's text."""
        connection = _UnixConnection(str(self.socket_path))
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise AssertionError(f"{method} {path}: {response.status} {content.decode(errors='replace')}")
        return content

    def json(self, method: str, path: str, body: object = None) -> object:
        """One call with JSON in and out."""
        content = self.request(
            method,
            path,
            b"" if body is None else msgspec.json.encode(body),
            {"Content-Type": "application/json"},
        )
        return msgspec.json.decode(content) if content else None

    def containers(self) -> list[str]:
        """Names of all containers, running or not."""
        listed = self.json("GET", "/containers/json?all=1")
        assert isinstance(listed, list)
        return sorted(container["Names"][0].removeprefix("/") for container in listed)

    def import_busybox(self) -> None:
        """Import the host's static busybox as `bb:1`: a root with /bin, /etc and /tmp, and `/bin/sh` as its command."""
        applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in ("bin", "etc", "tmp"):
                directory = tarfile.TarInfo(name)
                directory.type = tarfile.DIRTYPE
                directory.mode = 0o1777 if name == "tmp" else 0o755
                tar.addfile(directory)
            users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
            passwd = tarfile.TarInfo("etc/passwd")
            passwd.size = len(users)
            tar.addfile(passwd, io.BytesIO(users))
            tar.add(BUSYBOX, "bin/busybox")
            for applet in applets:
                if applet != "busybox":
                    link = tarfile.TarInfo(f"bin/{applet}")
                    link.type = tarfile.SYMTYPE
                    link.linkname = "busybox"
                    tar.addfile(link)
        repository, tag = IMAGE.split(":")
        self.request(
            "POST",
            f"/images/create?fromSrc=-&repo={repository}&tag={tag}&changes=CMD%20%5B%22%2Fbin%2Fsh%22%5D",
            archive.getvalue(),
            {"Content-Type": "application/x-tar"},
        )

    def commit(self, image: str, name: str, change: str) -> None:
        """An image like another one but for a line of a Dockerfile."""
        created = self.json("POST", "/containers/create", {"Image": image})
        assert isinstance(created, dict)
        repository, tag = name.split(":")
        query = urlencode({"container": created["Id"], "repo": repository, "tag": tag, "changes": change})
        self.json("POST", f"/commit?{query}", {})
        self.json("DELETE", f"/containers/{created['Id']}")

    def push(self, image: str, repository: str, tag: str) -> None:
        """Push an image to a registry under another name, and forget that name."""
        self.json("POST", f"/images/{image}/tag?{urlencode({'repo': repository, 'tag': tag})}")
        progress = self.request("POST", f"/images/{repository}/push?tag={tag}", headers={"X-Registry-Auth": "e30="})
        assert b"errorDetail" not in progress, progress
        self.json("DELETE", f"/images/{repository}:{tag}")

    def destroy(self) -> None:
        """End everything of this daemon and remove its folder."""
        if self.process is not None and self.process.poll() is not None:
            with contextlib.suppress(AssertionError):
                self.start()  # Killed by a test: what runs in its containers can only be found and ended by itself.
        with contextlib.suppress(AssertionError, OSError):
            for name in self.containers():  # Sooner than the daemon, which lets each have ten seconds.
                self.request("DELETE", f"/containers/{name}?force=1&v=1")
        self.stop()
        for pid in self.processes():
            _end(pid)
        for mount in reversed(_mounts_under(self.folder)):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/_ping") == b"OK"
        except (OSError, AssertionError, http.client.HTTPException):
            return False


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@contextlib.contextmanager
def docker_daemon(*options: str) -> Iterator[DockerDaemon]:
    """A running daemon with the image `bb:1`, started with more options of `dockerd`."""
    missing = [name for name in ("dockerd", "containerd", "runc", "iptables") if shutil.which(name) is None]
    if missing or not BUSYBOX.exists():
        raise AssertionError(
            f"tests of the docker runtime need Debian's docker.io, busybox-static and iptables; missing: "
            f"{', '.join(missing) or BUSYBOX}"
        )
    # Short: a unix socket's path holds 107 bytes, and containerd puts one for each container below this folder.
    daemon = DockerDaemon(Path(tempfile.mkdtemp(prefix="byd-", dir="/tmp")), *options)
    try:
        daemon.start()
        daemon.import_busybox()
        yield daemon
    finally:
        daemon.destroy()


class DockerRegistry:
    """A running `docker-registry`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._log = folder / "log"

    def requests(self, method: str, part: str) -> list[str]:
        """The methods of the requests that it has answered so far for paths with this part."""
        return [method for line in self._log.read_text().splitlines() if f'"{method} /v2/' in line and part in line]


@contextlib.contextmanager
def docker_registry() -> Iterator[DockerRegistry]:
    """Debian's `docker-registry` on a free port of 127.0.0.1, which Docker Engines talk to without TLS."""
    if shutil.which("docker-registry") is None:
        raise AssertionError("tests of pulling images need Debian's docker-registry")
    with tempfile.TemporaryDirectory(prefix="byr-") as name, socket.socket() as probe:
        folder = Path(name)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        (folder / "config.yml").write_text(
            f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n"
            f"http:\n  addr: 127.0.0.1:{port}\n"
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_TIMEOUT_SECONDS
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"docker-registry did not start:\n{(folder / 'log').read_text()}")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
            yield DockerRegistry(folder, port)
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Daemons that start at the same moment, of whatever runs of the tests on this host, would make the same chains of the
    packet filter, and one of them would fail."""
    with open(Path(tempfile.gettempdir()) / "batchyard-tests-dockerd.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _default_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)


def _mounts_under(folder: Path) -> list[str]:
    targets = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [target for target in targets if target.startswith(f"{folder}/")]


def _end(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], 5)
    finally:
        os.close(handle)
