"""Answers given only where a model is sure, and a bound on the share of wrong ones among those that are given.

Every tenth labelled row, its label aside, places bars t_1 > t_2 > ... > t_K = -∞ such that more and more rows are surer
than each. Of the other rows, m, let n be those surer than a bar t, and w those of them that are answered wrongly. These
are independent draws of all rows surer than t, so that w is binomial with r(t), the share of wrong answers among them,
and (Clopper and Pearson 1934, Biometrika 26)

    P(r(t) > u) <= δ        u = Beta⁻¹(1 - δ; w + 1, n - w), 1 for n = w

The bars are looked at in their order, from the highest with rows enough, until u exceeds the promise, and the last
before that is taken. The first one with r(t) above the promise is passed with a probability of δ at most, and no bar
behind it is looked at unless it is: so the promise holds with probability 1 - δ, without sharing δ out (fixed sequence
testing; Angelopoulos et al. 2021, 2110.01052. Selective answers: Geifman and El-Yaniv 2017, 1705.08500).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError

BARS, PLACING = 20, 10
"""Bars, each passed by a twentieth of the rows more than the one before; every so many rows one places them."""
ENOUGH = 5
"""The highest bar that is looked at is expected to be passed by so many times the rows that could keep the promise."""


def most_wrong(wrong: int, rows: int, level: float) -> float:
    """The share of wrong answers that is no longer believed at `level`: Clopper and Pearson's upper bound.

    >>> round(most_wrong(0, 58, 0.05), 3), round(most_wrong(5, 100, 0.05), 3), most_wrong(3, 3, 0.05)
    (0.05, 0.102, 1.0)
    """
    from scipy.special import betaincinv

    return 1.0 if wrong >= rows else float(betaincinv(wrong + 1, rows - wrong, 1 - level))


@dataclass(frozen=True)
class Bar:
    """How sure an answer must be to be given.

    threshold: given are answers whose confidence lies above it; rows, wrong: of the labelled ones that were looked at
    those that do, and of those the ones answered wrongly; share: of those looked at; bound: on the share of wrong
    answers among those given.
    """

    threshold: float
    rows: int
    wrong: int
    share: float
    bound: float

    @classmethod
    def of(cls, confidence: npt.ArrayLike, right: npt.ArrayLike, wrong: float, certainty: float) -> Bar:
        """The bar that keeps the promise that at most a share `wrong` of the answers given is wrong.

        Args:
            confidence: of labelled rows (N,), finite.
            right: whether each was answered rightly (N,).
            wrong: what is promised, between 0 and 1.
            certainty: of the promise, between 0 and 1.

        Raises ConfigError for other arguments, and where the rows cannot keep the promise.

        >>> rng = np.random.default_rng(0)
        >>> sure = rng.uniform(0.5, 1.0, 2000)
        >>> bar = Bar.of(sure, rng.uniform(size=2000) < sure, wrong=0.2, certainty=0.95)
        >>> round(bar.share, 2), round(bar.threshold, 2), round(bar.bound, 2)
        (0.68, 0.66, 0.19)
        """
        sure, good = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
        if not (0 < wrong < 1 and 0 < certainty < 1):
            raise ConfigError(f"wrong and certainty lie between 0 and 1: got {wrong} and {certainty}.")
        if sure.ndim != 1 or sure.shape != good.shape or not np.isfinite(sure).all():
            raise ConfigError(
                f"One finite confidence a labelled row is expected, and whether it was right: got {sure.shape} and "
                f"{good.shape}."
            )
        level, places = 1 - certainty, np.arange(len(sure)) % PLACING == 0
        falling, sure, good = np.sort(sure[places])[::-1], sure[~places], good[~places]
        least = ENOUGH * math.log(level) / math.log1p(-wrong)
        if len(sure) < least:
            raise ConfigError(
                f"{len(places)} labelled rows are too few to show that at most {wrong:.1%} of the answers are wrong: "
                f"give {math.ceil(least * PLACING / (PLACING - 1)) + 1} or more, or promise less."
            )
        kept = None
        for step in range(1, BARS + 1):
            behind = len(falling) * step // BARS
            threshold = float(falling[behind]) if behind < len(falling) else -math.inf
            if (falling > threshold).mean() * len(sure) < least:
                continue
            above = sure > threshold
            rows, bad = int(above.sum()), int((above & ~good).sum())
            found = cls(threshold, rows, bad, rows / len(sure), most_wrong(bad, rows, level))
            if found.bound > wrong:
                break
            kept = found
        if kept is None:
            raise ConfigError(
                f"These {len(places)} rows do not show that at most {wrong:.1%} of the answers are wrong: of the "
                f"surest {found.rows} looked at {found.wrong} are, which may be {found.bound:.1%}. Give more rows, or "
                "promise less."
            )
        return kept

    def __call__(self, confidence: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether answers of these confidences (N,) are given; False for one that is no number."""
        given: npt.NDArray[np.bool_] = np.asarray(confidence, dtype=np.float64) > self.threshold
        return given
