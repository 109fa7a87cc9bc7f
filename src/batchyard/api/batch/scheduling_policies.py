"""Scheduling policies."""

from __future__ import annotations

from batchyard.api.batch.desk import MAXIMUM_PAGE, Desk
from batchyard.api.errors import validation_failure
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, scheduling_policies
from batchyard.shapes import batch as shapes


class SchedulingPolicies:
    """Handlers of the operations on scheduling policies."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_scheduling_policy(
        self, request: shapes.CreateSchedulingPolicyRequest, _: RequestContext
    ) -> shapes.CreateSchedulingPolicyResponse:
        command = commands.CreateSchedulingPolicy(request)
        answer: shapes.CreateSchedulingPolicyResponse = await self._desk.carry_out(command)
        return answer

    async def update_scheduling_policy(self, request: shapes.UpdateSchedulingPolicyRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.UpdateSchedulingPolicy(request))

    async def delete_scheduling_policy(self, request: shapes.DeleteSchedulingPolicyRequest, _: RequestContext) -> None:
        await self._desk.carry_out(commands.DeleteSchedulingPolicy(request.arn))

    async def describe_scheduling_policies(
        self, request: shapes.DescribeSchedulingPoliciesRequest, _: RequestContext
    ) -> shapes.DescribeSchedulingPoliciesResponse:
        arns = request.arns
        if len(arns) > MAXIMUM_PAGE:
            raise validation_failure(f"arns can have at most {MAXIMUM_PAGE} entries, got {len(arns)}")
        found = await self._desk.ask(
            lambda kernel: [scheduling_policies.find_policy(kernel.state, arn) for arn in dict.fromkeys(arns)]
        )
        return shapes.DescribeSchedulingPoliciesResponse(
            scheduling_policies=[policy for policy in found if policy is not None]
        )

    async def list_scheduling_policies(
        self, request: shapes.ListSchedulingPoliciesRequest, _: RequestContext
    ) -> shapes.ListSchedulingPoliciesResponse:
        policies = await self._desk.ask(lambda kernel: dict(kernel.state.scheduling_policies))
        page, token = self._desk.page_of(
            scheduling_policies.KIND, policies, None, request.max_results, request.next_token
        )
        return shapes.ListSchedulingPoliciesResponse(
            scheduling_policies=[shapes.SchedulingPolicyListingDetail(arn=policy.arn) for policy in page],
            next_token=token,
        )
