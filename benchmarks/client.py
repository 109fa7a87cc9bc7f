"""A client that costs as little as possible: one kept connection, requests signed before the clock starts.

What is measured is the server, not the client that measures it, so no SDK is used; requests are signed by botocore, as
an SDK's are.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Self

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class Endpoint(msgspec.Struct, frozen=True):
    """What a server writes into its ready file."""

    endpoint: str
    region: str
    account_id: str
    access_key_id: str
    secret_access_key: str

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.endpoint.removeprefix("http://").rpartition(":")
        return host, int(port)


class Refused(Exception):
    """The server answered with anything but success."""


def batch_request(endpoint: Endpoint, operation: str, payload: dict[str, Any]) -> bytes:
    """A signed request to AWS Batch, as it goes over the wire. It is good for five minutes."""
    return _signed(endpoint, "batch", f"/v1/{operation.lower()}", {"Content-Type": "application/json"}, payload)


def logs_request(endpoint: Endpoint, operation: str, payload: dict[str, Any]) -> bytes:
    """A signed request to CloudWatch Logs."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Logs_20140328.{operation}"}
    return _signed(endpoint, "logs", "/", headers, payload)


def _signed(endpoint: Endpoint, service: str, path: str, headers: dict[str, str], payload: dict[str, Any]) -> bytes:
    body = json.dumps(payload).encode()
    request = AWSRequest("POST", endpoint.endpoint + path, headers=headers, data=body)
    SigV4Auth(Credentials(endpoint.access_key_id, endpoint.secret_access_key), service, endpoint.region).add_auth(
        request
    )
    host, port = endpoint.address
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One connection to the server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.socket = socket.create_connection(endpoint.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def exchange(self, request: bytes) -> bytes:
        """Sends a request and returns the body of the answer. Raises `Refused`."""
        self.socket.sendall(request)
        return self.receive()

    def receive(self) -> bytes:
        """The body of the next answer. Raises `Refused`."""
        while (head_end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._read_more()
        head = bytes(self._buffer[:head_end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        end = head_end + 4 + length
        while len(self._buffer) < end:
            self._read_more()
        body = bytes(self._buffer[head_end + 4 : end])
        del self._buffer[:end]
        if not head.startswith(b"http/1.1 200 "):
            raise Refused(f"{head.decode().splitlines()[0]}: {body.decode(errors='replace')}")
        return body

    def batch(self, operation: str, **payload: Any) -> dict[str, Any]:
        """Calls an operation of AWS Batch: `batch("DescribeJobs", jobs=[…])`."""
        answer: dict[str, Any] = json.loads(self.exchange(batch_request(self.endpoint, operation, payload)) or b"{}")
        return answer

    def logs(self, operation: str, **payload: Any) -> dict[str, Any]:
        """Calls an operation of CloudWatch Logs."""
        answer: dict[str, Any] = json.loads(self.exchange(logs_request(self.endpoint, operation, payload)) or b"{}")
        return answer

    def describe_job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.batch("DescribeJobs", jobs=[job_id])["jobs"][0]
        return job

    def _read_more(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise Refused("the server hung up")
        self._buffer += data
