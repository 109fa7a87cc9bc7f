"""Jobs: submitting, describing, listing, ending."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from batchyard.api.batch.bulk import end_each
from batchyard.api.batch.desk import MAXIMUM_PAGE, Desk, page_size
from batchyard.api.errors import validation_failure
from batchyard.api.job_views import JobView, job_detail, job_summary
from batchyard.api.service import RequestContext
from batchyard.kernel import commands
from batchyard.kernel.identifiers import job_id_of
from batchyard.kernel.records import Kind, Status
from batchyard.shapes import batch as shapes
from batchyard.store.reading import JobFilter

MAXIMUM_JOB_PAGE = 1000


class Jobs:
    """Handlers of the operations on jobs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def submit_job(self, request: shapes.SubmitJobRequest, context: RequestContext) -> shapes.SubmitJobResponse:
        command = commands.SubmitJob(request=request, job_id=str(uuid4()), size=context.body_size)
        answer: shapes.SubmitJobResponse = await self._desk.carry_out(command)
        return answer

    async def describe_jobs(
        self, request: shapes.DescribeJobsRequest, _: RequestContext
    ) -> shapes.DescribeJobsResponse:
        if len(request.jobs) > MAXIMUM_PAGE:
            raise validation_failure("Maximum number of jobs supported is  100")
        views = await self._desk.reader.find([job_id_of(self._desk.account, job_id) for job_id in request.jobs])
        details = await self._desk.reader.details(views)
        return shapes.DescribeJobsResponse(
            jobs=[job_detail(view, details[view.constant.seq], self._desk.account) for view in views]
        )

    async def list_jobs(self, request: shapes.ListJobsRequest, _: RequestContext) -> shapes.ListJobsResponse:
        given = [name for name in ("job_queue", "array_job_id", "multi_node_job_id") if getattr(request, name)]
        if len(given) != 1:
            raise validation_failure("Exactly one of jobQueue, arrayJobId and multiNodeJobId must be given")
        filters = [entry for entry in request.filters or () if entry.name]
        limit = page_size(request.max_results, MAXIMUM_PAGE if filters else MAXIMUM_JOB_PAGE)
        if request.job_queue:
            return await self._list_queue(request.job_queue, request, filters, limit)
        if filters:
            raise validation_failure("filters can only be used with jobQueue")
        if request.array_job_id:
            return await self._list_children(request.array_job_id, request, limit)
        return await self._list_nodes(request.multi_node_job_id or "", request, limit)

    async def _list_queue(
        self, queue: str, request: shapes.ListJobsRequest, filters: Sequence[shapes.KeyValuesPair], limit: int
    ) -> shapes.ListJobsResponse:
        name = await self._desk.queue_name(queue)
        wanted = job_filter(name, request.job_status, filters)
        listing = f"ListJobs {wanted}"
        position = self._desk.position(listing, request.next_token)
        views = await self._desk.reader.in_queue(wanted, position, limit + 1)
        more = len(views) > limit
        return shapes.ListJobsResponse(
            job_summary_list=await self._summaries(views[:limit]),
            next_token=self._desk.seal(listing, views[limit - 1].row.seq) if more else None,
        )

    async def _list_children(
        self, array_job_id: str, request: shapes.ListJobsRequest, limit: int
    ) -> shapes.ListJobsResponse:
        parent_id = job_id_of(self._desk.account, array_job_id)
        status = Status[request.job_status or "RUNNING"]
        listing = f"ListJobs {parent_id} {status.name}"
        position = self._desk.position(listing, request.next_token)
        views = await self._desk.reader.children_of(parent_id, status, position or 0, limit + 1) or []
        more = len(views) > limit
        return shapes.ListJobsResponse(
            job_summary_list=await self._summaries(views[:limit]),
            next_token=self._desk.seal(listing, views[limit].row.child_index) if more else None,
        )

    async def _list_nodes(
        self, multi_node_job_id: str, request: shapes.ListJobsRequest, limit: int
    ) -> shapes.ListJobsResponse:
        parent_id = job_id_of(self._desk.account, multi_node_job_id)
        status = Status[request.job_status or "RUNNING"]
        listing = f"ListJobs nodes of {parent_id} {status.name}"
        position = self._desk.position(listing, request.next_token)
        views = await self._desk.reader.nodes_of(parent_id, status, position or 0, limit + 1)
        more = len(views) > limit
        return shapes.ListJobsResponse(
            job_summary_list=await self._summaries(views[:limit]),
            next_token=self._desk.seal(listing, views[limit].node) if more else None,
        )

    async def _summaries(self, views: Sequence[JobView]) -> list[shapes.JobSummary]:
        scheduled = await self._desk.reader.scheduled_at(views)
        parallel = [view for view in views if view.constant.kind == Kind.MULTI_NODE]
        details = await self._desk.reader.details(parallel) if parallel else {}
        return [
            job_summary(view, self._desk.account, scheduled.get(view.row.seq), details.get(view.constant.seq))
            for view in views
        ]

    async def cancel_job(self, request: shapes.CancelJobRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.CancelJob(request.job_id, request.reason))

    async def terminate_job(self, request: shapes.TerminateJobRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.TerminateJob(request.job_id, request.reason))

    async def cancel_jobs(self, request: shapes.CancelJobsRequest, _: RequestContext) -> shapes.CancelJobsResponse:
        ids, failures = await end_each(self._desk, request.jobs, request.reason, commands.CancelJob)
        errors = [shapes.CancelJobsErrorDetail(job=job, code=code, message=text) for job, code, text in failures]
        return shapes.CancelJobsResponse(successful=ids, errors=errors)

    async def terminate_jobs(
        self, request: shapes.TerminateJobsRequest, _: RequestContext
    ) -> shapes.TerminateJobsResponse:
        ids, failures = await end_each(self._desk, request.jobs, request.reason, commands.TerminateJob)
        errors = [shapes.TerminateJobsErrorDetail(job=job, code=code, message=text) for job, code, text in failures]
        return shapes.TerminateJobsResponse(successful=ids, errors=errors)


def job_filter(
    queue: str, status: str | None, filters: Sequence[shapes.KeyValuesPair], *, service: bool = False
) -> JobFilter:
    """What `jobStatus` and `filters` ask for. Raises `ApiError`."""
    if not filters:
        return JobFilter(queue=queue, status=Status[status or "RUNNING"], service=service)
    if len(filters) > 1:
        raise validation_failure("Only one filter can be used at a time")
    name, values = filters[0].name, filters[0].values or []
    if len(values) != 1:
        raise validation_failure(f"Filter {name} must have exactly one value")
    value = values[0]
    match name:
        case "JOB_NAME":
            return JobFilter(queue=queue, name=value, service=service)
        case "JOB_DEFINITION":
            return JobFilter(queue=queue, definition=value)
        case "BEFORE_CREATED_AT":
            return JobFilter(queue=queue, created_before=_milliseconds(name, value), service=service)
        case "AFTER_CREATED_AT":
            return JobFilter(queue=queue, created_after=_milliseconds(name, value), service=service)
        case "SHARE_IDENTIFIER":
            return JobFilter(queue=queue, status=Status[status] if status else None, share=value, service=service)
    raise validation_failure(
        f"Filter {name} is not one of JOB_NAME, JOB_DEFINITION, BEFORE_CREATED_AT, AFTER_CREATED_AT, SHARE_IDENTIFIER"
    )


def _milliseconds(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise validation_failure(f"Filter {name} must be a number of milliseconds since the epoch, got {value!r}")
    return int(value)
