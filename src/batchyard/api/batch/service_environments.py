"""Service environments."""

from __future__ import annotations

from batchyard.api.batch.desk import Desk
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, service_environments
from batchyard.shapes import batch as shapes


class ServiceEnvironments:
    """Handlers of the operations on service environments."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_service_environment(
        self, request: shapes.CreateServiceEnvironmentRequest, _: RequestContext
    ) -> shapes.CreateServiceEnvironmentResponse:
        answer: shapes.CreateServiceEnvironmentResponse = await self._desk.carry_out(
            commands.CreateServiceEnvironment(request)
        )
        return answer

    async def update_service_environment(
        self, request: shapes.UpdateServiceEnvironmentRequest, _: RequestContext
    ) -> shapes.UpdateServiceEnvironmentResponse:
        answer: shapes.UpdateServiceEnvironmentResponse = await self._desk.carry_out(
            commands.UpdateServiceEnvironment(request)
        )
        return answer

    async def delete_service_environment(
        self, request: shapes.DeleteServiceEnvironmentRequest, _: RequestContext
    ) -> None:
        await self._desk.carry_out(commands.DeleteServiceEnvironment(request.service_environment))

    async def describe_service_environments(
        self, request: shapes.DescribeServiceEnvironmentsRequest, _: RequestContext
    ) -> shapes.DescribeServiceEnvironmentsResponse:
        details = await self._desk.ask(
            lambda kernel: {name: record.detail for name, record in kernel.state.service_environments.items()}
        )
        page, token = self._desk.page_of(
            service_environments.KIND, details, request.service_environments, request.max_results, request.next_token
        )
        return shapes.DescribeServiceEnvironmentsResponse(service_environments=page, next_token=token)
