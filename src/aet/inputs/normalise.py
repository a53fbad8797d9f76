"""Centre and scale of each window of a series, by which it is brought to one size and forecasts are brought back.

    z = (x - c) / s,    x = c + s·z

    standard    mean and standard deviation                          (Kim et al. 2022, reversible instance norm)
    robust      the same of the window with its tails cut: x̂ = clip(x, m - 3q, m + 3q), m the median and q the
                interquartile range / 1.349, or where that is 0 the mean distance from the median
    none        0 and 1: windows keep their level and size

Without outliers `robust` is `standard`; one wild value, which makes the reversible norm fail, moves it little. A
constant window has the scale `LEAST`, so that nothing is divided by 0 and a forecast stays near its level.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LEAST = 1e-3
"""Smallest scale of a window, in spreads of the training windows."""
WIDE = 3.0
"""Where tails are cut."""


def mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of windows (..., L), NaN aside; 0 and `LEAST` for one without a value.

    >>> mean_and_deviation(torch.tensor([[1.0, torch.nan, 3.0], [5.0, 5.0, 5.0]]))
    (tensor([2., 5.]), tensor([1.0000e+00, 1.0000e-03]))
    """
    known = x.isfinite()
    count = known.sum(-1).clamp_min(1)
    mean = x.masked_fill(~known, 0.0).sum(-1) / count
    away = (x - mean[..., None]).masked_fill(~known, 0.0)
    return mean, (away.square().sum(-1) / count + LEAST**2).sqrt()


def without_tails(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same of windows whose tails are cut.

    >>> x = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 1e6]])
    >>> [round(float(one), 1) for one in without_tails(x)]
    [3.0, 2.6]
    """
    if not x.numel():
        return mean_and_deviation(x)
    low, middle, high = torch.nanquantile(x, x.new_tensor([0.25, 0.5, 0.75]), dim=-1)
    q = (high - low) / 1.349
    q = torch.where(q > 0, q, (x - middle[..., None]).abs().nanmean(-1))
    reach = WIDE * q
    return mean_and_deviation(torch.minimum(torch.maximum(x, (middle - reach)[..., None]), (middle + reach)[..., None]))


def neither(x: Tensor) -> tuple[Tensor, Tensor]:
    """0 and 1."""
    return torch.zeros_like(x[..., 0]), torch.ones_like(x[..., 0])


NORMALISERS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "robust": without_tails,
    "standard": mean_and_deviation,
    "none": neither,
}


def drawn_in(z: Tensor, beyond: float = 8.0) -> Tensor:
    """Z with its far tails in logarithms, so that one outlier is seen and does not drown the rest.

    >>> drawn_in(torch.tensor([-3.0, 8.0, 1e6]))
    tensor([-3.0000,  8.0000, 22.5086])
    """
    excess = (z.abs() - beyond).clamp_min(0.0)
    return z.clamp(-beyond, beyond) + z.sign() * excess.asinh()
