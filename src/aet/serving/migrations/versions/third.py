"""Several servers share a database: each stream is with one of them at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "third"
down_revision = "second"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "leases",
        sa.Column("stream", sa.Integer, sa.ForeignKey("streams.number", ondelete="CASCADE", name="fk_leases_stream")),
        sa.Column("holder", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_leases"),
    )
    op.create_index("ix_leases_holder", "leases", ["holder"])
