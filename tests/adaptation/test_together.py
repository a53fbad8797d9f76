"""Streams that answer together say what each says alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from aet.adaptation.base import METHODS
from aet.adaptation.growing import SMALLEST
from aet.adaptation.together import answer_together, predict_together
from aet.errors import ConfigError, SchemaError
from tests.adaptation.models import everything, inputs, three

KINDS = (
    {},
    {"guard": "always"},
    {"adapt": "tent", "guard": "always", "compare": True},
    {"unlabelled": "always"},
    {"adapt": "align", "guard": "always", "transductive": True},
    {"adapt": "lame", "guard": "always"},
    {"adapt": "source", "keep": 5},
    {"guard": "never"},
)
"""Streams with states of their own, without any, with answers of their own, and that compare."""


def site(number, rows=20, seed=0):
    return inputs(three(rows, seed=100 * seed + number, shift=0.3 * number, gain=1 + 0.1 * number))


def taught(model, together):
    """Streams of all kinds that have served and learned; then two more rounds, together or one by one."""
    streams = [model.stream(**kind) for kind in KINDS]
    for number, stream in enumerate(streams):
        frame = three(40, seed=number, shift=0.5 * number)
        stream.predict(inputs(frame))
        ids = stream.ask(4)
        stream.feedback(ids, frame["y"].iloc[[int(i) for i in ids]].tolist())
    answers = []
    for round_ in range(1, 3):
        frames = [site(n, rows=3 * round_ + n, seed=round_) for n in range(len(streams))]
        frames[1].loc[1, "a"] = np.inf
        if together:
            answers.append(predict_together(streams, frames, proba=True))
        else:
            each = [stream.predict(frame, proba=True) for stream, frame in zip(streams, frames, strict=True)]
            answers.append(pd.concat(each, ignore_index=True))
    return streams, pd.concat(answers, ignore_index=True)


def test_answers_and_streams_are_those_of_streams_alone(model):
    together, answers = taught(model, together=True)
    alone, expected = taught(model, together=False)
    numbers = ["confidence", "p_p", "p_q", "p_r"]
    assert set(answers["served_by"].dropna()) == {"source", "proposal"}
    assert answers["problem"].notna().sum() == 2
    pd.testing.assert_frame_equal(answers[numbers], expected[numbers], atol=1e-5, rtol=1e-4)
    rest = [name for name in answers if name not in numbers]
    for name in rest:
        assert [None if pd.isna(cell) else cell for cell in answers[name]] == [
            None if pd.isna(cell) else cell for cell in expected[name]
        ]
    for one, other in zip(together, alone, strict=True):
        assert everything(one) == everything(other)
        assert one.state.equal(other.state)


def test_one_pass_answers_all_that_share(model, monkeypatch):
    streams = [model.stream(adapt="source") for _ in range(3)]
    streams += [model.stream(adapt="source", guard="always") for _ in range(3)]
    for number, stream in enumerate(streams):
        stream.method.state = stream.state.map(lambda _, t, n=number: t + 0.1 * n)
    passes = []
    whole = type(model).logits
    monkeypatch.setattr(
        type(model), "logits", lambda self, batch, *rest: passes.append(len(batch)) or whole(self, batch)
    )
    answers = predict_together(streams, [site(n, rows=2) for n in range(6)])
    assert passes == [12]
    assert answers["served_by"].tolist() == ["source"] * 6 + ["proposal"] * 6


def test_what_a_stream_keeps_holds_no_rows_of_others(model):
    streams = [model.stream(adapt="source") for _ in range(4)]
    predict_together(streams, [site(n, rows=2) for n in range(4)])
    for stream in streams:
        kept = next(iter(stream.kept.batch.values.values()))
        assert kept.untyped_storage().nbytes() == SMALLEST * kept[0].numel() * kept.element_size()
        said = stream.answered.waiting._said
        assert list(said) == ["served"]
        assert said["served"].untyped_storage().nbytes() == SMALLEST * 3 * said["served"].element_size()


def test_rows_may_be_few_or_none(model):
    streams = [model.stream() for _ in range(3)]
    answers = predict_together(streams, [site(0, rows=1), site(1, rows=2).iloc[:0], site(2, rows=1)])
    assert answers["id"].tolist() == [0, 0]
    bad = site(0, rows=1).astype(object)
    bad.loc[0, "a"] = "broken"
    answers = predict_together(streams, [bad, bad, bad])
    assert answers["prediction"].isna().all()
    assert [text[:5] for text in answers["problem"]] == ["row 2", "row 1", "row 2"]


def test_an_id_may_stand_in_two_streams(with_ids):
    streams = [with_ids.stream() for _ in range(2)]
    frame = site(0, rows=2).assign(key=["x", "y"])
    answers = predict_together(streams, [frame, frame])
    assert answers["id"].tolist() == ["x", "y", "x", "y"]
    assert answers["problem"].isna().all()


def test_learning_comes_when_it_is_called(model):
    stream = model.stream(adapt="tent", guard="always")
    before = stream.state
    (part,) = answer_together([stream], site(3), [20]).parts
    assert stream.state is before
    part.learn()
    assert not stream.state.equal(before)


def test_what_cannot_go_together_is_refused(model, with_ids):
    stream, other = model.stream(), with_ids.stream()
    for streams in ([stream, stream], [stream, other]):
        with pytest.raises(ConfigError, match="each named once"):
            predict_together(streams, [site(0), site(1)])
    with pytest.raises(SchemaError, match="Missing columns"):
        predict_together([stream], [site(0).drop(columns="a")])
    assert stream.rows == 0
    assert torch.isfinite(model.logits(model.encode(site(0)))).all()


def test_what_methods_look_at_can_be_told_beforehand(model):
    for name in ("auto", "mixture", "source"):
        one, other = METHODS[name](model), METHODS[name](model)
        for rows in (5, 20, 40):
            batch = model.encode(inputs(three(rows, rows, shift=1.0)))
            looked, before = one.looks(batch), one.state
            assert one.state is before
            state = one.proposed(batch, [one.answer_under(*look) for look in looked])
            assert state.equal(other.propose(batch))
            assert one.passes == other.passes
            assert bool(looked) == (name != "source" and rows > 5)


def test_looks_and_answers_of_all_streams_are_one_pass(model, monkeypatch):
    streams, passes = [model.stream() for _ in range(3)], []
    logits = type(model).logits
    monkeypatch.setattr(type(model), "logits", lambda self, batch: passes.append(len(batch)) or logits(self, batch))
    frames = [inputs(three(16, seed, shift=0.5)) for seed in range(3)]
    answers = predict_together(streams, frames)
    looked = sum(int(stream.trace.passes["adapting"]) for stream in streams)
    assert passes == [48 + looked]
    alone = pd.concat([model.stream().predict(frame) for frame in frames], ignore_index=True)
    assert answers["prediction"].tolist() == alone["prediction"].tolist()
    np.testing.assert_allclose(answers["confidence"], alone["confidence"], atol=1e-5)
