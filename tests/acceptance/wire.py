"""Requests sent without a client, so that what SDKs refuse to send gets through; and whether the server has stored anything."""

from __future__ import annotations

import http.client
import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import OperationModel

from server_process import ServerProcess


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Wire:
    """Sends signed requests over one connection, whatever is in them."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._credentials = Credentials(server.connection["access_key_id"], server.connection["secret_access_key"])
        self._connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, operation: OperationModel, members: Any) -> Answer:
        """These members, carried as the operation's protocol has it."""
        body = json.dumps(members).encode()
        if operation.service_model.service_name == "logs":
            target = f"{operation.service_model.metadata['targetPrefix']}.{operation.name}"
            headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
            return self.send_bytes("logs", "POST", "/", headers, body)
        method, path = operation.http["method"], operation.http["requestUri"]
        path = path.replace("{resourceArn}", _in_path(members)) + (_in_query(members) if method == "DELETE" else "")
        return self.send_bytes("batch", method, path, {"Content-Type": "application/json"}, body)

    def send_bytes(self, service: str, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        request = AWSRequest(method, self._server.endpoint + path, headers=headers, data=body)
        SigV4Auth(self._credentials, service, self._server.region).add_auth(request)
        self._connection.request(method, path, body, dict(request.headers.items()))
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def pass_a_round(self) -> None:
        """Returns when whatever the server was about to store is stored: a refusal may be answered before that."""
        question = self._server.client("batch").meta.service_model.operation_model("DescribeJobQueues")
        assert self.send(question, {}).status == 200


class Commits:
    """Tells whether the server has stored anything."""

    def __init__(self, data_dir: Path) -> None:
        self._connection = sqlite3.connect(f"file:{data_dir / 'batchyard.db'}?mode=ro", uri=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def count(self) -> int:
        """A number that is another one as soon as somebody else has committed a change."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def _in_path(members: Any) -> str:
    arn = members.get("resourceArn", "arn") if isinstance(members, dict) else "arn"
    return quote(arn if isinstance(arn, str) else json.dumps(arn), safe="") or "x"


def _in_query(members: Any) -> str:
    keys = members.get("tagKeys") if isinstance(members, dict) else None
    return "?" + "&".join(f"tagKeys={quote(str(key), safe='')}" for key in keys) if isinstance(keys, list) else ""
