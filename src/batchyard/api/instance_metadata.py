"""The instance metadata service that jobs on instances find: EC2's, as far as a job may ask it.

Each instance has an endpoint of its own, `/batchyard/metadata/<instance id>`, below which stands what EC2 serves at
http://169.254.169.254; jobs get its address in `AWS_EC2_METADATA_SERVICE_ENDPOINT`, which SDKs understand. It is served to this
machine only, with tokens (IMDSv2) and without (IMDSv1), and tells what its instance is and whether it is about to be taken away.
Sources: EC2 "Instance metadata categories", "Use the Instance Metadata Service", "Spot Instance interruption notices".
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

from batchyard.api.batch.desk import Desk
from batchyard.api.errors import ApiError
from batchyard.api.http import Request, Response
from batchyard.api.local_pages import refuse_foreign_pages
from batchyard.api.tokens import InvalidTokenError, TokenSealer
from batchyard.kernel.identifiers import Account
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.records import InstanceDetail

PREFIX = "/batchyard/metadata/"
LONGEST_TOKEN_SECONDS = 21_600
TOKEN_HEADER = "x-aws-ec2-metadata-token"
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_VERSION = re.compile(r"(latest|1\.0|[0-9]{4}-[0-9]{2}-[0-9]{2})\Z")
_LIFE_CYCLES = {"SPOT": "spot"}


class InstanceMetadata:
    """Answers what jobs ask about the instance that they run on."""

    def __init__(self, desk: Desk, tokens: TokenSealer) -> None:
        self._desk = desk
        self._tokens = tokens

    async def answer(self, request: Request, peer: str | None) -> Response:
        """`peer`: the address that the request comes from."""
        if peer is None or not ip_address(peer).is_loopback:
            return _text(403, "The metadata of instances is for programs on this machine.")
        try:
            refuse_foreign_pages(request)
        except ApiError as error:
            return _text(error.status, error.message)
        instance_id, _, path = request.path.removeprefix(PREFIX).partition("/")
        detail = await self._detail(instance_id)
        if detail is None:
            return _text(404, f"There is no instance {instance_id[:100]}.")
        version, _, key = path.partition("/")
        if path and not _VERSION.match(version):
            return _text(404, f"There is no version {version[:100]}.")
        if key == "api/token":
            return self._new_token(request, instance_id)
        if request.method not in ("GET", "HEAD"):
            return _text(405, "Metadata is read with GET.")
        if not self._is_allowed(request, instance_id):
            return _text(401, "The token is not valid here, or no longer.")
        found = _read(metadata_of(detail, self._desk.account), key) if path else "latest"
        return _text(200, found) if found is not None else _text(404, f"There is no {key[:200]}.")

    async def _detail(self, instance_id: str) -> InstanceDetail | None:
        def find(kernel: Kernel) -> InstanceDetail | None:
            instance = kernel.state.instances.get(instance_id)
            return instance.detail if instance is not None else None

        return await self._desk.ask(find)

    def _new_token(self, request: Request, instance_id: str) -> Response:
        """IMDSv2: a token for so many seconds."""
        if request.method != "PUT":
            return _text(405, "A token is asked for with PUT.")
        seconds = request.headers.get(TTL_HEADER, "")
        if not seconds.isdecimal() or not 1 <= int(seconds[:9]) <= LONGEST_TOKEN_SECONDS:
            return _text(400, f"{TTL_HEADER} must be between 1 and {LONGEST_TOKEN_SECONDS}.")
        token = self._tokens.seal(_purpose(instance_id), int(time.time()) + int(seconds))
        return Response(200, "text/plain", token.encode(), headers=((TTL_HEADER, seconds),))

    def _is_allowed(self, request: Request, instance_id: str) -> bool:
        """Without a token, as IMDSv1, or with one that is good."""
        token = request.headers.get(TOKEN_HEADER)
        if token is None:
            return True
        try:
            until = self._tokens.open(_purpose(instance_id), token)
        except InvalidTokenError:
            return False
        return isinstance(until, int) and time.time() < until


def metadata_of(detail: InstanceDetail, account: Account) -> dict[str, str]:
    """What there is to read, by its path below the version."""
    zone = f"{account.region}a"
    found = {
        "meta-data/instance-id": detail.id,
        "meta-data/instance-life-cycle": _LIFE_CYCLES.get(detail.purchase, "on-demand"),
        "meta-data/placement/availability-zone": zone,
        "meta-data/placement/region": account.region,
        "meta-data/services/partition": account.partition,
        "dynamic/instance-identity/document": json.dumps(_identity(detail, account, zone), indent=2),
    }
    if detail.instance_type is not None:
        found["meta-data/instance-type"] = detail.instance_type
    if detail.interrupted_at is not None and detail.deadline is not None:
        end, notice = _moment(detail.deadline), _moment(detail.interrupted_at)
        found["meta-data/spot/instance-action"] = json.dumps({"action": "terminate", "time": end})
        found["meta-data/spot/termination-time"] = end
        found["meta-data/events/recommendations/rebalance"] = json.dumps({"noticeTime": notice})
    return found


def _identity(detail: InstanceDetail, account: Account, zone: str) -> dict[str, str]:
    identity = {
        "accountId": account.account_id,
        "availabilityZone": zone,
        "instanceId": detail.id,
        "pendingTime": _moment(detail.launched_at),
        "region": account.region,
        "version": "2017-09-30",
    }
    return identity | ({"instanceType": detail.instance_type} if detail.instance_type is not None else {})


def _read(metadata: Mapping[str, str], key: str) -> str | None:
    """What stands at a path; of a folder, the names in it. None: nothing. A slash at the end makes no difference."""
    key = key.rstrip("/")
    if key in metadata:
        return metadata[key]
    folder = f"{key}/" if key else ""
    below = [path.removeprefix(folder) for path in metadata if path.startswith(folder)]
    names = {name + slash for name, slash, _ in (path.partition("/") for path in below)}
    return "\n".join(sorted(names)) if names else None


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _purpose(instance_id: str) -> str:
    return f"metadata {instance_id}"


def _text(status: int, text: str) -> Response:
    return Response(status, "text/plain", text.encode())
