"""Names, ARNs and the identifiers that are derived rather than drawn.

Rules: AWS service authorization reference for Batch (ARN forms), User Guide "Components of AWS Batch" (names).
"""

from __future__ import annotations

import hashlib
import re

import msgspec

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}\Z")
_INDEX = re.compile(r"(0|[1-9][0-9]{0,8})\Z")
JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


class Account(msgspec.Struct, frozen=True):
    """Whose resources these are: the parts that every ARN shares."""

    region: str
    account_id: str
    """Twelve digits."""
    partition: str = "aws"

    def arn(self, resource: str) -> str:
        """The ARN of a Batch resource, such as `job-queue/high`."""
        return f"arn:{self.partition}:batch:{self.region}:{self.account_id}:{resource}"

    def ecs_arn(self, resource: str) -> str:
        """The ARN of an ECS resource, such as `task/<cluster>/<id>`."""
        return f"arn:{self.partition}:ecs:{self.region}:{self.account_id}:{resource}"

    def name_of(self, kind: str, name_or_arn: str) -> str | None:
        """The name in "a name or an ARN of this kind": None for the ARN of another kind, account or Region."""
        if not name_or_arn.startswith("arn:"):
            return name_or_arn
        prefix = self.arn(f"{kind}/")
        return name_or_arn[len(prefix) :] if name_or_arn.startswith(prefix) else None


def job_id_of(account: Account, id_or_arn: str) -> str:
    """The job id in an id or a job ARN."""
    return account.name_of("job", id_or_arn) or id_or_arn


def service_job_id_of(account: Account, id_or_arn: str) -> str:
    """The job id in an id or a service job ARN."""
    return account.name_of("service-job", id_or_arn) or id_or_arn


def split_child(job_id: str) -> tuple[str, int | None]:
    """`<parent>:<index>` into its parts; the index is None for an id that names no array child."""
    parent, _, index = job_id.partition(":")
    return (parent, int(index)) if _INDEX.match(index) else (job_id, None)


def split_node(job_id: str) -> tuple[str, int | None]:
    """`<parent>#<index>` into its parts; the index is None for an id that names no node of a multi-node parallel job."""
    parent, _, index = job_id.partition("#")
    return (parent, int(index)) if _INDEX.match(index) else (job_id, None)


def task_id_of(job_id: str, attempt: int) -> str:
    """32 hexadecimal digits for one attempt of one job: the same attempt has the same task id, before and after a
    crash, so that an engine can recognise an order it has seen."""
    return hashlib.blake2b(f"{job_id}#{attempt}".encode(), digest_size=16).hexdigest()


def node_task_id(job_id: str, attempt: int, node: int) -> str:
    """As `task_id_of`, for one of the tasks of an attempt that has several."""
    return hashlib.blake2b(f"{job_id}#{attempt}#{node}".encode(), digest_size=16).hexdigest()


def instance_id_of(name: str) -> str:
    """An EC2-shaped instance id (`i-` and 17 hexadecimal digits) that is always the same for the same name."""
    return "i-" + hashlib.blake2b(name.encode(), digest_size=9).hexdigest()[:17]


def cluster_arn(account: Account, environment: str) -> str:
    """The ECS cluster that a compute environment would have on AWS."""
    return account.ecs_arn(f"cluster/{cluster_name(environment)}")


def cluster_name(environment: str) -> str:
    return f"AWSBatch-{environment}"


def task_arn(account: Account, environment: str, task_id: str) -> str:
    """The ECS task of an attempt."""
    return account.ecs_arn(f"task/{cluster_name(environment)}/{task_id}")


def container_instance_arn(account: Account, environment: str, instance_id: str) -> str:
    """The ECS container instance of an EC2-shaped instance."""
    digits = instance_id.removeprefix("i-").ljust(32, "0")
    return account.ecs_arn(f"container-instance/{cluster_name(environment)}/{digits}")
