"""Brings a database to the tables that this version of aet knows."""

from __future__ import annotations

import sqlalchemy as sa

from aet.errors import StoreError

VERSION_TABLE = "aet_version"
LOCK = 0x616574
"""Key of PostgreSQL's advisory lock: of several servers that start at once, one migrates."""


def upgrade(connection: sa.Connection) -> None:
    """Run the steps that are missing, inside the connection's transaction.

    Raises StoreError for a database that a newer aet wrote, or that holds tables of something else.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    script = ScriptDirectory(str(__path__[0]))
    known = {step.revision for step in script.walk_revisions()}

    def missing(now: str | tuple[str, ...], _: MigrationContext) -> list[RevisionStep]:
        return script._upgrade_revs("head", now)  # type: ignore[arg-type]

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "fn": missing})
    now = context.get_current_heads()
    if set(now) - known:
        raise StoreError(
            f"The store {connection.engine.url.render_as_string()} was written by a newer aet: its tables are of step "
            f"{', '.join(now)}, this aet knows {', '.join(sorted(known))}. Install a newer aet, or name another store."
        )
    if now == (script.get_current_head(),):
        return
    if not now and (foreign := set(sa.inspect(connection).get_table_names()) & {"streams", "answers", "labels"}):
        raise StoreError(
            f"The database {connection.engine.url.render_as_string()} already holds tables named "
            f"{', '.join(sorted(foreign))} that aet did not make. Give the store a file or database of its own."
        )
    with Operations.context(context):
        context.run_migrations()
