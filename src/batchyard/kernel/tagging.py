"""TagResource, UntagResource, ListTagsForResource: tags of whatever an ARN names."""

from __future__ import annotations

from batchyard.kernel import definition_registry, environments, queues
from batchyard.kernel.commands import ChangeTags
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import DefinitionFamily, State, decode_definition
from batchyard.kernel.tags import merged, without
from batchyard.shapes import batch as shapes


def change_tags(state: State, command: ChangeTags, _now: int) -> None:
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
        family, definition = _definition_for(state, command.arn)
        definition.tags = _changed_tags(definition.tags, command)
        definition_registry.save(state, family, definition)


def tags_of(state: State, arn: str) -> dict[str, str]:
    """The tags of a compute environment, job queue or job definition. Raises `Refusal` for any other ARN."""
    environment = environments.find_environment(state, arn) if arn.startswith("arn:") else None
    queue = queues.find_queue(state, arn) if arn.startswith("arn:") else None
    if environment is not None:
        return environment.detail.tags or {}
    if queue is not None:
        return queue.detail.tags or {}
    return _definition_for(state, arn)[1].tags or {}


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


def _changed_tags(tags: dict[str, str] | None, command: ChangeTags) -> dict[str, str]:
    return merged(without(tags, command.remove), command.add)
