"""Calls to the server: AWS Batch, CloudWatch Logs and what the project adds.

Answers stay the JSON that came: `--json` prints them as they are. Every failure is a `Failure`.
"""

from __future__ import annotations

import json
import re
import select
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from batchyard.cli.connection import START_HINT, Connection
from batchyard.cli.failures import Failure, refused, unreachable
from batchyard.cli.signing import signed_headers

Json = dict[str, Any]

CONNECT_AND_READ_SECONDS = 30.0
JOB_PAGE = 1000
_WRAPPED = re.compile(r"Error executing request, Exception : (.*), RequestId: \S+\Z", re.DOTALL)
_KEY_CODES = {
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
}


class Client:
    """A server, over one connection that is kept open."""

    def __init__(self, connection: Connection, timeout: float = CONNECT_AND_READ_SECONDS) -> None:
        self.connection = connection
        self._timeout = timeout
        self._http: HTTPConnection | None = None

    def batch(self, operation: str, **request: Any) -> Json:
        """Calls an operation of AWS Batch: `batch("DescribeJobs", jobs=[…])`."""
        return self._call("batch", f"/v1/{operation.lower()}", {"content-type": "application/json"}, request)

    def logs(self, operation: str, **request: Any) -> Json:
        """Calls an operation of CloudWatch Logs."""
        target = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"Logs_20140328.{operation}"}
        return self._call("logs", "/", target, request)

    def batchyard(self, operation: str, **request: Any) -> Json:
        """Calls an operation that AWS does not have."""
        path = f"/batchyard/v1/{operation.lower()}"
        return self._call("batch", path, {"content-type": "application/json"}, request)

    def why(self, job_id: str) -> Json:
        """Why a job is where it is, and the history of such reasons."""
        return self.batchyard("WhyJob", jobId=job_id)

    def instances(self, **request: Any) -> Iterator[Json]:
        """Instances and hosts, page after page."""
        while True:
            answer = self.batchyard("ListInstances", **request)
            yield from answer["instances"]
            if not answer.get("nextToken"):
                return
            request["nextToken"] = answer["nextToken"]

    def describe_job(self, job_id: str) -> Json | None:
        """A job, by its whole id."""
        jobs: list[Json] = self.batch("DescribeJobs", jobs=[job_id])["jobs"]
        return jobs[0] if jobs else None

    def pages(self, operation: str, member: str, **request: Any) -> Iterator[list[Json]]:
        """The pages of a listing operation of AWS Batch."""
        while True:
            answer = self.batch(operation, **request)
            yield answer.get(member) or []
            if not answer.get("nextToken"):
                return
            request["nextToken"] = answer["nextToken"]

    def _call(self, service: str, path: str, headers: dict[str, str], request: Json) -> Json:
        body = json.dumps(request).encode()
        try:
            status, error_type, content = self._send(service, path, headers, body)
        except OSError as error:
            self.close()
            raise unreachable(self._nobody(error), START_HINT) from None
        except HTTPException:
            self.close()
            raise unreachable(f"What answers at {self.connection.address} is not a Batchyard server.") from None
        return self._read(status, error_type, content)

    def _send(self, service: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str | None, bytes]:
        connection = self.connection
        path = connection.endpoint.path + path
        if connection.keys is not None:
            host = connection.endpoint.netloc.rpartition("@")[2]
            now = datetime.now(UTC)
            headers = signed_headers(connection.keys, connection.region, service, host, path, headers, body, now)
        else:
            headers = {**headers, "host": connection.endpoint.netloc.rpartition("@")[2]}
        http = self._open()
        http.putrequest("POST", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            http.putheader(name, value)
        http.putheader("content-length", str(len(body)))
        http.endheaders(body)
        response = http.getresponse()
        return response.status, response.getheader("x-amzn-errortype"), response.read()

    def _open(self) -> HTTPConnection:
        """A connection on which the server has not hung up meanwhile: sending a request a second time would submit a job
        twice."""
        if self._http is not None and (self._http.sock is None or _hung_up(self._http)):
            self.close()
        if self._http is None:
            endpoint = self.connection.endpoint
            kind = HTTPSConnection if endpoint.scheme == "https" else HTTPConnection
            assert endpoint.hostname is not None
            self._http = kind(endpoint.hostname, endpoint.port, timeout=self._timeout)
        return self._http

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _nobody(self, error: OSError) -> str:
        address = self.connection.address
        if isinstance(error, TimeoutError):
            return f"{address} does not answer within {self._timeout:g} s."
        if isinstance(error, ConnectionRefusedError):
            return f"No server answers at {address}."
        return f"{address} cannot be reached: {error.strerror or error}."

    def _read(self, status: int, error_type: str | None, content: bytes) -> Json:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise unreachable(
                f"What answers at {self.connection.address} is not a Batchyard server (HTTP {status}, no JSON)."
            )
        if status < 300:
            return answer
        raise self._failure(status, error_type, answer)

    def _failure(self, status: int, error_type: str | None, answer: Json) -> Failure:
        code = str(error_type or answer.get("__type") or answer.get("code") or f"HTTP{status}").partition(":")[0]
        text = str(answer.get("message") or answer.get("Message") or f"HTTP status {status}")
        wrapped = _WRAPPED.match(text)
        message = wrapped[1] if wrapped else text
        if status >= 500:
            return unreachable(f"The server at {self.connection.address} failed: {message}")
        return refused(message, code, self._key_hint() if code in _KEY_CODES else None)

    def _key_hint(self) -> str:
        keys, address = self.connection.keys, self.connection.address
        if keys is None:
            return f"No access key for {address} is known: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        return f"The request was signed for {address} ({self.connection.region}) with the key {keys.access_key_id}."


def _hung_up(http: HTTPConnection) -> bool:
    """Whether something waits to be read on a connection that has nothing to say: its end."""
    return bool(select.select([http.sock], [], [], 0)[0])
