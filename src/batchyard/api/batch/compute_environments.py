"""Compute environments."""

from __future__ import annotations

from uuid import uuid4

from batchyard.api.batch.desk import Desk
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, environments
from batchyard.shapes import batch as shapes


class ComputeEnvironments:
    """Handlers of the operations on compute environments."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_compute_environment(
        self, request: shapes.CreateComputeEnvironmentRequest, _: RequestContext
    ) -> shapes.CreateComputeEnvironmentResponse:
        command = commands.CreateComputeEnvironment(request, str(uuid4()))
        answer: shapes.CreateComputeEnvironmentResponse = await self._desk.carry_out(command)
        return answer

    async def update_compute_environment(
        self, request: shapes.UpdateComputeEnvironmentRequest, _: RequestContext
    ) -> shapes.UpdateComputeEnvironmentResponse:
        answer: shapes.UpdateComputeEnvironmentResponse = await self._desk.carry_out(
            commands.UpdateComputeEnvironment(request)
        )
        return answer

    async def delete_compute_environment(
        self, request: shapes.DeleteComputeEnvironmentRequest, _: RequestContext
    ) -> None:
        await self._desk.carry_out(commands.DeleteComputeEnvironment(request.compute_environment))

    async def describe_compute_environments(
        self, request: shapes.DescribeComputeEnvironmentsRequest, _: RequestContext
    ) -> shapes.DescribeComputeEnvironmentsResponse:
        details = await self._desk.ask(
            lambda kernel: {name: record.detail for name, record in kernel.state.environments.items()}
        )
        page, token = self._desk.page_of(
            environments.KIND, details, request.compute_environments, request.max_results, request.next_token
        )
        return shapes.DescribeComputeEnvironmentsResponse(compute_environments=page, next_token=token)
