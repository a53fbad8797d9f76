from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from aet.errors import StoreError
from aet.serving import migrations
from aet.serving.database import connect, metadata
from aet.serving.migrations import VERSION_TABLE
from aet.serving.store import Store


def test_the_steps_lead_to_the_tables_that_the_code_knows(store):
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        found = sa.inspect(connection)
        for table in metadata.sorted_tables:
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
            keys = {
                (tuple(k["constrained_columns"]), k["options"].get("ondelete"))
                for k in found.get_foreign_keys(table.name)
            }
            assert keys == {((k.parent.name,), k.ondelete) for k in table.foreign_keys}


def test_opening_again_changes_nothing(url):
    with Store(url) as store:
        store.stream("acme", "site-7", model="gas")
    with Store(url) as store:
        assert [line.name for line in store.streams()] == ["site-7"]


def test_a_store_of_a_newer_aet_is_refused_and_left_as_it_is(url):
    with Store(url) as store, store.writing() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'ninth'"))
    with pytest.raises(StoreError, match=r"written by a newer aet: its tables are of step ninth, .* Install a newer"):
        Store(url)
    engine = connect(url)
    with engine.connect() as connection:
        assert connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one() == "ninth"
    engine.dispose()


def test_tables_of_something_else_are_left_alone(url):
    if "://" not in url:
        Path(url).touch()
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE answers (mine INTEGER)"))
    with pytest.raises(StoreError, match="already holds tables named answers that aet did not make"):
        Store(url)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["answers"]
    engine.dispose()


FOURTH = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "fourth", "third", None, None


def upgrade():
    op.add_column("streams", sa.Column("colour", sa.String(8), nullable=True))
"""


def test_a_store_of_an_older_aet_is_brought_up_to_date_with_all_it_holds(url, tmp_path, monkeypatch):
    with Store(url) as store:
        number = store.stream("acme", "site-7", model="gas").number
    later = shutil.copytree(Path(migrations.__path__[0]) / "versions", tmp_path / "later" / "versions")
    (later / "fourth.py").write_text(FOURTH)
    monkeypatch.setattr(migrations, "__path__", [str(later.parent)])
    with Store(url) as store, store.reading() as connection:
        assert connection.execute(sa.text("SELECT number, colour FROM streams")).all() == [(number, None)]
        assert connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one() == "fourth"
    monkeypatch.undo()
    with pytest.raises(StoreError, match="written by a newer aet"):
        Store(url)


def test_states_of_before_versions_were_named_are_of_the_first(url):
    with Store(url) as store:
        number = store.stream("acme", "site-7", model="gas").number
    with Store(url) as store, store.writing() as connection:
        connection.execute(sa.text("DROP TABLE leases"))
        connection.execute(sa.text("ALTER TABLE states DROP COLUMN version"))
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'first'"))
        line = {"stream": number, "at": "2026-01-02 03:04:05", "reason": "old", "content": b"old"}
        names, values = ", ".join(line), ", ".join(f":{name}" for name in line)
        connection.execute(sa.text(f"INSERT INTO states ({names}) VALUES ({values})"), line)
    with Store(url) as store:
        store.keep_state(number, b"new", "new", version="2")
        assert store.state(number, version="1").content == b"old"
        assert store.state(number).content == store.state(number, version="2").content == b"new"
        assert store.state(number, version="3") is None
        assert [line.version for line in store.states(number)] == ["2", "1"]


def test_servers_that_start_at_once_make_one_store(url):
    opened, wrong = [], []

    def work():
        try:
            opened.append(Store(url))
        except StoreError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    made = {store.stream("acme", "site-7", model="gas").number for store in opened}
    for store in opened:
        store.close()
    assert len(made) == 1
