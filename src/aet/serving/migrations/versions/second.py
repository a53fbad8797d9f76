"""States are of a model's version; those kept before are of version 1, which was the only one that served."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "second"
down_revision = "first"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("states", sa.Column("version", sa.String(64), nullable=False, server_default="1"))
