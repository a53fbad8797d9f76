"""Recursive least squares on forecasts: the formula, what it finds, and how it is held."""

from __future__ import annotations

import pytest
import torch

from aet.adaptation.methods.rls import FARTHEST, RecursiveLeastSquares
from aet.attention.state import applied
from aet.batch import Batch
from aet.errors import ConfigError
from tests.adaptation.models import batch_of


def wrong_by(model, gain, bias, rows=96, seed=7):
    """Rows whose futures are the model's forecast, a gain and a bias away."""
    batch = batch_of(model, rows, seed, shifted=False)
    forecasts, _, tail = model.output.split(model.logits(batch))
    z = (1 + gain) * forecasts[:, 0] + bias
    return Batch(values=batch.values, target=tail[:, :1] + model.output.scale(tail) * z)


def test_it_is_the_recursion_of_the_books_without_an_anchor_that_fades(forecast):
    """θ ← θ + Ke with K = Px/(β + xᵀPx) and P ← (P - KxᵀP)/β, at β = 1, where both anchors hold alike."""
    method = RecursiveLeastSquares(forecast, half_life=1e12, anchor=2.0)
    rows = batch_of(forecast, 12, 3)
    for index in torch.arange(12).split(1):
        method.label(rows[index])
    forecasts, _, tail = forecast.output.split(forecast.logits(rows))
    truth, _ = forecast.output.truth(rows.target, tail)
    horizon = forecast.output.horizon
    for h in (0, horizon - 1):
        p, theta = torch.eye(2, dtype=torch.float64) / 2.0, torch.zeros(2, dtype=torch.float64)
        for row in range(12):
            f, e = forecasts[row, 0, h].double(), (truth[row, h] - forecasts[row, 0, h]).double()
            x = torch.stack([f, torch.ones((), dtype=torch.float64)]) / horizon**0.5  # a row counts 1 / H
            k = p @ x / (1 + x @ p @ x)
            theta, p = theta + k * (e / horizon**0.5 - x @ theta), p - torch.outer(k, x @ p)
        found = torch.stack([method.state["output.gain"][h], method.state["output.bias"][h]]).double()
        torch.testing.assert_close(found, theta, rtol=1e-4, atol=1e-5)


def test_it_finds_gain_and_bias(forecast):
    method = RecursiveLeastSquares(forecast, anchor=1e-3)
    rows = wrong_by(forecast, gain=-0.3, bias=0.4)
    method.label(rows)
    assert method.state["output.gain"] == pytest.approx(-0.3, abs=0.03)
    assert method.state["output.bias"] == pytest.approx(0.4, abs=0.03)
    with applied(method.state):
        later = wrong_by(forecast, 0.0, 0.0)
    assert later.target is not None
    before, after = forecast.logits(rows), method.answer(rows)
    assert forecast.output.losses(after, rows.target).mean() < 0.3 * forecast.output.losses(before, rows.target).mean()


def test_the_anchor_holds_it_at_the_source(forecast):
    rows = wrong_by(forecast, gain=-0.3, bias=0.4, rows=8)
    sizes = []
    for anchor in (0.01, 1.0, 100.0):
        method = RecursiveLeastSquares(forecast, anchor=anchor)
        method.label(rows)
        sizes.append(method.state.size())
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_the_anchor_never_fades(forecast):
    method = RecursiveLeastSquares(forecast, half_life=4.0, anchor=1.0)
    for _ in range(30):
        method.label(wrong_by(forecast, gain=0.0, bias=0.4, rows=8))
    assert 0 < float(method.state["output.bias"].max()) < 0.35


def test_it_forgets(forecast):
    method = RecursiveLeastSquares(forecast, half_life=20.0, anchor=1e-3)
    method.label(wrong_by(forecast, 0.0, 0.5))
    for seed in range(3):
        method.label(wrong_by(forecast, 0.0, -0.5, seed=seed))
    assert method.state["output.bias"] == pytest.approx(-0.5, abs=0.05)


def test_it_is_bounded(forecast):
    method = RecursiveLeastSquares(forecast, anchor=1e-3)
    method.label(wrong_by(forecast, gain=40.0, bias=-40.0))
    assert max(float(t.abs().max()) for t in method.state.values()) <= FARTHEST


def test_missing_values_teach_nothing(forecast):
    rows = wrong_by(forecast, 0.0, 0.5)
    gaps = rows.target.clone()
    gaps[:, 1] = torch.nan
    method = RecursiveLeastSquares(forecast)
    method.label(Batch(values=rows.values, target=gaps))
    assert float(method.state["output.bias"][1]) == 0
    assert float(method.state["output.bias"][0]) > 0.1


def test_it_is_for_forecasts(model):
    with pytest.raises(ConfigError, match="'rls' is defined for outputs 'forecast'"):
        RecursiveLeastSquares(model)
