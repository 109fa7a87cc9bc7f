"""Job queues."""

from __future__ import annotations

from batchyard.api.batch.desk import Desk
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, queues
from batchyard.shapes import batch as shapes


class JobQueues:
    """Handlers of the operations on job queues."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_job_queue(
        self, request: shapes.CreateJobQueueRequest, _: RequestContext
    ) -> shapes.CreateJobQueueResponse:
        answer: shapes.CreateJobQueueResponse = await self._desk.carry_out(commands.CreateJobQueue(request))
        return answer

    async def update_job_queue(
        self, request: shapes.UpdateJobQueueRequest, _: RequestContext
    ) -> shapes.UpdateJobQueueResponse:
        answer: shapes.UpdateJobQueueResponse = await self._desk.carry_out(commands.UpdateJobQueue(request))
        return answer

    async def delete_job_queue(self, request: shapes.DeleteJobQueueRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.DeleteJobQueue(request.job_queue))

    async def describe_job_queues(
        self, request: shapes.DescribeJobQueuesRequest, _: RequestContext
    ) -> shapes.DescribeJobQueuesResponse:
        details = await self._desk.ask(
            lambda kernel: {name: record.detail for name, record in kernel.state.queues.items()}
        )
        page, token = self._desk.page_of(
            queues.KIND, details, request.job_queues, request.max_results, request.next_token
        )
        return shapes.DescribeJobQueuesResponse(job_queues=page, next_token=token)
