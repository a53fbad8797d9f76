"""COME is its host with another loss: the same rows, the same weights."""

import math

import numpy as np
import pytest
import torch

from aet.adaptation import Come, ComeEta, ComeSar, Eta, Sar, Tent
from aet.adaptation.beliefs import entropy
from aet.attention.state import applied
from tests.adaptation.models import batch_of


def opinions(logits):
    """Entropy of the opinions, row by row."""
    found = []
    for z in logits.double().numpy():
        total = np.exp(z).sum() + len(z)
        masses = [*(np.exp(z) / total), len(z) / total]
        found.append(-sum(m * math.log(m) for m in masses))
    return np.array(found)


def test_on_tent(model):
    batch = batch_of(model, 40)
    loss = Come(model).loss(batch)
    assert loss.item() == pytest.approx(opinions(model.logits(batch)).mean(), rel=1e-4)
    assert loss.item() != pytest.approx(Tent(model).loss(batch).item(), rel=0.01)


def test_on_eta_rows_and_weights_are_etas(model):
    host, method, batch = Eta(model), ComeEta(model), batch_of(model, 40)
    host.loss(batch)
    loss = method.loss(batch).item()
    logits = model.logits(batch)
    unsure, limit = entropy(logits).numpy(), 0.4 * math.log(3)
    sure = unsure < limit
    assert 0 < sure.sum() < 40
    expected = (np.exp(limit - unsure) * opinions(logits))[sure].mean()
    assert loss == pytest.approx(expected, rel=1e-4)
    assert torch.equal(method.seen, host.seen)


def test_on_sar_rows_and_recovery_are_sars(model):
    host, method, batch = Sar(model), ComeSar(model), batch_of(model, 40)
    first = host.loss(batch)
    loss = method.loss(batch).item()
    assert torch.equal(method.sure, host.sure)
    assert method.level.item() == pytest.approx(first.item())
    assert loss == pytest.approx(opinions(model.logits(batch))[method.sure.numpy()].mean(), rel=1e-4)
    method(batch)
    host(batch)
    assert not method.state.equal(host.state)
    assert method.passes == host.passes


def test_a_slope_never_makes_logits_merely_larger():
    """The slope by the logits is at right angles to them: their size is held constant."""
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (slope,) = torch.autograd.grad(Come.falls(logits).sum(), logits)
    assert slope.abs().max() > 0.01
    assert (slope * logits).sum(-1).abs().max() < 1e-5
    (tents,) = torch.autograd.grad(Tent.falls(logits).sum(), logits)
    assert (tents * logits).sum(-1).abs().min() > 1e-3


def test_learning_lowers_it(model):
    method, batch = Come(model, lr=1e-2, steps=10), batch_of(model, 64)
    before = method.loss(batch).item()
    method(batch)
    with applied(method.state):
        assert method.loss(batch).item() < before - 0.005
