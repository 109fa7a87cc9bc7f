"""A job as DescribeJobs and ListJobs show it, made from its row and from what it was asked to run.

Source: model `JobDetail`, `JobSummary`; User Guide "Array jobs", "Multi-node parallel jobs".
"""

from __future__ import annotations

import msgspec

from batchyard.kernel.environment import definition_name_of
from batchyard.kernel.identifiers import Account, container_instance_arn, task_arn
from batchyard.kernel.records import JOB_STATUSES, Status
from batchyard.kernel.stored import StoredJob
from batchyard.kernel.submission.node_details import node_detail, node_group, node_resources
from batchyard.shapes import batch as shapes


class JobView(msgspec.Struct, frozen=True):
    """A job to show: its own row, and for an array child the row of its parent. A node of a multi-node parallel job has no row
    while nothing of the job runs: it has that of its parent."""

    row: StoredJob
    parent: StoredJob | None = None
    node: int | None = None
    """The index of a node."""

    @property
    def constant(self) -> StoredJob:
        """The row with what never changes."""
        return self.parent or self.row

    @property
    def id(self) -> str:
        if self.parent is None:
            return self.row.id or ""
        if self.node is not None:
            return f"{self.parent.id}#{self.node}"
        return f"{self.parent.id}:{self.row.child_index}"


def untouched_child(parent: StoredJob, index: int, status: Status) -> JobView:
    """A child that has no row: it is what its parent says."""
    failed = status is Status.FAILED
    row = StoredJob(
        seq=parent.seq,
        parent_seq=parent.seq,
        child_index=index,
        status=status,
        status_reason=parent.untouched_reason if failed else parent.status_reason,
        stopped_at=(parent.stopped_at or parent.summary_at) if failed else None,
        ended_by=parent.ended_by if failed else 0,
    )
    return JobView(row, parent)


def job_detail(view: JobView, detail: shapes.JobDetail, account: Account) -> shapes.JobDetail:
    """The whole of a job. `detail` is what the job (the parent of a child or node) was asked to run."""
    row, constant = view.row, view.constant
    has_parent = view.parent is not None
    if view.node is not None:
        detail = node_detail(detail, view.node)
    return msgspec.structs.replace(
        detail,
        job_arn=account.arn(f"job/{view.id}"),
        job_id=view.id,
        status=row.status.name,
        status_reason=row.status_reason,
        created_at=constant.created_at,
        started_at=row.started_at,
        stopped_at=row.stopped_at,
        attempts=row.ended_attempts,
        eks_attempts=[],
        container=_container(view, detail, account),
        array_properties=_array_properties(row),
        scheduling_priority=_priority(view, detail),
        tags={} if has_parent else detail.tags,
        is_cancelled=row.cancelled,
        is_terminated=row.terminated,
    )


def _priority(view: JobView, detail: shapes.JobDetail) -> int | None:
    """The one that the job was last given."""
    for row in (view.row, view.constant):
        if row.amendments is not None and row.amendments.priority is not None:
            return row.amendments.priority
    return detail.scheduling_priority


def _container(view: JobView, detail: shapes.JobDetail, account: Account) -> shapes.ContainerDetail | None:
    """The container with the facts of the attempt that runs, or of the last one."""
    container, row = detail.container, view.row
    if container is None:
        return None
    if row.amendments is not None and row.amendments.memory is not None:
        container = _with_memory(container, row.amendments.memory)
    if row.task is not None:
        task = row.task
        prefix = view.constant.log_prefix or definition_name_of(view.constant.definition or "")[:200]
        return msgspec.structs.replace(
            container,
            task_arn=task_arn(account, task.environment, task.id),
            container_instance_arn=container_instance_arn(account, task.environment, task.instance),
            log_stream_name=f"{prefix}/default/{task.id}" if row.status is Status.RUNNING else None,
        )
    attempts = row.ended_attempts
    last = attempts[-1].container if attempts else None
    if last is None:
        return container
    return msgspec.structs.replace(
        container,
        task_arn=last.task_arn,
        container_instance_arn=last.container_instance_arn,
        log_stream_name=last.log_stream_name,
        exit_code=last.exit_code,
        reason=last.reason,
    )


def _with_memory(container: shapes.ContainerDetail, memory: int) -> shapes.ContainerDetail:
    """The container with what it asks for since an attempt ran out of memory."""
    others = [each for each in container.resource_requirements or () if each.type != "MEMORY"]
    changed = shapes.ResourceRequirement(type="MEMORY", value=str(memory))
    return msgspec.structs.replace(
        container, resource_requirements=[*others, changed], memory=memory if container.memory else None
    )


def _array_properties(row: StoredJob) -> shapes.ArrayPropertiesDetail | None:
    if row.child_index is not None:
        return shapes.ArrayPropertiesDetail(index=row.child_index, status_summary={})
    if row.array_size is None:
        return None
    return shapes.ArrayPropertiesDetail(
        size=row.array_size, status_summary=_summary(row), status_summary_last_updated_at=row.summary_at
    )


def _summary(row: StoredJob) -> dict[str, int]:
    counts = row.summary or [0] * len(Status)
    return {status.name: counts[status] for status in JOB_STATUSES}


def job_summary(
    view: JobView, account: Account, scheduled_at: int | None, detail: shapes.JobDetail | None = None
) -> shapes.JobSummary:
    """A job in a list. `scheduled_at` is when its current or last attempt became STARTING; `detail` is what a multi-node
    parallel job (also of a node) was asked to run: only there is its number of nodes."""
    row, constant = view.row, view.constant
    return shapes.JobSummary(
        job_arn=account.arn(f"job/{view.id}"),
        job_id=view.id,
        job_name=constant.name,
        capacity_usage=_capacity_usage(view, detail),
        created_at=constant.created_at,
        scheduled_at=scheduled_at,
        share_identifier=constant.share,
        status=row.status.name,
        status_reason=row.status_reason,
        started_at=row.started_at,
        stopped_at=row.stopped_at,
        container=_container_summary(row),
        array_properties=_array_summary(row),
        node_properties=_nodes_summary(view, detail),
        job_definition=constant.definition,
        is_cancelled=row.cancelled or None,
        is_terminated=row.terminated or None,
    )


def _container_summary(row: StoredJob) -> shapes.ContainerSummary | None:
    attempts = row.ended_attempts
    last = attempts[-1].container if attempts and row.task is None else None
    if last is None:
        return None
    return shapes.ContainerSummary(exit_code=last.exit_code, reason=last.reason)


def _array_summary(row: StoredJob) -> shapes.ArrayPropertiesSummary | None:
    if row.child_index is not None:
        return shapes.ArrayPropertiesSummary(index=row.child_index)
    if row.array_size is None:
        return None
    return shapes.ArrayPropertiesSummary(
        size=row.array_size, status_summary=_summary(row), status_summary_last_updated_at=row.summary_at
    )


def _nodes_summary(view: JobView, detail: shapes.JobDetail | None) -> shapes.NodePropertiesSummary | None:
    if detail is None or detail.node_properties is None:
        return None
    nodes = detail.node_properties.num_nodes
    if view.node is None:
        return shapes.NodePropertiesSummary(num_nodes=nodes)
    main = view.node == detail.node_properties.main_node
    return shapes.NodePropertiesSummary(num_nodes=nodes, node_index=view.node, is_main_node=main)


def _capacity_usage(view: JobView, detail: shapes.JobDetail | None) -> list[shapes.JobCapacityUsageSummary] | None:
    """The vCPUs that the job is configured with; of an array, each child has its own, and the parent none."""
    milli_vcpus = view.constant.milli_vcpus or 0
    if view.row.array_size is not None:
        return None
    if view.node is not None and detail is not None and detail.node_properties is not None:
        milli_vcpus = node_resources(node_group(detail.node_properties, view.node)).milli_vcpus
    return [shapes.JobCapacityUsageSummary(capacity_unit="VCPU", quantity=milli_vcpus / 1000)]
