"""Late labels: what they change, what they must not, which rows they are asked for, and how to take it all back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import Earned, Feedback, Stream
from aet.adaptation.stream import HISTORY
from aet.attention.state import ElasticState
from aet.errors import ConfigError, FeedbackError, ForgottenRow
from tests.adaptation.models import everything, inputs, served, three
from tests.made import quick


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Enough to move; whether it learns well is tested elsewhere."""
    monkeypatch.setitem(Feedback.defaults, "steps", 12)


class TestFeedback:
    @pytest.mark.parametrize(
        ("ids", "labels", "error", "words"),
        [
            ([3, 4000], ["p", "q"], FeedbackError, "No row with the id 4000"),
            ([3, "3"], ["p", "q"], FeedbackError, "'3'"),
            ([3, 3], ["p", "q"], FeedbackError, "already has a label"),
            ([3, 1], ["p", "q"], FeedbackError, "already has a label"),
            ([3, 4], ["p", "zebra"], FeedbackError, "'zebra' is no class"),
            ([3, 4], ["p", None], FeedbackError, "None is no class"),
            ([3, 4], ["p", float("nan")], FeedbackError, "is no class"),
            ([3, 4], ["p"], FeedbackError, "2 ids and 1 labels"),
            ([3, [4]], ["p", "q"], FeedbackError, "one value"),
            ([30, 2], ["p", "q"], ForgottenRow, "no longer kept"),
        ],
    )
    def test_wrong_labels_change_nothing(self, model, ids, labels, error, words):
        keep = 12 if error is ForgottenRow else 10_000
        stream, truth = served(model, rows=36, keep=keep)
        stream.predict(inputs(three(36)))
        if error is ForgottenRow:
            ids = [70, 2]
        else:
            stream.feedback([1], truth[1:2])
        stream.ask(4)
        before = everything(stream)
        with pytest.raises(error, match=words) as caught:
            stream.feedback(ids, labels, at_random=True)
        assert type(caught.value) is error
        assert everything(stream) == before

    def test_any_order_and_any_delay(self, model):
        stream, truth = served(model)
        ids = stream.ask(8)
        for seed in range(3):
            stream.predict(inputs(three(40, seed)))
        stream.feedback(np.array(ids[4:]), pd.Series([truth[i] for i in ids[4:]], index=ids[4:]))
        stream.feedback(ids[:4][::-1], [truth[i] for i in ids[:4][::-1]])
        assert stream.labels == stream.guard.labels == 8
        assert stream.method.lessons.labelled.target.tolist() == [
            model.output.classes.index(truth[i]) for i in [*ids[4:], *ids[:4][::-1]]
        ]
        rows = model.encode(inputs(three(96, 3, shift=1.5, gain=0.4))).values["number0"]
        assert torch.equal(stream.method.lessons.labelled.values["number0"][0], rows[ids[4]])

    def test_labels_help(self, model):
        stream, truth = served(model, guard="always")
        fresh = three(400, 11, shift=1.5, gain=0.4)
        before = (stream.predict(inputs(fresh))["prediction"] == fresh["y"]).mean()
        ids = stream.ask(48, newest=96)
        rows = range(96)
        stream.feedback(rows, [truth[i] for i in rows])
        after = (stream.predict(inputs(fresh))["prediction"] == fresh["y"]).mean()
        assert len(ids) <= 48
        assert after > before

    @pytest.mark.parametrize(("at_random", "counted"), [(False, 0), (True, 12)])
    def test_labels_nobody_asked_for(self, model, at_random, counted):
        stream, truth = served(model)
        stream.feedback(range(12), truth[:12], at_random=at_random)
        assert stream.labels == 12
        assert stream.guard.labels == counted
        assert stream.state.size() > 0
        assert len(stream.method.lessons.labelled) == 12

    def test_asked_and_other_labels_together(self, model, monkeypatch):
        stream, truth = served(model)
        asked = stream.ask(3)
        weights = dict(zip(asked, stream.kept.weights[[stream.kept.place[i] for i in asked]].tolist(), strict=True))
        other = [i for i in range(20) if i not in asked][:3]
        seen = []
        monkeypatch.setattr(stream.guard, "update", lambda gain, weight, row, over: seen.append((weight, row)))
        ids = [other[0], asked[0], asked[1], other[1], asked[2], other[2]]
        stream.feedback(ids, [truth[i] for i in ids])
        assert seen == [(weights[i], i) for i in asked]
        assert all(0 < weight <= 2 for weight, _ in seen)

    @pytest.mark.parametrize("sizes", [[1, 1, 1], [20], [3, 9, 40]])
    def test_each_label_is_scored_by_a_state_it_did_not_train(self, model, monkeypatch, sizes):
        stream, truth = served(model)
        trained, scored = set(), []
        label, score = stream.method.label, stream._score

        def rows_of(batch):
            return {row.numpy().tobytes() for row in batch.values["number0"]}

        def spy_label(batch):
            assert rows_of(batch) <= set(scored), "each row is scored before it trains"
            trained.update(rows_of(batch))
            label(batch)

        def spy_score(batch, weights, asked, now):
            assert not rows_of(batch) & trained
            scored.extend(rows_of(batch))
            score(batch, weights, asked, now)

        monkeypatch.setattr(stream.method, "label", spy_label)
        monkeypatch.setattr(stream, "_score", spy_score)
        start = 0
        for size in sizes:
            stream.feedback(range(start, start + size), truth[start : start + size], at_random=True)
            start += size
        assert len(scored) == len(trained) == start
        assert stream.guard.labels == start

    def test_the_guard_hears_the_paired_difference(self, model, monkeypatch):
        stream, truth = served(model)
        stream.feedback(range(8), truth[:8])
        rows = model.encode(inputs(three(96, 3, shift=1.5, gain=0.4)))
        pick = torch.arange(20, 24)
        target = model.output.encode(pd.DataFrame({"y": truth[20:24]}))
        with aet.attention.state.applied(stream.state):
            adapted = model.output.scores(model.logits(rows[pick]), target)
        gains = (adapted - model.output.scores(model.logits(rows[pick]), target)).tolist()
        heard = []
        monkeypatch.setattr(stream.guard, "update", lambda gain, weight, row, over: heard.append((gain, weight, row)))
        stream.feedback(range(20, 24), truth[20:24], at_random=True)
        assert heard == [(gain, 1.0, None) for gain in gains]

    def test_serving_begins_when_the_guard_says_so(self, model):
        stream, truth = served(model, guard=Earned(level=0.5, margin=0.2), rows=60)
        assert stream.predict(inputs(three(2)))["served_by"][0] == "source"
        stream.feedback(range(60), truth, at_random=True)
        by = stream.predict(inputs(three(2)))["served_by"][0]
        assert by == ("proposal" if stream.guard.serving else "source")
        assert stream.guard.serving
        assert "served" in [event["kind"] for event in stream.trace.events]

    def test_a_method_without_use_for_labels_still_feeds_the_guard(self, model):
        stream, truth = served(model, adapt="restandardise")
        before = stream.state
        stream.feedback(range(10), truth[:10], at_random=True)
        assert stream.guard.labels == 10
        assert stream.state is before

    def test_text_labels_for_numbers_and_numpy_ids(self):
        frame = three(120).assign(y=lambda f: f["y"].map({"p": 1, "q": 2, "r": 3}))
        model = aet.train(frame, target="y", config=quick(epochs=1))
        stream = model.stream()
        stream.predict(inputs(frame))
        stream.feedback(np.arange(3), ["1", 2.0, np.int64(3)])
        assert stream.method.lessons.labelled.target.tolist() == [0, 1, 2]

    def test_several_targets(self):
        frame = three(160)
        frame = frame.assign(one=(frame["a"] > 1).astype(int), two=(frame["b"] > 1).astype(int)).drop(columns="y")
        model = aet.train(frame, target=["one", "two"], config=quick(epochs=1))
        stream = model.stream()
        stream.predict(frame.drop(columns=["one", "two"]))
        stream.feedback([0, 1, 2], [[0, 1], {"two": 0, "one": 1}, np.array([1, 1])])
        assert stream.method.lessons.labelled.target.tolist() == [[0, 1], [1, 0], [1, 1]]
        before = everything(stream)
        for label in ([1], [0, 1, 1], 1, {"one": 1}, "01", [0, 2], None):
            with pytest.raises(FeedbackError):
                stream.feedback([3], [label])
        assert everything(stream) == before


class TestAsk:
    def test_asks_for_served_rows_once(self, model):
        stream, _ = served(model, rows=40)
        first, second, rest = stream.ask(10), stream.ask(10), stream.ask(100)
        assert len({*first, *second, *rest}) == len(first) + len(second) + len(rest) == 40
        assert stream.ask(5) == []
        assert stream.asked == 40
        assert all(type(i) is int for i in first)

    def test_labelled_rows_are_not_asked_for(self, model):
        stream, truth = served(model, rows=40)
        stream.feedback(range(30), truth[:30])
        assert set(stream.ask(100)) == set(range(30, 40))

    def test_newest(self, model):
        stream, _ = served(model, rows=40)
        assert set(stream.ask(100, newest=6)) == set(range(34, 40))
        assert stream.ask(3, newest=6) == []
        for newest in (0, -4):
            with pytest.raises(ConfigError, match="newest"):
                stream.ask(3, newest=newest)
        assert stream.ask(0) == stream.ask(-2) == []

    def test_the_seed_draws(self, model):
        one, _ = served(model, seed=1)
        same, _ = served(model, seed=1)
        other, _ = served(model, seed=3)
        assert one.ask(12) == same.ask(12) != other.ask(12)

    def test_declared_ids(self, with_ids):
        stream = with_ids.stream()
        frame = inputs(three(30)).assign(key=[f"k{i}" for i in range(30)])
        stream.predict(frame)
        ids = stream.ask(5)
        assert set(ids) <= set(frame["key"])
        stream.feedback(ids, ["p"] * 5)
        stream.predict(frame.iloc[:10])
        stream.feedback(["k0"], ["q"])
        assert stream.labels == 6


class TestUndo:
    def test_gives_each_earlier_state_back_exactly(self, model):
        stream, truth = served(model)
        states, memories = [stream.state.copy()], [everything(stream)["memory"]]
        for start in range(0, 30, 10):
            stream.feedback(range(start, start + 10), truth[start : start + 10])
            states.append(stream.state.copy())
            memories.append(everything(stream)["memory"])
        stream.undo()
        assert stream.state.equal(states[2])
        assert everything(stream)["memory"] == memories[2]
        stream.undo(2)
        assert stream.state.equal(states[0])
        assert everything(stream)["memory"] == memories[0]
        stream.undo()
        assert stream.state.equal(ElasticState.zeros(model))
        with pytest.raises(ConfigError, match="0 changes can be undone"):
            stream.undo()

    def test_one_feedback_is_one_change(self, model):
        stream, truth = served(model, adapt="feedback")
        stream.feedback(range(40), truth[:40])
        assert len(stream._history) == 1
        stream.undo()
        assert stream.state.equal(ElasticState.zeros(model))

    def test_feedback_after_undo_is_as_if_nothing_had_been(self, model):
        stream, truth = served(model, adapt="feedback")
        twin, _ = served(model, adapt="feedback")
        stream.feedback(range(10), truth[:10])
        stream.feedback(range(10, 20), [truth[0]] * 10)
        stream.undo()
        twin.feedback(range(10), truth[:10])
        for one in (stream, twin):
            one.feedback(range(20, 30), truth[20:30])
        assert stream.state.equal(twin.state)
        evidence = stream.guard.to_dict()
        for one in (stream, twin):
            one.feedback(range(10, 20), truth[10:20])
        assert stream.state.equal(twin.state), "rows whose wrong labels were undone take the right ones"
        assert stream.guard.to_dict() == evidence
        with pytest.raises(FeedbackError, match="already"):
            stream.feedback([15], ["p"])

    def test_ids_of_numpy_can_be_undone_and_saved(self, model, tmp_path):
        stream, truth = served(model, adapt="feedback")
        stream.feedback(np.arange(4), truth[:4])
        stream.undo()
        copy = Stream.load(model, stream.save(tmp_path / "s", rows=True))
        copy.feedback(np.arange(4), truth[:4])
        assert not copy.state.equal(ElasticState.zeros(model))

    def test_undoes_what_batches_moved(self, model):
        for adapt in ("align", "restandardise", "prior", "tent"):
            stream = model.stream(adapt=adapt)
            stream.predict(inputs(three(64, 1, shift=1.0)))
            state = stream.state.copy()
            stream.predict(inputs(three(64, 2, shift=1.0)))
            assert not stream.state.equal(state)
            stream.undo()
            assert stream.state.equal(state)
            stream.undo()
            assert stream.state.equal(ElasticState.zeros(model))

    def test_the_evidence_stays(self, model):
        stream, truth = served(model)
        stream.feedback(range(10), truth[:10], at_random=True)
        evidence = stream.guard.to_dict()
        stream.undo()
        stream.reset()
        assert stream.guard.to_dict() == evidence

    @pytest.mark.parametrize("steps", [0, -1, 5])
    def test_wrong_steps(self, model, steps):
        stream, truth = served(model)
        stream.feedback(range(4), truth[:4])
        before = everything(stream)
        with pytest.raises(ConfigError, match="2 changes can be undone"):
            stream.undo(steps)
        assert everything(stream) == before

    def test_reset_and_back(self, model):
        stream, truth = served(model, adapt="feedback", guard="always")
        stream.feedback(range(10), truth[:10])
        state, answers = stream.state.copy(), stream.predict(inputs(three(9)))
        stream.reset()
        assert stream.state.equal(ElasticState.zeros(model))
        assert stream.method.labelled is None
        stream.undo()
        assert stream.state.equal(state)
        assert stream.predict(inputs(three(9)))["confidence"].tolist() == pytest.approx(answers["confidence"].tolist())

    def test_history_is_bounded(self, model):
        stream = model.stream(adapt="tent")
        for _ in range(HISTORY + 10):
            stream.predict(inputs(three(4)))
        assert len(stream._history) == HISTORY
        stream.undo(HISTORY)
