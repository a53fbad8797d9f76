"""ROID's weights, its loss, its pull and its prior, by hand."""

import math

import numpy as np
import pytest
import torch

from aet.adaptation import Roid
from aet.adaptation.methods.roid import row_weights, smoothed_mean
from aet.attention.state import applied
from aet.drift import drifted
from tests.adaptation.models import batch_of, three


def softmax(logits):
    z = logits.double().numpy()
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def weights_by_hand(p, seen, heat=1 / 3):
    """Diversity and certainty each brought to 0..1 over the batch; the mean is of the scaled diversity."""
    new = np.array([1 - row @ seen / np.linalg.norm(row) / np.linalg.norm(seen) for row in p])
    sure = np.array([(row * np.log(row)).sum() for row in p])
    new = (new - new.min()) / (new.max() - new.min())
    sure = (sure - sure.min()) / (sure.max() - sure.min())
    weights = np.exp(new * sure / heat)
    weights[new < new.mean()] = 0
    return weights


def loss_by_hand(p, q, seen):
    weights, total = weights_by_hand(p, seen), 0.0
    for weight, own, view in zip(weights[weights > 0], p[weights > 0], q, strict=True):
        capped = np.minimum(own, 0.99)
        ratio = -(capped * np.log(capped / (1 - capped))).sum()
        total += weight * (ratio - 0.5 * (own @ np.log(view) + view @ np.log(own)))
    return total / len(p)


def test_weights(model):
    p = softmax(model.logits(batch_of(model, 50)))
    for seen in (np.full(3, 1 / 3), np.array([0.6, 0.3, 0.1])):
        expected = weights_by_hand(p, seen)
        found = row_weights(torch.from_numpy(p), torch.from_numpy(seen), 1 / 3)
        assert found.numpy() == pytest.approx(expected, rel=1e-6)
        assert 0 < (expected == 0).sum() < 50
        assert found.max() <= math.e**3 + 1e-6
    assert row_weights(torch.tensor([[0.7, 0.3]]), torch.tensor([0.5, 0.5]), 1 / 3).tolist() == [1.0], "one row"


def test_step_by_step(model):
    """Loss, running mean, pull: over three batches."""
    method, draws, seen = Roid(model, lr=0.01), torch.Generator().manual_seed(0), np.full(3, 1 / 3)
    for seed in range(3):
        batch = batch_of(model, 40, seed)
        twin = Roid(model, lr=0.01)
        twin.state, twin.seen = method.plain, method.seen
        twin.draws.set_state(method.draws.get_state())
        with applied(method.plain), torch.no_grad():
            p = softmax(model(batch))
            kept = torch.from_numpy(weights_by_hand(p, seen) > 0)
            q = softmax(model(drifted(model, batch[kept], 1.0, draws)))
            assert twin.loss(batch).item() == pytest.approx(loss_by_hand(p, q, seen), rel=1e-3)
        before = method.plain
        method(batch)
        seen = 0.9 * seen + 0.1 * p.mean(0)
        assert method.seen.tolist() == pytest.approx(seen.tolist(), abs=1e-5)
        first = {n: t for n, t in method.plain.items() if method.moves(n)}
        if seed == 0:  # Adam's first step is the sign of the slope
            moved = torch.cat([(t / 0.99).flatten() for t in first.values()])
            assert before.size() == 0
            assert moved[moved != 0].abs().tolist() == pytest.approx([0.01] * int((moved != 0).sum()), rel=1e-3)


def test_the_pull_is_after_the_step(model):
    free, held = Roid(model, pull=0.0), Roid(model, pull=0.25)
    batch = batch_of(model, 40)
    for method in (free, held):
        method(batch)
    for name, tensor in free.plain.items():
        assert torch.allclose(held.plain[name], 0.75 * tensor)
    assert free.plain.size() > 0


def test_prior_corrects_probabilities(model):
    """p π, renormalised, not logits times π, whose sign would decide; of this batch alone."""
    rows = model.encode(three(60, 3, mix=(8, 1, 1)))
    p = model.output.probabilities(model.logits(rows)).double().numpy()
    mean = p.mean(0)
    smooth = max(1 / 60, 1 / 3) / mean.max()
    prior = (mean + smooth) / (1 + 3 * smooth)
    assert smoothed_mean(torch.from_numpy(p)).tolist() == pytest.approx(prior.tolist())
    assert prior.sum() == pytest.approx(1)
    expected = p * prior / (p * prior).sum(1, keepdims=True)
    method = Roid(model)
    answered = method(rows)
    assert model.output.probabilities(answered).numpy() == pytest.approx(expected, abs=1e-5)
    even = model.encode(three(60, 4))
    twin = Roid(model)
    twin.state, twin.seen = method.plain, method.seen
    assert torch.equal(method.answer(even[torch.arange(0)]), twin.answer(even[torch.arange(0)]))
    assert method.propose(even).equal(twin.propose(even)), "the prior of the batch before is gone"


def test_prior_takes_no_part_in_the_loss(model):
    batch = batch_of(model, 40)
    proposed, plain = Roid(model), Roid(model)
    proposed.propose(batch)
    assert float(proposed.state["output.bias"].abs().max()) > 0.01
    proposed.learn(batch)
    plain.learn(batch)
    assert proposed.plain.equal(plain.plain)
    assert float(plain.state["output.bias"].abs().max()) == 0


def test_counts_its_passes(model):
    method, batch = Roid(model), batch_of(model, 40)
    p = torch.from_numpy(softmax(model.logits(batch)))
    kept = int((row_weights(p, torch.full((3,), 1 / 3).double(), 1 / 3) > 0).sum())
    method(batch)
    assert method.passes == 40 + 3 * 40 + 3 * kept
