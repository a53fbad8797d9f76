"""Adapters and prefixes: identities at first, few weights, and at home in a saved model."""

import pytest
import torch

import aet
from aet.attention.state import ElasticState, applied, merge
from aet.config import Config
from aet.training.loop import fit

from ...made import signs
from .tuned import fitted, prepared, trainable

GROWING = [("adapters", {"width": 3}, "adapter"), ("prefix", {"length": 3}, "prefix")]
growing = pytest.mark.parametrize(("name", "settings", "field"), GROWING)


@growing
def test_they_start_as_the_model(name, settings, field):
    model, plain, batch, _ = prepared(name, **settings)
    assert torch.equal(model.logits(batch), plain.logits(batch))
    assert getattr(model.config.model, field) == 3


def test_they_train_few():
    assert sum(trainable(prepared("adapters", width=3, head=False)[0]).values()) == 2 * 2 * (2 * 8 * 3 + 3 + 8)
    assert sum(trainable(prepared("prefix", length=3, head=False)[0]).values()) == 2 * (2 * 8 * 3 + 2)


@growing
def test_the_trunks_own_weights_stand_still_and_theirs_move(name, settings, field):
    model, before, *_ = fitted(name, settings)
    after = model.state_dict()
    assert all(torch.equal(after[key], t) for key, t in before.items() if not key.startswith("output."))
    fresh = {key: t for key, t in after.items() if key not in before}
    assert all(t.any() for t in fresh.values())


@growing
def test_they_are_saved_loaded_merged_and_trained_on(tmp_path, name, settings, field):
    frame = signs(120)
    model = aet.train(frame, target="y", config={"model": {"dim": 8, "depth": 1, "heads": 2}, "train": {"epochs": 2}})
    on = {"epochs": 3, "lr": 0.02, "switches": {name: settings}}
    model.config = Config.read({**model.config.model_dump(), "train": on})
    rows = model.encode(model.check(frame).frame, target=True)
    fit(model, rows, rows)
    model.save(tmp_path)
    again = aet.load(tmp_path)
    assert getattr(again.config.model, field) == 3
    assert torch.equal(again.logits(rows), model.logits(rows))
    state = ElasticState.zeros(again).map(lambda _, t: t + 0.05)
    with applied(state):
        expected = again.logits(rows)
    torch.testing.assert_close(merge(again, state).logits(rows), expected, rtol=1e-4, atol=1e-5)
    names, before = set(again.state_dict()), again.logits(rows)
    fit(again, rows, rows)  # the parts that are there train on
    assert set(again.state_dict()) == names
    assert not torch.equal(again.logits(rows), before)


@growing
def test_a_model_may_be_built_with_them_and_trained_whole(name, settings, field):
    changes = {"model": {"dim": 8, "depth": 1, "heads": 2, field: 2}, "train": {"epochs": 2}}
    model = aet.train(signs(120), target="y", config=changes)
    parts = [t for key, t in model.state_dict().items() if any(part in key for part in ("up", "gate"))]
    assert parts
    assert all(t.any() for t in parts)
