from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aet.errors import ConfigError
from aet.serving.store import AnsweredRow, Label, Store

SECRET = "Erika-Mustermann"


def row(known, **values):
    return AnsweredRow(known, values or {"a": 1.5}, False, {"prediction": "x"})


@pytest.fixture
def site(store):
    number = store.stream("acme", "site-7", model="gas").number
    store.answered(number, "1", [row(1, who=SECRET), row(2), row(3)])
    store.label(number, [Label(1, "y"), Label(2, "y")], "k1")
    return number


def test_rows_are_forgotten_with_their_labels(store, site):
    store.applied(site, [1])
    gone = store.forget_rows(site, [1, 3, "unknown"])
    assert (gone.rows, gone.labels) == (2, 1)
    assert "1 of the labels had been learned" in gone.stays[0]
    assert list(store.values(site, [1, 2, 3])) == [2]
    assert [label.id for label in store.pending(site)] == [2]


def test_kept_states_that_may_hold_the_row_are_named_or_replaced(store, site):
    older, newer = (store.keep_state(site, text.encode(), text) for text in ("older", "newer"))
    gone = store.forget_rows(site, [3])
    assert "2 kept states" in gone.stays[0]
    assert store.state(site).content == b"newer"
    gone = store.forget_rows(site, [2], state=b"without them")
    assert (gone.states, gone.stays) == (2, ())
    assert store.state(site).content == b"without them"
    assert [line.size for line in store.states(site)] == [12, 0, 0]
    for number in (older, newer):
        with pytest.raises(ConfigError, match="no longer kept"):
            store.state(site, number)


def test_another_streams_rows_stay(store, site):
    other = store.stream("bolt", "site-7", model="gas").number
    store.answered(other, "1", [row(1)])
    assert store.forget_rows(site, [1]).rows == 1
    assert list(store.values(other, [1])) == [1]
    assert store.forget_stream(site).rows == 2
    assert list(store.values(other, [1])) == [1]


def test_a_stream_is_forgotten_with_all_that_is_of_it(store, site):
    store.keep_state(site, b"x", "x")
    store.decide(site, 3, "served", "x")
    store.alarm(site, "drift", "x", "y")
    store.audit("k1", "forget", "site-7")
    gone = store.forget_stream(site)
    assert (gone.rows, gone.labels, gone.states, gone.decisions, gone.alarms) == (3, 2, 1, 1, 1)
    assert any("audit log stays" in sentence for sentence in gone.stays)
    assert store.streams() == []
    assert store.alarms(open_only=False) == []
    assert list(store.labelled("gas")) == []
    assert len(store.audited()) == 1
    assert store.stream("acme", "site-7", model="gas").number > site  # nobody's number is given away


def test_sqlite_files_hold_no_trace_of_what_was_forgotten(tmp_path):
    path = tmp_path / "store.db"
    with Store(path) as store:
        site = store.stream("acme", "site-7", model="gas").number
        store.answered(site, "1", [row(i, who="somebody else") for i in range(200)])
        store.answered(site, "1", [row("r", who=SECRET), row("long", who=SECRET * 1000)])
        store.label(site, [Label("r", SECRET)], "k1")
        assert SECRET.encode() in _bytes(path)
        store.forget_rows(site, ["r", "long"])
        assert SECRET.encode() not in _bytes(path)
    assert SECRET.encode() not in _bytes(path)


def _bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))


def test_what_is_too_old_goes_but_labels_that_wait_stay(url):
    day = [datetime(2026, 1, 1, tzinfo=UTC)]
    with Store(url, clock=lambda: day[0]) as store:
        site = store.stream("acme", "site-7", model="gas").number
        store.answered(site, "1", [row(1), row(2), row(3)])
        store.label(site, [Label(1, "y"), Label(2, "y")], "k1")
        store.applied(site, [1])
        store.decide(site, 3, "served", "x")
        for kind in ("drift", "open"):
            store.alarm(site, kind, "x", "y")
        store.close_alarm(store.alarms()[1].number)
        store.keep_state(site, b"x", "x")
        day[0] += timedelta(days=30)
        store.answered(site, "1", [row(4)])
        gone = store.expire(day[0] - timedelta(days=1))
        assert (gone.rows, gone.labels, gone.decisions, gone.alarms) == (2, 1, 1, 1)
        assert any("1 rows stay" in sentence for sentence in gone.stays)
        assert list(store.values(site, [1, 2, 3, 4])) == [2, 4]
        assert [alarm.kind for alarm in store.alarms(open_only=False)] == ["open"]
        assert store.state(site) is not None
        store.applied(site, [2])
        assert store.expire(day[0]).rows == 1
        assert store.expire(day[0]).rows == 0


def test_many_rows_go_in_pieces(store, monkeypatch):
    monkeypatch.setattr("aet.serving.forgetting.PIECE", 10)
    site, other = (store.stream("acme", name, model="gas").number for name in ("a", "b"))
    for number in (site, other):
        store.answered(number, "1", [row(i) for i in range(25)])
        store.label(number, [Label(i, "y") for i in range(12)], "k1")
    gone = store.forget_stream(site)
    assert (gone.rows, gone.labels) == (25, 12)
    gone = store.expire(datetime.now(UTC) + timedelta(days=1))
    assert (gone.rows, gone.labels) == (13, 0)
    assert len(store.pending(other)) == 12


def test_a_moment_without_its_zone_is_refused(store):
    with pytest.raises(ConfigError, match="needs its time zone"):
        store.expire(datetime(2026, 1, 1))
