"""What Batchyard answers beyond AWS: why a job waits, what may be changed of one that does (`job_changes.py`), how shares
stand (`share_operations.py`), and what `instance_operations.py` tells of instances.

`POST /batchyard/v1/<operation>`, JSON in and out, signed like a Batch request. Unmodified clients never call it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchyard.api import instance_operations, job_changes, share_operations
from batchyard.api.batch.desk import Desk
from batchyard.api.errors import client_exception
from batchyard.api.instance_operations import InstanceOperations
from batchyard.api.job_views import JobView
from batchyard.api.service import RequestContext, Service
from batchyard.kernel.identifiers import job_id_of, service_job_id_of, split_node
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.service_jobs import find_service_job
from batchyard.kernel.waiting import Reason, explain
from batchyard.shapes.operation import Operation
from batchyard.store.reading import HistoryLine, history
from batchyard.store.store import Store

END_OF_TIME = 2**62


class WhyJobRequest(msgspec.Struct, kw_only=True, rename="camel"):
    job_id: str


class WhyJobResponse(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """One sentence with the numbers, and every reason there has been so far."""

    job_id: str
    status: str
    reason: str
    code: str | None = None
    preempted_attempt_count: int = 0
    history: list[HistoryLine]


def extension_service(desk: Desk, store: Store) -> Service:
    """The service, ready to be plugged into the endpoint."""
    account, reader = desk.account, desk.reader

    async def why_job(request: WhyJobRequest, _: RequestContext) -> WhyJobResponse:
        job_id = job_id_of(account, service_job_id_of(account, request.job_id))

        def reason(kernel: Kernel) -> Reason | None:
            service_job = find_service_job(kernel.state, job_id)
            found = (service_job, None) if service_job is not None else kernel.state.find(split_node(job_id)[0])
            return explain(kernel.state, *found) if found else None

        waiting: Reason | None = await desk.ask(reason)
        views = await reader.find([job_id])
        service_row = None if views else await reader.service_job(job_id)
        if service_row is not None:
            views = [JobView(service_row)]
        if not views:
            raise client_exception(f"Job {request.job_id} not found.")
        view = views[0]
        row, constant = view.row, view.constant
        lines = await store.read(
            lambda connection: history(
                connection,
                row.seq,
                constant.queue or "",
                row.stopped_at or END_OF_TIME,
                array=row.array_size is not None,
            )
        )
        return WhyJobResponse(
            job_id=job_id,
            status=row.status.name,
            reason=waiting.text if waiting and not row.status.terminal else _ended(view),
            code=waiting.code if waiting else None,
            preempted_attempt_count=row.preempted_attempts,
            history=lines,
        )

    handlers: dict[str, Any] = {
        "WhyJob": why_job,
        **job_changes.handlers(desk),
        **share_operations.handlers(desk),
        **InstanceOperations(desk, store).handlers(),
    }
    why = Operation("WhyJob", "POST", "/batchyard/v1/whyjob", WhyJobRequest, WhyJobResponse)
    return Service(
        name="Batchyard",
        signing_names=("batch", "batchyard"),
        protocol="rest-json",
        operations={
            "WhyJob": why,
            **job_changes.OPERATIONS,
            **share_operations.OPERATIONS,
            **instance_operations.OPERATIONS,
        },
        handlers=handlers,
    )


def _ended(view: JobView) -> str:
    row = view.row
    reason = f": {row.status_reason}" if row.status_reason else ""
    attempts = row.ended_attempts
    last = attempts[-1].container if attempts else None
    exit_code = f" Exit code {last.exit_code}." if last is not None and last.exit_code is not None else ""
    cause = f" {last.reason}." if last is not None and last.reason else ""
    return f"Has ended {row.status.name}{reason}.{exit_code}{cause}"
