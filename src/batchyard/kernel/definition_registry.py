"""Job definitions and their revisions: registering, deregistering, finding them by name or ARN."""

from __future__ import annotations

from batchyard.kernel.commands import DeregisterJobDefinition, RegisterJobDefinition
from batchyard.kernel.definitions.registration import check_definition_name, normalised
from batchyard.kernel.identifiers import NAME
from batchyard.kernel.refusal import Refusal
from batchyard.kernel.state import DefinitionFamily, State, decode_definition, encode_definition
from batchyard.shapes import batch as shapes


def register(state: State, command: RegisterJobDefinition, _now: int) -> shapes.RegisterJobDefinitionResponse:
    """RegisterJobDefinition: every call makes the next revision."""
    name = command.request.job_definition_name
    family = state.definitions.get(name)
    revision = family.newest + 1 if family else 1
    definition = normalised(command.request, command.size, state.settings.account, revision)
    if family is None:
        family = state.definitions[name] = DefinitionFamily({}, set())
    family.newest = revision
    family.active.add(revision)
    save(state, family, definition)
    return shapes.RegisterJobDefinitionResponse(
        job_definition_name=name, job_definition_arn=definition.job_definition_arn, revision=revision
    )


def deregister(state: State, command: DeregisterJobDefinition, _now: int) -> None:
    """DeregisterJobDefinition: the revision becomes INACTIVE; jobs of it are unaffected."""
    text = command.definition
    name, revision = split(state, text)
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
    save(state, family, definition)


def find_active(state: State, text: str) -> shapes.JobDefinition:
    """The definition that a submission names. Raises `Refusal` with AWS's texts."""
    name, revision = split(state, text)
    family = state.definitions.get(name)
    if family is not None:
        if revision is None:
            revision = max(family.active, default=None)
        if revision in family.active:
            return decode_definition(family.revisions[revision])
    raise Refusal(f"JobDefinition {text} not found." if text.startswith("arn:") else _not_active(text))


def split(state: State, text: str) -> tuple[str, int | None]:
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


def save(state: State, family: DefinitionFamily, definition: shapes.JobDefinition) -> None:
    assert definition.revision is not None
    family.revisions[definition.revision] = encode_definition(definition)
    state.effects.definitions[definition.job_definition_name or "", definition.revision] = definition
