"""Instances and hosts: `ListInstances`, `InterruptInstance`, `InterruptJob`, `RegisterHost`, `UpdateHost`, `DeregisterHost`.

`POST /batchyard/v1/<operation>`, see `extension.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from batchyard.api.batch.desk import Desk, page_size
from batchyard.api.service import RequestContext
from batchyard.kernel import commands
from batchyard.kernel.environments import find_environment
from batchyard.kernel.identifiers import job_id_of
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.records import Instance, InstanceDetail
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.resources import NOTHING, Resources
from batchyard.shapes.operation import Operation
from batchyard.store.reading import ended_instances
from batchyard.store.store import Store

HOUR = 3_600_000
LISTING = "instances"
ROWS = 500
"""Of the store, read at once."""
END = "9"
"""After every name that a terminated instance is kept under: those begin with fifteen digits, the first of them 0."""


Entry = tuple[list[Any], "InstanceSummary"]
"""Where an instance stands in the list, and the instance."""


class ListInstancesRequest(msgspec.Struct, kw_only=True, rename="camel"):
    compute_environment: str | None = None
    """Name or ARN."""
    purchase: str | None = None
    """ON_DEMAND, SPOT or REGISTERED."""
    all: bool | None = None
    """Also those that are terminated."""
    max_results: int | None = None
    next_token: str | None = None


class InstanceSummary(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """An instance that was launched, or a host. Times are milliseconds since the epoch, memory is MiB."""

    instance_id: str
    compute_environment: str
    purchase: str
    """ON_DEMAND, SPOT, or REGISTERED for a host."""
    state: str
    """pending, running, draining or terminated."""
    launched_at: int
    vcpus: int
    memory: int
    """What jobs can have of it."""
    used_vcpus: float
    used_memory: int
    jobs: list[str]
    """Ids of those that run on it."""
    gpus: int = 0
    used_gpus: int = 0
    instance_type: str | None = None
    name: str | None = None
    """Of a host."""
    reason: str | None = None
    """Why it drains, or is gone."""
    running_at: int | None = None
    deadline: int | None = None
    """When what still runs on it is stopped, or, after an interruption notice, when it is taken away."""
    interrupted_at: int | None = None
    """When it got its interruption notice."""
    terminated_at: int | None = None
    price: float | None = None
    """US dollars an hour."""
    cost: float | None = None
    """US dollars, from when it ran until now or its end."""


class ListInstancesResponse(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    instances: list[InstanceSummary]
    next_token: str | None = None


class InterruptInstanceRequest(msgspec.Struct, kw_only=True, rename="camel"):
    instance_id: str
    force: bool | None = None
    """Also one that is no Spot instance."""


class InterruptJobRequest(msgspec.Struct, kw_only=True, rename="camel"):
    job_id: str


class RegisterHostRequest(msgspec.Struct, kw_only=True, rename="camel"):
    name: str
    compute_environment: str
    vcpus: int
    memory: int
    gpus: int | None = None


class UpdateHostRequest(msgspec.Struct, kw_only=True, rename="camel"):
    host: str
    """Its name, or its instance id."""
    status: str
    """ACTIVE or DRAINING."""


class DeregisterHostRequest(msgspec.Struct, kw_only=True, rename="camel"):
    host: str
    force: bool | None = None
    """Also stop what runs on it."""


_SHAPES: Mapping[str, tuple[type[msgspec.Struct], type[msgspec.Struct] | None]] = {
    "ListInstances": (ListInstancesRequest, ListInstancesResponse),
    "InterruptInstance": (InterruptInstanceRequest, InstanceSummary),
    "InterruptJob": (InterruptJobRequest, None),
    "RegisterHost": (RegisterHostRequest, InstanceSummary),
    "UpdateHost": (UpdateHostRequest, InstanceSummary),
    "DeregisterHost": (DeregisterHostRequest, InstanceSummary),
}

OPERATIONS = {
    name: Operation(name, "POST", f"/batchyard/v1/{name.lower()}", request, answer)
    for name, (request, answer) in _SHAPES.items()
}


class InstanceOperations:
    """Handlers of the operations above."""

    def __init__(self, desk: Desk, store: Store) -> None:
        self._desk = desk
        self._store = store

    def handlers(self) -> dict[str, Any]:
        return {
            "ListInstances": self.list_instances,
            "InterruptInstance": self.interrupt_instance,
            "InterruptJob": self.interrupt_job,
            "RegisterHost": self.register_host,
            "UpdateHost": self.update_host,
            "DeregisterHost": self.deregister_host,
        }

    async def list_instances(self, request: ListInstancesRequest, _: RequestContext) -> ListInstancesResponse:
        """The newest first, then those that are gone, the last to go first."""
        limit = page_size(request.max_results)
        position = self._desk.position(LISTING, request.next_token)
        found: list[Entry] = []
        if position is None or position[0] == "present":
            found = await self._present(request, tuple(position[1:]) if position is not None else None)
        if request.all and len(found) <= limit:
            after = position[1] if position is not None and position[0] == "ended" else END
            found += await self._ended(request, after, limit + 1 - len(found))
        token = self._desk.seal(LISTING, found[limit - 1][0]) if len(found) > limit else None
        return ListInstancesResponse(instances=[summary for _, summary in found[:limit]], next_token=token)

    async def _present(self, request: ListInstancesRequest, after: tuple[int, str] | None) -> list[Entry]:
        now = _now()

        def summaries(kernel: Kernel) -> list[InstanceSummary]:
            wanted = self._environment_name(request)
            if wanted is not None and not request.all and find_environment(kernel.state, wanted) is None:
                raise Refusal(f"ComputeEnvironment {request.compute_environment} not found.", wrapped=False)
            return [
                _summary(each.detail, now, each)
                for each in kernel.state.instances.values()
                if each.detail is not None and _is_wanted(each.detail, wanted, request.purchase)
            ]

        found = sorted(((each.launched_at, each.instance_id), each) for each in await self._desk.ask(summaries))
        return [(["present", *key], each) for key, each in reversed(found) if after is None or key < after]

    async def _ended(self, request: ListInstancesRequest, after: str, most: int) -> list[Entry]:
        now, wanted = _now(), self._environment_name(request)
        found: list[Entry] = []
        while len(found) < most:
            rows = await self._store.read(partial(ended_instances, after=after, limit=ROWS))
            found += [
                (["ended", name], _summary(detail, now))
                for name, detail in rows
                if _is_wanted(detail, wanted, request.purchase)
            ]
            if len(rows) < ROWS:
                break
            after = rows[-1][0]
        return found[:most]

    def _environment_name(self, request: ListInstancesRequest) -> str | None:
        if request.compute_environment is None:
            return None
        return self._desk.account.name_of("compute-environment", request.compute_environment) or ""

    async def interrupt_instance(self, request: InterruptInstanceRequest, _: RequestContext) -> InstanceSummary:
        return await self._changed(commands.InterruptInstance(request.instance_id, bool(request.force)))

    async def interrupt_job(self, request: InterruptJobRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.InterruptJob(job_id_of(self._desk.account, request.job_id)))

    async def register_host(self, request: RegisterHostRequest, _: RequestContext) -> InstanceSummary:
        return await self._changed(
            commands.RegisterHost(
                name=request.name,
                environment=request.compute_environment,
                vcpus=request.vcpus,
                memory=request.memory,
                gpus=request.gpus or 0,
            )
        )

    async def update_host(self, request: UpdateHostRequest, _: RequestContext) -> InstanceSummary:
        return await self._changed(commands.UpdateHost(request.host, request.status))

    async def deregister_host(self, request: DeregisterHostRequest, _: RequestContext) -> InstanceSummary:
        return await self._changed(commands.DeregisterHost(request.host, bool(request.force)))

    async def _changed(self, command: commands.Command) -> InstanceSummary:
        """The instance as the command has left it."""
        detail: InstanceDetail = await self._desk.carry_out(command)
        return await self._desk.ask(lambda kernel: _summary(detail, _now(), kernel.state.instances.get(detail.id)))


def _is_wanted(detail: InstanceDetail, environment: str | None, purchase: str | None) -> bool:
    return environment in (None, detail.environment) and purchase in (None, detail.purchase)


def _summary(detail: InstanceDetail, now: int, instance: Instance | None = None) -> InstanceSummary:
    """`instance`: None when it is gone."""
    used: Resources = instance.used if instance is not None else NOTHING
    registered = detail.purchase == "REGISTERED"
    return InstanceSummary(
        instance_id=detail.id,
        compute_environment=detail.environment,
        purchase=detail.purchase,
        state="draining" if detail.draining is not None and detail.state != "terminated" else detail.state,
        launched_at=detail.launched_at,
        vcpus=detail.vcpus,
        memory=detail.capacity.memory,
        used_vcpus=used.milli_vcpus / 1000,
        used_memory=used.memory,
        jobs=list(instance.jobs) if instance is not None else [],
        gpus=detail.capacity.gpus,
        used_gpus=used.gpus,
        instance_type=detail.instance_type,
        name=detail.name,
        reason=detail.draining,
        running_at=detail.running_at,
        deadline=detail.deadline,
        interrupted_at=detail.interrupted_at,
        terminated_at=detail.terminated_at,
        price=None if registered else detail.price,
        cost=None if registered else round(cost_of(detail, now), 6),
    )


def cost_of(detail: InstanceDetail, now: int) -> float:
    """US dollars: the price by the hour, for the time from when it ran until now or its end (EC2 bills by the second)."""
    if detail.running_at is None:
        return 0.0
    return detail.price * max(0, (detail.terminated_at or now) - detail.running_at) / HOUR


def _now() -> int:
    return time.time_ns() // 1_000_000
