"""A stream from the outside: what it answers, and that it stays apart from others and in its bounds."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import METHODS, Feedback, Stream
from aet.adaptation.sampled import SAMPLE, Sampled
from aet.adaptation.stream import HISTORY
from aet.adaptation.trace import EVENTS
from aet.errors import ConfigError, FeedbackError, ForgottenRow
from tests.adaptation.models import SPECIAL, batch_of, everything, frame_of, inputs, served, three


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Enough to move; whether it learns well is tested elsewhere."""
    monkeypatch.setitem(Feedback.defaults, "steps", 12)


class TestAnswers:
    def test_ids_count_over_the_stream_and_never_take_the_index(self, model):
        stream = model.stream()
        frame = inputs(three(20)).set_index(pd.Index(range(100, 120)))
        assert stream.predict(frame)["id"].tolist() == list(range(20))
        second = stream.predict(frame.iloc[::-1])
        assert second["id"].tolist() == list(range(20, 40))
        assert second.index.tolist() == list(range(20))

    def test_ids_are_the_declared_column(self, with_ids):
        frame = inputs(three(6)).assign(key=["u", "v", None, "x", "u", "z"])
        answers = with_ids.stream().predict(frame)
        assert answers["id"].tolist() == ["u", "v", None, "x", None, "z"]
        assert answers["prediction"].isna().tolist() == [False, False, True, False, True, False]
        assert "row 5, column 'key'" in answers["problem"][4]

    def test_rows_come_in_order_and_bad_ones_say_why(self, model):
        frame = inputs(three(12)).astype(object)
        frame.loc[3, "b"] = "broken"
        frame.loc[7, "a"] = float("inf")
        stream = model.stream(guard="always")
        answers = stream.predict(frame)
        assert list(answers) == [
            "id", "prediction", "confidence", "served_by", "source_prediction", "problem"
        ]  # fmt: skip
        bad = answers["problem"].notna()
        assert np.flatnonzero(bad).tolist() == [3, 7]
        assert "column 'b'" in answers["problem"][3]
        assert "broken" in answers["problem"][3]
        assert answers["prediction"].isna().tolist() == bad.tolist()
        assert answers["served_by"].isna().tolist() == bad.tolist()
        assert answers["id"].tolist() == list(range(12))
        with pytest.raises(FeedbackError):
            stream.feedback([3], ["p"])
        stream.feedback([4], ["p"])
        assert stream.trace.quarantined == 2
        assert "row 16, column 'b'" in stream.predict(frame)["problem"][3], "rows are counted over the stream"

    def test_without_a_state_the_answers_are_the_models(self, model):
        frame = inputs(three(50))
        for guard in ("earned", "always", "never", "likely"):
            answers = model.stream(adapt="source", guard=guard).predict(frame, proba=True)
            expected = model.predict(frame, proba=True)
            for column in expected:
                assert answers[column].tolist() == expected[column].tolist()

    def test_never_serves_the_source_and_always_the_proposal(self, model):
        frame = frame_of(model, 64).drop(columns="y")
        source = model.predict(frame, proba=True)
        never = model.stream(guard="never").predict(frame, proba=True)
        always = model.stream(guard="always").predict(frame, proba=True)
        method = METHODS["auto"](model)
        expected = model.output.answers(method(model.encode(frame)), proba=True)
        assert set(never["served_by"]) == {"source"}
        assert set(always["served_by"]) == {"proposal"}
        for name in ("p_p", "p_q", "p_r"):
            assert never[name].tolist() == source[name].tolist()
            assert always[name].tolist() == pytest.approx(expected[name].tolist())
            assert always[name].tolist() != pytest.approx(source[name].tolist(), abs=1e-3)

    def test_compare_gives_the_sources_answer_too(self, model):
        frame = frame_of(model, 64).drop(columns="y")
        source = model.predict(frame)["prediction"].tolist()
        for guard in ("always", "never"):
            stream = model.stream(guard=guard, compare=True)
            assert stream.predict(frame)["source_prediction"].tolist() == source
            assert stream.trace.passes["served"] == 64 * (2 if guard == "always" else 1)
        assert model.stream(guard="always").predict(frame)["source_prediction"].isna().all()

    def test_proba(self, model):
        answers = model.stream(guard="always").predict(inputs(three(10)), proba=True)
        p = answers[["p_p", "p_q", "p_r"]].to_numpy(float)
        assert p.sum(1) == pytest.approx(1)
        assert answers["confidence"].tolist() == pytest.approx(p.max(1).tolist())
        assert answers["prediction"].tolist() == np.array(["p", "q", "r"])[p.argmax(1)].tolist()

    def test_transductive_learns_before_it_answers(self, model):
        frame = inputs(three(64, 3, shift=1.5))
        batch = model.encode(frame)
        method = METHODS["align"](model, steps=5, lr=0.02)
        method.learn(batch)
        expected = model.output.answers(method.model.logits(batch), proba=True)
        with aet.attention.state.applied(method.state):
            expected = model.output.answers(model.logits(batch), proba=True)
        settings = {"adapt": "align", "guard": "always", "steps": 5, "lr": 0.02}
        first = model.stream(transductive=True, **settings).predict(frame, proba=True)
        after = model.stream(**settings).predict(frame, proba=True)
        assert first["p_p"].tolist() == pytest.approx(expected["p_p"].tolist())
        assert after["p_p"].tolist() == model.predict(frame, proba=True)["p_p"].tolist()
        assert first["p_p"].tolist() != pytest.approx(after["p_p"].tolist())

    def test_no_rows(self, model):
        stream = model.stream(guard="always")
        assert len(stream.predict(inputs(three(5)).iloc[:0])) == 0
        assert stream.rows == 0
        assert stream.ask(3) == []
        stream.feedback([], [])
        assert len(stream.predict(inputs(three(5)))) == 5

    def test_a_state_that_stays_gives_the_same_answers_when_it_is_folded_in(self, model):
        stream, truth = served(model, adapt="feedback", guard="always")
        stream.feedback(range(16), truth[:16])
        frame = inputs(three(80, 8, shift=1.5, gain=0.4))
        first, second, third = (stream.predict(frame, proba=True) for _ in range(3))
        assert stream._merged is not None
        for later in (second, third):
            assert later["p_q"].tolist() == pytest.approx(first["p_q"].tolist(), abs=1e-5)
        stream.undo()
        assert stream.predict(frame, proba=True)["p_q"].tolist() != pytest.approx(first["p_q"].tolist(), abs=1e-3)

    def test_pieces_are_the_whole_and_the_lock_is_free_between_them(self, model):
        frame = inputs(three(100))
        whole = model.stream(adapt="source").predict(frame)
        stream, pieces = model.stream(adapt="source"), []
        for piece in stream.predict_iter(frame, rows=30):
            pieces.append(piece)
            other = threading.Thread(target=stream.ask, args=(1,))
            other.start()
            other.join(20)
            assert not other.is_alive(), "another caller waits for the reader of the pieces"
        assert [len(piece) for piece in pieces] == [30, 30, 30, 10]
        pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), whole)

    @pytest.mark.parametrize("sort", ["regression", "images"])
    def test_other_models(self, request, sort):
        model = request.getfixturevalue(sort)
        target = model.schema.target
        frame = frame_of(model, 40)
        stream = model.stream(guard="likely")
        answers = stream.predict(frame.drop(columns=target))
        ids = stream.ask(8)
        stream.feedback(ids, frame[target][ids])
        assert stream.guard.labels == 8
        assert stream.state.size() > 0
        assert answers["prediction"].notna().all()
        assert stream.record()["stream"]["labels"] == 8


class TestApart:
    def test_streams_do_not_move_each_other(self, model):
        fitting = [name for name in METHODS if "label" in (METHODS[name].needs or ("label",))]
        streams = [model.stream(adapt=name) for name in fitting if name not in SPECIAL]
        calm, truth = served(model)
        calm.feedback(range(8), truth[:8])
        before = everything(calm)
        for stream in streams:
            stream.predict(inputs(three(64, 2, shift=3.0)))
            stream.feedback(range(8), ["p"] * 8)
        assert everything(calm) == before
        fresh, _ = served(model)
        fresh.feedback(range(8), truth[:8])
        assert fresh.state.equal(calm.state)

    def test_threads_on_two_streams_answer_as_if_alone(self, model):
        def work(stream, seed, into):
            for step in range(4):
                frame = three(60, seed + step, shift=1.0 + seed, gain=0.5)
                into.append(stream.predict(inputs(frame), proba=True))
                ids = stream.ask(6)
                stream.feedback(ids, [frame["y"][i - 60 * step] if i >= 60 * step else "p" for i in ids])

        def make():
            return [model.stream(adapt="auto", guard="always"), model.stream(adapt="align", guard="always", steps=2)]

        alone, together = [[], []], [[], []]
        for seed, (stream, into) in enumerate(zip(make(), alone, strict=True)):
            work(stream, seed, into)
        threads = [
            threading.Thread(target=work, args=(stream, seed, into))
            for seed, (stream, into) in enumerate(zip(make(), together, strict=True))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for one, other in zip(alone, together, strict=True):
            assert len(one) == len(other) == 4
            for expected, found in zip(one, other, strict=True):
                pd.testing.assert_frame_equal(found, expected)

    def test_threads_on_one_stream_lose_nothing(self, model):
        stream, errors, ids = model.stream(adapt="feedback"), [], []

        def work(seed):
            try:
                for step in range(5):
                    answers = stream.predict(inputs(three(20, seed + step)))
                    ids.extend(answers["id"])
                    stream.feedback(answers["id"][:2], ["p", "q"])
                    stream.ask(1)
            except FeedbackError as error:  # an id may have been asked for, never be unknown
                errors.append(error)

        threads = [threading.Thread(target=work, args=(10 * n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert sorted(ids) == list(range(300))
        assert (stream.rows, stream.labels, len(stream.kept)) == (300, 30, 270)

    def test_the_model_stays(self, model):
        before = {name: t.clone() for name, t in model.state_dict().items()}
        batch = batch_of(model)
        logits = model.logits(batch)
        stream, truth = served(model, guard="always", compare=True)
        stream.feedback(range(8), truth[:8])
        stream.predict(inputs(three(10)))
        assert all(torch.equal(t, before[name]) or t.isnan().any() for name, t in model.state_dict().items())
        assert torch.equal(model.logits(batch), logits)


class TestBounds:
    def test_twenty_thousand_rows(self, model):
        stream = model.stream(adapt="restandardise", keep=500)
        frame = inputs(three(2000)).astype(object)
        frame.loc[::4, "a"] = "broken"
        for _ in range(10):
            stream.predict(frame)
            stream.ask(20)
        assert stream.rows == 20_000
        assert len(stream.kept) <= 1000
        assert len(stream.trace.events) <= EVENTS
        assert stream.trace.quarantined == 5000
        assert len(stream.trace.sample) == SAMPLE
        assert len(stream._history) <= HISTORY
        assert sum(t.numel() for t in stream.method.memory().values()) <= 512 * 4

    def test_the_sample_is_uniform_over_the_stream(self, model):
        counts = np.zeros(8)
        for seed in range(3):
            sampled = Sampled(model.schema, seed)
            for start in (0, 3000, 6000, 14_000):
                rows = np.arange(start, {0: 3000, 3000: 6000, 6000: 14_000, 14_000: 16_000}[start], dtype=float)
                sampled.saw(pd.DataFrame(dict.fromkeys("abcd", rows)))
            assert len(sampled.rows) == SAMPLE
            assert sampled.rows["a"].is_unique
            counts += np.bincount((sampled.rows["a"] // 2000).astype(int), minlength=8)
        expected = 3 * SAMPLE / 8
        assert (np.abs(counts - expected) < 5 * expected**0.5).all()

    def test_answers_of_the_past_never_change(self, model):
        stream, truth = served(model, guard="always")
        answers = stream.predict(inputs(three(30)))
        copy = answers.copy(deep=True)
        stream.feedback(range(20), truth[:20])
        stream.predict(inputs(three(30)))
        stream.undo()
        pd.testing.assert_frame_equal(answers, copy)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"adapt": "algin"}, "Did you mean 'align'"),
            ({"guard": "earnt"}, "no guard 'earnt'"),
            ({"keep": -1}, "keep is a number of rows"),
            ({"wrong": 1}, "no setting"),
            ({"adapt": "align", "steps": 0}, "steps"),
        ],
    )
    def test_wrong_settings(self, model, settings, words):
        with pytest.raises(ConfigError, match=words):
            Stream(model, **settings)

    def test_keep_nothing(self, model):
        stream, _ = served(model, keep=0)
        assert stream.ask(4) == []
        with pytest.raises(ForgottenRow):
            stream.feedback([95], ["p"])
