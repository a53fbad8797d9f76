"""Several modalities in one row: some may be missing, training may leave some out, and attention says which it read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.errors import ConfigError, DataError
from aet.training.loop import batch_loss
from aet.training.switch import Run
from aet.training.switches.each_modality import EachModality
from aet.training.switches.modality_dropout import kept

from .made import quick, sentences, shapes


@pytest.fixture(scope="module")
def rows():
    """A picture that decides the answer, a sentence that decides nothing, and a number."""
    frame = shapes(120)
    frame["note"] = sentences(120)["text"]
    frame["n"] = np.random.default_rng(0).normal(size=120)
    return frame[["picture", "note", "n", "y"]]


@pytest.fixture(scope="module")
def model(rows):
    return aet.train(rows, "y", config=quick(epochs=12, switches={"modality_dropout": {}}))


def without(rows, *names):
    lacking = rows.copy()
    for name in names:
        lacking[name] = None
    return lacking


def test_a_row_may_lack_a_picture_where_there_is_more(rows, model):
    answers = model.predict(without(rows[:5], "picture").drop(columns="y"))
    assert answers["problem"].isna().all()
    assert np.isfinite(answers["confidence"].astype(float)).all()
    mixed = rows[:4].copy()
    mixed.loc[[1, 3], "picture"] = None
    alone = model.predict(rows[:4])
    both = model.predict(mixed)
    # What a row has is read as it would be beside rows that lack nothing.
    assert both["confidence"][[0, 2]].tolist() == pytest.approx(alone["confidence"][[0, 2]].tolist(), abs=1e-5)
    assert both["confidence"][1] != pytest.approx(alone["confidence"][1], abs=1e-4)


def test_a_picture_that_is_broken_is_no_missing_one(rows, model):
    bad = rows[:3].copy()
    bad.at[1, "picture"] = np.full((8, 8), np.nan, dtype=np.float32)
    assert model.predict(bad)["problem"].notna().tolist() == [False, True, False]


def test_a_row_with_nothing_is_kept_aside():
    frame = shapes(60)
    frame["other"] = shapes(60, seed=1)["picture"]
    model = aet.train(frame, "y", config=quick(epochs=1))
    bare = frame[:2].copy()
    bare.loc[1, ["picture", "other"]] = None
    problems = model.predict(bare)["problem"]
    assert problems.isna().tolist() == [True, False]
    assert "a value in one of these or more, got none" in problems[1]


def test_one_modality_alone_may_not_be_missing():
    frame = shapes(60)
    model = aet.train(frame, "y", config=quick(epochs=1))
    assert "expected an image, got a missing value" in model.predict(pd.DataFrame({"picture": [None]}))["problem"][0]


def test_training_rows_may_lack_pictures(rows):
    some = rows.copy()
    some.loc[some.index % 3 == 0, "picture"] = None
    model = aet.train(some, "y", config=quick(epochs=1))
    assert not model.report.get("problems")
    assert model.predict(some)["problem"].isna().all()


def test_a_picture_missing_from_every_row_is_named(rows):
    with pytest.raises(DataError, match="image input 'picture' is missing from every row"):
        aet.train(without(rows, "picture"), "y", kinds={"picture": "image"}, config=quick(epochs=1))


def test_attention_says_which_modality_an_answer_rests_on(rows, model):
    shares = model.focus(rows)
    assert list(shares) == ["id", "picture", "note", "table"]
    assert np.allclose(shares[["picture", "note", "table"]].sum(axis=1), 1, atol=1e-5)
    lacking = model.focus(without(rows[:7], "picture"))
    assert (lacking["picture"] == 0).all()
    assert (lacking["note"] + lacking["table"]).tolist() == pytest.approx([1.0] * 7, abs=1e-5)


def test_streams_take_rows_that_lack_a_picture(rows, model):
    stream = model.stream()
    mixed = rows.copy()
    mixed.loc[mixed.index % 2 == 0, "picture"] = None
    answers = stream.predict(mixed[:64].drop(columns="y"))
    stream.feedback(answers["id"][:8].tolist(), rows["y"][:8].tolist())
    assert stream.predict(mixed[64:].drop(columns="y"))["problem"].isna().all()
    assert all(torch.isfinite(tensor).all() for tensor in stream.state.values())


def test_dropout_leaves_every_row_something():
    torch.manual_seed(0)
    there = torch.rand(500, 4) < 0.6
    there[:, 0] |= ~there.any(1)
    left = kept(there, 0.5)
    assert (left <= there).all()
    assert left.any(1).all()
    many = there[there.sum(1) == 4]
    share = 1 - kept(many.repeat(40, 1), 0.5).float().mean()
    assert float(share) == pytest.approx(0.5 - 0.5**4 / 4, abs=0.02)  # the last one stays


@pytest.mark.parametrize("switch", ["modality_dropout", "each_modality"])
def test_such_switches_need_two_modalities(rows, switch):
    with pytest.raises(ConfigError, match="expected two or more, got table"):
        aet.train(rows[["n", "y"]], "y", config=quick(epochs=1, switches={switch: {}}))


@torch.no_grad()
def test_each_modality_answers_as_if_the_row_had_no_other(rows, model):
    batch = model.encode(model.check(rows[:20], need_target=True).frame, target=True)
    run, switch = Run(model, None, batch, batch, 1, lambda: torch.zeros(())), EachModality(weight=0.5)
    switch.begin(run)
    run.switches = [switch]
    plain = float(batch_loss(run, [], model.trunk, batch))
    added = float(batch_loss(run, [switch], model.trunk, batch)) - plain
    tokens, mask = model.tokens(batch)
    alone = []
    for places in model.modalities().values():
        only = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        only[:, places] = True if mask is None else mask[:, places]
        logits = model.answered(model.trunk(tokens, only), batch)
        alone.append(float(model.output.losses(logits, batch.target).mean()))
    assert added == pytest.approx(0.5 * np.mean(alone), rel=1e-4)
    assert switch.acted() == "60 rows answered from one modality"


@torch.no_grad()
def test_a_modality_that_a_row_lacks_answers_nothing(rows, model):
    some = rows[:20].copy()
    some.loc[::2, "picture"] = None
    batch = model.encode(model.check(some, need_target=True).frame, target=True)
    run, switch = Run(model, None, batch, batch, 1, lambda: torch.zeros(())), EachModality()
    switch.begin(run)
    assert torch.isfinite(batch_loss(run, [switch], model.trunk, batch))
    assert switch.acted() == "50 rows answered from one modality"
