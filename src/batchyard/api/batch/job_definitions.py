"""Job definitions."""

from __future__ import annotations

from collections.abc import Iterable

from batchyard.api.batch.desk import MAXIMUM_PAGE, Desk, page_size
from batchyard.api.errors import validation_failure
from batchyard.api.service import RequestContext
from batchyard.kernel import commands, definition_registry
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.state import decode_definition
from batchyard.shapes import batch as shapes


class JobDefinitions:
    """Handlers of the operations on job definitions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def register_job_definition(
        self, request: shapes.RegisterJobDefinitionRequest, context: RequestContext
    ) -> shapes.RegisterJobDefinitionResponse:
        command = commands.RegisterJobDefinition(request, context.body_size)
        answer: shapes.RegisterJobDefinitionResponse = await self._desk.carry_out(command)
        return answer

    async def deregister_job_definition(
        self, request: shapes.DeregisterJobDefinitionRequest, _: RequestContext
    ) -> None:
        await self._desk.carry_out(commands.DeregisterJobDefinition(request.job_definition))

    async def describe_job_definitions(
        self, request: shapes.DescribeJobDefinitionsRequest, _: RequestContext
    ) -> shapes.DescribeJobDefinitionsResponse:
        if request.job_definitions:
            named = request.job_definitions
            if request.job_definition_name or request.status:
                raise validation_failure("jobDefinitions cannot be combined with jobDefinitionName or status")
            if len(named) > MAXIMUM_PAGE:
                raise validation_failure(f"Maximum number of job definitions supported is {MAXIMUM_PAGE}")
            found = await self._desk.ask(lambda kernel: [*_definitions_named(kernel, named)])
            return shapes.DescribeJobDefinitionsResponse(job_definitions=found)
        if request.status and request.status not in ("ACTIVE", "INACTIVE"):
            raise validation_failure(f"status must be ACTIVE or INACTIVE, got {request.status}")
        name, status = request.job_definition_name or None, request.status or None
        listing = f"DescribeJobDefinitions {name} {status}"
        after = self._desk.position(listing, request.next_token)
        limit = page_size(request.max_results)
        page = await self._desk.ask(lambda kernel: _definition_page(kernel, name, status, after, limit + 1))
        token = None
        if len(page) > limit:
            last = page[limit - 1]
            token = self._desk.seal(listing, [last.job_definition_name, last.revision])
        return shapes.DescribeJobDefinitionsResponse(job_definitions=page[:limit], next_token=token)


def _definitions_named(kernel: Kernel, named: Iterable[str]) -> Iterable[shapes.JobDefinition]:
    for text in dict.fromkeys(named):
        name, revision = definition_registry.split(kernel.state, text)
        family = kernel.state.definitions.get(name)
        if family is None:
            continue
        chosen = max(family.active, default=None) if revision is None else revision
        if chosen in family.revisions:
            yield decode_definition(family.revisions[chosen])


def _definition_page(
    kernel: Kernel, name: str | None, status: str | None, after: tuple[str, int] | None, limit: int
) -> list[shapes.JobDefinition]:
    """Definitions by name, the newest revision of each first, from the one that follows `after` (name and revision)."""
    after_name, after_revision = after or ("", 0)
    definitions = kernel.state.definitions
    names = [name] if name is not None else sorted(definitions)
    page: list[shapes.JobDefinition] = []
    for each in names:
        family = definitions.get(each)
        if family is None or (after and each < after_name):
            continue
        for revision in sorted(family.revisions, reverse=True):
            if after and each == after_name and revision >= after_revision:
                continue
            if status is not None and (revision in family.active) != (status == "ACTIVE"):
                continue
            page.append(decode_definition(family.revisions[revision]))
            if len(page) == limit:
                return page
    return page
