"""Seasons of series, and the forecast that repeats the last one: what every other forecast is held against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Penalties of `ridge` by row, in units of the windows' mean square."""
FITTED = 20_000
"""Rows that it is fitted to at most, evenly spread."""
CLEAR = 0.3
"""Least autocorrelation at a season."""


def season_of(windows: npt.NDArray[np.float64]) -> int:
    """The lag at which windows (N, L) are most like themselves, 1 where none is clear.

    The mean over the windows of their autocorrelation, each about its own mean; of the peaks at lags from 2 to L/2 the
    highest, and a shorter one that comes within a tenth of it.

    >>> t = np.arange(96.0)
    >>> season_of(np.stack([np.sin(2 * np.pi * (t + start) / 24) + 0.01 * t for start in range(5)]))
    24
    >>> season_of(np.random.default_rng(0).normal(size=(50, 96)))
    1
    """
    x = windows - np.nanmean(windows, axis=1, keepdims=True) if windows.size else windows
    x = np.nan_to_num(x)
    power = (x * x).sum(1)
    x, power = x[power > 0], power[power > 0]
    length = windows.shape[1]
    if not len(x) or length < 6:
        return 1
    lags = np.arange(1, length // 2 + 1)
    # The sum has fewer terms at longer lags.
    alike = np.array([((x[:, :-k] * x[:, k:]).sum(1) / power).mean() * length / (length - k) for k in lags])
    peaks = [
        i for i in range(1, len(alike)) if alike[i] > alike[i - 1] and (i + 1 == len(alike) or alike[i] >= alike[i + 1])
    ]
    clear = [i for i in peaks if alike[i] >= CLEAR]
    if not clear:
        return 1
    best = max(alike[i] for i in clear)
    return int(lags[next(i for i in clear if alike[i] >= best - 0.1)])


def seasonal_naive(x: Tensor, season: int, horizon: int) -> Tensor:
    """x_{t+h} = x_{t+h-km}, the newest value at the same place of the season m: windows (B, L) -> (B, H).

    Where that value is missing, that of the season before stands in; 0, the centre of all windows, where none is left.

    >>> import torch
    >>> seasonal_naive(torch.tensor([[1.0, 2.0, 3.0, torch.nan]]), 2, 3)
    tensor([[3., 2., 3.]])
    """
    length = x.shape[-1]
    season = min(season, length)
    known = x[..., length - season :].clone()
    for back in range(2, length // season + 1):
        if bool(known.isfinite().all()):
            break
        before = x[..., length - back * season : length - (back - 1) * season]
        known = known.where(known.isfinite(), before)
    known = known.nan_to_num(0.0)
    repeated: Tensor = known.repeat(1, -(-horizon // season))[..., :horizon]
    return repeated


def ridge(x: Tensor, y: Tensor, known: Tensor) -> Tensor:
    """W (H, L) of y ≈ W x for windows x (N, L), answers y (N, H) and which are known (N, H); no constant.

    W = YᵀX (XᵀX + λ n I)⁻¹, the penalty with the least error on the last fifth of the rows, then fitted to all of them.
    Answers that are not known count as 0, the centre of their window.

    >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    >>> y = x @ torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> ridge(x, y, torch.ones_like(y, dtype=torch.bool)).round(decimals=1).abs()
    tensor([[1., 0., 0.],
            [0., 2., 0.]])
    """
    some = torch.arange(0, len(x), max(1, len(x) // FITTED))
    x, y = x[some].double(), y[some].masked_fill(~known[some], 0.0).clamp(-8, 8).double()

    def fitted(rows: int, penalty: float) -> Tensor:
        own = x[:rows]
        gram = own.T @ own
        gram.diagonal().add_(penalty * max(float(gram.trace()), 1e-9) / len(gram))
        weights: Tensor = torch.linalg.solve(gram, own.T @ y[:rows])
        return weights.T

    first = max(1, 4 * len(x) // 5)
    held = [float((x[first:] @ fitted(first, penalty).T - y[first:]).square().sum()) for penalty in RIDGES]
    best = RIDGES[int(np.argmin(held))] if first < len(x) else RIDGES[-1]
    return fitted(len(x), best).float()
