"""Scales of number columns: whose moments, and what the tails become."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import QuantileTransformer

from aet.errors import ConfigError
from aet.inputs.number import NumberSettings
from aet.inputs.scaling import KNOTS, Ranks, standard_moments


def fitted(column):
    ranks = Ranks(1, 1)
    ranks.fit(np.asarray(column, dtype=float).reshape(-1, 1, 1))
    return ranks


def through(ranks, values):
    return ranks(torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1)).flatten()


def test_standard_moments_leave_missing_values_aside_and_constant_columns_alone():
    x = np.array([[1.0, 4.0, np.nan], [np.nan, 4.0, np.nan], [5.0, 4.0, np.nan]])
    center, spread = standard_moments(x)
    assert center[:2].tolist() == [3.0, 4.0]
    assert np.isnan(center[2])
    assert spread.tolist() == [2.0, 1.0, 1.0]


def test_ranks_are_those_of_scikit_learn():
    column = np.random.default_rng(0).lognormal(size=500)
    expected = QuantileTransformer(n_quantiles=KNOTS, output_distribution="normal", subsample=None).fit(column[:, None])
    some = np.random.default_rng(1).lognormal(size=200)
    wanted = expected.transform(some[:, None])[:, 0]
    middle = np.abs(wanted) < 2
    assert np.abs(through(fitted(column), some).numpy() - wanted)[middle].max() < 0.05


def test_trained_rows_become_normal_whatever_their_shape():
    column = np.random.default_rng(0).exponential(size=2000) ** 3
    u = through(fitted(column), column)
    assert abs(float(u.mean())) < 0.02
    assert float(u.std()) == pytest.approx(1, abs=0.06)


def test_ranks_rise_and_never_stand_still_even_beyond_the_ends():
    ranks = fitted(np.random.default_rng(0).normal(size=300))
    values = torch.linspace(-50, 50, 2001)
    u = through(ranks, values)
    assert (u.diff() > 0).all()
    y = torch.tensor([-40.0, 0.1, 40.0]).view(-1, 1, 1).requires_grad_()
    ranks(y).sum().backward()
    assert (y.grad > 0).all()


@pytest.mark.parametrize("column", [[3.0, 3.0, 3.0], [np.nan, np.nan], [np.nan, 2.0]])
def test_a_column_that_never_varies_is_zero_and_finite(column):
    ranks = fitted(column)
    y = torch.tensor([0.0, 3.0, 1e18]).view(-1, 1, 1).requires_grad_()
    u = ranks(y)
    u.sum().backward()
    assert torch.isfinite(u).all()
    assert torch.isfinite(y.grad).all()
    assert u[0].item() == 0


def test_two_values_are_two_levels():
    u = through(fitted([0.0, 0.0, 0.0, 1.0]), [0.0, 1.0])
    assert float(u[0]) < -1 < 1 < float(u[1])


def test_unknown_scalings_and_embeddings_name_the_known_ones():
    with pytest.raises(ConfigError, match=r"inputs.number.scaling='robst'.*Did you mean 'robust'"):
        NumberSettings.checked("inputs.number", {"scaling": "robst"})
    with pytest.raises(ConfigError, match=r"inputs.number.embedding='cubic'.*Known: 'linear', 'piecewise', 'periodic'"):
        NumberSettings.checked("inputs.number", {"embedding": "cubic"})
    with pytest.raises(ConfigError, match=r"inputs.number.reduce='ica'.*'pca' or 'lda'"):
        NumberSettings.checked("inputs.number", {"reduce": "ica"})
