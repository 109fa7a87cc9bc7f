"""What jobs need of consumable resources"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_consumable_resources",
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("job_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "job_seq", name=op.f("pk_job_consumable_resources")),
    )
    op.create_index(op.f("ix_job_consumable_resources_job_seq"), "job_consumable_resources", ["job_seq"])
