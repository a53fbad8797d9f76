"""Which rows to ask labels for: the peers of `ask`. None draws with probabilities that a test could weigh by.

random   any rows
entropy  the largest entropy of the answer
margin   the smallest distance of the two largest probabilities (Scheffer et al. 2001)
BADGE    k-means++ on the gradients that the head would take for the answers given, g = (p - onehot(ŷ)) ⊗ h
(Ash et al. 2020, 1906.03671), the longest first
CoreSet  each time the row farthest, by its summary h, from all that are labelled (Sener and Savarese 2018, 1708.00489)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Rows to choose from: calibrated answers (N, C), summaries (N, D), and which are labelled already (N,)."""

    answers: Floats
    summaries: Floats
    labelled: npt.NDArray[np.bool_]

    @property
    def free(self) -> npt.NDArray[np.int64]:
        """Positions without a label."""
        return np.flatnonzero(~self.labelled)


Choice = Callable[[Pool, int, np.random.Generator], npt.NDArray[np.int64]]


def random(pool: Pool, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.permutation(pool.free)[:count]


def entropy(pool: Pool, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    p = pool.answers[pool.free].clip(1e-12)
    return pool.free[np.argsort((p * np.log(p)).sum(1), kind="stable")[:count]]


def margin(pool: Pool, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    ordered = np.sort(pool.answers[pool.free], axis=1)
    return pool.free[np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")[:count]]


def badge(pool: Pool, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    p, h = pool.answers[pool.free], pool.summaries[pool.free]
    error = p - np.eye(p.shape[1])[p.argmax(1)]
    length = (error**2).sum(1) * (h**2).sum(1)
    chosen = [int(length.argmax())]
    nearest = np.full(len(p), np.inf)
    while len(chosen) < min(count, len(p)):
        last = chosen[-1]
        # <a ⊗ h, b ⊗ k> = <a, b> <h, k>
        nearest = np.minimum(nearest, length + length[last] - 2 * (error @ error[last]) * (h @ h[last])).clip(0)
        nearest[chosen] = 0
        total = nearest.sum()
        left = np.setdiff1d(np.arange(len(p)), chosen)
        chosen.append(int(rng.choice(len(p), p=nearest / total) if total > 0 else rng.choice(left)))
    return pool.free[chosen]


def coreset(pool: Pool, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    h, centers = pool.summaries, np.flatnonzero(pool.labelled).tolist()
    chosen = [] if centers else [int(rng.integers(len(h)))]
    nearest = np.full(len(h), np.inf)
    for center in centers + chosen:
        nearest = np.minimum(nearest, ((h - h[center]) ** 2).sum(1))
    while len(chosen) < min(count, len(pool.free)):
        nearest[[*centers, *chosen]] = -1
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((h - h[chosen[-1]]) ** 2).sum(1))
    return np.array(chosen, dtype=np.int64)


SELECTIONS: dict[str, Choice] = {
    "random": random,
    "entropy": entropy,
    "margin": margin,
    "BADGE": badge,
    "CoreSet": coreset,
}
