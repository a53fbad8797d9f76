"""The first tables."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None
branch_labels = None
depends_on = None

Json = sa.JSON(none_as_null=True)
Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def moment(name: str, nullable: bool = False) -> sa.Column[datetime]:
    """A column of times."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def of_stream(nullable: bool = False) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    """The stream that a line is about; the constraint is named after its table by `table`."""
    return sa.Column("stream", sa.Integer, nullable=nullable), sa.ForeignKeyConstraint(
        ["stream"], ["streams.number"], ondelete="CASCADE"
    )


def numbered(table: str, *columns: sa.schema.SchemaItem) -> None:
    """A table whose lines are numbered as they come, no number twice."""
    for item in columns:
        if isinstance(item, sa.ForeignKeyConstraint):
            item.name = f"fk_{table}_{item.column_keys[0]}"
    op.create_table(
        table,
        sa.Column("number", sa.Integer if table in ("streams", "alarms") else Big),
        *columns,
        sa.PrimaryKeyConstraint("number", name=f"pk_{table}"),
        sqlite_autoincrement=True,
    )


def upgrade() -> None:
    """Make them."""
    numbered(
        "streams",
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("settings", Json, nullable=False),
        moment("made"),
        sa.UniqueConstraint("owner", "name", name="uq_streams_owner"),
    )
    numbered(
        "answers",
        *of_stream(),
        sa.Column("row", sa.String(200), nullable=False),
        moment("at"),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("values", Json, nullable=True),
        sa.Column("masked", sa.Boolean, nullable=False),
        sa.Column("answer", Json, nullable=False),
    )
    op.create_index("ix_answers_at", "answers", ["at"])
    op.create_index("ix_answers_stream_row", "answers", ["stream", "row", "number"])
    numbered(
        "labels",
        *of_stream(),
        sa.Column("answered", Big, nullable=False),
        sa.ForeignKeyConstraint(["answered"], ["answers.number"], ondelete="CASCADE"),
        sa.UniqueConstraint("answered", name="uq_labels_answered"),
        moment("at"),
        sa.Column("label", Json, nullable=False),
        sa.Column("at_random", sa.Boolean, nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        moment("applied", nullable=True),
    )
    pending = sa.text("applied IS NULL")
    op.create_index("ix_labels_pending", "labels", ["stream", "number"], sqlite_where=pending, postgresql_where=pending)
    numbered(
        "states",
        *of_stream(),
        moment("at"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=True),
    )
    op.create_index("ix_states_stream", "states", ["stream"])
    numbered(
        "decisions",
        *of_stream(),
        moment("at"),
        sa.Column("rows", Big, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("ix_decisions_stream", "decisions", ["stream"])
    numbered(
        "alarms",
        *of_stream(nullable=True),
        sa.Column("kind", sa.String(80), nullable=False),
        moment("first"),
        moment("last"),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("todo", sa.Text, nullable=False),
        moment("closed", nullable=True),
    )
    op.create_index("ix_alarms_stream", "alarms", ["stream"])
    op.create_table(
        "keys",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("hash", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        moment("made"),
        moment("revoked", nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_keys"),
    )
    numbered(
        "audit",
        moment("at"),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("act", sa.String(40), nullable=False),
        sa.Column("about", sa.String(300), nullable=False),
    )
    op.create_index("ix_audit_at", "audit", ["at"])


def downgrade() -> None:
    """Drop them."""
    for table in ("audit", "keys", "alarms", "decisions", "states", "labels", "answers", "streams"):
        op.drop_table(table)
