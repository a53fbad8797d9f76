from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from aet.errors import ConfigError, DataError, FeedbackError
from aet.serving.store import AnsweredRow, Label, Store


def row(known, **values):
    return AnsweredRow(known, values or {"a": 1.5}, False, {"prediction": "x", "confidence": 0.9})


@pytest.fixture
def site(store):
    return store.stream("acme", "site-7", model="gas", settings={"guard": "earned"}).number


def test_a_stream_is_found_by_its_owner_alone(store):
    made = store.stream("acme", "site-7", model="gas", settings={"keep": 50})
    other = store.stream("bolt", "site-7", model="digits")
    assert made.number != other.number
    assert store.stream("acme", "site-7") == made
    assert made.settings == {"keep": 50}
    assert [line.number for line in store.streams("acme")] == [made.number]
    assert len(store.streams()) == 2


def test_a_stream_that_many_ask_for_at_once_is_made_once(store):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(store.stream("acme", "new", model="gas").number)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == len(store.streams()) == 1


def test_a_stream_that_is_not_there_names_the_owners_streams_alone(store):
    store.stream("acme", "site-7", model="gas")
    store.stream("bolt", "secret", model="gas")
    with pytest.raises(ConfigError, match="Did you mean 'site-7'") as error:
        store.stream("acme", "site-8")
    assert "secret" not in str(error.value)


def test_a_stream_stays_with_its_model(store):
    store.stream("acme", "site-7", model="gas")
    with pytest.raises(ConfigError, match="runs on the model 'gas', not on 'digits'"):
        store.stream("acme", "site-7", model="digits")


@pytest.mark.parametrize("name", ["", "a" * 201, "a\0b", "a\nb"])
def test_names_that_no_table_should_hold_are_refused(store, name):
    with pytest.raises(ConfigError, match="printable characters"):
        store.stream("acme", name, model="gas")


def test_what_is_kept_outlives_the_process(url):
    with Store(url) as first:
        number = first.stream("acme", "site-7", model="gas").number
        first.answered(number, "1", [row(1)])
        first.label(number, [Label(1, "y")], "k1")
    with Store(url) as second:
        assert second.stream("acme", "site-7").number == number
        assert second.pending(number) == [Label(1, "y")]


def test_rows_come_back_as_they_went(store, site):
    values = {"a": 1, "b": None, "c": "ümlaut 中 \0", "d": True, "e": np.float32(0.5), "f": float("nan"), "g": [1, 2]}
    store.answered(site, "1", [AnsweredRow("r", values, True, {"prediction": "x"}), AnsweredRow(2, None, False, {})])
    found = store.values(site, ["r", 2, 3])
    assert found["r"] == AnsweredRow("r", {**values, "e": 0.5, "f": None}, True, {"prediction": "x"})
    assert found[2].values is None
    assert 3 not in found


def test_rows_of_many_streams_are_kept_together_but_for_those_that_were_forgotten(store, site):
    other, gone = (store.stream("bolt", name, model="gas").number for name in ("a", "b"))
    store.forget_stream(gone)
    given = [(site, "1", [row(1), row(2)]), (gone, "1", [row(1)]), (other, "2", [row(7)])]
    assert store.answered_together(given) == {gone}
    assert list(store.values(site, [1, 2])) == [1, 2]
    assert list(store.values(other, [7])) == [7]
    assert (store.last_row(site), store.last_row(other), store.last_row(gone)) == (2, 7, None)
    assert store.answered_together([]) == set()


def test_ids_of_another_kind_are_other_rows(store, site):
    store.answered(site, "1", [row(1, a=1), row("1", a=2), row(1.5, a=3), row("\ud800", a=4)])
    found = store.values(site, [1, "1", 1.5, "\ud800"])
    assert [found[known].values["a"] for known in (1, "1", 1.5, "\ud800")] == [1, 2, 3, 4]


@pytest.mark.parametrize("known", [None, [1], {"a": 1}, float("nan"), "x" * 200])
def test_an_id_that_is_not_one_short_value_is_refused(store, site, known):
    with pytest.raises(FeedbackError, match="A row's id"):
        store.answered(site, "1", [row(1), row(known)])
    assert store.values(site, [1]) == {}


def test_a_value_that_json_has_no_words_for_is_refused_and_nothing_is_kept(store, site):
    with pytest.raises(DataError, match="got <object"):
        store.answered(site, "1", [row(1), row(2, a=object())])
    assert store.values(site, [1]) == {}


def test_many_rows_and_ids_at_once(store, site):
    store.answered(site, "1", [row(i, a=i) for i in range(1201)])
    store.label(site, [Label(i, i % 3) for i in range(1201)], "k1")
    assert len(store.values(site, range(1201))) == 1201
    store.applied(site, range(1200))
    assert store.pending(site) == [Label(1200, 0)]


def test_another_streams_row_cannot_be_labelled_or_read(store, site):
    store.answered(site, "1", [row(1)])
    other = store.stream("bolt", "site-7", model="gas").number
    assert store.values(other, [1]) == {}
    with pytest.raises(FeedbackError, match="No row with the id 1"):
        store.label(other, [Label(1, "y")], "k2")


def test_pending_is_in_the_order_of_arrival_whatever_the_clock_says(url):
    times = iter(datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=day) for day in range(100))
    with Store(url, clock=lambda: next(times)) as store:
        site = store.stream("acme", "site-7", model="gas").number
        store.answered(site, "1", [row(i) for i in range(6)])
        for known in (3, 1, 5, 0):
            store.label(site, [Label(known, "y")], "k1")
        assert [label.id for label in store.pending(site)] == [3, 1, 5, 0]
        assert [found.id for found in store.labelled("gas")] == [3, 1, 5, 0]


def test_the_same_label_again_is_accepted_and_taken_once(store, site):
    store.answered(site, "1", [row(1), row(2)])
    store.label(site, [Label(1, {"a": 1, "b": 2})], "k1")
    store.label(site, [Label(1, {"b": 2, "a": 1}), Label(2, "y"), Label(2, "y")], "k1")
    assert [label.id for label in store.pending(site)] == [1, 2]
    store.applied(site, [1])
    store.label(site, [Label(1, {"a": 1, "b": 2})], "k1")
    assert [label.id for label in store.pending(site)] == [2]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([Label(2, "y"), Label(1, "other")], "Row 1 already has the label 'y', and now 'other' came"),
        ([Label(2, "y"), Label(3, "y"), Label(2, "z")], "Row 2 already has the label 'y'"),
        ([Label(2, "y"), Label(99, "y")], "No row with the id 99"),
        ([Label(2, "y"), Label("1", "y")], "No row with the id '1'"),
        ([Label(2, "y"), Label(3, None)], "Row 3 came with an empty label"),
    ],
)
def test_a_label_that_cannot_be_takes_the_whole_call_with_it(store, site, labels, says):
    store.answered(site, "1", [row(1), row(2), row(3)])
    store.label(site, [Label(1, "y")], "k1")
    with pytest.raises(FeedbackError, match=says):
        store.label(site, labels, "k1")
    assert [label.id for label in store.pending(site)] == [1]


def test_a_row_served_again_takes_over_the_id_and_leaves_the_old_label_where_it_was(store, site):
    store.answered(site, "1", [row(1, a=1)])
    store.label(site, [Label(1, "old", at_random=True)], "k1")
    store.answered(site, "2", [row(1, a=2)])
    assert store.values(site, [1])[1].values == {"a": 2}
    store.label(site, [Label(1, "new")], "k1")
    found = [(line.version, line.values["a"], line.label, line.at_random) for line in store.labelled("gas")]
    assert found == [("1", 1, "old", True), ("2", 2, "new", False)]


def test_labelled_rows_come_in_pieces_of_this_model_and_stream_and_time(url):
    day = [datetime(2026, 1, 1, tzinfo=UTC)]
    with Store(url, clock=lambda: day[0]) as store:
        site, other = (store.stream("acme", name, model="gas").number for name in ("a", "b"))
        digits = store.stream("acme", "c", model="digits").number
        for stream in (site, other, digits):
            store.answered(stream, "1", [row(i, a=i) for i in range(5)])
            store.label(stream, [Label(i, "y") for i in range(4)], "k1")
        store.answered(site, "1", [AnsweredRow("bare", None, False, {}), AnsweredRow("m", {"a": 9}, True, {})])
        store.label(site, [Label("bare", "y"), Label("m", "y")], "k1")
        day[0] += timedelta(days=1)
        store.answered(other, "1", [row("late", a=7)])
        store.label(other, [Label("late", "z")], "k1")
        found = list(store.labelled("gas", at_once=2))
        assert [line.id for line in found] == [0, 1, 2, 3, 0, 1, 2, 3, "m", "late"]
        assert [line.masked for line in found] == [False] * 8 + [True, False]
        assert [line.id for line in store.labelled("gas", since=day[0])] == ["late"]
        assert {line.stream for line in store.labelled("gas", stream=site)} == {site}


def test_states_keep_the_newest_contents_and_every_line(url):
    with Store(url, keep_states=2) as store:
        site = store.stream("acme", "site-7", model="gas").number
        assert store.state(site) is None
        numbers = [store.keep_state(site, bytes([i]) * 10, f"label {i}") for i in range(4)]
        assert [(line.number, line.size, line.content) for line in store.states(site)] == [
            (numbers[3], 10, None),
            (numbers[2], 10, None),
            (numbers[1], 0, None),
            (numbers[0], 0, None),
        ]
        newest = store.state(site)
        assert (newest.content, newest.reason) == (b"\3" * 10, "label 3")
        assert store.state(site, numbers[2]).content == b"\2" * 10
        with pytest.raises(ConfigError, match="is no longer kept: the newest 2 are"):
            store.state(site, numbers[0])
        assert store.state(store.stream("bolt", "site-7", model="gas").number, numbers[3]) is None


def test_a_state_and_the_labels_it_has_learned_are_kept_at_once(store, site):
    store.answered(site, "1", [row(i) for i in range(4)])
    store.label(site, [Label(i, "y") for i in range(4)], "k1")
    store.keep_state(site, b"x", "4 labels", learned=[0, 2])
    assert [label.id for label in store.pending(site)] == [1, 3]


def test_decisions_and_audit_come_newest_first(store, site):
    for i in range(5):
        store.decide(site, i * 10, "served", f"reason {i}")
        store.audit("k1", "reset", f"stream {i}" + "x" * 400)
    assert [(line.rows, line.text) for line in store.decisions(site, newest=2)] == [(40, "reason 4"), (30, "reason 3")]
    newest = store.audited(newest=1)[0]
    assert (newest.key, newest.act, len(newest.about)) == ("k1", "reset", 300)


def test_an_alarm_is_raised_once_and_counted_until_closed(store, site):
    other = store.stream("bolt", "b", model="gas").number
    assert store.alarm(site, "drift", "s00 moved", "look at s00")
    assert not store.alarm(site, "drift", "s00 moved more", "look at s00")
    assert store.alarm(other, "drift", "moved", "look")
    assert store.alarm(None, "disk", "nearly full", "free some")
    assert not store.alarm(None, "disk", "nearly full", "free some")
    mine = store.alarms("acme")
    assert [(line.kind, line.times, line.text) for line in mine] == [("drift", 2, "s00 moved more")]
    assert [line.stream for line in store.alarms()] == [None, other, site]
    assert store.close_alarm(mine[0].number)
    assert not store.close_alarm(mine[0].number)
    assert store.alarms("acme") == []
    assert len(store.alarms("acme", open_only=False)) == 1
    assert store.alarm(site, "drift", "again", "look")


def test_threads_write_at_once_and_nothing_is_lost_or_taken_twice(store, site):
    store.answered(site, "1", [row(i) for i in range(60)])
    wrong = []

    def work(first):
        try:
            for known in range(first, 60, 2):
                store.label(site, [Label(known, "y")], "k1")
                store.label(site, [Label((known + 1) % 60, "y")], "k1")  # the other thread's, too
                store.alarm(site, "drift", "x", "y")
                store.values(site, [known])
        except Exception as error:  # noqa: BLE001 - told to the test
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(label.id for label in store.pending(site)) == list(range(60))
    assert [line.times for line in store.alarms()] == [60]


def test_a_stream_that_was_forgotten_takes_nothing_more(store, site):
    store.forget_stream(site)
    for act in (
        lambda: store.answered(site, "1", [row(1)]),
        lambda: store.label(site, [Label(1, "y")], "k1"),
        lambda: store.keep_state(site, b"", "x"),
        lambda: store.decide(site, 1, "served", "x"),
        lambda: store.alarm(site, "drift", "x", "y"),
    ):
        with pytest.raises(ConfigError, match="no such stream"):
            act()
