"""Regression: units, intervals, figures by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from aet.outputs.number import ALPHA, NumberOutput, pinball


def part(values):
    torch.manual_seed(0)
    made = NumberOutput(("y",), 4)
    made.fit(pd.DataFrame({"y": values}), {})
    made.build()
    return made


def test_predictions_are_in_the_unit_of_the_target():
    values = np.random.default_rng(0).normal(1e9, 3.0, 500)
    made = part(values)
    target = made.encode(pd.DataFrame({"y": values}))
    assert abs(float(target.mean())) < 1e-6
    answers = made.answers(target[:, None].expand(-1, 3))
    np.testing.assert_allclose(answers["prediction"], values, atol=1e-5)


def test_the_interval_holds_the_mean_whatever_the_logits():
    made = part([1.0, 2.0, 3.0])
    made.widening.fill_(-0.3)
    lower, upper = made.interval(3 * torch.randn(200, 3))
    assert (lower <= upper).all()
    answers = made.answers(3 * torch.randn(200, 3))
    assert (answers["lower"] <= answers["prediction"]).all()
    assert (answers["prediction"] <= answers["upper"]).all()


@pytest.mark.parametrize(("rows", "rank"), [(9, 9), (10, 10), (19, 18), (99, 90), (100, 91), (3, 3)])
def test_the_widening_is_the_conformal_rank(rows, rank):
    made = part([1.0, 2.0])
    misses = torch.arange(1.0, rows + 1)[torch.randperm(rows)]
    logits = torch.zeros(rows, 3)
    made.calibrate(logits, misses)  # the target lies above the interval by `misses`
    assert float(made.widening) == rank


def test_fresh_rows_are_covered():
    covered = []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        made = part([-1.0, 1.0])
        target = torch.randn(2, 50, generator=generator)
        logits = torch.zeros(50, 3)
        made.calibrate(logits, target[0])
        covered.append(made.metrics(logits, target[1])["coverage"])
    # The guarantee, on average over calibration sets: 1 - α to 1 - α + 1/(n + 1).
    assert 1 - ALPHA - 0.01 < np.mean(covered) < 1 - ALPHA + 0.03


def test_the_quantile_loss_is_smallest_at_the_quantile():
    target = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    grid = torch.linspace(-3, 3, 121)
    for level in (0.05, 0.5, 0.95):
        losses = torch.stack([pinball(target - value, level).mean() for value in grid])
        assert float(grid[losses.argmin()]) == pytest.approx(float(target.quantile(level)), abs=0.05)


def test_figures_by_hand():
    made = part([0.0, 20.0])  # center 10, spread 10
    target = made.encode(pd.DataFrame({"y": [0.0, 10.0, 20.0]}))
    logits = torch.tensor([[-1.0, -1.5, -0.5], [0.5, 0.2, 0.8], [1.0, 0.0, 2.0]])
    metrics = made.metrics(logits, target)
    assert metrics["mae"] == pytest.approx(5 / 3)
    assert metrics["rmse"] == pytest.approx((25 / 3) ** 0.5)
    assert metrics["r2"] == pytest.approx(1 - 25 / 200)
    assert metrics["coverage"] == pytest.approx(2 / 3)
