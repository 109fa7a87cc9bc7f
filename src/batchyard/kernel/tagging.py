"""TagResource, UntagResource, ListTagsForResource: tags of whatever an ARN names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from batchyard.kernel import (
    arrays,
    caps,
    consumable_resources,
    definition_registry,
    environments,
    lifecycle,
    queue_preemption,
    queues,
    quota_shares,
    scheduling_policies,
    service_environments,
)
from batchyard.kernel.commands import ChangeTags
from batchyard.kernel.records import JobQueue
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import DefinitionFamily, State, decode_definition
from batchyard.kernel.tags import merged, without
from batchyard.kernel.terms import ENVIRONMENT_TAGS, JOB_TAGS, QUEUE_TAGS, Tag, job_terms, queue_terms
from batchyard.shapes import batch as shapes

_OWN_TAGS: Mapping[str, Mapping[str, Tag]] = {queues.KIND: QUEUE_TAGS, environments.KIND: ENVIRONMENT_TAGS}
"""The tags with a meaning that a resource may have, by its kind."""


class Tagged(Protocol):
    """The public detail of a resource, which holds its tags."""

    tags: dict[str, str] | None


def change_tags(state: State, command: ChangeTags, _now: int) -> None:
    """TagResource and UntagResource."""
    if command.job is not None:
        seq, tags = command.job
        changed = state.effects.job_tags[seq] = _changed_tags(tags, command, JOB_TAGS)
        _follow_job(state, command.arn, changed)
        return
    found = _resource(state, command.arn)
    if found is not None:
        kind, name, detail = found
        changed = _changed_tags(detail.tags, command, _OWN_TAGS.get(kind, {}))
        if kind == queues.KIND:
            _check_queue(state, state.queues[name], command.add)
        detail.tags = changed
        assert isinstance(detail, msgspec.Struct)
        state.effects.resources[kind, name] = detail
        if kind == queues.KIND:
            _follow_queue(state, state.queues[name])
    else:
        family, definition = _definition_for(state, command.arn)
        definition.tags = _changed_tags(definition.tags, command, {})
        definition_registry.save(state, family, definition)


def _follow_job(state: State, arn: str, tags: dict[str, str]) -> None:
    """What the tags say now counts for what is yet to happen to the job."""
    job = state.jobs.get(state.settings.account.name_of("job", arn) or "")
    if job is None:
        return
    for each, count in arrays.waiting_of(job):
        state.count_waiting(each, -count)
    job.terms = job_terms(tags)
    for child in job.array.children.values() if job.array is not None else ():
        child.terms = job.terms
    for each, count in arrays.waiting_of(job):
        state.count_waiting(each, count)
    state.save(job)
    caps.recount(state, job.queue)


def _check_queue(state: State, queue: JobQueue, added: Mapping[str, str]) -> None:
    policy = scheduling_policies.policy_of(state, queue)
    quota = policy is not None and policy.quota_share_policy is not None
    queue_preemption.check_preemption(added, service=queue.is_service, quota=quota)


def _follow_queue(state: State, queue: JobQueue) -> None:
    queue.terms = queue_terms(queue.detail.tags)
    caps.recount(state, queue)
    lifecycle.reconsider(queue)


def tags_of(state: State, arn: str) -> dict[str, str]:
    """The tags of a resource or a job definition. Raises `Refusal` for any other ARN."""
    found = _resource(state, arn)
    if found is not None:
        return found[2].tags or {}
    return _definition_for(state, arn)[1].tags or {}


def _resource(state: State, arn: str) -> tuple[str, str, Tagged] | None:
    """The kind, name and detail of a resource that is kept in the table of all kinds; None for any other ARN."""
    if not arn.startswith("arn:"):
        return None
    environment = environments.find_environment(state, arn)
    if environment is not None:
        return environments.KIND, environment.name, environment.detail
    queue = queues.find_queue(state, arn)
    if queue is not None:
        return queues.KIND, queue.name, queue.detail
    service_environment = service_environments.find_environment(state, arn)
    if service_environment is not None:
        return service_environments.KIND, service_environment.name, service_environment.detail
    share = quota_shares.find_share(state, arn)
    if share is not None:
        return quota_shares.KIND, share.key, share.detail
    consumable = consumable_resources.find_resource(state, arn)
    if consumable is not None:
        return consumable_resources.KIND, consumable.name, consumable.detail
    policy = scheduling_policies.find_policy(state, arn)
    if policy is not None:
        return scheduling_policies.KIND, policy.name or "", policy
    return None


def _definition_for(state: State, arn: str) -> tuple[DefinitionFamily, shapes.JobDefinition]:
    """The job definition of an ARN with revision. Raises `Refusal` for any other ARN."""
    plain = state.settings.account.name_of("job-definition", arn) if arn.startswith("arn:") else None
    name, _, revision = (plain or "").partition(":")
    family = state.definitions.get(name)
    if family is None or not (revision.isascii() and revision.isdigit() and len(revision) < 10):
        raise Refusal(f"Resource {arn} not found.", wrapped=False)
    if int(revision) not in family.revisions:
        raise Refusal(f"Resource {arn} not found.", wrapped=False)
    return family, decode_definition(family.revisions[int(revision)])


def _changed_tags(tags: dict[str, str] | None, command: ChangeTags, own: Mapping[str, Tag]) -> dict[str, str]:
    return merged(without(tags, command.remove), command.add, own)
