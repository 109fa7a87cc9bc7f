"""AWS Batch: the handlers of its operations.

Each decodes nothing and decides nothing: what changes something becomes a command for the control loop, what asks is
read from the store or from the kernel. Rules and texts stand in the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from batchyard.api.errors import ApiError, client_exception, validation_failure
from batchyard.api.job_reader import JobReader
from batchyard.api.job_views import job_detail, job_summary
from batchyard.api.service import RequestContext, Service
from batchyard.api.tokens import InvalidTokenError, TokenSealer
from batchyard.control import ControlLoop, Unavailable
from batchyard.kernel import commands
from batchyard.kernel.identifiers import Account, job_id_of
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.records import Status
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import decode_definition
from batchyard.shapes import batch as shapes
from batchyard.store.reading import JobFilter
from batchyard.store.store import Store

T = TypeVar("T")

MAXIMUM_PAGE = 100
MAXIMUM_JOB_PAGE = 1000


def batch_service(control: ControlLoop, store: Store, account: Account, tokens: TokenSealer) -> Service:
    """The service, ready to be plugged into the endpoint."""
    batch = Batch(control, store, account, tokens)
    return Service(
        name="AWS Batch",
        signing_names=("batch",),
        protocol="rest-json",
        operations=shapes.OPERATIONS,
        handlers={
            "SubmitJob": batch.submit_job,
            "DescribeJobs": batch.describe_jobs,
            "ListJobs": batch.list_jobs,
            "CancelJob": batch.cancel_job,
            "TerminateJob": batch.terminate_job,
            "RegisterJobDefinition": batch.register_job_definition,
            "DeregisterJobDefinition": batch.deregister_job_definition,
            "DescribeJobDefinitions": batch.describe_job_definitions,
            "CreateComputeEnvironment": batch.create_compute_environment,
            "UpdateComputeEnvironment": batch.update_compute_environment,
            "DeleteComputeEnvironment": batch.delete_compute_environment,
            "DescribeComputeEnvironments": batch.describe_compute_environments,
            "CreateJobQueue": batch.create_job_queue,
            "UpdateJobQueue": batch.update_job_queue,
            "DeleteJobQueue": batch.delete_job_queue,
            "DescribeJobQueues": batch.describe_job_queues,
            "ListTagsForResource": batch.list_tags,
            "TagResource": batch.tag_resource,
            "UntagResource": batch.untag_resource,
        },
    )


class Batch:
    """The handlers; see the module's text."""

    def __init__(self, control: ControlLoop, store: Store, account: Account, tokens: TokenSealer) -> None:
        self._control = control
        self._account = account
        self._tokens = tokens
        self._reader = JobReader(control, store)

    # --- jobs

    async def submit_job(self, request: shapes.SubmitJobRequest, context: RequestContext) -> shapes.SubmitJobResponse:
        command = commands.SubmitJob(request=request, job_id=str(uuid4()), size=context.body_size)
        answer: shapes.SubmitJobResponse = await self._carry_out(command)
        return answer

    async def describe_jobs(
        self, request: shapes.DescribeJobsRequest, _: RequestContext
    ) -> shapes.DescribeJobsResponse:
        if len(request.jobs) > MAXIMUM_PAGE:
            raise validation_failure("Maximum number of jobs supported is  100")
        views = await self._reader.find([job_id_of(self._account, job_id) for job_id in request.jobs])
        details = await self._reader.details(views)
        return shapes.DescribeJobsResponse(
            jobs=[job_detail(view, details[view.constant.seq], self._account) for view in views]
        )

    async def list_jobs(self, request: shapes.ListJobsRequest, _: RequestContext) -> shapes.ListJobsResponse:
        given = [name for name in ("job_queue", "array_job_id", "multi_node_job_id") if getattr(request, name)]
        if len(given) != 1:
            raise validation_failure("Exactly one of jobQueue, arrayJobId and multiNodeJobId must be given")
        filters = [entry for entry in request.filters or () if entry.name]
        limit = page_size(request.max_results, MAXIMUM_PAGE if filters else MAXIMUM_JOB_PAGE)
        if request.job_queue:
            return await self._list_queue(request.job_queue, request, filters, limit)
        if filters:
            raise validation_failure("filters can only be used with jobQueue")
        return await self._list_children(request, limit)

    async def _list_queue(
        self, queue: str, request: shapes.ListJobsRequest, filters: Sequence[shapes.KeyValuesPair], limit: int
    ) -> shapes.ListJobsResponse:
        name = await self._queue_name(queue)
        wanted = _job_filter(name, request.job_status, filters)
        listing = f"ListJobs {wanted}"
        position = self._position(listing, request.next_token)
        views = await self._reader.in_queue(wanted, position, limit + 1)
        more = len(views) > limit
        return shapes.ListJobsResponse(
            job_summary_list=[job_summary(view, self._account) for view in views[:limit]],
            next_token=self._tokens.seal(listing, views[limit - 1].row.seq) if more else None,
        )

    async def _list_children(self, request: shapes.ListJobsRequest, limit: int) -> shapes.ListJobsResponse:
        parent_id = job_id_of(self._account, request.array_job_id or request.multi_node_job_id or "")
        status = Status[request.job_status or "RUNNING"]
        listing = f"ListJobs {parent_id} {status.name}"
        position = self._position(listing, request.next_token)
        views = []
        if request.array_job_id:
            views = await self._reader.children_of(parent_id, status, position or 0, limit + 1) or []
        more = len(views) > limit
        return shapes.ListJobsResponse(
            job_summary_list=[job_summary(view, self._account) for view in views[:limit]],
            next_token=self._tokens.seal(listing, views[limit].row.child_index) if more else None,
        )

    async def cancel_job(self, request: shapes.CancelJobRequest, _: RequestContext) -> None:
        await self._carry_out(commands.CancelJob(request.job_id, request.reason))

    async def terminate_job(self, request: shapes.TerminateJobRequest, _: RequestContext) -> None:
        await self._carry_out(commands.TerminateJob(request.job_id, request.reason))

    # --- job definitions

    async def register_job_definition(
        self, request: shapes.RegisterJobDefinitionRequest, context: RequestContext
    ) -> shapes.RegisterJobDefinitionResponse:
        command = commands.RegisterJobDefinition(request, context.body_size)
        answer: shapes.RegisterJobDefinitionResponse = await self._carry_out(command)
        return answer

    async def deregister_job_definition(
        self, request: shapes.DeregisterJobDefinitionRequest, _: RequestContext
    ) -> None:
        await self._carry_out(commands.DeregisterJobDefinition(request.job_definition))

    async def describe_job_definitions(
        self, request: shapes.DescribeJobDefinitionsRequest, _: RequestContext
    ) -> shapes.DescribeJobDefinitionsResponse:
        if request.job_definitions:
            named = request.job_definitions
            if request.job_definition_name or request.status:
                raise validation_failure("jobDefinitions cannot be combined with jobDefinitionName or status")
            if len(named) > MAXIMUM_PAGE:
                raise validation_failure(f"Maximum number of job definitions supported is {MAXIMUM_PAGE}")
            found = await self._ask(lambda kernel: [*_definitions_named(kernel, named)])
            return shapes.DescribeJobDefinitionsResponse(job_definitions=found)
        if request.status and request.status not in ("ACTIVE", "INACTIVE"):
            raise validation_failure(f"status must be ACTIVE or INACTIVE, got {request.status}")
        name, status = request.job_definition_name or None, request.status or None
        listing = f"DescribeJobDefinitions {name} {status}"
        after = self._position(listing, request.next_token)
        limit = page_size(request.max_results)
        page = await self._ask(lambda kernel: _definition_page(kernel, name, status, after, limit + 1))
        token = None
        if len(page) > limit:
            last = page[limit - 1]
            token = self._tokens.seal(listing, [last.job_definition_name, last.revision])
        return shapes.DescribeJobDefinitionsResponse(job_definitions=page[:limit], next_token=token)

    # --- compute environments

    async def create_compute_environment(
        self, request: shapes.CreateComputeEnvironmentRequest, _: RequestContext
    ) -> shapes.CreateComputeEnvironmentResponse:
        command = commands.CreateComputeEnvironment(request, str(uuid4()))
        answer: shapes.CreateComputeEnvironmentResponse = await self._carry_out(command)
        return answer

    async def update_compute_environment(
        self, request: shapes.UpdateComputeEnvironmentRequest, _: RequestContext
    ) -> shapes.UpdateComputeEnvironmentResponse:
        answer: shapes.UpdateComputeEnvironmentResponse = await self._carry_out(
            commands.UpdateComputeEnvironment(request)
        )
        return answer

    async def delete_compute_environment(
        self, request: shapes.DeleteComputeEnvironmentRequest, _: RequestContext
    ) -> None:
        await self._carry_out(commands.DeleteComputeEnvironment(request.compute_environment))

    async def describe_compute_environments(
        self, request: shapes.DescribeComputeEnvironmentsRequest, _: RequestContext
    ) -> shapes.DescribeComputeEnvironmentsResponse:
        details = await self._ask(
            lambda kernel: {name: record.detail for name, record in kernel.state.environments.items()}
        )
        page, token = self._page_of(
            "compute-environment", details, request.compute_environments, request.max_results, request.next_token
        )
        return shapes.DescribeComputeEnvironmentsResponse(compute_environments=page, next_token=token)

    # --- job queues

    async def create_job_queue(
        self, request: shapes.CreateJobQueueRequest, _: RequestContext
    ) -> shapes.CreateJobQueueResponse:
        answer: shapes.CreateJobQueueResponse = await self._carry_out(commands.CreateJobQueue(request))
        return answer

    async def update_job_queue(
        self, request: shapes.UpdateJobQueueRequest, _: RequestContext
    ) -> shapes.UpdateJobQueueResponse:
        answer: shapes.UpdateJobQueueResponse = await self._carry_out(commands.UpdateJobQueue(request))
        return answer

    async def delete_job_queue(self, request: shapes.DeleteJobQueueRequest, _: RequestContext) -> None:
        await self._carry_out(commands.DeleteJobQueue(request.job_queue))

    async def describe_job_queues(
        self, request: shapes.DescribeJobQueuesRequest, _: RequestContext
    ) -> shapes.DescribeJobQueuesResponse:
        details = await self._ask(lambda kernel: {name: record.detail for name, record in kernel.state.queues.items()})
        page, token = self._page_of("job-queue", details, request.job_queues, request.max_results, request.next_token)
        return shapes.DescribeJobQueuesResponse(job_queues=page, next_token=token)

    # --- tags

    async def list_tags(
        self, request: shapes.ListTagsForResourceRequest, _: RequestContext
    ) -> shapes.ListTagsForResourceResponse:
        job = await self._tagged_job(request.resource_arn)
        tags = job[1] if job else await self._ask(lambda kernel: commands.tags_of(kernel.state, request.resource_arn))
        return shapes.ListTagsForResourceResponse(tags=tags)

    async def tag_resource(self, request: shapes.TagResourceRequest, _: RequestContext) -> None:
        job = await self._tagged_job(request.resource_arn)
        await self._carry_out(commands.ChangeTags(arn=request.resource_arn, add=request.tags, job=job))

    async def untag_resource(self, request: shapes.UntagResourceRequest, _: RequestContext) -> None:
        job = await self._tagged_job(request.resource_arn)
        await self._carry_out(commands.ChangeTags(arn=request.resource_arn, remove=request.tag_keys, job=job))

    async def _tagged_job(self, arn: str) -> tuple[int, dict[str, str]] | None:
        """A job's seq and tags, when the ARN is one of a job. Raises `ApiError` for an unknown job, or a child."""
        job_id = self._account.name_of("job", arn) if arn.startswith("arn:") else None
        if job_id is None:
            return None
        if ":" in job_id or "#" in job_id:
            raise client_exception("Tags cannot be used on array children and nodes; use the parent job.")
        views = await self._reader.find([job_id])
        if not views:
            raise client_exception(f"Resource {arn} not found.")
        details = await self._reader.details(views)
        seq = views[0].row.seq
        return seq, details[seq].tags or {}

    # --- common

    async def _carry_out(self, command: commands.Command) -> Any:
        return await answered(self._control.command(command))

    async def _ask(self, question: Callable[[Kernel], T]) -> T:
        answer: T = await answered(self._control.query(question))
        return answer

    async def _queue_name(self, name_or_arn: str) -> str:
        def find(kernel: Kernel) -> str | None:
            name = self._account.name_of("job-queue", name_or_arn)
            return name if name in kernel.state.queues else None

        name = await self._ask(find)
        if name is None:
            raise validation_failure(f"JobQueue {name_or_arn} not found.")
        return name

    def _position(self, listing: str, token: str | None) -> Any:
        """What a page token of this listing holds; None for no token (an empty one counts as none)."""
        try:
            return self._tokens.open(listing, token) if token else None
        except InvalidTokenError:
            raise validation_failure("nextToken is not valid") from None

    def _page_of(
        self, kind: str, details: dict[str, T], named: list[str] | None, max_results: int | None, token: str | None
    ) -> tuple[list[T], str | None]:
        """The resources named (unknown ones are left out), or a page of all of them by name."""
        if named:
            if len(named) > MAXIMUM_PAGE:
                raise validation_failure(f"At most {MAXIMUM_PAGE} names can be given, got {len(named)}")
            names = dict.fromkeys(self._account.name_of(kind, text) or "" for text in named)
            return [details[name] for name in names if name in details], None
        limit = page_size(max_results)
        after: str = self._position(kind, token) or ""
        names_left = sorted(name for name in details if name > after)
        page = names_left[:limit]
        following = self._tokens.seal(kind, page[-1]) if len(names_left) > limit else None
        return [details[name] for name in page], following


async def answered(asked: Any) -> Any:
    """The answer of the control loop, its refusals as the errors that AWS gives."""
    try:
        return await asked
    except Refusal as refusal:
        raise (validation_failure if refusal.wrapped else client_exception)(refusal.message) from None
    except Unavailable as error:
        raise ApiError("ServerException", str(error), 503) from None


def page_size(max_results: int | None, most: int = MAXIMUM_PAGE) -> int:
    """The length of a page: `maxResults` where it is given, at most (and by default) `most`."""
    if not max_results:
        return most
    if max_results < 0:
        raise validation_failure(f"maxResults must be between 1 and {most}, got {max_results}")
    return min(max_results, most)


def _job_filter(queue: str, status: str | None, filters: Sequence[shapes.KeyValuesPair]) -> JobFilter:
    if not filters:
        return JobFilter(queue=queue, status=Status[status or "RUNNING"])
    if len(filters) > 1:
        raise validation_failure("Only one filter can be used at a time")
    name, values = filters[0].name, filters[0].values or []
    if len(values) != 1:
        raise validation_failure(f"Filter {name} must have exactly one value")
    value = values[0]
    match name:
        case "JOB_NAME":
            return JobFilter(queue=queue, name=value)
        case "JOB_DEFINITION":
            return JobFilter(queue=queue, definition=value)
        case "BEFORE_CREATED_AT":
            return JobFilter(queue=queue, created_before=_milliseconds(name, value))
        case "AFTER_CREATED_AT":
            return JobFilter(queue=queue, created_after=_milliseconds(name, value))
        case "SHARE_IDENTIFIER":
            return JobFilter(queue=queue, status=Status[status] if status else None, share=value)
    raise validation_failure(
        f"Filter {name} is not one of JOB_NAME, JOB_DEFINITION, BEFORE_CREATED_AT, AFTER_CREATED_AT, SHARE_IDENTIFIER"
    )


def _milliseconds(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise validation_failure(f"Filter {name} must be a number of milliseconds since the epoch, got {value!r}")
    return int(value)


def _definitions_named(kernel: Kernel, named: Iterable[str]) -> Iterable[shapes.JobDefinition]:
    for text in dict.fromkeys(named):
        name, revision = commands.split_definition(kernel.state, text)
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
