"""AdapTable's temperatures and mixes against the equations, row by row."""

import numpy as np
import pytest
import torch

from aet.adaptation import AdapTable
from aet.adaptation.methods.adaptable import temperatures
from tests.adaptation.models import batch_of, three


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def step_by_step(logits, source, seen, alpha=0.1, low=0.25, high=0.75):
    """One batch with loops: p', the new π̄, the temperatures."""
    n, classes = logits.shape
    hot = 1.5 * max(source) / min(source)
    doubt, debiased = [], np.zeros(classes)
    for row in logits:
        p = softmax(row)
        second, first = sorted(p)[-2:]
        doubt.append(1 / (first - second))
        debiased += p / source / sum(p / source) / n
    edges = np.quantile(doubt, [low, high])
    heat = [hot if u >= edges[1] else 1 / hot if u <= edges[0] else 1.0 for u in doubt]
    mix = (1 - alpha) * debiased + alpha * seen
    out = []
    for row, t in zip(logits, heat, strict=True):
        p = softmax(row / t)
        weighed = p * mix / source
        out.append((p + weighed / weighed.sum()) / 2)
    return np.array(out), (1 - alpha) * np.mean(out, 0) + alpha * seen, heat


def test_step_by_step_over_two_batches(model):
    method, seen = AdapTable(model), np.full(3, 1 / 3)
    source = model.statistics.label_mix.double().numpy()
    kinds = set()
    for seed in (1, 2):
        batch = batch_of(model, 64, seed)
        logits = (model.logits(batch) / model.output.temperature).double().numpy()
        expected, seen, heat = step_by_step(logits, source, seen)
        answered = method(batch)
        assert np.allclose(model.output.probabilities(answered).numpy(), expected, atol=1e-5)
        assert np.allclose(method.seen.numpy(), seen, atol=1e-5)
        kinds |= set(heat)
    assert len(kinds) == 3, "sure, unsure and other rows all occur"


def test_long_batches_are_those_of_64(model):
    batch = batch_of(model, 150)
    whole, pieces = AdapTable(model), AdapTable(model)
    answered = torch.cat([pieces(batch[index]) for index in torch.arange(150).split(64)])
    assert torch.allclose(whole(batch), answered, atol=1e-5)
    assert torch.allclose(whole.seen, pieces.seen, atol=1e-6)
    assert whole.passes == pieces.passes == 150


def test_unsure_rows_follow_the_mix_further(model, monkeypatch):
    method = AdapTable(model)
    method.mix = torch.tensor([0.2, 0.4, 0.4])
    method.seen = torch.tensor([0.9, 0.05, 0.05])
    sharp, flat = torch.tensor([[0.0, 4.0, 0.0]]), torch.tensor([[0.0, 0.5, 0.0]])
    between = torch.tensor([[0.0, 1.5, 0.0]])
    logits = torch.cat([sharp, between, between, flat]) * model.output.temperature
    before = model.output.probabilities(logits)
    monkeypatch.setattr(type(model), "logits", lambda self, batch: logits)
    after = model.output.probabilities(method.answer(batch_of(model, 4)))
    gained = (after / before)[:, 0]
    assert gained[3] > gained[1] > gained[0]
    assert after[0, 1] > before[0, 1], "a sure row gets surer"


@pytest.mark.parametrize("rows", [1, 5])
def test_rows_as_unsure_as_each_other_keep_their_temperature(rows):
    assert temperatures(torch.tensor([[0.6, 0.4]]).repeat(rows, 1), 0.25, 0.75, 3.0).tolist() == [1.0] * rows


def test_answers_alone_change_nothing(model):
    method, batch = AdapTable(model), batch_of(model, 64)
    assert torch.equal(method.answer(batch), method.answer(batch))
    assert method.seen.tolist() == pytest.approx([1 / 3] * 3)
    assert method.passes == 0


def test_helps_where_only_the_mix_changed(model):
    batch = model.encode(three(600, 4, mix=(12, 1, 1)), target=True)
    method = AdapTable(model)
    right = [float((z.argmax(-1) == batch.target).float().mean()) for z in (model.logits(batch), method(batch))]
    assert right[1] > right[0]
