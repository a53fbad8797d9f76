from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from aet.errors import ConfigError, StoreError
from aet.serving.store import AnsweredRow, Label, Store
from tests.serving.stores.conftest import schema_of


def rows(*ids, size=1):
    return [AnsweredRow(known, {"a": "v" * size}, False, {"prediction": "x"}) for known in ids]


def test_no_acknowledged_label_is_lost_under_kill_9(tmp_path):
    path, here = tmp_path / "store.db", Path(__file__)
    done = subprocess.run(
        [sys.executable, str(here.with_name("killed.py")), str(path), "20"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    calls = [json.loads(line) for line in done.stdout.split("\n")]
    assert len({call[0].split("-")[0] for call in calls}) >= 15
    with Store(path) as store:
        stream = store.stream("acme", "site-7").number
        kept = {line.id for line in store.labelled("gas")}
        pending = [label.id for label in store.pending(stream)]
        assert [known for call in calls for known in call if known not in kept] == []
        missing = {known for call in calls for known in call[1:]} - set(pending)  # the first of three may be applied
        assert missing == set()
        assert pending == sorted(pending, key=lambda known: tuple(map(int, known.split("-"))))
        assert len(kept) % 3 == 0  # a call is kept as a whole
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()


@pytest.mark.parametrize("act", ["label", "answered"])
def test_labels_wait_for_the_disk_and_answers_do_not(url, act):
    """kill -9 cannot tell: it leaves the operating system's caches alone. A loss of power would."""
    with Store(url) as store:
        stream = store.stream("acme", "site-7", model="gas").number
        store.answered(stream, "1", rows(1))
        seen = []

        def look(connection, cursor, statement, *_):
            if statement.startswith("INSERT"):
                lite = connection.dialect.name == "sqlite"
                own = connection.connection.cursor()
                own.execute("PRAGMA synchronous" if lite else "SHOW synchronous_commit")
                seen.append(str(own.fetchone()[0]))

        sa.event.listen(store.engine, "before_cursor_execute", look)
        if act == "label":
            store.label(stream, [Label(1, "y")], "k1")
        else:
            store.answered(stream, "1", rows(2))
        assert seen in ([["2"], ["on"]] if act == "label" else [["1"], ["off"]])


def test_a_full_disk_is_named_leaves_nothing_half_written_and_may_be_mended(tmp_path):
    limit = [1_000_000]
    with Store(tmp_path / "store.db") as store:
        sa.event.listen(
            store.engine, "checkout", lambda plain, *_: plain.execute(f"PRAGMA max_page_count={limit[0]}").fetchall()
        )
        stream = store.stream("acme", "site-7", model="gas").number
        store.answered(stream, "1", rows(*range(50)))
        limit[0] = 1  # SQLite takes the size that the file has
        with pytest.raises(
            StoreError, match=r"has no room left \(database or disk is full\). Free some space"
        ) as error:
            store.answered(stream, "1", rows(*range(100, 200), size=2000))
        assert "store.db" in str(error.value)
        with pytest.raises(StoreError, match="has no room left"):
            store.keep_state(stream, bytes(1_000_000), "big")
        with pytest.raises(StoreError, match="has no room left"):
            store.label(stream, [Label(i, "y" * 4000) for i in range(50)], "k1")
        assert store.values(stream, range(100, 200)) == {}
        assert store.pending(stream) == []
        assert store.state(stream) is None
        assert len(store.values(stream, range(50))) == 50
        limit[0] = 1_000_000
        store.label(stream, [Label(i, "y" * 4000) for i in range(50)], "k1")
        assert len(store.pending(stream)) == 50


def test_connections_that_were_cut_are_replaced(postgres):
    with Store(schema_of(postgres)) as store:
        stream = store.stream("acme", "site-7", model="gas").number
        store.answered(stream, "1", rows(1))
        with store.reading() as connection:
            waiting = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        cut = sa.create_engine(store.engine.url)
        with cut.begin() as connection:
            assert connection.scalar(sa.text(f"SELECT pg_terminate_backend({waiting})"))
        cut.dispose()
        store.label(stream, [Label(1, "y")], "k1")
        assert store.pending(stream) == [Label(1, "y")]


def test_a_connection_cut_in_the_middle_of_a_call_leaves_nothing_of_it(postgres):
    with Store(schema_of(postgres)) as store:
        stream = store.stream("acme", "site-7", model="gas").number
        store.answered(stream, "1", rows(1))

        def cut(connection, cursor, statement, *_):
            if statement.startswith("INSERT INTO labels"):
                sa.event.remove(store.engine, "after_cursor_execute", cut)
                connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

        sa.event.listen(store.engine, "after_cursor_execute", cut)
        with pytest.raises(StoreError, match="cannot be reached"):
            store.label(stream, [Label(1, "y")], "k1")
        assert store.pending(stream) == []
        store.label(stream, [Label(1, "y")], "k1")
        assert store.pending(stream) == [Label(1, "y")]


@pytest.mark.skipif("AET_TEST_POSTGRES" in os.environ, reason="a PostgreSQL that was given is not stopped")
def test_a_database_that_is_gone_is_named_and_used_again_when_it_is_back(postgres_server, postgres):
    with Store(schema_of(postgres)) as store:
        stream = store.stream("acme", "site-7", model="gas").number
        store.answered(stream, "1", rows(1))
        postgres_server.stop()
        try:
            for act in (lambda: store.label(stream, [Label(1, "y")], "k1"), lambda: store.pending(stream)):
                with pytest.raises(StoreError, match=r"cannot be reached .* Start the database"):
                    act()
            with pytest.raises(StoreError, match="cannot be reached"):
                Store(store.engine.url.render_as_string(hide_password=False))
        finally:
            postgres_server.start()
        assert store.pending(stream) == []
        store.label(stream, [Label(1, "y")], "k1")
        assert store.pending(stream) == [Label(1, "y")]


def test_a_file_that_another_program_holds_is_named(tmp_path):
    with Store(tmp_path / "store.db") as store:
        sa.event.listen(store.engine, "checkout", lambda plain, *_: plain.execute("PRAGMA busy_timeout=50").fetchall())
        holder = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is held by another program"):
            store.stream("acme", "site-7", model="gas")
        assert store.streams() == []  # reading goes on
        holder.close()
        store.stream("acme", "site-7", model="gas")


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but a page of notes\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is damaged or no database"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["no/such/folder/store.db", "sqlite:////no/such/folder/store.db"])
def test_a_folder_that_is_not_there_is_named(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="cannot be made"):
        Store(where)


@pytest.mark.parametrize("where", ["mysql://me@host/name", "sqlite://", "sqlite:///:memory:", "oracle+nothing://x/y"])
def test_another_kind_of_database_is_refused(where):
    with pytest.raises(ConfigError, match=r"PostgreSQL URL, got memory|got a URL of|The store takes a file"):
        Store(where)


def test_only_its_owner_may_read_the_file_and_no_message_shows_a_password(tmp_path):
    with Store(tmp_path / "store.db") as store:
        assert (tmp_path / "store.db").stat().st_mode & 0o077 == 0
        assert store.url.endswith("store.db")
    with pytest.raises(StoreError) as error:
        Store("postgresql://me:hunter2@127.0.0.1:9/none")
    assert "hunter2" not in str(error.value)
    assert "127.0.0.1" in str(error.value)
