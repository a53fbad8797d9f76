"""A number with an interval: squared error for the mean, quantile loss for the ends, widths fixed on validation rows.

The interval is conformalised quantile regression (Romano, Patterson and Candès 2019, 1905.03222): the ends are moved by
the ⌈(1 - α)(n + 1)⌉-th smallest E_i = max(lower_i - y_i, y_i - upper_i) of n rows not trained on, so that it covers at
least 1 - α of exchangeable rows (from n = 9 on; below, the largest E_i is all there is).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.config import Section
from aet.errors import DataError, FeedbackError
from aet.outputs.base import OUTPUTS, Output

ALPHA = 0.1
Z = 1.6448536269514722
"""The normal's quantile at 1 - ALPHA / 2."""


@OUTPUTS.register("number")
class NumberOutput(Output):
    """Regression. Targets: (B,) standardised. Logits: mean, lower, upper, standardised."""

    kind = "number"
    metric = "r2"
    score_name = "closeness"
    probable = False
    width = 3
    center: Tensor
    spread: Tensor
    widening: Tensor

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """Mean and standard deviation of the target."""
        Section.checked("output", settings)
        target = frame[self.targets[0]].astype(float).to_numpy()
        if not len(target) or np.ptp(target) == 0:  # the deviation of equal numbers need not be quite 0
            raise DataError(
                f"The target {self.targets[0]!r} is {target[0] if len(target) else 'empty'} in every row: expected "
                "numbers that differ. Name another target, or add rows."
            )
        self.reserve()
        self.center.fill_(float(np.mean(target)))
        self.spread.fill_(float(np.std(target)))

    def reserve(self) -> None:
        """Buffers, in float64 because targets may be large."""
        self.register_buffer("center", torch.zeros((), dtype=torch.float64))
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))
        self.register_buffer("widening", torch.zeros(()))

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Nothing but the buffers."""
        self.reserve()

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """(y - center) / spread."""
        try:
            target = frame[self.targets[0]].astype(float).to_numpy()
        except (TypeError, ValueError, OverflowError) as error:
            raise FeedbackError(f"Answers for {self.targets[0]!r} must be numbers: {error}.") from error
        if not np.isfinite(target).all():
            raise FeedbackError(f"Answers for {self.targets[0]!r} must be finite numbers.")
        scaled = (torch.tensor(target) - self.center.cpu()) / self.spread.cpu()
        return scaled.float()

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """(y - mean)² + pinball(lower, α/2) + pinball(upper, 1 - α/2)."""
        mean, lower, upper = logits.unbind(-1)
        squared = (target - mean).square()
        return squared + pinball(target - lower, ALPHA / 2) + pinball(target - upper, 1 - ALPHA / 2)

    def interval(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper end (B,), standardised; never on the wrong side of the mean."""
        mean, lower, upper = logits.unbind(-1)
        widening = self.widening.to(logits.device)
        return torch.minimum(lower - widening, mean), torch.maximum(upper + widening, mean)

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """The conformal widening."""
        _, lower, upper = logits.unbind(-1)
        misses = torch.maximum(lower - target, target - upper)
        rank = math.ceil((1 - ALPHA) * (len(misses) + 1))
        self.widening.fill_(float(misses.sort().values[min(rank, len(misses)) - 1]))

    def natural(self, standardised: Tensor) -> np.ndarray:
        """Back in the target's unit."""
        return (standardised.cpu().double() * self.spread.cpu() + self.center.cpu()).numpy()

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Mean and ends of the interval, standardised as the own target is."""
        self.of_my_kind(other)
        assert isinstance(other, NumberOutput)
        lower, upper = other.interval(logits)
        theirs = torch.stack([logits[:, 0], lower, upper], -1).double()
        natural = theirs * other.spread.to(theirs.device) + other.center.to(theirs.device)
        return ((natural - self.center.to(theirs.device)) / self.spread.to(theirs.device)).to(logits.dtype)

    def pooled(self, logits: Tensor) -> Tensor:
        """Mean of the means, and the interval of a normal of the mixture's variance.

        σ_m = (upper - lower) / 2z and σ² = mean(σ_m² + μ_m²) - μ² (Lakshminarayanan et al. 2017, 1612.01474).
        """
        means, lower, upper = logits.unbind(-1)  # (M, B) each
        mean = means.mean(0)
        spreads = (upper - lower).clamp_min(0) / (2 * Z)
        deviation = (spreads.square().mean(0) + (means - mean).square().mean(0)).sqrt()
        return torch.stack([mean, mean - Z * deviation, mean + Z * deviation], -1)

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """(mean - taught mean)²; numbers have no temperature."""
        return (logits[:, 0] - taught[:, 0]).square()

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`, `lower`, `upper` (90 %), `confidence`: 1 - half-width in spreads of the target, at least 0."""
        lower, upper = self.interval(logits)
        return pd.DataFrame(
            {
                "prediction": self.natural(logits[:, 0]),
                "confidence": 1 - self.uncertainty(logits).cpu().numpy(),
                "lower": self.natural(lower),
                "upper": self.natural(upper),
            }
        )

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """1 - |error| in spreads of the target, at least 0."""
        return (1 - (logits[:, 0] - target).abs()).clamp_min(0)

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """Their distance in spreads of the target, at most 1."""
        return (one[:, 0] - other[:, 0]).abs().nan_to_num(1.0).clamp_max(1)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Half the interval's width in spreads of the target, at most 1."""
        lower, upper = self.interval(logits)
        return ((upper - lower) / 2).clamp(0, 1)

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """R², closeness (the mean of `scores`), mean absolute and root mean squared error in the target's unit, and how
        many of the targets lie in the interval.
        """
        error = (logits[:, 0] - target).double()
        variance = (target.double() - target.double().mean()).square().mean()
        lower, upper = self.interval(logits)
        spread = float(self.spread)
        return {
            "r2": float(1 - error.square().mean() / variance.clamp_min(1e-12)),
            "closeness": float(self.scores(logits, target).mean()),
            "mae": float(error.abs().mean()) * spread,
            "rmse": float(error.square().mean().sqrt()) * spread,
            "coverage": float(((target >= lower) & (target <= upper)).float().mean()),
        }


def pinball(error: Tensor, level: float) -> Tensor:
    """max(level·e, (level - 1)·e)."""
    return torch.maximum(level * error, (level - 1) * error)
