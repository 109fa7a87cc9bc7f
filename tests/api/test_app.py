from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from toy_endpoint import BODY_LIMIT, Toy, call, client, served

SUBMISSION = b'{"jobName":"a","jobQueue":"q","jobDefinition":"d"}'


@pytest.fixture
def open_port(open_toy: Toy) -> Iterator[int]:
    with served(open_toy) as port:
        yield port


@pytest.fixture
def connection(open_port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", open_port, timeout=20)
    yield connection
    connection.close()


def exchange(port: int, request: bytes) -> bytes:
    """Send raw bytes and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(request)
        raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(65536), b""))


def test_health_needs_no_signature(toy: Toy) -> None:
    assert call(toy, "GET", "/healthz").json() == {"status": "ok"}


def test_one_connection_serves_many_requests(toy: Toy, port: int) -> None:
    batch = client(port, "batch")
    for _ in range(3):
        batch.submit_job(jobName="a", jobQueue="q", jobDefinition="d")
    pool = batch._endpoint.http_session._manager.connection_from_url(f"http://127.0.0.1:{port}")
    assert (pool.num_connections, pool.num_requests) == (1, 3)
    assert len(toy.requests) == 3


def test_chunked_bodies(connection: http.client.HTTPConnection, open_toy: Toy) -> None:
    connection.request("POST", "/v1/submitjob", iter([SUBMISSION[:10], SUBMISSION[10:]]), encode_chunked=True)
    assert connection.getresponse().status == 200
    assert open_toy.requests[0][1].body_size == len(SUBMISSION)


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_over_the_limit(connection: http.client.HTTPConnection, open_toy: Toy, chunked: bool) -> None:
    body: Any = iter([b"x" * 1000] * (BODY_LIMIT // 1000 + 1)) if chunked else b"x" * (BODY_LIMIT + 1)
    connection.request("POST", "/v1/submitjob", body, encode_chunked=chunked)
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.headers["x-amzn-errortype"] == "RequestEntityTooLargeException"
    assert json.loads(answer.read())["message"] == f"Request size exceeded {BODY_LIMIT} bytes."
    assert open_toy.requests == []
    connection.request("POST", "/v1/submitjob", SUBMISSION)
    assert connection.getresponse().status == 200


def test_a_body_of_exactly_the_limit(open_toy: Toy) -> None:
    body = SUBMISSION + b" " * (BODY_LIMIT - len(SUBMISSION))
    assert call(open_toy, "POST", "/v1/submitjob", body).status == 200
    assert call(open_toy, "POST", "/v1/submitjob", body + b" ").status == 413


def test_expect_100_continue(open_port: int) -> None:
    head = b"POST /v1/submitjob HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", open_port), timeout=20) as raw:
        raw.sendall(head % len(SUBMISSION))
        assert raw.recv(65536).startswith(b"HTTP/1.1 100 Continue")
        raw.sendall(SUBMISSION)
        assert raw.recv(65536).startswith(b"HTTP/1.1 200")
    with socket.create_connection(("127.0.0.1", open_port), timeout=20) as raw:
        raw.sendall(head % (BODY_LIMIT + 1))
        assert raw.recv(65536).startswith(b"HTTP/1.1 413")


def test_head_has_no_body(connection: http.client.HTTPConnection) -> None:
    for path, status in (("/healthz", 200), ("/v1/submitjob", 404)):
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, b"")


def test_a_client_that_leaves_in_the_middle_of_its_body(open_port: int, open_toy: Toy) -> None:
    exchange(open_port, b"POST /v1/submitjob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
    assert open_toy.requests == []


@pytest.mark.parametrize(
    "request_line", [b"GET /\xff\xfe HTTP/1.1", b"POST http:///v1/x HTTP/1.1", b"\x00\x01", b"GET"]
)
def test_what_is_not_http(open_port: int, request_line: bytes) -> None:
    answer = exchange(open_port, request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


def test_streams_come_chunk_by_chunk(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/batchyard/v1/count")
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer] == [0, 1, 2]


def test_a_stream_is_closed_when_its_reader_leaves(open_toy: Toy, connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/batchyard/v1/forever")
    answer = connection.getresponse()
    assert answer.readline() == b"first\n"
    assert not open_toy.closed.is_set()
    answer.close()
    connection.close()
    assert open_toy.closed.wait(20)


def test_a_stream_that_breaks_off_is_seen_to_be_incomplete(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/batchyard/v1/breakoff")
    answer = connection.getresponse()
    assert answer.readline() == b"first\n"
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()


def test_lifespan_and_websockets(toy: Toy) -> None:
    async def run(scope: str, *events: str) -> list[Any]:
        inbox, outbox = [{"type": event} for event in reversed(events)], []

        async def receive() -> Any:
            return inbox.pop()

        async def send(message: Any) -> None:
            outbox.append(message["type"])

        await toy.application({"type": scope}, receive, send)
        return outbox

    assert asyncio.run(run("lifespan", "lifespan.startup", "lifespan.shutdown")) == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert asyncio.run(run("websocket", "websocket.connect")) == ["websocket.close"]
