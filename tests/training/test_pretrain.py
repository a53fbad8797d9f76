"""Masked pretraining: what stands behind tokens, the loss by hand, that it is learned, and that it goes on exactly."""

import numpy as np
import pandas as pd
import pytest
import torch

from aet.batch import Batch
from aet.errors import ConfigError
from aet.training import checkpoint
from aet.training.pretrain import Masked, pretrain, token_losses

from ..made import shapes, signs
from .loops import Interrupt, bits, prepared, same


def masked_of(model, rows):
    torch.manual_seed(0)
    return Masked(model, rows[torch.arange(1)])


def test_what_stands_behind_the_tokens_of_each_kind():
    model, train, _ = prepared()
    parts = dict(model.parts())
    number, size = parts["number0"].behind(train.values["number0"])
    assert size == 1
    torch.testing.assert_close(number, train.values["number0"].asinh(), equal_nan=True)
    category, classes = parts["category0"].behind(train.values["category0"])
    assert classes == parts["category0"].embedding.num_embeddings
    assert ((category == -1) == (train.values["category0"] < 2)).all()
    text, words = parts["text0"].behind(train.values["text0"])
    assert words == parts["text0"].pieces.num_embeddings
    assert (text[:, 0] == -1).all(), "the start is never asked for"


def test_what_stands_behind_a_patch():
    model, train, _ = prepared(shapes(150))
    part = model.inputs["image0"]
    images, (down, across), side = train.values["image0"], part.grid, part.patch
    pixels, width = part.behind(images)
    assert pixels.shape == (len(images), down * across, width)
    torch.testing.assert_close(pixels[3, 1], images[3, 0, :side, side : 2 * side].reshape(-1))
    odd = torch.zeros(1, 1, 8, 8)
    part.patch = 5
    assert int(part.behind(odd)[0].isnan().sum()) == 100 - 64, "beyond the edge nothing is known"


def test_the_loss_of_a_token_by_hand():
    told = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert token_losses(told, torch.tensor([[2.0, 4.0], [torch.nan, 3.0]])).tolist() == [2.5, 9.0]
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    expected = -torch.log_softmax(logits, -1)[0, 0] / np.log(4)
    torch.testing.assert_close(token_losses(logits, torch.tensor([0])), expected[None])


def test_tokens_that_are_hidden():
    model, train, _ = prepared()
    masked = masked_of(model, train)
    for share in (1e-6, 0.5):
        hidden = masked.choose(train, share, torch.Generator().manual_seed(0))
        _, mask = model.tokens(train)
        assert (hidden & ~mask).sum() == 0, "what is not there is not hidden"
        assert (hidden.sum(1) >= 1).all()
        missing = torch.cat([v.flatten(1).isnan() for n, v in train.values.items() if n == "number0"], 1)
        assert (hidden[:, : missing.shape[1]] & missing).sum() == 0, "a missing number is not asked for"
        if share < 0.1:
            assert (hidden.sum(1) == 1).all()
        else:
            assert 0.4 < float(hidden.sum() / mask.sum()) < 0.6


def test_a_hidden_value_does_not_reach_the_trunk():
    model, train, _ = prepared(signs(150), drift=0.0)
    model.eval()
    masked = masked_of(model, train)
    hidden = torch.zeros(len(train), 2, dtype=torch.bool)
    hidden[:, 0] = True
    values = train.values["number0"].clone().requires_grad_()
    heard = {}
    forward = model.trunk.forward
    model.trunk.forward = lambda tokens, *rest: heard.update(tokens=tokens) or forward(tokens, *rest)
    masked(Batch({"number0": values}), hidden)
    (slope,) = torch.autograd.grad(heard["tokens"].square().sum(), values)
    assert slope[:, 0].abs().max() == 0
    assert slope[:, 1].abs().max() > 0


def test_what_others_tell_is_learned():
    """b = a: a hidden one is known from the other, where the guess of its mean would be off by its variance."""
    x = np.random.default_rng(0).normal(size=300)
    frame = pd.DataFrame({"a": x, "b": x, "y": np.where(x > 0, "plus", "minus")})
    model, train, _ = prepared(frame, drift=0.0, dim=16)
    before = bits(model)
    losses = pretrain(model, Batch(train.values), 80, 0.3, 5e-3)
    assert len(losses) == 80
    assert losses[-1] < 0.3 * losses[0]
    after = bits(model)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(("output.", "trunk.pool.")))
    assert not torch.equal(before["inputs.number0.weight"], after["inputs.number0.weight"])
    assert all(p.grad is None for p in model.parameters())


def test_it_goes_on_exactly(tmp_path, monkeypatch):
    model, train, _ = prepared()
    rows = Batch(train.values)
    whole = pretrain(model, rows, 3, 0.3, 1e-3)
    again, *_ = prepared()
    save, saved = checkpoint.save, []

    def interrupted(*given):
        save(*given)
        saved.append(1)
        if len(saved) == 2:
            raise Interrupt

    monkeypatch.setattr(checkpoint, "save", interrupted)
    with pytest.raises(Interrupt):
        pretrain(again, rows, 3, 0.3, 1e-3, tmp_path)
    fresh, *_ = prepared()
    assert pretrain(fresh, rows, 3, 0.3, 1e-3, tmp_path) == whole
    assert len(saved) == 3, "two epochs were not made again"
    assert same(bits(fresh), bits(model))
    other, *_ = prepared()
    assert pretrain(other, rows, 3, 0.5, 1e-3, tmp_path) != whole, "another share is another run"


def test_one_token_leaves_nothing_to_tell_from():
    model, train, _ = prepared(signs(150)[["a", "y"]])
    with pytest.raises(ConfigError, match="two tokens or more, got 1"):
        pretrain(model, Batch(train.values), 1, 0.3, 1e-3)
