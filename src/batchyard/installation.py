"""What the first start draws and every later start finds again: who this installation is, and its access key."""

from __future__ import annotations

import json
import os
import secrets
import string
import time
from pathlib import Path
from typing import Any

import msgspec

from batchyard.api.service import Caller
from batchyard.api.sigv4 import Credential
from batchyard.kernel.identifiers import Account
from batchyard.store.store import Store

DEFAULT_REGION = "us-east-1"
_KEY_LETTERS = string.ascii_uppercase + "234567"


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """One data directory."""

    id: str
    account: Account
    token_key: bytes
    access_key_id: str
    secret_access_key: str
    administrator: Caller
    first_start: bool

    def credential(self, access_key_id: str) -> Credential | None:
        """The access key of this id, if there is one."""
        if access_key_id != self.access_key_id:
            return None
        return Credential(secret_access_key=self.secret_access_key, caller=self.administrator)


def load_installation(store: Store, region: str | None, account_id: str | None) -> Installation:
    """The installation of an open store; drawn and kept when this is its first start."""
    settings = store.settings()
    first_start = not settings
    if first_start:
        settings = {
            "installation_id": secrets.token_hex(8),
            "region": region or DEFAULT_REGION,
            "account_id": account_id or "".join(secrets.choice(string.digits) for _ in range(12)),
            "token_key": secrets.token_hex(32),
        }
        store.write_first_start(settings, _new_credential())
    credential = store.credentials()[0]
    account = Account(settings["region"], settings["account_id"])
    return Installation(
        id=settings["installation_id"],
        account=account,
        token_key=bytes.fromhex(settings["token_key"]),
        access_key_id=credential["access_key_id"],
        secret_access_key=credential["secret_access_key"],
        administrator=_caller(account, credential),
        first_start=first_start,
    )


def _new_credential() -> dict[str, Any]:
    return {
        "access_key_id": "AKIA" + "".join(secrets.choice(_KEY_LETTERS) for _ in range(16)),
        "secret_access_key": secrets.token_urlsafe(30),
        "user_name": "administrator",
        "created_at": time.time_ns() // 1_000_000,
    }


def _caller(account: Account, credential: dict[str, Any]) -> Caller:
    user = credential["user_name"]
    return Caller(
        account_id=account.account_id,
        arn=f"arn:{account.partition}:iam::{account.account_id}:user/{user}",
        user_id="AIDA" + credential["access_key_id"][4:],
        access_key_id=credential["access_key_id"],
    )


def write_connection(path: Path, installation: Installation, endpoint: str) -> None:
    """Writes how to reach the server, for programs; readable by its owner only, and never half-written."""
    connection = {
        "endpoint": endpoint,
        "region": installation.account.region,
        "account_id": installation.account.account_id,
        "access_key_id": installation.access_key_id,
        "secret_access_key": installation.secret_access_key,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(connection, file, indent=2)
        file.write("\n")
    temporary.replace(path)
