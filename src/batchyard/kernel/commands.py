"""What callers ask of the kernel, and where each request is carried out.

A command is the request as the wire gave it, with the identifiers, sizes and facts that the kernel may not draw or look
up itself.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchyard.kernel import dependencies, environments, lifecycle, queues
from batchyard.kernel.arrays import new_array
from batchyard.kernel.definitions import check_definition_name, normalised
from batchyard.kernel.dependencies import JobFact
from batchyard.kernel.environment import log_prefix_of
from batchyard.kernel.identifiers import NAME, job_id_of
from batchyard.kernel.placement import environments_of
from batchyard.kernel.records import Job, JobQueue
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import DefinitionFamily, State, decode_definition, encode_definition
from batchyard.kernel.submission import check_request, resolved
from batchyard.kernel.tags import merged, without
from batchyard.shapes import batch as shapes

MAXIMUM_REASON = 1024


class SubmitJob(msgspec.Struct, frozen=True, kw_only=True):
    request: shapes.SubmitJobRequest
    job_id: str
    size: int
    """Bytes of the request."""
    facts: dict[str, JobFact] = {}
    """Of dependencies that have finished."""


class CancelJob(msgspec.Struct, frozen=True):
    job_id: str
    reason: str


class TerminateJob(msgspec.Struct, frozen=True):
    job_id: str
    reason: str


class RegisterJobDefinition(msgspec.Struct, frozen=True):
    request: shapes.RegisterJobDefinitionRequest
    size: int
    """Bytes of the request."""


class DeregisterJobDefinition(msgspec.Struct, frozen=True):
    definition: str
    """`name:revision`, an ARN, or a bare name for the newest active revision."""


class CreateComputeEnvironment(msgspec.Struct, frozen=True):
    request: shapes.CreateComputeEnvironmentRequest
    uuid: str


class UpdateComputeEnvironment(msgspec.Struct, frozen=True):
    request: shapes.UpdateComputeEnvironmentRequest


class DeleteComputeEnvironment(msgspec.Struct, frozen=True):
    environment: str


class CreateJobQueue(msgspec.Struct, frozen=True):
    request: shapes.CreateJobQueueRequest


class UpdateJobQueue(msgspec.Struct, frozen=True):
    request: shapes.UpdateJobQueueRequest


class DeleteJobQueue(msgspec.Struct, frozen=True):
    queue: str


class ChangeTags(msgspec.Struct, frozen=True, kw_only=True):
    """TagResource (`add`) and UntagResource (`remove`)."""

    arn: str
    add: dict[str, str] = {}
    remove: list[str] = []
    job: tuple[int, dict[str, str]] | None = None
    """For a job: its seq and its present tags, which only the store knows."""


Command = (
    SubmitJob
    | CancelJob
    | TerminateJob
    | RegisterJobDefinition
    | DeregisterJobDefinition
    | CreateComputeEnvironment
    | UpdateComputeEnvironment
    | DeleteComputeEnvironment
    | CreateJobQueue
    | UpdateJobQueue
    | DeleteJobQueue
    | ChangeTags
)


def handle(state: State, command: Command, now: int) -> Any:
    """Carries out one command and gives its answer. Raises `Refusal`, and then nothing has changed."""
    match command:
        case SubmitJob():
            return submit_job(state, command, now)
        case CancelJob() | TerminateJob():
            return end_job(state, command, now)
        case RegisterJobDefinition():
            return register_definition(state, command)
        case DeregisterJobDefinition():
            return deregister_definition(state, command.definition)
        case CreateComputeEnvironment():
            return environments.create_environment(state, command.request, command.uuid, now)
        case UpdateComputeEnvironment():
            return environments.update_environment(state, command.request, now)
        case DeleteComputeEnvironment():
            return environments.delete_environment(state, command.environment, now)
        case CreateJobQueue():
            return queues.create_queue(state, command.request, now)
        case UpdateJobQueue():
            return queues.update_queue(state, command.request, now)
        case DeleteJobQueue():
            return queues.delete_queue(state, command.queue, now)
        case ChangeTags():
            return change_tags(state, command)


def submit_job(state: State, command: SubmitJob, now: int) -> shapes.SubmitJobResponse:
    """SubmitJob."""
    request = command.request
    check_request(request, command.size, state.settings.maximum_array_size)
    queue = _queue_for(state, request)
    definition = find_active_definition(state, request.job_definition)
    _check_platform(state, queue, definition)
    submission = resolved(request, definition, queue.detail.job_queue_arn or "")
    outlook = dependencies.examine(state, request.depends_on, submission.size, command.facts)

    detail = submission.detail
    assert detail.container is not None
    job = Job(
        seq=state.take_seq(),
        id=command.job_id,
        name=request.job_name,
        queue=queue,
        definition=state.shared_text(detail.job_definition or ""),
        resources=state.shared(submission.resources),
        created_at=now,
        retry=detail.retry_strategy,
        timeout=detail.timeout.attempt_duration_seconds if detail.timeout else None,
        priority=detail.scheduling_priority,
        log_prefix=log_prefix_of(detail.container),
        depends_on=request.depends_on or None,
    )
    if submission.size is not None:
        job.array = new_array(submission.size, sequential=outlook.sequential)
    state.effects.details.append((job.seq, detail))
    lifecycle.accept(state, job, outlook, now)
    arn = state.settings.account.arn(f"job/{job.id}")
    return shapes.SubmitJobResponse(job_arn=arn, job_name=job.name, job_id=job.id)


def _queue_for(state: State, request: shapes.SubmitJobRequest) -> JobQueue:
    queue = queues.find_queue(state, request.job_queue)
    if queue is None or queue.detail.status == "DELETING":
        raise Refusal(f"JobQueue {request.job_queue} not found.")
    if queue.detail.state != "ENABLED":
        raise Refusal(f"Job queue {queue.detail.job_queue_arn} is not enabled")
    if request.share_identifier or request.scheduling_priority_override is not None:
        raise Refusal(
            "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share"
            " scheduling policy."
        )
    return queue


def _check_platform(state: State, queue: JobQueue, definition: shapes.JobDefinition) -> None:
    families = {queues.family_of(environment) for environment in environments_of(state, queue)}
    capabilities = definition.platform_capabilities or ["EC2"]
    if families and not families & set(capabilities):
        raise Refusal(
            f"Job Queue is attached to Compute Environment that can not run Jobs with capability {capabilities[0]}"
        )


def end_job(state: State, command: CancelJob | TerminateJob, now: int) -> None:
    """CancelJob and TerminateJob: a job that is unknown or has finished is no error."""
    if not command.reason:
        raise Refusal("reason must not be empty")
    if len(command.reason) > MAXIMUM_REASON:
        raise Refusal(f"reason must have at most {MAXIMUM_REASON} characters, got {len(command.reason)}")
    found = state.find(job_id_of(state.settings.account, command.job_id))
    if found is None:
        return
    end = lifecycle.terminate if isinstance(command, TerminateJob) else lifecycle.cancel
    end(state, *found, command.reason, now)


def register_definition(state: State, command: RegisterJobDefinition) -> shapes.RegisterJobDefinitionResponse:
    """RegisterJobDefinition: every call makes the next revision."""
    name = command.request.job_definition_name
    family = state.definitions.get(name)
    revision = family.newest + 1 if family else 1
    definition = normalised(command.request, command.size, state.settings.account, revision)
    if family is None:
        family = state.definitions[name] = DefinitionFamily({}, set())
    family.newest = revision
    family.active.add(revision)
    _save_definition(state, family, definition)
    return shapes.RegisterJobDefinitionResponse(
        job_definition_name=name, job_definition_arn=definition.job_definition_arn, revision=revision
    )


def deregister_definition(state: State, text: str) -> None:
    """DeregisterJobDefinition: the revision becomes INACTIVE; jobs of it are unaffected."""
    name, revision = split_definition(state, text)
    family = state.definitions.get(name)
    if family is None or (revision is not None and revision not in family.revisions):
        raise Refusal(f"JobDefinition {text} not found." if text.startswith("arn:") else _not_active(text))
    if revision is None:
        if not family.active:
            raise Refusal(_not_active(name))
        revision = max(family.active)
    if revision not in family.active:
        return
    definition = decode_definition(family.revisions[revision])
    definition.status = "INACTIVE"
    family.active.discard(revision)
    _save_definition(state, family, definition)


def find_active_definition(state: State, text: str) -> shapes.JobDefinition:
    """The definition that a submission names. Raises `Refusal` with AWS's texts."""
    name, revision = split_definition(state, text)
    family = state.definitions.get(name)
    if family is not None:
        if revision is None:
            revision = max(family.active, default=None)
        if revision in family.active:
            return decode_definition(family.revisions[revision])
    raise Refusal(f"JobDefinition {text} not found." if text.startswith("arn:") else _not_active(text))


def split_definition(state: State, text: str) -> tuple[str, int | None]:
    """Name and revision in `name`, `name:revision` or an ARN with or without revision. Raises `Refusal`."""
    plain = state.settings.account.name_of("job-definition", text)
    if plain is None:
        if ":job-definition/" in text:
            raise Refusal(f"JobDefinition {text} not found.")
        check_definition_name(text)
    name, _, revision = (plain or text).partition(":")
    if not NAME.match(name) or (revision and not (revision.isascii() and revision.isdigit() and len(revision) < 10)):
        check_definition_name(f"{name}:{revision}" if revision else name)
    return name, int(revision) if revision else None


def _not_active(text: str) -> str:
    return f"JobDefinition name {text} does not exist or is not in ACTIVE status"


def _save_definition(state: State, family: DefinitionFamily, definition: shapes.JobDefinition) -> None:
    assert definition.revision is not None
    family.revisions[definition.revision] = encode_definition(definition)
    state.effects.definitions[definition.job_definition_name or "", definition.revision] = definition


def change_tags(state: State, command: ChangeTags) -> None:
    """TagResource and UntagResource."""
    if command.job is not None:
        seq, tags = command.job
        state.effects.job_tags[seq] = _changed_tags(tags, command)
        return
    environment = environments.find_environment(state, command.arn) if command.arn.startswith("arn:") else None
    queue = queues.find_queue(state, command.arn) if command.arn.startswith("arn:") else None
    if environment is not None:
        environment.detail.tags = _changed_tags(environment.detail.tags, command)
        environments.save_environment(state, environment.detail)
    elif queue is not None:
        queue.detail.tags = _changed_tags(queue.detail.tags, command)
        queues.save_queue(state, queue.detail)
    else:
        family, definition = definition_for_tags(state, command.arn)
        definition.tags = _changed_tags(definition.tags, command)
        _save_definition(state, family, definition)


def tags_of(state: State, arn: str) -> dict[str, str]:
    """The tags of a compute environment, job queue or job definition. Raises `Refusal` for any other ARN."""
    environment = environments.find_environment(state, arn) if arn.startswith("arn:") else None
    queue = queues.find_queue(state, arn) if arn.startswith("arn:") else None
    if environment is not None:
        return environment.detail.tags or {}
    if queue is not None:
        return queue.detail.tags or {}
    return definition_for_tags(state, arn)[1].tags or {}


def definition_for_tags(state: State, arn: str) -> tuple[DefinitionFamily, shapes.JobDefinition]:
    """The job definition of an ARN with revision. Raises `Refusal` for any other ARN."""
    plain = state.settings.account.name_of("job-definition", arn) if arn.startswith("arn:") else None
    name, _, revision = (plain or "").partition(":")
    family = state.definitions.get(name)
    if family is None or not (revision.isascii() and revision.isdigit() and len(revision) < 10):
        raise Refusal(f"Resource {arn} not found.", wrapped=False)
    if int(revision) not in family.revisions:
        raise Refusal(f"Resource {arn} not found.", wrapped=False)
    return family, decode_definition(family.revisions[int(revision)])


def _changed_tags(tags: dict[str, str] | None, command: ChangeTags) -> dict[str, str]:
    return merged(without(tags, command.remove), command.add)
