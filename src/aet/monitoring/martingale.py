"""An alarm without labels: a bet against "the model is as unsure as it was on the source's held-out rows".

With H_j the uncertainty of row j and F_S its distribution function on the source's held-out rows, u_j = F_S(H_j) is
uniform as long as nothing changed. The wealth

    S_j = S_{j-1} · (1 + ε_j (u_j - ½) - |ε_j| δ),    |ε_j| <= 1.9

is then a nonnegative supermartingale (`aet.monitoring.wager`, which moves ε), so that P(sup_j S_j >= 1/level) <= level
(Ville 1939): look as often as you like.

POEM (Bar, Shaer and Romano 2024, 2408.07511), which has δ = 0. F_S is known from few held-out rows only; at δ = 0 its
own chance is bet against in the long run and an alarm is sure to come. δ = 2.58 / √(12 n) covers the mean of u for 99 %
of draws of n held-out rows. Rows must be independent: correlated labels or a new label mix count as change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from aet.errors import ConfigError
from aet.monitoring.performance import Floats, checked
from aet.monitoring.wager import Wager

BOUND = 1.9
"""Largest |ε|."""


class EntropyMartingale(Wager):
    """Takes uncertainties row by row; `alarm` says whether the wealth has ever reached 1/level.

    Args:
        quantiles: of the uncertainty on the source's held-out rows, evenly spaced from 0 to 1 (101 of them, as
            `SourceStatistics.entropy` holds), each in 0..1.
        rows: how many rows were held out; None if F_S is known exactly (δ = 0).
        level: bound on the probability of a false alarm.
        rate: γ.
        seed: of the draws that spread ties, where many rows have one uncertainty.

    Raises ConfigError for quantiles that fall or are fewer than two, and for a level outside (0, 1).

    >>> import numpy as np
    >>> rng, quantiles = np.random.default_rng(0), np.linspace(0, 1, 101)
    >>> calm, moved = (EntropyMartingale(quantiles) for _ in range(2))
    >>> calm.update(rng.random(2000)), moved.update(rng.random(2000) ** 0.5)
    (False, True)
    """

    def __init__(
        self, quantiles: Any, rows: int | None = None, level: float = 0.05, rate: float = 0.5, seed: int = 0
    ) -> None:
        self.quantiles = checked(quantiles, "quantiles")
        if len(self.quantiles) < 2 or (np.diff(self.quantiles) < 0).any():
            raise ConfigError(f"quantiles rise, two or more: got {len(self.quantiles)} that do not all rise.")
        if not 0 < level < 1 or rate <= 0 or (rows is not None and rows < 1):
            raise ConfigError(
                f"level lies between 0 and 1, rate above 0, rows is 1 or more: got {level}, {rate} and {rows}."
            )
        super().__init__(rate, BOUND, 0.0 if rows is None else min(0.5, 2.58 / (12 * rows) ** 0.5))
        self.level, self.largest = level, 0.0
        self._rng = np.random.default_rng(seed)

    @property
    def alarm(self) -> bool:
        """Whether S has ever reached 1/level."""
        return self.largest >= -math.log(self.level)

    def place(self, uncertainty: Floats) -> Floats:
        """Give u = F_S(H) (N,): between quantiles straight lines, in a jump of F_S a uniform draw."""
        levels = np.linspace(0, 1, len(self.quantiles))
        first = np.searchsorted(self.quantiles, uncertainty, side="left")
        last = np.searchsorted(self.quantiles, uncertainty, side="right")
        between = np.interp(uncertainty, self.quantiles, levels)
        low, high = levels[np.minimum(first, len(levels) - 1)], levels[np.maximum(last - 1, 0)]
        tied = last - first > 1
        return np.where(tied, low + self._rng.random(len(uncertainty)) * (high - low), between)

    def update(self, uncertainty: Any) -> bool:
        """Bet on each row in turn, uncertainty (N,) in 0..1; gives `alarm`."""
        for u in self.place(checked(uncertainty, "uncertainty")).tolist():
            self.take(u)
            self.largest = max(self.largest, self.log_wealth)
        return self.alarm

    def matched(self, uncertainty: Any) -> Floats:
        """Uncertainties (N,) that the source's rows would have where these stand: F_S⁻¹(Q(u)); no bet, no move."""
        u = self.place(checked(uncertainty, "uncertainty"))
        levels = np.linspace(0, 1, len(self.quantiles))
        return np.interp(self.tilted(u), levels, self.quantiles)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able memory."""
        names = ("bet", "squares", "log_wealth", "largest")
        return {name: float(getattr(self, name)) for name in names} | {"draws": self._rng.bit_generator.state}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave."""
        for name in ("bet", "squares", "log_wealth", "largest"):
            setattr(self, name, float(memory[name]))
        self._rng.bit_generator.state = memory["draws"]
