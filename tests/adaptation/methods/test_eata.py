"""EATA's two filters, its weights and its anchor, by hand."""

import math

import numpy as np
import pytest

from aet.adaptation import Eata, Eta
from aet.attention.state import ElasticState, applied
from aet.errors import ConfigError
from tests.adaptation.models import batch_of


def step_by_step(logits, seen, margin=0.4, redundancy=0.4):
    """The equations, one row after the other."""
    z = logits.double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    limit, total, kept = margin * math.log(z.shape[1]), 0.0, []
    for row in p:
        entropy = -(row * np.log(row)).sum()
        if entropy >= limit:
            continue
        if seen is not None and abs(row @ seen / np.linalg.norm(row) / np.linalg.norm(seen)) >= redundancy:
            continue
        total += math.exp(limit - entropy) * entropy
        kept.append(row)
    if not kept:
        return None, seen
    mean = np.mean(kept, 0)
    return total / len(kept), mean if seen is None else 0.9 * seen + 0.1 * mean


def test_eta_step_by_step(model):
    method, seen, passed = Eta(model, redundancy=0.95), None, []
    for seed in range(4):
        batch = batch_of(model, 40, seed)
        with applied(method.state):
            expected, seen = step_by_step(model.logits(batch), seen, redundancy=0.95)
            loss = method.loss(batch)
        passed.append(expected is not None)
        assert (loss is None) == (expected is None)
        if loss is not None:
            assert loss.item() == pytest.approx(expected, rel=1e-4)
            assert method.seen.tolist() == pytest.approx(seen.tolist(), abs=1e-5)
    assert passed[0]


def test_redundant_rows_are_left_out(model):
    """The second time the same rows are like what was seen: with a strict filter none is new."""
    method, batch = Eta(model, redundancy=0.0), batch_of(model, 40)
    method(batch)
    state, passes = method.state, method.passes
    assert state.size() > 0
    assert passes == 120
    method(batch)
    assert method.state is state, "no row passed: no step, not even one of momentum"
    assert method.passes == passes + 40


def test_unsure_rows_are_left_out(model):
    method = Eta(model, margin=0.0)
    method(batch_of(model, 40))
    assert method.state.size() == 0
    assert method.seen is None


def test_the_anchor_is_fishers(model):
    free, held, batch = Eta(model), Eata(model, anchor=7.0), batch_of(model, 40)
    state = ElasticState.zeros(model).map(lambda _, t: t + 0.1)
    with applied(state):
        difference = held.loss(batch) - free.loss(batch)
    fisher = model.statistics.fisher
    own = sum(float(fisher[name].sum()) for name in state if held.moves(name))
    assert difference.item() == pytest.approx(7.0 * 0.01 * own, rel=1e-3)
    assert own > 0


def test_a_strong_anchor_holds_the_state(model):
    sizes, largest = [], max(float(t.max()) for name, t in model.statistics.fisher.items() if Eata(model).moves(name))
    for anchor in (0.0, 0.5 / (1e-3 * largest)):
        method = Eata(model, anchor=anchor, lr=1e-3, margin=0.9, redundancy=2.0)
        for seed in range(12):
            method(batch_of(model, 64, seed))
        fisher = model.statistics.fisher
        sizes.append(sum(float((fisher[n] * t.square()).sum()) for n, t in method.state.items()))
    assert sizes[1] < 0.5 * sizes[0]


def test_a_model_that_does_not_know_f_is_refused(model, monkeypatch):
    monkeypatch.setattr(model.statistics, "fisher", None)
    with pytest.raises(ConfigError, match=r"'eata'.*use 'eta'"):
        Eata(model)
