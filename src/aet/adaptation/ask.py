"""Which rows are worth a label, drawn with known probabilities.

One after the other, from the rows not yet chosen (R of them), row i with probability

    q_i = ½ · 1/R + ½ · v_i / Σ_j v_j,    v_i = (u_i + 0.1) · min_{k chosen} ‖f_i - f_k‖²

u the uncertainty, f the model's summary of the row, centred and of length one: k-means++ seeding (Arthur and
Vassilvitskii 2007) weighted by uncertainty, mixed with the uniform. With the weight w = 1 / (R q_i) <= 2 each draw is
unbiased, E[w x] = mean of x over the rows not yet chosen, which are nearly all as long as few are chosen (after active
testing, Kossen et al. 2021, 2103.05331).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def draw(
    features: Floats, uncertainty: Floats, taken: npt.NDArray[np.bool_], count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Positions and weights of at most `count` rows not taken before; features (N, D), uncertainty and taken (N,).

    >>> rng = np.random.default_rng(0)
    >>> rows, weights = draw(rng.normal(size=(50, 3)), np.ones(50), np.zeros(50, bool), 8, rng)
    >>> len(set(rows.tolist())), bool((weights <= 2).all())
    (8, True)
    """
    features, uncertainty = np.nan_to_num(features, posinf=0.0, neginf=0.0), np.nan_to_num(uncertainty, nan=1.0)
    features = features - features.mean(0)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    free = ~taken
    nearest = np.full(len(features), 4.0)  # the largest squared distance on the unit sphere
    for place in np.flatnonzero(taken):
        nearest = np.minimum(nearest, ((features - features[place]) ** 2).sum(1))
    rows, weights = [], []
    for _ in range(min(count, int(free.sum()))):
        remaining = int(free.sum())
        worth = np.where(free, (uncertainty + 0.1) * nearest, 0.0)
        total = worth.sum()
        uniform = free / remaining
        q = 0.5 * uniform + 0.5 * (worth / total if total > 0 else uniform)
        row = int(rng.choice(len(q), p=q / q.sum()))
        rows.append(row)
        weights.append(1 / (remaining * q[row]))
        free[row] = False
        nearest = np.minimum(nearest, ((features - features[row]) ** 2).sum(1))
    return np.array(rows, dtype=np.int64), np.minimum(np.array(weights), 2.0)
