from __future__ import annotations

import pytest
from toy_endpoint import Toy, call

BODY = b'{"jobName":"a","jobQueue":"q","jobDefinition":"d"}'


@pytest.mark.parametrize("host", ["127.0.0.1:8324", "localhost", "batch.localhost:8324", "[::1]:8324", "127.8.9.1"])
def test_clients_of_this_machine_are_served(open_toy: Toy, host: str) -> None:
    assert call(open_toy, "POST", "/v1/submitjob", BODY, {"host": host}).status == 200


def test_our_own_pages_are_served(open_toy: Toy) -> None:
    headers = {"host": "127.0.0.1:8324", "origin": "http://127.0.0.1:8324"}
    assert call(open_toy, "POST", "/v1/submitjob", BODY, headers).status == 200


@pytest.mark.parametrize("headers", [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"host": "127.0.0.1:8324", "origin": "http://127.0.0.1:9000"},
    {"host": "evil.example"},
    {"host": "evil.example:8324", "origin": "http://evil.example:8324"},
    {"host": "[::1"},
    {"host": ""},
])  # fmt: skip
def test_pages_of_others_run_no_jobs(open_toy: Toy, headers: dict[str, str]) -> None:
    answer = call(open_toy, "POST", "/v1/submitjob", BODY, headers)
    assert (answer.status, answer.json()["__type"]) == (403, "AccessDeniedException")
    assert open_toy.requests == []


def test_signed_servers_are_open_to_pages_that_can_sign(toy: Toy) -> None:
    answer = call(toy, "OPTIONS", "/v1/submitjob", headers={"access-control-request-headers": "x-amz-date"})
    assert answer.status == 200
    assert answer.headers["access-control-allow-headers"] == "x-amz-date"
    assert answer.headers["access-control-allow-origin"] == "*"
