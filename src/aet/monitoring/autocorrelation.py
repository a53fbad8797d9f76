"""Whether predicted labels come in runs: sorted by class, or in bursts of it, rather than independently.

    J = Σ_{l<=L} Σ_i 1[y_i = y_{i+l}]    over a window of W predictions and lags up to L

If the order carries nothing, J is one draw from its distribution over all orders of the same labels. The share of
shuffles that reach J, itself counted, is an exact p-value whatever the number of classes, their mix, and W:

    p = (1 + #{shuffles with J' >= J}) / (1 + B)

so a look at an independent stream raises a false alarm with probability at most `level`. A permutation test (Fisher
1935) of join counts (Moran 1948). A window with one class alone has no order to test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError


@dataclass(frozen=True)
class Runs:
    """What a window of labels says about their order.

    statistic: (J - mean) / standard deviation over shuffles; threshold: what the statistic must reach; p: the p-value;
    alone: whether the window holds one class, or none, and so says nothing; rows: W.
    """

    statistic: float
    threshold: float
    p: float
    alone: bool
    correlated: bool
    rows: int = 0


def label_runs(labels: Any, level: float = 0.01, lags: int = 8, shuffles: int = 199, seed: int = 0) -> Runs:
    """Whether labels (W,) are correlated with those up to `lags` places before them.

    Raises ConfigError where a test at `level` is not possible with so many shuffles (level >= 1 / (1 + shuffles)).

    >>> label_runs([0] * 40 + [1] * 40 + [2] * 40).correlated
    True
    >>> import numpy as np
    >>> label_runs(np.random.default_rng(0).integers(0, 3, 120)).correlated
    False
    """
    if not 0 < level < 1 or lags < 1 or level * (shuffles + 1) < 1:
        raise ConfigError(
            f"level lies between 1 / (1 + shuffles) and 1, lags is 1 or more: got {level}, {shuffles} and {lags}."
        )
    _, codes = np.unique(np.asarray(labels), return_inverse=True)
    if codes.ndim != 1:
        raise ConfigError(f"labels are one number or name a row: got shape {codes.shape}.")
    if len(codes) < 2 or codes.max() == 0:
        return Runs(float("nan"), float("nan"), 1.0, True, False, len(codes))
    rng = np.random.default_rng(seed)
    own = joins(codes[None], lags)[0]
    drawn = joins(rng.permuted(np.tile(codes, (shuffles, 1)), axis=1), lags)
    p = float((1 + (drawn >= own).sum()) / (1 + shuffles))
    allowed = int(np.floor(level * (shuffles + 1) + 1e-9)) - 1  # shuffles that may reach J
    bar = float(np.sort(drawn)[::-1][allowed]) + 1
    mean, spread = float(drawn.mean()), float(drawn.std()) or 1.0
    return Runs((own - mean) / spread, (bar - mean) / spread, p, False, p <= level, len(codes))


def joins(codes: npt.NDArray[np.int64], lags: int) -> npt.NDArray[np.int64]:
    """J of each row of codes (B, W)."""
    reach = range(1, min(lags, codes.shape[1] - 1) + 1)
    return np.asarray(sum((codes[:, lag:] == codes[:, :-lag]).sum(1) for lag in reach))
