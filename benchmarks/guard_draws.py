"""Rows that `ask` draws, with simulated gains: what `guard.py` plays streams from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from aet.adaptation.ask import LOOKED, draw, span

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rng = np.random.Generator
MARGIN = 0.01


@dataclass(frozen=True)
class Labels:
    """Asked rows in order (S, T): weights, whether both answer otherwise, whether above the median of the uncertainty
    of those rows, the bound of w d, and the exact share that differs.
    """

    weights: Floats
    differ: Flags
    upper: Flags
    span: Floats
    share: Floats

    def at(self, *index: object) -> Labels:
        """Some of them."""
        return Labels(*(part[index] for part in (self.weights, self.differ, self.upper, self.span, self.share)))

    def gains(self, wins: npt.ArrayLike, rng: Rng) -> Floats:
        """+1 with these probabilities or -1 where they differ, 0 elsewhere."""
        return np.where(self.differ, np.where(rng.random(self.weights.shape) < wins, 1.0, -1.0), 0.0)

    def losing(self, rng: Rng) -> Floats:
        """Gains of mean -1 point over every pool."""
        return self.gains((1 - MARGIN / self.share) / 2, rng)

    def split(self, rng: Rng, below: bool = True) -> Floats:
        """The same, wins `below` the median and losses above it, or the other way round."""
        return self.gains((self.upper != below) * (1 - MARGIN / self.share), rng)


@cache
def asks(
    rate: float, tilt: bool = False, pool: int = LOOKED, count: int = 16, told: bool = True, number: int = 200
) -> Labels:
    """What `ask` draws from many pools (A, M) of rows in five clusters, few of them very unsure; told of the answers,
    or, as before, not.
    """
    rng, found, differing = np.random.default_rng([pool, count]), [], max(1, round(rate * pool))
    for _ in range(number):
        centres = 2 * rng.normal(size=(5, 8))
        features = centres[rng.integers(0, 5, pool)] + rng.normal(size=(pool, 8))
        unsure, free = rng.beta(1, 3, pool), np.zeros(pool, bool)
        chance = unsure / unsure.sum() if tilt else None
        apart = np.zeros(pool)
        apart[rng.choice(pool, differing, replace=False, p=chance)] = 1.0
        rows, weights = draw(features, unsure, free, count, rng, apart if told else None)
        middle = np.median(unsure[apart > 0])
        bound = span(apart, free, count) if told else 2.0
        found.append((weights, apart[rows] > 0, unsure[rows] > middle, np.full(count, bound)))
    parts = [np.array(part) for part in zip(*found, strict=True)]
    return Labels(*parts, np.full(parts[0].shape, differing / pool))


def labels(drawn: Labels, streams: int, length: int, rng: Rng) -> Labels:
    """Whole asks one after the other (S, T), each of another pool."""
    which = rng.integers(0, len(drawn.weights), (streams, -(-length // drawn.weights.shape[1])))
    parts = (drawn.weights, drawn.differ, drawn.upper, drawn.span, drawn.share)
    return Labels(*(part[which].reshape(streams, -1)[:, :length] for part in parts))
