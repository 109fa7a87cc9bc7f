"""What may be changed of a job that waits: `HoldJob`, `ReleaseJob`, `ChangeJobPriority`.

`POST /batchyard/v1/<operation>`, see `extension.py`; the rules are in `kernel/holding.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from batchyard.api.batch.desk import Desk
from batchyard.api.errors import client_exception
from batchyard.api.service import RequestContext
from batchyard.kernel import commands
from batchyard.kernel.identifiers import job_id_of
from batchyard.shapes.operation import Operation


class HoldJobRequest(msgspec.Struct, kw_only=True, rename="camel"):
    job_id: str
    reason: str


class ReleaseJobRequest(msgspec.Struct, kw_only=True, rename="camel"):
    job_id: str


class ChangeJobPriorityRequest(msgspec.Struct, kw_only=True, rename="camel"):
    job_id: str
    scheduling_priority: int


_SHAPES: Mapping[str, type[msgspec.Struct]] = {
    "HoldJob": HoldJobRequest,
    "ReleaseJob": ReleaseJobRequest,
    "ChangeJobPriority": ChangeJobPriorityRequest,
}

OPERATIONS = {
    name: Operation(name, "POST", f"/batchyard/v1/{name.lower()}", request, None) for name, request in _SHAPES.items()
}


def handlers(desk: Desk) -> dict[str, Any]:
    async def waiting(named: str) -> str:
        """The id of a job that has not ended. Raises `ApiError`: what has ended is known only to the store."""
        job_id = job_id_of(desk.account, named)
        views = await desk.reader.find([job_id])
        if views and views[0].row.status.terminal:
            raise client_exception(
                f"Job {named} has ended {views[0].row.status.name}: only a job that waits can be changed."
            )
        return job_id

    async def hold_job(request: HoldJobRequest, _: RequestContext) -> None:
        await desk.carry_out(commands.HoldJob(await waiting(request.job_id), request.reason))

    async def release_job(request: ReleaseJobRequest, _: RequestContext) -> None:
        await desk.carry_out(commands.ReleaseJob(await waiting(request.job_id)))

    async def change_job_priority(request: ChangeJobPriorityRequest, _: RequestContext) -> None:
        job_id = await waiting(request.job_id)
        await desk.carry_out(commands.ChangePriority(job_id, request.scheduling_priority))

    return {"HoldJob": hold_job, "ReleaseJob": release_job, "ChangeJobPriority": change_job_priority}
