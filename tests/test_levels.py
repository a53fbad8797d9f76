"""Quantile levels, their mixtures, and what brings one to another."""

import numpy as np
import pytest
import torch

from aet.levels import LEVELS, drawn_in, levels, matching, mixed_levels


def normal(rows, dims=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, dims))).float()


def test_levels_are_numpys_quantiles_with_missing_values_aside():
    x = normal(101)
    x[::7, 1] = torch.nan
    x[:, 2] = torch.nan
    found = levels(x)
    at = (np.arange(LEVELS) + 0.5) / LEVELS
    assert found[:, :2].numpy() == pytest.approx(np.nanquantile(x[:, :2].numpy(), at, axis=0), abs=1e-5)
    assert found[:, 2].isnan().all()
    assert levels(x[:0]).isnan().all()


def test_a_mixture_has_the_levels_of_its_rows():
    """Three parts of 'a' and one of 'b' are a sample of the mixture."""
    a, b = normal(40_000, 2, 1), 3 + 0.5 * normal(40_000, 2, 2)
    mixed = mixed_levels(torch.stack([levels(a), levels(b)]), torch.tensor([0.75, 0.25]))
    rows = levels(torch.cat([a[:30_000], b[:10_000]]))
    assert (mixed - rows).abs().max() < 0.2
    assert (mixed.mean(0) - rows.mean(0)).abs().max() < 0.03
    assert mixed_levels(levels(a)[None], torch.ones(1)) == pytest.approx(levels(a), abs=1e-5)


def test_matching_undoes_gain_and_offset():
    x = normal(5000)
    worn = x * torch.tensor([2.0, 0.5, 1.0]) + torch.tensor([1.0, -2.0, 0.0])
    scale, shift = matching(levels(worn), levels(x), 5000, 0.0)
    assert worn * (1 + scale) + shift == pytest.approx(x, abs=1e-3)


def test_what_the_draw_may_have_done_moves_nothing():
    x, other = normal(20_000, 50, 1), normal(100, 50, 2)
    free = matching(levels(other), levels(x), 100, 0.0)
    held = matching(levels(other), levels(x), 100, 2.0)
    assert all((part == 0).double().mean() < 0.1 for part in free)
    assert all((part.abs() < 1e-6).double().mean() > 0.85 for part in held)


def test_columns_without_values_stay():
    x = normal(50)
    gone = x.clone()
    gone[:, 0] = torch.nan
    scale, shift = matching(levels(gone), levels(x), 50, 0.0)
    assert scale[0] == shift[0] == 0


def test_drawn_in():
    assert drawn_in(torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0]), 1.0).tolist() == [-1.5, 0.0, 0.0, 0.0, 1.5]
    assert drawn_in(torch.tensor([-3.0, 0.0, 3.0]), 0.0).tolist() == [-3.0, 0.0, 3.0]
