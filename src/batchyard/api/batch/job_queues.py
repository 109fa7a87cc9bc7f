"""Job queues."""

from __future__ import annotations

import time

from batchyard.api.batch.desk import Desk
from batchyard.api.errors import client_exception
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, queue_snapshot, queues
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.scheduling_policies import policy_of
from batchyard.shapes import batch as shapes

Front = list[queue_snapshot.AtTheFront]


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

    async def get_job_queue_snapshot(
        self, request: shapes.GetJobQueueSnapshotRequest, _: RequestContext
    ) -> shapes.GetJobQueueSnapshotResponse:
        now = time.time_ns() // 1_000_000
        account = self._desk.account

        def look(
            kernel: Kernel,
        ) -> tuple[Front, dict[str, queue_snapshot.AtTheFront] | None, shapes.QueueSnapshotUtilizationDetail] | None:
            queue = queues.find_queue(kernel.state, request.job_queue)
            if queue is None:
                return None
            policy = policy_of(kernel.state, queue)
            quota = policy is not None and policy.quota_share_policy is not None
            return (
                queue_snapshot.front_of_queue(queue, account, now),
                queue_snapshot.front_of_shares(queue, account) if quota else None,
                queue_snapshot.utilization(kernel.state, queue, now),
            )

        seen = await self._desk.ask(look)
        if seen is None:
            raise client_exception(f"JobQueue {request.job_queue} not found.")
        front, front_of_shares, utilization = seen
        in_shares = (front_of_shares or {}).values()
        since = await self._desk.reader.waiting_since(sorted({job.seq for job in (*front, *in_shares)}))
        jobs = [
            shapes.FrontOfQueueJobSummary(
                job_arn=job.arn, earliest_time_at_position=max(job.moved_at, since.get(job.seq, 0))
            )
            for job in front
        ]
        return shapes.GetJobQueueSnapshotResponse(
            front_of_queue=shapes.FrontOfQueueDetail(jobs=jobs, last_updated_at=now),
            front_of_quota_shares=_front_of_shares(front_of_shares, since, now),
            queue_utilization=utilization,
        )


def _front_of_shares(
    front: dict[str, queue_snapshot.AtTheFront] | None, since: dict[int, int], now: int
) -> shapes.FrontOfQuotaSharesDetail | None:
    """None for a queue without quota shares."""
    if front is None:
        return None
    summaries = {
        name: [
            shapes.FrontOfQuotaShareJobSummary(
                job_arn=job.arn, earliest_time_at_position=max(job.moved_at, since.get(job.seq, 0))
            )
        ]
        for name, job in front.items()
    }
    return shapes.FrontOfQuotaSharesDetail(quota_shares=summaries, last_updated_at=now)
