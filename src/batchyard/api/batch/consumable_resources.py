"""Consumable resources."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from batchyard.api.batch.desk import Desk, page_size
from batchyard.api.errors import client_exception, validation_failure
from batchyard.api.job_views import JobView
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, consumable_resources
from batchyard.kernel.identifiers import Account
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.records import Status
from batchyard.shapes import batch as shapes

_STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


class ConsumableResources:
    """Handlers of the operations on consumable resources."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_consumable_resource(
        self, request: shapes.CreateConsumableResourceRequest, _: RequestContext
    ) -> shapes.CreateConsumableResourceResponse:
        command = commands.CreateConsumableResource(request, str(uuid4()))
        answer: shapes.CreateConsumableResourceResponse = await self._desk.carry_out(command)
        return answer

    async def update_consumable_resource(
        self, request: shapes.UpdateConsumableResourceRequest, _: RequestContext
    ) -> shapes.UpdateConsumableResourceResponse:
        command = commands.UpdateConsumableResource(request)
        answer: shapes.UpdateConsumableResourceResponse = await self._desk.carry_out(command)
        return answer

    async def delete_consumable_resource(
        self, request: shapes.DeleteConsumableResourceRequest, _: RequestContext
    ) -> None:
        await self._desk.carry_out(commands.DeleteConsumableResource(request.consumable_resource))

    async def describe_consumable_resource(
        self, request: shapes.DescribeConsumableResourceRequest, _: RequestContext
    ) -> shapes.DescribeConsumableResourceResponse:
        account = self._desk.account

        def describe(kernel: Kernel) -> shapes.DescribeConsumableResourceResponse | None:
            resource = consumable_resources.find_resource(kernel.state, request.consumable_resource)
            if resource is None:
                return None
            return shapes.DescribeConsumableResourceResponse(
                consumable_resource_name=resource.name,
                consumable_resource_arn=consumable_resources.arn_of(account, resource.name),
                total_quantity=resource.shown_total,
                in_use_quantity=resource.in_use,
                available_quantity=resource.available,
                resource_type=resource.detail.resource_type,
                created_at=resource.detail.created_at,
                tags=dict(resource.detail.tags or {}),
            )

        found = await self._desk.ask(describe)
        if found is None:
            raise client_exception(f"ConsumableResource {request.consumable_resource} not found.")
        return found

    async def list_consumable_resources(
        self, request: shapes.ListConsumableResourcesRequest, _: RequestContext
    ) -> shapes.ListConsumableResourcesResponse:
        names = _filters(request.filters, "CONSUMABLE_RESOURCE_NAME").get("CONSUMABLE_RESOURCE_NAME", [])
        account = self._desk.account

        def summaries(kernel: Kernel) -> dict[str, shapes.ConsumableResourceSummary]:
            return {
                name: shapes.ConsumableResourceSummary(
                    consumable_resource_arn=consumable_resources.arn_of(account, name),
                    consumable_resource_name=name,
                    total_quantity=resource.shown_total,
                    in_use_quantity=resource.in_use,
                    resource_type=resource.detail.resource_type,
                )
                for name, resource in kernel.state.consumable_resources.items()
                if not names or any(_matches(name, wanted) for wanted in names)
            }

        listing = f"ListConsumableResources {names}"
        page, token = self._desk.page_of(
            listing, await self._desk.ask(summaries), None, request.max_results, request.next_token
        )
        return shapes.ListConsumableResourcesResponse(consumable_resources=page, next_token=token)

    async def list_jobs_by_consumable_resource(
        self, request: shapes.ListJobsByConsumableResourceRequest, _: RequestContext
    ) -> shapes.ListJobsByConsumableResourceResponse:
        given = request.consumable_resource

        def find(kernel: Kernel) -> str | None:
            resource = consumable_resources.find_resource(kernel.state, given)
            return resource.name if resource else None

        name = await self._desk.ask(find)
        if name is None:
            raise client_exception(f"ConsumableResource {given} not found.")
        filters = _filters(request.filters, "JOB_STATUS", "JOB_NAME")
        statuses, names = [_status(text) for text in filters.get("JOB_STATUS", [])], filters.get("JOB_NAME", [])
        limit = page_size(request.max_results)
        listing = f"ListJobsByConsumableResource {name} {statuses} {names}"
        position = self._desk.position(listing, request.next_token)
        found = await self._desk.reader.by_consumable_resource(name, statuses, names, position, limit + 1)
        page = found[:limit]
        details = await self._desk.reader.details([view for view, _ in page])
        return shapes.ListJobsByConsumableResourceResponse(
            jobs=[_summary(view, quantity, details[view.row.seq], self._desk.account) for view, quantity in page],
            next_token=self._desk.seal(listing, page[-1][0].row.seq) if len(found) > limit else None,
        )


def _filters(filters: Sequence[shapes.KeyValuesPair] | None, *known: str) -> dict[str, list[str]]:
    """Values by filter name; a filter without values counts as none. Raises `ApiError` for a filter of another name."""
    found: dict[str, list[str]] = {}
    for entry in filters or ():
        if not entry.name:
            continue
        if entry.name not in known:
            raise validation_failure(f"Filter {entry.name} is not one of {', '.join(known)}")
        if entry.name in found:
            raise validation_failure(f"Filter {entry.name} can only be used once")
        found[entry.name] = list(entry.values or ())
    return found


def _matches(name: str, wanted: str) -> bool:
    if wanted.endswith("*"):
        return name.lower().startswith(wanted[:-1].lower())
    return name.lower() == wanted.lower()


def _status(text: str) -> Status:
    if text not in _STATUSES:
        raise validation_failure(f"Filter JOB_STATUS must be one of {', '.join(_STATUSES)}, got {text!r}")
    return Status[text]


def _summary(
    view: JobView, quantity: int, detail: shapes.JobDetail, account: Account
) -> shapes.ListJobsByConsumableResourceSummary:
    row = view.row
    return shapes.ListJobsByConsumableResourceSummary(
        job_arn=account.arn(f"job/{view.id}"),
        job_queue_arn=detail.job_queue,
        job_name=row.name,
        job_definition_arn=row.definition,
        share_identifier=row.share,
        job_status=row.status.name,
        quantity=quantity,
        status_reason=row.status_reason,
        started_at=row.started_at,
        created_at=row.created_at,
        consumable_resource_properties=detail.consumable_resource_properties or _of_nodes(detail),
    )


def _of_nodes(detail: shapes.JobDetail) -> shapes.ConsumableResourceProperties:
    """What the groups of a multi-node parallel job ask for: the model requires the member, and the job has none itself."""
    groups = detail.node_properties.node_range_properties if detail.node_properties else []
    asked = [group.consumable_resource_properties for group in groups if group.consumable_resource_properties]
    return shapes.ConsumableResourceProperties(
        consumable_resource_list=[entry for each in asked for entry in each.consumable_resource_list or ()]
    )
