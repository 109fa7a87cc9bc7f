"""What a container runs and as whom: image, command, environment, secrets, user.

Sources: model `ContainerProperties`, `TaskContainerProperties`, `Secret`; User Guide "Job definition parameters" and
"Specifying sensitive data". A `subject` is how the container is called in a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from batchyard.kernel.refusal import Refusal
from batchyard.shapes import batch as shapes

_IMAGE = re.compile(r"[A-Za-z0-9_.:/#@-]{1,255}\Z")
_USER = re.compile(r"([a-z0-9_][a-z0-9_-]{0,30}|[0-9]+)(:([a-z0-9_][a-z0-9_-]{0,30}|[0-9]+))?\Z")
_SECRET = re.compile(r"arn:[^:\s]+:(secretsmanager|ssm):[^:\s]*:[^:\s]*:\S+\Z")
_PARAMETER = re.compile(r"[A-Za-z0-9_./-]+\Z")


def check_image(image: str | None, subject: str = "Container properties") -> None:
    if not image:
        raise Refusal(f"{subject} must have an image")
    if not _IMAGE.match(image):
        raise Refusal(f"Container image {image[:255]!r} does not match regex {_IMAGE.pattern[:-2]}")


def check_command(command: Sequence[str] | None) -> None:
    for element in command or ():
        if "\0" in element:
            raise Refusal("Container command cannot contain a NUL character")


def check_environment(
    environment: Iterable[shapes.KeyValuePair | shapes.EksContainerEnvironmentVariable] | None,
) -> None:
    for pair in environment or ():
        if not pair.name:
            raise Refusal("Environment variable name cannot be empty")
        if pair.name.startswith("AWS_BATCH"):
            raise Refusal(f"Environment variable name {pair.name} starts with the reserved prefix AWS_BATCH")
        if "=" in pair.name or "\0" in pair.name or "\0" in (pair.value or ""):
            raise Refusal(f"Environment variable {pair.name!r} contains a character that no environment can hold")


def check_user(user: str | None) -> None:
    if user is not None and not _USER.match(user):
        raise Refusal(f"User '{user}' does not match regex ^([a-z0-9_][a-z0-9_-]{{0,30}})$")


def check_secrets(secrets: Sequence[shapes.Secret] | None, environment: Sequence[shapes.KeyValuePair] | None) -> None:
    """Secrets of the environment: each has a variable of its own."""
    variables = {pair.name for pair in environment or ()}
    for secret in secrets or ():
        if secret.name in variables:
            raise Refusal(f"Secret {secret.name} has the name of another secret or environment variable")
        if secret.name.startswith("AWS_BATCH"):
            raise Refusal(f"Secret name {secret.name} starts with the reserved prefix AWS_BATCH")
        variables.add(secret.name)
        check_secret(secret)


def check_secret(secret: shapes.Secret) -> None:
    """A secret of the environment or of a log driver."""
    if not secret.name or "=" in secret.name or "\0" in secret.name:
        raise Refusal(f"Secret name {secret.name!r} cannot be the name of an environment variable")
    pattern = _SECRET if secret.value_from.startswith("arn:") else _PARAMETER
    if not pattern.match(secret.value_from):
        raise Refusal(
            f"Secret {secret.name}: valueFrom must be the ARN of a Secrets Manager secret, or the ARN or name of a Systems"
            f" Manager parameter, got {secret.value_from[:300]!r}"
        )


def check_repository_credentials(credentials: shapes.RepositoryCredentials | None) -> None:
    if credentials is not None and not _SECRET.match(credentials.credentials_parameter):
        raise Refusal(
            "repositoryCredentials credentialsParameter must be the ARN of a Secrets Manager secret, got"
            f" {credentials.credentials_parameter[:300]!r}"
        )
