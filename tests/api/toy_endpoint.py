"""An endpoint with toy handlers behind the real front, for tests; served for real, or called without a network."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import uvicorn
from botocore.config import Config

from batchyard.api.app import Application
from batchyard.api.errors import client_exception, validation_failure
from batchyard.api.service import Caller, RequestContext, Service
from batchyard.api.sigv4 import Authenticator, Credential
from batchyard.shapes import batch, logs
from batchyard.shapes.operation import Operation

REGION = "us-east-1"
ACCOUNT = "123456789012"
KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TEMPORARY_KEY = "ASIAEXAMPLE"
TOKEN = "the-session-token"
ADMINISTRATOR = Caller(account_id=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:root", user_id=ACCOUNT, access_key_id=KEY)
CREDENTIALS = {
    KEY: Credential(secret_access_key=SECRET, caller=ADMINISTRATOR),
    TEMPORARY_KEY: Credential(secret_access_key=SECRET, caller=ADMINISTRATOR, session_token=TOKEN),
}
BODY_LIMIT = 64 * 1024


@dataclass
class Toy:
    """The application, a clock to move (`skew`, in seconds) and what the handlers were called with."""

    mode: Any = "sigv4"
    skew: float = 0.0
    requests: list[tuple[Any, RequestContext]] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    """Set when the stream that never ends has been closed."""

    def __post_init__(self) -> None:
        authenticator = Authenticator(
            CREDENTIALS.get,
            region=REGION,
            administrator=ADMINISTRATOR,
            mode=self.mode,
            clock=lambda: time.time() + self.skew,
        )
        self.application = Application(self._services(), authenticator, body_limit=BODY_LIMIT)

    def _services(self) -> list[Service]:
        return [
            Service(
                name="AWS Batch",
                signing_names=("batch",),
                protocol="rest-json",
                operations=batch.OPERATIONS,
                handlers={
                    "SubmitJob": self._submit_job,
                    "DescribeJobs": self._describe_jobs,
                    "CancelJob": self._cancel_job,
                    "TerminateJob": self._terminate_job,
                    "ListTagsForResource": self._list_tags,
                    "TagResource": self._nothing,
                    "UntagResource": self._nothing,
                },
            ),
            Service(
                name="CloudWatch Logs",
                signing_names=("logs",),
                protocol="json-1.1",
                operations=logs.OPERATIONS,
                handlers={"GetLogEvents": self._get_log_events, "CreateLogGroup": self._fail},
                target_prefix="Logs_20140328",
            ),
            Service(
                name="Batchyard",
                signing_names=("batch", "batchyard"),
                protocol="rest-json",
                operations={
                    name: Operation(name, "POST", f"/batchyard/v1/{name.lower()}", None, None)
                    for name in ("Count", "Forever", "BreakOff")
                },
                handlers={"Count": self._count, "Forever": self._forever, "BreakOff": self._break_off},
            ),
        ]

    async def _submit_job(self, request: batch.SubmitJobRequest, context: RequestContext) -> batch.SubmitJobResponse:
        self.requests.append((request, context))
        if request.job_name == "!":
            raise validation_failure("Job name should match valid pattern")
        if request.job_queue == "missing":
            raise client_exception(f"JobQueue {request.job_queue} not found.")
        return batch.SubmitJobResponse(job_arn="arn", job_name=request.job_name, job_id="id")

    async def _describe_jobs(self, request: batch.DescribeJobsRequest, _: RequestContext) -> batch.DescribeJobsResponse:
        raise RuntimeError(f"a secret of ours: {request.jobs}")

    async def _cancel_job(self, request: batch.CancelJobRequest, context: RequestContext) -> None:
        self.requests.append((request, context))

    async def _terminate_job(self, request: batch.TerminateJobRequest, context: RequestContext) -> None:
        self.requests.append((request, context))

    async def _list_tags(
        self, request: batch.ListTagsForResourceRequest, _: RequestContext
    ) -> batch.ListTagsForResourceResponse:
        return batch.ListTagsForResourceResponse(tags={"of": request.resource_arn})

    async def _nothing(self, request: Any, context: RequestContext) -> None:
        self.requests.append((request, context))

    async def _get_log_events(self, request: logs.GetLogEventsRequest, _: RequestContext) -> logs.GetLogEventsResponse:
        event = logs.OutputLogEvent(timestamp=1, message=request.log_stream_name)
        return logs.GetLogEventsResponse(events=[event], next_forward_token="f/1", next_backward_token="b/1")

    async def _fail(self, request: Any, _: RequestContext) -> None:
        raise RuntimeError(f"a secret of ours: {request}")

    async def _count(self, _: None, __: RequestContext) -> AsyncIterator[bytes]:
        async def lines() -> AsyncIterator[bytes]:
            for number in range(3):
                yield json.dumps(number).encode() + b"\n"

        return lines()

    async def _forever(self, _: None, __: RequestContext) -> AsyncIterator[bytes]:
        async def lines() -> AsyncIterator[bytes]:
            try:
                yield b"first\n"
                await asyncio.Event().wait()
            finally:
                self.closed.set()

        return lines()

    async def _break_off(self, _: None, __: RequestContext) -> AsyncIterator[bytes]:
        async def lines() -> AsyncIterator[bytes]:
            yield b"first\n"
            raise RuntimeError("the source is gone")

        return lines()


@contextmanager
def served(toy: Toy) -> Iterator[int]:
    """The port of 127.0.0.1 on which the toy is served while the context lasts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # Listening from here on, so clients may connect before the server has begun to accept.
        listener.listen(128)
        config = uvicorn.Config(
            toy.application, http="httptools", loop="uvloop", log_level="critical", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def client(port: int, service: str, **overrides: Any) -> Any:
    """A boto3 client of the served toy that tries every call once."""
    settings: dict[str, Any] = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": REGION,
        "aws_access_key_id": KEY,
        "aws_secret_access_key": SECRET,
        "config": Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
    }
    return boto3.client(service, **{**settings, **overrides})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(
    toy: Toy, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, query: str = ""
) -> Answer:
    """One request straight into the application."""
    return asyncio.run(acall(toy, method, path, body, headers, query))


async def acall(
    toy: Toy, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, query: str = ""
) -> Answer:
    pairs = {"host": "127.0.0.1", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs.items()],
    }
    inbox = [{"type": "http.request", "body": body, "more_body": False}]
    outbox: list[Any] = []

    async def receive() -> Any:
        return inbox.pop() if inbox else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        outbox.append(message)

    await toy.application(scope, receive, send)
    start = outbox[0]
    answer_headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], answer_headers, b"".join(message["body"] for message in outbox[1:]))
