"""The guard: whether the source's or the proposal's answers are served.

Evidence are paired comparisons on late labels: gain d_t = score of the proposal - score of the source on one row, in
[-1, 1], the proposal not trained on that row, weighted by w_t <= 2 so that E[w_t d_t] is the gain over all rows.

`earned` tests by betting (Waudby-Smith and Ramdas 2024, 2010.09686) the null hypothesis that the proposal loses at
least the margin m, E[w_t d_t] <= -m. The wealth

    W_t = mean_λ Π_{i<=t} (1 + λ (w_i d_i + m)),   0 < λ < 1 / (2 - m)

is a nonnegative supermartingale under the null, so P(sup_t W_t >= 1/level) <= level (Ville 1939), however long and
often one looks, and whatever states the proposals had. Served while W_t >= 1/level. Wealth is capped at ten times
that, which keeps a supermartingale one, so that a proposal that turns bad is dropped soon.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError
from aet.registry import Registry

GUARDS: Registry[type[Guard]] = Registry("guard")

LARGEST_WEIGHT = 2.0
FEW = 8
"""Labels from which a proposal that was served without any is held back if it has lost."""


class Guard:
    """Takes evidence one row at a time; `serving` says whether the proposal is served now."""

    name: ClassVar[str]
    needs_labels: ClassVar[bool] = True

    def __init__(self) -> None:
        self.labels = 0
        self.gain = 0.0
        """Weighted sum of the gains so far."""

    @property
    @abstractmethod
    def serving(self) -> bool:
        """Whether the proposal is served."""

    @property
    def against(self) -> bool:
        """Whether the labels, `FEW` or more, rather speak against the proposal."""
        return self.labels >= FEW and self.gain < 0

    @property
    def wealth(self) -> float:
        """Evidence, to be held against `threshold`."""
        return float(self.serving)

    @property
    def threshold(self) -> float:
        """Evidence from which the proposal is served."""
        return 1.0

    def update(self, gain: float, weight: float = 1.0) -> None:
        """One paired comparison."""
        if not -1 <= gain <= 1 or not 0 < weight <= LARGEST_WEIGHT:
            raise ConfigError(
                f"The guard takes gains in [-1, 1] with weights in (0, {LARGEST_WEIGHT:g}], got {gain} and {weight}."
            )
        self.labels += 1
        self.gain += weight * gain
        self.weigh(gain, weight)

    def weigh(self, gain: float, weight: float) -> None:
        """What the guard does with a comparison."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able memory."""
        return {"name": self.name, "labels": self.labels, "gain": self.gain}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave."""
        self.labels, self.gain = int(memory["labels"]), float(memory["gain"])

    def reason(self) -> str:
        """One sentence on the decision."""
        verb = "served" if self.serving else "held"
        return f"proposal {verb}: evidence {self.wealth:.3g} of {self.threshold:.3g} after {self.labels} labels"


@GUARDS.register("earned")
class Earned(Guard):
    """Served only once the null hypothesis that the proposal loses at least `margin` is rejected at `level`.

    >>> guard = Earned()
    >>> for _ in range(12): guard.update(1.0)
    >>> guard.serving, guard.labels
    (True, 12)
    """

    name = "earned"

    def __init__(self, level: float = 0.05, margin: float = 0.01, bets: int = 16) -> None:
        super().__init__()
        if not 0 < level < 1 or not 0 < margin < 1:
            raise ConfigError(f"level and margin lie between 0 and 1, got {level} and {margin}.")
        if bets < 1:
            raise ConfigError(f"bets is a number of stakes, 1 or more; got {bets}.")
        self.level, self.margin = level, margin
        self.log_wealths = np.zeros(bets)

    @property
    def stakes(self) -> npt.NDArray[np.float64]:
        """λ, equally spaced inside its range."""
        return np.linspace(0, 1, len(self.log_wealths) + 2)[1:-1] / (LARGEST_WEIGHT - self.margin)

    @property
    def wealth(self) -> float:
        """W_t."""
        return float(np.exp(np.logaddexp.reduce(self.log_wealths)) / len(self.log_wealths))

    @property
    def threshold(self) -> float:
        """1 / level."""
        return 1 / self.level

    @property
    def serving(self) -> bool:
        """W_t >= 1 / level."""
        return self.wealth >= self.threshold

    def weigh(self, gain: float, weight: float) -> None:
        """Every stake wins or loses; then the cap."""
        self.log_wealths += np.log1p(self.stakes * (weight * gain + self.margin))
        self.log_wealths -= max(0.0, np.log(self.wealth) - np.log(10 * self.threshold))

    def to_dict(self) -> dict[str, Any]:
        """The settings and the wealths too."""
        own = {"level": self.level, "margin": self.margin, "log_wealths": self.log_wealths.tolist()}
        return {**super().to_dict(), **own}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take settings and wealths back."""
        super().load_dict(memory)
        self.level, self.margin = float(memory["level"]), float(memory["margin"])
        self.log_wealths = np.array(memory["log_wealths"], dtype=float)


@GUARDS.register("likely")
class Likely(Guard):
    """Served while P(wins outnumber losses | evidence) > `bar`: sooner than `earned`, without its guarantee.

    The posterior of the share of wins among rows where the two differ is Beta(½ + wins, ½ + losses) (Jeffreys' prior).
    """

    name = "likely"

    def __init__(self, bar: float = 0.9) -> None:
        super().__init__()
        if not 0 < bar < 1:
            raise ConfigError(f"bar is a probability between 0 and 1, got {bar}.")
        self.bar, self.wins, self.losses = bar, 0.0, 0.0

    @property
    def wealth(self) -> float:
        """The posterior probability."""
        from scipy.stats import beta

        return float(beta.sf(0.5, 0.5 + self.wins, 0.5 + self.losses))

    @property
    def threshold(self) -> float:
        """The bar."""
        return self.bar

    @property
    def serving(self) -> bool:
        """Posterior above the bar."""
        return self.wealth > self.bar

    def weigh(self, gain: float, weight: float) -> None:
        """Wins and losses add up."""
        self.wins += weight * max(gain, 0.0)
        self.losses += weight * max(-gain, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The bar and the counts too."""
        return {**super().to_dict(), "bar": self.bar, "wins": self.wins, "losses": self.losses}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take bar and counts back."""
        super().load_dict(memory)
        self.bar = float(memory["bar"])
        self.wins, self.losses = float(memory["wins"]), float(memory["losses"])


@GUARDS.register("always")
class Always(Guard):
    """The proposal is always served: no protection."""

    name = "always"
    needs_labels = False
    serving = True


@GUARDS.register("never")
class Never(Guard):
    """The source is always served; proposals are only watched."""

    name = "never"
    needs_labels = False
    serving = False
