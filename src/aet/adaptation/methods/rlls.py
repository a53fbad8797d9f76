"""The label mix changed, the rows of each class did not: regularised learning under label shift finds the new mix.

    θ = argmin ‖A θ - b‖₂ + ρ ‖θ‖₂  such that θ >= -1,    b = q̂ - A 1,    w = 1 + γ θ,    bias_c = T · log w_c
    ρ = α · 3 · (2 ln(2C/δ) / 3n + √(2 ln(2C/δ) / n)),    γ = m / (m + shrink)

Azizzadenesheli et al. 2019 (1903.09734), with α = 0.01 and δ = 0.05 of their experiments. A is the source's confusion
on n validation rows, q̂ the shares of the predicted classes in the window of m rows; γ, which the paper leaves open
below 1, grows with m. The regularisation holds w at 1 where A is near singular, which `bbse` does not. Moves only the
head's bias; wrong where p(x|y) moved too.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.label_mix import ConfusedMix
from aet.errors import ConfigError

DELTA = 0.05
"""Probability that the bound behind ρ does not hold."""


@METHODS.register("rlls")
class Rlls(ConfusedMix):
    """Settings: `window` rows that the mix is estimated over, `shrink` rows that weigh as much as the source's,
    `strength` α of the regularisation.
    """

    defaults: ClassVar[dict[str, Any]] = {**ConfusedMix.defaults, "strength": 0.01}

    def reset(self) -> None:
        """Back to the source; the model must know of how many rows its confusion is."""
        super().reset()
        rows = self.model.known_statistics().confusion_rows
        if rows is None:
            raise ConfigError(
                f"{self.name!r} regularises by the number of validation rows, and this model does not know it: it was "
                "trained by an older version. Train it again, or use 'bbse'."
            )
        self.bound = float(self.settings["strength"]) * bound(rows, self.output.width)

    def solved(self, rest: Tensor) -> Tensor:
        """The formula above."""
        return regularised(self.confused, rest, self.bound)


def bound(rows: int, classes: int) -> float:
    """3 · (2 ln(2C/δ) / 3n + √(2 ln(2C/δ) / n)): how far A may be from the truth."""
    unsure = 2 * math.log(2 * classes / DELTA)
    return 3 * (unsure / (3 * rows) + math.sqrt(unsure / rows))


def regularised(confused: Tensor, rest: Tensor, strength: float, rounds: int = 200) -> Tensor:
    """The argmin of ‖A θ - b‖₂ + ρ ‖θ‖₂ with θ >= -1, for A (C, C) and b (C,).

    A length r lies below r²/2r₀ + r₀/2 and touches it at r₀, so each round solves a non-negative least squares problem
    (for θ + 1) with weights from the round before, and the sum never rises.

    >>> regularised(torch.eye(2), torch.tensor([0.5, -0.5]), 0.0)
    tensor([ 0.5000, -0.5000])
    """
    from scipy.optimize import nnls

    a, b = confused.double().numpy(), rest.double().numpy()
    theta, one, least = np.zeros(len(b)), np.ones(len(b)), 1e-9
    for turn in range(rounds):
        fit = max(float(np.linalg.norm(a @ theta - b)), least)
        size = max(float(np.linalg.norm(theta)), least) if turn else 1.0
        pull = math.sqrt(strength * fit / size)
        found = nnls(np.vstack([a, pull * np.eye(len(b))]), np.concatenate([a @ one + b, pull * one]))[0] - 1
        moved = float(np.abs(found - theta).max())
        theta = found
        if moved < 1e-7:
            break
    return torch.from_numpy(theta).to(rest)
