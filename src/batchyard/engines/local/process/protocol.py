"""What the engine and its runner say to each other over the unix socket between them.

A frame is four bytes of length (big-endian) and a MessagePack list of messages. The runner outlives the server, so an
older runner may talk to a newer engine: fields are only ever added, with a default, and are never renamed.

The runner answers with the kernel's own observations, and with `Welcome`, `Reconciled` and `Note`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from batchyard.engines.files import Files
from batchyard.kernel.messages import TaskExited, TaskLost, TaskRecalled, TaskStarted, TaskUnknown

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""A longer frame can only be a mistake: the connection is given up."""

NEVER_BEGAN = "Stopped before it began"
"""`TaskExited.reason` of a task that was stopped while it waited for its resources."""

_LENGTH_BYTES = 4


class Order(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """A task to begin: what the runner needs of a `TaskSpec`, without the shapes of the API."""

    task_id: str
    command: list[str]
    environment: dict[str, str]
    vcpus: int
    """Thousandths of a vCPU."""
    memory: int
    """MiB."""
    swap: int = 0
    """MiB that may be swapped out beyond the memory."""
    gpus: int = 0
    user: str | None = None
    ulimits: list[tuple[str, int, int]] = []
    """Name as in `Ulimit`, soft limit, hard limit."""
    log_group: str
    log_stream: str
    create_log_group: bool = True
    files: Files | None = None


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The engine's first message: what may be used at the same time, and where logs go."""

    vcpus: int
    """Thousandths of a vCPU."""
    memory: int
    """MiB."""
    gpus: int
    log_root: str


class Reconcile(msgspec.Struct, frozen=True, tag=True):
    expected: list[str]


class Stop(msgspec.Struct, frozen=True, tag=True):
    task_id: str
    grace_seconds: float


class Recall(msgspec.Struct, frozen=True, tag=True):
    task_ids: list[str]


class Acknowledge(msgspec.Struct, frozen=True, tag=True):
    task_ids: list[str]


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The runner's first message."""

    process_id: int
    limits_memory: bool
    notes: list[str]
    """What this host does not allow, in sentences for the operator."""


class Reconciled(msgspec.Struct, frozen=True, tag=True):
    """Every task of the `Reconcile` has been answered."""


class Note(msgspec.Struct, frozen=True, tag=True):
    """Something that the operator should know."""

    text: str


ToRunner = Hello | Order | Reconcile | Stop | Recall | Acknowledge
ToEngine = Welcome | Reconciled | Note | TaskStarted | TaskExited | TaskLost | TaskUnknown | TaskRecalled

Message = TypeVar("Message")

_encoder = msgspec.msgpack.Encoder()


def encode_frame(messages: Sequence[ToRunner] | Sequence[ToEngine]) -> bytes:
    body = _encoder.encode(messages)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class FrameReader(Generic[Message]):
    """Puts frames together again from a stream of bytes, however they were cut."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[list[Message]]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete. `msgspec.MsgspecError` when they can't be messages at all."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "big")
            if length > MAX_FRAME_BYTES:
                raise msgspec.DecodeError(f"a frame of {length} bytes")
            end = start + _LENGTH_BYTES + length
            if len(buffer) < end:
                break
            messages += self._decoder.decode(bytes(buffer[start + _LENGTH_BYTES : end]))
            start = end
        del buffer[:start]
        return messages


def runner_frame_reader() -> FrameReader[ToRunner]:
    return FrameReader(msgspec.msgpack.Decoder(list[ToRunner]))


def engine_frame_reader() -> FrameReader[ToEngine]:
    return FrameReader(msgspec.msgpack.Decoder(list[ToEngine]))


@contextmanager
def short_socket_path(path: Path) -> Iterator[str]:
    """A name for a socket that fits into the kernel's 107 bytes, however deep the folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path) -> socket.socket:
    """Connect to a runner. `FileNotFoundError` or `ConnectionRefusedError` when there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_socket_path(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection
