"""Rows and records must not drift apart."""

from batchyard.kernel.stored import StoredJob
from batchyard.store.schema import jobs


def test_a_stored_job_has_the_columns_of_the_table_in_their_order() -> None:
    assert StoredJob.__struct_fields__ == tuple(column.name for column in jobs.columns)
