"""Which rows are worth a label, drawn with known probabilities.

One after the other, from the rows not yet chosen (R of them), row i with probability

    q_i = ½ · 1/R + ½ · b_i / Σ_j b_j

b_i the largest difference that any label of row i could make between proposal and source (`Output.apart`; of classes 1
where they answer otherwise, else 0; what is under a point counts as none). Only such rows can tell the two apart, so
where few differ, a label says as much as many drawn at random. Where none do, as before anything was learned, b is

    v_i = (u_i + 0.1) · min_{k chosen} ‖f_i - f_k‖²

u the uncertainty, f the model's summary of the row, centred and of length one: k-means++ seeding (Arthur and
Vassilvitskii 2007) weighted by uncertainty. The m-th of M rows drawn from N has the weight

    w_m = 1 + (N - M) / (N - m) · (1 / (R q_i) - 1),   R = N - m + 1

in (0, 2], which makes the weighted mean over the draw unbiased for the mean over the N rows, even if all are drawn
(Farquhar, Gal and Rainforth 2021, 2101.11665; active testing, Kossen et al. 2021, 2103.05331). The rows come in random
order, so that whoever labels only the first of them has no tilted sample either.

What a label can say, w_i b_i, has a bound that is known before the draw (`span`): the evidence stakes the more, the
smaller it is (`aet.adaptation.evidence`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LOOKED = 256
"""Rows among which a draw is made; of more, so many are drawn evenly first: the mean over them is in expectation that
over all."""
LEAST = 0.01
"""Differences below it are none for the draw."""


def evenly(places: npt.NDArray[np.int64], most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """At most `most` of these rising places, still rising: an even draw.

    >>> evenly(np.arange(5), 9, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4]
    >>> len(evenly(np.arange(9), 5, np.random.default_rng(0)))
    5
    """
    return np.sort(rng.choice(places, most, replace=False)) if len(places) > most else places


def draw(
    features: Floats,
    uncertainty: Floats,
    taken: npt.NDArray[np.bool_],
    count: int,
    rng: np.random.Generator,
    apart: Floats | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Positions and weights of at most `count` rows not taken before.

    features (N, D), uncertainty and taken (N,); apart (N,): b of the formula, none by default.

    >>> rng = np.random.default_rng(0)
    >>> apart = np.arange(50) < 10.0
    >>> rows, weights = draw(rng.normal(size=(50, 3)), np.ones(50), np.zeros(50, bool), 8, rng, apart)
    >>> len(set(rows.tolist())), bool((weights <= 2).all()), bool(apart[rows].mean() > 0.4)
    (8, True, True)
    """
    features, uncertainty = np.nan_to_num(features, posinf=0.0, neginf=0.0), np.nan_to_num(uncertainty, nan=1.0)
    features = features - features.mean(0)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    free, told = ~taken, told_apart(apart, len(features))
    nearest = np.full(len(features), 4.0)  # the largest squared distance on the unit sphere
    for place in np.flatnonzero(taken):
        nearest = np.minimum(nearest, ((features - features[place]) ** 2).sum(1))
    rows, weights = [], []
    total_free = int(free.sum())
    count = min(count, total_free)
    for remaining in range(total_free, total_free - count, -1):
        worth = np.where(free, told, 0.0)
        if not worth.any():
            worth = np.where(free, (uncertainty + 0.1) * nearest, 0.0)
        total = worth.sum()
        uniform = free / remaining
        q = 0.5 * uniform + 0.5 * (worth / total if total > 0 else uniform)
        row = int(rng.choice(len(q), p=q / q.sum()))
        rows.append(row)
        correction = (total_free - count) / (remaining - 1) if remaining > 1 else 0.0
        weights.append(1 + correction * (1 / (remaining * q[row]) - 1))
        free[row] = False
        nearest = np.minimum(nearest, ((features - features[row]) ** 2).sum(1))
    order = rng.permutation(len(rows))
    return np.array(rows, dtype=np.int64)[order], np.minimum(np.array(weights), 2.0)[order]


def told_apart(apart: Floats | None, rows: int) -> Floats:
    """Differences as the draw takes them (N,), what is too small to count set to 0."""
    return np.zeros(rows) if apart is None else np.where(apart >= LEAST, apart, 0.0)


def span(apart: Floats, taken: npt.NDArray[np.bool_], count: int, gains: Floats | None = None) -> float:
    """The largest |w d| that `draw` of these rows can give, known before it.

    With b̄ the mean of b over the rows left, at no step more than min(max b, Σ b / (N - M + 1)), the weight of row i is
    at most max(y_i, c y_i + 1 - c), y_i = 1 / (½ + ½ b_i / b̄) <= 2, c = (N - M) / (N - 1).

    Args:
        apart: b (N,), by which rows are drawn.
        taken: rows that are not (N,).
        count: M.
        gains: the largest |d| of each row (N,); b by default.

    >>> round(span(np.repeat([1.0, 0.0], [20, 80]), np.zeros(100, bool), 10), 3)
    0.419
    """
    most = (apart if gains is None else gains)[~taken]
    b = told_apart(apart, len(apart))[~taken]
    if not len(b):
        return 0.0
    count = min(count, len(b))
    mean = min(float(b.max()), float(b.sum()) / (len(b) - count + 1))
    y = 1 / (0.5 + 0.5 * b / mean) if mean > 0 else np.full(len(b), 2.0)
    c = (len(b) - count) / max(1, len(b) - 1)
    return float((most * np.maximum(y, c * y + 1 - c)).max())
