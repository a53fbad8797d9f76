"""How a number column is brought to a common scale: where its zero and its unit lie, and what becomes of its tails.

    x̂ = (x - center) / spread    when rows are encoded: a straight line, so that gain and offset of a sensor stay so
    u = squash(y)                in the network, y being x̂ under the dials

    robust     center median, spread interquartile range / 1.349       squash(y) = asinh(y)
    standard   center mean, spread standard deviation                  squash(y) = asinh(y)
    quantile   as robust                                               squash(y) = Φ⁻¹(F(y)), F the training rows' ranks

asinh(y) is y near zero and grows like log y in the tails, so that one wild value cannot rule a row. The ranks are
scikit-learn's `QuantileTransformer` to the normal, kept as a table of at most `KNOTS` knots with straight lines between
them; beyond its ends it goes on as asinh does, so that no dial is ever without a slope.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from aet.registry import Registry

Moments = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Columns (N, F), NaN where missing -> center and spread (F,)."""

SCALINGS: Registry[Moments] = Registry("scaling of numbers")
KNOTS = 128
FAR = 1e30
"""Where the knots lie that a table does not need: beyond every number, and finite as all tensors are."""


@SCALINGS.register("robust")
def robust_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and spread of each column of x (N, F), missing values aside.

    Where the middle half of a column is constant the standard deviation stands in, and 1 where that is zero too. A
    column without any value has the center NaN: whatever it shows later counts as missing, for nothing was learned.

    >>> [part.tolist() for part in robust_moments(np.array([[1.0, 7.0], [2.0, 7.0], [3.0, np.nan]]))]
    [[2.0, 7.0], [0.741..., 1.0]]
    """
    center, spread = np.full(x.shape[1], np.nan), np.ones(x.shape[1])
    known = ~np.isnan(x).all(0)
    if known.any():
        low, center[known], high = np.nanpercentile(x[:, known], (25, 50, 75), axis=0)
        rounding = 1e-12 * np.abs(center[known])  # what is smaller is the error of the arithmetic
        for candidate in (np.nanstd(x[:, known], axis=0), (high - low) / 1.349):
            spread[known] = np.where(candidate > rounding, candidate, spread[known])
    return center, spread


@SCALINGS.register("standard")
def standard_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of x (N, F); constant and empty columns as in `robust_moments`.

    >>> [part.tolist() for part in standard_moments(np.array([[1.0, 7.0], [3.0, np.nan]]))]
    [[2.0, 7.0], [1.0, 1.0]]
    """
    center, spread = np.full(x.shape[1], np.nan), np.ones(x.shape[1])
    known = ~np.isnan(x).all(0)
    if known.any():
        center[known], deviation = np.nanmean(x[:, known], axis=0), np.nanstd(x[:, known], axis=0)
        spread[known] = np.where(deviation > 1e-12 * np.abs(center[known]), deviation, 1.0)
    return center, spread


SCALINGS.register("quantile")(robust_moments)


class Asinh(nn.Module):
    """u = asinh(y)."""

    def forward(self, y: Tensor) -> Tensor:
        """Any shape."""
        return y.asinh()


class Ranks(nn.Module):
    """u = Φ⁻¹(F(y)), each column by a table of its own.

    y (B, G, S) -> u (B, G, S), rising with y, bounded by 5.2 within the training rows

    >>> ranks = Ranks(1, 1)
    >>> ranks.fit(np.array([[[-1.0]], [[0.0]], [[100.0]]]))
    >>> ranks(torch.tensor([[[0.0]], [[50.0]]])).flatten()
    tensor([0.0000, 2.5997])
    """

    knots: Tensor
    levels: Tensor
    ends: Tensor

    def __init__(self, groups: int, size: int) -> None:
        super().__init__()
        knots = torch.full((groups, size, KNOTS), FAR)
        knots[..., 0] = 0.0
        self.register_buffer("knots", knots)
        self.register_buffer("levels", torch.zeros(groups, size, KNOTS))
        self.register_buffer("ends", torch.zeros(2, groups, size))

    def fit(self, y: np.ndarray) -> None:
        """The tables of y (N, G, S), NaN where missing; a column that never varies is 0."""
        from sklearn.preprocessing import QuantileTransformer

        for place in np.ndindex(*y.shape[1:]):
            column = y[(slice(None), *place)]
            column = column[~np.isnan(column)][:, None]
            if len(np.unique(column)) < 2:
                continue
            ranks = QuantileTransformer(
                n_quantiles=min(KNOTS, len(column)), output_distribution="normal", subsample=None
            ).fit(column)
            knots = np.unique(ranks.quantiles_)
            self.knots[place][: len(knots)] = torch.from_numpy(knots)
            self.levels[place][: len(knots)] = torch.from_numpy(ranks.transform(knots[:, None])[:, 0])
            self.levels[place][len(knots) :] = self.levels[place][len(knots) - 1].item()
            self.ends[(slice(None), *place)] = torch.tensor([knots[0], knots[-1]])

    def forward(self, y: Tensor) -> Tensor:
        """Straight lines between the knots."""
        inside = torch.minimum(torch.maximum(y, self.ends[0]), self.ends[1])
        flat = inside.permute(1, 2, 0).contiguous()  # (G, S, B)
        right = torch.searchsorted(self.knots, flat.detach()).clamp(1, KNOTS - 1)
        x0, x1 = self.knots.gather(-1, right - 1), self.knots.gather(-1, right)
        z0, z1 = self.levels.gather(-1, right - 1), self.levels.gather(-1, right)
        # Beyond the last knot x1 is FAR and z1 = z0.
        return (z0 + (flat - x0) / (x1 - x0) * (z1 - z0)).permute(2, 0, 1) + (y - inside).asinh()


def squashing(name: str, groups: int, size: int) -> Asinh | Ranks:
    """What becomes of the tails under the scaling `name`."""
    return Ranks(groups, size) if name == "quantile" else Asinh()
