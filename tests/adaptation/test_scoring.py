"""What a row's score and stated confidence are, for every kind of output."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import aet
from aet.adaptation.scoring import Scores, reliability
from tests.adaptation.models import three
from tests.made import quick


@pytest.fixture(scope="module")
def tags():
    """Two yes-or-no answers a row, one easy and one hard."""
    frame = three(300, 1).drop(columns="y")
    frame["easy"] = (frame["a"] > 0).astype(int)
    frame["hard"] = np.random.default_rng(0).integers(0, 2, len(frame))
    return aet.train(frame, target=["easy", "hard"], config=quick(epochs=6, dim=16)), frame


def scored(model, frame):
    """Scores of a batch that the source answers."""
    scores = Scores(model, ["source", "proposal", "served"])
    scores.begin("one")
    checked = model.check(frame)
    logits = model.logits(model.encode(checked.frame))
    scores.note(checked, logits, logits, logits, False, {})
    return scores, logits


def test_an_unknown_class_is_wrong_and_a_missing_one_is_not_scored(model):
    frame = three(30, 2).astype(object)
    frame.loc[:9, "y"] = "zebra"
    frame.loc[10:14, "y"] = None
    scores, _ = scored(model, frame)
    found = scores.of("served")
    assert found[:10].tolist() == [0.0] * 10
    assert np.isnan(found[10:15]).all()
    assert not np.isnan(found[15:]).any()
    assert scores.unknown == 10
    assert scores.means()["source"] == pytest.approx(found[15:].sum() / 25)
    assert sum(b["count"] for b in reliability(scores)["served"]) == 25


def test_only_unknown_classes(model):
    scores, _ = scored(model, three(8).assign(y="zebra"))
    assert scores.of("source").tolist() == [0.0] * 8


def test_an_answer_that_is_no_finite_number_is_not_scored(regression):
    frame = three(20, 1).drop(columns="y").assign(z=[np.inf] * 5 + [1.0] * 15)
    scores, _ = scored(regression, frame)
    assert np.isnan(scores.of("served")).tolist() == [True] * 5 + [False] * 15
    assert scores.unknown == 5


def test_the_confidence_is_the_one_that_answers_state(tags):
    model, frame = tags
    scores, logits = scored(model, frame)
    stated = model.predict(frame)["confidence"].to_numpy()
    assert np.allclose(np.concatenate(scores.confidence["served"]), stated)
    p = model.output.probabilities(logits)
    target = torch.tensor(frame[["easy", "hard"]].to_numpy())
    least = (p - 0.5).abs().argmin(-1)
    right = [(p[i, k] > 0.5) == bool(target[i, k]) for i, k in enumerate(least.tolist())]
    bins = reliability(scores)["served"]
    assert sum(b["accuracy"] * b["count"] for b in bins) == pytest.approx(sum(map(int, right)))
    assert sum(b["confidence"] * b["count"] for b in bins) == pytest.approx(stated.sum())


def test_the_width_of_an_interval_is_no_confidence_to_hold_against_accuracy(regression):
    frame = three(20, 1)
    scores, _ = scored(regression, frame.drop(columns="y").assign(z=frame["a"]))
    assert reliability(scores) == {}
