"""Tags of whatever an ARN names."""

from __future__ import annotations

import asyncio

from batchyard.api.batch.desk import Desk
from batchyard.api.errors import client_exception
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, tagging
from batchyard.kernel.identifiers import service_job_id_of
from batchyard.shapes import batch as shapes


class Tags:
    """Handlers of the tag operations."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._changing = asyncio.Lock()
        """Held from reading a job's tags to the commit of their change: of two changes at once, neither is lost."""

    async def list_tags_for_resource(
        self, request: shapes.ListTagsForResourceRequest, _: RequestContext
    ) -> shapes.ListTagsForResourceResponse:
        job = await self._tagged_job(request.resource_arn)
        tags = (
            job[1] if job else await self._desk.ask(lambda kernel: tagging.tags_of(kernel.state, request.resource_arn))
        )
        return shapes.ListTagsForResourceResponse(tags=tags)

    async def tag_resource(self, request: shapes.TagResourceRequest, _: RequestContext) -> None:
        async with self._changing:
            job = await self._tagged_job(request.resource_arn)
            await self._desk.carry_out(commands.ChangeTags(arn=request.resource_arn, add=request.tags, job=job))

    async def untag_resource(self, request: shapes.UntagResourceRequest, _: RequestContext) -> None:
        async with self._changing:
            job = await self._tagged_job(request.resource_arn)
            await self._desk.carry_out(commands.ChangeTags(arn=request.resource_arn, remove=request.tag_keys, job=job))

    async def _tagged_job(self, arn: str) -> tuple[int, dict[str, str]] | None:
        """A job's seq and tags, when the ARN is one of a job. Raises `ApiError` for an unknown job, or a child."""
        if arn.startswith(self._desk.account.arn("service-job/")):
            return await self._tagged_service_job(arn)
        job_id = self._desk.account.name_of("job", arn) if arn.startswith("arn:") else None
        if job_id is None:
            return None
        if ":" in job_id or "#" in job_id:
            raise client_exception("Tags cannot be used on array children and nodes; use the parent job.")
        views = await self._desk.reader.find([job_id])
        if not views:
            raise client_exception(f"Resource {arn} not found.")
        details = await self._desk.reader.details(views)
        seq = views[0].row.seq
        return seq, details[seq].tags or {}

    async def _tagged_service_job(self, arn: str) -> tuple[int, dict[str, str]]:
        row = await self._desk.reader.service_job(service_job_id_of(self._desk.account, arn))
        if row is None:
            raise client_exception(f"Resource {arn} not found.")
        return row.seq, (await self._desk.reader.service_job_detail(row.seq)).tags or {}
