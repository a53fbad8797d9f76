"""What labels taught, with answers corrected by the mix around them: served, compared and saved as one proposal."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import Stream
from aet.adaptation.asking import answered_among
from aet.adaptation.methods.local_mix import correction
from aet.adaptation.serving import CONTEXT
from aet.adaptation.together import predict_together
from aet.attention.state import applied
from tests.adaptation.models import fed, inputs, three
from tests.made import quick


@pytest.fixture(scope="module")
def model():
    return aet.train(three(500), target="y", config=quick(epochs=8, dim=16, dropout=0.0))


@pytest.fixture
def ordered():
    return three(384, 7, shift=1.5).sort_values("y", ignore_index=True)


def taught(model, frame, rows=64, **settings):
    """A stream with sixteen labels whose answers are taken to be alike in time."""
    stream = model.stream(**settings)
    fed(stream, frame.head(128), rows)
    ids = stream.ask(16)
    stream.feedback(ids, frame["y"][ids])
    fed(stream, frame.iloc[128:], rows)
    return stream


def said(stream, frame, rows=64):
    """The proposal's logits to a frame served in calls of so many rows, one after the other."""
    with applied(stream.state):
        logits = stream.model.logits(stream.model.encode(frame))
    return torch.cat([correction(stream.model, least=CONTEXT)(some) for some in logits.split(rows)])


def test_only_labelled_streams_in_some_order_are_corrected(model, ordered):
    stream = model.stream()
    fed(stream, ordered)
    assert stream.method.correction is None, "no label came"
    assert taught(model, ordered).method.correction is not None
    assert "corrected by the mix around them" in taught(model, ordered).method.follows
    assert taught(model, ordered.sample(frac=1, random_state=0, ignore_index=True)).method.correction is None


def test_it_is_served_and_watched_with_the_state(model, ordered, monkeypatch):
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream, seen = taught(model, ordered, guard="always"), []
    stream.watch = lambda checked, source, proposal, served, serving: seen.append((proposal, served))
    answers, expected = stream.predict(inputs(ordered.head(64))), said(stream, ordered.head(64))
    assert stream.choice.by == "guard"
    assert torch.allclose(seen[0][1], expected, atol=1e-4)
    assert torch.equal(*seen[0])
    assert answers["prediction"].tolist() == list(model.output.answers(expected)["prediction"])
    held = taught(model, ordered, guard="never")
    held.watch = stream.watch
    held.predict(inputs(ordered.head(64)))
    assert torch.allclose(seen[1][0], said(held, ordered.head(64)), atol=1e-4)
    assert torch.allclose(seen[1][1], model.logits(model.encode(ordered.head(64))), atol=1e-5)


def test_of_a_call_of_few_rows_the_state_answers_alone(model, ordered, monkeypatch):
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream = taught(model, ordered, guard="always")
    few = ordered.head(CONTEXT - 1)
    with applied(stream.state):
        plain = model.logits(model.encode(few))
    answers = stream.predict(inputs(few))
    assert set(answers["served_by"]) == {"proposal"}
    assert answers["prediction"].tolist() == list(model.output.answers(plain)["prediction"])
    assert torch.equal(stream.method.correction(plain), plain)


@pytest.mark.parametrize("rows", [64, 48, 8])
def test_a_draw_seals_what_would_have_been_served(model, ordered, monkeypatch, rows):
    """Corrected among the rows of the call, not among those that the draw happened to look at."""
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream = taught(model, ordered, rows)
    fed(stream, ordered, rows)
    ids = stream.ask(16, newest=len(ordered))
    found = torch.stack([stream.sealed.take(known, 3) for known in ids])
    at = [known - len(ordered) for known in ids]
    assert torch.allclose(found[:, 1], said(stream, ordered, rows)[at], atol=1e-3)
    assert torch.allclose(found[:, 0], model.logits(model.encode(ordered))[at], atol=1e-4)


@pytest.mark.parametrize("at_a_time", [1, 24])
@pytest.mark.parametrize("rows", [64, 20])
def test_labels_at_random_compare_rows_among_those_of_their_call(model, ordered, monkeypatch, rows, at_a_time):
    """Also where most of a call has its labels and left the store before."""
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream, heard = taught(model, ordered), []
    fed(stream, ordered, rows)
    chosen = np.random.default_rng(0).permutation(len(ordered))[:360]
    truth = ordered["y"].to_numpy()[chosen]
    target = model.output.encode(pd.DataFrame({"y": truth}))
    score = model.output.scores
    both = said(stream, ordered, rows)[chosen], model.logits(model.encode(ordered))[chosen]
    expected = score(both[0], target) - score(both[1], target)
    monkeypatch.setattr(stream.guard, "update", lambda gain, weight, row, over: heard.append((gain, row)))
    monkeypatch.setattr(stream.method, "label", lambda batch: None)
    for some in np.split(np.arange(len(chosen)), range(at_a_time, len(chosen), at_a_time)):
        stream.feedback((chosen[some] + len(ordered)).tolist(), truth[some].tolist(), at_random=True)
    assert [gain for gain, _ in heard] == expected.tolist()
    assert {row for _, row in heard} == {None}, "nobody asked for them"


def test_first_labels_are_not_corrected_among_each_other(model, monkeypatch):
    """No label had come when the rows were served; handed in sorted, they say nothing of the order of the stream."""
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    frame, heard = three(384, 7, shift=1.5), []
    stream = model.stream()
    fed(stream, frame)
    stream.method.pairs = torch.full((2, 128, 3), 1 / 3)
    stream.method.listen()
    monkeypatch.setattr(stream.method.lessons, "label", lambda batch: None)
    monkeypatch.setattr(stream.guard, "update", lambda gain, weight, row, over: heard.append(gain))
    chosen = np.argsort(frame["y"].to_numpy()[:256], kind="stable")
    stream.feedback(chosen.tolist(), frame["y"].to_numpy()[chosen].tolist(), at_random=True)
    assert stream.method.correction is not None
    target, rows = model.output.encode(frame.iloc[chosen]), model.encode(frame.iloc[chosen])
    with applied(stream.state):
        alone = model.output.scores(model.logits(rows), target)
    assert heard[4:] == (alone - model.output.scores(model.logits(rows), target))[4:].tolist()


def test_labels_teach_nothing_that_is_heard_through_their_neighbours(model, ordered, monkeypatch):
    """Of rows that left with their labels it counts what was said to them before they taught."""
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream = taught(model, ordered)
    first = stream.rows
    fed(stream, ordered.iloc[100:164])
    rows = model.encode(ordered.iloc[100:164])
    with applied(stream.state):
        before = model.logits(rows)[:32]
    stream.feedback(range(first, first + 32), ordered["y"].iloc[100:132].tolist())
    with applied(stream.state):
        after = model.logits(rows)
    expected = correction(model, least=CONTEXT)(torch.cat([before, after[32:]]))
    places = np.array([stream.kept.place[first + row] for row in (40, 63)])
    assert torch.allclose(answered_among(stream, stream.kept.among(places)), expected[[40, 63]], atol=1e-4)
    assert not torch.allclose(expected[40], correction(model, least=CONTEXT)(after)[40], atol=1e-4)


def test_a_draw_among_few_of_a_call_sees_the_rest_of_it(model, ordered, monkeypatch):
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream = taught(model, ordered)
    fed(stream, ordered.iloc[100:164])
    ids = stream.ask(8, newest=12)
    found = torch.stack([stream.sealed.take(known, 3)[1] for known in ids])
    expected = said(stream, ordered.iloc[100:164])[[known - len(ordered) for known in ids]]
    assert torch.allclose(found, expected, atol=1e-4)


def test_streams_that_answer_together_say_what_each_says_alone(model, ordered, monkeypatch):
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    alone, shared = ([taught(model, ordered, guard="always", seed=seed) for seed in (0, 1)] for _ in range(2))
    frames = [inputs(ordered.iloc[:40]), inputs(ordered.iloc[200:264])]
    each = [stream.predict(frame, proba=True) for stream, frame in zip(alone, frames, strict=True)]
    together = predict_together(shared, frames, proba=True)
    pd.testing.assert_frame_equal(together, pd.concat(each, ignore_index=True), atol=1e-5)


def test_a_saved_stream_knows_which_rows_came_together(model, ordered, monkeypatch, tmp_path):
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream = taught(model, ordered)
    stream.save(tmp_path, rows=True)
    again = Stream.load(model, tmp_path)
    assert again.method.correction is not None
    assert np.ptp(again.kept.came - stream.kept.came, 0).tolist() == [0, 0]
    places = np.arange(len(stream.kept))
    assert torch.allclose(
        answered_among(again, again.kept.among(places)), answered_among(stream, stream.kept.among(places)), atol=1e-5
    )


def test_rows_taken_in_again_came_with_none(model, ordered, monkeypatch):
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)
    stream = taught(model, ordered)
    stream.recall(range(1000, 1040), inputs(ordered.head(40)))
    assert len(set(stream.kept.came[-40:, 0].tolist())) == 40
    stream.undo()
    assert len(stream.kept.came) == len(stream.kept)
