"""Which rows FTAT's label part hears, row by row."""

import math

import numpy as np
import torch

from aet.adaptation import Bbse, Ftat
from aet.summaries import summaries
from tests.adaptation.models import batch_of, three


def step_by_step(p, summary, k, limit):
    """The formula with loops."""
    unit, counts = summary / np.linalg.norm(summary, axis=1, keepdims=True), np.zeros(p.shape[1])
    predicted = p.argmax(1)
    for i, row in enumerate(p):
        likeness = unit @ unit[i]
        likeness[i] = -np.inf
        near = np.argsort(-likeness)[:k]
        if -(row * np.log(row)).sum() < limit:
            counts[predicted[i]] += np.mean(predicted[near] == predicted[i])
    return counts


def test_step_by_step(model):
    method, batch = Ftat(model, neighbours=4), batch_of(model, 80)
    method.propose(batch)
    summary, logits = summaries(model, batch)
    p = model.output.probabilities(logits)
    expected = step_by_step(p.double().numpy(), summary.double().numpy(), 4, 0.4 * math.log(3))
    assert np.allclose(method.counts().numpy(), expected, atol=1e-6)
    assert 0 < expected.sum() < 80


def test_unsure_and_odd_rows_are_not_heard(model):
    method = Ftat(model, neighbours=2)
    p = torch.tensor([[0.98, 0.01, 0.01], [0.98, 0.01, 0.01], [0.97, 0.02, 0.01], [0.4, 0.3, 0.3], [0.01, 0.98, 0.01]])
    side = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [1.0, 0.2], [1.0, 0.3]])
    method.recent = torch.cat([p, side.repeat(1, 8)], -1)
    counts = method.counts()
    assert counts.tolist() == [3.0, 0.0, 0.0], "the unsure row is silent, and so is the one among rows of another class"


def test_with_every_row_heard_it_is_bbse(model, monkeypatch):
    batch = model.encode(three(200, 4, mix=(6, 1, 1)), target=True)
    one, other = Ftat(model), Bbse(model)
    monkeypatch.setattr(
        Ftat, "counts", lambda self: torch.bincount(self.recent[:, :3].argmax(-1), minlength=3).double()
    )
    one.propose(batch), other.propose(batch)
    assert torch.allclose(one.state["output.bias"], other.state["output.bias"], atol=1e-5)


def test_if_no_row_is_sure_nothing_moves(model):
    method = Ftat(model, margin=0.0)
    method.propose(batch_of(model, 40))
    assert method.state.size() == 0
    assert len(method.recent) == 40


def test_helps_where_only_the_mix_changed(model):
    batch = model.encode(three(600, 4, mix=(12, 1, 1)), target=True)
    method = Ftat(model)
    right = [float((z.argmax(-1) == batch.target).float().mean()) for z in (model.logits(batch), method(batch))]
    assert right[1] > right[0]
