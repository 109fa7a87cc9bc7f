"""Quota shares."""

from __future__ import annotations

from batchyard.api.batch.desk import Desk
from batchyard.api.errors import client_exception
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, quota_shares
from batchyard.kernel.kernel import Kernel
from batchyard.shapes import batch as shapes


class QuotaShares:
    """Handlers of the operations on quota shares."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_quota_share(
        self, request: shapes.CreateQuotaShareRequest, _: RequestContext
    ) -> shapes.CreateQuotaShareResponse:
        answer: shapes.CreateQuotaShareResponse = await self._desk.carry_out(commands.CreateQuotaShare(request))
        return answer

    async def update_quota_share(
        self, request: shapes.UpdateQuotaShareRequest, _: RequestContext
    ) -> shapes.UpdateQuotaShareResponse:
        answer: shapes.UpdateQuotaShareResponse = await self._desk.carry_out(commands.UpdateQuotaShare(request))
        return answer

    async def delete_quota_share(self, request: shapes.DeleteQuotaShareRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.DeleteQuotaShare(request.quota_share_arn))

    async def describe_quota_share(
        self, request: shapes.DescribeQuotaShareRequest, _: RequestContext
    ) -> shapes.DescribeQuotaShareResponse:
        arn = request.quota_share_arn
        share = await self._desk.ask(lambda kernel: quota_shares.find_share(kernel.state, arn))
        if share is None:
            raise client_exception(f"QuotaShare {arn} not found.")
        return share.detail

    async def list_quota_shares(
        self, request: shapes.ListQuotaSharesRequest, _: RequestContext
    ) -> shapes.ListQuotaSharesResponse:
        queue = await self._desk.queue_name(request.job_queue)

        def look(kernel: Kernel) -> dict[str, shapes.QuotaShareDetail]:
            shares = kernel.state.queues[queue].quota_shares if queue in kernel.state.queues else {}
            return {name: _entry(share.detail) for name, share in shares.items()}

        page, token = self._desk.page_of(
            f"{quota_shares.KIND} {queue}",
            await self._desk.ask(look),
            None,
            request.max_results,
            request.next_token,
        )
        return shapes.ListQuotaSharesResponse(quota_shares=page, next_token=token)


def _entry(detail: shapes.DescribeQuotaShareResponse) -> shapes.QuotaShareDetail:
    """A share in a list: all but its tags."""
    return shapes.QuotaShareDetail(
        **{each: getattr(detail, each) for each in shapes.QuotaShareDetail.__struct_fields__}
    )
