"""The environment variables and the log stream of an attempt.

Sources: User Guide "AWS Batch job environment variables" and "Using the awslogs log driver".
"""

from __future__ import annotations

from collections.abc import Mapping

from batchyard.kernel.records import Job, Task
from batchyard.shapes import batch as shapes

DEFAULT_LOG_GROUP = "/aws/batch/job"


def environment_of(
    job: Job, task: Task, container: shapes.ContainerDetail, *, surroundings: Mapping[str, str], fargate: bool
) -> dict[str, str]:
    """The operator's variables for every job (`surroundings`), over them the user's, over them those that the service and
    ECS set."""
    variables = dict(surroundings)
    variables |= {pair.name: pair.value or "" for pair in container.environment or () if pair.name}
    variables |= {
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE" if fargate else "AWS_ECS_EC2",
        "AWS_BATCH_CE_NAME": task.environment,
        "AWS_BATCH_JQ_NAME": job.queue.name,
        "AWS_BATCH_JOB_ID": job.id,
        "AWS_BATCH_JOB_ATTEMPT": str(job.attempt),
    }
    if job.parent is not None and job.parent.array is not None:
        variables["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
        variables["AWS_BATCH_JOB_ARRAY_SIZE"] = str(job.parent.array.size)
    return variables


def log_group_of(container: shapes.ContainerDetail | None) -> str:
    """The log group of a container: its `awslogs-group`, or the service's own."""
    return _log_options(container).get("awslogs-group") or DEFAULT_LOG_GROUP


def creates_log_group(container: shapes.ContainerDetail) -> bool:
    """Whether a log group that does not exist is made (`awslogs-create-group`, and always for the service's own)."""
    options = _log_options(container)
    return log_group_of(container) == DEFAULT_LOG_GROUP or options.get("awslogs-create-group", "").lower() == "true"


def log_prefix_of(container: shapes.ContainerDetail) -> str | None:
    """The `awslogs-stream-prefix`, where one is given."""
    return _log_options(container).get("awslogs-stream-prefix") or None


def log_stream_of(job: Job, task_id: str) -> str:
    """`<prefix>/default/<task id>`; the default prefix is the name of the job definition."""
    return f"{job.log_prefix or definition_name_of(job.definition)[:200]}/default/{task_id}"


def definition_name_of(definition_arn: str) -> str:
    """`sleep` of `arn:aws:batch:…:job-definition/sleep:3`."""
    return definition_arn.rpartition("/")[2].rpartition(":")[0]


def _log_options(container: shapes.ContainerDetail | None) -> dict[str, str]:
    if container is None or container.log_configuration is None:
        return {}
    return container.log_configuration.options or {}
