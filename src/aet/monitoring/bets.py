"""Bets that places u_1, u_2, ... are not independent and uniform: alarms that hold however often one looks.

Each way of betting m is a density f_m on (0, 1), fixed before u is seen, and its wealth is multiplied by f_m(u):

    line      1 + ε (u - ½)              a shift up or down
    spread    1 + ε (2 |u - ½| - ½)      a wider or a narrower column
    tail      1 + c (1[u in tail] / |tail| - 1)
    learned   (c_b + a) / (Σ c + a B) · B    over B bins of u, c the counts before, discounted by γ a row

The last bets that the newest rows go on as they were (Krichevsky and Trofimov 1981; plug-in martingales: Fedorova et
al. 2012, 1204.3251). A change may come at any row: half of the money bets from the first row
on, π_t of it starts at row t,

    W_t = c_t + Σ_m v_m,    v_m <- v_m f_m(u_t) + π_t p_m,    π_t = ½ h / ((h + t)(h + t + 1)),    c_t = ½ h / (h + t)

so no row's clean past eats what a later change earns, at the price of a constant log(1 / π_t). W is a nonnegative
martingale with mean 1 while u is independent and uniform, and P(sup_t W_t >= 1/level) <= level (Ville 1939).
`aet.monitoring.wager` learns one stake ε; here many columns bet side by side, and stakes are fixed and mixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError

Floats = npt.NDArray[np.float64]

LINES, SPREADS = (0.4, 1.0, 1.9), (0.6, 1.6)
TAILS, TAIL = (0.1, 0.02), 0.15
"""Widths of the tails, and the share bet on each."""
BINS, PRIOR, MEMORY = 10, 0.5, 100.0
"""B, a, and 1 / (1 - γ)."""
HORIZON = 1000.0
"""h."""
MOST = 1e15
"""Wealth is held under it."""
SIDES = {"both": 0, "up": 1, "down": -1}


def running(act: np.ufunc, values: Floats) -> Floats:
    """act.accumulate along the first axis, in place: many times as fast where the other axes are long.

    >>> running(np.add, np.ones((3, 2)))[:, 0].tolist()
    [1.0, 2.0, 3.0]
    """
    for i in range(1, len(values)):
        act(values[i], values[i - 1], out=values[i])
    return values


def factors(u: Floats) -> Floats:
    """f_m(u) (..., M - 1) of all but the learned density: up, down, spreads."""
    line, spread = u - 0.5, 2 * np.abs(u - 0.5) - 0.5
    up = [1 + e * line for e in LINES] + [1 + TAIL * ((u > 1 - w) / w - 1) for w in TAILS]
    down = [1 - e * line for e in LINES] + [1 + TAIL * ((u < w) / w - 1) for w in TAILS]
    wide = [1 + e * spread for size in SPREADS for e in (size, -size)]
    return np.stack([*up, *down, *wide], -1)


def shares(side: str) -> Floats:
    """p_m (M,): half on the learned density where a change may go either way, the rest evenly."""
    one, wide = len(LINES) + len(TAILS), 2 * len(SPREADS)
    up, down, either = {"both": (1, 1, 1), "up": (1, 0, 0), "down": (0, 1, 0)}[side]
    even = np.r_[np.full(one, up), np.full(one, down), np.full(wide, either)] / 1.0
    even /= even.sum()
    return np.asarray(np.r_[0.5 * even, 0.5] if either else np.r_[even, 0.0])


class Bets:
    """J columns' wealth, row after row.

    Args:
        columns: J.
        side: what counts as a change: "both", or only places that move "up" or "down".

    >>> rng, calm, moved = np.random.default_rng(0), Bets(2), Bets(2)
    >>> calm.take(rng.random((500, 2))).max() < 20, moved.take(rng.random((500, 2)) ** 2).min(1).max() > 1000
    (np.True_, np.True_)
    """

    def __init__(self, columns: int, side: str = "both") -> None:
        if side not in SIDES:
            raise ConfigError(f"A bet is on a move {' or '.join(map(repr, SIDES))}: got {side!r}.")
        self.prior = shares(side)
        self.learns = bool(self.prior[-1])
        self.rows = 0
        self.values = np.tile(0.5 * self.prior, (columns, 1))  # v (J, M)
        self.counts = np.zeros((columns, BINS))  # c (J, B)
        self.rise = np.ones_like(self.values)
        """Wealth of each bet since it was last at its lowest."""
        self.since = np.zeros(self.values.shape, dtype=np.int64)
        """The row from which on it rose."""
        self.peak = np.ones(columns)
        """sup W (J,)."""

    @property
    def wealth(self) -> Floats:
        """W (J,)."""
        return np.asarray(0.5 * HORIZON / (HORIZON + self.rows) + self.values.sum(-1))

    def started(self) -> npt.NDArray[np.int64]:
        """The row (J,), counted from 0, from which the bet that has won most rose."""
        best = (self.values * self.rise).argmax(-1)
        return np.asarray(np.take_along_axis(self.since, best[:, None], 1)[:, 0])

    def take(self, u: Floats) -> Floats:
        """Bet on places u (N, J) in order; gives W (N, J) after each row."""
        made = [self._take(u[start : start + 64]) for start in range(0, len(u), 64)]
        return np.concatenate(made) if made else np.empty(u.shape)

    def _take(self, u: Floats) -> Floats:
        learned = self._learned(u) if self.learns else np.ones_like(u)
        each = np.concatenate([factors(u), learned[..., None]], -1)  # (N, J, M)
        won = running(np.multiply, each)
        now = self.rows + np.arange(len(u), dtype=float)
        start = 0.5 * HORIZON / ((HORIZON + now) * (HORIZON + now + 1))
        values = won * (self.values + self.prior * running(np.add, start[:, None, None] / won))
        self.values = np.minimum(values[-1], MOST)
        wealth = values.sum(-1) + 0.5 * HORIZON / (HORIZON + now + 1)[:, None]
        self._rise(won)
        self.rows += len(u)
        self.peak = np.maximum(self.peak, wealth.max(0))
        return np.asarray(wealth)

    def _rise(self, won: Floats) -> None:
        """Wealth over its lowest, and when that was: the row before the first (0), or after one of these."""
        low = np.concatenate([np.ones((1, *won.shape[1:])), won * self.rise])  # the old lowest counts 1
        lowest = len(low) - 1 - low[::-1].argmin(0)
        self.since = np.where(lowest > 0, self.rows + lowest, self.since)
        self.rise = np.minimum(low[-1] / np.take_along_axis(low, lowest[None], 0)[0], MOST)

    def _learned(self, u: Floats) -> Floats:
        """The learned density at u (N, J), each row by the counts before it."""
        rows, bins = len(u), np.minimum((u * BINS).astype(np.int64), BINS - 1)
        kept = 1 - 1 / MEMORY
        hits = np.zeros((rows, *self.counts.shape))  # (N, J, B)
        np.put_along_axis(hits, bins[..., None], 1.0, 2)
        ages = np.subtract.outer(np.arange(rows), np.arange(rows)) - 1.0
        weights = np.where(ages >= 0, kept ** np.maximum(ages, 0), 0.0)  # (N, N)
        before = np.tensordot(weights, hits, 1) + kept ** np.arange(rows)[:, None, None] * self.counts
        self.counts = kept**rows * self.counts + np.tensordot(kept ** np.arange(rows - 1, -1, -1.0), hits, 1)
        own = np.take_along_axis(before, bins[..., None], 2)[..., 0]
        return np.asarray((own + PRIOR) / (before.sum(-1) + PRIOR * BINS) * BINS)

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved."""
        named = {name: getattr(self, name) for name in ("values", "counts", "rise", "since", "peak")}
        return {**named, "rows": np.array(self.rows)}

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `to_arrays` gave."""
        for name in ("values", "counts", "rise", "peak"):
            setattr(self, name, np.array(arrays[name], float))
        self.since, self.rows = np.array(arrays["since"], np.int64), int(arrays["rows"])
