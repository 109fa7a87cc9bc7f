"""Alembic's entry: runs the migrations on the connection that `database.py` hands over."""

from __future__ import annotations

from alembic import context

from batchyard.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
