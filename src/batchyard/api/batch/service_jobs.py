"""Service jobs: submitting, describing, listing, changing, ending."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from batchyard.api.batch.bulk import end_each
from batchyard.api.batch.desk import Desk, page_size
from batchyard.api.batch.jobs import job_filter
from batchyard.api.errors import client_exception, validation_failure
from batchyard.api.service import RequestContext
from batchyard.api.service_job_views import service_job_detail, service_job_summary
from batchyard.kernel import commands
from batchyard.kernel.identifiers import service_job_id_of
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.records import Status
from batchyard.kernel.service_placement import NUM_INSTANCES, environment_of, unit_of
from batchyard.kernel.stored import StoredJob
from batchyard.shapes import batch as shapes
from batchyard.store.reading import JobFilter


class ServiceJobs:
    """Handlers of the operations on service jobs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def submit_service_job(
        self, request: shapes.SubmitServiceJobRequest, context: RequestContext
    ) -> shapes.SubmitServiceJobResponse:
        command = commands.SubmitServiceJob(request=request, job_id=str(uuid4()), size=context.body_size)
        answer: shapes.SubmitServiceJobResponse = await self._desk.carry_out(command)
        return answer

    async def describe_service_job(
        self, request: shapes.DescribeServiceJobRequest, _: RequestContext
    ) -> shapes.DescribeServiceJobResponse:
        job_id = service_job_id_of(self._desk.account, request.job_id)
        row = await self._desk.reader.service_job(job_id)
        if row is None:
            raise client_exception(f"Service job {request.job_id} not found.")
        detail = await self._desk.reader.service_job_detail(row.seq)
        [unit] = await self._units([row])
        return service_job_detail(row, detail, unit, self._desk.account)

    async def list_service_jobs(
        self, request: shapes.ListServiceJobsRequest, _: RequestContext
    ) -> shapes.ListServiceJobsResponse:
        if not request.job_queue:
            raise validation_failure("jobQueue must be given")
        queue = await self._desk.queue_name(request.job_queue)
        filters = [entry for entry in request.filters or () if entry.name]
        wanted = _service_job_filter(queue, request.job_status, filters)
        limit = page_size(request.max_results)
        listing = f"ListServiceJobs {wanted}"
        position = self._desk.position(listing, request.next_token)
        views = await self._desk.reader.in_queue(wanted, position, limit + 1)
        rows = [view.row for view in views[:limit]]
        units = await self._units(rows)
        return shapes.ListServiceJobsResponse(
            job_summary_list=[
                service_job_summary(row, unit, self._desk.account) for row, unit in zip(rows, units, strict=True)
            ],
            next_token=self._desk.seal(listing, rows[-1].seq) if len(views) > limit else None,
        )

    async def update_service_job(
        self, request: shapes.UpdateServiceJobRequest, _: RequestContext
    ) -> shapes.UpdateServiceJobResponse:
        command = commands.UpdateServiceJob(request.job_id, request.scheduling_priority)
        answer: shapes.UpdateServiceJobResponse = await self._desk.carry_out(command)
        return answer

    async def terminate_service_job(self, request: shapes.TerminateServiceJobRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.TerminateServiceJob(request.job_id, request.reason))

    async def terminate_service_jobs(
        self, request: shapes.TerminateServiceJobsRequest, _: RequestContext
    ) -> shapes.TerminateServiceJobsResponse:
        ids, failures = await end_each(self._desk, request.jobs, request.reason, commands.TerminateServiceJob)
        errors = [
            shapes.TerminateServiceJobsErrorDetail(job=job, code=code, message=text) for job, code, text in failures
        ]
        return shapes.TerminateServiceJobsResponse(successful=ids, errors=errors)

    async def _units(self, rows: Sequence[StoredJob]) -> list[str]:
        """What the capacity of each job is counted in: that is for its queue's service environment to say."""
        asked = [(row.queue or "", row.service.instance_type if row.service else "") for row in rows]

        def units(kernel: Kernel) -> list[str]:
            found = []
            for name, instance_type in asked:
                queue = kernel.state.queues.get(name)
                environment = environment_of(kernel.state, queue) if queue is not None else None
                found.append(unit_of(environment, instance_type) if environment is not None else NUM_INSTANCES)
            return found

        return await self._desk.ask(units)


def _service_job_filter(queue: str, status: str | None, filters: Sequence[shapes.KeyValuesPair]) -> JobFilter:
    if len(filters) == 1 and filters[0].name == "QUOTA_SHARE_NAME":
        values = filters[0].values or []
        if len(values) != 1:
            raise validation_failure("Filter QUOTA_SHARE_NAME must have exactly one value")
        return JobFilter(queue=queue, status=Status[status] if status else None, share=values[0], service=True)
    if len(filters) == 1 and filters[0].name == "JOB_DEFINITION":
        raise validation_failure("Filter JOB_DEFINITION cannot be used with service jobs")
    return job_filter(queue, status, filters, service=True)
