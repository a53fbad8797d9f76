"""A replay: who was right row by row, with labels that come late and are few."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aet.adaptation import Feedback, Stream
from aet.adaptation.replay import CHUNK, replay
from aet.adaptation.scoring import Scores, Span, curve, harm, reliability
from aet.report import render
from tests.adaptation.models import frame_of, inputs, three


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setitem(Feedback.defaults, "steps", 12)


def parts_of(rows=200):
    return [("calm", three(rows, 21)), ("moved", three(rows, 22, shift=1.5, gain=0.4))]


@pytest.fixture
def calls(monkeypatch):
    """What every stream was asked and told, with the row at which it happened."""
    log = {"ask": [], "feedback": []}
    ask, feedback = Stream.ask, Stream.feedback

    def spy_ask(self, *args, **kwargs):
        ids = ask(self, *args, **kwargs)
        log["ask"].append((self.rows, ids))
        return ids

    def spy_feedback(self, ids, labels, *args):
        log["feedback"].append((self.rows, list(ids), list(labels)))
        return feedback(self, ids, labels, *args)

    monkeypatch.setattr(Stream, "ask", spy_ask)
    monkeypatch.setattr(Stream, "feedback", spy_feedback)
    return log


def test_scores_are_those_of_the_answers(model):
    parts = parts_of()
    result = replay(model, parts, labels=8, guard="never")
    frame = pd.concat([frame for _, frame in parts], ignore_index=True)
    right = (model.predict(inputs(frame))["prediction"] == frame["y"]).to_numpy(float)
    assert np.array_equal(result.scores.of("source"), right)
    assert np.array_equal(result.scores.of("served"), right)
    assert not np.array_equal(result.scores.of("proposal"), right)
    summary = result.record["summary"]
    assert summary["source"] == summary["served"] == right.mean()
    assert summary["harm"]["mean"] == summary["harm"]["worst_window"] == 0
    assert [part["source"] for part in result.record["parts"]] == [right[:200].mean(), right[200:].mean()]
    assert result.record["stream"]["served"] == {"source": 400, "proposal": 0}


def test_while_the_guard_holds_the_source_is_served(model):
    result = replay(model, parts_of(), labels=4)
    held = ~np.concatenate(result.scores.by)
    assert held.all(), "eight labels cannot earn it"
    assert np.array_equal(result.scores.of("source"), result.scores.of("served"))


def test_always_serves_the_proposal(model):
    result = replay(model, parts_of(), labels=4, guard="always")
    assert np.array_equal(result.scores.of("proposal"), result.scores.of("served"))
    assert [part["served_by_proposal"] for part in result.record["parts"]] == [1.0, 1.0]


def test_the_proposal_is_what_a_stream_would_serve(model):
    """The watch answers every row twice; what it scores is what `always` serves without it."""
    parts = parts_of(128)
    watched = replay(model, parts, labels=0)
    stream = model.stream(guard="always")
    frame = pd.concat([frame for _, frame in parts], ignore_index=True)
    answers = pd.concat([stream.predict(inputs(frame.iloc[i : i + CHUNK])) for i in range(0, 256, CHUNK)])
    right = (answers["prediction"].to_numpy() == frame["y"].to_numpy()).astype(float)
    assert np.array_equal(watched.scores.of("proposal"), right)


@pytest.mark.parametrize("labels", [0, 1, 5, 16])
def test_each_part_has_its_budget(model, calls, labels):
    parts = [*parts_of(400), ("short", three(30, 9))]
    result = replay(model, parts, labels=labels, delay=0)
    asked = [ids for _, ids in calls["ask"]]
    bounds = [(0, 400), (400, 800), (800, 830)]
    for (start, end), part in zip(bounds, result.record["parts"], strict=True):
        inside = [i for ids in asked for i in ids if start <= i < end]
        assert len(inside) == len(set(inside)) <= labels
        assert part["labels"] <= labels
        if end - start == 400:
            assert len(inside) == part["labels"] == labels
    assert result.stream.asked == sum(len(ids) for ids in asked)


@pytest.mark.parametrize("delay", [0, 64, 100, 1000])
def test_labels_come_late_and_right(model, calls, delay):
    parts = parts_of(400)
    result = replay(model, parts, labels=8, delay=delay)
    truth = pd.concat([frame["y"] for _, frame in parts], ignore_index=True)
    asked = {i: row for row, ids in calls["ask"] for i in ids}
    told = [i for _, ids, _ in calls["feedback"] for i in ids]
    for row, ids, labels in calls["feedback"]:
        assert labels == truth[ids].tolist()
        assert all(asked[i] + delay <= row < asked[i] + delay + 2 * CHUNK for i in ids)
    assert len(told) == result.stream.labels == sum(part["labels"] for part in result.record["parts"])
    assert (len(told) == 0) == (delay == 1000)
    for row, ids in calls["ask"]:
        assert all(i < row for i in ids)


def test_a_label_counts_for_the_part_that_asked(model):
    result = replay(model, parts_of(256), labels=8, delay=200)
    assert result.record["parts"][0]["labels"] == 8
    assert result.stream.labels == sum(part["labels"] for part in result.record["parts"])


def test_rows_without_truth_are_served_and_not_scored(model):
    frame = three(200, 21)
    frame.loc[50:149, "y"] = None
    bare = three(150, 23).drop(columns="y")
    result = replay(model, [("bare", bare), ("holes", frame), ("bare again", bare)], labels=16, delay=10)
    known = ~np.isnan(result.scores.of("served"))
    assert np.flatnonzero(known).tolist() == [*range(150, 200), *range(300, 350)]
    assert result.stream.rows == 500
    parts = result.record["parts"]
    assert parts[0]["source"] is None
    assert parts[0]["labels"] == parts[2]["labels"] == 0
    assert 0 < parts[1]["labels"] <= 16
    assert set(result.stream.trace.served.values()) == {0, 500}
    assert any("nan is no class" in event["text"] for event in result.stream.trace.events)
    assert "<html" in render(result.record)


def test_no_row_of_an_earlier_part_is_asked_for(model, calls):
    """Quarantined rows and rows that lost their place to a label must not make the part look longer than it is."""
    bare = three(300, 23).drop(columns="y")
    broken = three(300, 24).astype(object)
    broken.loc[::2, "a"] = "broken"
    result = replay(model, [("bare", bare), ("broken", broken)], labels=150, delay=0)
    asked = [i for _, ids in calls["ask"] for i in ids]
    assert min(asked) >= 300
    assert 100 < len(asked) <= 150
    assert result.record["parts"][1]["labels"] == len(asked)


def test_a_class_that_the_model_does_not_know(model):
    frame = three(400, 21)
    frame.loc[::2, "y"] = "zebra"
    result = replay(model, [("one", frame)], labels=16, delay=0)
    assert not result.scores.of("served")[::2].any(), "what the model cannot answer is wrong"
    assert result.scores.of("served")[1::2].mean() > 0.5
    assert result.scores.unknown == 200
    notes = [event["text"] for event in result.stream.trace.events if "zebra" in event["text"]]
    assert len(notes) + result.record["parts"][0]["labels"] == 16
    assert notes
    assert "zebra" in render(result.record)


def test_bad_rows(model):
    frame = three(200, 21).astype(object)
    frame.loc[::5, "c"] = "broken"
    result = replay(model, [("one", frame)], labels=8, delay=0)
    assert len(result.scores.of("served")) == 160
    assert result.record["stream"]["quarantined"] == 40
    assert result.record["parts"][0]["rows"] == 160


def test_ids_that_begin_again_in_each_part(with_ids):
    parts = [(f"day {n}", three(200, n).assign(key=[f"k{i}" for i in range(200)])) for n in range(3)]
    result = replay(with_ids, parts, labels=150, delay=100)
    assert result.stream.rows == 600
    assert all(0 < part["labels"] <= 150 for part in result.record["parts"])


def test_a_row_that_comes_again_unreadable_leaves_the_old_label_alone(with_ids, calls):
    first = three(200, 1).assign(key=[f"k{i}" for i in range(200)]).astype(object)
    again = first.assign(c="broken", y=np.roll(first["y"], 1))
    result = replay(with_ids, [("first", first), ("again", again)], labels=12, delay=150)
    told = [pair for _, ids, labels in calls["feedback"] for pair in zip(ids, labels, strict=True)]
    asked = {known for row, ids in calls["ask"] if row <= 200 for known in ids}
    assert len(asked) == result.record["parts"][0]["labels"] == 12
    assert asked <= {known for known, _ in told}
    truth = dict(zip(first["key"], first["y"], strict=True))
    assert [label for _, label in told] == [truth[known] for known, _ in told]


def test_methods_beside_do_not_touch_the_stream(model):
    alone = replay(model, parts_of(128), labels=8, delay=0)
    watched = replay(model, parts_of(128), labels=8, delay=0, methods=("align", "tent", "prior", "source"))
    for name in ("source", "proposal", "served"):
        assert np.array_equal(alone.scores.of(name), watched.scores.of(name))
    assert alone.stream.state.equal(watched.stream.state)
    assert alone.stream.guard.to_dict() == watched.stream.guard.to_dict()
    assert np.array_equal(watched.scores.of("source"), alone.scores.of("source"))
    forwards = watched.record["cost"]["forwards_per_row"]
    assert (forwards["prior"], forwards["align"], forwards["tent"]) == (2, 4, 4)
    assert set(watched.record["summary"]["methods"]) == {"align", "tent", "prior"}, "the source is always there"


def test_the_same_twice(model):
    one, other = (replay(model, parts_of(128), labels=8, delay=0, seed=3) for _ in range(2))
    assert one.stream.state.equal(other.stream.state)
    assert np.array_equal(one.scores.of("proposal"), other.scores.of("proposal"))


@pytest.mark.parametrize("sort", ["model", "regression", "images"])
def test_the_record_is_a_report(request, sort):
    model = request.getfixturevalue(sort)
    parts = [("calm & quiet", frame_of(model, 100, 1, shifted=False)), ("moved", frame_of(model, 100, 2))]
    result = replay(model, parts, labels=8, delay=0, methods=("align",), title="Replay <1>")
    page = render(result.record)
    assert "Replay &lt;1&gt;" in page
    assert "calm &amp; quiet" in page
    assert result.record["curve"][-1]["row"] == 200
    stated = result.record["reliability"]
    assert sum(b["count"] for b in stated.get("served", [])) == (0 if sort == "regression" else 200)
    assert ('id="confidence"' in page) == bool(stated)


class Known:
    """Scores as a replay would leave them, without a model."""

    def __init__(self, source, served, by, confidence):
        self.names = ["source", "proposal", "served"]
        self.columns = {"source": [source], "proposal": [served], "served": [served]}
        self.confidence = {"source": [confidence], "served": [confidence]}
        self.hits = {"source": [source], "served": [served]}
        self.by = [by]
        self.rows = len(source)

    of, means = Scores.of, Scores.means


def test_figures_by_hand():
    source = np.array([1.0, 0.0, np.nan, 1.0, 0.0, 0.0])
    served = np.array([1.0, 1.0, np.nan, 0.0, 1.0, 0.0])
    scores = Known(source, served, np.array([0, 0, 0, 1, 1, 1], bool), np.array([0.95, 0.3, 0.9, 0.99, 0.35, 1.0]))
    points = curve(scores, points=3)
    assert [point["row"] for point in points] == [2, 4, 6]
    assert [point["source"] for point in points] == [0.5, 1.0, 0.0]
    assert [point["served"] for point in points] == [1.0, 0.0, 0.5]
    assert Span("x", 2, 6).share_served(scores) == 0.75
    bins = reliability(scores)["source"]
    assert [(b["count"], b["accuracy"]) for b in bins] == [(2, 0.0), (3, pytest.approx(2 / 3))]
    assert bins[0]["confidence"] == pytest.approx(0.325)


def test_harm_by_hand():
    found = harm(np.array([1.0, 1.0, 0.0, np.nan, 1.0]), np.array([0.0, 1.0, 1.0, 1.0, 0.0]))
    differences = np.array([100.0, 0.0, -100.0, 100.0])
    assert found["mean"] == 25.0 == found["worst_window"]
    assert found["window"] == 4, "there are no 1,000 rows"
    half = 1.96 * differences.std(ddof=1) / 2
    assert (found["low"], found["high"]) == (pytest.approx(25 - half), pytest.approx(25 + half))
    assert harm(np.array([np.nan]), np.array([1.0])) is None
    one = harm(np.array([1.0]), np.array([0.0]))
    assert one["mean"] == one["low"] == one["high"] == 100.0


def test_worst_window_of_a_long_stream():
    source, served = np.ones(5000), np.ones(5000)
    served[1700:2300] = 0  # 600 rows lost in a row, hence 60 points over the worst thousand
    served[3000:] = np.nan
    found = harm(source, served)
    assert found["worst_window"] == pytest.approx(60)
    assert found["window"] == 1000
    assert found["mean"] == pytest.approx(20)
