"""DeYO's two filters and its two weights, by hand."""

import math

import numpy as np
import pytest
import torch

from aet.adaptation import Deyo
from aet.adaptation.destroyed import destroyed
from aet.attention.state import applied
from tests.adaptation.models import batch_of


def probabilities(logits):
    z = logits.double().numpy()
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def step_by_step(logits, other, limit=0.5, drop=0.2):
    """The equations, one row after the other; which rows passed which filter."""
    kept, losses = [], []
    for p, q in zip(probabilities(logits), probabilities(other), strict=True):
        entropy, answer = -(p * np.log(p)).sum(), p.argmax()
        fall = p[answer] - q[answer]
        kept.append((entropy < limit * math.log(len(p)), fall > drop))
        if all(kept[-1]):
            losses.append((math.exp(0.4 * math.log(len(p)) - entropy) + math.exp(fall)) * entropy)
    return np.mean(losses) if losses else None, np.array(kept)


def test_step_by_step(model):
    method, draws = Deyo(model), torch.Generator().manual_seed(0)
    for seed in range(3):
        batch = batch_of(model, 60, seed)
        with applied(method.state):
            other = model.logits(destroyed(model, batch, draws))
            expected, kept = step_by_step(model.logits(batch), other)
            loss = method.loss(batch)
        assert loss.item() == pytest.approx(expected, rel=1e-4)
        assert (kept[:, 0] & ~kept[:, 1]).any(), "sure, but not for its shape: left out"
        assert (kept[:, 0] & kept[:, 1]).any()
        method.learn(batch)
        destroyed(model, batch, draws)  # the step drew once more


def test_the_weights_are_constants(model):
    """The slope is that of Σ w H with w fixed."""
    method, batch = Deyo(model), batch_of(model, 60)
    names = [name for name in method.state if method.moves(name)]
    found = method.slopes(lambda _: method.loss(batch), method.state, method.moves)
    other = model.logits(destroyed(model, batch, torch.Generator().manual_seed(0)))
    _, kept = step_by_step(model.logits(batch), other)
    p, q = (torch.from_numpy(probabilities(z)) for z in (model.logits(batch), other))
    answer = p.argmax(1, keepdim=True)
    unsure = -(p * p.log()).sum(1)
    weight = ((0.4 * math.log(3) - unsure).exp() + (p.gather(1, answer) - q.gather(1, answer))[:, 0].exp()).float()

    def fixed(_):
        z = model(batch)
        own = -(z.softmax(-1) * z.log_softmax(-1)).sum(-1)
        return (weight * own)[torch.from_numpy(kept.all(1))].mean()

    expected = method.slopes(fixed, method.state, method.moves)
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in names)


def test_costs_a_forward_more(model):
    method = Deyo(model)
    method(batch_of(model, 40))
    assert method.state.size() > 0
    assert method.passes == 4 * 40


def test_filters_close(model):
    batch = batch_of(model, 40)
    unsure, flat = Deyo(model, limit=0.0), Deyo(model, drop=1.0)
    for method in (unsure, flat):
        method(batch)
        assert method.state.size() == 0
    assert unsure.passes == 40, "no row was sure: none was destroyed"
    assert flat.passes == 80


def test_one_row_of_a_table_teaches_nothing(model):
    method = Deyo(model, limit=2.0, drop=0.0)
    method(batch_of(model, 1))
    assert method.state.size() == 0
