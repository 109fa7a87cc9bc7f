"""Finding jobs for the API: by id, in a queue, the children of an array, with and without rows of their own, and the nodes
of a multi-node parallel job."""

from __future__ import annotations

from collections.abc import Sequence

from batchyard.api.job_views import JobView, untouched_child
from batchyard.control import ControlLoop
from batchyard.kernel.identifiers import split_child, split_node
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.records import Kind, Status
from batchyard.kernel.stored import StoredJob
from batchyard.shapes import batch as shapes
from batchyard.store import reading
from batchyard.store.loading import child_states
from batchyard.store.store import Store

_WAITING = (Status.SUBMITTED, Status.PENDING, Status.RUNNABLE)


class JobReader:
    """Reads jobs from the store; asks the kernel only for the states of children that have no row."""

    def __init__(self, control: ControlLoop, store: Store) -> None:
        self._control = control
        self._store = store

    async def find(self, job_ids: Sequence[str]) -> list[JobView]:
        """Jobs, array children and nodes by id, in the order asked; unknown ids and service jobs are left out."""
        nodes = await self._nodes(job_ids)
        wanted = {job_id: split_child(job_id) for job_id in job_ids}
        states = await self._states([parent for parent, index in wanted.values() if index is not None])
        parents = await self._store.read(
            lambda connection: reading.jobs_by_id(connection, sorted({parent for parent, _ in wanted.values()}))
        )
        keys = [
            (parents[parent].seq, index)
            for parent, index in wanted.values()
            if index is not None and parent in parents and index < (parents[parent].array_size or 0)
        ]
        rows = await self._store.read(lambda connection: reading.children(connection, keys)) if keys else {}
        found: list[JobView] = []
        for job_id, (parent_id, index) in wanted.items():
            if job_id in nodes:
                found.append(nodes[job_id])
                continue
            parent = parents.get(parent_id)
            if parent is None or (index is not None and (parent.seq, index) not in keys):
                continue
            if index is None:
                if parent.kind != Kind.SERVICE:
                    found.append(JobView(parent))
            elif f"{parent_id}:{index}" == job_id:
                found.append(_child(parent, index, rows.get((parent.seq, index)), states.get(parent_id)))
        return found

    async def service_job(self, job_id: str) -> StoredJob | None:
        """The service job of this id."""
        rows = await self._store.read(lambda connection: reading.jobs_by_id(connection, [job_id]))
        row = rows.get(job_id)
        return row if row is not None and row.kind == Kind.SERVICE else None

    async def service_job_detail(self, seq: int) -> shapes.DescribeServiceJobResponse:
        """What a service job was asked to run."""
        return (await self._store.read(lambda connection: reading.service_job_details(connection, [seq])))[seq]

    async def details(self, views: Sequence[JobView]) -> dict[int, shapes.JobDetail]:
        """What these jobs were asked to run, by the seq of the job (a child's parent)."""
        seqs = sorted({view.constant.seq for view in views})
        return await self._store.read(lambda connection: reading.job_details(connection, seqs))

    async def in_queue(self, wanted: reading.JobFilter, before_seq: int | None, limit: int) -> list[JobView]:
        """Single jobs and array parents, newest first."""
        rows = await self._store.read(lambda connection: reading.list_jobs(connection, wanted, before_seq, limit))
        return [JobView(row) for row in rows]

    async def by_consumable_resource(
        self, resource: str, statuses: Sequence[Status], names: Sequence[str], before_seq: int | None, limit: int
    ) -> list[tuple[JobView, int]]:
        """Single jobs and array parents that need a consumable resource, each with the quantity, newest first."""
        rows = await self._store.read(
            lambda connection: reading.jobs_by_consumable_resource(
                connection, resource, statuses, names, before_seq, limit
            )
        )
        return [(JobView(row), quantity) for row, quantity in rows]

    async def scheduled_at(self, views: Sequence[JobView]) -> dict[int, int]:
        """When the current or the last attempt of each of these jobs became STARTING, by seq; only of those that have one."""
        seqs = [view.row.seq for view in views if view.row.attempt]
        if not seqs:
            return {}
        return await self._store.read(lambda connection: reading.last_entered(connection, seqs, [Status.STARTING]))

    async def waiting_since(self, seqs: Sequence[int]) -> dict[int, int]:
        """When jobs last came to wait (for an array: when it was submitted or released), by seq."""
        return await self._store.read(lambda connection: reading.last_entered(connection, seqs, _WAITING))

    async def children_of(self, parent_id: str, status: Status, first: int, limit: int) -> list[JobView] | None:
        """The children of an array with this status, from index `first` on; None when there is no such array."""
        states = (await self._states([parent_id])).get(parent_id)
        parents = await self._store.read(lambda connection: reading.jobs_by_id(connection, [parent_id]))
        parent = parents.get(parent_id)
        if parent is None or parent.array_size is None:
            return None
        seq, size = parent.seq, parent.array_size
        if states is None:
            states = await self._store.read(lambda connection: child_states(connection, seq, size))
        indices = [index for index in range(first, size) if states[index] == status][:limit]
        keys = [(seq, index) for index in indices]
        rows = await self._store.read(lambda connection: reading.children(connection, keys))
        return [_child(parent, index, rows.get((seq, index)), states) for index in indices]

    async def nodes_of(self, parent_id: str, status: Status, first: int, limit: int) -> list[JobView]:
        """The nodes of a multi-node parallel job with this status, from index `first` on; none when there is no such job. While
        nothing of a job runs, each of its nodes has its status."""
        rows = await self._store.read(lambda connection: reading.jobs_by_id(connection, [parent_id]))
        parent = rows.get(parent_id)
        if parent is None or parent.kind != Kind.MULTI_NODE or parent.status != status:
            return []
        last = min(first + limit, (await self._numbers_of_nodes([parent]))[parent.seq])
        return [JobView(parent, parent, node) for node in range(first, last)]

    async def _nodes(self, job_ids: Sequence[str]) -> dict[str, JobView]:
        """The nodes among the ids, by id."""
        wanted = {
            job_id: (parent, node) for job_id in job_ids for parent, node in [split_node(job_id)] if node is not None
        }
        if not wanted:
            return {}
        ids = sorted({parent for parent, _ in wanted.values()})
        rows = await self._store.read(lambda connection: reading.jobs_by_id(connection, ids))
        parents = {job_id: row for job_id, row in rows.items() if row.kind == Kind.MULTI_NODE}
        numbers = await self._numbers_of_nodes(list(parents.values()))
        return {
            job_id: JobView(parents[parent], parents[parent], node)
            for job_id, (parent, node) in wanted.items()
            if parent in parents and node < numbers[parents[parent].seq]
        }

    async def _numbers_of_nodes(self, parents: Sequence[StoredJob]) -> dict[int, int]:
        """How many nodes multi-node parallel jobs have, by seq."""
        details = await self.details([JobView(parent) for parent in parents])
        return {seq: detail.node_properties.num_nodes for seq, detail in details.items() if detail.node_properties}

    async def _states(self, parent_ids: Sequence[str]) -> dict[str, bytes]:
        """The states of the children of unfinished arrays, by the parent's id. They are asked for before the rows are read:
        a child that starts in between then has a row."""

        def states(kernel: Kernel) -> dict[str, bytes]:
            found = {}
            for parent_id in set(parent_ids):
                job = kernel.state.jobs.get(parent_id)
                if job is not None and job.array is not None:
                    found[parent_id] = bytes(job.array.states)
            return found

        return await self._control.query(states) if parent_ids else {}


def _child(parent: StoredJob, index: int, row: StoredJob | None, states: bytes | None) -> JobView:
    if row is not None:
        return JobView(row, parent)
    return untouched_child(parent, index, Status(states[index]) if states is not None else Status.FAILED)
