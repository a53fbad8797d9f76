"""The guard's evidence by hand, and draws to try it on."""

from __future__ import annotations

import numpy as np

from aet.adaptation.evidence import CAP, FRACTIONS, PRIOR, Wealth

LOOKS = 300
MARGIN = 0.01
LIMIT = 20 * CAP


def by_hand(gains, weights, margin=MARGIN, level=0.05, span=2.0):
    """The recursion of `aet.adaptation.evidence`, stake by stake, for one stream: wealth after each label."""
    values, path = list(PRIOR), []
    for t, (d, w) in enumerate(zip(gains, weights, strict=True), start=1):
        for k, f in enumerate(FRACTIONS):
            values[k] *= 1 + f / max(span - margin, 0.2) * (w * d + margin)
        total, share = sum(values), 1 / (1000 + t)
        values = [(1 - share) * v + share * total * p for v, p in zip(values, PRIOR, strict=True)]
        values = [min(v, p * CAP / level) for v, p in zip(values, PRIOR, strict=True)]
        path.append(sum(values))
    return np.array(path)


def wealth_paths(gains, weights, spans=1.0):
    """Many streams at once: (S, N) -> wealths (S, N)."""
    wealth, path = Wealth(MARGIN, LIMIT, len(gains)), []
    for value, bound in zip((gains * weights).T, np.broadcast_to(spans, gains.shape).T, strict=True):
        wealth.step(value, bound)
        path.append(wealth.total)
    return np.stack(path, 1)


def boundary(name, streams, rng):
    """Gains and weights (S, N) whose weighted mean is exactly -margin, at every look, given all before."""
    uniform = rng.random((streams, LOOKS))
    ones = np.ones((streams, LOOKS))
    if name == "labels at random":
        disagree = np.full((streams, LOOKS), 0.2)
    elif name == "rare":
        disagree = np.full((streams, LOOKS), 0.011)
    elif name == "always":
        disagree = ones
    elif name == "changing":
        disagree = rng.choice([0.012, 0.05, 0.3, 1.0], (streams, LOOKS // 50)).repeat(50, 1)
    else:
        # Rows of two sorts, drawn with probability q instead of ½ and weighted ½ / q, so that E[w d] = (d_1 + d_2) / 2.
        q = rng.uniform(0.25, 0.75, (streams, LOOKS))
        first = rng.random((streams, LOOKS)) < q
        weights = np.where(first, 0.5 / q, 0.5 / (1 - q))
        mean = np.where(first, 0.3, -0.3 - 2 * MARGIN)
        return np.where(uniform < (1 + mean) / 2, 1.0, -1.0), weights
    win, loss = (disagree - MARGIN) / 2, (disagree + MARGIN) / 2
    return np.where(uniform < win, 1.0, np.where(uniform < win + loss, -1.0, 0.0)), ones


def mixed(rng, length, wins=0.25, losses=0.05):
    """Gains of one stream."""
    return rng.choice([1.0, -1.0, 0.0], length, p=[wins, losses, 1 - wins - losses])


def tolerance(streams, level=0.05):
    """The bound, and what chance may add to it."""
    return level + 3 * (level * (1 - level) / streams) ** 0.5
