"""The service without HTTP: what it answers, keeps, and finds again."""

from __future__ import annotations

import threading

import pytest

import aet
from aet.errors import AetError, ConfigError, FeedbackError, SchemaError
from aet.personal import Masker
from aet.serving.asks import Ask
from aet.serving.models import Served
from aet.serving.refusals import Taken, Unknown
from aet.serving.service import Service
from aet.serving.store import Label
from tests.adaptation.models import inputs, three
from tests.made import quick
from tests.serving.conftest import rows_of


def labels_for(ids, truth):
    return [Label(i, truth[i]) for i in ids]


def test_many_streams_answer_as_one_model_does(service, model):
    asks = [Ask("local", f"site-{n}", rows_of(2, seed=n)[0]) for n in range(4)]
    asks.insert(1, Ask("local", "site-0", rows_of(1, seed=9)[0]))
    found = service.answer(asks)
    for ask, answers in zip(asks, found, strict=True):
        expected = model.predict(list(ask.rows))
        assert [row["prediction"] for row in answers.rows] == expected["prediction"].tolist()
        assert [row["confidence"] for row in answers.rows] == pytest.approx(expected["confidence"].tolist(), abs=1e-5)
    assert [row["id"] for row in found[0].rows + found[1].rows] == [0, 1, 2]


def test_a_row_that_cannot_be_answered_keeps_its_id_and_may_be_sent_again(store):
    frame = three(60)
    frame.insert(0, "name", [f"n{i}" for i in range(60)])
    model = aet.train(frame, target="y", id="name", config=quick(1))
    service = Service({"gas": Served("gas", "1", model)}, store, save_every=3600)
    rows = inputs(frame).assign(name=frame["name"])[:3].to_dict("records")
    first = service.predict("local", "s", rows).rows
    bad, other = service.predict("local", "s", [{**rows[1], "a": "much"}, {**rows[2], "name": "n9"}]).rows
    assert (bad["id"], bad["prediction"], other["id"]) == ("n1", None, "n9")
    assert "expected a number, got 'much'" in bad["problem"]
    kept = store.values(store.stream("local", "s").number, ["n1", "n9"])
    assert [kept[name].answer["prediction"] for name in ("n1", "n9")] == [first[1]["prediction"], other["prediction"]]

    mended = {**rows[1], "name": "n10"}
    both = service.answer([Ask("local", "s", [{**mended, "a": "much"}]), Ask("local", "s", [mended])])
    assert [(one.rows[0]["id"], one.rows[0]["problem"] is None) for one in both] == [("n10", False), ("n10", True)]

    listed = [{**row, "name": ["x"]} for row in rows]
    other, odd = service.answer([Ask("local", "other", rows), Ask("local", "s", listed)])
    assert {row["id"] for row in odd.rows} == {None}
    assert "expected an id that is a text or a number, got ['x']" in odd.rows[0]["problem"]
    assert [row["problem"] for row in other.rows] == [None] * 3
    assert service.describe("local", "other")["rows"] == 3, "answered once"
    service.learner.stop()


def test_a_bad_request_does_not_spoil_the_others(service):
    rows = rows_of(2)[0]
    asks = [
        Ask("local", "s", rows),
        Ask("local", "s", [{"a": 1}]),
        Ask("local", "t", rows, model="other"),
        Ask("local", "t", rows),
    ]
    good, missing, unknown, other = service.answer(asks)
    assert isinstance(missing, SchemaError)
    assert isinstance(unknown, Unknown)
    assert len(good.rows) == len(other.rows) == 2


def test_owners_never_meet(service, store):
    rows, truth = rows_of(4)
    for owner in ("ada", "bo"):
        service.predict(owner, "site-7", rows)
    service.feedback("ada", "site-7", labels_for([0, 1], truth)).result()
    assert service.describe("ada", "site-7")["labels"] == 2
    assert service.describe("bo", "site-7")["labels"] == 0
    assert [line["stream"] for line in service.streams("bo")] == ["site-7"]
    with pytest.raises(Unknown):
        service.describe("eve", "site-7")


def test_labels_are_kept_before_they_are_learned(service, store, monkeypatch):
    rows, truth = rows_of(6)
    service.predict("local", "s", rows)
    number = store.stream("local", "s").number
    with pytest.raises(FeedbackError, match="99"):
        service.feedback("local", "s", [Label(0, truth[0]), Label(99, "p")])
    with pytest.raises(FeedbackError):
        service.feedback("local", "s", [Label(0, "no such class")])
    assert store.pending(number) == []
    learning = service.feedback("local", "s", labels_for([0, 1], truth), key="k")
    assert [label.id for label in store.pending(number)] == [0, 1]
    learning.result()
    assert service.describe("local", "s")["labels"] == 2
    assert len(store.pending(number)) == 2  # learned, but no state that was saved has
    service.saver.save()
    assert store.pending(number) == []
    service.feedback("local", "s", labels_for([0], truth)).result()  # once more, as a client does that heard no answer
    assert service.describe("local", "s")["labels"] == 2


def test_rows_whose_labels_wait_are_not_asked_for(service):
    """A label that nobody asked for is no evidence, however long it takes to be learned."""
    rows, truth = rows_of(12)
    service.predict("local", "s", rows)
    stream, busy = service.residents.all()[0].stream, threading.Event()
    service.learner._thread.submit(busy.wait)
    try:
        learning = service.feedback("local", "s", labels_for(range(8), truth))
        with pytest.raises(FeedbackError):
            service.feedback("local", "s", [Label(8, truth[8]), Label(99, "p")])
        assert set(service.ask("local", "s", 12)) == {8, 9, 10, 11}
    finally:
        busy.set()
    learning.result()
    assert service.describe("local", "s")["labels"] == 8
    assert stream.guard.labels == 0
    assert not stream.kept.coming


def test_a_crash_loses_no_label_and_gives_no_id_twice(make_service, store):
    first = make_service()
    rows, truth = rows_of(8)
    first.predict("local", "s", rows[:4])
    first.feedback("local", "s", labels_for([0], truth)).result()
    first.saver.save()
    first.predict("local", "s", rows[4:])
    first.feedback("local", "s", labels_for([1, 5], truth)).result()
    state = first.residents.all()[0].stream.state

    second = make_service().start()  # the first one ends here, without a word
    second.learner.wait()
    assert second.describe("local", "s")["labels"] == 3
    assert second.residents.all()[0].stream.state.size() > 0
    assert second.residents.all()[0].stream.labels == first.residents.all()[0].stream.labels
    assert state.size() > 0
    assert second.predict("local", "s", rows[:1]).rows[0]["id"] == 8
    second.stop()
    assert store.pending(store.stream("local", "s").number) == []


def test_a_label_whose_row_is_gone_everywhere_is_kept_for_retraining(make_service, store):
    first = make_service(keep_values=False)
    rows, truth = rows_of(3)
    first.predict("local", "s", rows)
    first.feedback("local", "s", labels_for([2], truth))
    second = make_service().start()
    second.learner.wait()
    told = second.history("local", "s")
    assert [line["kind"] for line in told] == ["unlearned"]
    assert "retraining" in told[0]["text"]
    assert second.describe("local", "s")["labels"] == 0
    second.stop()
    assert store.pending(store.stream("local", "s").number) == []


def test_streams_leave_memory_and_come_back_as_they_were(make_service):
    service = make_service(most=2)
    rows, truth = rows_of(12, shift=1.0)
    service.predict("local", "first", rows)
    service.feedback("local", "first", labels_for(range(8), truth)).result()
    before = service.describe("local", "first")
    for n in range(4):
        service.predict("local", f"other-{n}", rows[:1])
    assert len(service.residents) <= 3
    assert "first" not in {resident.line.name for resident in service.residents.all()}
    after = service.describe("local", "first")
    assert after["state"] == before["state"]
    assert after["guard"] == before["guard"]
    assert service.predict("local", "first", rows[:1]).rows[0]["id"] == 12


def test_undo_and_reset_outlive_the_process(make_service):
    service = make_service()
    rows, truth = rows_of(12)
    service.predict("local", "s", rows)
    service.feedback("local", "s", labels_for(range(4), truth)).result()
    assert service.describe("local", "s")["state"]["size"] > 0
    assert service.reset("local", "s")["state"]["size"] == 0
    assert make_service().describe("local", "s")["state"]["size"] == 0
    assert service.undo("local", "s")["state"]["size"] > 0
    with pytest.raises(ConfigError, match="can be undone"):
        service.undo("local", "s", 60)


def test_streams_are_made_listed_and_forgotten(service, store):
    made = service.create("local", "s", None, {"guard": "always", "adapt": "source"})
    assert made["settings"] == {"guard": "always", "adapt": "source"}
    with pytest.raises(Taken):
        service.create("local", "s", None, {})
    for settings in ({"no_such": 1}, {"adapt": "no such"}, {"keep": -1}):
        with pytest.raises(AetError):
            service.create("local", "t", None, settings)
    service.predict("local", "s", rows_of(2)[0])
    assert service.forget("local", "s").rows == 2
    assert service.streams("local") == []
    assert service.predict("local", "s", rows_of(1)[0]).rows[0]["id"] == 0


def test_values_are_masked_before_they_are_written(make_service, store):
    service = make_service(mask=Masker(columns=["d"]))
    rows, _ = rows_of(2)
    service.predict("local", "s", [{**rows[0], "extra": "ada@example.org"}, {**rows[1], "a": "ada@example.org"}])
    kept = store.values(store.stream("local", "s").number, [0, 1])
    assert kept[0].masked
    assert kept[0].values["d"] is None
    assert kept[0].values["a"] == rows[0]["a"]
    assert "ada@" not in str(kept)


def test_half_a_surrogate_pair_among_numbers_is_a_problem_of_its_row_alone(make_service, caplog):
    rows, _ = rows_of(2)
    said = make_service().predict("local", "s", [rows[0], {**rows[1], "a": "\ud800"}]).rows
    assert [row["problem"] is None for row in said] == [True, False]
    assert "expected a number" in said[1]["problem"]
    assert not caplog.records
